//! Encryption at rest: secrets are sealed with XChaCha20-Poly1305 under a key that has an id.
//!
//! A sealed secret is text: `v1:<key id>:<base64 of nonce and ciphertext>`. The key comes from the environment or from
//! the file `secret-key` of the data directory, made at the first start. Knows nothing of rules and stores.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::model::secret::Secret;

/// Name of the key file in the data directory.
pub const KEY_FILE: &str = "secret-key";

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

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
        /// The key that there is.
        at_hand: String,
    },
}

/// The keys that secrets are sealed and opened with.
pub struct Keyring {
    current: NamedKey,
    url_key: Zeroizing<[u8; KEY_BYTES]>,
    cache_key: Zeroizing<[u8; KEY_BYTES]>,
}

struct NamedKey {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl Keyring {
    /// The key from the environment, else from the data directory, where one is made if there is none.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn load(data_dir: &Path, from_env: Option<Secret>) -> Result<Self, SecretsError> {
        let text = match from_env {
            Some(key) => Zeroizing::new(key.expose().to_owned()),
            None => private_file(data_dir, KEY_FILE, || STANDARD_NO_PAD.encode(rand::random::<[u8; KEY_BYTES]>()))?,
        };
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, SecretsError> {
        let text = text.trim().trim_end_matches('=');
        let decoded = STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text));
        let bytes = Zeroizing::new(decoded.map_err(|_| SecretsError::MalformedKey)?);
        let key = <&Key>::try_from(bytes.as_slice()).map_err(|_| SecretsError::MalformedKey)?;
        let id =
            blake3::Hasher::new_derive_key("runhook 2026 key id").update(&bytes).finalize().to_hex()[..8].to_owned();
        let url_key = Zeroizing::new(blake3::derive_key("runhook 2026 blob urls", &bytes));
        let cache_key = Zeroizing::new(blake3::derive_key("runhook 2026 plugin cache", &bytes));
        Ok(Self { current: NamedKey { id, cipher: XChaCha20Poly1305::new(key) }, url_key, cache_key })
    }

    /// What URLs of blobs are signed with; says nothing of the key that it is derived from.
    pub fn url_key(&self) -> [u8; 32] {
        *self.url_key
    }

    /// What entries of the plugin cache are authenticated with; says nothing of the key that it is derived from.
    pub fn cache_key(&self) -> [u8; 32] {
        *self.cache_key
    }

    /// Seals under the current key; the same secret looks different every time.
    pub fn seal(&self, secret: &Secret) -> String {
        let nonce = XNonce::from(rand::random::<[u8; NONCE_BYTES]>());
        let sealed = self.current.cipher.encrypt(&nonce, secret.expose().as_bytes());
        let sealed = sealed.expect("encryption fails only beyond 256 GiB");
        let bytes = [nonce.as_slice(), &sealed].concat();
        format!("v1:{}:{}", self.current.id, STANDARD_NO_PAD.encode(bytes))
    }

    /// Opens what [`Keyring::seal`] made.
    ///
    /// # Errors
    /// That it was sealed under another key, or is damaged.
    pub fn open(&self, sealed: &str) -> Result<Secret, SecretsError> {
        let (id, bytes) =
            sealed.strip_prefix("v1:").and_then(|rest| rest.split_once(':')).ok_or(SecretsError::Malformed)?;
        if id != self.current.id {
            return Err(SecretsError::OtherKey { needed: id.to_owned(), at_hand: self.current.id.clone() });
        }
        let bytes = STANDARD_NO_PAD.decode(bytes).map_err(|_| SecretsError::Malformed)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(SecretsError::Malformed)?;
        let nonce = <&XNonce>::try_from(nonce).map_err(|_| SecretsError::Malformed)?;
        let opened = self.current.cipher.decrypt(nonce, sealed).map_err(|_| SecretsError::Malformed)?;
        Ok(Secret::new(String::from_utf8(opened).map_err(|_| SecretsError::Malformed)?))
    }
}

/// The content of a private file of the data directory; made with mode 0600, durably, where there is none.
///
/// # Errors
/// What the system says, or that others may read the file.
pub fn private_file(
    data_dir: &Path,
    name: &str,
    content: impl FnOnce() -> String,
) -> Result<Zeroizing<String>, SecretsError> {
    let path = data_dir.join(name);
    let failed = |cause| SecretsError::File { path: path.clone(), cause };
    if !path.try_exists().map_err(failed)? {
        create_private(data_dir, &path, &Zeroizing::new(content())).map_err(failed)?;
    }
    if fs::metadata(&path).map_err(failed)?.mode() & 0o077 != 0 {
        return Err(SecretsError::Exposed(path));
    }
    Ok(Zeroizing::new(fs::read_to_string(&path).map_err(failed)?))
}

/// Under another name first: a crash must not leave half a key.
fn create_private(data_dir: &Path, path: &Path, content: &str) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{content}")?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_was_sealed_opens_with_the_key_of_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = Keyring::load(folder.path(), None).unwrap().seal(&Secret::new("hunter2"));
        assert!(!sealed.contains("hunter2"));
        let opened = Keyring::load(folder.path(), None).unwrap().open(&sealed).unwrap();
        assert_eq!(opened.expose(), "hunter2");
    }

    #[test]
    fn the_same_secret_is_sealed_differently_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::load(folder.path(), None).unwrap();
        assert_ne!(keyring.seal(&Secret::new("a")), keyring.seal(&Secret::new("a")));
    }

    #[test]
    fn another_key_is_named_and_a_changed_byte_is_noticed() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keyring = Keyring::load(one.path(), None).unwrap();
        let sealed = keyring.seal(&Secret::new("a"));
        let other = Keyring::load(two.path(), None).unwrap().open(&sealed);
        assert!(matches!(other, Err(SecretsError::OtherKey { needed, .. }) if sealed.contains(&needed)));
        let last = if sealed.ends_with('A') { "B" } else { "A" };
        let changed = format!("{}{last}", &sealed[..sealed.len() - 1]);
        assert!(matches!(keyring.open(&changed), Err(SecretsError::Malformed)));
    }

    #[test]
    fn a_key_file_is_private_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        Keyring::load(folder.path(), None).unwrap();
        let path = folder.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keyring::load(folder.path(), None), Err(SecretsError::Exposed(_))));
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused() {
        let key = Some(Secret::new("c2hvcnQ="));
        assert!(matches!(Keyring::load(Path::new("/nowhere"), key), Err(SecretsError::MalformedKey)));
    }
}
