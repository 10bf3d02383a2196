//! One key of the keyring: read from text, shown by its id alone, wiped when it goes.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

use crate::secrets::SecretsError;

/// 256 bits, as XChaCha20-Poly1305 takes them.
pub(super) const KEY_BYTES: usize = 32;

/// Bytes of a key, wiped on drop.
pub(super) type KeyBytes = Zeroizing<[u8; KEY_BYTES]>;

/// A key that data keys are sealed with.
pub(super) struct SealingKey {
    id: String,
    bytes: KeyBytes,
}

impl SealingKey {
    pub(super) fn generate() -> Self {
        Self::of(random_bytes())
    }

    pub(super) fn parse(text: &str) -> Result<Self, SecretsError> {
        decoded(text).map(Self::of)
    }

    fn of(bytes: KeyBytes) -> Self {
        let mut id = blake3::Hasher::new_derive_key("runhook 2026 key id");
        let id = id.update(&*bytes).finalize().to_hex()[..8].to_owned();
        Self { id, bytes }
    }

    /// Eight hexadecimal digits that say nothing of the key.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// As it stands in the key file.
    pub(super) fn text(&self) -> Zeroizing<String> {
        encoded(&self.bytes)
    }

    pub(super) fn cipher(&self) -> XChaCha20Poly1305 {
        cipher(&self.bytes)
    }

    /// What URLs of blobs are signed with.
    pub(super) fn url_key(&self) -> KeyBytes {
        Zeroizing::new(blake3::derive_key("runhook 2026 blob urls", &*self.bytes))
    }

    /// What entries of the plugin cache are authenticated with.
    pub(super) fn cache_key(&self) -> KeyBytes {
        Zeroizing::new(blake3::derive_key("runhook 2026 plugin cache", &*self.bytes))
    }
}

pub(super) fn random_bytes() -> KeyBytes {
    Zeroizing::new(rand::random())
}

pub(super) fn cipher(bytes: &KeyBytes) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(<&Key>::from(&**bytes))
}

pub(super) fn encoded(bytes: &KeyBytes) -> Zeroizing<String> {
    Zeroizing::new(STANDARD_NO_PAD.encode(**bytes))
}

/// In either alphabet, padded or not.
pub(super) fn decoded(text: &str) -> Result<KeyBytes, SecretsError> {
    let text = text.trim().trim_end_matches('=');
    // Decoded in place, so that no part of a key is left anywhere. What is longer than this room is no key.
    let mut room = Zeroizing::new([0; 2 * KEY_BYTES]);
    let length = STANDARD_NO_PAD.decode_slice(text, &mut *room);
    let length = length.or_else(|_| URL_SAFE_NO_PAD.decode_slice(text, &mut *room));
    if !matches!(length, Ok(KEY_BYTES)) {
        return Err(SecretsError::MalformedKey);
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    bytes.copy_from_slice(&room[..KEY_BYTES]);
    Ok(bytes)
}
