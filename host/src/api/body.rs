//! Bodies that are kept as the text that came: bounded, read by name, spliced unchanged. Unknown keys are passed over, as
//! LangSmith does.

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use bytestring::ByteString;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::api::answer::ApiError;
use crate::layers;
use crate::limits;
use crate::model::Timestamp;

/// Where the body itself is wrong.
pub(super) const BODY: &str = "body";

/// A body of datasets or examples.
pub(super) async fn bytes(body: Body) -> Result<Bytes, ApiError> {
    to_bytes(body, limits::EXAMPLES_BYTES_MAX).await.map_err(|_| {
        let detail = format!("the body cannot be read, or has more than {} bytes", limits::EXAMPLES_BYTES_MAX);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })
}

/// The same as text.
pub(super) async fn text(body: Body) -> Result<ByteString, ApiError> {
    utf8(bytes(body).await?, BODY)
}

/// Bytes as text.
pub(super) fn utf8(bytes: Bytes, at: &str) -> Result<ByteString, ApiError> {
    ByteString::try_from(bytes).map_err(|_| ApiError::bad_request(format!("{at}: is no UTF-8")))
}

/// What is known of a JSON text.
pub(super) fn read<'a, T: Deserialize<'a>>(json: &'a str, at: &str) -> Result<T, ApiError> {
    serde_json::from_str(json).map_err(|error| match error.classify() {
        Category::Data => ApiError::unprocessable(at, &error.to_string()),
        _ => ApiError::bad_request(format!("{at}: is no JSON: {error}")),
    })
}

/// The text of a value that has to be an object; none where it is null.
pub(super) fn object(json: Option<&RawValue>, at: &str) -> Result<Option<ByteString>, ApiError> {
    match json.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(json) if json.starts_with('{') => Ok(Some(ByteString::from(json))),
        Some(_) => Err(ApiError::unprocessable(at, "has to be a JSON object")),
    }
}

/// A time; none where there is none.
pub(super) fn time(json: Option<&RawValue>, at: &str) -> Result<Option<Timestamp>, ApiError> {
    let Some(json) = json else { return Ok(None) };
    let time = layers::time(json.get());
    time.map(Some).ok_or_else(|| ApiError::unprocessable(at, "is no time such as 2026-07-01T09:00:00Z"))
}

/// Refuses what asks for something that is not done here; an empty value asks for nothing.
pub(super) fn refuse(value: Option<&Value>, at: &str) -> Result<(), ApiError> {
    if value.is_none_or(is_empty) { Ok(()) } else { Err(unsupported(at)) }
}

/// What is said about a key that is LangSmith's and not done here.
pub(super) fn unsupported(at: &str) -> ApiError {
    ApiError::unprocessable(at, "is not supported here; leave it out")
}

/// Whether nothing is in a value. Its depth is bounded by its parser.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
        _ => false,
    }
}

/// Stored JSON, which was checked at the door, as it stands.
pub(super) fn raw(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_asks_for_nothing_passes() {
        for nothing in [json!(null), json!(false), json!([]), json!({}), json!({"rename": {}, "retain": []})] {
            assert!(refuse(Some(&nothing), "it").is_ok(), "{nothing}");
        }
        for something in [json!(true), json!([1]), json!({"retain": ["a"]}), json!("x"), json!(0)] {
            assert!(refuse(Some(&something), "it").is_err(), "{something}");
        }
    }

    #[test]
    fn an_object_stays_as_it_stands() {
        let text = r#"{"b": 1.0, "b":"\ud800"}"#;
        assert_eq!(object(raw(text), "it").unwrap().unwrap(), text);
        assert_eq!(object(raw("null"), "it").unwrap(), None);
        assert!(object(raw("[]"), "it").unwrap_err().detail().starts_with("it: "));
    }
}
