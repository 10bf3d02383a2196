//! Feedback out of its document.

use bytestring::ByteString;

use crate::document;
use crate::model::Timestamp;
use crate::model::ids::{FeedbackId, RunId};
use crate::model::run::Feedback;

use super::known::FeedbackFields;
use super::{LayerError, text, time, uuid};

/// The feedback of a document; its times are when it was stored where it has none.
///
/// # Errors
/// Where the document is no JSON object.
pub fn feedback(id: FeedbackId, document: &ByteString, stored_at: Timestamp) -> Result<Feedback, LayerError> {
    let fields = FeedbackFields::read(document)?;
    let slice = |value: Option<&str>| value.map(|value| document.slice_ref(value));
    let created_at = fields.created_at.and_then(time::time);
    Ok(Feedback {
        id,
        run: fields.run_id.and_then(uuid).map(RunId),
        key: fields.key.and_then(text).unwrap_or_default(),
        score: fields.score.and_then(score),
        value: slice(fields.value),
        comment: fields.comment.and_then(text),
        correction: slice(fields.correction),
        source_type: fields.feedback_source.and_then(|source| text(document::member(source, "type")?)),
        created_at: created_at.unwrap_or(stored_at),
        modified_at: fields.modified_at.and_then(time::time).or(created_at).unwrap_or(stored_at),
    })
}

fn score(json: &str) -> Option<f64> {
    match json {
        "true" => Some(1.0),
        "false" => Some(0.0),
        number => number.parse().ok().filter(|score: &f64| score.is_finite()),
    }
}
