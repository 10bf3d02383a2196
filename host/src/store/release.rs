//! The part of the store's seam that tells what waits for a plugin to come out of quarantine.
//!
//! The rules of [`crate::store`] hold. Both methods read alone: a delivery goes on by a replay, as an operator's does.

use async_trait::async_trait;

use crate::model::ids::{DeliveryId, EndpointId};
use crate::model::plugin::PluginName;
use crate::store::Result;

/// What finds held deliveries.
#[async_trait]
pub trait ReleaseStore: Send + Sync {
    /// Where deliveries are held because a plugin was in quarantine, and the plugin.
    async fn quarantined(&self) -> Result<Vec<(EndpointId, PluginName)>>;

    /// Such deliveries to one webhook, the oldest first, behind that one where it is given.
    async fn held_by_quarantine(
        &self,
        endpoint: &EndpointId,
        plugin: &PluginName,
        behind: Option<DeliveryId>,
        limit: usize,
    ) -> Result<Vec<DeliveryId>>;
}
