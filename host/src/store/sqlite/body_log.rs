//! Bodies beside the database: an append-only log of segments. A body is synced before a row that points to it is
//! committed; what no row points to (a torn tail, an aborted group) is harmless and never overwritten by a pointer's
//! target, since every start opens a new segment.
//!
//! Knows nothing of rows. Reads are checked against a CRC-32C.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::after;
use crate::model::Timestamp;
use crate::secrets::Keyring;
use crate::store::sqlite::segments::{Bodies, Segment, Segments};

/// A segment is closed once it is longer than this, in bytes: small enough to drop, large enough to be few.
const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;

/// A segment is closed at this age, so that bodies outlive their rows by no more than it where few come.
const SEGMENT_AGE: Duration = Duration::from_hours(24);

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BodyRef {
    pub(super) segment: u32,
    pub(super) offset: u64,
    /// Of the body itself, whether or not it is sealed.
    pub(super) length: u64,
    /// Of what lies in the segment.
    pub(super) checksum: u32,
}

/// The one appender.
pub(super) struct BodyLog {
    segments: Segments,
    bodies: Bodies,
    segment: Segment,
    end: u64,
    is_synced: bool,
    /// A sync failed. The system tells of it once, and what was not written may be forgotten by then: no later sync of the
    /// segment says anything.
    is_lost: bool,
    /// When something was first seen in the segment.
    used_since: Option<Timestamp>,
}

impl BodyLog {
    /// Opens a fresh segment behind those that are there.
    pub(super) fn open(folder: &Path, keyring: Arc<Keyring>, bodies: Bodies) -> io::Result<Self> {
        let segments = Segments::new(folder, keyring);
        segments.make_folder()?;
        segments.check_keys()?;
        let newest = segments.numbers()?.into_iter().max().unwrap_or(0);
        let segment = segments.create_behind(newest, bodies)?;
        Ok(Self { segments, bodies, segment, end: 0, is_synced: true, is_lost: false, used_since: None })
    }

    /// Appends; durable only after [`BodyLog::sync`].
    pub(super) fn append(&mut self, body: &[u8]) -> io::Result<BodyRef> {
        if self.end > SEGMENT_BYTES {
            self.close()?;
        }
        self.is_synced = false;
        let sealed = self.segment.written(body, self.end);
        let written = sealed.as_deref().unwrap_or(body);
        if let Err(error) = self.segment.file.write_all(written) {
            // Part of it may be there: it gives its room back, or what follows begins behind it.
            if self.segment.file.set_len(self.end).is_err() {
                self.end = self.segment.file.metadata()?.len();
            }
            return Err(error);
        }
        let offset = self.end;
        self.end += written.len() as u64;
        let (length, checksum) = (body.len() as u64, crc32c::crc32c(written));
        Ok(BodyRef { segment: self.segment.number, offset, length, checksum })
    }

    /// The segment that is being written. All with lower numbers are closed for good.
    pub(super) fn open_segment(&self) -> u32 {
        self.segment.number
    }

    /// Closes the segment where it is old. To be called from time to time.
    pub(super) fn close_when_old(&mut self, now: Timestamp) -> io::Result<()> {
        if self.end == 0 {
            return Ok(());
        }
        let since = *self.used_since.get_or_insert(now);
        if now >= after(since, SEGMENT_AGE) { self.close() } else { Ok(()) }
    }

    /// Brings the keys of sealed segments under the current secret key, and begins a segment, so that what comes is under
    /// a key that nobody has who has an earlier one. How many keys were not under it yet.
    pub(super) fn reseal_keys(&mut self) -> io::Result<u64> {
        let resealed = self.segments.reseal_keys()?;
        if resealed > 0 && self.end > 0 {
            self.close()?;
        }
        Ok(resealed)
    }

    fn close(&mut self) -> io::Result<()> {
        self.sync()?;
        self.begin_segment()
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.segment = self.segments.create_behind(self.segment.number, self.bodies)?;
        (self.end, self.used_since) = (0, None);
        (self.is_synced, self.is_lost) = (true, false);
        Ok(())
    }

    /// Makes everything appended so far durable. Once that has failed it fails, until [`BodyLog::leave_lost`]: whoever
    /// appended meanwhile must not be told that all is well.
    ///
    /// # Errors
    /// The disk's, or that it has failed before.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.is_lost {
            return Err(io::Error::other("bodies were lost when the disk failed"));
        }
        if !self.is_synced {
            self.is_lost = true;
            self.segment.file.sync_data()?;
            (self.is_synced, self.is_lost) = (true, false);
        }
        Ok(())
    }

    /// Begins another segment where a sync has failed. To be called when no row will point to what was appended.
    pub(super) fn leave_lost(&mut self) -> io::Result<()> {
        if self.is_lost { self.begin_segment() } else { Ok(()) }
    }
}

/// Whether a body will never be read again: it is damaged or gone. Anything else (no file descriptor left, say) passes.
pub(super) fn is_lost(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
}

/// Reads bodies; any number of threads at once.
pub(super) struct BodyReader {
    segments: Segments,
    open: Mutex<HashMap<u32, Arc<Segment>>>,
}

impl BodyReader {
    pub(super) fn new(folder: &Path, keyring: Arc<Keyring>) -> Self {
        Self { segments: Segments::new(folder, keyring), open: Mutex::default() }
    }

    /// The body, checked.
    pub(super) fn read(&self, body: BodyRef) -> io::Result<Bytes> {
        self.segment(body.segment)?.read(body)
    }

    /// Numbers of the segments that are there, the open one included, in no order.
    pub(super) fn segments(&self) -> io::Result<Vec<u32>> {
        self.segments.numbers()
    }

    /// Deletes a closed segment, of which nothing will be read again; its size. Who reads in it right now still can.
    pub(super) fn delete(&self, number: u32) -> io::Result<u64> {
        let bytes = self.segments.delete(number)?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        Ok(bytes)
    }

    fn segment(&self, number: u32) -> io::Result<Arc<Segment>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = open.get(&number) {
            return Ok(segment.clone());
        }
        let segment = Arc::new(self.segments.open(number)?);
        open.insert(number, segment.clone());
        Ok(segment)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A keyring beside the folder's data.
    pub(in crate::store::sqlite) fn keyring(folder: &Path) -> Arc<Keyring> {
        Arc::new(Keyring::load(folder, None).unwrap())
    }

    /// A log of plain bodies.
    pub(in crate::store::sqlite) fn plain_log(folder: &Path) -> BodyLog {
        open(folder, Bodies::Plain)
    }

    fn open(folder: &Path, bodies: Bodies) -> BodyLog {
        std::fs::create_dir_all(folder).unwrap();
        BodyLog::open(folder, keyring(folder), bodies).unwrap()
    }

    impl BodyLog {
        /// Has the next sync fail, as a disk does.
        pub(in crate::store::sqlite) fn break_disk(&mut self) {
            self.segment.file = std::fs::File::options().write(true).open("/dev/null").unwrap();
        }
    }

    #[test]
    fn once_a_sync_has_failed_none_succeeds_before_another_segment_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = plain_log(folder.path());
        log.append(b"lost").unwrap();
        let intact = log.segment.file.try_clone().unwrap();
        log.break_disk();
        assert!(log.close().is_err());
        log.segment.file = intact;
        assert!(log.sync().is_err(), "the system tells of a failure once");
        log.leave_lost().unwrap();
        let kept = log.append(b"kept").unwrap();
        log.sync().unwrap();
        assert_eq!(kept.segment, 2);
        assert_eq!(reader(folder.path()).read(kept).unwrap(), "kept");
    }

    fn reader(folder: &Path) -> BodyReader {
        BodyReader::new(folder, keyring(folder))
    }

    #[test]
    fn what_was_appended_is_read_back_also_by_a_later_start_that_keeps_bodies_otherwise() {
        for (first, second) in [(Bodies::Plain, Bodies::Sealed), (Bodies::Sealed, Bodies::Plain)] {
            let folder = tempfile::tempdir().unwrap();
            let mut log = open(folder.path(), first);
            let refs = [log.append(b"one").unwrap(), log.append(b"").unwrap(), log.append(b"three").unwrap()];
            log.sync().unwrap();
            let later = open(folder.path(), second).append(b"later").unwrap();
            let reader = reader(folder.path());
            let read: Vec<_> = refs.iter().chain([&later]).map(|body| reader.read(*body).unwrap()).collect();
            assert_eq!(read, ["one", "", "three", "later"]);
            assert_eq!(refs[2].length, 5);
        }
    }

    #[test]
    fn a_sealed_body_is_nowhere_in_its_file_and_cannot_take_anothers_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open(folder.path(), Bodies::Sealed);
        let [first, second] =
            [b"a body that is secret", b"another that is not.."].map(|body| log.append(body).unwrap());
        let path = folder.path().join("000001.sealed");
        let mut file = std::fs::read(&path).unwrap();
        assert!(!file.windows(6).any(|window| window == b"secret"));
        let half = file.len() / 2;
        file.copy_within(half.., 0);
        std::fs::write(path, file).unwrap();
        let moved = BodyRef { checksum: second.checksum, ..first };
        let error = reader(folder.path()).read(moved).unwrap_err();
        assert!(error.to_string().contains("segment 1 at 0"), "{error}");
        assert!(is_lost(&error));
    }

    #[test]
    fn a_segment_is_closed_a_day_after_something_was_seen_in_it() {
        for (bodies, overhead) in [(Bodies::Plain, 0), (Bodies::Sealed, 40)] {
            let folder = tempfile::tempdir().unwrap();
            let mut log = open(folder.path(), bodies);
            let reader = reader(folder.path());
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
            assert_eq!(reader.delete(first.segment).unwrap(), 3 + overhead);
            assert!(is_lost(&reader.read(first).unwrap_err()));
            assert_eq!(reader.segments().unwrap(), [2]);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), if overhead == 0 { 2 } else { 3 });
        }
    }

    #[test]
    fn after_a_change_of_the_secret_key_a_segment_begins_and_all_stays_readable() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = keyring(folder.path());
        let mut log = BodyLog::open(folder.path(), keyring.clone(), Bodies::Sealed).unwrap();
        let before = log.append(b"before").unwrap();
        keyring.begin_rotation().unwrap();
        assert_eq!(log.reseal_keys().unwrap(), 1);
        assert_eq!(log.reseal_keys().unwrap(), 0);
        let behind = log.append(b"behind").unwrap();
        assert_eq!((before.segment, behind.segment), (1, 2));
        keyring.end_rotation(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH).unwrap();
        let reader = reader(folder.path());
        assert_eq!([before, behind].map(|body| reader.read(body).unwrap()), ["before", "behind"]);
    }

    #[test]
    fn a_damaged_body_is_an_error_that_names_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = plain_log(folder.path());
        let body = log.append(b"body").unwrap();
        std::fs::write(folder.path().join("000001.log"), b"bodx").unwrap();
        let error = reader(folder.path()).read(body).unwrap_err();
        assert!(error.to_string().contains("segment 1 at 0"), "{error}");
        assert!(is_lost(&error));
    }
}
