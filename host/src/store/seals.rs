//! The part of the store's seam that brings stored secrets under another key.
//!
//! The rules of [`crate::store`] hold. A change of rules seals with the key that is current when it is written, so after
//! a change of the key one pass over all rules, from the first on, leaves nothing under an earlier one.

use async_trait::async_trait;

use crate::model::ids::RuleId;
use crate::store::Result;

/// What one batch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Secrets that are under the current key now and were not before.
    pub secrets: u64,
    /// The last rule of the batch; none where there was no rule behind.
    pub last: Option<RuleId>,
}

/// What seals anew.
#[async_trait]
pub trait SealStore: Send + Sync {
    /// Brings the secrets of at most `limit` rules under the keyring's current key, by id, behind that one where it is
    /// given; of fewer where they are long ([`crate::limits::RESEALED_BYTES_MAX`]). All else of the rules stays byte for byte, the time of their last change too.
    async fn reseal(&self, behind: Option<RuleId>, limit: usize) -> Result<Resealed>;

    /// Brings the keys of bodies that are kept sealed under the current key, and makes a new one for those that come;
    /// how many were not under it.
    async fn reseal_body_keys(&self) -> Result<u64>;
}
