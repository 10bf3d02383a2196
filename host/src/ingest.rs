//! INGEST: from the body of a tracing SDK's request to writes of runs, feedback and attachments.
//!
//! A client drops its data on any 4xx, so one bad part never costs the good ones: it is named in [`Batch::refused`], and
//! where the body itself breaks off, what was complete before is there and [`Batch::broken_off`] says why. JSON stays
//! the text that came in: it is checked whole and read one level deep.
//!
//! Knows the wire format (multipart, batch, single, feedback; OpenTelemetry's in [`otlp`]), nothing of HTTP's answers and nothing of the store.

mod batch;
mod error;
mod feedback;
mod form;
mod gathering;
mod head;
mod json;
mod multipart;
mod name;
mod object;
pub mod otlp;
mod parameters;
mod part;
mod run_fields;
mod splitter;
#[cfg(test)]
mod tests;
mod time;

pub use batch::{batch, single};
pub use error::IngestError;
pub use feedback::feedback;
pub use form::{FormPart, form};
pub use multipart::multipart;
pub use time::timestamp;

use crate::limits;
use crate::model::run::{Attachment, FeedbackWrite, RunWrite};

/// What one request brought, each kind in the order of the request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Writes of runs; of one run and layer there may be several, later ones say more.
    pub runs: Vec<RunWrite>,
    /// Feedback.
    pub feedback: Vec<FeedbackWrite>,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// What was not taken, and why.
    pub refused: Vec<RefusedPart>,
    /// Why the rest of the body was not read. What came before is complete, and worth storing: where the client does not
    /// try again, it is all that there will ever be; where it does, the same writes come again. Only where the trouble is
    /// ours ([`crate::intake::BodyError::Busy`]) the client surely tries again, and storing may wait.
    pub broken_off: Option<IngestError>,
}

/// A part of a request that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPart {
    /// `post.<id>.inputs`; `post[3]` of a batch; `part[7]` where it has no name. Cut where it is long.
    pub name: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// How much a request may bring, beside the size of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestLimits {
    /// Parts of a multipart body, runs of a batch.
    pub parts_max: usize,
    /// Bytes of one JSON part.
    pub json_part_bytes_max: usize,
    /// Bytes of one attachment.
    pub attachment_bytes_max: usize,
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self {
            parts_max: limits::INGEST_PARTS_MAX,
            json_part_bytes_max: limits::INGEST_JSON_PART_BYTES_MAX,
            attachment_bytes_max: limits::ATTACHMENT_BYTES_MAX,
        }
    }
}
