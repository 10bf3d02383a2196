//! Encryption at rest: secrets are sealed with XChaCha20-Poly1305, each under a data key of its own, which is sealed
//! under a key that has an id.
//!
//! The key comes from the environment or from the file `secret-key` of the data directory, made at the first start. It
//! can be changed while the host runs: for the time of a rotation there are a current key, which seals, and earlier
//! ones, which only open. Knows nothing of rules and stores.

mod body_key;
mod envelope;
mod key;
mod keys;
mod private_file;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

use crate::model::Timestamp;
use crate::model::secret::Secret;
use crate::secrets::envelope::Sealed;
use crate::secrets::key::{KEY_BYTES, SealingKey};
use crate::secrets::keys::Keys;

pub use body_key::BodyKey;
pub use private_file::{private_file, write_private_file};

/// Name of the key file in the data directory.
pub const KEY_FILE: &str = "secret-key";

/// Why a key cannot be used or a secret cannot be opened. Never shows either.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The key file cannot be read or written.
    #[error("cannot use the key file {path}: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Others may read the key file.
    #[error("the key file {0} can be read by others; make it private: chmod 600")]
    Exposed(PathBuf),
    /// The text is no key.
    #[error("the secret key is not {KEY_BYTES} bytes in base64; make one with: openssl rand -base64 {KEY_BYTES}")]
    MalformedKey,
    /// The text was not sealed by [`Keyring::seal`].
    #[error("a stored secret is damaged")]
    Malformed,
    /// Sealed under another key.
    #[error("a stored secret needs the key with the id {needed}; the one at hand is {at_hand}")]
    OtherKey {
        /// The key that it was sealed with.
        needed: String,
        /// The keys that there are.
        at_hand: String,
    },
    /// The host cannot change its environment.
    #[error(
        "the secret key is given by RUNHOOK_SECRET_KEY, so whoever starts the host makes the new one: restart it with a \
         new key there and the key that is there now in RUNHOOK_EARLIER_SECRET_KEYS, and rotate again"
    )]
    FromEnvironment,
    /// Somebody has changed the key file since it was read: to write it would lose that, and its new key seals by now.
    #[error("the key file {0} has changed since the host read it; restart the host")]
    Changed(PathBuf),
}

/// The keys that secrets are sealed and opened with.
pub struct Keyring {
    keys: ArcSwap<Keys>,
    /// Where the current key's file is; none where the environment gives the key.
    folder: Option<PathBuf>,
}

impl Keyring {
    /// The key from the environment, else those of the data directory, where one is made if there is none.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn load(data_dir: &Path, from_env: Option<Secret>) -> Result<Self, SecretsError> {
        let (keys, folder) = match from_env {
            Some(key) => (Keys::of(SealingKey::parse(key.expose())?), None),
            None => {
                let text = private_file(data_dir, KEY_FILE, || SealingKey::generate().text())?;
                (Keys::parse(&text)?, Some(data_dir.to_owned()))
            }
        };
        Ok(Self { keys: ArcSwap::from_pointee(keys), folder })
    }

    /// The same, with keys of the environment that only open what was sealed before.
    ///
    /// # Errors
    /// [`SecretsError::MalformedKey`].
    pub fn with_earlier(self, earlier: &[Secret]) -> Result<Self, SecretsError> {
        let mut keys = Keys::clone(&self.keys.load());
        for text in earlier {
            let key = SealingKey::parse(text.expose())?;
            if keys.find(key.id()).is_none() {
                keys.earlier.push(Arc::new(key));
            }
        }
        Ok(Self { keys: ArcSwap::from_pointee(keys), ..self })
    }

    /// Id of the key that seals.
    pub fn current_id(&self) -> String {
        self.keys.load().current.id().to_owned()
    }

    /// Whether there are keys beside the current one: a rotation is begun and not ended.
    pub fn has_earlier(&self) -> bool {
        !self.keys.load().earlier.is_empty()
    }

    /// What URLs of blobs are signed with; says nothing of the key that it is derived from.
    pub fn url_key(&self) -> [u8; 32] {
        *self.keys.load().current.url_key()
    }

    /// What URLs were signed with before, and until when they hold.
    pub fn earlier_url_keys(&self) -> Vec<(Zeroizing<[u8; 32]>, Timestamp)> {
        let keys = self.keys.load();
        let earlier = keys.earlier.iter().map(|key| (key.url_key(), Timestamp::MAX));
        earlier.chain(keys.retired.iter().map(|retired| (retired.key.clone(), retired.until))).collect()
    }

    /// What entries of the plugin cache are authenticated with; says nothing of the key that it is derived from.
    pub fn cache_key(&self) -> [u8; 32] {
        *self.keys.load().current.cache_key()
    }

    /// Seals under the current key; the same secret looks different every time.
    pub fn seal(&self, secret: &Secret) -> String {
        envelope::seal(secret, &self.keys.load().current)
    }

    /// Opens what [`Keyring::seal`] made.
    ///
    /// # Errors
    /// That it was sealed under a key that is not there, or is damaged.
    pub fn open(&self, text: &str) -> Result<Secret, SecretsError> {
        let sealed = Sealed::parse(text).ok_or(SecretsError::Malformed)?;
        let keys = self.keys.load();
        let key = keys.find(sealed.key_id).ok_or_else(|| SecretsError::OtherKey {
            needed: sealed.key_id.to_owned(),
            at_hand: keys.all().map(|key| key.id()).collect::<Vec<_>>().join(", "),
        })?;
        sealed.open(key)
    }

    /// The text under the current key, in today's form. None where there is nothing to do: it is so already, or it is no
    /// sealed text, which shows in that no key opens it.
    pub fn reseal(&self, text: &str) -> Option<String> {
        let sealed = Sealed::parse(text)?;
        let keys = self.keys.load();
        if sealed.is_under(&keys.current) {
            return None;
        }
        sealed.resealed(keys.find(sealed.key_id)?, &keys.current).ok()
    }

    /// Begins a rotation: makes a new key, has it on disk, and only then seals with it. Where one is begun already, that
    /// one goes on, and no key is made. Returns whether one was.
    ///
    /// # Errors
    /// [`SecretsError::FromEnvironment`], [`SecretsError::Changed`], or the file's; the keys are as before then.
    pub fn begin_rotation(&self) -> Result<bool, SecretsError> {
        if self.has_earlier() {
            return Ok(false);
        }
        let folder = self.folder.as_deref().ok_or(SecretsError::FromEnvironment)?;
        let begun = self.keys.load().begun();
        self.write(folder, &begun)?;
        self.keys.store(Arc::new(begun));
        Ok(true)
    }

    /// Ends a rotation: earlier keys go, from the file first. For when nothing is sealed with them any more. Links that
    /// they signed hold until then.
    ///
    /// # Errors
    /// [`SecretsError::Changed`], or the file's; the keys are as before then.
    pub fn end_rotation(&self, now: Timestamp, links_until: Timestamp) -> Result<(), SecretsError> {
        let ended = self.keys.load().ended(now, links_until);
        if let Some(folder) = &self.folder {
            self.write(folder, &ended)?;
        }
        self.keys.store(Arc::new(ended));
        Ok(())
    }

    /// Whether the key file is still as it was read, for who has the data directory for itself only since then.
    ///
    /// # Errors
    /// [`SecretsError::Changed`] where it is not, or the file's.
    pub fn check_file(&self) -> Result<(), SecretsError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let there = Keys::parse(&private_file::read(folder, KEY_FILE)?)?;
        let known = self.keys.load();
        let is_known = there.all().all(|key| known.find(key.id()).is_some());
        if there.current.id() == known.current.id() && is_known {
            return Ok(());
        }
        Err(SecretsError::Changed(folder.join(KEY_FILE)))
    }

    /// Writes the key file, unless it holds what this keyring does not know.
    fn write(&self, folder: &Path, keys: &Keys) -> Result<(), SecretsError> {
        self.check_file()?;
        write_private_file(folder, KEY_FILE, &keys.text())
    }
}
