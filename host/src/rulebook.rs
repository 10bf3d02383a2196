//! The rules as the running engine sees them: one snapshot, swapped whole when the stored rules change.
//!
//! Reading is lock-free and never waits for the store. Knows nothing of how rules are written or sent.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::clock::Clock;
use crate::model::ids::{EndpointId, RuleId};
use crate::model::rule::{Rule, Webhook};
use crate::store::{self, Cancelled, RuleChanges, Store};

/// All rules at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    by_id: HashMap<RuleId, Arc<Rule>>,
    by_name: Vec<Arc<Rule>>,
}

impl Snapshot {
    fn of(by_name: Vec<Arc<Rule>>) -> Self {
        let by_id = by_name.iter().map(|rule| (rule.id, rule.clone())).collect();
        Self { by_id, by_name }
    }

    /// The rules after a change, as a later start would load them. What is not changed stays the same allocation: who
    /// works with a rule sees by that whether it is still of this version.
    fn changed(&self, changes: &RuleChanges) -> Self {
        let is_kept =
            |rule: &&Arc<Rule>| !changes.delete.contains(&rule.id) && changes.put.iter().all(|put| put.id != rule.id);
        let kept = self.by_name.iter().filter(is_kept).cloned();
        let put = changes.put.iter().cloned().map(Arc::new);
        let mut rules: Vec<_> = kept.chain(put).collect();
        rules.sort_by(|a, b| a.display_name.cmp(&b.display_name));
        Self::of(rules)
    }

    /// The rule of that id.
    pub fn rule(&self, id: RuleId) -> Option<&Arc<Rule>> {
        self.by_id.get(&id)
    }

    /// The webhook behind an endpoint id.
    pub fn webhook(&self, id: &EndpointId) -> Option<&Webhook> {
        self.rule(id.rule)?.webhook(&id.webhook)
    }

    /// All rules, by display name.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.by_name
    }
}

/// The one place that changes rules: it writes to the store first and shows the change to the engine after.
pub struct RuleBook {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    snapshot: ArcSwap<Snapshot>,
    changing: Arc<Mutex<()>>,
}

/// Proof that nobody else changes rules meanwhile, with the rules as they are.
pub struct Change {
    book: Arc<RuleBook>,
    turn: OwnedMutexGuard<()>,
}

impl RuleBook {
    /// Loads the stored rules.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> store::Result<Self> {
        let rules = store.rules().await?.into_iter().map(Arc::new).collect();
        Ok(Self { store, clock, snapshot: ArcSwap::from_pointee(Snapshot::of(rules)), changing: Arc::default() })
    }

    /// The rules as they are now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Waits for its turn to change rules; changes of others are visible then.
    pub async fn begin_change(self: &Arc<Self>) -> Change {
        Change { book: self.clone(), turn: self.changing.clone().lock_owned().await }
    }
}

impl Change {
    /// The rules that the change starts from.
    pub fn before(&self) -> Arc<Snapshot> {
        self.book.snapshot()
    }

    /// Stores the changes, then shows them to the engine; both also where who asked goes away meanwhile.
    ///
    /// # Errors
    /// The store's; nothing is changed then.
    pub async fn commit(self, changes: RuleChanges) -> store::Result<Cancelled> {
        let committed = tokio::spawn(async move {
            let after = self.before().changed(&changes);
            let cancelled = self.book.store.change_rules(changes, self.book.clock.now()).await?;
            self.book.snapshot.store(Arc::new(after));
            drop(self.turn);
            Ok(cancelled)
        });
        committed.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}
