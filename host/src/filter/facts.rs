//! What filters look at in one run. JSON is read when a filter first asks for it, once for all filters.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;

use jiff::SignedDuration;
use uuid::Uuid;

use crate::filter::entries::Entries;
use crate::filter::field::{Family, FeedbackPart, IdField, NumberField, TextField, TimeField};
use crate::filter::literal::cut;
use crate::filter::test::number;
use crate::filter::words::lower_words;
use crate::model::Timestamp;
use crate::model::run::{Feedback, Run, Status};

/// Keys of metadata that name a thread, the first that is there counting
/// (docs.langchain.com/langsmith/trace-query-syntax, the example for threads).
const THREAD_KEYS: [&str; 3] = ["thread_id", "session_id", "conversation_id"];

/// A run and its feedback, shared by the filters that are put to it.
#[derive(Debug)]
pub struct Facts<'a> {
    run: &'a Run,
    feedback: &'a [Feedback],
    metadata: Indexed<'a>,
    inputs: Indexed<'a>,
    outputs: Indexed<'a>,
    feedback_values: OnceCell<Vec<Option<Cow<'a, str>>>>,
}

#[derive(Debug, Default)]
struct Indexed<'a> {
    entries: OnceCell<Entries<'a>>,
    words: OnceCell<HashSet<String>>,
}

impl<'a> Facts<'a> {
    /// Looks at nothing yet. Feedback may be left empty where no filter `needs_feedback`.
    pub fn new(run: &'a Run, feedback: &'a [Feedback]) -> Self {
        let (metadata, inputs, outputs) = Default::default();
        Self { run, feedback, metadata, inputs, outputs, feedback_values: OnceCell::new() }
    }

    pub(super) fn status(&self) -> Status {
        self.run.status
    }

    pub(super) fn is_root(&self) -> bool {
        self.run.is_root()
    }

    pub(super) fn tags(&self) -> &'a [String] {
        &self.run.tags
    }

    pub(super) fn id(&self, field: IdField) -> Option<Uuid> {
        match field {
            IdField::Run => Some(self.run.id.0),
            IdField::Trace => Some(self.run.trace.0),
            IdField::Parent => self.run.parent.map(|parent| parent.0),
            IdField::Session => Some(self.run.project.0),
            IdField::ReferenceExample => self.run.reference_example,
        }
    }

    pub(super) fn text(&self, field: TextField) -> Option<&str> {
        match field {
            TextField::Name => Some(&self.run.name),
            TextField::RunType => Some(&self.run.run_type),
            TextField::Error => self.run.error.as_deref(),
            TextField::DottedOrder => Some(&self.run.dotted_order),
            TextField::Thread => {
                let metadata = self.entries(Family::Metadata);
                THREAD_KEYS.iter().find_map(|key| metadata.value(key))
            }
        }
    }

    pub(super) fn time(&self, field: TimeField) -> Option<Timestamp> {
        match field {
            TimeField::Start => Some(self.run.start_time),
            TimeField::End => self.run.end_time,
        }
    }

    pub(super) fn number(&self, field: NumberField) -> Option<f64> {
        let (tokens, costs) = (&self.run.tokens, &self.run.costs);
        match field {
            NumberField::Latency => self.seconds_until(self.run.end_time),
            NumberField::FirstTokenLatency => self.seconds_until(self.run.first_token_time),
            NumberField::TotalTokens => Some(tokens.total as f64),
            NumberField::PromptTokens => Some(tokens.prompt as f64),
            NumberField::CompletionTokens => Some(tokens.completion as f64),
            NumberField::TotalCost => number(costs.total.as_deref()?),
            NumberField::PromptCost => number(costs.prompt.as_deref()?),
            NumberField::CompletionCost => number(costs.completion.as_deref()?),
        }
    }

    fn seconds_until(&self, end: Option<Timestamp>) -> Option<f64> {
        Some(seconds(end?.duration_since(self.run.start_time)))
    }

    /// The JSON text that a family is in, and the member of it that it is.
    pub(super) fn document(&self, family: Family) -> (Option<&'a str>, Option<&'static str>) {
        match family {
            Family::Metadata => (self.run.extra.as_deref(), Some("metadata")),
            Family::Inputs => (self.run.inputs.as_deref(), None),
            Family::Outputs => (self.run.outputs.as_deref(), None),
        }
    }

    fn indexed(&self, family: Family) -> &Indexed<'a> {
        match family {
            Family::Metadata => &self.metadata,
            Family::Inputs => &self.inputs,
            Family::Outputs => &self.outputs,
        }
    }

    pub(super) fn entries(&self, family: Family) -> &Entries<'a> {
        let (text, member) = self.document(family);
        self.indexed(family).entries.get_or_init(|| Entries::new(text, member))
    }

    /// The words of a family's values, in lower case.
    pub(super) fn words(&self, family: Family) -> &HashSet<String> {
        let values = || self.entries(family).iter().filter_map(|(_, value)| value);
        self.indexed(family).words.get_or_init(|| values().flat_map(lower_words).collect())
    }

    /// The feedback, each with its place for `feedback_text`.
    pub(super) fn feedback(&self) -> impl Iterator<Item = (usize, &'a Feedback)> {
        self.feedback.iter().enumerate()
    }

    /// A part of the feedback at a place; the score is none of them.
    pub(super) fn feedback_text(&self, place: usize, part: FeedbackPart) -> Option<&str> {
        let feedback = self.feedback.get(place)?;
        match part {
            FeedbackPart::Key => Some(&feedback.key),
            FeedbackPart::Source => feedback.source_type.as_deref(),
            FeedbackPart::Comment => feedback.comment.as_deref(),
            FeedbackPart::Value => self.feedback_values().get(place)?.as_deref(),
            FeedbackPart::Score => None,
        }
    }

    fn feedback_values(&self) -> &[Option<Cow<'a, str>>] {
        let read = |feedback: &'a Feedback| feedback.value.as_deref().and_then(json_text);
        self.feedback_values.get_or_init(|| self.feedback.iter().map(read).collect())
    }
}

/// Correctly rounded, so that a latency of 0.1 s is the number 0.1. Never below zero: JavaScript's end has milliseconds
/// and can lie before a start that has microseconds.
fn seconds(duration: SignedDuration) -> f64 {
    duration.as_nanos().max(0) as f64 / 1e9
}

/// A JSON string's text, the JSON of anything else, none of null; its first characters.
fn json_text(json: &str) -> Option<Cow<'_, str>> {
    match json.trim() {
        "null" => None,
        text if text.starts_with('"') => {
            let text: String = serde_json::from_str(text).ok()?;
            Some(Cow::Owned(cut(&text).to_owned()))
        }
        text => Some(Cow::Borrowed(cut(text))),
    }
}
