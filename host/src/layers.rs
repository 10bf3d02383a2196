//! A run as its two halves make it: what came by post and what came by patch. Pure.
//!
//! A half is a JSON object of top-level fields, stored as text. Where both have a field the patch's holds, whichever
//! came first; only `extra` and its `metadata` are merged key by key, because a client that patches them by hand sends
//! the new keys alone. What a client wrote is never refused for its sense: a field that cannot be read counts as
//! absent, since a run that cannot be read could never be delivered. Values are taken as they stand, however deep.
//!
//! Knows nothing of requests, SQL or payloads.

mod blob;
mod decimal;
mod dotted_order;
mod feedback;
mod head;
mod known;
mod merge;
#[cfg(test)]
mod tests;
mod time;
mod usage;
mod whole;

use std::borrow::Cow;

use bytes::Bytes;
use thiserror::Error;

use crate::document::{self, Syntax};
use crate::model::run::Run;

pub use blob::{blob, reference, with_references};
pub use dotted_order::ancestors;
pub use feedback::feedback;
pub use head::{Head, head};
pub use time::time;
pub use whole::run;

/// Why a half or a piece of feedback cannot be read: it is not what intake stores.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LayerError {
    /// Of bytes.
    #[error("the stored document is not UTF-8")]
    Utf8,
    /// Of text.
    #[error("the stored document is no JSON object: {0}")]
    Syntax(#[from] Syntax),
}

/// Adds a later write to a half: fields of the later one win, values stay as they stand. The stored fields that it does
/// not have come first.
///
/// # Errors
/// Where one of the two is no JSON object. The first write is taken as it is.
pub fn add(stored: Option<&[u8]>, later: &Bytes) -> Result<Bytes, LayerError> {
    let Some(stored) = stored else { return Ok(later.clone()) };
    Ok(merge::add(utf8(stored)?, utf8(later)?)?.into())
}

/// The keys of `extra.metadata` that name a thread (docs.langchain.com/langsmith/threads), the strongest first. The SDKs
/// write `thread_id`; what another system calls its session is the weaker witness.
const THREAD_KEYS: [&str; 3] = ["thread_id", "session_id", "conversation_id"];

/// The thread (conversation) that a run says it belongs to. A value that is no string is taken as its JSON text.
pub fn thread_id(run: &Run) -> Option<String> {
    let metadata = document::member(run.extra.as_deref()?, "metadata")?;
    let values = THREAD_KEYS.iter().filter_map(|key| document::member(metadata, key));
    let text = values.map(text_or_json).find(|text| !matches!(&**text, "" | "null"))?;
    Some(text.into_owned())
}

fn utf8(bytes: &[u8]) -> Result<&str, LayerError> {
    std::str::from_utf8(bytes).map_err(|_| LayerError::Utf8)
}

/// A string's content; none where it is no string.
fn text(json: &str) -> Option<String> {
    document::text(json).map(Cow::into_owned)
}

/// A string's content, or the JSON text of what is no string.
fn text_or_json(json: &str) -> Cow<'_, str> {
    document::text(json).unwrap_or(Cow::Borrowed(json))
}

/// A UUID in a JSON string.
fn uuid(json: &str) -> Option<uuid::Uuid> {
    document::text(json)?.parse().ok()
}
