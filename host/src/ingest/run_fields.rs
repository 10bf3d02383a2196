//! What later steps rely on in a run's fields, and which fields come as parts of their own.

use std::borrow::Cow;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::object::{self, Entry};
use super::time::timestamp;
use super::{json, name};
use crate::model::ids::RunId;

/// A field that may come as a part of its own (`post.<id>.inputs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Inputs,
    Outputs,
    Events,
    Extra,
    Error,
    Serialized,
}

impl Field {
    pub(super) const ALL: [Self; 6] =
        [Self::Inputs, Self::Outputs, Self::Events, Self::Extra, Self::Error, Self::Serialized];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Outputs => "outputs",
            Self::Events => "events",
            Self::Extra => "extra",
            Self::Error => "error",
            Self::Serialized => "serialized",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// A run as sent: its fields, each checked, and its id.
#[derive(Debug)]
pub(super) struct RunFields<'a> {
    pub(super) id: RunId,
    pub(super) entries: Vec<Entry<'a>>,
}

/// Reads a run. Its id comes from outside (a path, a part's name), from its own `id`, or from both.
///
/// # Errors
/// What is wrong with it, the field named.
pub(super) fn read(text: &[u8], id_outside: Option<RunId>) -> Result<RunFields<'_>, String> {
    let mut entries = object::entries(text, json::LEVELS_MAX)?;
    for entry in &mut entries {
        check(entry)?;
    }
    let id = run_id(&entries, id_outside)?;
    Ok(RunFields { id, entries })
}

fn run_id(entries: &[Entry<'_>], outside: Option<RunId>) -> Result<RunId, String> {
    let own = entries.iter().find(|entry| entry.key == "id").and_then(|entry| uuid(&entry.json)).map(RunId);
    match (outside, own) {
        (Some(outside), Some(own)) if outside != own => {
            Err(format!("the part's name or the path says {outside}, but `id` is {own}"))
        }
        (Some(id), _) | (None, Some(id)) => Ok(id),
        (None, None) => Err("`id` is missing; it has to be the run's UUID".to_owned()),
    }
}

fn check(entry: &mut Entry<'_>) -> Result<(), String> {
    match &*entry.key {
        "id" | "trace_id" | "parent_run_id" | "session_id" | "reference_example_id" => check_uuid(entry),
        "start_time" | "end_time" => check_time(entry),
        "name" | "run_type" | "dotted_order" | "session_name" => check_string(entry),
        "tags" => check_tags(entry),
        "error" => {
            entry.json = error_text(std::mem::take(&mut entry.json));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Refuses what is no UUID.
pub(super) fn check_uuid(entry: &Entry<'_>) -> Result<(), String> {
    let is_uuid = uuid(&entry.json).is_some();
    claim(is_uuid, entry, "has to be a UUID")
}

/// Refuses what is no point in time.
pub(super) fn check_time(entry: &Entry<'_>) -> Result<(), String> {
    let is_time = timestamp(&entry.json).is_some();
    claim(is_time, entry, "has to be an ISO 8601 time, or milliseconds since 1970 as a number")
}

/// Refuses what is no string.
pub(super) fn check_string(entry: &Entry<'_>) -> Result<(), String> {
    claim(entry.json.starts_with('"'), entry, "has to be a string")
}

fn check_tags(entry: &Entry<'_>) -> Result<(), String> {
    let is_string = |tag: &RawValue| if json::is_string(tag) { Ok(()) } else { Err(String::new()) };
    let are_strings = json::each(&entry.json, is_string).is_ok();
    claim(are_strings, entry, "has to be an array of strings")
}

/// The JSON string of an error: where it is another value, that value's text.
pub(super) fn error_text(json: Cow<'_, str>) -> Cow<'_, str> {
    if json.starts_with('"') {
        return json;
    }
    // A string always has a JSON text.
    Cow::Owned(serde_json::to_string(&*json).unwrap_or_default())
}

/// The UUID in a JSON string.
pub(super) fn uuid(json: &str) -> Option<Uuid> {
    Uuid::try_parse(&json::text(json)?).ok()
}

fn claim(is_right: bool, entry: &Entry<'_>, needed: &str) -> Result<(), String> {
    if is_right { Ok(()) } else { Err(format!("`{}` {needed}, not {}", entry.key, name::shortened(&entry.json))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a20a21-7cd8-7000-8000-02556ffdde73";

    fn refusal(fields: &str) -> String {
        read(format!(r#"{{"id":"{ID}",{fields}}}"#).as_bytes(), None).unwrap_err()
    }

    #[test]
    fn fields_that_later_steps_rely_on_are_checked_and_named() {
        let cases = [
            (r#""trace_id":"x""#, "`trace_id`"),
            (r#""parent_run_id":7"#, "`parent_run_id`"),
            (r#""session_id":"""#, "`session_id`"),
            (r#""reference_example_id":{}"#, "`reference_example_id`"),
            (r#""start_time":"soon""#, "`start_time`"),
            (r#""end_time":true"#, "`end_time`"),
            (r#""name":1"#, "`name`"),
            (r#""run_type":[]"#, "`run_type`"),
            (r#""dotted_order":1"#, "`dotted_order`"),
            (r#""session_name":{}"#, "`session_name`"),
            (r#""tags":"prod""#, "`tags`"),
            (r#""tags":["a",1]"#, "`tags`"),
        ];
        for (fields, named) in cases {
            assert!(refusal(fields).starts_with(named), "{}", refusal(fields));
        }
    }

    #[test]
    fn an_error_is_text_whatever_was_sent() {
        let text = format!(r#"{{"id":"{ID}","error":{{"code":[1]}}}}"#);
        let run = read(text.as_bytes(), None).unwrap();
        assert_eq!(run.entries[1].json, r#""{\"code\":[1]}""#);
        assert_eq!(error_text(r#""boom""#.into()), r#""boom""#);
    }

    #[test]
    fn odd_strings_trip_nothing() {
        let text = format!(r#"{{"id":"{ID}","name":"\ud800","tags":["\u0000","\udc00"],"dotted_order":"\u0000"}}"#);
        assert_eq!(read(text.as_bytes(), None).unwrap().entries.len(), 4);
    }

    #[test]
    fn ids_from_inside_and_outside_have_to_agree() {
        let own = format!(r#"{{"id":"{ID}"}}"#);
        let (id, other): (RunId, RunId) = (ID.parse().unwrap(), RunId::generate());
        assert_eq!(read(own.as_bytes(), None).unwrap().id, id);
        assert_eq!(read(own.as_bytes(), Some(id)).unwrap().id, id);
        assert_eq!(read(br#"{"id":null}"#, Some(other)).unwrap().id, other);
        let refusal = read(own.as_bytes(), Some(other)).unwrap_err();
        assert!(refusal.contains(ID) && refusal.contains(&other.to_string()), "{refusal}");
        assert!(read(b"{}", None).unwrap_err().contains("`id` is missing"));
        assert!(read(br#"{"id":"7"}"#, Some(id)).unwrap_err().starts_with("`id`"));
    }
}
