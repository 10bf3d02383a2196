//! Bodies beside the database: an append-only log of segments. A body is synced before a row that points to it is
//! committed; what no row points to (a torn tail, an aborted group) is harmless and never overwritten by a pointer's
//! target, since every start opens a new segment.
//!
//! Knows nothing of rows. Reads are checked against a CRC-32C.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// A segment is closed once it is longer than this, in bytes: small enough to drop, large enough to be few.
const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodyRef {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) checksum: u32,
}

/// The one appender.
pub(super) struct BodyLog {
    folder: PathBuf,
    segment: u32,
    file: File,
    end: u64,
    is_synced: bool,
}

impl BodyLog {
    /// Opens a fresh segment behind those that are there.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        sync_folder(folder.parent().unwrap_or(folder))?;
        let mut newest = 0;
        for entry in std::fs::read_dir(folder)? {
            newest = newest.max(segment_number(&entry?.path()).unwrap_or(0));
        }
        let segment = newest + 1;
        Ok(Self { folder: folder.to_owned(), segment, file: create(folder, segment)?, end: 0, is_synced: true })
    }

    /// Appends; durable only after [`BodyLog::sync`].
    pub(super) fn append(&mut self, body: &[u8]) -> io::Result<BodyRef> {
        if self.end > SEGMENT_BYTES {
            self.sync()?;
            self.segment += 1;
            self.file = create(&self.folder, self.segment)?;
            self.end = 0;
        }
        self.is_synced = false;
        if let Err(error) = self.file.write_all(body) {
            // Part of it may be there: it gives its room back, or what follows begins behind it.
            if self.file.set_len(self.end).is_err() {
                self.end = self.file.metadata()?.len();
            }
            return Err(error);
        }
        let offset = self.end;
        self.end += body.len() as u64;
        Ok(BodyRef { segment: self.segment, offset, length: body.len() as u64, checksum: crc32c::crc32c(body) })
    }

    /// Makes everything appended so far durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced {
            self.file.sync_data()?;
            self.is_synced = true;
        }
        Ok(())
    }
}

/// Whether a body will never be read again: it is damaged or gone. Anything else (no file descriptor left, say) passes.
pub(super) fn is_lost(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
}

/// Reads bodies; any number of threads at once.
pub(super) struct BodyReader {
    folder: PathBuf,
    open: Mutex<HashMap<u32, Arc<File>>>,
}

impl BodyReader {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: Mutex::default() }
    }

    /// The body, checked.
    pub(super) fn read(&self, body: BodyRef) -> io::Result<Bytes> {
        let length =
            usize::try_from(body.length).map_err(|_| io::Error::other("a body is too long for this machine"))?;
        let mut bytes = vec![0; length];
        self.segment(body.segment)?.read_exact_at(&mut bytes, body.offset)?;
        if crc32c::crc32c(&bytes) != body.checksum {
            let place = format!("segment {} at {}", body.segment, body.offset);
            let message = format!("a stored body is damaged ({place}): its checksum does not match");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(bytes.into())
    }

    fn segment(&self, number: u32) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(file.clone());
        }
        let file = Arc::new(File::open(segment_path(&self.folder, number))?);
        open.insert(number, file.clone());
        Ok(file)
    }
}

fn segment_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:06}.log"))
}

fn segment_number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

fn create(folder: &Path, number: u32) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create_new(true).open(segment_path(folder, number))?;
    sync_folder(folder)?;
    Ok(file)
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_is_read_back_also_by_a_later_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = BodyLog::open(folder.path()).unwrap();
        let refs = [log.append(b"one").unwrap(), log.append(b"").unwrap(), log.append(b"three").unwrap()];
        log.sync().unwrap();
        let later = BodyLog::open(folder.path()).unwrap().append(b"later").unwrap();
        let reader = BodyReader::new(folder.path());
        let read: Vec<_> = refs.iter().chain([&later]).map(|body| reader.read(*body).unwrap()).collect();
        assert_eq!(read, ["one", "", "three", "later"]);
    }

    #[test]
    fn a_damaged_body_is_an_error_that_names_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = BodyLog::open(folder.path()).unwrap();
        let body = log.append(b"body").unwrap();
        std::fs::write(segment_path(folder.path(), body.segment), b"bodx").unwrap();
        let error = BodyReader::new(folder.path()).read(body).unwrap_err();
        assert!(error.to_string().contains("segment 1 at 0"), "{error}");
        assert!(is_lost(&error));
    }
}
