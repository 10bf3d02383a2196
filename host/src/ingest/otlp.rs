//! The OTLP/HTTP door's body: an `ExportTraceServiceRequest` as writes of runs, and the answer to it.
//!
//! Two decoders, `protobuf` and `json`, hand over one span at a time; `mapping` makes a run of each; `tree` says
//! where in its trace it stands. Bounds are kept while decoding, so that a small hostile body cannot become a large one
//! in memory. A span that breaks a rule is rejected alone; a body that cannot be decoded is refused as a whole.
//!
//! Pure: knows nothing of HTTP, stores or clocks. Wire facts: opentelemetry-proto `docs/specification.md`.

mod answer;
mod embedded;
mod ids;
mod json;
mod mapping;
mod protobuf;
mod span;
#[cfg(test)]
mod tests;
mod time;
mod tree;
mod value;
mod wire;

pub use answer::{failure, response};

use crate::model::run::RunWrite;
use span::{Origin, Reading, Span};
use tree::Draft;

/// Spans of one request, rejected ones included. SDKs send 512 at a time, collectors 8192.
pub const SPANS_MAX: usize = 50_000;

/// Attribute values of one span, those of its events and those inside lists and maps included.
pub const VALUES_MAX: usize = 20_000;

/// How deep lists and maps nest in an attribute.
pub const NESTING_MAX: usize = 24;

/// What the documents of one request take together, in bytes. Each has its resource's attributes in it, so that they can
/// be many times the body's size.
pub const DOCUMENTS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How the request is encoded, and so the answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Binary protobuf.
    Protobuf,
    /// OTLP/JSON: camelCase keys, ids in hex, enums as numbers, 64-bit integers as text.
    Json,
}

impl Encoding {
    /// By media type; parameters such as `charset` make no difference. None for a type that OTLP/HTTP does not have.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Protobuf, Self::Json].into_iter().find(|it| media_type.eq_ignore_ascii_case(it.content_type()))
    }

    /// The media type of requests and answers.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// What a request brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// One write a span, in the request's order; all of [`Layer::Post`](crate::model::run::Layer::Post).
    pub runs: Vec<RunWrite>,
    /// The spans that became no run.
    pub rejected: Vec<RejectedSpan>,
}

/// A span that became no run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedSpan {
    /// Its name, shortened, or its place in the request where the name could not be read: `span 3`.
    pub span: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// Why a whole request is refused. All of them are the client's fault: HTTP 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// The protobuf message ends too early, or has a wire type that does not exist.
    #[error("the body is no ExportTraceServiceRequest: {problem} at byte {at}")]
    Protobuf {
        /// Offset in the body.
        at: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// The JSON text is none, or has another shape.
    #[error("the body is no ExportTraceServiceRequest in JSON: {0}")]
    Json(String),
    /// A resource or an instrumentation scope breaks a bound.
    #[error("the attributes of a {owner} {problem}")]
    Attributes {
        /// `resource` or `scope`.
        owner: &'static str,
        /// Which bound.
        problem: String,
    },
    /// More than [`SPANS_MAX`].
    #[error("the request has more than {SPANS_MAX} spans; send fewer at a time")]
    TooManySpans,
}

/// Decodes an `ExportTraceServiceRequest` and maps its spans to writes of runs.
///
/// `project` is the header `Langsmith-Project`; a span's own `langsmith.trace.session_name` goes before it. Where neither
/// says anything, the documents have no `session_name`.
///
/// Each document is a run as LangSmith's SDKs post it: `id`, `trace_id`, `parent_run_id`, `dotted_order` (where it can be
/// known within the request), `name`, `run_type`, `start_time`, `end_time`, `session_name`, `session_id`, `inputs`, `outputs`,
/// `error`, `tags`, `reference_example_id`, `events`, `extra` with `metadata`, `invocation_params` and `runtime`. Only
/// what is there is written.
///
/// # Errors
/// See [`OtlpError`]; spans that are wrong in themselves are in [`Traces::rejected`].
pub fn traces(encoding: Encoding, body: &[u8], project: Option<&str>) -> Result<Traces, OtlpError> {
    let project = project.filter(|name| !name.is_empty());
    let mut collected = Collected { project, drafts: Vec::new(), bytes: 0, is_full: false, rejected: Vec::new() };
    match encoding {
        Encoding::Protobuf => protobuf::read(body, &mut |origin, span| collected.take(origin, span))?,
        Encoding::Json => json::read(body, &mut |origin, span| collected.take(origin, span))?,
    }
    Ok(Traces { runs: tree::placed(collected.drafts), rejected: collected.rejected })
}

/// What is mapped so far.
struct Collected<'p> {
    project: Option<&'p str>,
    drafts: Vec<Draft>,
    bytes: usize,
    /// The documents reached their bound: nothing is mapped any more, for mapping is what costs time.
    is_full: bool,
    rejected: Vec<RejectedSpan>,
}

impl Collected<'_> {
    fn take(&mut self, origin: &Origin<'_>, span: Reading<Span<'_>>) -> Result<(), OtlpError> {
        let index = self.drafts.len() + self.rejected.len();
        if index >= SPANS_MAX {
            return Err(OtlpError::TooManySpans);
        }
        let taken = span.and_then(|span| self.draft(origin, span));
        self.rejected.extend(taken.err().map(|fault| fault.into_rejected(index)));
        Ok(())
    }

    fn draft(&mut self, origin: &Origin<'_>, span: Span<'_>) -> Reading<()> {
        let name = span.name.clone();
        let full =
            || span::Fault::new(format!("the request's runs have more than {DOCUMENTS_BYTES_MAX} bytes; send fewer"));
        let draft = if self.is_full { Err(full()) } else { mapping::draft(origin, span, self.project) };
        let draft = draft.map_err(|fault| fault.of(&name))?;
        self.is_full = self.bytes + draft.document.len() > DOCUMENTS_BYTES_MAX;
        if self.is_full {
            return Err(full().of(&name));
        }
        self.bytes += draft.document.len();
        self.drafts.push(draft);
        Ok(())
    }
}
