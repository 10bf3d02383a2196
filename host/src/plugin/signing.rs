//! Makes the keys that sign plugins, and signs, in minisign's form. Touches no file and asks nobody.

use std::io::Cursor;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};

use crate::model::Timestamp;
use crate::model::secret::Secret;

/// Bytes of a secret key in its file.
const SECRET_KEY_BYTES: usize = 158;

/// A key pair as it goes into two files.
#[derive(Clone)]
pub struct NewKey {
    /// The text of the secret key's file.
    pub secret_file: Secret,
    /// The text of the public key's file.
    pub public_file: String,
    /// The public key alone, as a plugin policy has it.
    pub public_line: String,
}

/// A secret key that is ready to sign.
pub struct SigningKey {
    secret: SecretKey,
    public: PublicKey,
}

/// Why there is no key or no signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The text is something else.
    #[error("it is no secret key of minisign; `runhook plugin keygen` makes one")]
    NoKey,
    /// The key is kept under a password, and none was given.
    #[error("the key has a password")]
    NeedsPassword,
    /// It does not open the key.
    #[error("the password is not the key's")]
    WrongPassword,
    /// The key is damaged, or there is no randomness.
    #[error("the key does not sign: {0}")]
    Failed(String),
}

impl NewKey {
    /// Makes one; with a password, the secret key is of use to nobody without it.
    ///
    /// # Errors
    /// The machine has no randomness, or no memory to derive a key from the password.
    pub fn generate(password: Option<&Secret>) -> Result<Self, SigningError> {
        let pair = match password {
            Some(password) => KeyPair::generate_encrypted_keypair(Some(password.expose().to_owned())),
            None => KeyPair::generate_unencrypted_keypair(),
        };
        let KeyPair { pk, sk } = pair.map_err(failed)?;
        let comment = if password.is_some() { "minisign encrypted secret key" } else { "minisign secret key" };
        Ok(Self {
            secret_file: Secret::new(sk.to_box(Some(comment)).map_err(failed)?.into_string()),
            public_file: pk.to_box().map_err(failed)?.into_string(),
            public_line: pk.to_base64(),
        })
    }
}

impl SigningKey {
    /// From the text of a secret key's file.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub fn open(file: &str, password: Option<&Secret>) -> Result<Self, SigningError> {
        let line = file.lines().nth(1).ok_or(SigningError::NoKey)?;
        let bytes = BASE64_STANDARD.decode(line.trim()).map_err(|_| SigningError::NoKey)?;
        if bytes.len() != SECRET_KEY_BYTES {
            return Err(SigningError::NoKey);
        }
        // Without a password there is no check sum to look at: minisign leaves it out. Signing finds what is damaged.
        let mut secret = SecretKey::from_bytes(&bytes).map_err(|_| SigningError::NoKey)?;
        if secret.is_encrypted() {
            let password = password.ok_or(SigningError::NeedsPassword)?.expose().to_owned();
            let sealed = SecretKeyBox::from_string(file).map_err(failed)?;
            secret = sealed.into_secret_key(Some(password)).map_err(|error| match error.kind() {
                minisign::ErrorKind::Verify => SigningError::WrongPassword,
                _ => failed(error),
            })?;
        }
        let public = PublicKey::from_secret_key(&secret).map_err(failed)?;
        Ok(Self { secret, public })
    }

    /// The text of the signature's file. The comment is signed with the bytes.
    ///
    /// # Errors
    /// The key is damaged: its halves do not belong together.
    pub fn sign(&self, bytes: &[u8], comment: &str) -> Result<String, SigningError> {
        let untrusted = Some("signature from minisign secret key");
        let signature = minisign::sign(Some(&self.public), &self.secret, Cursor::new(bytes), Some(comment), untrusted);
        signature.map(|signature| signature.into_string()).map_err(failed)
    }
}

/// The comment as minisign writes it: when which file was signed.
pub fn signed_comment(file: &str, at: Timestamp) -> String {
    format!("timestamp:{}\tfile:{file}\thashed", at.as_second())
}

fn failed(error: minisign::PError) -> SigningError {
    SigningError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_a_password_opens_with_it_alone() {
        let password = Secret::new("correct horse");
        let key = NewKey::generate(Some(&password)).unwrap();
        let open = |password: Option<&Secret>| SigningKey::open(key.secret_file.expose(), password).err();
        assert_eq!(open(Some(&password)), None);
        assert_eq!(open(None), Some(SigningError::NeedsPassword));
        assert_eq!(open(Some(&Secret::new("battery staple"))), Some(SigningError::WrongPassword));
    }

    #[test]
    fn a_damaged_key_signs_nothing() {
        let key = NewKey::generate(None).unwrap();
        let line = key.secret_file.expose().lines().nth(1).unwrap().to_owned();
        let mut bytes = BASE64_STANDARD.decode(line).unwrap();
        bytes[70] ^= 1;
        let damaged = format!("untrusted comment: x\n{}\n", BASE64_STANDARD.encode(bytes));
        let signed = SigningKey::open(&damaged, None).unwrap().sign(b"file", "comment");
        assert!(matches!(signed, Err(SigningError::Failed(_))), "{signed:?}");
    }

    #[test]
    fn what_is_no_key_is_said_to_be_none() {
        for text in ["", "RWQ", "untrusted comment: x\n????", &NewKey::generate(None).unwrap().public_file] {
            assert_eq!(SigningKey::open(text, None).err(), Some(SigningError::NoKey), "{text}");
        }
    }

    #[test]
    fn the_comment_is_minisigns() {
        let at = "2026-07-01T09:00:00.5Z".parse().unwrap();
        assert_eq!(signed_comment("a.wasm", at), "timestamp:1782896400\tfile:a.wasm\thashed");
    }
}
