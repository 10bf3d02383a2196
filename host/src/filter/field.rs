//! The fields that filters name, what kind each is, and which functions apply to it.

use crate::filter::error::{Fault, shown};
use crate::filter::syntax::Function;
use crate::nearest::nearest;

/// A field, by the kind of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Id(IdField),
    Text(TextField),
    Time(TimeField),
    Number(NumberField),
    Status,
    IsRoot,
    Tags,
    Entry(Family, Part),
    Feedback(FeedbackPart),
    /// `metadata`, `inputs`, `outputs` as a whole.
    Document(Family),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdField {
    Run,
    Trace,
    Parent,
    Session,
    ReferenceExample,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextField {
    Name,
    RunType,
    Error,
    DottedOrder,
    Thread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeField {
    Start,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberField {
    /// In seconds.
    Latency,
    /// In seconds.
    FirstTokenLatency,
    TotalTokens,
    PromptTokens,
    CompletionTokens,
    /// In USD.
    TotalCost,
    /// In USD.
    PromptCost,
    /// In USD.
    CompletionCost,
}

/// JSON whose leaves are indexed as entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Metadata,
    Inputs,
    Outputs,
}

/// Half of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FeedbackPart {
    Key,
    Score,
    Value,
    Source,
    Comment,
}

const FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id(IdField::Run)),
    ("name", Field::Text(TextField::Name)),
    ("run_type", Field::Text(TextField::RunType)),
    ("status", Field::Status),
    ("is_root", Field::IsRoot),
    ("start_time", Field::Time(TimeField::Start)),
    ("end_time", Field::Time(TimeField::End)),
    ("latency", Field::Number(NumberField::Latency)),
    ("first_token_latency", Field::Number(NumberField::FirstTokenLatency)),
    ("trace_id", Field::Id(IdField::Trace)),
    ("parent_run_id", Field::Id(IdField::Parent)),
    ("session_id", Field::Id(IdField::Session)),
    ("reference_example_id", Field::Id(IdField::ReferenceExample)),
    ("thread_id", Field::Text(TextField::Thread)),
    ("dotted_order", Field::Text(TextField::DottedOrder)),
    ("error", Field::Text(TextField::Error)),
    ("tags", Field::Tags),
    ("tag", Field::Tags),
    ("metadata", Field::Document(Family::Metadata)),
    ("metadata_key", Field::Entry(Family::Metadata, Part::Key)),
    ("metadata_value", Field::Entry(Family::Metadata, Part::Value)),
    ("inputs", Field::Document(Family::Inputs)),
    ("input_key", Field::Entry(Family::Inputs, Part::Key)),
    ("input_value", Field::Entry(Family::Inputs, Part::Value)),
    ("outputs", Field::Document(Family::Outputs)),
    ("output_key", Field::Entry(Family::Outputs, Part::Key)),
    ("output_value", Field::Entry(Family::Outputs, Part::Value)),
    ("feedback_key", Field::Feedback(FeedbackPart::Key)),
    ("feedback_score", Field::Feedback(FeedbackPart::Score)),
    ("feedback_value", Field::Feedback(FeedbackPart::Value)),
    ("feedback_source", Field::Feedback(FeedbackPart::Source)),
    ("feedback_comment", Field::Feedback(FeedbackPart::Comment)),
    ("total_tokens", Field::Number(NumberField::TotalTokens)),
    ("prompt_tokens", Field::Number(NumberField::PromptTokens)),
    ("completion_tokens", Field::Number(NumberField::CompletionTokens)),
    ("total_cost", Field::Number(NumberField::TotalCost)),
    ("prompt_cost", Field::Number(NumberField::PromptCost)),
    ("completion_cost", Field::Number(NumberField::CompletionCost)),
];

use Function::{Eq, Exists, Gt, Gte, Has, In, Like, Lt, Lte, Neq, Notlike, Search};

impl Field {
    /// By its name, at a place in bytes.
    pub(super) fn find(at: usize, name: &str) -> Result<Self, Fault> {
        let field = FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field);
        field.ok_or_else(|| {
            let hint = match nearest(name, FIELDS.iter().map(|(known, _)| *known)) {
                Some(best) => format!("did you mean `{best}`?"),
                None => format!("there are {}", FIELDS.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ")),
            };
            Fault::new(at, format!("there is no field `{}`", shown(name))).hint(hint)
        })
    }

    /// The functions that apply to it.
    pub(super) fn functions(self) -> &'static [Function] {
        const TEXT: &[Function] = &[Eq, Neq, In, Like, Notlike, Search, Gt, Gte, Lt, Lte];
        const KEY: &[Function] = &[Eq, Neq, In, Has, Like, Notlike, Search, Gt, Gte, Lt, Lte];
        match self {
            Self::Text(_) => TEXT,
            Self::Entry(_, Part::Key) | Self::Feedback(FeedbackPart::Key) => KEY,
            Self::Feedback(FeedbackPart::Score) | Self::Time(_) | Self::Number(_) => &[Eq, Neq, Gt, Gte, Lt, Lte, In],
            Self::Entry(_, Part::Value) | Self::Feedback(_) => TEXT,
            Self::Tags => &[Has, Eq, Neq, In, Like, Notlike, Search],
            Self::Document(_) => &[Has, Exists, Like, Notlike, Search],
            Self::Id(_) | Self::Status | Self::IsRoot => &[Eq, Neq, In],
        }
    }
}
