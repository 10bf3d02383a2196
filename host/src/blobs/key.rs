//! Names of blobs. A key says what it names, so that nothing needs to be kept beside the blob. Pure.
//!
//! `ttl_s/<yyyymmdd>/<run>.<field>.<hash>.<type>.<subtype>`. The hash is of the content, so that putting the
//! same bytes again is the same blob. Every part has one spelling only: what parses is written the same way again, needs
//! no percent-encoding in a URL, and cannot lead out of the folder.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use object_store::path::Path;
use uuid::Uuid;

use crate::model::Timestamp;
use crate::model::ids::RunId;

/// What keys begin with; LangSmith's do too, in `s3_url`.
const TIER: &str = "ttl_s";

/// Of a day in UTC.
const DAY: &str = "%Y%m%d";

/// Of the hash, in hexadecimal digits: 128 bits.
const HASH_DIGITS: usize = 32;

/// Longest media type that a key carries, in bytes. With the rest of its name it stays below the 255 of file systems.
const MEDIA_TYPE_BYTES_MAX: usize = 120;

const ANY_BYTES: (&str, &str) = ("application", "octet-stream");

/// Which part of a run a blob holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlobField {
    /// The run's inputs.
    Inputs,
    /// The run's outputs.
    Outputs,
    /// One of its attachments.
    Attachment,
}

impl BlobField {
    fn as_str(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Outputs => "outputs",
            Self::Attachment => "attachment",
        }
    }
}

/// What a new blob is.
#[derive(Clone, Copy, Debug)]
pub struct BlobOrigin<'a> {
    /// The run.
    pub run: RunId,
    /// When it was received, or moved here later; its day (UTC) is in the key, so that what is old is deleted by the
    /// day.
    pub received_at: Timestamp,
    /// Which part of the run.
    pub field: BlobField,
    /// RFC 6838, as the client gave it.
    pub media_type: &'a str,
}

/// The name of a blob; also what stands in `s3_url`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobKey(String);

/// The text is no key of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the key of a blob; one looks like {TIER}/<yyyymmdd>/<run>.<field>.<hash>.<type>.<subtype>")]
pub struct KeyError;

impl BlobKey {
    /// The key of these bytes. Parameters of the media type (`; charset=…`) are left out; what is no media type, or an
    /// uncommonly long one, becomes `application/octet-stream`.
    pub fn of(origin: &BlobOrigin<'_>, bytes: &[u8]) -> Self {
        let BlobOrigin { run, received_at, field, media_type } = origin;
        let day = day_of(*received_at);
        let hash = blake3::hash(bytes).to_hex();
        let hash = hash.get(..HASH_DIGITS).unwrap_or_default();
        let lower = media_type.to_ascii_lowercase();
        let (kind, subtype) = essence(&lower).unwrap_or(ANY_BYTES);
        Self(format!("{TIER}/{day}/{run}.{}.{hash}.{kind}.{subtype}", field.as_str()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The blob's media type, without parameters.
    pub fn media_type(&self) -> String {
        let mut parts = self.0.splitn(5, '.').skip(3);
        let (kind, subtype) = parts.next().zip(parts.next()).unwrap_or(ANY_BYTES);
        format!("{kind}/{subtype}")
    }

    /// The key at a place of a store below `prefix`; none where that is no key's.
    pub(super) fn at(path: &Path, prefix: &Path) -> Option<Self> {
        let parts: Vec<_> = path.prefix_match(prefix)?.collect();
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        parts.join("/").parse().ok()
    }

    /// Where a store has it, below `prefix`.
    pub(super) fn path(&self, prefix: &Path) -> Path {
        prefix.parts().chain(Path::from(self.as_str()).parts()).collect()
    }
}

impl FromStr for BlobKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let is_key = is_key(text).unwrap_or(false);
        is_key.then(|| Self(text.to_owned())).ok_or(KeyError)
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a store has all days, below `prefix`.
pub(super) fn days(prefix: &Path) -> Path {
    prefix.parts().chain(Path::from(TIER).parts()).collect()
}

/// The day as keys have it. In this spelling, days are in the order of their texts.
pub(super) fn day_of(time: Timestamp) -> String {
    time.strftime(DAY).to_string()
}

/// None where a part is missing.
fn is_key(text: &str) -> Option<bool> {
    let name = text.strip_prefix(TIER)?.strip_prefix('/')?;
    let (day, file) = name.split_once('/')?;
    let mut parts = file.splitn(5, '.');
    let (run, field, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let (kind, subtype) = (parts.next()?, parts.next()?);
    let is_origin = is_day(day) && is_uuid(run) && is_field(field);
    Some(is_origin && is_hash(hash) && is_media_type(kind, subtype))
}

fn is_uuid(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|id| id.hyphenated().to_string() == text)
}

pub(super) fn is_day(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_field(text: &str) -> bool {
    [BlobField::Inputs, BlobField::Outputs, BlobField::Attachment].iter().any(|field| field.as_str() == text)
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn essence(media_type: &str) -> Option<(&str, &str)> {
    let (essence, _) = media_type.split_once(';').unwrap_or((media_type, ""));
    let (kind, subtype) = essence.trim().split_once('/')?;
    is_media_type(kind, subtype).then_some((kind, subtype))
}

/// Narrower than RFC 6838: no `!#$&^`, which no registered type has and which files and URLs give other meanings.
fn is_media_type(kind: &str, subtype: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'+');
    let is_kind = !kind.is_empty() && kind.bytes().all(is_plain);
    let is_subtype = !subtype.is_empty() && subtype.bytes().all(|byte| is_plain(byte) || byte == b'.');
    is_kind && is_subtype && kind.len() + subtype.len() < MEDIA_TYPE_BYTES_MAX
}
