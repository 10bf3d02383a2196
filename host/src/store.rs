//! The store: what is durable, and the only coordination between workers.
//!
//! Rules of the seam:
//! - Each method is one transaction. When it returns `Ok`, its effect survives power loss.
//! - Nothing here calls a guest or a receiver; nobody holds a transaction over either.
//! - `complete` is a compare-and-set on the claim's fence: a holder whose claim was taken over changes nothing.
//! - Time is handed in. The store never looks at a clock.
//! - Methods may be called concurrently by any number of tasks; a backend groups what gathers into one commit.

pub mod api_keys;
#[cfg(test)]
pub(crate) mod conformance;
pub mod datasets;
pub mod endpoints;
pub mod offload;
pub mod release;
pub mod retention;
pub mod runs;
pub mod seals;
pub mod sqlite;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::Timestamp;
use crate::model::attempt::Attempt;
use crate::model::delivery::{Claim, Delivery, DeliveryRecord, NewDelivery, Next, State};
use crate::model::ids::{DeliveryId, EndpointId, HostId, PayloadId, RuleId, WebhookId};
use crate::model::payload::PendingPayload;
use crate::model::plugin::PluginName;
use crate::model::rule::Rule;
use crate::store::api_keys::ApiKeyStore;
use crate::store::datasets::DatasetStore;
use crate::store::endpoints::EndpointStore;
use crate::store::offload::OffloadStore;
use crate::store::release::ReleaseStore;
use crate::store::retention::RetentionStore;
use crate::store::runs::RunStore;
use crate::store::seals::SealStore;

/// What went wrong in the store itself. The caller's data is never at fault.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too much is waiting to be written; try again soon.
    #[error("the store cannot keep up")]
    Busy,
    /// The disk is full or failed, the database is damaged, a secret cannot be opened.
    #[error("{context}: {cause}")]
    Failed {
        /// What the store was doing.
        context: &'static str,
        /// What the backend said.
        cause: String,
    },
}

impl StoreError {
    /// Whether the same call may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy)
    }
}

/// Result of a store method.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A relayed payload at the door.
#[derive(Clone, Debug)]
pub struct NewPayload {
    /// Fresh.
    pub id: PayloadId,
    /// The rule whose relay URL it came to.
    pub rule: RuleId,
    /// Now.
    pub accepted_at: Timestamp,
    /// The decoded JSON document.
    pub document: Bytes,
    /// The sender's `webhook-id` or `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

/// How a payload was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is durable under the id that was given.
    New,
    /// The same key came with the same body before: the id of then.
    Repeat(PayloadId),
    /// The same key came with another body before.
    Conflict,
}

/// What a host asks for when it claims.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Who asks.
    pub owner: HostId,
    /// What counts as due: `next_attempt_at <= now` and no live lease.
    pub now: Timestamp,
    /// Until when the claims last.
    pub lease_until: Timestamp,
    /// What the host has room for, per endpoint.
    pub room: Room,
    /// Claims in all.
    pub limit: usize,
    /// Bytes of their bodies above [`crate::limits::SMALL_BODY_BYTES_MAX`]; the last one may pass it, so that none is too
    /// large to be claimed. Smaller bodies do not count.
    pub bytes_max: usize,
}

/// What a host has room for at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Claims.
    pub claims: usize,
    /// Bytes of their bodies, as in [`ClaimRequest::bytes_max`].
    pub bytes: usize,
}

/// What a host has room for at each endpoint: asked for those alone for which something is due.
#[derive(Clone)]
pub struct Room(Arc<dyn Fn(&EndpointId) -> Share + Send + Sync>);

impl Room {
    /// As the closure says. It must not ask the store.
    pub fn by(room: impl Fn(&EndpointId) -> Share + Send + Sync + 'static) -> Self {
        Self(Arc::new(room))
    }

    /// So many claims at each endpoint, of any size.
    pub fn everywhere(claims: usize) -> Self {
        Self::by(move |_| Share { claims, bytes: usize::MAX })
    }

    /// At this endpoint.
    pub fn at(&self, endpoint: &EndpointId) -> Share {
        (self.0)(endpoint)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}

/// What waits in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Something could be claimed, by who has room for it.
    pub is_overdue: bool,
    /// When the next one becomes due after that, or a lease ends.
    pub next: Option<Timestamp>,
}

/// What fan-out asks for besides inserting: claims on what it has just made, so that it can be sent at once.
#[derive(Clone, Debug)]
pub struct ClaimNow {
    /// Who asks.
    pub owner: HostId,
    /// Until when the claims last.
    pub lease_until: Timestamp,
    /// The deliveries to claim; each is one of those being inserted, with `Fate::Send`.
    pub deliveries: Vec<DeliveryId>,
}

/// The rules as they are to be from now on.
#[derive(Clone, Debug, Default)]
pub struct RuleChanges {
    /// Rules to insert or to replace, by id.
    pub put: Vec<Rule>,
    /// Rules to remove.
    pub delete: Vec<RuleId>,
}

/// What a change of rules did to deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cancelled {
    /// Pending and held deliveries of removed webhooks and rules that are now cancelled.
    pub deliveries: u64,
}

/// Which deliveries to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct DeliveryQuery {
    /// Only this state.
    pub state: Option<State>,
    /// Only this rule.
    pub rule: Option<RuleId>,
    /// Only of this payload.
    pub payload: Option<PayloadId>,
    /// Only to webhooks of this id.
    pub webhook: Option<WebhookId>,
    /// Only those that this plugin failed on.
    pub plugin: Option<PluginName>,
    /// Only those that were made then or later.
    pub since: Option<Timestamp>,
    /// Only those that were made before.
    pub until: Option<Timestamp>,
    /// Only those whose cause has this text in it.
    pub cause: Option<String>,
    /// Only those that were replayed, or were not.
    pub is_replayed: Option<bool>,
    /// Only older than this one (the last of the page before).
    pub before: Option<DeliveryId>,
    /// At most so many.
    pub limit: usize,
}

/// What a replay starts from.
#[derive(Clone, Debug)]
pub struct ReplaySource {
    /// The delivery that is replayed.
    pub delivery: Delivery,
    /// The payload that it was made from: the chain runs again on it.
    pub payload: PendingPayload,
}

/// What is durable. See the module's text for the rules that every method keeps.
#[async_trait]
pub trait Store:
    ApiKeyStore + DatasetStore + EndpointStore + OffloadStore + ReleaseStore + RetentionStore + RunStore + SealStore
{
    /// Inserts, replaces and removes rules. Pending and held deliveries of webhooks that are no longer there become
    /// `cancelled` in the same transaction; `now` is written as the time of it.
    async fn change_rules(&self, changes: RuleChanges, now: Timestamp) -> Result<Cancelled>;

    /// All rules, by display name.
    async fn rules(&self) -> Result<Vec<Rule>>;

    /// ACCEPT: makes the payload durable, unless its idempotency key was seen within the window
    /// ([`crate::limits::IDEMPOTENCY_WINDOW`], counted back from `accepted_at`).
    async fn accept(&self, payload: NewPayload) -> Result<Accepted>;

    /// Payloads that are not fanned out yet, oldest first, those alone that were accepted after `behind`, where it is there
    /// still; each with its rule. Repeating their fan-out is harmless.
    async fn pending_payloads(&self, behind: Option<PayloadId>, limit: usize) -> Result<Vec<(PayloadId, RuleId)>>;

    /// One payload that is not fanned out yet.
    async fn payload(&self, id: PayloadId) -> Result<Option<PendingPayload>>;

    /// FAN OUT: inserts the deliveries of one payload, retires it, and claims some of them, in one transaction.
    /// A delivery that already exists (same payload, same webhook, no replay) is left as it is and not claimed. A replay
    /// is not made where the delivery that it replays is no longer what it has to be still
    /// ([`crate::model::delivery::Still`]). One to a webhook that was removed meanwhile is inserted as `cancelled`. Bodies
    /// that are equal are stored once, and not at all where they equal the payload. The claims come back in the order
    /// asked for, without those of deliveries that are not `pending` by this call, and of those to endpoints that are
    /// disabled or ordered.
    async fn fan_out(
        &self,
        payload: &PendingPayload,
        deliveries: Vec<NewDelivery>,
        claim: ClaimNow,
        now: Timestamp,
    ) -> Result<Vec<Claim>>;

    /// Claims due deliveries, fairly over endpoints, oldest due first within one. An endpoint that is disabled gets no
    /// claim. One that is ordered gets one at a time, in the order in which payloads were accepted: none before what is
    /// earlier has come to its end or waits for its retry, or is still to be fanned out. A claim takes the attempt's number;
    /// where the attempt before it has no outcome (its lease ran out), that one is recorded as `interrupted`. The
    /// first interrupted attempt of a delivery does not count against its retry budget.
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Claim>>;

    /// DELIVER: writes the attempt's outcome and advances the delivery; [`Next::Gone`] also disables its endpoint. False
    /// where the claim was taken over, or the delivery was cancelled meanwhile: then nothing but a missing record of this
    /// attempt is written.
    async fn complete(&self, claim: &Claim, attempt: Attempt, next: Next) -> Result<bool>;

    /// Ends all leases that this store knows, whoever holds them: for a host that starts alone on its data.
    async fn end_leases(&self) -> Result<u64>;

    /// What a clock has written that was ahead of this time: a delivery whose last attempt, or which itself, is from later
    /// than now is due at once if it waits for a later one, and leases end at `lease_until` at the latest. How many
    /// deliveries became due.
    async fn clock_was_set_back(&self, now: Timestamp, lease_until: Timestamp) -> Result<u64>;

    /// What waits for a claim at this time.
    async fn waiting(&self, now: Timestamp) -> Result<Waiting>;

    /// Deliveries, newest first.
    async fn deliveries(&self, query: DeliveryQuery) -> Result<Vec<Delivery>>;

    /// One delivery with its attempts.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>>;

    /// What is needed to run a delivery's chain again.
    async fn replay_source(&self, id: DeliveryId) -> Result<Option<ReplaySource>>;

    /// Number of deliveries per webhook and state: the ledger.
    async fn ledger(&self) -> Result<Vec<(EndpointId, State, u64)>>;
}
