//! Which runs a page of changes brings into question, and which of them match.
//!
//! A change of a run brings the run itself; where the rule asks about the root or the tree, it may bring the whole
//! trace. A run counts when it is complete, is in no payload of the rule yet and is drawn by its sampling.

use std::collections::{HashMap, VecDeque};

use crate::limits;
use crate::matching::criteria::Criteria;
use crate::matching::traces::{Brought, Expanded, Traces};
use crate::model::ids::RunId;
use crate::selection::Found;
use crate::store::runs::{Cursor, Look, LookAt, Seen, Tree};
use crate::store::{Store, StoreError};

/// What a rule knows of traces while it works off a window.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) traces: Traces,
    pub(super) expanded: Expanded,
}

/// A page of changes, worked off in smaller pages of runs.
pub(super) struct Candidates {
    runs: Vec<Seen>,
    /// Those that bring more than themselves, by trace.
    traces: VecDeque<(RunId, Vec<Seen>)>,
    /// The trace that is being looked at as a whole, and number of the last run that was.
    whole: Option<(RunId, i64)>,
}

impl Candidates {
    pub(super) fn of(criteria: &Criteria, changes: Vec<Seen>) -> Self {
        let selection = &criteria.selection;
        let brings_more = |seen: &Seen| selection.asks_tree() || (selection.asks_root() && seen.run.is_root);
        let (traces, runs) = changes.into_iter().partition(brings_more);
        Self { runs, traces: by_trace(traces), whole: None }
    }

    /// What matches among the next few; none when the page is done. Each call is a small piece of work, but for a tree
    /// that has to be asked as a whole.
    pub(super) async fn next(
        &mut self,
        store: &dyn Store,
        criteria: &Criteria,
        cursor: &Cursor,
        memory: &mut Memory,
    ) -> Result<Option<Vec<Found>>, StoreError> {
        if self.runs.is_empty() && self.whole.is_none() {
            let Some((trace, changes)) = self.traces.pop_front() else { return Ok(None) };
            let tree = Tree { trace, project: cursor.project };
            match bring(store, criteria, tree, &changes, memory).await? {
                Brought::Nothing => {}
                Brought::Changes => self.runs = changes,
                Brought::Whole => self.whole = Some((trace, 0)),
            }
        }
        let rows = match self.whole {
            Some((trace, after)) => {
                let rows = look(store, criteria, cursor, trace, after).await?;
                self.whole = rows.last().map(|last| (trace, last.run.number));
                rows
            }
            None => std::mem::take(&mut self.runs),
        };
        matching(store, criteria, cursor, rows).await.map(Some)
    }
}

/// In the order in which the traces come first.
fn by_trace(changes: Vec<Seen>) -> VecDeque<(RunId, Vec<Seen>)> {
    let mut traces: VecDeque<(RunId, Vec<Seen>)> = VecDeque::new();
    let mut places = HashMap::new();
    for seen in changes {
        let place = *places.entry(seen.run.trace).or_insert(traces.len());
        match traces.get_mut(place) {
            Some((_, changes)) => changes.push(seen),
            None => traces.push_back((seen.run.trace, vec![seen])),
        }
    }
    traces
}

async fn bring(
    store: &dyn Store,
    criteria: &Criteria,
    tree: Tree,
    changes: &[Seen],
    memory: &mut Memory,
) -> Result<Brought, StoreError> {
    let brought = if criteria.selection.asks_tree() {
        memory.traces.bring(store, criteria, tree, changes).await?
    } else {
        Brought::Whole
    };
    let is_done = brought == Brought::Whole && !memory.expanded.add(tree.trace);
    Ok(if is_done { Brought::Nothing } else { brought })
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
