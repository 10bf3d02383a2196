//! The text of an API key: `rh_<id>_<secret>`, so that it is found by its id and known for what it is where it leaks.

use zeroize::Zeroizing;

use crate::model::api_key::ApiKeyId;
use crate::model::secret::Secret;

const PREFIX: &str = "rh_";

/// Enough that no two keys of a host share an id.
const ID_BYTES: usize = 6;

/// What nobody guesses.
const SECRET_BYTES: usize = 32;

pub(super) fn random_id() -> String {
    digits(&rand::random::<[u8; ID_BYTES]>())
}

pub(super) fn random_secret() -> Secret {
    Secret::new(digits(&*Zeroizing::new(rand::random::<[u8; SECRET_BYTES]>())))
}

pub(super) fn text(id: &ApiKeyId, secret: &Secret) -> Secret {
    Secret::new(format!("{PREFIX}{id}_{}", secret.expose()))
}

/// Id and secret half.
pub(super) fn parse(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix(PREFIX)?.split_once('_')
}

/// What is kept of a secret half.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

/// In room that never grows, so that no part of a secret is left anywhere.
fn digits(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    text.extend(halves.filter_map(|half| char::from_digit(half.into(), 16)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_id_and_256_random_bits_in_it() {
        let (id, secret) = (ApiKeyId(random_id()), random_secret());
        let text = text(&id, &secret);
        assert_eq!(parse(text.expose()), Some((id.0.as_str(), secret.expose())));
        assert_eq!(secret.expose().len(), 64);
        assert_ne!(random_secret(), secret);
    }

    #[test]
    fn the_key_of_the_data_directory_and_other_texts_have_no_id() {
        for text in ["", "rh_", &format!("rh_{}", "a".repeat(64)), "sk_a_b"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
