//! A key for many bodies: each is sealed by itself, for the place where it lies.

use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};

use crate::model::secret::Secret;
use crate::secrets::key::{self, KeyBytes};
use crate::secrets::{Keyring, SecretsError};

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// What bodies are sealed under; wiped when it goes. It is stored as a secret like any other.
pub struct BodyKey(XChaCha20Poly1305);

impl BodyKey {
    /// By how much a sealed body is longer than the body, in bytes.
    pub const OVERHEAD: usize = NONCE_BYTES + TAG_BYTES;

    /// A new one, and its sealed text.
    pub fn generate(keyring: &Keyring) -> (Self, String) {
        let bytes = key::random_bytes();
        let sealed = keyring.seal(&Secret::new(key::encoded(&bytes).as_str()));
        (Self::of(&bytes), sealed)
    }

    /// From its sealed text.
    ///
    /// # Errors
    /// See [`Keyring::open`].
    pub fn open_sealed(text: &str, keyring: &Keyring) -> Result<Self, SecretsError> {
        let secret = keyring.open(text)?;
        let bytes = key::decoded(secret.expose()).map_err(|_| SecretsError::Malformed)?;
        Ok(Self::of(&bytes))
    }

    fn of(bytes: &KeyBytes) -> Self {
        Self(key::cipher(bytes))
    }

    /// Nonce, what nobody can read, tag. The same body looks different every time.
    pub fn seal(&self, body: &[u8], place: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut sealed = Vec::with_capacity(body.len() + Self::OVERHEAD);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(body);
        let text = (&mut sealed[NONCE_BYTES..]).into();
        let tag = self.0.encrypt_inout_detached(&XNonce::from(nonce), place, text);
        sealed.extend_from_slice(&tag.expect("encryption fails only beyond 256 GiB"));
        sealed
    }

    /// The body; none where it was not sealed under this key for this place, or was changed since.
    pub fn open(&self, mut sealed: Vec<u8>, place: &[u8]) -> Option<Bytes> {
        let end = sealed.len().checked_sub(TAG_BYTES)?;
        let (rest, tag) = sealed.split_at_mut(end);
        let (nonce, text) = rest.split_at_mut_checked(NONCE_BYTES)?;
        let (nonce, tag) = (XNonce::try_from(&*nonce).ok()?, Tag::try_from(&*tag).ok()?);
        self.0.decrypt_inout_detached(&nonce, place, text.into(), &tag).ok()?;
        Some(Bytes::from(sealed).slice(NONCE_BYTES..end))
    }
}
