//! DELIVER: claims due deliveries, sends one attempt, records the outcome.
//!
//! The loop takes no input: it is nudged and ticked, and asks the store what is due. Fan-out may hand it what it has
//! inserted and claimed itself. A slot is the right to have one attempt in flight; a slow endpoint uses up its own slots
//! and nobody else's. Knows nothing of plugins.

pub mod classify;
pub mod retry;
mod slots;
mod worker;

use std::sync::Arc;

use tokio::sync::Notify;
use tracing::warn;

pub use slots::Slot;
use slots::{Bounds, Slots};

use crate::clock::{Clock, after};
use crate::limits;
use crate::model::Timestamp;
use crate::model::delivery::Claim;
use crate::model::ids::{EndpointId, HostId};
use crate::outbound::Sender;
use crate::rulebook::RuleBook;
use crate::shutdown::Shutdown;
use crate::store::{self, ClaimRequest, Store};

/// Bodies that one round of claims brings into memory, at most.
const CLAIMS_PER_ROUND: usize = 64;

/// The handle of the dispatch stage; cheap to clone.
#[derive(Clone)]
pub struct Dispatch(Arc<Stage>);

struct Stage {
    store: Arc<dyn Store>,
    rulebook: Arc<RuleBook>,
    sender: Arc<dyn Sender>,
    clock: Arc<dyn Clock>,
    owner: HostId,
    slots: Slots,
    nudged: Arc<Notify>,
}

impl Dispatch {
    /// The stage, at rest until [`Dispatch::run`].
    pub fn new(
        store: Arc<dyn Store>,
        rulebook: Arc<RuleBook>,
        sender: Arc<dyn Sender>,
        clock: Arc<dyn Clock>,
        owner: HostId,
    ) -> Self {
        let nudged = Arc::new(Notify::new());
        let bounds = Bounds {
            per_endpoint: limits::ATTEMPTS_PER_ENDPOINT_MAX,
            attempts: limits::ATTEMPTS_MAX,
            bytes: limits::ATTEMPTS_BYTES_MAX,
        };
        let slots = Slots::new(bounds, nudged.clone());
        Self(Arc::new(Stage { store, rulebook, sender, clock, owner, slots, nudged }))
    }

    /// A slot for one more attempt at the endpoint with a body of so many bytes; none where there is no free one, or where
    /// older deliveries wait for it.
    pub fn try_reserve(&self, endpoint: &EndpointId, bytes: usize) -> Option<Slot> {
        self.0.slots.try_reserve(endpoint, bytes)
    }

    /// Makes the claimed attempt, in a task of its own.
    pub fn start(&self, claim: Claim, slot: Slot) {
        let stage = self.0.clone();
        tokio::spawn(async move {
            stage.deliver(claim).await;
            drop(slot);
        });
    }

    /// Something may be due.
    pub fn nudge(&self) {
        self.0.nudged.notify_one();
    }

    /// Works until shutdown is requested, then waits for attempts in flight, at most for the grace period.
    pub async fn run(&self, shutdown: Shutdown) {
        while !shutdown.is_requested() {
            let wake_at = self.claim_all_due().await;
            tokio::select! {
                () = self.0.nudged.notified() => {}
                () = self.0.clock.sleep_until(wake_at) => {}
                () = shutdown.requested() => {}
            }
        }
        let grace = self.0.clock.sleep_until(after(self.0.clock.now(), limits::SHUTDOWN_GRACE));
        tokio::select! {
            () = self.0.slots.all_free() => {}
            () = grace => warn!("attempts are still in flight; the next start takes them over"),
        }
    }

    /// Starts what is due and has a slot; when to look again.
    async fn claim_all_due(&self) -> Timestamp {
        let tick = after(self.0.clock.now(), limits::TICK);
        match self.try_claim_all_due().await {
            Ok(Some(next)) => next.min(tick),
            Ok(None) => tick,
            Err(error) => {
                warn!(%error, "cannot claim due deliveries; trying again");
                tick
            }
        }
    }

    async fn try_claim_all_due(&self) -> store::Result<Option<Timestamp>> {
        let stage = &self.0;
        let (asked_at, freed) = loop {
            let (now, freed) = (stage.clock.now(), stage.slots.freed());
            let limit = stage.slots.free().min(CLAIMS_PER_ROUND);
            let claims = if limit == 0 { Vec::new() } else { self.claim(limit, now).await? };
            let is_last_round = claims.is_empty();
            for claim in claims {
                let slot = stage.slots.take(&claim.endpoint, claim.body.bytes.len());
                self.start(claim, slot);
            }
            if is_last_round {
                break (now, freed);
            }
        };
        // What was due when the store was asked and was not claimed waits for a slot, whose end is a nudge. What became
        // due since then was not asked for.
        let next = stage.store.next_due().await?;
        let is_behind = next.is_some_and(|next| next <= asked_at);
        stage.slots.set_behind(is_behind);
        // A slot that ended between the last round and now told nobody: nobody was behind yet.
        if is_behind && stage.slots.freed() != freed {
            self.nudge();
        }
        Ok(next.filter(|_| !is_behind))
    }

    async fn claim(&self, limit: usize, now: Timestamp) -> store::Result<Vec<Claim>> {
        let request = ClaimRequest {
            owner: self.0.owner,
            now,
            lease_until: after(now, limits::LEASE),
            in_flight: self.0.slots.in_flight(),
            per_endpoint_max: limits::ATTEMPTS_PER_ENDPOINT_MAX,
            limit,
            bytes_max: self.0.slots.free_bytes(),
        };
        self.0.store.claim(request).await
    }
}
