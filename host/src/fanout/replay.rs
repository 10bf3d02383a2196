//! A delivery made anew from an old one: its payload passes the webhook's chain again, as the rule is now.

use crate::blobs::BlobError;
use crate::fanout::linked::Turn;
use crate::fanout::{Fanout, draw};
use crate::model::delivery::{Fate, ReplayOf, State, Still};
use crate::model::ids::DeliveryId;
use crate::model::plugin::PluginFailureKind;
use crate::store::StoreError;

/// Why a delivery cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such delivery.
    #[error("there is no delivery {0}")]
    NotFound(DeliveryId),
    /// It is still to be sent.
    #[error("delivery {0} is still pending; only one that has ended or is held can be replayed")]
    StillPending(DeliveryId),
    /// It went on meanwhile.
    #[error("delivery {0} is no longer held")]
    NotHeld(DeliveryId),
    /// Somebody has replayed it before.
    #[error("delivery {0} was replayed already")]
    AlreadyReplayed(DeliveryId),
    /// Its webhook is no longer part of a rule.
    #[error("the webhook of delivery {0} is no longer part of its rule; put it back to replay")]
    WebhookGone(DeliveryId),
    /// The object store cannot sign new links.
    #[error("the links of its payload cannot be made anew: {0}")]
    Links(#[from] BlobError),
    /// The store's fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which deliveries a replay takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Any that is not pending.
    Any,
    /// The same, if nobody has replayed it before.
    Unreplayed,
    /// One that is held.
    Held,
    /// The same, unless it would be held by a plugin's quarantine: then it stays as it is.
    OutOfQuarantine,
}

/// The delivery that a replay made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Fresh.
    pub id: DeliveryId,
    /// Pending where it is sent.
    pub state: State,
    /// Why not, in words.
    pub cause: Option<String>,
}

impl Fanout {
    /// Makes a new delivery from an old one: its payload passes the webhook's chain again, as the rule is now, and with
    /// new links where the links are ours. None where a quarantine would hold it that it is to come out of.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub async fn replay(&self, id: DeliveryId, which: Replay) -> Result<Option<Replayed>, ReplayError> {
        let parts = &self.0.parts;
        let source = parts.store.replay_source(id).await?.ok_or(ReplayError::NotFound(id))?;
        match (source.delivery.state, which) {
            (State::Held, _) => {}
            (_, Replay::Held | Replay::OutOfQuarantine) => return Err(ReplayError::NotHeld(id)),
            (State::Pending, Replay::Any | Replay::Unreplayed) => return Err(ReplayError::StillPending(id)),
            (_, Replay::Any | Replay::Unreplayed) => {}
        }
        let still = match (source.delivery.state, which) {
            (State::Held, _) => Still::Held,
            (_, Replay::Unreplayed) => Still::Unreplayed,
            _ => Still::Any,
        };
        let snapshot = parts.rulebook.snapshot();
        let endpoint = source.delivery.endpoint;
        let found = snapshot.rule(endpoint.rule).and_then(|rule| Some((rule, rule.webhook(&endpoint.webhook)?)));
        let (rule, webhook) = found.ok_or(ReplayError::WebhookGone(id))?;
        let document = self.0.relinked(&source.payload).await?;
        let drawn = draw(rule, &document).await;
        let linked = self.0.linked(&source.payload, Turn::Waits);
        let delivery = self.0.delivery(&linked, rule, webhook, &drawn, Some(ReplayOf { id, still })).await;
        if which == Replay::OutOfQuarantine && is_quarantined(&delivery.fate) {
            return Ok(None);
        }
        let cause = delivery.fate.cause().map(|cause| cause.words.clone());
        let replayed = Replayed { id: delivery.id, state: delivery.fate.state(), cause };
        self.0.commit(&source.payload, vec![delivery]).await?;
        // Somebody else may have replayed it while the chain ran.
        match parts.store.delivery(replayed.id).await? {
            Some(_) => Ok(Some(replayed)),
            None if still == Still::Unreplayed => Err(ReplayError::AlreadyReplayed(id)),
            None => Err(ReplayError::NotHeld(id)),
        }
    }
}

fn is_quarantined(fate: &Fate) -> bool {
    let failed = fate.cause().and_then(|cause| cause.failed.as_ref());
    failed.is_some_and(|(_, kind)| *kind == PluginFailureKind::Quarantined)
}
