//! DELIVER: claims due deliveries, sends one attempt, records the outcome.
//!
//! The loop takes no input: it is nudged and ticked, and asks the store what is due. Fan-out may hand it what it has
//! inserted and claimed itself. A slot is the right to have one attempt in flight; a slow endpoint uses up its own slots
//! and nobody else's. Knows nothing of plugins.

mod breaker;
mod bucket;
pub mod classify;
mod lane;
pub mod retry;
mod set_back;
mod sign;
mod slots;
mod worker;

use std::sync::Arc;

use tokio::sync::Notify;
use tracing::warn;

pub use breaker::Breaker;
use set_back::ClockWatch;
pub use slots::Slot;
use slots::{Bounds, Slots};

use crate::clock::{Clock, after};
use crate::limits;
use crate::model::Timestamp;
use crate::model::attempt::Attempt;
use crate::model::delivery::Claim;
use crate::model::ids::{DeliveryId, EndpointId, HostId};
use crate::model::pace::Pace;
use crate::model::payload::Body;
use crate::outbound::Sender;
use crate::rulebook::RuleBook;
use crate::shutdown::Shutdown;
use crate::store::{self, ClaimRequest, Room, Store};

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
            bytes_per_endpoint: limits::ATTEMPTS_BYTES_PER_ENDPOINT_MAX,
        };
        let slots = Slots::new(bounds, nudged.clone());
        Self(Arc::new(Stage { store, rulebook, sender, clock, owner, slots, nudged }))
    }

    /// A slot for one more attempt at the endpoint with a body of so many bytes; none where there is no free one, where
    /// older deliveries wait for it, or where the store alone knows whose turn it is.
    pub fn try_reserve(&self, endpoint: &EndpointId, bytes: usize) -> Option<Slot> {
        let pace = self.0.pace(endpoint);
        if pace.is_ordered {
            return None;
        }
        self.0.slots.try_reserve(endpoint, &pace, bytes, self.0.clock.now())
    }

    /// Whether the store alone knows what is to be sent next.
    pub fn is_ordered(&self, endpoint: &EndpointId) -> bool {
        self.0.pace(endpoint).is_ordered
    }

    /// Where the endpoint's circuit breaker stands, and how many attempts are in flight.
    pub fn state(&self, endpoint: &EndpointId) -> (Breaker, usize) {
        self.0.slots.state(endpoint)
    }

    /// Makes the claimed attempt, in a task of its own.
    pub fn start(&self, claim: Claim, slot: Slot) {
        let stage = self.0.clone();
        tokio::spawn(async move {
            let endpoint = claim.endpoint.clone();
            let has_opened = stage.deliver(claim, &slot).await;
            drop(slot);
            // Of an ordered endpoint the store alone knows what is next.
            if has_opened || stage.pace(&endpoint).is_ordered {
                stage.nudged.notify_one();
            }
        });
    }

    /// Sends a body to an endpoint, now and once, and records nothing; none where there is no such webhook. Where the
    /// receiver answers, what waits for it goes on.
    pub async fn probe(&self, endpoint: &EndpointId, body: Body) -> Option<(DeliveryId, Attempt)> {
        let stage = &self.0;
        let now = stage.clock.now();
        let id = DeliveryId::generate();
        let claim = Claim {
            delivery: id,
            endpoint: endpoint.clone(),
            attempt: 1,
            uncounted: 0,
            fence: 0,
            owner: stage.owner,
            lease_until: after(now, limits::LEASE),
            body,
        };
        let (attempt, has_opened) = stage.probe(&claim).await?;
        if has_opened {
            self.nudge();
        }
        Some((id, attempt))
    }

    /// Something may be due.
    pub fn nudge(&self) {
        self.0.nudged.notify_one();
    }

    /// Works until shutdown is requested, then waits for attempts in flight, at most for the grace period.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut watch = ClockWatch::default();
        while !shutdown.is_requested() {
            let next = self.claim_all_due(&shutdown).await;
            // Not of before the claims, which can take seconds: what was attempted meanwhile is not of a clock ahead.
            let now = self.0.clock.now();
            if watch.look(&*self.0.store, now).await {
                continue;
            }
            // The clock may have been set back since.
            let tick = after(now.min(self.0.clock.now()), limits::TICK);
            tokio::select! {
                () = self.0.nudged.notified() => {}
                () = self.0.clock.sleep_until(next.map_or(tick, |next| next.min(tick))) => {}
                () = shutdown.requested() => {}
            }
        }
        let grace = self.0.clock.sleep_until(after(self.0.clock.now(), limits::SHUTDOWN_GRACE));
        tokio::select! {
            () = self.0.slots.all_free() => {}
            () = grace => warn!("attempts are still in flight; the next start takes them over"),
        }
    }

    /// Starts what is due and has a slot; when something will be due next, as far as that is known.
    async fn claim_all_due(&self, shutdown: &Shutdown) -> Option<Timestamp> {
        let next = self.try_claim_all_due(shutdown).await;
        next.inspect_err(|error| warn!(%error, "cannot claim due deliveries; trying again")).unwrap_or_default()
    }

    async fn try_claim_all_due(&self, shutdown: &Shutdown) -> store::Result<Option<Timestamp>> {
        let stage = &self.0;
        let asked_at = loop {
            let now = stage.clock.now();
            let (attempts, bytes) = stage.slots.free_or_short();
            let limit = attempts.min(CLAIMS_PER_ROUND);
            let is_last_round = limit == 0 || self.claim(limit, bytes, now).await? == 0;
            if is_last_round || shutdown.is_requested() {
                break now;
            }
        };
        // What was due when the store was asked and was not claimed waits for a slot, whose end is a nudge, or for its
        // endpoint to open. What became due since then, or has opened since then, was not asked for.
        let waiting = stage.store.waiting(asked_at).await?;
        let rules = stage.rulebook.snapshot();
        let url = |endpoint: &EndpointId| rules.webhook(endpoint).map(|webhook| &webhook.endpoint.url);
        let opens_at = stage.slots.settle(waiting.is_overdue, url, asked_at);
        // A lease that is over and that nobody could claim ends when somebody can.
        let next = waiting.next.filter(|next| *next > asked_at);
        Ok(next.into_iter().chain(opens_at).min())
    }

    /// Starts what is due and has a slot, at most so many and so many bytes of large bodies; how many there were.
    async fn claim(&self, limit: usize, bytes_max: usize, now: Timestamp) -> store::Result<usize> {
        let stage = &self.0;
        let asked = stage.clone();
        let request = ClaimRequest {
            owner: stage.owner,
            now,
            lease_until: after(now, limits::LEASE),
            room: Room::by(move |endpoint| asked.slots.room(endpoint, &asked.pace(endpoint), now)),
            limit,
            bytes_max,
        };
        stage.slots.set_claiming(true);
        let claims = stage.store.claim(request).await;
        let claims = claims.inspect_err(|_| stage.slots.set_claiming(false))?;
        let count = claims.len();
        let slots: Vec<_> = claims
            .iter()
            .map(|claim| {
                let pace = stage.pace(&claim.endpoint);
                stage.slots.take(&claim.endpoint, &pace, claim.body.bytes.len(), now)
            })
            .collect();
        stage.slots.set_claiming(false);
        claims.into_iter().zip(slots).for_each(|(claim, slot)| self.start(claim, slot));
        Ok(count)
    }
}

impl Stage {
    /// The endpoint's pace as its rule has it now.
    fn pace(&self, endpoint: &EndpointId) -> Pace {
        self.rulebook.snapshot().webhook(endpoint).map(|webhook| webhook.endpoint.pace).unwrap_or_default()
    }
}
