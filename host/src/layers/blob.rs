//! How a half says that a field is not in it but in the object store: an object with the blob's key in the field's place.
//!
//! ```json
//! {"runhook:blob": "ttl_s/20260701/…", "usage_metadata": {…}}
//! ```
//!
//! A client cannot forge it: what it sends in this very form is stored as a blob itself, and no other form counts. What a run used stays beside the key,
//! since it is read without the blob.

use std::borrow::Cow;

use super::LayerError;
use crate::document::{self, Fields};

/// What a reference begins with, to the byte, and nothing else that is stored.
const MARK: &str = r#"{"runhook:blob":"#;

/// What stands in the place of a value that is stored under that key.
pub fn reference(key: &str, value: &str) -> String {
    let usage = document::member(value, "usage_metadata");
    let usage = usage.map(|usage| format!(r#","usage_metadata":{usage}"#)).unwrap_or_default();
    format!("{MARK}{}{usage}}}", serde_json::Value::from(key))
}

/// The key in a reference; none of any other value.
pub fn blob(value: &str) -> Option<String> {
    let first = value.starts_with(MARK).then(|| Fields::of(value)?.next()).flatten()?;
    document::text(first.value).map(Into::into)
}

/// A half with references in the places of the fields that `key_of`, given name and value, knows a blob's key for; all
/// else stands as it stood. None where it knows none.
///
/// # Errors
/// Where the half is no JSON object.
pub fn with_references<'a>(
    half: &'a str,
    mut key_of: impl FnMut(&str, &'a str) -> Option<String>,
) -> Result<Option<String>, LayerError> {
    let mut fields = Fields::of_object(half)?;
    let mut is_changed = false;
    let mut written = Vec::new();
    while let Some(field) = fields.read()? {
        let key = key_of(&field.key, field.value);
        is_changed |= key.is_some();
        written.push(key.map_or(Cow::Borrowed(field.source), |key| {
            let before = &field.source[..field.source.len() - field.value.len()];
            Cow::Owned(format!("{before}{}", reference(&key, field.value)))
        }));
    }
    Ok(is_changed.then(|| format!("{{{}}}", written.join(","))))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::layers::add;

    #[test]
    fn references_take_the_places_of_values_and_all_else_stands_as_it_stood() {
        let half = r#"{ "a" : 1.0 , "inputs" :{"x": [1]}, "\u006futputs":{"usage_metadata":{"t":1}, "y":2}}"#;
        let key_of = |name: &str, value: &str| value.starts_with('{').then(|| format!("k/{name}"));
        let moved = with_references(half, key_of).unwrap().unwrap();
        let inputs = r#""inputs" :{"runhook:blob":"k/inputs"}"#;
        let outputs = r#""\u006futputs":{"runhook:blob":"k/outputs","usage_metadata":{"t":1}}"#;
        assert_eq!(moved, format!(r#"{{"a" : 1.0,{inputs},{outputs}}}"#));
        assert_eq!(with_references(half, |_, _| None).unwrap(), None);
        assert!(with_references(r#"{"inputs":{}"#, key_of).is_err());
        assert!(with_references("[]", key_of).is_err());
    }

    #[test]
    fn what_is_written_later_takes_the_place_of_a_reference() {
        let stored = format!(r#"{{"inputs":{},"outputs":{}}}"#, reference("k/i", "1"), reference("k/o", "2"));
        let later = Bytes::from_static(br#"{"outputs":{"new":1}}"#);
        let added = add(Some(stored.as_bytes()), &later).unwrap();
        assert_eq!(added, r#"{"inputs":{"runhook:blob":"k/i"},"outputs":{"new":1}}"#);
    }

    #[test]
    fn a_reference_gives_its_key_back_and_keeps_what_was_used() {
        let text = reference("ttl_s/k", r#"{"answer":"…","usage_metadata":{"input_tokens":3}}"#);
        assert_eq!(text, r#"{"runhook:blob":"ttl_s/k","usage_metadata":{"input_tokens":3}}"#);
        assert_eq!(blob(&text).as_deref(), Some("ttl_s/k"));
        let spaced = r#"{ "runhook:blob":"k"}"#;
        let escaped = r#"{"runhook:\u0062lob":"k"}"#;
        for other in [spaced, escaped, r#"{"a":1,"runhook:blob":"k"}"#, "{}", "[]", r#""runhook:blob""#] {
            assert_eq!(blob(other), None);
        }
    }
}
