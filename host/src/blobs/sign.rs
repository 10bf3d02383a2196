//! URLs of blobs that runhook serves itself: signing them and telling whether one holds. Pure; reads no blob, no clock.
//!
//! `<public URL>/blobs/<key>?expires=<seconds since 1970>&signature=<64 hexadecimal digits>`. The signature is a keyed
//! BLAKE3 hash over the text of all that stands before it, and the query has this one form: whatever is changed, even if
//! it would mean the same, the URL no longer holds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq;
use url::Url;
use zeroize::Zeroizing;

use super::{BlobError, BlobKey};
use crate::model::Timestamp;

/// First segment of the path, below the public URL.
const FOLDER: &str = "blobs";

/// The key that URLs are signed with: derived for this purpose and used for no other. Wiped on drop, never shown.
#[derive(Clone)]
pub struct SigningKey(Zeroizing<[u8; 32]>);

impl SigningKey {
    /// Takes the key over.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

/// The keys of one moment: one signs, the others only verify what they signed before.
#[derive(Clone, Debug)]
pub struct SigningKeys {
    /// What URLs are signed with from now on.
    pub current: SigningKey,
    /// What they were signed with before, and until when those count; each URL ends in its own time besides.
    pub earlier: Vec<(SigningKey, Timestamp)>,
}

impl From<SigningKey> for SigningKeys {
    fn from(current: SigningKey) -> Self {
        Self { current, earlier: Vec::new() }
    }
}

impl SigningKeys {
    /// Those that count now.
    fn at(&self, now: Timestamp) -> impl Iterator<Item = &SigningKey> {
        let earlier = self.earlier.iter().filter(move |(_, until)| now < *until);
        std::iter::once(&self.current).chain(earlier.map(|(key, _)| key))
    }
}

/// Why a URL gives no blob. A receiver is told no more than that it was refused (403).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The path names no blob, or the query has another form.
    #[error("not a URL of a blob")]
    Malformed,
    /// Altered, or signed with another key.
    #[error("the URL's signature does not hold")]
    Altered,
    /// Its time is over.
    #[error("the URL has expired; a replay of the delivery makes a new one")]
    Expired,
    /// Blobs are in S3, which serves them.
    #[error("blobs are not served here")]
    Elsewhere,
}

/// Signs and checks.
#[derive(Debug)]
pub(super) struct UrlSigner {
    public_url: Url,
    keys: ArcSwap<SigningKeys>,
}

impl UrlSigner {
    /// `public_url` is `http` or `https`.
    pub(super) fn new(public_url: Url, key: SigningKey) -> Self {
        Self { public_url, keys: ArcSwap::from_pointee(key.into()) }
    }

    /// From now on with these keys.
    pub(super) fn sign_with(&self, keys: SigningKeys) {
        self.keys.store(Arc::new(keys));
    }

    /// A URL that holds for at least `expires_in`, to the second.
    pub(super) fn sign(&self, key: &BlobKey, expires_in: Duration, now: Timestamp) -> Result<Url, BlobError> {
        let expires = now.checked_add(expires_in).map_err(|_| BlobError::Lifetime { seconds: expires_in.as_secs() })?;
        // The end of a second that has begun.
        let expires = expires.as_second().saturating_add(1).to_string();
        let mut url = self.public_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(FOLDER).extend(key.as_str().split('/'));
        }
        let signature = signature(&self.keys.load().current, key.as_str(), &expires);
        url.set_query(Some(&format!("expires={expires}&signature={signature}")));
        Ok(url)
    }

    /// `path` is what stands behind `/blobs/`, `query` what stands behind `?`; both as the request has them.
    pub(super) fn verify(&self, path: &str, query: Option<&str>, now: Timestamp) -> Result<BlobKey, Refused> {
        let (expires, given) = query.and_then(parse_query).ok_or(Refused::Malformed)?;
        let key: BlobKey = path.parse().map_err(|_| Refused::Malformed)?;
        let is_signed_by = |signing_key: &SigningKey| {
            let expected = signature(signing_key, key.as_str(), expires);
            bool::from(expected.as_bytes().ct_eq(given.as_bytes()))
        };
        if !self.keys.load().at(now).any(is_signed_by) {
            return Err(Refused::Altered);
        }
        let expires: i64 = expires.parse().map_err(|_| Refused::Malformed)?;
        if now.as_second() < expires { Ok(key) } else { Err(Refused::Expired) }
    }
}

fn signature(signing_key: &SigningKey, key: &str, expires: &str) -> String {
    // No two pairs give the same text: a key has no line feed.
    let text = format!("GET\n{key}\n{expires}");
    blake3::keyed_hash(&signing_key.0, text.as_bytes()).to_hex().to_string()
}

fn parse_query(query: &str) -> Option<(&str, &str)> {
    let (expires, signature) = query.split_once('&')?;
    Some((expires.strip_prefix("expires=")?, signature.strip_prefix("signature=")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ttl_s/20261125/\
                       58627322-53c1-45a0-b271-1d71a7e98510.inputs.0123456789abcdef0123456789abcdef.image.svg+xml";
    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> Timestamp {
        "2026-11-25T10:00:00.5Z".parse().unwrap()
    }

    fn signer() -> UrlSigner {
        UrlSigner::new("https://runhook.example/base".parse().unwrap(), SigningKey::new([7; 32]))
    }

    /// What a request for the URL has behind `/blobs/` and behind `?`.
    fn request(url: &str) -> (&str, Option<&str>) {
        let (_, path) = url.split_once("/blobs/").unwrap_or_default();
        path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)))
    }

    fn verify(url: &str, now: Timestamp) -> Result<BlobKey, Refused> {
        let (path, query) = request(url);
        signer().verify(path, query, now)
    }

    fn signed() -> String {
        signer().sign(&KEY.parse().unwrap(), HOUR, now()).unwrap().into()
    }

    #[test]
    fn a_url_gives_the_key_it_was_signed_for() {
        let url = signed();
        assert!(url.starts_with(&format!("https://runhook.example/base/blobs/{KEY}?expires=1795")), "{url}");
        assert_eq!(verify(&url, now()), Ok(KEY.parse().unwrap()));
    }

    #[test]
    fn a_public_url_may_end_with_a_slash() {
        let signer = UrlSigner::new("http://host:8484/".parse().unwrap(), SigningKey::new([7; 32]));
        let url = signer.sign(&KEY.parse().unwrap(), HOUR, now()).unwrap();
        assert_eq!(url.path(), format!("/blobs/{KEY}"));
    }

    #[test]
    fn a_url_holds_for_its_time_and_not_a_second_longer() {
        let url = signed();
        let end = now().checked_add(HOUR).unwrap();
        assert!(verify(&url, end).is_ok());
        let later = end.checked_add(Duration::from_millis(500)).unwrap();
        assert_eq!(verify(&url, later), Err(Refused::Expired));
    }

    #[test]
    fn a_url_signed_with_another_key_is_refused() {
        let other = UrlSigner::new("https://runhook.example".parse().unwrap(), SigningKey::new([8; 32]));
        let url = other.sign(&KEY.parse().unwrap(), HOUR, now()).unwrap();
        assert_eq!(verify(url.as_str(), now()), Err(Refused::Altered));
    }

    #[test]
    fn after_a_change_of_keys_urls_of_before_hold_until_their_key_ends() {
        let signer = signer();
        let verify = |url: &str, now| {
            let (path, query) = request(url);
            signer.verify(path, query, now).map(drop)
        };
        let before = signed();
        let change = |until| {
            let earlier = vec![(SigningKey::new([7; 32]), until)];
            signer.sign_with(SigningKeys { current: SigningKey::new([8; 32]), earlier });
        };
        change(Timestamp::MAX);
        let after = String::from(signer.sign(&KEY.parse().unwrap(), HOUR, now()).unwrap());
        assert_ne!(before, after);
        assert_eq!((verify(&before, now()), verify(&after, now())), (Ok(()), Ok(())));
        assert_eq!(verify(&before, now().checked_add(2 * HOUR).unwrap()), Err(Refused::Expired));
        let end = now().checked_add(HOUR / 2).unwrap();
        change(end);
        assert_eq!(verify(&before, now()), Ok(()));
        assert_eq!((verify(&before, end), verify(&after, end)), (Err(Refused::Altered), Ok(())));
    }

    #[test]
    fn a_query_in_another_form_is_refused() {
        let url = signed();
        let (path, query) = request(&url);
        let query = query.unwrap();
        let (expires, signature) = query.split_once('&').unwrap();
        let cases = [
            None,
            Some(String::new()),
            Some(expires.to_owned()),
            Some(signature.to_owned()),
            Some(format!("{signature}&{expires}")),
            Some(format!("{query}&expires=9999999999")),
            Some(format!("expires=9999999999&{query}")),
            Some(format!("{expires}&signature=")),
        ];
        for case in cases {
            assert!(signer().verify(path, case.as_deref(), now()).is_err(), "{case:?}");
        }
    }

    #[test]
    fn a_lifetime_beyond_the_calendar_is_an_error() {
        let result = signer().sign(&KEY.parse().unwrap(), Duration::from_secs(u64::MAX), now());
        assert!(matches!(result, Err(BlobError::Lifetime { .. })), "{result:?}");
    }

    #[test]
    fn the_signing_key_is_not_shown() {
        assert!(!format!("{:?}", signer()).contains('7'));
    }

    proptest! {
        #[test]
        fn whatever_character_is_changed_the_url_is_refused(at in any::<prop::sample::Index>(), put in any::<char>()) {
            let url = signed();
            let from = url.find("/blobs/").unwrap() + "/blobs/".len();
            let at = from + at.index(url.len() - from);
            let mut altered = url.clone();
            altered.replace_range(at..=at, &put.to_string());
            prop_assume!(altered != url);
            prop_assert!(verify(&altered, now()).is_err(), "{}", altered);
        }

        #[test]
        fn whatever_character_is_missing_or_doubled_the_url_is_refused(at in any::<prop::sample::Index>()) {
            let url = signed();
            let from = url.find("/blobs/").unwrap() + "/blobs/".len();
            let at = from + at.index(url.len() - from);
            let (mut shorter, mut longer) = (url.clone(), url.clone());
            let doubled = shorter.remove(at);
            longer.insert(at, doubled);
            prop_assert!(verify(&shorter, now()).is_err(), "{}", shorter);
            prop_assert!(verify(&longer, now()).is_err(), "{}", longer);
        }
    }

    #[test]
    fn every_single_bit_of_the_url_counts() {
        let url = signed();
        let from = url.find("/blobs/").unwrap() + "/blobs/".len();
        for (at, bit) in (from..url.len()).flat_map(|at| (0..7).map(move |bit| (at, bit))) {
            let mut bytes = url.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let altered = String::from_utf8(bytes).unwrap();
            assert!(verify(&altered, now()).is_err(), "{altered}");
        }
    }
}
