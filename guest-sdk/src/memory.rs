//! The native side of the SDK: a payload in memory, for a plugin's own tests. It answers as the host does, but knows none
//! of its bounds and refuses no header; it is not made for speed.
//!
//! The document is kept as text and each call reads the levels that it needs, so that what is not touched stays as it
//! was written.

mod json;
mod time;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::{Error, Result, strings};

pub(crate) fn log(level: &str, message: &str) {
    eprintln!("{level}: {message}");
}

/// A payload's text, and which of its runs is which, however many were dropped.
struct Document {
    text: RefCell<String>,
    keys: RefCell<Vec<usize>>,
    next_key: Cell<usize>,
}

impl Document {
    fn parse(text: &str) -> Result<Rc<Self>> {
        json::check(text).map_err(Error::msg)?;
        if !text.trim_start().starts_with('{') {
            return Err(Error::msg("a payload is a JSON object"));
        }
        let document =
            Self { text: RefCell::new(text.to_owned()), keys: RefCell::default(), next_key: Cell::default() };
        document.number_runs();
        Ok(Rc::new(document))
    }

    /// Gives the runs new keys: handles to the old ones find nothing.
    fn number_runs(&self) {
        let len = json::array_len(&self.text.borrow(), "/runs");
        let first = self.next_key.replace(self.next_key.get() + len);
        *self.keys.borrow_mut() = (first..first + len).collect();
    }

    /// After an edit of the runs as a whole: handles keep their places, unless there are more or fewer now.
    fn renumber_runs(&self) -> bool {
        if json::array_len(&self.text.borrow(), "/runs") != self.keys.borrow().len() {
            self.number_runs();
        }
        false
    }

    fn get(&self, pointer: &str) -> Option<String> {
        json::get(&self.text.borrow(), &json::tokens(pointer).ok()?).map(str::to_owned)
    }

    fn text(&self, pointer: &str) -> Option<String> {
        let value = self.get(pointer).filter(|value| value.starts_with('"'))?;
        Some(strings::unescaped(&value).into_owned())
    }

    fn number<T: serde::de::DeserializeOwned>(&self, pointer: &str) -> Option<T> {
        serde_json::from_str(&self.get(pointer)?).ok()
    }

    fn set(&self, pointer: &str, value: &str) -> Result<(), String> {
        json::check(value)?;
        let tokens = json::tokens(pointer)?;
        let edited = json::set(&self.text.borrow(), &tokens, value).ok_or(format!("there is no place `{pointer}`"))?;
        self.text.replace(edited);
        self.after_edit(&tokens);
        Ok(())
    }

    fn remove(&self, pointer: &str) -> bool {
        let Ok(tokens) = json::tokens(pointer) else { return false };
        if let [runs, index] = tokens.as_slice()
            && runs == "runs"
        {
            return index.parse().is_ok_and(|index| self.drop_run(index));
        }
        let removed = self.take(&tokens);
        self.after_edit(&tokens) || removed
    }

    fn take(&self, tokens: &[String]) -> bool {
        let edited = json::remove(&self.text.borrow(), tokens);
        edited.is_some_and(|edited| {
            self.text.replace(edited);
            true
        })
    }

    /// Removes what else carries an edited field, and keeps the runs' keys right. True where something was removed.
    fn after_edit(&self, tokens: &[String]) -> bool {
        match tokens {
            [] => self.renumber_runs(),
            [runs] | [runs, _] if runs == "runs" => self.renumber_runs(),
            [runs, index, field, ..] if runs == "runs" && (field == "inputs" || field == "outputs") => {
                let twins = [format!("{field}_preview"), format!("{field}_s3_urls"), "messages".to_owned()];
                let removed = twins.map(|twin| self.take(&[runs.clone(), index.clone(), twin]));
                removed.contains(&true)
            }
            _ => false,
        }
    }

    fn drop_run(&self, index: usize) -> bool {
        if index >= self.keys.borrow().len() {
            return false;
        }
        self.keys.borrow_mut().remove(index);
        self.take(&["runs".to_owned(), index.to_string()])
    }
}

/// A run of a document in memory.
pub(crate) struct RunHandle {
    document: Rc<Document>,
    key: usize,
}

impl RunHandle {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if !text.trim_start().starts_with('{') {
            return Err(Error::msg("a run is a JSON object"));
        }
        Ok(Self { document: Document::parse(&format!(r#"{{"runs":[{text}]}}"#))?, key: 0 })
    }

    fn at(&self, pointer: &str) -> Option<String> {
        let index = self.document.keys.borrow().iter().position(|key| *key == self.key)?;
        Some(format!("/runs/{index}{pointer}"))
    }

    fn field(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> String {
        self.field("/id")
    }

    pub(crate) fn name(&self) -> String {
        self.field("/name")
    }

    pub(crate) fn run_type(&self) -> String {
        self.field("/run_type")
    }

    pub(crate) fn status(&self) -> String {
        self.field("/status")
    }

    pub(crate) fn error(&self) -> Option<String> {
        self.text("/error")
    }

    pub(crate) fn tags(&self) -> Vec<String> {
        self.at("/tags").and_then(|tags| self.document.number(&tags)).unwrap_or_default()
    }

    pub(crate) fn start_time(&self) -> Option<String> {
        self.text("/start_time")
    }

    pub(crate) fn end_time(&self) -> Option<String> {
        self.text("/end_time")
    }

    pub(crate) fn latency_ms(&self) -> Option<f64> {
        time::milliseconds(&self.start_time()?, &self.end_time()?)
    }

    pub(crate) fn total_tokens(&self) -> Option<u64> {
        self.at("/total_tokens").and_then(|tokens| self.document.number(&tokens))
    }

    pub(crate) fn url(&self) -> Option<String> {
        self.text("/trace_url").or_else(|| self.text("/app_path"))
    }

    pub(crate) fn get(&self, pointer: &str) -> Option<String> {
        self.document.get(&self.at(pointer)?)
    }

    pub(crate) fn text(&self, pointer: &str) -> Option<String> {
        self.document.text(&self.at(pointer)?)
    }

    pub(crate) fn set(&self, pointer: &str, value: &str) -> Result<(), String> {
        let at = self.at(pointer).ok_or("the run was dropped")?;
        self.document.set(&at, value)
    }

    pub(crate) fn remove(&self, pointer: &str) -> bool {
        !pointer.is_empty() && self.at(pointer).is_some_and(|at| self.document.remove(&at))
    }
}

/// A document in memory.
pub(crate) struct PayloadHandle(Rc<Document>);

impl PayloadHandle {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Document::parse(text).map(Self)
    }

    pub(crate) fn rule_id(&self) -> String {
        self.text("/rule_id").unwrap_or_default()
    }

    pub(crate) fn start_time(&self) -> String {
        self.text("/start_time").unwrap_or_default()
    }

    pub(crate) fn end_time(&self) -> String {
        self.text("/end_time").unwrap_or_default()
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.0.keys.borrow().len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn run(&self, index: u32) -> Option<RunHandle> {
        let key = *self.0.keys.borrow().get(index as usize)?;
        Some(RunHandle { document: Rc::clone(&self.0), key })
    }

    pub(crate) fn drop_run(&self, index: u32) -> bool {
        self.0.drop_run(index as usize)
    }

    pub(crate) fn get(&self, pointer: &str) -> Option<String> {
        self.0.get(pointer)
    }

    pub(crate) fn text(&self, pointer: &str) -> Option<String> {
        self.0.text(pointer)
    }

    pub(crate) fn set(&self, pointer: &str, value: &str) -> Result<(), String> {
        self.0.set(pointer, value)
    }

    pub(crate) fn remove(&self, pointer: &str) -> bool {
        self.0.remove(pointer)
    }

    pub(crate) fn json(&self) -> String {
        self.0.text.borrow().clone()
    }
}

/// A body in memory.
#[derive(Default)]
pub(crate) struct BodyHandle {
    content_type: RefCell<Option<String>>,
    headers: RefCell<Vec<(String, String)>>,
    bytes: RefCell<Vec<u8>>,
}

impl BodyHandle {
    pub(crate) fn set_content_type(&self, value: &str) -> Result<(), String> {
        self.content_type.replace(Some(value.to_owned()));
        Ok(())
    }

    pub(crate) fn set_header(&self, name: &str, value: &str) -> Result<(), String> {
        self.headers.borrow_mut().push((name.to_ascii_lowercase(), value.to_owned()));
        Ok(())
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), String> {
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.borrow().clone()
    }

    pub(crate) fn content_type(&self) -> Option<String> {
        self.content_type.borrow().clone()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let headers = self.headers.borrow();
        headers.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Payload, Run};

    #[test]
    fn a_run_stays_itself_when_others_are_dropped() {
        let payload = Payload::from_json(r#"{"runs": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}"#).unwrap();
        let last = payload.run(2).unwrap();
        payload.retain(|run| run.id() != "a");
        assert_eq!((payload.len(), last.id()), (2, "c".to_owned()));
        last.set("/name", "still here").unwrap();
        assert_eq!(payload.json(), r#"{"runs":[{"id": "b"},{"id":"c","name":"still here"}]}"#);
    }

    #[test]
    fn an_edit_of_inputs_removes_what_else_carries_them() {
        let run = Run::from_json(
            r#"{"inputs": {"q": "x"}, "inputs_preview": "x", "inputs_s3_urls": {}, "messages": [], "outputs_preview": 1}"#,
        )
        .unwrap();
        run.set("/inputs/q", "y").unwrap();
        assert_eq!(run.json("").unwrap(), r#"{"inputs":{"q":"y"},"outputs_preview":1}"#);
        assert!(run.remove("/outputs"), "the preview carried them");
        assert_eq!(run.json("").unwrap(), r#"{"inputs":{"q":"y"}}"#);
        assert!(!run.remove("/outputs"));
    }

    #[test]
    fn an_edit_acts_on_every_twin_of_a_key() {
        let run = Run::from_json(r#"{"inp\u0075ts": 1, "inputs": 2}"#).unwrap();
        assert_eq!(run.json("/inputs").as_deref(), Some("2"));
        run.set("/inputs", "x").unwrap();
        assert_eq!(run.json("").unwrap(), r#"{"inputs":"x","inputs":"x"}"#);
        assert!(run.remove("/inputs"));
        assert_eq!(run.json("").unwrap(), "{}");
    }

    #[test]
    fn what_is_not_touched_stays_as_written() {
        let payload = Payload::from_json("{\"runs\": [], \"threads\": [ 1.50 , {\"a\":\n 2} ]}").unwrap();
        payload.set("/note", "n").unwrap();
        assert_eq!(payload.json_at("/threads").unwrap(), "[ 1.50 , {\"a\":\n 2} ]");
    }

    #[test]
    fn a_pointer_reaches_keys_with_slashes_and_tildes() {
        let run = Run::from_json(r#"{"a/b": {"m~n": 1, "": 2}, "list": [5], "half": "\ud83d"}"#).unwrap();
        assert_eq!(run.text("/half").as_deref(), Some("\u{fffd}"));
        assert_eq!(run.json("/a~1b/m~0n").as_deref(), Some("1"));
        assert_eq!(run.json("/a~1b/").as_deref(), Some("2"));
        for none in ["a~1b", "/a~2b", "/list/00", "/list/+0", "/list/-", "/list/1", "/a/b"] {
            assert_eq!(run.json(none), None, "{none}");
        }
    }

    #[test]
    fn a_handle_outlives_an_edit_of_the_whole_payload() {
        let payload = Payload::from_json(r#"{"runs": [{"id": "a"}, {"id": "b"}]}"#).unwrap();
        let run = payload.run(1).unwrap();
        payload.set_json("", r#"{"runs": [{"id": "a"}, {"id": "c"}]}"#).unwrap();
        assert_eq!(run.id(), "c");
        assert!(payload.remove("/runs/0"));
        assert_eq!((run.id(), payload.len()), ("c".to_owned(), 1));
        assert!(!payload.remove("/runs/1"));
    }

    #[test]
    fn an_array_grows_at_its_end_only() {
        let run = Run::from_json(r#"{"tags": ["a"]}"#).unwrap();
        run.set("/tags/-", "b").unwrap();
        assert!(run.set("/tags/5", "c").is_err());
        assert!(run.set("/missing/field", "c").is_err());
        assert_eq!(run.tags(), ["a", "b"]);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let run = Run::from_json("{}").unwrap();
        for bad in ["", "nul", "NaN", "{\"a\":1", "1 2"] {
            assert!(run.set_json("/x", bad).is_err(), "{bad}");
        }
        assert_eq!(run.json("").as_deref(), Some("{}"));
    }

    #[test]
    fn latency_reads_naive_and_zoned_times() {
        let naive = r#"{"start_time": "2026-07-01T09:00:12.345678", "end_time": "2026-07-01T09:00:13.900000"}"#;
        assert_eq!(Run::from_json(naive).unwrap().latency_ms(), Some(1554.322));
        let zoned = r#"{"start_time": "2026-07-01T11:00:00+02:00", "end_time": "2026-07-01T09:00:01Z"}"#;
        assert_eq!(Run::from_json(zoned).unwrap().latency_ms(), Some(1000.0));
    }
}
