//! The part of the store's seam that knows of endpoints: which there are, whether they are sent to, how they did.
//!
//! The rules of [`crate::store`] hold.

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::model::attempt::Attempt;
use crate::model::ids::EndpointId;
use crate::store::Result;

/// Why an endpoint is not sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    /// Since when.
    pub at: Timestamp,
    /// In words.
    pub cause: String,
}

/// An endpoint as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRecord {
    /// Which.
    pub id: EndpointId,
    /// Where it is not sent to: what arrives for it stays pending.
    pub disabled: Option<Disabled>,
    /// Deliveries that wait for an attempt, without those that are being attempted.
    pub pending: u64,
    /// The longest that one of them has waited: when it was made.
    pub oldest_pending_at: Option<Timestamp>,
}

/// What is known of endpoints.
#[async_trait]
pub trait EndpointStore: Send + Sync {
    /// The endpoints of webhooks that are there, by rule and webhook.
    async fn endpoints(&self) -> Result<Vec<EndpointRecord>>;

    /// The last attempts of an endpoint: of its newest deliveries that were attempted, so many deliveries at most, the
    /// newest first.
    async fn last_attempts(&self, endpoint: &EndpointId, limit: usize) -> Result<Vec<Attempt>>;

    /// Stops sending to an endpoint, or goes on where there is no cause any more. False where there is no such endpoint.
    async fn set_disabled(&self, endpoint: &EndpointId, disabled: Option<Disabled>) -> Result<bool>;
}
