//! What a keyring holds at one moment, and how the key file says it.
//!
//! The file has one key a line: the current one first, then those that stay readable until a rotation is finished.
//! `links <seconds since 1970> <key>` is what is left of a key that has gone: it opens nothing, and links that were
//! signed before hold until that time.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::model::Timestamp;
use crate::secrets::SecretsError;
use crate::secrets::key::{self, KeyBytes, SealingKey};

/// What begins the line of a retired key.
const LINKS: &str = "links";

#[derive(Clone)]
pub(super) struct Keys {
    pub(super) current: Arc<SealingKey>,
    pub(super) earlier: Vec<Arc<SealingKey>>,
    pub(super) retired: Vec<Arc<RetiredUrlKey>>,
}

/// What a key that has gone signed URLs of blobs with.
pub(super) struct RetiredUrlKey {
    pub(super) key: KeyBytes,
    pub(super) until: Timestamp,
}

impl Keys {
    pub(super) fn of(current: SealingKey) -> Self {
        Self { current: Arc::new(current), earlier: Vec::new(), retired: Vec::new() }
    }

    pub(super) fn parse(text: &str) -> Result<Self, SecretsError> {
        let (mut keys, mut retired) = (Vec::new(), Vec::new());
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match line.strip_prefix(LINKS).filter(|rest| rest.starts_with(' ')) {
                Some(rest) => retired.push(Arc::new(RetiredUrlKey::parse(rest).ok_or(SecretsError::MalformedKey)?)),
                None => keys.push(Arc::new(SealingKey::parse(line)?)),
            }
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or(SecretsError::MalformedKey)?;
        Ok(Self { current, earlier: keys.collect(), retired })
    }

    pub(super) fn text(&self) -> Zeroizing<String> {
        let keys = self.all().map(|key| key.text());
        let lines: Vec<_> = keys.chain(self.retired.iter().map(|retired| retired.text())).collect();
        let lines: Vec<&str> = lines.iter().map(|line| line.as_str()).collect();
        Zeroizing::new(lines.join("\n"))
    }

    /// The current one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<SealingKey>> {
        std::iter::once(&self.current).chain(&self.earlier)
    }

    pub(super) fn find(&self, id: &str) -> Option<&Arc<SealingKey>> {
        self.all().find(|key| key.id() == id)
    }

    /// With a new key in front.
    pub(super) fn begun(&self) -> Self {
        let earlier = self.all().cloned().collect();
        // What is sealed names its key by its id alone, which must not be another key's.
        let fresh = std::iter::repeat_with(SealingKey::generate).find(|key| self.find(key.id()).is_none());
        let current = Arc::new(fresh.expect("the iterator never ends"));
        Self { current, earlier, retired: self.retired.clone() }
    }

    /// With the current key alone; links of the earlier ones hold until then.
    pub(super) fn ended(&self, now: Timestamp, until: Timestamp) -> Self {
        let retire = |key: &Arc<SealingKey>| Arc::new(RetiredUrlKey { key: key.url_key(), until });
        let retired = self.retired.iter().filter(|retired| retired.until > now).cloned();
        let retired = retired.chain(self.earlier.iter().map(retire)).collect();
        Self { current: self.current.clone(), earlier: Vec::new(), retired }
    }
}

impl RetiredUrlKey {
    fn parse(text: &str) -> Option<Self> {
        let (until, key) = text.trim().split_once(' ')?;
        let until = Timestamp::from_second(until.parse().ok()?).ok()?;
        Some(Self { key: key::decoded(key).ok()?, until })
    }

    fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{LINKS} {} {}", self.until.as_second(), key::encoded(&self.key).as_str()))
    }
}
