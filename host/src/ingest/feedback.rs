//! Feedback: the body of `POST /feedback`, or a part of a multipart body.

use bytes::Bytes;
use uuid::Uuid;

use super::object::{self, Entry, to_object};
use super::run_fields::{check_string, check_time, check_uuid, uuid};
use super::{IngestError, json, name};
use crate::limits;
use crate::model::ids::{FeedbackId, RunId};
use crate::model::run::FeedbackWrite;

/// Longest `key`, in bytes.
const KEY_BYTES_MAX: usize = 1024;

/// Decodes the body of `POST /feedback`. An id is made where it has none.
///
/// # Errors
/// Where the body is no feedback.
pub fn feedback(document: Bytes) -> Result<FeedbackWrite, IngestError> {
    read(&document, None).map_err(IngestError::Document)
}

/// Reads feedback. The id of its part's name is the feedback's where the body has none, unless it is the run's (the API's
/// reference and the SDKs differ in which id it is).
///
/// # Errors
/// What is wrong with it, the field named.
pub(super) fn read(text: &[u8], id_in_name: Option<Uuid>) -> Result<FeedbackWrite, String> {
    if text.len() > limits::FEEDBACK_BYTES_MAX {
        return Err(format!("has {} bytes; feedback has at most {}", text.len(), limits::FEEDBACK_BYTES_MAX));
    }
    let entries = object::entries(text, json::LEVELS_MAX)?;
    entries.iter().try_for_each(check)?;
    let field = |key: &str| entries.iter().find(|entry| entry.key == key);
    let key = field("key").and_then(|entry| json::text(&entry.json)).unwrap_or_default().into_owned();
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Err(format!("`key` has to be there, a string of 1 to {KEY_BYTES_MAX} bytes"));
    }
    let run = field("run_id").and_then(|entry| uuid(&entry.json));
    let id = field("id").and_then(|entry| uuid(&entry.json)).or(id_in_name.filter(|id| Some(*id) != run));
    Ok(FeedbackWrite {
        id: id.map_or_else(FeedbackId::generate, FeedbackId),
        run: run.map(RunId),
        key,
        document: to_object(&entries, text.len()).into(),
    })
}

fn check(entry: &Entry<'_>) -> Result<(), String> {
    match &*entry.key {
        "id" | "run_id" | "trace_id" | "session_id" => check_uuid(entry),
        "created_at" | "modified_at" => check_time(entry),
        "key" | "comment" => check_string(entry),
        "score" => check_score(entry),
        _ => Ok(()),
    }
}

fn check_score(entry: &Entry<'_>) -> Result<(), String> {
    let is_score = matches!(&*entry.json, "true" | "false") || entry.json.parse::<f64>().is_ok_and(f64::is_finite);
    if is_score {
        Ok(())
    } else {
        Err(format!("`score` has to be a number or a boolean, not {}", name::shortened(&entry.json)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a20a21-7e0f-7329-9a27-ca99f4ef2a5c";
    const RUN: &str = "01a20a21-7e0e-7000-8000-003375a3d3c9";

    fn document(fields: &str) -> Bytes {
        format!(r#"{{"run_id":"{RUN}",{fields}}}"#).into()
    }

    #[test]
    fn nulls_go_and_the_rest_stays() {
        let read = feedback(document(&format!(
            r#""id":"{ID}","key":"k","value":null,"score":0.10,"correction":{{"a":null}}"#
        )));
        let read = read.unwrap();
        assert_eq!(
            (read.id.to_string(), read.run.unwrap().to_string(), read.key.as_str()),
            (ID.into(), RUN.into(), "k")
        );
        let expected = format!(r#"{{"run_id":"{RUN}","id":"{ID}","key":"k","score":0.10,"correction":{{"a":null}}}}"#);
        assert_eq!(read.document, expected);
    }

    #[test]
    fn ids_come_from_the_body_then_from_the_name_then_are_made() {
        let (id, run): (Uuid, Uuid) = (ID.parse().unwrap(), RUN.parse().unwrap());
        let without = document(r#""key":"k","id":null"#);
        assert_eq!(read(&without, Some(id)).unwrap().id.0, id);
        let made = read(&without, Some(run)).unwrap().id.0;
        assert!(made != run && made.get_version_num() == 7);
        assert_ne!(feedback(without.clone()).unwrap().id, feedback(without).unwrap().id);
        let with = document(&format!(r#""key":"k","id":"{ID}""#));
        assert_eq!(read(&with, Some(Uuid::nil())).unwrap().id.0, id);
        assert_eq!(read(br#"{"key":"k"}"#, None).unwrap().run, None);
    }

    #[test]
    fn scores_are_numbers_or_booleans() {
        for score in ["1", "0.1235", "-1e3", "true", "false", "null"] {
            assert!(feedback(document(&format!(r#""key":"k","score":{score}"#))).is_ok(), "{score}");
        }
        for score in ["\"1\"", "[]", "{}", "1e999"] {
            assert!(feedback(document(&format!(r#""key":"k","score":{score}"#))).is_err(), "{score}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (r#""key":"""#, "`key`"),
            (r#""key":null"#, "`key`"),
            (r#""key":1"#, "`key`"),
            (r#""key":"k","id":"x""#, "`id`"),
            (r#""key":"k","comment":1"#, "`comment`"),
            (r#""key":"k","created_at":"x""#, "`created_at`"),
            (r#""key""#, "line 1"),
        ];
        for (fields, named) in cases {
            let error = feedback(document(fields)).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
