//! A filter ready to be evaluated: names are resolved, literals have their kinds, pairs are put together.

use uuid::Uuid;

use crate::filter::contain::Containment;
use crate::filter::field::{Family, FeedbackPart, IdField, NumberField, Part, TextField, TimeField};
use crate::filter::test::{Sided, Test, TextTest};
use crate::filter::words::Words;
use crate::model::Timestamp;
use crate::model::run::Status;

/// A condition on a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    All(Box<[Condition]>),
    Any(Box<[Condition]>),
    Not(Box<Condition>),
    Id(IdField, Test<Uuid>),
    Text(TextField, TextTest),
    Time(TimeField, Test<Timestamp>),
    Number(NumberField, Test<f64>),
    Status(Test<Status>),
    IsRoot(Test<bool>),
    /// Some tag passes.
    SomeTag(TextTest),
    /// Some one entry passes all tests.
    SomeEntry(Family, Box<[Sided<EntryTest>]>),
    /// Some one piece of feedback passes all tests.
    SomeFeedback(Box<[Sided<FeedbackTest>]>),
    /// There is something at a dotted path.
    HasPath(Family, String),
    Contains(Family, Containment),
    /// All words are in the values of the families together.
    Search(Box<[Family]>, Words),
}

/// A test of half an entry.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EntryTest {
    pub(super) part: Part,
    pub(super) test: TextTest,
}

/// A test of a part of a piece of feedback.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum FeedbackTest {
    Score(Test<f64>),
    Text(FeedbackPart, TextTest),
}

impl Condition {
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Not(inside) => *inside,
            other => Self::Not(Box::new(other)),
        }
    }

    pub(super) fn needs_feedback(&self) -> bool {
        match self {
            Self::All(operands) | Self::Any(operands) => operands.iter().any(Self::needs_feedback),
            Self::Not(inside) => inside.needs_feedback(),
            Self::SomeFeedback(_) => true,
            _ => false,
        }
    }
}
