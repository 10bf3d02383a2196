//! A run of the payload, as a plugin sees it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::backend::RunHandle;
use crate::{Error, Result};

/// One run of the payload. The methods ask the host; nothing is copied before.
///
/// A `pointer` is a JSON pointer (RFC 6901) from the run: `""` is the whole run, `/inputs/question` a field of a
/// field, `/tags/0` the first element of an array, `/tags/-` the place behind the last one (for [`Run::set`]).
/// `~1` stands for a `/` in a key, `~0` for a `~`.
///
/// ```
/// use runhook_sdk::prelude::*;
///
/// #[filter]
/// fn keep_dear_ones(run: &Run) -> bool {
///     run.total_tokens().is_some_and(|tokens| tokens > 1000) || run.tags().contains(&"always".to_owned())
/// }
///
/// let run = Run::from_json(r#"{"total_tokens": 7, "tags": ["always"], "inputs": {"question": "why?"}}"#)?;
/// assert!(keep_dear_ones(&run));
/// assert_eq!(run.text("/inputs/question").as_deref(), Some("why?"));
/// assert_eq!(run.get::<Vec<String>>("/tags")?, Some(vec!["always".to_owned()]));
/// run.set("/tags/-", "seen")?;
/// assert_eq!(run.json("/tags").as_deref(), Some(r#"["always","seen"]"#));
/// # Ok::<(), Error>(())
/// ```
#[cfg_attr(target_family = "wasm", derive(ref_cast::RefCast))]
#[repr(transparent)]
pub struct Run(RunHandle);

impl Run {
    pub(crate) fn of(handle: RunHandle) -> Self {
        Self(handle)
    }

    /// The run's id; like the other text fields `""` where there is none.
    pub fn id(&self) -> String {
        self.0.id()
    }

    /// The run's name.
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// `chain`, `llm`, `tool`, `retriever`, `embedding`, `prompt` or `parser`.
    pub fn run_type(&self) -> String {
        self.0.run_type()
    }

    /// `success`, `error` or `pending`.
    pub fn status(&self) -> String {
        self.0.status()
    }

    /// The error text, where the run has one.
    pub fn error(&self) -> Option<String> {
        self.0.error()
    }

    /// The run's tags.
    pub fn tags(&self) -> Vec<String> {
        self.0.tags()
    }

    /// When the run began, as the payload says it; a time without a zone means UTC.
    pub fn start_time(&self) -> Option<String> {
        self.0.start_time()
    }

    /// When the run ended, as the payload says it.
    pub fn end_time(&self) -> Option<String> {
        self.0.end_time()
    }

    /// Milliseconds from start to end.
    pub fn latency_ms(&self) -> Option<f64> {
        self.0.latency_ms()
    }

    /// Tokens of prompt and completion together.
    pub fn total_tokens(&self) -> Option<u64> {
        self.0.total_tokens()
    }

    /// The link to the run: its `trace_url`, else its `app_path`.
    pub fn url(&self) -> Option<String> {
        self.0.url()
    }

    /// The string at a pointer; none where there is no string.
    pub fn text(&self, pointer: &str) -> Option<String> {
        self.0.text(pointer)
    }

    /// The JSON text at a pointer, exactly as it stands in the payload.
    pub fn json(&self, pointer: &str) -> Option<String> {
        self.0.get(pointer)
    }

    /// The value at a pointer, as a type of yours; none where there is nothing.
    ///
    /// # Errors
    /// The value is of another type.
    pub fn get<T: DeserializeOwned>(&self, pointer: &str) -> Result<Option<T>> {
        parse_at(self.json(pointer), pointer)
    }

    /// Replaces the value at a pointer, or adds it where its parent exists.
    ///
    /// An edit of `inputs` or `outputs`, or of something in them, also removes what else carries them: the previews,
    /// the links to the object store, and `messages`.
    ///
    /// # Errors
    /// The parent does not exist, or the pointer is none.
    pub fn set(&self, pointer: &str, value: impl Serialize) -> Result<()> {
        self.set_json(pointer, &serde_json::to_string(&value)?)
    }

    /// Replaces the value at a pointer with a JSON text, as [`Run::set`] does.
    ///
    /// # Errors
    /// As [`Run::set`], or the text is no JSON.
    pub fn set_json(&self, pointer: &str, json: &str) -> Result<()> {
        self.0.set(pointer, json).map_err(Error::msg)
    }

    /// Removes the value at a pointer, and what else carries it as [`Run::set`] does. False where there was none.
    pub fn remove(&self, pointer: &str) -> bool {
        self.0.remove(pointer)
    }
}

#[cfg(not(target_family = "wasm"))]
impl Run {
    /// A run in memory, for tests.
    ///
    /// # Errors
    /// The text is no JSON object.
    pub fn from_json(json: &str) -> Result<Self> {
        RunHandle::parse(json).map(Self)
    }
}

/// Reads a value that was found at a pointer.
pub(crate) fn parse_at<T: DeserializeOwned>(json: Option<String>, pointer: &str) -> Result<Option<T>> {
    let parse = |json: String| serde_json::from_str(&json).map_err(|error| Error::from(error).context(pointer));
    json.map(parse).transpose()
}
