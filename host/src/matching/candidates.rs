//! Which runs a page of changes brings into question, and which of them match.
//!
//! A change of a run brings the run itself; where the rule asks about the root or the tree, it brings the whole trace.
//! A run counts when it is complete, is in no payload of the rule yet and is drawn by its sampling.

use std::collections::{HashSet, VecDeque};

use crate::limits;
use crate::matching::criteria::Criteria;
use crate::model::ids::RunId;
use crate::selection::Found;
use crate::store::runs::{Cursor, Look, LookAt, Seen, Tree};
use crate::store::{Store, StoreError};

/// Traces that were looked at as a whole since the window's end was set: all that belongs to the window was there then.
#[derive(Default)]
pub(super) struct Expanded(HashSet<RunId>);

impl Expanded {
    /// Whether the trace is still to be looked at.
    fn add(&mut self, trace: RunId) -> bool {
        // Forgetting costs a second look, never a run.
        if self.0.len() >= limits::EXPANDED_TRACES_MAX {
            self.0.clear();
        }
        self.0.insert(trace)
    }
}

/// A page of changes, worked off in smaller pages of runs.
pub(super) struct Candidates {
    runs: Vec<Seen>,
    traces: VecDeque<RunId>,
    /// Number of the last run of the first trace that was looked at; none before its tree is asked.
    after: Option<i64>,
}

impl Candidates {
    pub(super) fn of(criteria: &Criteria, changes: Vec<Seen>, expanded: &mut Expanded) -> Self {
        let selection = &criteria.selection;
        let (mut runs, mut traces) = (Vec::new(), VecDeque::new());
        for seen in changes {
            if selection.asks_tree() || (selection.asks_root() && seen.run.is_root) {
                traces.extend(expanded.add(seen.run.trace).then_some(seen.run.trace));
            } else {
                runs.push(seen);
            }
        }
        Self { runs, traces, after: None }
    }

    /// What matches among the next few; none when the page is done. Each call is a small piece of work, but for a tree
    /// that has to be asked.
    pub(super) async fn next(
        &mut self,
        store: &dyn Store,
        criteria: &Criteria,
        cursor: &Cursor,
    ) -> Result<Option<Vec<Found>>, StoreError> {
        if !self.runs.is_empty() {
            return matching(store, criteria, cursor, std::mem::take(&mut self.runs)).await.map(Some);
        }
        let Some(&trace) = self.traces.front() else { return Ok(None) };
        let tree = Tree { trace, project: cursor.project };
        let is_open = self.after.is_some() || criteria.selection.tree_passes(store, tree).await?;
        let after = self.after.unwrap_or(0);
        let runs = if is_open { look(store, criteria, cursor, trace, after).await? } else { Vec::new() };
        self.after = runs.last().map(|last| last.run.number);
        if self.after.is_none() {
            self.traces.pop_front();
        }
        matching(store, criteria, cursor, runs).await.map(Some)
    }
}

async fn look(
    store: &dyn Store,
    criteria: &Criteria,
    cursor: &Cursor,
    trace: RunId,
    after: i64,
) -> Result<Vec<Seen>, StoreError> {
    let look = Look {
        rule: cursor.rule,
        at: LookAt::Trace { trace, after },
        limit: criteria.pace.look_runs_max,
        bytes_max: limits::LOOK_BYTES_MAX,
    };
    store.look(look).await
}

async fn matching(
    store: &dyn Store,
    criteria: &Criteria,
    cursor: &Cursor,
    seen: Vec<Seen>,
) -> Result<Vec<Found>, StoreError> {
    let rows = seen.into_iter().filter(|seen| counts(seen, criteria, cursor)).map(|seen| seen.run).collect();
    criteria.selection.pick(store, rows).await
}

fn counts(seen: &Seen, criteria: &Criteria, cursor: &Cursor) -> bool {
    let run = &seen.run;
    let is_wanted = cursor.backfill.is_none_or(|old| run.changed > old.head || run.start_time >= old.from);
    run.is_complete && !seen.is_matched && is_wanted && criteria.draws(run.id)
}
