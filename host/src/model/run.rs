//! A run, what is written of it, and what is said about it.

use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

use crate::model::Timestamp;
use crate::model::ids::{FeedbackId, ProjectId, RunId};

/// Which call brought a part of a run. Where both say something about a field, the patch holds, whichever came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// `POST /runs`, `post` of a batch, `post.<id>` of a multipart body.
    Post,
    /// `PATCH /runs/{id}`, `patch` of a batch, `patch.<id>` of a multipart body.
    Patch,
}

/// One write of a run, as a request brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunWrite {
    /// The client's.
    pub id: RunId,
    /// Which half of the run it is.
    pub layer: Layer,
    /// A JSON object: the fields as sent, those of separate parts put in. None of them is null, none comes twice.
    pub document: Bytes,
}

/// One write of feedback, as a request brought it. A later one with the same id replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackWrite {
    /// The client's, or made where it gave none.
    pub id: FeedbackId,
    /// Absent where it is about a project.
    pub run: Option<RunId>,
    /// What is judged: `correctness`, `thumbs`.
    pub key: String,
    /// A JSON object without nulls.
    pub document: Bytes,
}

/// A file that came with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The run.
    pub run: RunId,
    /// Without a dot, as the SDKs have it.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// As sent.
    pub bytes: Bytes,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It has no end yet.
    Pending,
    /// It ended without an error.
    Success,
    /// It has an error.
    Error,
}

/// Tokens of a run; zero where nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the input.
    pub prompt: u64,
    /// Of the output.
    pub completion: u64,
    /// As the client counts; the sum where it does not say.
    pub total: u64,
}

/// Costs of a run in USD, as decimal text; absent where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Of the input.
    pub prompt: Option<String>,
    /// Of the output.
    pub completion: Option<String>,
    /// In all.
    pub total: Option<String>,
}

/// Keys of the blobs that hold fields of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunBlobs {
    /// Of its inputs.
    pub inputs: Option<String>,
    /// Of its outputs.
    pub outputs: Option<String>,
}

/// A run as its two layers make it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The client's.
    pub id: RunId,
    /// The id of the trace's root run.
    pub trace: RunId,
    /// None for a root run.
    pub parent: Option<RunId>,
    /// The project.
    pub project: ProjectId,
    /// Its name.
    pub name: String,
    /// `chain`, `llm`, `tool`, … in lower case.
    pub run_type: String,
    /// Place in the trace: ancestors and itself, each as start time and id; sorts as the tree does.
    pub dotted_order: String,
    /// When it began.
    pub start_time: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// When the first token came.
    pub first_token_time: Option<Timestamp>,
    /// When runhook stored it last.
    pub modified_at: Timestamp,
    /// Derived: no SDK sends it.
    pub status: Status,
    /// The error's text.
    pub error: Option<String>,
    /// In the order given.
    pub tags: Vec<String>,
    /// Tokens.
    pub tokens: Tokens,
    /// Costs.
    pub costs: Costs,
    /// The example of a dataset that it was run on.
    pub reference_example: Option<Uuid>,
    /// JSON text, an object as a rule; absent where nothing was sent, or where it is a blob.
    pub inputs: Option<ByteString>,
    /// The same.
    pub outputs: Option<ByteString>,
    /// Keys of the blobs that hold inputs and outputs which are too large to stand here.
    pub blobs: RunBlobs,
    /// JSON object with `metadata` and `runtime`.
    pub extra: Option<ByteString>,
    /// JSON array.
    pub events: Option<ByteString>,
    /// JSON object.
    pub serialized: Option<ByteString>,
}

impl Run {
    /// Whether it is the root of its trace.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }
}

/// What somebody says about a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Feedback {
    /// The client's.
    pub id: FeedbackId,
    /// The run.
    pub run: Option<RunId>,
    /// What is judged.
    pub key: String,
    /// A number; `true` is 1, `false` is 0.
    pub score: Option<f64>,
    /// JSON text: a string as a rule.
    pub value: Option<ByteString>,
    /// In words.
    pub comment: Option<String>,
    /// JSON text: what would have been right.
    pub correction: Option<ByteString>,
    /// `api`, `app`, `model`.
    pub source_type: Option<String>,
    /// When it was given.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub modified_at: Timestamp,
}
