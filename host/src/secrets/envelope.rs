//! The text of a sealed secret.
//!
//! `v2:<key id>:<sealed data key>:<sealed secret>`: the secret is sealed with a data key of its own, and that with the
//! key of the id. So to go over to another key is to seal the data key anew, without a look at the secret. Sealed is
//! base64 of a random nonce and the ciphertext. `v1:<key id>:<sealed secret>`, where the key of the id sealed the secret
//! itself, is read and not written any more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::model::secret::Secret;
use crate::secrets::SecretsError;
use crate::secrets::key::{self, KeyBytes, SealingKey};

const NONCE_BYTES: usize = 24;

/// Goes into the tag of a sealed data key, so that none is taken for a secret, nor a secret for one.
const DATA_KEY: &[u8] = b"runhook 2026 data key";
const SECRET: &[u8] = b"";

/// Under a fresh data key.
pub(super) fn seal(secret: &Secret, key: &SealingKey) -> String {
    let data_key = key::random_bytes();
    let sealed = encrypt(&key::cipher(&data_key), secret.expose().as_bytes(), SECRET);
    wrapped(&data_key, key, &sealed)
}

fn wrapped(data_key: &KeyBytes, key: &SealingKey, sealed: &str) -> String {
    format!("v2:{}:{}:{sealed}", key.id(), encrypt(&key.cipher(), &**data_key, DATA_KEY))
}

/// A sealed text, in its parts.
pub(super) struct Sealed<'a> {
    pub(super) key_id: &'a str,
    /// None where the key of the id sealed the secret itself.
    data_key: Option<&'a str>,
    secret: &'a str,
}

impl<'a> Sealed<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (version, rest) = text.split_once(':')?;
        let (key_id, rest) = rest.split_once(':')?;
        let (data_key, secret) = match version {
            "v1" => (None, rest),
            "v2" => rest.split_once(':').map(|(data_key, secret)| (Some(data_key), secret))?,
            _ => return None,
        };
        Some(Self { key_id, data_key, secret })
    }

    /// Whether it is as [`seal`] would write it with that key.
    pub(super) fn is_under(&self, key: &SealingKey) -> bool {
        self.data_key.is_some() && self.key_id == key.id()
    }

    pub(super) fn open(&self, key: &SealingKey) -> Result<Secret, SecretsError> {
        let opened = match self.data_key {
            Some(sealed) => decrypt(&key::cipher(&data_key(sealed, key)?), self.secret, SECRET)?,
            None => decrypt(&key.cipher(), self.secret, SECRET)?,
        };
        Ok(Secret::new(std::str::from_utf8(&opened).map_err(|_| SecretsError::Malformed)?))
    }

    /// The same secret under another key.
    pub(super) fn resealed(&self, from: &SealingKey, to: &SealingKey) -> Result<String, SecretsError> {
        match self.data_key {
            Some(sealed) => Ok(wrapped(&data_key(sealed, from)?, to, self.secret)),
            None => Ok(seal(&self.open(from)?, to)),
        }
    }
}

fn data_key(sealed: &str, key: &SealingKey) -> Result<KeyBytes, SecretsError> {
    let opened = decrypt(&key.cipher(), sealed, DATA_KEY)?;
    let mut bytes = KeyBytes::default();
    if opened.len() != bytes.len() {
        return Err(SecretsError::Malformed);
    }
    bytes.copy_from_slice(&opened);
    Ok(bytes)
}

fn encrypt(cipher: &XChaCha20Poly1305, plain: &[u8], aad: &[u8]) -> String {
    let nonce = XNonce::from(rand::random::<[u8; NONCE_BYTES]>());
    let sealed = cipher.encrypt(&nonce, Payload { msg: plain, aad });
    let sealed = sealed.expect("encryption fails only beyond 256 GiB");
    STANDARD_NO_PAD.encode([nonce.as_slice(), &sealed].concat())
}

fn decrypt(cipher: &XChaCha20Poly1305, sealed: &str, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretsError> {
    let bytes = STANDARD_NO_PAD.decode(sealed).map_err(|_| SecretsError::Malformed)?;
    let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(SecretsError::Malformed)?;
    let nonce = <&XNonce>::try_from(nonce).map_err(|_| SecretsError::Malformed)?;
    let opened = cipher.decrypt(nonce, Payload { msg: sealed, aad }).map_err(|_| SecretsError::Malformed)?;
    Ok(Zeroizing::new(opened))
}
