//! FAN OUT: passes each accepted payload through the chains of its rule's webhooks and inserts the deliveries.
//!
//! Its input is a hint: a payload that was offered is at hand and needs no look into the store, one that was not is
//! found there by the tick. Ends in exactly one transaction per payload; until that is committed, everything may be
//! repeated. The only place that knows the order of the stages. Knows nothing of HTTP.

mod desk;
mod field_turns;
mod linked;
mod probe;
mod replay;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::{Semaphore, mpsc};
use tracing::{error, warn};

use crate::aside::aside_if_large;
use crate::blobs::{BlobError, Blobs};
use crate::clock::{Clock, after};
use crate::dispatch::{Dispatch, Slot};
use crate::document::Document;
use crate::fanout::desk::{AtHand, Desk, Mark};
use crate::fanout::field_turns::{FieldTurn, FieldTurns};
use crate::fanout::linked::{Linked, Sources, Turn};
use crate::limits;
use crate::links;
use crate::model::delivery::{Claim, Fate, NewDelivery, ReplayOf};
use crate::model::ids::{DeliveryId, HostId, PayloadId, RuleId};
use crate::model::payload::{Body, PendingPayload};
use crate::model::rule::{Rule, Webhook};
use crate::outbound::Fetch;
use crate::plugin::{ChainOutcome, PluginRuntime};
use crate::rulebook::RuleBook;
use crate::sampling;
use crate::shutdown::Shutdown;
use crate::store::{ClaimNow, Store, StoreError};

pub use probe::Probed;
pub use replay::{Replay, ReplayError, Replayed};

/// Why a delivery is held whose chain was run as often as it may be; no chain comes to that but by a fault of ours.
const NEVER_ENOUGH: &str = "the chain asked more than twice per plugin for fields of runs that lie elsewhere";

/// What fan-out works with.
pub struct Parts {
    /// Where payloads come from and deliveries go.
    pub store: Arc<dyn Store>,
    /// The rules as they are now.
    pub rulebook: Arc<RuleBook>,
    /// Runs the chains.
    pub plugins: Arc<dyn PluginRuntime>,
    /// Sends at once what has a free slot.
    pub dispatch: Dispatch,
    /// Where large fields lie of payloads that were built here.
    pub blobs: Blobs,
    /// Reads what the links of other payloads lead to.
    pub fetch: Arc<dyn Fetch>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who claims.
    pub owner: HostId,
}

/// The handle of the fan-out stage; cheap to clone.
#[derive(Clone)]
pub struct Fanout(Arc<Stage>);

struct Stage {
    parts: Parts,
    hints: mpsc::Sender<AtHand>,
    /// Payloads that were hinted, are being worked on or wait for their fields: the tick leaves them alone.
    desk: Arc<Desk>,
    turns: Arc<Semaphore>,
    field_turns: Arc<FieldTurns>,
    /// Rules of which payloads were left in the store since the last sweep began.
    left: Mutex<HashSet<RuleId>>,
    /// Something could not be stored since the last tick: until the next one nothing is looked for.
    has_failed: AtomicBool,
}

/// The hints' other end, for [`Fanout::run`].
pub struct Hints(mpsc::Receiver<AtHand>);

/// How far a payload came.
enum Progress {
    Stored,
    /// Its chains read fields that lie elsewhere, and others have all the turns.
    WaitsForFields,
}

impl Fanout {
    /// The stage, at rest until [`Fanout::run`].
    pub fn new(parts: Parts) -> (Self, Hints) {
        let (hints, receiver) = mpsc::channel(limits::FANOUT_QUEUE_MAX);
        let stage = Stage {
            parts,
            hints,
            desk: Arc::default(),
            turns: Arc::new(Semaphore::new(limits::FANOUTS_MAX)),
            field_turns: FieldTurns::new(limits::FETCHING_PAYLOADS_MAX),
            left: Mutex::default(),
            has_failed: AtomicBool::new(false),
        };
        (Self(Arc::new(stage)), Hints(receiver))
    }

    /// Hands over a payload that has just become durable. Never blocks: what does not fit is found by the tick.
    pub fn offer(&self, payload: PendingPayload) {
        let desk = &self.0.desk;
        if let Some(at_hand) = desk.has_room().then(|| desk.take(payload)).flatten() {
            // What is refused is let go of.
            let _ = self.0.hints.try_send(at_hand);
        }
    }

    /// Works until shutdown is requested, then finishes what is under way within the grace period. The next start works
    /// on what is left.
    pub async fn run(&self, mut hints: Hints, shutdown: Shutdown) {
        let clock = &self.0.parts.clock;
        self.sweep(&mut hints, &shutdown).await;
        // It stays where it is while hints come: what did not fit among them must not wait for them to cease.
        let mut tick = clock.sleep_until(after(clock.now(), limits::TICK));
        while !shutdown.is_requested() {
            tokio::select! {
                Some(at_hand) = hints.0.recv() => self.work_on_hint(at_hand, &shutdown).await,
                () = &mut tick => {
                    self.sweep(&mut hints, &shutdown).await;
                    tick = clock.sleep_until(after(clock.now(), limits::TICK));
                }
                () = shutdown.requested() => break,
            }
        }
        let grace = clock.sleep_until(after(clock.now(), limits::SHUTDOWN_GRACE));
        tokio::select! {
            // Holding every turn means that nothing is under way any more.
            _ = self.0.turns.acquire_many(limits::FANOUTS_MAX as u32) => {}
            () = grace => warn!("stopping while plugins are at work; their payloads are fanned out after the next start"),
        }
    }

    /// Finds in the store what was not hinted: after a start, after an overflow, after a fault. Goes on while it finds
    /// something new; what cannot be read or stored waits for the next tick and holds up nothing else.
    async fn sweep(&self, hints: &mut Hints, shutdown: &Shutdown) {
        self.0.has_failed.store(false, Ordering::Relaxed);
        self.0.left().clear();
        // What is left makes room for more of it all the time: that is not worth another look at all that is pending.
        while let Ok(true) = self.look(hints, shutdown).await
            && self.0.left().is_empty()
        {}
    }

    /// One look at all that is pending; whether there may be more to find at once.
    async fn look(&self, hints: &mut Hints, shutdown: &Shutdown) -> Result<bool, StoreError> {
        let store = &self.0.parts.store;
        let (mut has_begun, mut last) = (false, None);
        loop {
            let found = store.pending_payloads(last, limits::FANOUT_QUEUE_MAX * 2).await;
            let found =
                found.inspect_err(|error| warn!(%error, "cannot look for payloads to fan out; trying again"))?;
            let Some((newest, _)) = found.last() else { return Ok(has_begun) };
            last = Some(*newest);
            for (id, rule) in found {
                if shutdown.is_requested() || self.0.has_failed.load(Ordering::Relaxed) || !self.0.desk.has_room() {
                    return Ok(false);
                }
                // What was hinted is older: under a load that never ends it would wait for ever.
                if let Ok(at_hand) = hints.0.try_recv() {
                    self.work_on_hint(at_hand, shutdown).await;
                }
                has_begun |= self.begin(id, rule, shutdown).await;
            }
        }
    }

    /// Begins with a payload that was found, and says whether it did. One that cannot be read waits for the next tick.
    async fn begin(&self, id: PayloadId, rule: RuleId, shutdown: &Shutdown) -> bool {
        if self.0.is_left(rule) {
            return false;
        }
        let Some(mark) = self.0.desk.mark(id) else { return false };
        let Some(payload) = self.0.read(id).await else { return false };
        self.work_on(self.0.desk.laid(mark, payload), shutdown).await;
        true
    }

    /// Where older payloads of its rule were left in the store, it is left too: it would overtake them for ever.
    async fn work_on_hint(&self, at_hand: AtHand, shutdown: &Shutdown) {
        let rule = at_hand.payload.rule;
        if !self.0.left().contains(&rule) && !self.0.is_left(rule) {
            self.work_on(at_hand, shutdown).await;
        }
    }

    /// Waits for a turn, then works in a task of its own.
    async fn work_on(&self, at_hand: AtHand, shutdown: &Shutdown) {
        let turn = tokio::select! {
            biased;
            turn = self.0.turns.clone().acquire_owned() => turn,
            () = shutdown.requested() => return,
        };
        let Ok(turn) = turn else { return };
        let (stage, shutdown) = (self.0.clone(), shutdown.clone());
        tokio::spawn(async move {
            let AtHand { payload, mark, weight } = at_hand;
            let rule = payload.rule;
            let progress = stage.work(&payload, None).await;
            drop((payload, weight, turn));
            if let Some(Progress::WaitsForFields) = progress {
                stage.work_later(&mark, rule, &shutdown).await;
            }
        });
    }
}

impl Stage {
    async fn read(&self, id: PayloadId) -> Option<PendingPayload> {
        let found = self.parts.store.payload(id).await;
        found.inspect_err(|error| error!(payload = %id, %error, "cannot read a payload; trying again")).ok().flatten()
    }

    /// Whether the payloads of the rule stay in the store: so many of them wait for their fields that the rest comes later.
    fn is_left(&self, rule: RuleId) -> bool {
        let is_left = self.field_turns.waiting(rule) >= limits::FIELD_WAITERS_MAX;
        if is_left {
            self.left().insert(rule);
        }
        is_left
    }

    fn left(&self) -> MutexGuard<'_, HashSet<RuleId>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fans out; what cannot be stored is tried again at a later tick.
    async fn work(&self, payload: &PendingPayload, turn: Option<FieldTurn>) -> Option<Progress> {
        let progress = self.fan_out(payload, turn).await;
        let tell = |error: &StoreError| {
            self.has_failed.store(true, Ordering::Relaxed);
            warn!(payload = %payload.id, %error, "cannot store deliveries; trying again");
        };
        progress.inspect_err(tell).ok()
    }

    /// Waits until its fields can be held, and nothing of it is in memory meanwhile.
    async fn work_later(&self, mark: &Mark, rule: RuleId, shutdown: &Shutdown) {
        let turns = async { (self.field_turns.take(rule).await, self.turns.acquire().await) };
        let (field_turn, _turn) = tokio::select! {
            biased;
            turns = turns => turns,
            () = shutdown.requested() => return,
        };
        if let Some(payload) = self.read(mark.payload).await {
            let _weight = self.desk.weigh(&payload);
            self.work(&payload, Some(field_turn)).await;
        }
    }

    /// With the turn to hold its fields, where it has waited for one.
    async fn fan_out(&self, payload: &PendingPayload, turn: Option<FieldTurn>) -> Result<Progress, StoreError> {
        let snapshot = self.parts.rulebook.snapshot();
        let Some(rule) = snapshot.rule(payload.rule) else {
            warn!(payload = %payload.id, rule = %payload.rule, "the rule was deleted before its payload was fanned out");
            return self.commit(payload, Vec::new()).await.map(|()| Progress::Stored);
        };
        let drawn = draw(rule, &payload.document).await;
        let linked = self.linked(payload, turn.map_or(Turn::IfFree, Turn::Held));
        let deliveries = rule.webhooks.iter().map(|webhook| self.delivery(&linked, rule, webhook, &drawn, None));
        let deliveries = join_all(deliveries).await;
        if linked.into_is_short() {
            return Ok(Progress::WaitsForFields);
        }
        self.commit(payload, deliveries).await.map(|()| Progress::Stored)
    }

    /// What its chains may come to read elsewhere.
    fn linked(&self, payload: &PendingPayload, turn: Turn) -> Linked<'_> {
        let Parts { blobs, fetch, .. } = &self.parts;
        Linked::of(payload, turn, Sources { blobs, fetch: &**fetch, turns: &self.field_turns })
    }

    /// The payload's document with links that are good from now on, where they are ours.
    async fn relinked(&self, payload: &PendingPayload) -> Result<Bytes, BlobError> {
        if !payload.is_built {
            return Ok(payload.document.clone());
        }
        links::renewed(&payload.document, &self.parts.blobs, &*self.parts.clock).await
    }

    async fn delivery(
        &self,
        linked: &Linked<'_>,
        rule: &Rule,
        webhook: &Webhook,
        drawn: &Drawn,
        replay_of: Option<ReplayOf>,
    ) -> NewDelivery {
        let fate = self.fate(linked, webhook, drawn).await;
        NewDelivery { id: DeliveryId::generate(), endpoint: rule.endpoint_id(webhook), fate, replay_of }
    }

    /// Runs the chain.
    async fn fate(&self, linked: &Linked<'_>, webhook: &Webhook, drawn: &Drawn) -> Fate {
        let document = match drawn {
            Drawn::Runs(document) => document.clone(),
            Drawn::Nothing => return Fate::Filtered,
            Drawn::Held(cause) => return Fate::Held(cause.clone().into()),
        };
        if webhook.plugins.is_empty() {
            return Fate::Send(Body::json(document));
        }
        match linked.run(&*self.parts.plugins, &webhook.plugins, document).await {
            ChainOutcome::Send(body) => Fate::Send(body),
            ChainOutcome::Filtered => Fate::Filtered,
            ChainOutcome::Held(failure) => Fate::Held(failure.into()),
            ChainOutcome::Dropped(failure) => Fate::Dropped(failure.into()),
            ChainOutcome::Needs(_) => Fate::Held(NEVER_ENOUGH.to_owned().into()),
        }
    }

    /// The one transaction; then sends what was claimed in it, and nudges for the rest.
    async fn commit(&self, payload: &PendingPayload, deliveries: Vec<NewDelivery>) -> Result<(), StoreError> {
        let dispatch = &self.parts.dispatch;
        let to_send: Vec<_> = deliveries.iter().filter(|delivery| matches!(delivery.fate, Fate::Send(_))).collect();
        let mut slots: Vec<(DeliveryId, Slot)> = Vec::with_capacity(to_send.len());
        for delivery in &to_send {
            let bytes = if let Fate::Send(body) = &delivery.fate { body.bytes.len() } else { 0 };
            slots.extend(dispatch.try_reserve(&delivery.endpoint, bytes).map(|slot| (delivery.id, slot)));
        }
        let has_all_slots = slots.len() == to_send.len();
        // What waits there for this payload to be fanned out can go on, whatever came of it.
        let is_ordered = deliveries.iter().any(|delivery| dispatch.is_ordered(&delivery.endpoint));
        let now = self.parts.clock.now();
        let claim = ClaimNow {
            owner: self.parts.owner,
            lease_until: after(now, limits::LEASE),
            deliveries: slots.iter().map(|(id, _)| *id).collect(),
        };
        let claims = self.parts.store.fan_out(payload, deliveries, claim, now).await?;
        let is_all_claimed = has_all_slots && claims.len() == slots.len();
        start_all(dispatch, claims, slots);
        if !is_all_claimed || is_ordered {
            dispatch.nudge();
        }
        Ok(())
    }
}

/// What a rule lets into the chains of its webhooks.
enum Drawn {
    Runs(Bytes),
    /// Sampling left no run.
    Nothing,
    /// The cause, in words.
    Held(String),
}

/// Samples, once for all webhooks.
async fn draw(rule: &Rule, document: &Bytes) -> Drawn {
    if !rule.is_enabled {
        return Drawn::Held("the rule is not enabled".to_owned());
    }
    if rule.sampling_rate >= 1.0 {
        return Drawn::Runs(document.clone());
    }
    let (id, rate, document) = (rule.id, rule.sampling_rate, document.clone());
    aside_if_large(document.len(), move || sampled(id, rate, document)).await
}

fn sampled(rule: RuleId, rate: f64, document: Bytes) -> Drawn {
    let mut document = match Document::parse(document) {
        Ok(document) => document,
        Err(error) => return Drawn::Held(format!("the payload cannot be read: {error}")),
    };
    let runs_before = document.len();
    sampling::sample(&mut document, rule, rate);
    if document.is_empty() && runs_before > 0 { Drawn::Nothing } else { Drawn::Runs(document.to_bytes()) }
}

/// Pairs each claim with the slot that was reserved for it; slots without a claim are freed.
fn start_all(dispatch: &Dispatch, claims: Vec<Claim>, mut slots: Vec<(DeliveryId, Slot)>) {
    for claim in claims {
        if let Some(place) = slots.iter().position(|(id, _)| *id == claim.delivery) {
            let (_, slot) = slots.swap_remove(place);
            dispatch.start(claim, slot);
        }
    }
}
