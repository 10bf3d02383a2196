//! Who has signed a plugin's file: minisign's keys and signatures, over the bytes as they were read.
//!
//! Pure, and asked before anything of a file is parsed: what nobody known has signed is never looked into.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// What stands behind a file's name in that of its signature.
pub(in crate::plugin) const SIGNATURE_SUFFIX: &str = ".minisig";

/// Bytes of a signature's file: two comments, of 1 KiB and 8 KiB at most in minisign, and two lines of base64.
pub(in crate::plugin) const SIGNATURE_BYTES_MAX: u64 = 16 * 1024;

/// Bytes of a public key: the algorithm's name, the key's number, the key.
const PUBLIC_KEY_BYTES: usize = 42;

/// Bytes of a secret key, which somebody may take for the public one.
const SECRET_KEY_BYTES: usize = 158;

/// The number of a key, in hex as minisign shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(u64);

impl KeyId {
    /// From the base64 of a key or a signature: eight bytes, behind the two of the algorithm.
    fn of(line: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(line).ok()?;
        Some(Self(u64::from_le_bytes(bytes.get(2..10)?.try_into().ok()?)))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}", self.0)
    }
}

/// A key that signatures are verified with.
#[derive(Clone, Debug)]
pub struct PublicKey {
    id: KeyId,
    key: minisign_verify::PublicKey,
}

/// Why a text is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// It is something else.
    #[error("it is no public key of minisign: that is one line of 56 characters, which begins with `RW`")]
    None,
    /// Somebody has taken the wrong file.
    #[error("it is a secret key; put the public one there (FILE.pub), and the secret one out of sight")]
    Secret,
}

impl PublicKey {
    /// Its number.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    /// The line that minisign prints, or the whole of its file, with the comment above the line.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let line = text.trim().lines().next_back().unwrap_or_default();
        match BASE64_STANDARD.decode(line).map(|bytes| bytes.len()) {
            Ok(PUBLIC_KEY_BYTES) => {}
            Ok(SECRET_KEY_BYTES) => return Err(PublicKeyError::Secret),
            _ => return Err(PublicKeyError::None),
        }
        let key = minisign_verify::PublicKey::from_base64(line).map_err(|_| PublicKeyError::None)?;
        Ok(Self { id: KeyId::of(line).ok_or(PublicKeyError::None)?, key })
    }
}

/// A signature that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The key that it was made with.
    pub by: KeyId,
    /// The comment that is signed with the file: in minisign's form, when it was signed and under which name.
    pub comment: String,
}

/// Why a file counts as signed by nobody known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A signature is required and there is none.
    #[error(
        "it is not signed, and the plugin policy wants it to be (`require_signed`); sign it with \
         `runhook plugin sign` and put the .minisig beside it"
    )]
    Missing,
    /// What stands beside the file is none.
    #[error("its .minisig is no signature of minisign ({0}); make it anew with `runhook plugin sign`")]
    Unreadable(String),
    /// By somebody else.
    #[error(
        "it is signed by {0}, which is none of the known keys (`keys` of the plugin policy); sign it with one of \
         them, `runhook plugin sign`"
    )]
    UnknownKey(KeyId),
    /// The key is known and has not signed this.
    #[error(
        "its signature by {0} does not belong to it: the file or the .minisig is another one, or damaged; sign it \
         anew with `runhook plugin sign`"
    )]
    Wrong(KeyId),
}

/// Whose signatures count, and whether a file needs one.
#[derive(Clone, Debug, Default)]
pub struct Signers {
    keys: Vec<PublicKey>,
    is_required: bool,
}

impl Signers {
    /// Files may be signed by these, or have to be.
    pub fn new(keys: Vec<PublicKey>, is_required: bool) -> Self {
        Self { keys, is_required }
    }

    /// Whether any signature counts. Where none does, none is read.
    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Who has signed these bytes; none where nobody has and nobody has to. `signature` is what stands in the .minisig.
    ///
    /// # Errors
    /// See [`SignatureError`].
    pub fn verify(&self, bytes: &[u8], signature: Option<&[u8]>) -> Result<Option<Signed>, SignatureError> {
        match signature.filter(|_| self.has_keys()) {
            Some(signature) => self.verify_signed(bytes, signature).map(Some),
            None if self.is_required => Err(SignatureError::Missing),
            None => Ok(None),
        }
    }

    /// A key's number is no secret and may be chosen: every key that has it is tried.
    fn verify_signed(&self, bytes: &[u8], signature: &[u8]) -> Result<Signed, SignatureError> {
        let unreadable = |reason: &str| SignatureError::Unreadable(reason.to_owned());
        let text = std::str::from_utf8(signature).map_err(|_| unreadable("it is no text"))?;
        let decoded = minisign_verify::Signature::decode(text).map_err(|error| unreadable(&error.to_string()))?;
        let by = text.lines().nth(1).and_then(KeyId::of).ok_or_else(|| unreadable("it has no key id"))?;
        let mut keys = self.keys.iter().filter(|key| key.id == by).peekable();
        if keys.peek().is_none() {
            return Err(SignatureError::UnknownKey(by));
        }
        // Minisign's old form signs the file itself, not its hash; no minisign of the last years makes it.
        if keys.any(|key| key.key.verify(bytes, &decoded, false).is_ok()) {
            Ok(Signed { by, comment: decoded.trusted_comment().to_owned() })
        } else {
            Err(SignatureError::Wrong(by))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plugin::signing::{NewKey, SigningKey};

    const FILE: &[u8] = b"\0asm, as far as anybody has looked";

    struct Key {
        made: NewKey,
        public: PublicKey,
    }

    impl Key {
        fn new() -> Self {
            let made = NewKey::generate(None).unwrap();
            let public = made.public_line.parse().unwrap();
            Self { made, public }
        }

        fn sign(&self, bytes: &[u8]) -> String {
            SigningKey::open(self.made.secret_file.expose(), None).unwrap().sign(bytes, "file:a.wasm").unwrap()
        }
    }

    fn signers(keys: &[&Key], is_required: bool) -> Signers {
        Signers::new(keys.iter().map(|key| key.public.clone()).collect(), is_required)
    }

    #[test]
    fn a_number_is_shown_without_leading_zeros_as_minisign_does() {
        assert_eq!(KeyId(0x0B0B_B96D_3AE4_EC5C).to_string(), "B0BB96D3AE4EC5C");
    }

    #[test]
    fn a_signature_by_a_known_key_names_the_key() {
        let (key, other) = (Key::new(), Key::new());
        let signature = key.sign(FILE);
        let signed = signers(&[&other, &key], true).verify(FILE, Some(signature.as_bytes())).unwrap().unwrap();
        assert_eq!((signed.by, signed.comment.as_str()), (key.public.id(), "file:a.wasm"));
        assert!(key.made.public_file.contains(&signed.by.to_string()), "{}", key.made.public_file);
    }

    #[test]
    fn a_signature_by_somebody_else_is_refused_by_the_name_of_the_key() {
        let (key, other) = (Key::new(), Key::new());
        let refused = signers(&[&other], false).verify(FILE, Some(key.sign(FILE).as_bytes()));
        assert_eq!(refused, Err(SignatureError::UnknownKey(key.public.id())));
    }

    #[test]
    fn a_key_that_takes_anothers_number_signs_nothing_in_its_name() {
        let (key, other) = (Key::new(), Key::new());
        let forged = Key { public: PublicKey { id: other.public.id, ..other.public.clone() }, made: key.made.clone() };
        let number_of = |line: &str| BASE64_STANDARD.decode(line).unwrap()[2..10].to_vec();
        let signature = forged.sign(FILE);
        let mut lines: Vec<_> = signature.lines().map(str::to_owned).collect();
        let mut bytes = BASE64_STANDARD.decode(&lines[1]).unwrap();
        bytes[2..10].copy_from_slice(&number_of(&other.made.public_line));
        lines[1] = BASE64_STANDARD.encode(bytes);
        let refused = signers(&[&other], true).verify(FILE, Some(lines.join("\n").as_bytes()));
        assert_eq!(refused, Err(SignatureError::Wrong(other.public.id())));
    }

    #[test]
    fn without_a_signature_only_the_requirement_refuses() {
        let key = Key::new();
        assert_eq!(signers(&[&key], false).verify(FILE, None), Ok(None));
        assert_eq!(signers(&[&key], true).verify(FILE, None), Err(SignatureError::Missing));
        assert_eq!(Signers::default().verify(FILE, Some(b"whatever")), Ok(None));
    }

    #[test]
    fn what_is_no_signature_is_said_to_be_none() {
        let key = Key::new();
        for junk in [&b""[..], b"\xff\xfe", b"untrusted comment: x\nAAAA\ntrusted comment: y\nAAAA\n"] {
            let refused = signers(&[&key], false).verify(FILE, Some(junk)).unwrap_err();
            assert!(matches!(refused, SignatureError::Unreadable(_)), "{refused}");
        }
    }

    #[test]
    fn a_key_comes_as_a_line_or_as_a_file_and_a_secret_one_is_noticed() {
        let key = Key::new();
        assert_eq!(key.made.public_file.parse::<PublicKey>().unwrap().id(), key.public.id());
        let refused = |text: &str| text.parse::<PublicKey>().unwrap_err();
        assert_eq!(refused(key.made.secret_file.expose()), PublicKeyError::Secret);
        assert_eq!(refused("RWQ"), PublicKeyError::None);
        assert_eq!(refused(""), PublicKeyError::None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_changed_byte_passes(file in prop::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, flip in 1..=255u8) {
            let key = Key::new();
            let (signature, signers) = (key.sign(&file).into_bytes(), signers(&[&key], true));
            prop_assert!(signers.verify(&file, Some(&signature)).is_ok());

            let mut changed = file.clone();
            changed[at.index(file.len())] ^= flip;
            prop_assert!(signers.verify(&changed, Some(&signature)).is_err());

            // The first line is a comment that nobody has signed; the last byte ends the last line.
            let first = signature.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let mut changed = signature.clone();
            changed[first + at.index(signature.len() - 1 - first)] ^= flip;
            prop_assert!(signers.verify(&file, Some(&changed)).is_err(), "{}", String::from_utf8_lossy(&changed));
        }
    }
}
