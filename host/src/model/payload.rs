//! A payload as the store keeps it, and the final body that it becomes.

use bytes::Bytes;

use crate::model::Timestamp;
use crate::model::ids::{PayloadId, RuleId};

/// A payload that was accepted and not yet fanned out.
#[derive(Clone, Debug)]
pub struct PendingPayload {
    /// Answered to the sender.
    pub id: PayloadId,
    /// The rule whose relay URL it came to.
    pub rule: RuleId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// The JSON document, byte for byte as it was accepted (decoded).
    pub document: Bytes,
    /// Whether it was built here, so that its links are ours; one that was relayed has whatever its sender wrote.
    pub is_built: bool,
}

/// Final bytes with what the receiver needs to read them. Immutable once queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Value of the `content-type` header.
    pub content_type: String,
    /// Headers that a render plugin added, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub bytes: Bytes,
}

impl Body {
    /// `content-type` of a payload that no render stage touched.
    pub const JSON: &'static str = "application/json";

    /// The payload itself as the body.
    pub fn json(bytes: Bytes) -> Self {
        Self { content_type: Self::JSON.to_owned(), headers: Vec::new(), bytes }
    }
}
