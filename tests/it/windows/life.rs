//! One life of a host's matching, from its start to a crash or to rest.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use runhook::clock::{Clock, ManualClock};
use runhook::matching::{self, Matching, Pace};
use runhook::model::Timestamp;
use runhook::model::ids::RuleId;
use runhook::model::rule::Rule;
use runhook::rulebook::RuleBook;
use runhook::secrets::Keyring;
use runhook::shutdown::{self, ShutdownTrigger};
use runhook::store::runs::RunStore;
use runhook::store::sqlite::SqliteStore;
use runhook::store::{RuleChanges, Store};

use crate::support::engine::local_blobs;
use crate::support::faulty_store::FaultyStore;
use crate::support::waiting::a_moment;

/// Small, so that windows have many pages and parts.
pub(super) const PACE: Pace = Pace { runs_per_payload_max: 3, look_runs_max: 4, looked_at_step: 5 };

pub(super) struct Life {
    store: Arc<FaultyStore>,
    rulebook: Arc<RuleBook>,
    pub(super) clock: ManualClock,
    shutdown: ShutdownTrigger,
    task: tokio::task::JoinHandle<()>,
}

impl Life {
    pub(super) async fn begin(folder: &Path, store: FaultyStore, now: Timestamp) -> Self {
        let store = Arc::new(store);
        let clock = ManualClock::at(now);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let rulebook = Arc::new(RuleBook::load(store.clone(), shared.clone()).await.unwrap());
        let matching = Matching::new(matching::Parts {
            workspace: store.workspace().await.unwrap(),
            store: store.clone(),
            rulebook: rulebook.clone(),
            offer: Arc::new(drop),
            blobs: local_blobs(folder),
            clock: shared,
            public_url: "http://localhost:8484".parse().unwrap(),
            pace: PACE,
        });
        let (trigger, shutdown) = shutdown::channel();
        let task = tokio::spawn(async move { matching.run(shutdown).await });
        Self { store, rulebook, clock, shutdown: trigger, task }
    }

    /// Changes a rule as the API does, while the host works.
    pub(super) async fn put(&self, rule: Rule) {
        let changes = RuleChanges { put: vec![rule], delete: Vec::new() };
        self.rulebook.begin_change().await.commit(changes).await.unwrap();
    }

    /// Lets time pass, and the host work, until it crashes or all is looked at.
    pub(super) async fn until_crash_or_quiet(&self, rules: &[RuleId]) -> bool {
        let quiet = async {
            while !self.is_quiet(rules).await {
                self.clock.advance(Duration::from_millis(500));
                a_moment().await;
            }
        };
        tokio::select! {
            () = self.store.crashed() => false,
            () = quiet => true,
        }
    }

    async fn is_quiet(&self, rules: &[RuleId]) -> bool {
        let store = self.store.beneath();
        for rule in rules {
            // A rule that looks for no runs has none.
            let Some(cursor) = store.cursor(*rule).await.unwrap() else { continue };
            if cursor.closing.is_some() || cursor.looked_at < store.head(cursor.project).await.unwrap() {
                return false;
            }
        }
        true
    }

    /// What a crash leaves: nothing of this life works on.
    pub(super) async fn end(self) {
        self.shutdown.request();
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Opens the store, once nothing of the life before holds it: its folder is locked until then.
pub(super) async fn open(folder: &Path) -> Arc<dyn Store> {
    loop {
        let keyring = Arc::new(Keyring::load(folder, None).unwrap());
        if let Ok(store) = SqliteStore::open(folder, keyring) {
            return Arc::new(store);
        }
        a_moment().await;
    }
}
