//! Filters put to runs: every function and field, what is refused and how, and two laws.

mod examples;
mod laws;
mod refusals;

use uuid::Uuid;

use crate::filter::{Facts, Filter};
use crate::model::ids::{FeedbackId, ProjectId, RunId};
use crate::model::run::{Costs, Feedback, Run, Status, Tokens};

/// A small successful root run.
pub(super) fn run() -> Run {
    let id = RunId(Uuid::from_u128(1));
    Run {
        id,
        trace: id,
        parent: None,
        project: ProjectId(Uuid::from_u128(9)),
        name: "answer".to_owned(),
        run_type: "chain".to_owned(),
        dotted_order: "20260701T090000000000Z00000000-0000-0000-0000-000000000001".to_owned(),
        start_time: "2026-07-01T09:00:00Z".parse().unwrap(),
        end_time: Some("2026-07-01T09:00:05.5Z".parse().unwrap()),
        first_token_time: Some("2026-07-01T09:00:00.25Z".parse().unwrap()),
        modified_at: "2026-07-01T09:00:06Z".parse().unwrap(),
        status: Status::Success,
        error: None,
        tags: Vec::new(),
        tokens: Tokens::default(),
        costs: Costs::default(),
        reference_example: None,
        inputs: None,
        outputs: None,
        extra: None,
        events: None,
        serialized: None,
        blobs: Default::default(),
    }
}

/// Feedback of a key, with a score.
pub(super) fn feedback(key: &str, score: Option<f64>) -> Feedback {
    let at = "2026-07-01T10:00:00Z".parse().unwrap();
    Feedback {
        id: FeedbackId(Uuid::from_u128(2)),
        run: None,
        key: key.to_owned(),
        score,
        value: None,
        comment: None,
        correction: None,
        source_type: None,
        created_at: at,
        modified_at: at,
    }
}

pub(super) fn is_matched(source: &str, run: &Run, feedback: &[Feedback]) -> bool {
    let filter = Filter::parse(source).unwrap_or_else(|error| panic!("{error}"));
    filter.matches(&Facts::new(run, feedback))
}

/// Checks which filters hold for a run and which do not.
pub(super) fn check(run: &Run, feedback: &[Feedback], holding: &[&str], failing: &[&str]) {
    for source in holding {
        assert!(is_matched(source, run, feedback), "{source} should hold");
    }
    for source in failing {
        assert!(!is_matched(source, run, feedback), "{source} should not hold");
    }
}
