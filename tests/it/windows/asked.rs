//! What rules ask, and which runs they owe: the oracle.
//!
//! A rule owes a run from the commit that brings it, the run's own or one that the rule asks its trace for, as long as
//! the run is wanted without interruption. At the end what is owed has been sent. What has been sent may be more: a run
//! may have been sent while it was wanted for a moment, by a version of the rule that is gone, or while parts of its
//! trace were read before and after a change. Where no run of a trace moves, nothing is taken back and the rule stays
//! as it is, both are the same.

use std::collections::{BTreeSet, HashMap};

use runhook::model::Timestamp;
use runhook::model::ids::{RuleId, RunId};
use runhook::model::project::Project;
use runhook::model::rule::{Rule, RunSource};
use runhook::sampling;

use super::traffic::{Facts, Known, Trace, Traffic};

/// One version of a rule.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// None for a rule that looks for no runs.
    project: Option<usize>,
    filters: [Option<&'static str>; 3],
    sampling_rate: f64,
    /// Whether the rule wants a run of a trace in the project, if it is complete.
    wants: fn(usize, &[&Facts], usize) -> bool,
}

const ALL: Asked = Asked { project: Some(0), filters: [None, None, None], sampling_rate: 1.0, wants: |_, _, _| true };

const JUDGED_ERRORS: Asked = Asked {
    filters: [Some(r#"and(eq(status, "error"), has(feedback_key, "thumbs"))"#), None, None],
    sampling_rate: 0.5,
    wants: |run, trace, _| trace[run].is_error && trace[run].is_judged,
    ..ALL
};

const UNDER_A_FAILED_ROOT: Asked = Asked {
    filters: [None, Some(r#"eq(status, "error")"#), None],
    wants: |_, trace, project| trace[0].is_error && trace[0].is_there(project),
    ..ALL
};

const NEAR_A_JUDGED_RUN: Asked = Asked {
    filters: [Some("eq(is_root, false)"), None, Some(r#"has(feedback_key, "thumbs")"#)],
    wants: |run, trace, project| run > 0 && trace.iter().any(|run| run.is_judged && run.is_there(project)),
    ..ALL
};

/// Of rules that stay as they are.
pub(super) const KEPT: [Asked; 4] = [ALL, JUDGED_ERRORS, UNDER_A_FAILED_ROOT, NEAR_A_JUDGED_RUN];

/// What a rule that is edited comes to ask.
pub(super) const EDITS: [Asked; 7] = [
    ALL,
    UNDER_A_FAILED_ROOT,
    NEAR_A_JUDGED_RUN,
    Asked { project: Some(1), ..ALL },
    Asked { project: Some(1), sampling_rate: 0.7, ..NEAR_A_JUDGED_RUN },
    Asked { sampling_rate: 0.6, ..ALL },
    Asked { project: None, ..ALL },
];

impl Asked {
    pub(super) fn rule(&self, plain: Rule, projects: &[Project], backfill_from: Option<Timestamp>) -> Rule {
        let [filter, trace_filter, tree_filter] = self.filters.map(|filter| filter.map(str::to_owned));
        let source = self.project.map(|project| RunSource {
            project: projects[project].clone(),
            filter,
            trace_filter,
            tree_filter,
            window_seconds: 5,
            backfill_from,
            include_extended_stats: false,
        });
        Rule { sampling_rate: self.sampling_rate, source, ..plain }
    }

    /// Whether a change of one run brings another one of its trace.
    fn is_brought_by(&self, touched: usize, trace: &Trace) -> bool {
        let [_, root, tree] = self.filters;
        let is_here = self.project.is_some_and(|project| trace.runs[touched].now.is_there(project));
        is_here && (tree.is_some() || (root.is_some() && touched == 0))
    }
}

/// A rule with what it owes.
pub(super) struct Debtor {
    pub(super) rule: RuleId,
    /// The last one is in force.
    versions: Vec<Asked>,
    /// A pass that began before an edit may still work by a version before, but not by one of an earlier life.
    versions_before: Vec<Asked>,
    /// The event before it was made, for one that asks for what was there before it and started late.
    backfill: Option<u64>,
    /// With whether a change of the run itself brought it.
    owed: HashMap<RunId, bool>,
}

impl Debtor {
    pub(super) fn new(rule: RuleId, asked: Asked) -> Self {
        Self { rule, versions: vec![asked], versions_before: Vec::new(), backfill: None, owed: HashMap::new() }
    }

    /// One that asks for what was there before it.
    pub(super) fn with_backfill(rule: RuleId, asked: Asked, traffic: &Traffic) -> Self {
        let mut made = Self { backfill: Some(traffic.event), ..Self::new(rule, asked) };
        for trace in &traffic.traces {
            let wanted = (0..trace.runs.len()).filter(|run| made.is_wanted(trace, *run));
            let wanted: Vec<_> = wanted.map(|run| (trace.runs[run].id, true)).collect();
            made.owed.extend(wanted);
        }
        made
    }

    pub(super) fn edit(&mut self, asked: Asked, traffic: &Traffic) {
        let before = *self.in_force();
        // Where the project changes, a pass of the version before finds its cursor gone.
        if before.project == asked.project {
            self.versions_before.push(before);
        } else {
            self.versions_before.clear();
        }
        self.versions.push(asked);
        let mut kept = HashMap::new();
        for trace in &traffic.traces {
            for run in 0..trace.runs.len() {
                let id = trace.runs[run].id;
                // Another version may not ask the trace for it; another project is looked at from now on.
                let is_kept = !self.versions_before.is_empty() && self.owed.get(&id) == Some(&true);
                if is_kept && self.is_wanted(trace, run) {
                    kept.insert(id, true);
                }
            }
        }
        self.owed = kept;
    }

    /// Nothing of the life before works on.
    pub(super) fn begin_life(&mut self) {
        self.versions_before.clear();
    }

    /// After a commit that touched these runs of the trace.
    pub(super) fn see(&mut self, trace: &Trace, touched: &BTreeSet<usize>) {
        let has_one_left = touched.iter().any(|run| self.has_left(&trace.runs[*run]));
        for (index, run) in trace.runs.iter().enumerate() {
            // The change that was to bring the others may have gone with it.
            if has_one_left && self.owed.get(&run.id) == Some(&false) {
                self.owed.remove(&run.id);
            }
            if !self.is_wanted(trace, index) {
                self.owed.remove(&run.id);
            } else if touched.contains(&index) {
                self.owed.insert(run.id, true);
            } else if touched.iter().any(|touched| self.all_in_force().all(|it| it.is_brought_by(*touched, trace))) {
                self.owed.entry(run.id).or_insert(false);
            }
        }
    }

    pub(super) fn owed(&self) -> BTreeSet<RunId> {
        self.owed.keys().copied().collect()
    }

    /// Runs that may have been sent.
    pub(super) fn allowed(&self, traffic: &Traffic) -> BTreeSet<RunId> {
        let runs = traffic.traces.iter().flat_map(|trace| (0..trace.runs.len()).map(move |run| (trace, run)));
        let is_allowed = |(trace, run): &(&Trace, usize)| {
            let facts: Vec<_> = trace.runs.iter().map(|run| &run.ever).collect();
            self.versions.iter().any(|asked| self.wants(asked, &trace.runs[*run], *run, &facts))
        };
        runs.filter(is_allowed).map(|(trace, run)| trace.runs[run].id).collect()
    }

    fn in_force(&self) -> &Asked {
        self.versions.last().unwrap()
    }

    fn has_left(&self, run: &Known) -> bool {
        let project = self.in_force().project;
        project.is_some_and(|project| run.ever.is_there(project) && !run.now.is_there(project))
    }

    fn all_in_force(&self) -> impl Iterator<Item = &Asked> {
        self.versions.last().into_iter().chain(&self.versions_before)
    }

    fn is_wanted(&self, trace: &Trace, run: usize) -> bool {
        let facts: Vec<_> = trace.runs.iter().map(|run| &run.now).collect();
        self.all_in_force().all(|asked| self.wants(asked, &trace.runs[run], run, &facts))
    }

    fn wants(&self, asked: &Asked, known: &Known, run: usize, facts: &[&Facts]) -> bool {
        let Some(project) = asked.project else { return false };
        let counts = self.backfill.is_none_or(|made| known.touched_at > made || known.starts_late);
        let is_drawn = sampling::is_drawn(self.rule, &known.id.to_string(), asked.sampling_rate);
        let is_complete = facts[run].is_there(project) && facts[run].has_ended;
        is_complete && counts && is_drawn && (asked.wants)(run, facts, project)
    }
}
