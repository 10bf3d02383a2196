//! JSON text inside attributes: instrumentations put messages, parameters and metadata into strings.
//!
//! It is checked and carried over as it stands, not parsed into values. Text that nests too deep or holds too much for
//! a later reader stays what it is to OTel: a string.

mod readable;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use self::readable::Readable;
use super::VALUES_MAX;
use super::value::{Object, Value};

/// How deep JSON text may nest that becomes part of a run. serde_json's readers stop at 128, and a run adds some levels.
const DEPTH_MAX: usize = 96;

/// The value as JSON, where it is text that holds an object or an array; unchanged where it is anything else.
pub(super) fn parsed(value: Value<'_>) -> Value<'_> {
    match &value {
        Value::Text(text) => raw(text, b"{[").map_or(value, Value::Raw),
        _ => value,
    }
}

/// As [`parsed`], and whether that is an object.
pub(super) fn parsed_object(value: Value<'_>) -> Result<Value<'_>, Value<'_>> {
    match &value {
        Value::Object(_) => Ok(value),
        Value::Text(text) => raw(text, b"{").map(Value::Raw).ok_or(value),
        _ => Err(value),
    }
}

/// The members of an object or of text that holds one; none where it is neither, or has too many.
pub(super) fn members<'a>(value: &Value<'a>) -> Option<Object<'a>> {
    let text = match value {
        Value::Object(object) => return Some(object.clone()),
        Value::Text(text) => text,
        _ => return None,
    };
    raw(text, b"{")?;
    (shape(text).values <= VALUES_MAX).then_some(())?;
    let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).ok()?;
    Some(members.into_iter().map(|(key, value)| (Cow::Owned(key), Value::Raw(value))).collect())
}

fn raw(text: &str, openings: &[u8]) -> Option<Box<RawValue>> {
    let opening = text.trim_ascii_start().bytes().next()?;
    if !openings.contains(&opening) || shape(text).depth > DEPTH_MAX {
        return None;
    }
    serde_json::from_str::<Readable>(text).ok()?;
    serde_json::from_str::<&RawValue>(text).ok().map(ToOwned::to_owned)
}

/// How much JSON text holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Objects, arrays and members: not less than there are values, keys left out.
    pub(super) values: usize,
    /// Levels of objects and arrays.
    pub(super) depth: usize,
}

/// Measures text that may be JSON, in one pass.
pub(super) fn shape(text: &str) -> Shape {
    let (mut shape, mut depth) = (Shape { values: 1, depth: 0 }, 0_usize);
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_string,
            b'"' => is_string = !is_string,
            _ if is_string => {}
            b'{' | b'[' => {
                depth += 1;
                shape.values += 1;
                shape.depth = shape.depth.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => shape.values += 1,
            _ => {}
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: &Value<'_>) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[test]
    fn what_stands_in_strings_is_not_counted() {
        assert_eq!(shape(r#"{"a,[{":[1,"\",[",{}]}"#), Shape { values: 6, depth: 3 });
        assert_eq!(shape("1"), Shape { values: 1, depth: 0 });
    }

    #[test]
    fn objects_and_arrays_are_json_and_all_else_is_text() {
        assert_eq!(json(&parsed(Value::text(r#" {"a": [1 , null]} "#))), r#"{"a": [1 , null]}"#);
        assert_eq!(json(&parsed(Value::text("[1]"))), "[1]");
        for text in ["[1e999]", r#"{"a":"\ud800"}"#, "12", "null", "{", "[1] [2]", "{a:1}", ""] {
            assert_eq!(json(&parsed(Value::text(text))), serde_json::to_string(text).unwrap());
        }
        assert!(parsed_object(Value::text("[1]")).is_err());
    }

    #[test]
    fn text_that_nests_too_deep_stays_text() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(matches!(parsed(Value::text(deep(DEPTH_MAX))), Value::Raw(_)));
        assert!(matches!(parsed(Value::text(deep(DEPTH_MAX + 1))), Value::Text(_)));
        assert!(matches!(parsed(Value::text(deep(1_000_000))), Value::Text(_)));
    }
}
