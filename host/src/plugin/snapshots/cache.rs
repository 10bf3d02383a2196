//! Machine code on disk, so that a start need not compile: sealed entries in a folder of the host's own.
//!
//! Nothing here is needed: what is missing, damaged or forged is made anew.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;
use tempfile::NamedTempFile;
use tracing::{debug, warn};
use zeroize::Zeroizing;

use crate::limits::{MACHINE_CODE_BYTES_MAX, PLUGIN_CACHE_BYTES_MAX, PLUGIN_CACHE_KEPT};
use crate::plugin::snapshots::machine_code::{Label, Opened, sealed};

/// Where the cache is, and what its entries are sealed with.
#[derive(Clone)]
pub struct CacheSettings {
    /// Its folder, for the host alone; made where there is none.
    pub folder: PathBuf,
    /// The key of the seal.
    pub key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for CacheSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheSettings").field("folder", &self.folder).finish_non_exhaustive()
    }
}

pub(in crate::plugin) struct Cache {
    folder: PathBuf,
    key: Zeroizing<[u8; 32]>,
}

impl Cache {
    /// Makes the folder, or checks that nobody else can write to it, and forgets what was not used for long.
    ///
    /// # Errors
    /// The system's, or that the folder is not the host's own.
    pub(in crate::plugin) fn open(settings: CacheSettings) -> io::Result<Self> {
        let CacheSettings { folder, key } = settings;
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let found = fs::symlink_metadata(&folder)?;
        if !found.is_dir() || !is_own(&found) || found.mode() & 0o077 != 0 {
            return Err(io::Error::other("it is not a folder of this user's with the mode 0700"));
        }
        let cache = Self { folder, key };
        cache.prune(SystemTime::now(), PLUGIN_CACHE_BYTES_MAX)?;
        Ok(cache)
    }

    /// What is kept under that label. An entry that does not bear the seal is removed and said.
    pub(in crate::plugin) fn get(&self, label: &Label) -> Option<Opened> {
        let path = self.path(label);
        let sealed = match read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.forget(label, &error.to_string());
                return None;
            }
        };
        let opened = Opened::open(&self.key, label, sealed);
        if opened.is_none() {
            self.forget(label, "it is not as this host wrote it");
        }
        opened
    }

    /// Keeps bytes, if that is possible. Under a label for machine code there is nothing else.
    pub(in crate::plugin) fn put(&self, label: &Label, bytes: &[u8]) {
        let kept = self.write(label, bytes).and_then(|()| self.prune(SystemTime::now(), PLUGIN_CACHE_BYTES_MAX));
        if let Err(error) = kept {
            warn!(folder = %self.folder.display(), %error, "cannot keep a compiled plugin; it is compiled again at the next start");
        }
    }

    /// Removes an entry that is of no use.
    pub(in crate::plugin) fn forget(&self, label: &Label, reason: &str) {
        let path = self.path(label);
        warn!(entry = %path.display(), reason, "ignoring an entry of the plugin cache");
        if let Err(error) = fs::remove_file(&path) {
            warn!(entry = %path.display(), %error, "cannot remove an entry of the plugin cache");
        }
    }

    fn path(&self, label: &Label) -> PathBuf {
        self.folder.join(label.0.to_hex().as_str())
    }

    /// Under another name first: a crash leaves no half entry, and a reader sees none.
    fn write(&self, label: &Label, bytes: &[u8]) -> io::Result<()> {
        let mut draft = NamedTempFile::new_in(&self.folder)?;
        draft.write_all(&sealed(&self.key, label, bytes))?;
        draft.persist(self.path(label)).map(drop).map_err(|error| error.error)
    }

    /// Removes what was not used for long, then what was not used for longest until the rest fits.
    fn prune(&self, now: SystemTime, bytes_max: u64) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // What another thread has just removed is gone.
            let Ok(metadata) = entry.metadata() else { continue };
            entries.push((metadata.modified()?, metadata.len(), entry.path()));
        }
        entries.sort();
        let mut bytes: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        for (used, size, path) in entries {
            let is_old = now.duration_since(used).is_ok_and(|age| age > PLUGIN_CACHE_KEPT);
            if !is_old && bytes <= bytes_max {
                break;
            }
            debug!(entry = %path.display(), "removing an unused entry of the plugin cache");
            let _ = fs::remove_file(&path);
            bytes -= size;
        }
        Ok(())
    }
}

fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == geteuid().as_raw()
}

/// The entry's bytes; marks it as used.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
    let metadata = file.metadata()?;
    if !metadata.is_file() || !is_own(&metadata) || metadata.len() > MACHINE_CODE_BYTES_MAX {
        return Err(io::Error::other("it is no file that this host wrote"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    Read::by_ref(&mut file).take(MACHINE_CODE_BYTES_MAX).read_to_end(&mut bytes)?;
    // An entry that cannot be marked is removed early, no more.
    let _ = file.set_modified(SystemTime::now());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Duration;

    use super::*;

    fn label(text: &str) -> Label {
        Label(blake3::hash(text.as_bytes()))
    }

    fn open(folder: &Path, key: u8) -> io::Result<Cache> {
        Cache::open(CacheSettings { folder: folder.to_owned(), key: Zeroizing::new([key; 32]) })
    }

    fn found(cache: &Cache, text: &str) -> Option<Vec<u8>> {
        cache.get(&label(text)).map(Opened::into_bytes)
    }

    #[test]
    fn an_entry_is_found_by_the_next_start_and_only_under_its_label_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("cache/plugins");
        open(&home, 1).unwrap().put(&label("a"), b"machine");
        assert_eq!(fs::metadata(&home).unwrap().mode() & 0o777, 0o700);
        assert_eq!(found(&open(&home, 1).unwrap(), "a").unwrap(), b"machine");
        assert_eq!(found(&open(&home, 1).unwrap(), "b"), None);
        assert_eq!(found(&open(&home, 2).unwrap(), "a"), None);
    }

    #[test]
    fn what_is_forged_cut_or_no_file_is_ignored_and_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("plugins");
        let cache = open(&home, 1).unwrap();
        cache.put(&label("b"), b"other");
        let path = cache.path(&label("a"));
        let spoil: [&dyn Fn(&Path); 5] = [
            &|path| fs::write(path, b"cut").unwrap(),
            &|path| fs::write(path, [0; 100]).unwrap(),
            &|path| fs::copy(cache.path(&label("b")), path).map(drop).unwrap(),
            &|path| symlink(cache.path(&label("b")), path).unwrap(),
            &|path| fs::File::create(path).map(drop).unwrap(),
        ];
        for spoil in spoil {
            spoil(&path);
            assert_eq!(found(&cache, "a"), None);
            assert!(fs::symlink_metadata(&path).is_err(), "it is gone");
            cache.put(&label("a"), b"machine");
            assert_eq!(found(&cache, "a").unwrap(), b"machine");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_folder_that_others_can_reach_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("plugins");
        open(&home, 1).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(open(&home, 1).is_err());
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        symlink(&home, folder.path().join("link")).unwrap();
        assert!(open(&folder.path().join("link"), 1).is_err());
    }

    #[test]
    fn what_is_unused_for_long_goes_and_then_what_is_unused_for_longest() {
        let folder = tempfile::tempdir().unwrap();
        let cache = open(&folder.path().join("plugins"), 1).unwrap();
        let now = SystemTime::now();
        for (days, name) in [(50, "old"), (3, "three"), (2, "two"), (1, "one")] {
            cache.put(&label(name), name.as_bytes());
            let file = File::options().write(true).open(cache.path(&label(name))).unwrap();
            file.set_modified(now - Duration::from_hours(days * 24)).unwrap();
        }
        cache.prune(now, u64::MAX).unwrap();
        assert!(!cache.path(&label("old")).exists() && cache.path(&label("three")).exists());
        cache.prune(now, 2 * (32 + 3)).unwrap();
        assert!(!cache.path(&label("three")).exists());
        assert!(cache.path(&label("two")).exists() && cache.path(&label("one")).exists());
    }
}
