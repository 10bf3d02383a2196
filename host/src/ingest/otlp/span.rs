//! A span as both encodings give it, and why one is rejected. Knows nothing of runs.

use std::borrow::Cow;

use super::RejectedSpan;
use super::value::{Exceeded, Object};

/// `Status.code` of a span whose owner says that it went well.
pub(super) const STATUS_OK: i64 = 1;
/// `Status.code` of a span that failed.
pub(super) const STATUS_ERROR: i64 = 2;

/// Characters of a name in a message.
const NAME_CHARS_MAX: usize = 80;

/// A finished span.
#[derive(Debug, Default)]
pub(super) struct Span<'a> {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    /// None for the trace's root.
    pub(super) parent_span_id: Option<u64>,
    pub(super) name: Cow<'a, str>,
    /// Nanoseconds since 1970; 0 where it was not said.
    pub(super) start_nanos: u64,
    /// The same.
    pub(super) end_nanos: u64,
    pub(super) attributes: Object<'a>,
    pub(super) events: Vec<Event<'a>>,
    pub(super) status_code: i64,
    pub(super) status_message: Cow<'a, str>,
}

/// Something that happened within a span.
#[derive(Debug, Default)]
pub(super) struct Event<'a> {
    pub(super) nanos: u64,
    pub(super) name: Cow<'a, str>,
    pub(super) attributes: Object<'a>,
}

/// What a span's resource and instrumentation scope say.
#[derive(Debug, Default)]
pub(super) struct Origin<'a> {
    pub(super) resource: Object<'a>,
    pub(super) scope_name: Cow<'a, str>,
    pub(super) scope_version: Cow<'a, str>,
    pub(super) scope: Object<'a>,
}

/// What reading a span gives.
pub(super) type Reading<T> = Result<T, Fault>;

/// Why a span is rejected.
#[derive(Debug)]
pub(super) struct Fault {
    name: Option<String>,
    reason: String,
}

impl Fault {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { name: None, reason: reason.into() }
    }

    /// Names the span.
    pub(super) fn of(self, name: &str) -> Self {
        let name = (!name.is_empty()).then(|| name.chars().take(NAME_CHARS_MAX).collect());
        Self { name, ..self }
    }

    pub(super) fn into_rejected(self, index: usize) -> RejectedSpan {
        RejectedSpan { span: self.name.unwrap_or_else(|| format!("span {index}")), reason: self.reason }
    }
}

impl From<Exceeded> for Fault {
    fn from(exceeded: Exceeded) -> Self {
        Self::new(format!("its attributes {}", exceeded.problem()))
    }
}
