//! What one version of a rule asks of runs, compiled once.

use std::sync::Arc;

use tracing::error;

use crate::matching::Pace;
use crate::model::ids::{ProjectId, RunId};
use crate::model::rule::Rule;
use crate::sampling;
use crate::selection::Selection;

/// One version of a rule that looks for runs, taken up once.
pub(super) struct Version {
    rule: Arc<Rule>,
    /// None where a stored filter is not understood by this version of the program.
    pub(super) criteria: Option<Criteria>,
}

impl Version {
    /// Says so where a filter is not understood; once, since a version is taken up once.
    pub(super) fn of(rule: Arc<Rule>, pace: Pace) -> Self {
        Self { criteria: Criteria::of(&rule, pace), rule }
    }

    /// Whether the rule was not changed since.
    pub(super) fn is_of(&self, rule: &Arc<Rule>) -> bool {
        Arc::ptr_eq(&self.rule, rule)
    }
}

/// What it asks.
pub(super) struct Criteria {
    rule: Arc<Rule>,
    /// Where it looks.
    pub(super) project: ProjectId,
    /// Its filters.
    pub(super) selection: Selection,
    /// In what pieces it works.
    pub(super) pace: Pace,
    /// Length of its windows.
    pub(super) window_seconds: u32,
    /// Whether its payloads carry more statistics.
    pub(super) has_extended_stats: bool,
}

impl Criteria {
    fn of(rule: &Arc<Rule>, pace: Pace) -> Option<Self> {
        let source = rule.source.as_ref()?;
        let (run, root, tree) = (&source.filter, &source.trace_filter, &source.tree_filter);
        let selection = Selection::parse(run.as_deref(), root.as_deref(), tree.as_deref())
            .inspect_err(|(key, error)| error!(rule = %rule.id, key, %error, "a stored filter is not understood"))
            .ok()?;
        Some(Self {
            rule: rule.clone(),
            project: source.project.id,
            selection,
            pace,
            window_seconds: source.window_seconds,
            has_extended_stats: source.include_extended_stats,
        })
    }

    /// Whether sampling leaves the run.
    pub(super) fn draws(&self, run: RunId) -> bool {
        let (rule, rate) = (self.rule.id, self.rule.sampling_rate);
        rate >= 1.0 || sampling::is_drawn(rule, &run.to_string(), rate)
    }
}
