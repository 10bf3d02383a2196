//! Goes over to a new secret key while the host works: a new key, every stored secret under it, and the old key goes.
//!
//! Each step leaves what the next start can work with: the new key is on disk before anything is sealed with it, and the
//! old one goes when a whole pass over the rules and the keys of bodies has found nothing under it. A rotation that a crash
//! cut short is finished by the next one. Knows nothing of files and of what a rule is.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tracing::info;

use crate::blobs::{Blobs, SigningKey, SigningKeys};
use crate::clock::{Clock, after};
use crate::limits;
use crate::secrets::{Keyring, SecretsError};
use crate::store::{Store, StoreError};

/// How long after a rotation links of before hold: as long as the last of them, and what clocks may differ by.
const LINKS_HOLD: Duration = limits::LINK_LIFETIME.saturating_add(Duration::from_hours(1));

/// Why a rotation did not come to its end. What was done holds, and the next one goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Two at once would both make a key.
    #[error("a rotation is under way; wait for it")]
    UnderWay,
    /// The keys cannot be changed.
    #[error("{0}")]
    Keys(#[from] SecretsError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What a rotation has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Id of the key that everything is sealed with now.
    pub key_id: String,
    /// Whether the key was made by this rotation, and not by one that it finished or by whoever starts the host.
    pub is_key_new: bool,
    /// Secrets and bodies' keys that were sealed anew.
    pub secrets: u64,
}

/// Rotates, once at a time. Cheap to clone.
#[derive(Clone)]
pub struct Rotation {
    keyring: Arc<Keyring>,
    store: Arc<dyn Store>,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    turn: Arc<Mutex<()>>,
}

impl Rotation {
    /// Of the keyring that the store seals with. Links are signed with its keys from now on.
    pub fn new(keyring: Arc<Keyring>, store: Arc<dyn Store>, blobs: Blobs, clock: Arc<dyn Clock>) -> Self {
        let rotation = Self { keyring, store, blobs, clock, turn: Arc::default() };
        rotation.sign_links();
        rotation
    }

    /// Whether a rotation was begun and not ended.
    pub fn is_unfinished(&self) -> bool {
        self.keyring.has_earlier()
    }

    /// Goes over to a new key, or finishes a rotation that was begun; also where who asked goes away meanwhile.
    ///
    /// # Errors
    /// See [`RotationError`].
    pub async fn rotate(&self) -> Result<Rotated, RotationError> {
        let turn = self.turn.clone().try_lock_owned().map_err(|_| RotationError::UnderWay)?;
        let rotation = self.clone();
        let rotated = tokio::spawn(async move {
            let rotated = rotation.steps().await;
            drop(turn);
            rotated
        });
        rotated.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    async fn steps(self) -> Result<Rotated, RotationError> {
        let is_key_new = self.on_disk(Keyring::begin_rotation).await?;
        let key_id = self.keyring.current_id();
        info!(key = key_id, is_key_new, "rotating the secret key");
        self.sign_links();
        let secrets = self.reseal_all().await?;
        let now = self.clock.now();
        self.on_disk(move |keyring| keyring.end_rotation(now, after(now, LINKS_HOLD))).await?;
        self.sign_links();
        info!(key = key_id, secrets, "rotated the secret key");
        Ok(Rotated { key_id, is_key_new, secrets })
    }

    /// Pass after pass, until one finds nothing: that one shows that no earlier key is needed.
    async fn reseal_all(&self) -> Result<u64, StoreError> {
        let mut secrets = 0;
        loop {
            let resealed = self.pass().await?;
            if resealed == 0 {
                return Ok(secrets);
            }
            secrets += resealed;
        }
    }

    async fn pass(&self) -> Result<u64, StoreError> {
        let (mut secrets, mut behind) = (self.store.reseal_body_keys().await?, None);
        loop {
            let batch = self.store.reseal(behind, limits::RESEALED_RULES_MAX).await?;
            secrets += batch.secrets;
            if batch.last.is_none() {
                return Ok(secrets);
            }
            behind = batch.last;
        }
    }

    fn sign_links(&self) {
        let earlier = self.keyring.earlier_url_keys().into_iter();
        let earlier = earlier.map(|(key, until)| (SigningKey::new(*key), until)).collect();
        self.blobs.sign_with(SigningKeys { current: SigningKey::new(self.keyring.url_key()), earlier });
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Keyring) -> Result<T, SecretsError> + Send + 'static,
    ) -> Result<T, SecretsError> {
        let keyring = self.keyring.clone();
        let changed = tokio::task::spawn_blocking(move || change(&keyring)).await;
        changed.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}
