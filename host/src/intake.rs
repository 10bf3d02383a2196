//! ACCEPT: from a request to a durable payload or to durable runs, or to a refusal that says what is wrong.
//!
//! The sender may drop what it sent on any 4xx, so only what it can never get right is refused for good; everything that
//! is our trouble asks it to come again. Knows nothing of HTTP but the words of its head.

mod decode;
mod large;
mod runs;

use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use tokio::sync::Semaphore;
use tracing::error;

pub use decode::{BodyError, BodyLimits, Decompressed, Encoding, Memory, UnknownEncoding};
pub use runs::{Content, Ingested};

use crate::aside::aside_if_large;
use crate::blobs::Blobs;
use crate::clock::{Clock, after};
use crate::document::{self, DocumentError};
use crate::fanout::Fanout;
use crate::ingest::IngestError;
use crate::ingest::otlp::OtlpError;
use crate::intake::decode::{Decoded, GRAIN_BYTES};
use crate::limits;
use crate::model::ids::{PayloadId, RuleId};
use crate::model::payload::PendingPayload;
use crate::model::secret::Secret;
use crate::rulebook::RuleBook;
use crate::store::{Accepted, NewPayload, Store, StoreError};

/// The head of a relayed request.
#[derive(Debug)]
pub struct Arrival {
    /// Whose relay URL it came to.
    pub rule: RuleId,
    /// What the URL's `?secret=` is.
    pub secret: Option<Secret>,
    /// How the body is compressed.
    pub encoding: Encoding,
    /// The sender's `webhook-id` or `Idempotency-Key`.
    pub idempotency_key: Option<String>,
}

/// A durable payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What it can be asked for by.
    pub id: PayloadId,
    /// The same came before under the same key; nothing was done this time.
    pub is_repeat: bool,
}

/// Why a payload was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such rule, or it has no relay secret.
    #[error("there is no relay door for the rule {0}: no such rule, or it has no `relay_secret`")]
    NoDoor(RuleId),
    /// The secret is missing or wrong.
    #[error("the URL's `?secret=` is not the rule's relay secret")]
    WrongSecret,
    /// The key cannot be remembered.
    #[error("the idempotency key has {0} bytes; at most {max} are kept", max = limits::IDEMPOTENCY_KEY_BYTES_MAX)]
    KeyTooLong(usize),
    /// The body broke off, is not what its encoding says, or is too large.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} s", limits::REQUEST_READ_TIMEOUT.as_secs())]
    TooSlow,
    /// It is no payload.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It is no body of runs or feedback.
    #[error(transparent)]
    Runs(#[from] IngestError),
    /// It is no body of spans.
    #[error(transparent)]
    Spans(#[from] OtlpError),
    /// The key came with another body before.
    #[error("the idempotency key came with another body within the last 24 hours")]
    Conflict,
    /// Our trouble; to be tried again.
    #[error("this cannot be made durable right now; send it again")]
    Busy,
}

/// What the operator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeBounds {
    /// Bytes of a relayed payload, decoded.
    pub payload_bytes_max: usize,
    /// Bytes of a run's inputs or outputs that stay in its row; larger ones go to the object store.
    pub inline_bytes_max: usize,
}

impl Default for IntakeBounds {
    fn default() -> Self {
        Self { payload_bytes_max: limits::PAYLOAD_BYTES_MAX, inline_bytes_max: limits::INLINE_BYTES_MAX }
    }
}

/// The door's work, whatever protocol it stands in.
pub struct Intake {
    store: Arc<dyn Store>,
    rulebook: Arc<RuleBook>,
    clock: Arc<dyn Clock>,
    fanout: Fanout,
    blobs: Blobs,
    bounds: IntakeBounds,
    /// Decoded bytes that may still be taken into memory, in grains.
    memory: Arc<Semaphore>,
}

impl Intake {
    /// A door within these bounds.
    pub fn new(
        store: Arc<dyn Store>,
        rulebook: Arc<RuleBook>,
        clock: Arc<dyn Clock>,
        fanout: Fanout,
        blobs: Blobs,
        bounds: IntakeBounds,
    ) -> Self {
        let grains = limits::INTAKE_BYTES_IN_FLIGHT_MAX.max(bounds.payload_bytes_max) / GRAIN_BYTES;
        Self { store, rulebook, clock, fanout, blobs, bounds, memory: Arc::new(Semaphore::new(grains)) }
    }

    /// Takes a payload: when this returns a receipt, it survives power loss.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn accept<S, E>(&self, arrival: Arrival, body: S) -> Result<Receipt, Refusal>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        self.check_secret(&arrival)?;
        if let Some(key) = arrival.idempotency_key.as_ref().filter(|key| key.len() > limits::IDEMPOTENCY_KEY_BYTES_MAX)
        {
            return Err(Refusal::KeyTooLong(key.len()));
        }
        let bytes_max = self.bounds.payload_bytes_max;
        let sizes = BodyLimits { packed_bytes_max: bytes_max, bytes_max };
        let read = decode::read(body, arrival.encoding, sizes, &self.memory);
        let timeout = self.clock.sleep_until(after(self.clock.now(), limits::REQUEST_READ_TIMEOUT));
        let decoded = tokio::select! {
            decoded = read => decoded?,
            () = timeout => return Err(Refusal::TooSlow),
        };
        check_document(&decoded.bytes).await?;
        self.make_durable(arrival, decoded).await
    }

    fn check_secret(&self, arrival: &Arrival) -> Result<(), Refusal> {
        let snapshot = self.rulebook.snapshot();
        let needed = snapshot.rule(arrival.rule).and_then(|rule| rule.relay_secret.as_ref());
        let needed = needed.ok_or(Refusal::NoDoor(arrival.rule))?;
        // Comparing secrets takes constant time.
        if arrival.secret.as_ref() == Some(needed) { Ok(()) } else { Err(Refusal::WrongSecret) }
    }

    async fn make_durable(&self, arrival: Arrival, decoded: Decoded) -> Result<Receipt, Refusal> {
        let accepted_at = self.clock.now();
        let payload = NewPayload {
            id: PayloadId::generate(),
            rule: arrival.rule,
            accepted_at,
            document: decoded.bytes.clone(),
            idempotency_key: arrival.idempotency_key,
        };
        let id = payload.id;
        let timeout = self.clock.sleep_until(after(accepted_at, limits::ACCEPT_TIMEOUT));
        let accepted = tokio::select! {
            accepted = self.store.accept(payload) => accepted,
            () = timeout => Err(StoreError::Busy),
        };
        match accepted {
            Ok(Accepted::New) => {
                let document = decoded.bytes.clone();
                self.fanout.offer(PendingPayload { id, rule: arrival.rule, accepted_at, document, is_built: false });
                Ok(Receipt { id, is_repeat: false })
            }
            Ok(Accepted::Repeat(id)) => Ok(Receipt { id, is_repeat: true }),
            Ok(Accepted::Conflict) => Err(Refusal::Conflict),
            Err(error) => {
                error!(%error, rule = %arrival.rule, "a payload was turned away");
                Err(Refusal::Busy)
            }
        }
    }
}

async fn check_document(bytes: &Bytes) -> Result<(), Refusal> {
    let bytes = bytes.clone();
    Ok(aside_if_large(bytes.len(), move || document::check(&bytes)).await?)
}
