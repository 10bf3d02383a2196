//! Who may do what through the API: its keys with their scopes, one snapshot, swapped whole when they change.
//!
//! A key is `rh_<id>_<secret>`. It is found by its id, and its secret is compared as a hash: who reads the store cannot
//! use what is there. A fast hash does, since the secret is 256 random bits and no password. The key of the data
//! directory is none of these and allows everything. To check a key reads memory alone.

mod key;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;
use tracing::warn;

use crate::clock::{Clock, after};
use crate::limits;
use crate::model::Timestamp;
use crate::model::api_key::{ApiKey, ApiKeyId, Scope, Scopes};
use crate::model::secret::Secret;
use crate::store::{self, Store, StoreError};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Why a key does not let a request in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no such key, or it was revoked.
    #[error("the header `x-api-key` is no API key of this host")]
    Unknown,
    /// Its time is over.
    #[error("the API key {id} has expired at {at}; make a new one with: runhook keys new")]
    Expired {
        /// The key.
        id: ApiKeyId,
        /// Since when.
        at: Timestamp,
    },
    /// It is for other things.
    #[error("the API key {id} has the scopes `{scopes}`; this needs `{}`", needed.as_str())]
    Lacking {
        /// The key.
        id: ApiKeyId,
        /// What it allows.
        scopes: Scopes,
        /// What it would have to allow.
        needed: Scope,
    },
}

/// Why a key was not made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// [`limits::API_KEYS_MAX`].
    #[error("there are {} API keys already; revoke some first", limits::API_KEYS_MAX)]
    TooMany,
    /// The store's.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A key that somebody wants.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// For how long; for ever where none.
    pub lifetime: Option<Duration>,
}

/// The one place that changes keys: it writes to the store first and acts on the change after.
pub struct Access {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// The key of the data directory.
    bootstrap: Secret,
    keys: ArcSwap<HashMap<ApiKeyId, Arc<Held>>>,
    changing: Mutex<()>,
}

/// A key in memory.
struct Held {
    key: ApiKey,
    /// Day of its last use, in days since 1970; before all days where there was none.
    used_on: AtomicI64,
}

impl Held {
    fn of(key: ApiKey) -> (ApiKeyId, Arc<Self>) {
        let used_on = key.last_used_at.map_or(i64::MIN, day);
        (key.id.clone(), Arc::new(Self { key, used_on: used_on.into() }))
    }

    /// As it stands now.
    fn shown(&self) -> ApiKey {
        ApiKey { last_used_at: start_of(self.used_on.load(Ordering::Relaxed)), ..self.key.clone() }
    }
}

fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(DAY_SECONDS)
}

fn start_of(day: i64) -> Option<Timestamp> {
    Timestamp::from_second(day.checked_mul(DAY_SECONDS)?).ok()
}

impl Access {
    /// Loads the stored keys.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(store: Arc<dyn Store>, clock: Arc<dyn Clock>, bootstrap: Secret) -> store::Result<Arc<Self>> {
        let keys = store.api_keys().await?.into_iter().map(Held::of).collect();
        Ok(Arc::new(Self { store, clock, bootstrap, keys: ArcSwap::from_pointee(keys), changing: Mutex::default() }))
    }

    /// Whether what was given allows what needs that scope.
    ///
    /// # Errors
    /// See [`Denied`].
    pub fn check(&self, given: &Secret, needed: Scope) -> Result<(), Denied> {
        // Comparing secrets takes constant time.
        if *given == self.bootstrap {
            return Ok(());
        }
        let (id, secret) = key::parse(given.expose()).ok_or(Denied::Unknown)?;
        let held = self.keys.load().get(id).cloned().ok_or(Denied::Unknown)?;
        let key = &held.key;
        if !bool::from(key::hash(secret).ct_eq(&key.hash)) {
            return Err(Denied::Unknown);
        }
        let now = self.clock.now();
        if let Some(at) = key.expires_at.filter(|at| *at <= now) {
            return Err(Denied::Expired { id: key.id.clone(), at });
        }
        self.note_use(&held, day(now));
        if key.scopes.allow(needed) {
            return Ok(());
        }
        Err(Denied::Lacking { id: key.id.clone(), scopes: key.scopes.clone(), needed })
    }

    /// One write a day and key; nobody waits for it.
    fn note_use(&self, held: &Held, today: i64) {
        if held.used_on.load(Ordering::Relaxed) == today || held.used_on.swap(today, Ordering::Relaxed) == today {
            return;
        }
        let Some(start) = start_of(today) else { return };
        let (store, id) = (self.store.clone(), held.key.id.clone());
        tokio::spawn(async move {
            if let Err(error) = store.note_api_key_use(&id, start).await {
                warn!(key = %id, %error, "cannot note the use of an API key");
            }
        });
    }

    /// All keys, the oldest first.
    pub fn keys(&self) -> Vec<ApiKey> {
        let mut keys: Vec<_> = self.keys.load().values().map(|held| held.shown()).collect();
        keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        keys
    }

    /// Makes a key and returns it with its text, which nothing can show again.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn make(self: &Arc<Self>, new: NewKey) -> Result<(ApiKey, Secret), KeyError> {
        let (id, secret) = (key::random_id(), key::random_secret());
        let now = self.clock.now();
        let key = ApiKey {
            id: ApiKeyId(id),
            name: new.name,
            hash: key::hash(secret.expose()),
            scopes: new.scopes,
            created_at: now,
            expires_at: new.lifetime.map(|lifetime| after(now, lifetime)),
            last_used_at: None,
        };
        let text = key::text(&key.id, &secret);
        let (access, added) = (self.clone(), key.clone());
        to_the_end(async move {
            let _turn = access.changing.lock().await;
            let mut keys = HashMap::clone(&access.keys.load());
            if keys.len() >= limits::API_KEYS_MAX {
                // Those that have expired open nothing: they make room.
                let has_expired = |held: &&Arc<Held>| held.key.expires_at.is_some_and(|end| end <= now);
                let expired: Vec<_> = keys.values().filter(has_expired).map(|held| held.key.id.clone()).collect();
                for id in expired {
                    access.store.delete_api_key(&id).await?;
                    keys.remove(&id);
                }
            }
            if keys.len() >= limits::API_KEYS_MAX {
                return Err(KeyError::TooMany);
            }
            access.store.add_api_key(added.clone()).await?;
            keys.extend([Held::of(added)]);
            access.keys.store(Arc::new(keys));
            Ok(())
        })
        .await?;
        Ok((key, text))
    }

    /// Ends a key at once, and returns it; none where there is none. Requests under way are finished.
    ///
    /// # Errors
    /// The store's; the key holds then.
    pub async fn revoke(self: &Arc<Self>, id: &ApiKeyId) -> store::Result<Option<ApiKey>> {
        let (access, id) = (self.clone(), id.clone());
        to_the_end(async move {
            let _turn = access.changing.lock().await;
            // Also where the store has none: then a revocation before this one was stored and not heard of.
            access.store.delete_api_key(&id).await?;
            let mut keys = HashMap::clone(&access.keys.load());
            let revoked = keys.remove(&id);
            access.keys.store(Arc::new(keys));
            Ok(revoked.map(|held| held.shown()))
        })
        .await
    }
}

/// Also where who asked goes away meanwhile: what is stored has to be acted on.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    tokio::spawn(work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
