//! The part of the store's seam that keeps the keys of the API.
//!
//! The rules of [`crate::store`] hold. Nothing here tells whether a key holds: that is decided in memory.

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::model::api_key::{ApiKey, ApiKeyId};
use crate::store::Result;

/// What keeps keys.
#[async_trait]
pub trait ApiKeyStore: Send + Sync {
    /// Adds a key with a fresh id.
    async fn add_api_key(&self, key: ApiKey) -> Result<()>;

    /// All keys, the oldest first.
    async fn api_keys(&self) -> Result<Vec<ApiKey>>;

    /// Removes a key; false where there is none.
    async fn delete_api_key(&self, id: &ApiKeyId) -> Result<bool>;

    /// Remembers the day on which a key was used. Of a key that has gone meanwhile nothing is kept.
    async fn note_api_key_use(&self, id: &ApiKeyId, day: Timestamp) -> Result<()>;
}
