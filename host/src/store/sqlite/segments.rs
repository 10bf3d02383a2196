//! The files of the body log: numbered segments. A plain one is `000001.log`. A sealed one is `000002.sealed`, and beside
//! it `000002.key` is the key of its bodies, itself sealed under the secret key.
//!
//! Each sealed segment has a key of its own: whoever comes to know one has the bodies of a day, and to go over to another
//! secret key is to seal the keys anew and to begin a segment.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::secrets::{BodyKey, Keyring, SecretsError, write_private_file};
use crate::store::sqlite::body_log::BodyRef;

/// How bodies are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bodies {
    /// As they are.
    #[default]
    Plain,
    /// Sealed: who has the files and not the secret key cannot read them.
    Sealed,
}

const PLAIN: &str = "log";
const SEALED: &str = "sealed";
const KEY: &str = "key";

/// The folder of segments.
pub(super) struct Segments {
    folder: PathBuf,
    keyring: Arc<Keyring>,
}

/// One segment, open for reading or for appending.
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) file: File,
    key: Option<BodyKey>,
}

impl Segments {
    pub(super) fn new(folder: &Path, keyring: Arc<Keyring>) -> Self {
        Self { folder: folder.to_owned(), keyring }
    }

    pub(super) fn make_folder(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        sync_folder(self.folder.parent().unwrap_or(&self.folder))
    }

    /// Numbers of those that are there, in no order.
    pub(super) fn numbers(&self) -> io::Result<Vec<u32>> {
        self.numbers_of(|extension| extension == PLAIN || extension == SEALED)
    }

    fn numbers_of(&self, is_asked_for: impl Fn(&str) -> bool) -> io::Result<Vec<u32>> {
        let number = |path: &Path| {
            let extension = path.extension()?.to_str()?;
            if is_asked_for(extension) { path.file_stem()?.to_str()?.parse().ok() } else { None }
        };
        let numbers = fs::read_dir(&self.folder)?.map(|entry| Ok(number(&entry?.path())));
        numbers.filter_map(Result::transpose).collect()
    }

    /// A new one with a number behind `last`. One whose making failed in the middle is passed over.
    pub(super) fn create_behind(&self, last: u32, bodies: Bodies) -> io::Result<Segment> {
        let mut number = last + 1;
        while self.path(number, PLAIN).try_exists()? || self.path(number, SEALED).try_exists()? {
            number += 1;
        }
        // The key first, durably: no body is sealed under one that a crash could take away.
        let (key, extension) = match bodies {
            Bodies::Plain => (None, PLAIN),
            Bodies::Sealed => {
                let (key, text) = BodyKey::generate(&self.keyring);
                self.write_key(number, &text)?;
                (Some(key), SEALED)
            }
        };
        let file = OpenOptions::new().append(true).create_new(true).open(self.path(number, extension))?;
        sync_folder(&self.folder)?;
        Ok(Segment { number, file, key })
    }

    pub(super) fn open(&self, number: u32) -> io::Result<Segment> {
        match File::open(self.path(number, PLAIN)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return Ok(Segment { number, file: opened?, key: None }),
        }
        let file = File::open(self.path(number, SEALED))?;
        Ok(Segment { number, file, key: Some(self.key(number)?) })
    }

    /// Deletes one; how long it was, in bytes.
    pub(super) fn delete(&self, number: u32) -> io::Result<u64> {
        let (plain, sealed) = (self.path(number, PLAIN), self.path(number, SEALED));
        let is_sealed = sealed.try_exists()?;
        let path = if is_sealed { sealed } else { plain };
        let bytes = fs::metadata(&path)?.len();
        fs::remove_file(&path)?;
        if is_sealed {
            // Whoever sealed it anew may have seen that it is of no use any more.
            gone_is_fine(fs::remove_file(self.path(number, KEY)))?;
        }
        Ok(bytes)
    }

    /// Whether every key can be opened, for a start: later is too late to say that a secret key is missing.
    pub(super) fn check_keys(&self) -> io::Result<()> {
        self.numbers_of(|extension| extension == SEALED)?.into_iter().try_for_each(|number| self.key(number).map(drop))
    }

    /// Brings the keys of all segments under the current secret key; how many were not. What crashes left of segments that
    /// are gone goes. Only while none is made.
    pub(super) fn reseal_keys(&self) -> io::Result<u64> {
        let mut resealed = 0;
        for number in self.numbers_of(|extension| extension == KEY)? {
            let path = self.path(number, KEY);
            let text = gone_is_fine(fs::read_to_string(&path))?.unwrap_or_default();
            if !self.path(number, SEALED).try_exists()? {
                gone_is_fine(fs::remove_file(path))?;
            } else if let Some(text) = self.keyring.reseal(text.trim()) {
                self.write_key(number, &text)?;
                resealed += 1;
            }
        }
        Ok(resealed)
    }

    fn key(&self, number: u32) -> io::Result<BodyKey> {
        let path = self.path(number, KEY);
        let named =
            |kind, cause: String| io::Error::new(kind, format!("the key of bodies {}: {cause}", path.display()));
        let text = fs::read_to_string(&path).map_err(|error| named(error.kind(), error.to_string()))?;
        BodyKey::open_sealed(text.trim(), &self.keyring).map_err(|error| named(kind(&error), error.to_string()))
    }

    fn write_key(&self, number: u32, text: &str) -> io::Result<()> {
        let name = format!("{number:06}.{KEY}");
        write_private_file(&self.folder, &name, text).map_err(|error| io::Error::new(kind(&error), error))
    }

    fn path(&self, number: u32, extension: &str) -> PathBuf {
        self.folder.join(format!("{number:06}.{extension}"))
    }
}

/// Segments that nobody needs are deleted meanwhile.
fn gone_is_fine<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// What is damaged is lost; what another secret key would open is not.
fn kind(error: &SecretsError) -> io::ErrorKind {
    match error {
        SecretsError::File { cause, .. } => cause.kind(),
        SecretsError::Malformed => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    }
}

impl Segment {
    /// As it is to be appended at this offset.
    pub(super) fn written(&self, body: &[u8], offset: u64) -> Option<Vec<u8>> {
        self.key.as_ref().map(|key| key.seal(body, &place(self.number, offset)))
    }

    pub(super) fn read(&self, body: BodyRef) -> io::Result<Bytes> {
        let overhead = if self.key.is_some() { BodyKey::OVERHEAD } else { 0 };
        let length = usize::try_from(body.length).ok().and_then(|length| length.checked_add(overhead));
        let length = length.ok_or_else(|| io::Error::other("a body is too long for this machine"))?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, body.offset)?;
        if crc32c::crc32c(&bytes) != body.checksum {
            return Err(damaged(body, "its checksum does not match"));
        }
        match &self.key {
            None => Ok(bytes.into()),
            Some(key) => key
                .open(bytes, &place(self.number, body.offset))
                .ok_or_else(|| damaged(body, "it was not sealed under the segment's key, or was changed since")),
        }
    }
}

/// What a sealed body is bound to, so that none can be put into another's place.
fn place(segment: u32, offset: u64) -> [u8; 12] {
    let mut place = [0; 12];
    place[..4].copy_from_slice(&segment.to_le_bytes());
    place[4..].copy_from_slice(&offset.to_le_bytes());
    place
}

fn damaged(body: BodyRef, why: &str) -> io::Error {
    let message = format!("a stored body is damaged (segment {} at {}): {why}", body.segment, body.offset);
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(folder: &Path) -> Segments {
        Segments::new(folder, Arc::new(Keyring::load(folder, None).unwrap()))
    }

    #[test]
    fn one_whose_making_failed_in_the_middle_is_passed_over_plain_or_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let segments = segments(folder.path());
        for (number, extension) in [(1, PLAIN), (2, SEALED)] {
            fs::write(segments.path(number, extension), b"").unwrap();
        }
        assert_eq!(segments.create_behind(0, Bodies::Sealed).unwrap().number, 3);
        assert_eq!(segments.create_behind(2, Bodies::Plain).unwrap().number, 4);
    }

    #[test]
    fn a_key_that_no_secret_key_opens_is_named_and_one_that_is_gone_is_a_loss() {
        let folder = tempfile::tempdir().unwrap();
        let segments = segments(folder.path());
        segments.create_behind(0, Bodies::Sealed).unwrap();
        segments.check_keys().unwrap();
        fs::remove_file(folder.path().join(crate::secrets::KEY_FILE)).unwrap();
        let other = self::segments(folder.path());
        let error = other.check_keys().unwrap_err();
        assert!(error.to_string().contains("000001.key: a stored secret needs the key with the id"), "{error}");
        assert!(!crate::store::sqlite::body_log::is_lost(&error));
        fs::remove_file(segments.path(1, KEY)).unwrap();
        assert!(crate::store::sqlite::body_log::is_lost(&segments.check_keys().unwrap_err()));
    }

    #[test]
    fn keys_are_sealed_anew_and_what_is_left_of_segments_that_are_gone_goes() {
        let folder = tempfile::tempdir().unwrap();
        let segments = segments(folder.path());
        for _ in 0..3 {
            segments.create_behind(0, Bodies::Sealed).unwrap();
        }
        fs::remove_file(segments.path(2, SEALED)).unwrap();
        segments.keyring.begin_rotation().unwrap();
        assert_eq!(segments.reseal_keys().unwrap(), 2);
        assert!(!segments.path(2, KEY).exists());
        segments
            .keyring
            .end_rotation(crate::model::Timestamp::UNIX_EPOCH, crate::model::Timestamp::UNIX_EPOCH)
            .unwrap();
        segments.check_keys().unwrap();
        assert_eq!(segments.reseal_keys().unwrap(), 0);
    }
}
