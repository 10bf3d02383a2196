//! Fields of runs that lie elsewhere: null or absent in the run, with a link beside them. Pure: who has the value brings
//! it. Only what is read of such a field is looked at; only an edit takes it into the document.

use bytes::Bytes;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};

use super::edit::{self, Known};
use super::error::{DocumentError, EditError};
use super::pointer::Pointer;
use super::read::{FIELDS_MAX, not_utf8};
use super::run::fields_within;
use super::{Document, Route, RunKey, find, run_prefix};

/// A field of a run that lies elsewhere when it is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LargeField {
    /// `inputs`
    Inputs,
    /// `outputs`
    Outputs,
}

impl LargeField {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Inputs, Self::Outputs];

    /// The one that a pointer of a run leads to or into.
    pub fn of(pointer: &str) -> Option<Self> {
        let is_at = |field: &Self| {
            pointer.strip_prefix(field.pointer()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        Self::ALL.into_iter().find(is_at)
    }

    /// Its name in a run.
    pub fn name(self) -> &'static str {
        self.pointer().trim_start_matches('/')
    }

    /// Where it stands in a run.
    pub fn pointer(self) -> &'static str {
        match self {
            Self::Inputs => "/inputs",
            Self::Outputs => "/outputs",
        }
    }

    /// Where its links stand in a run: `{"ROOT": {"presigned_url", "s3_url"}}`.
    fn links(self) -> &'static str {
        match self {
            Self::Inputs => "/inputs_s3_urls",
            Self::Outputs => "/outputs_s3_urls",
        }
    }
}

/// Where the value of a field is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLink {
    /// `presigned_url`
    pub url: String,
    /// `s3_url`, where there is one. Whoever wrote the payload wrote this.
    pub key: Option<String>,
}

/// Checks that what was fetched for a field is one JSON value, and takes the white space around it away.
///
/// # Errors
/// [`DocumentError::Syntax`].
pub fn linked_value(bytes: Bytes) -> Result<ByteString, DocumentError> {
    let text = ByteString::try_from(bytes.clone()).map_err(|_| not_utf8(&bytes))?;
    let place = edit::value_place(&text)?;
    Ok(text.slice_ref(&text[place]))
}

/// The JSON text at a pointer of a run, of which `value` is the field that the pointer leads to or into.
pub fn within<'a>(value: &'a str, pointer: &str) -> Option<&'a str> {
    let (_, rest) = Pointer::parse(pointer)?.split_first()?;
    Some(&value[find::find(value.as_bytes(), 0..value.len(), rest)?])
}

impl Document {
    /// Where a field of a run is that is null or absent in it; none where it is there or nobody says where it is.
    pub fn link(&self, key: RunKey, field: LargeField) -> Option<FieldLink> {
        if self.run_get(key, field.pointer()).is_some_and(|value| value != "null") {
            return None;
        }
        let text = |name| self.run_text(key, &format!("{}/ROOT/{name}", field.links()));
        Some(FieldLink { url: text("presigned_url")?, key: text("s3_url") })
    }

    /// Puts a field that was fetched into the run, and removes its links. Nothing else of the run goes.
    ///
    /// # Errors
    /// See [`EditError`]; nothing is changed then.
    pub fn take_in(&mut self, key: RunKey, field: LargeField, value: &str) -> Result<(), EditError> {
        let run = self.known_run(key).ok_or(EditError::Dropped)?;
        let unlinked = edit::remove(&run, Pointer::ours(field.links()));
        let run = unlinked.as_deref().map_or(run, Known::of);
        let whole = edit::set(&run, Pointer::ours(field.pointer()), value)?;
        let fields = fields_within(&whole, FIELDS_MAX.saturating_sub(self.own_fields))?;
        self.put_run(key, whole, fields);
        Ok(())
    }

    /// The run that a pointer of the payload leads to or into, and the rest of the pointer.
    pub fn run_at<'a>(&self, pointer: &'a str) -> Option<(RunKey, &'a str)> {
        match self.route(Pointer::parse(pointer)?)? {
            Route::Run(key, _) => Some((key, &pointer[run_prefix(pointer)..])),
            Route::Whole | Route::Runs | Route::NewRun | Route::Frame => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINKED: &str = r#"{"runs":[{"id":"1","inputs_preview":"p","inputs":null,"messages":[],
        "inputs_s3_urls":{"ROOT":{"presigned_url":"u","s3_url":"k"}},"outputs":{"a":1}}]}"#;

    fn document(text: &str) -> (Document, RunKey) {
        let document = Document::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        let run = document.run(0).unwrap();
        (document, run)
    }

    fn url_of(run: &str) -> Option<String> {
        let (document, run) = document(&format!(r#"{{"runs":[{run}]}}"#));
        document.link(run, LargeField::Outputs).map(|link| link.url)
    }

    #[test]
    fn a_field_lies_elsewhere_where_it_is_null_or_absent_beside_a_link() {
        let link = r#""outputs_s3_urls":{"ROOT":{"presigned_url":"u"}}"#;
        assert_eq!(url_of(&format!(r#"{{"outputs":null,{link}}}"#)).as_deref(), Some("u"));
        assert_eq!(url_of(&format!("{{{link}}}")).as_deref(), Some("u"));
        assert_eq!(url_of(&format!(r#"{{"outputs":{{}},{link}}}"#)), None, "what stands there counts");
        for no_link in
            ["null", "{}", r#"{"ROOT":null}"#, r#"{"ROOT":{"presigned_url":7}}"#, r#"{"x":{"presigned_url":"u"}}"#]
        {
            assert_eq!(url_of(&format!(r#"{{"outputs":null,"outputs_s3_urls":{no_link}}}"#)), None, "{no_link}");
        }
        assert_eq!(url_of("7"), None);
    }

    #[test]
    fn what_is_taken_in_replaces_the_link_and_leaves_the_rest() {
        let (mut document, run) = document(LINKED);
        assert_eq!(document.link(run, LargeField::Inputs).unwrap().key.as_deref(), Some("k"));
        document.take_in(run, LargeField::Inputs, r#"{"q": 1.50}"#).unwrap();
        let taken_in =
            r#"{"runs":[{"id":"1","inputs_preview":"p","inputs":{"q": 1.50},"messages":[],"outputs":{"a":1}}]}"#;
        assert_eq!(document.get("").unwrap(), taken_in);
        assert_eq!(document.link(run, LargeField::Inputs), None);
        assert!(document.drop_run(run));
        assert_eq!(document.take_in(run, LargeField::Inputs, "1"), Err(EditError::Dropped));
    }

    #[test]
    fn pointers_find_their_way_through_what_was_fetched() {
        let value = linked_value(Bytes::from_static(b" {\"a/b\": [1, {\"c\": \"x\"}]}\n")).unwrap();
        assert_eq!(within(&value, "/inputs"), Some(&*value));
        assert_eq!(within(&value, "/inputs/a~1b/1/c"), Some("\"x\""));
        for nowhere in ["/inputs/a", "/inputs/a~1b/2", "/inputs/a~1b/1/c/d", "inputs", ""] {
            assert_eq!(within(&value, nowhere), None, "{nowhere}");
        }
        assert_eq!(LargeField::of("/outputs/x"), Some(LargeField::Outputs));
        assert_eq!(LargeField::of("/inputs"), Some(LargeField::Inputs));
        assert_eq!(["/input", "/inputs_preview", "/name", "", "inputs"].map(LargeField::of), [None; 5]);
    }

    #[test]
    fn what_is_not_one_json_value_is_told_by_its_place() {
        for (bytes, says) in
            [(&b"{\"a\": }"[..], "line 1, column 7"), (b"1 2", "column 3"), (b"\"\xff\"", "UTF-8"), (b"", "not JSON")]
        {
            let error = linked_value(Bytes::copy_from_slice(bytes)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_pointer_of_the_payload_is_split_at_its_run() {
        let (document, run) = document(LINKED);
        assert_eq!(document.run_at("/runs/0/inputs/q"), Some((run, "/inputs/q")));
        assert_eq!(document.run_at("/runs/0"), Some((run, "")));
        for other in ["", "/runs", "/runs/1", "/runs/-", "/rule_id", "runs/0"] {
            assert_eq!(document.run_at(other), None, "{other}");
        }
    }
}
