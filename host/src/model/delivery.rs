//! A delivery: the intent to get one body to one endpoint, at least once. Its states and what moves it between them.
//!
//! ```text
//!            fan out                      worker
//! payload ─┬─▶ pending ──claim/attempt──┬─▶ delivered
//!          │      ▲  └──────retry───────┘─▶ failed
//!          │      └── operator removes the webhook ─▶ cancelled
//!          ├─▶ held      a plugin failed, or the rule is off; replay makes a new delivery
//!          ├─▶ filtered  no run was left
//!          └─▶ dropped   a plugin failed with `on_error = "drop"`
//! ```
//!
//! A lease is not a state: a pending delivery that is being attempted is still pending.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::model::attempt::Attempt;
use crate::model::ids::{DeliveryId, EndpointId, HostId, PayloadId};
use crate::model::payload::Body;
use crate::model::plugin::{PluginFailure, PluginFailureKind, PluginName};

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for its next attempt, or is being attempted.
    Pending,
    /// Not sent; waits for a replay.
    Held,
    /// A receiver answered 2xx.
    Delivered,
    /// The retry profile gave up.
    Failed,
    /// No run was left to send.
    Filtered,
    /// A plugin failed and its `on_error` is `drop`.
    Dropped,
    /// The webhook or its rule was removed.
    Cancelled,
}

impl State {
    /// Every state, in the order of the life cycle.
    pub const ALL: [State; 7] = [
        State::Pending,
        State::Held,
        State::Delivered,
        State::Failed,
        State::Filtered,
        State::Dropped,
        State::Cancelled,
    ];

    /// The state's wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Held => "held",
            State::Delivered => "delivered",
            State::Failed => "failed",
            State::Filtered => "filtered",
            State::Dropped => "dropped",
            State::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no state of a delivery: use pending, held, delivered, failed, filtered, dropped or cancelled")]
pub struct StateError(String);

impl FromStr for State {
    type Err = StateError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| StateError(text.to_owned()))
    }
}

/// What fan-out makes of one payload and one webhook.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Fresh.
    pub id: DeliveryId,
    /// Where to.
    pub endpoint: EndpointId,
    /// What came out of the chain.
    pub fate: Fate,
    /// What was replayed to get this one.
    pub replay_of: Option<ReplayOf>,
}

/// The delivery that a replay is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayOf {
    /// Which.
    pub id: DeliveryId,
    /// What it has to be still when the replay is made, so that two replays at once send once.
    pub still: Still,
}

/// What a delivery has to be still for a replay of it to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Still {
    /// Anything.
    Any,
    /// Held.
    Held,
    /// One of which there is no replay.
    Unreplayed,
}

/// What the chain made of a payload for one webhook.
#[derive(Clone, Debug)]
pub enum Fate {
    /// To be sent; due at once.
    Send(Body),
    /// Not sent, and waits for a replay.
    Held(Cause),
    /// No run was left.
    Filtered,
    /// A plugin failed with `on_error = "drop"`.
    Dropped(Cause),
}

impl Fate {
    /// What the delivery begins as.
    pub fn state(&self) -> State {
        match self {
            Self::Send(_) => State::Pending,
            Self::Held(_) => State::Held,
            Self::Filtered => State::Filtered,
            Self::Dropped(_) => State::Dropped,
        }
    }

    /// Why nothing is sent, where there is a reason.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Held(cause) | Self::Dropped(cause) => Some(cause),
            Self::Send(_) | Self::Filtered => None,
        }
    }
}

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// For who reads it.
    pub words: String,
    /// The plugin that failed and how, where it was one.
    pub failed: Option<(PluginName, PluginFailureKind)>,
}

impl From<PluginFailure> for Cause {
    fn from(failure: PluginFailure) -> Self {
        Self { words: failure.to_string(), failed: Some((failure.plugin, failure.kind)) }
    }
}

impl From<String> for Cause {
    fn from(words: String) -> Self {
        Self { words, failed: None }
    }
}

/// The right to make one attempt, until the lease ends. Whoever holds an older fence changes nothing.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Where to.
    pub endpoint: EndpointId,
    /// The attempt that the claim is for, from 1.
    pub attempt: u32,
    /// Attempts so far that do not count against the retry budget (the first `interrupted` one).
    pub uncounted: u32,
    /// Grows with every claim of the delivery.
    pub fence: i64,
    /// Whose claim it is.
    pub owner: HostId,
    /// When the right ends.
    pub lease_until: Timestamp,
    /// What is sent, the same for every attempt.
    pub body: Body,
}

/// What an attempt means for its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A receiver answered 2xx.
    Delivered,
    /// To be attempted again.
    RetryAt(Timestamp),
    /// Given up.
    Failed,
    /// Given up, and its endpoint is not sent to any more: the receiver says that it is gone.
    Gone,
}

/// A delivery as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// `webhook-id` at the receiver.
    pub id: DeliveryId,
    /// What it was made from.
    pub payload: PayloadId,
    /// Where to.
    pub endpoint: EndpointId,
    /// Where it stands.
    pub state: State,
    /// Why, where the state needs a reason: the plugin's failure, the last outcome, the removal.
    pub cause: Option<String>,
    /// The plugin that failed on it, where that is why it is or was held, or is dropped.
    pub plugin: Option<PluginName>,
    /// How that plugin failed.
    pub failure: Option<PluginFailureKind>,
    /// When fan-out made it.
    pub created_at: Timestamp,
    /// When the next attempt is due; pending only.
    pub next_attempt_at: Option<Timestamp>,
    /// Number of attempts begun.
    pub attempts: u32,
    /// Size of the body in bytes; none where there is none.
    pub body_bytes: Option<u64>,
    /// The delivery that an operator replayed to get this one.
    pub replay_of: Option<DeliveryId>,
}

/// A delivery with its whole record.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryRecord {
    /// The delivery.
    pub delivery: Delivery,
    /// Its attempts, in order, numbered without gaps from 1.
    pub attempts: Vec<Attempt>,
}
