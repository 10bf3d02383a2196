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
use std::time::Duration;

use bytes::Bytes;

use crate::clock::after;
use crate::model::Timestamp;

/// A segment is closed once it is longer than this, in bytes: small enough to drop, large enough to be few.
const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;

/// A segment is closed at this age, so that bodies outlive their rows by no more than it where few come.
const SEGMENT_AGE: Duration = Duration::from_hours(24);

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
    /// When something was first seen in the segment.
    used_since: Option<Timestamp>,
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
        let (segment, file) = create_behind(folder, newest)?;
        Ok(Self { folder: folder.to_owned(), segment, file, end: 0, is_synced: true, used_since: None })
    }

    /// Appends; durable only after [`BodyLog::sync`].
    pub(super) fn append(&mut self, body: &[u8]) -> io::Result<BodyRef> {
        if self.end > SEGMENT_BYTES {
            self.close()?;
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

    /// The segment that is being written. All with lower numbers are closed for good.
    pub(super) fn open_segment(&self) -> u32 {
        self.segment
    }

    /// Closes the segment where it is old. To be called from time to time.
    pub(super) fn close_when_old(&mut self, now: Timestamp) -> io::Result<()> {
        if self.end == 0 {
            return Ok(());
        }
        let since = *self.used_since.get_or_insert(now);
        if now >= after(since, SEGMENT_AGE) { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> io::Result<()> {
        self.sync()?;
        (self.segment, self.file) = create_behind(&self.folder, self.segment)?;
        (self.end, self.used_since) = (0, None);
        Ok(())
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

    /// Numbers of the segments that are there, the open one included, in no order.
    pub(super) fn segments(&self) -> io::Result<Vec<u32>> {
        let numbers = std::fs::read_dir(&self.folder)?.map(|entry| Ok(segment_number(&entry?.path())));
        numbers.filter_map(Result::transpose).collect()
    }

    /// Deletes a closed segment, of which nothing will be read again; its size. Who reads in it right now still can.
    pub(super) fn delete(&self, number: u32) -> io::Result<u64> {
        let path = segment_path(&self.folder, number);
        let bytes = std::fs::metadata(&path)?.len();
        std::fs::remove_file(&path)?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        Ok(bytes)
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

/// A new segment with a number behind `last`. One whose making failed in the middle is passed over.
fn create_behind(folder: &Path, last: u32) -> io::Result<(u32, File)> {
    let mut number = last + 1;
    let file = loop {
        match OpenOptions::new().append(true).create_new(true).open(segment_path(folder, number)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            opened => break opened?,
        }
    };
    sync_folder(folder)?;
    Ok((number, file))
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
    fn a_segment_is_closed_a_day_after_something_was_seen_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = BodyLog::open(folder.path()).unwrap();
        let reader = BodyReader::new(folder.path());
        let start = Timestamp::UNIX_EPOCH;
        log.close_when_old(start).unwrap();
        let first = log.append(b"one").unwrap();
        let used = after(start, SEGMENT_AGE);
        log.close_when_old(used).unwrap();
        log.close_when_old(after(used, SEGMENT_AGE - Duration::from_secs(1))).unwrap();
        assert_eq!(log.open_segment(), first.segment);
        log.close_when_old(after(used, SEGMENT_AGE)).unwrap();
        let second = log.append(b"two").unwrap();
        assert_eq!((first.segment, second.segment, log.open_segment()), (1, 2, 2));
        assert_eq!(reader.read(first).unwrap(), "one");
        assert_eq!(reader.read(second).unwrap(), "two");
        assert_eq!(reader.delete(first.segment).unwrap(), 3);
        assert!(is_lost(&reader.read(first).unwrap_err()));
        assert_eq!(reader.segments().unwrap(), [2]);
    }

    #[test]
    fn a_segment_whose_making_failed_in_the_middle_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = BodyLog::open(folder.path()).unwrap();
        log.append(b"one").unwrap();
        std::fs::write(segment_path(folder.path(), 2), b"").unwrap();
        log.close().unwrap();
        assert_eq!(log.append(b"two").unwrap().segment, 3);
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
