//! What feedback adds up to, by key. Keys and labels are sorted, so that the same feedback makes the same text.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::document;
use crate::model::run::Feedback;

use super::json;

/// Comments of a key that are shown; LangSmith shows a sample too.
const COMMENTS_MAX: usize = 100;

/// Which members a key's statistics have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatsShape {
    /// `n`, `avg`, `show_feedback_arrow`, `values`.
    V1,
    /// The same, and what [`StatsShape::V2`] has beyond it.
    Extended,
    /// `n`, `avg`, `min`, `max`, `stdev`, `errors`, `comments`, `sources`, `values`, `contains_thread_feedback`.
    V2,
}

/// Statistics by key.
#[derive(Debug, Default)]
pub(super) struct Stats<'a>(BTreeMap<&'a str, Stat<'a>>);

/// Of one key.
#[derive(Debug, Default)]
struct Stat<'a> {
    scores: Vec<f64>,
    labels: BTreeMap<Cow<'a, str>, u64>,
    comments: Vec<&'a str>,
    sources: BTreeSet<&'a str>,
}

impl<'a> Stats<'a> {
    pub(super) fn of(feedback: impl IntoIterator<Item = &'a Feedback>) -> Self {
        let mut stats = Self::default();
        for feedback in feedback {
            stats.0.entry(&feedback.key).or_default().add(feedback);
        }
        stats
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn write(&self, out: &mut String, shape: StatsShape) {
        json::list(out, '{', '}', &self.0, |out, (key, stat)| {
            json::string(out, key);
            out.push(':');
            stat.write(out, shape);
        });
    }
}

type Member = (&'static str, fn(&mut String, &Stat<'_>));

const V1: &[Member] = &[N, AVG, SHOW_FEEDBACK_ARROW, VALUES];
const EXTENDED: &[Member] = &[N, AVG, SHOW_FEEDBACK_ARROW, VALUES, MIN, MAX, STDEV, ERRORS, COMMENTS, SOURCES];
const V2: &[Member] = &[N_V2, AVG, MIN, MAX, STDEV, ERRORS, COMMENTS, SOURCES, VALUES, CONTAINS_THREAD_FEEDBACK];

/// Scores alone: a key that has labels only has none.
const N: Member = ("n", |out, stat| json::integer(out, stat.scores.len() as u64));
/// Scores, else labels (SDK 0.15, `types/run.py`).
const N_V2: Member = ("n", |out, stat| json::integer(out, stat.count()));
const AVG: Member = ("avg", |out, stat| json::or_null(out, stat.mean(), json::float));
/// A matter of LangSmith's screens.
const SHOW_FEEDBACK_ARROW: Member = ("show_feedback_arrow", |out, _| json::boolean(out, false));
const VALUES: Member = ("values", |out, stat| {
    json::list(out, '{', '}', &stat.labels, |out, (label, count)| {
        json::string(out, label);
        out.push(':');
        json::integer(out, *count);
    });
});
const MIN: Member = ("min", |out, stat| json::or_null(out, stat.extreme(f64::min), json::float));
const MAX: Member = ("max", |out, stat| json::or_null(out, stat.extreme(f64::max), json::float));
const STDEV: Member = ("stdev", |out, stat| json::or_null(out, stat.deviation(), json::float));
/// Evaluators that failed; none runs here.
const ERRORS: Member = ("errors", |out, _| json::integer(out, 0));
const COMMENTS: Member =
    ("comments", |out, stat| json::list(out, '[', ']', stat.comments.iter().copied(), json::string));
const SOURCES: Member = ("sources", |out, stat| json::list(out, '[', ']', stat.sources.iter().copied(), json::string));
const CONTAINS_THREAD_FEEDBACK: Member = ("contains_thread_feedback", |out, _| json::boolean(out, false));

impl<'a> Stat<'a> {
    /// A value that is no string is counted under its JSON text.
    fn add(&mut self, feedback: &'a Feedback) {
        self.scores.extend(feedback.score);
        if let Some(value) = feedback.value.as_deref() {
            let label = document::text(value).unwrap_or(Cow::Borrowed(value));
            *self.labels.entry(label).or_default() += 1;
        }
        let comment = feedback.comment.as_deref().filter(|comment| !comment.is_empty());
        self.comments.extend(comment.filter(|_| self.comments.len() < COMMENTS_MAX));
        self.sources.extend(feedback.source_type.as_deref());
    }

    fn count(&self) -> u64 {
        let scores = self.scores.len() as u64;
        if scores > 0 { scores } else { self.labels.values().sum() }
    }

    fn mean(&self) -> Option<f64> {
        (!self.scores.is_empty()).then(|| self.scores.iter().sum::<f64>() / self.scores.len() as f64)
    }

    fn extreme(&self, choose: fn(f64, f64) -> f64) -> Option<f64> {
        self.scores.iter().copied().reduce(choose)
    }

    /// Of a sample, so none of a single score.
    fn deviation(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.scores.len() > 1)?;
        let squares: f64 = self.scores.iter().map(|score| (score - mean).powi(2)).sum();
        Some((squares / (self.scores.len() - 1) as f64).sqrt())
    }

    fn write(&self, out: &mut String, shape: StatsShape) {
        let members = match shape {
            StatsShape::V1 => V1,
            StatsShape::Extended => EXTENDED,
            StatsShape::V2 => V2,
        };
        json::list(out, '{', '}', members, |out, (name, write)| {
            json::key(out, name);
            write(out, self);
        });
    }
}
