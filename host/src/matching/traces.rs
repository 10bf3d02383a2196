//! What a rule with a tree filter remembers of traces, so that a trace that grows costs what changed of it, not all of
//! it.
//!
//! Changes come in the order of commits and without a gap, and a run that did not change is what it was. Of that follow
//! the two laws by which less is read; where the order has a gap, all is forgotten.
//!
//! - Shut: no run of the trace that was looked at passes the tree filter. So only what changed since can pass it.
//! - Open: all of the trace was looked at, and at each look since, some run passed. So what does not match yet matches
//!   only once it changed itself, or with the root where the rule asks about that. Whether the trace is still open is
//!   asked of the run that passed last; only where it passes no longer, of all others.

use std::collections::{HashMap, HashSet};

use crate::limits;
use crate::matching::criteria::Criteria;
use crate::model::ids::RunId;
use crate::store::runs::{Seen, Tree};
use crate::store::{Store, StoreError};

/// Open traces with the run that passed last, and shut ones. Forgetting costs a second look, never a run.
#[derive(Default)]
pub(super) struct Traces(HashMap<RunId, Option<RunId>>);

/// Which runs of a trace a change brings into question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    Nothing,
    Changes,
    Whole,
}

impl Traces {
    /// What the trace's part of a page of changes brings, where the rule has a tree filter.
    pub(super) async fn bring(
        &mut self,
        store: &dyn Store,
        criteria: &Criteria,
        tree: Tree,
        changes: &[Seen],
    ) -> Result<Brought, StoreError> {
        let selection = &criteria.selection;
        let known = self.0.get(&tree.trace).copied();
        let witness = match known {
            Some(Some(witness)) if selection.is_witness(store, tree, witness).await? => Some(witness),
            Some(None) => selection.first_witness(store, changes.iter().map(|seen| &seen.run)).await?,
            _ => selection.witness(store, tree).await?,
        };
        self.remember(tree.trace, witness);
        let was_open = matches!(known, Some(Some(_)));
        let has_root = selection.asks_root() && changes.iter().any(|seen| seen.run.is_root);
        Ok(match witness {
            None => Brought::Nothing,
            Some(_) if was_open && !has_root => Brought::Changes,
            Some(_) => Brought::Whole,
        })
    }

    fn remember(&mut self, trace: RunId, witness: Option<RunId>) {
        if self.0.len() >= limits::TRACES_REMEMBERED_MAX && !self.0.contains_key(&trace) {
            self.0.clear();
        }
        self.0.insert(trace, witness);
    }
}

/// Traces that were looked at as a whole since the window's end was set: all that belongs to the window was there then.
#[derive(Default)]
pub(super) struct Expanded(HashSet<RunId>);

impl Expanded {
    /// Whether the trace is still to be looked at.
    pub(super) fn add(&mut self, trace: RunId) -> bool {
        // Forgetting costs a second look, never a run.
        if self.0.len() >= limits::EXPANDED_TRACES_MAX {
            self.0.clear();
        }
        self.0.insert(trace)
    }
}
