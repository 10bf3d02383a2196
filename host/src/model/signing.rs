//! Secrets that requests are signed with, as Standard Webhooks 1.0.0 writes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::model::secret::Secret;

const PREFIX: &str = "whsec_";
/// Bytes of a key (Standard Webhooks 1.0.0).
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// `whsec_` and the base64 of 24 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSecret(Secret);

/// A text that is no signing secret. Never shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "needs `whsec_` and the base64 of 24 to 64 random bytes; make one with: echo \"whsec_$(openssl rand -base64 32)\""
)]
pub struct SigningSecretError;

impl SigningSecret {
    /// Checks and takes a secret over.
    ///
    /// # Errors
    /// What one looks like.
    pub fn parse(secret: Secret) -> Result<Self, SigningSecretError> {
        let is_right = decoded(secret.expose()).is_some_and(|key| KEY_BYTES.contains(&key.len()));
        if is_right { Ok(Self(secret)) } else { Err(SigningSecretError) }
    }

    /// As it is written; for the sealed store only.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    /// The key itself.
    pub fn key(&self) -> Zeroizing<Vec<u8>> {
        decoded(self.0.expose()).unwrap_or_default()
    }
}

fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    STANDARD.decode(text.strip_prefix(PREFIX)?).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_24_to_64_bytes_in_base64() {
        let of = |bytes: usize| Secret::new(format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes])));
        assert_eq!(SigningSecret::parse(of(32)).unwrap().key().as_slice(), [7; 32]);
        for wrong in [of(23), of(65), Secret::new("whsec_?"), Secret::new(STANDARD.encode([7; 32]))] {
            assert_eq!(SigningSecret::parse(wrong), Err(SigningSecretError));
        }
    }
}
