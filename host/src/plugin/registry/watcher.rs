//! Watches the plugin directory by looking at it: works on every file system, needs no event to arrive.
//!
//! A file is read when two looks in a row find it unchanged, so that one that is being copied is left alone; what is
//! read then and does not load is marked, and what was active before stays. A file and the signature beside it are one
//! thing: when either changes, both are read anew.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use serde_json::Value;
use tracing::{info, warn};

use crate::limits::PLUGIN_CHILDREN_MAX;
use crate::plugin::registry::activation::{Activation, Unfit};
use crate::plugin::registry::component::Refusal;
use crate::plugin::registry::signature::{SIGNATURE_BYTES_MAX, SIGNATURE_SUFFIX};
use crate::plugin::registry::{Active, Registry, plugin_name};

/// Between two looks: a plugin is active about two of these after the copy.
const INTERVAL: Duration = Duration::from_millis(200);

/// By what a change of a file is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    bytes: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            bytes: metadata.len(),
            inode: metadata.ino(),
        }
    }
}

/// Of a plugin's file and of its signature, which is none where there is none or where no policy asks for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stamps {
    component: Stamp,
    signature: Option<Stamp>,
}
/// What is active from now on, with a warning where there is one, or why it is not.
type Loaded = Result<(Active, Option<String>), String>;

pub(in crate::plugin) struct Watcher {
    directory: PathBuf,
    activation: Activation,
    /// Whether this is the first look, at the start of the host.
    is_start: bool,
    /// What the last look found.
    seen: BTreeMap<String, Stamps>,
    /// What was last read of each file, whether it loaded or not.
    handled: BTreeMap<String, Stamps>,
    /// Configurations that rules had for files that were refused.
    refused: BTreeMap<String, Vec<Value>>,
    is_readable: bool,
}

impl Watcher {
    /// Loads what is there. What is half copied at this moment cannot load and is read again when it changes.
    pub(in crate::plugin) fn begin(directory: &Path, activation: Activation, registry: &Registry) -> io::Result<Self> {
        let mut watcher = Self {
            directory: directory.to_owned(),
            activation,
            is_start: true,
            seen: look(directory, registry.has_signers())?,
            handled: BTreeMap::new(),
            refused: BTreeMap::new(),
            is_readable: true,
        };
        watcher.look_again(registry);
        watcher.is_start = false;
        Ok(watcher)
    }

    /// Watches on a thread of its own until the registry is gone.
    pub(in crate::plugin) fn watch(mut self, registry: &Arc<Registry>) -> io::Result<()> {
        let registry: Weak<Registry> = Arc::downgrade(registry);
        let work = move || {
            while let Some(registry) = registry.upgrade() {
                self.look_again(&registry);
                drop(registry);
                thread::sleep(INTERVAL);
            }
        };
        thread::Builder::new().name("plugin-watcher".to_owned()).spawn(work).map(drop)
    }

    /// One look: loads what has come to rest, removes what has been gone for two looks.
    pub(in crate::plugin) fn look_again(&mut self, registry: &Registry) {
        let found = match look(&self.directory, registry.has_signers()) {
            Ok(found) => found,
            Err(error) => return self.cannot_look(&error),
        };
        self.is_readable = true;
        let gone: Vec<_> = self.handled.keys().filter(|file| !found.contains_key(*file)).cloned().collect();
        for file in gone.iter().filter(|file| !self.seen.contains_key(*file)) {
            info!(file, "the plugin's file is gone");
            registry.remove(file);
            self.handled.remove(file);
            self.refused.remove(file);
            // What was refused for its name may have it now.
            self.handled.retain(|other, _| registry.is_active(other));
        }
        self.try_again_where_rules_have_changed();
        let is_at_rest = |file: &String, stamps: &Stamps| {
            self.seen.get(file) == Some(stamps) && self.handled.get(file) != Some(stamps)
        };
        let mut at_rest: Vec<_> = found.iter().filter(|(file, stamps)| is_at_rest(file, stamps)).collect();
        // Of two files with one name the older wins.
        at_rest.sort_by_key(|(_, stamps)| **stamps);
        while !at_rest.is_empty() {
            // What has the name of another waits for what becomes of that one.
            let mut names = HashSet::new();
            let (first, later): (Vec<_>, Vec<_>) =
                at_rest.into_iter().partition(|(file, _)| plugin_name(file).map_or(true, |name| names.insert(name)));
            let loaded = at_once(&first, |(file, stamps)| (self.in_use(file), self.load(registry, file, **stamps)));
            for ((file, stamps), (in_use, loaded)) in first.into_iter().zip(loaded) {
                if let Some(loaded) = loaded {
                    match loaded {
                        Ok(_) => self.refused.remove(file),
                        Err(_) => self.refused.insert(file.clone(), in_use),
                    };
                    self.handled.insert(file.clone(), *stamps);
                    registry.put(file, loaded);
                }
            }
            at_rest = later;
        }
        self.seen = found;
    }

    /// What was refused since it does not take a configuration may take the one that rules have now.
    fn try_again_where_rules_have_changed(&mut self) {
        let changed = self.refused.iter().filter(|(file, before)| self.in_use(file) != **before);
        for file in changed.map(|(file, _)| file.clone()).collect::<Vec<_>>() {
            self.refused.remove(&file);
            self.handled.remove(&file);
        }
    }

    fn in_use(&self, file: &str) -> Vec<Value> {
        plugin_name(file).map(|name| self.activation.in_use(&name)).unwrap_or_default()
    }

    /// What becomes of a file; nothing yet where it changes just now.
    fn load(&self, registry: &Registry, file: &str, stamps: Stamps) -> Option<Loaded> {
        let loaded = match registry.free_name(file).map_err(ReadError::Refused).and_then(|name| {
            let bytes_max = registry.loader().policy.of(&name).limits.file_bytes;
            Ok((name, read_both(&self.directory, file, stamps, bytes_max)?))
        }) {
            Ok((name, (bytes, signature))) => {
                let tried = self.activation.load(&name, bytes.into(), signature.as_deref(), self.is_start);
                tried.and_then(|tried| self.judged(tried))
            }
            Err(ReadError::Changed) => return None,
            Err(ReadError::Refused(reason)) => Err(reason),
        };
        match &loaded {
            Ok((active, warning)) => {
                let (plugin, hash, is_signed) = (&active.name, &active.component.hash, active.is_signed());
                match warning {
                    None => info!(%plugin, file, hash, is_signed, "plugin active"),
                    Some(warning) => {
                        warn!(%plugin, file, hash, is_signed, ?warning, "plugin active, and may not serve its rules");
                    }
                }
            }
            Err(error) => warn!(file, error, "cannot activate a plugin"),
        }
        Some(loaded)
    }

    /// See [`crate::plugin::registry::activation`] for why the start is another matter.
    fn judged(&self, (active, tried): (Active, Result<(), Unfit>)) -> Loaded {
        match tried {
            Ok(()) => Ok((active, None)),
            Err(unfit) if self.is_start => Ok((active, Some(unfit.to_string()))),
            Err(unfit) => Err(unfit.to_string()),
        }
    }

    /// Said once; what is active stays.
    fn cannot_look(&mut self, error: &io::Error) {
        if self.is_readable {
            warn!(directory = %self.directory.display(), %error, "cannot read the plugin directory; plugins stay as they are");
        }
        self.is_readable = false;
    }
}

/// Does the work on all, as many at once as there may be children, and gives back the results in order.
fn at_once<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(all.len()));
    let take_turns = || {
        while let Some((number, one)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, all.get(at)?)))
        {
            let result = work(one);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((number, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..PLUGIN_CHILDREN_MAX.min(all.len()) {
            scope.spawn(take_turns);
        }
        take_turns();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The `.wasm` entries of the directory; hidden ones are other programs' drafts.
fn look(directory: &Path, has_signers: bool) -> io::Result<BTreeMap<String, Stamps>> {
    let stamp = |file: &str| fs::metadata(directory.join(file)).ok().map(|metadata| Stamp::of(&metadata));
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let Ok(file) = entry?.file_name().into_string() else { continue };
        let is_component = file.ends_with(".wasm") && !file.starts_with('.');
        if !is_component {
            continue;
        }
        // What vanishes meanwhile, or leads nowhere, is not there.
        if let Some(component) = stamp(&file) {
            let signature = if has_signers { stamp(&signature_of(&file)) } else { None };
            found.insert(file, Stamps { component, signature });
        }
    }
    Ok(found)
}

fn signature_of(file: &str) -> String {
    format!("{file}{SIGNATURE_SUFFIX}")
}

enum ReadError {
    /// It changed while it was read; the next look sees it again.
    Changed,
    /// It will not do, in words.
    Refused(String),
}

/// The bytes of a plugin's file and of its signature.
fn read_both(
    directory: &Path,
    file: &str,
    stamps: Stamps,
    bytes_max: u64,
) -> Result<(Vec<u8>, Option<Vec<u8>>), ReadError> {
    let component = read(directory, file, stamps.component, bytes_max)?;
    let Some(stamp) = stamps.signature else { return Ok((component, None)) };
    if stamp.bytes > SIGNATURE_BYTES_MAX {
        let kib = SIGNATURE_BYTES_MAX / 1024;
        return Err(ReadError::Refused(format!(
            "its signature ({SIGNATURE_SUFFIX}) is longer than {kib} KiB: it is none"
        )));
    }
    let of_signature = |error| match error {
        ReadError::Refused(reason) => ReadError::Refused(format!("its signature ({SIGNATURE_SUFFIX}): {reason}")),
        changed => changed,
    };
    let signature = read(directory, &signature_of(file), stamp, SIGNATURE_BYTES_MAX).map_err(of_signature)?;
    Ok((component, Some(signature)))
}

/// The file's bytes: opened once, a regular file within the directory, within the size, and the same before and after.
fn read(directory: &Path, file: &str, stamp: Stamp, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
    let gone = |_| ReadError::Changed;
    let home = directory.canonicalize().map_err(gone)?;
    let path = directory.join(file).canonicalize().map_err(gone)?;
    if !path.starts_with(&home) {
        let reason = format!("it is a link out of the directory, to {}; copy the file instead", path.display());
        return Err(ReadError::Refused(reason));
    }
    let unreadable = |error: io::Error| ReadError::Refused(format!("it cannot be read: {error}"));
    // Without blocking: a FIFO would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut opened: File =
        rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| unreadable(error.into()))?.into();
    let metadata = opened.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(ReadError::Refused("it is no regular file".to_owned()));
    }
    if metadata.len() > bytes_max {
        return Err(ReadError::Refused(Refusal::too_large(metadata.len(), bytes_max).to_string()));
    }
    let mut bytes = Vec::new();
    opened.by_ref().take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let is_whole = Stamp::of(&metadata) == stamp && opened.metadata().is_ok_and(|after| Stamp::of(&after) == stamp);
    if is_whole { Ok(bytes) } else { Err(ReadError::Changed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_at_once_is_done_once_each_and_in_order() {
        let all: Vec<usize> = (0..100).collect();
        assert_eq!(at_once(&all, |number| number * 2), (0..200).step_by(2).collect::<Vec<_>>());
        assert!(at_once(&[] as &[usize], |number| *number).is_empty());
    }
}
