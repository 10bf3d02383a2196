//! How a half says that a field is not in it but in the object store: an object with the blob's key in the field's place.
//!
//! ```json
//! {"runhook:blob": "ttl_s/20260701/…", "usage_metadata": {…}}
//! ```
//!
//! A client cannot forge it: what it sends in this very form is stored as a blob itself, and no other form counts. What a run used stays beside the key,
//! since it is read without the blob.

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

#[cfg(test)]
mod tests {
    use super::*;

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
