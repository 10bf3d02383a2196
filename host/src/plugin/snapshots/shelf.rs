//! Where snapshots stand ready, by plugin and configuration; the least recently used makes room.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::limits::{SNAPSHOT_RETRY_AFTER, SNAPSHOTS_BYTES_MAX, SNAPSHOTS_MAX};
use crate::plugin::registry::PluginKey;

/// What is known of a plugin with a configuration.
#[derive(Debug)]
pub(in crate::plugin) enum Known<T> {
    /// The snapshot, and the bytes that it takes.
    Ready(Arc<T>, usize),
    /// It is configured per instance, for this reason.
    Unfit(String),
    /// Somebody is at work on it.
    InWork,
    /// It failed then; what failed may pass.
    Failed(Instant),
}

/// What a payload does about it.
pub(in crate::plugin) enum Taken<T> {
    /// It starts from this.
    Ready(Arc<T>),
    /// It is configured by itself, and whoever was told so has a snapshot made.
    Wanted(InWork<T>),
    /// It is configured by itself.
    None,
}

/// What a check does about it.
pub(in crate::plugin) enum Awaited<T> {
    /// Payloads start from a snapshot.
    Ready,
    /// It is configured per instance, for this reason.
    Unfit(String),
    /// Whoever was told so has a snapshot made.
    Wanted(InWork<T>),
}

struct Entry<T> {
    /// Without the configuration.
    plugin: PluginKey,
    known: Known<T>,
    used: u64,
}

struct Entries<T> {
    by_key: HashMap<PluginKey, Entry<T>>,
    uses: u64,
}

pub(in crate::plugin) struct Shelf<T> {
    entries: Mutex<Entries<T>>,
    work_is_done: Condvar,
}

/// The right to work on an entry, alone. Dropped without a result, it is as if nobody had begun.
pub(in crate::plugin) struct InWork<T> {
    shelf: Arc<Shelf<T>>,
    key: PluginKey,
    is_done: bool,
}

impl<T> Shelf<T> {
    pub(in crate::plugin) fn new() -> Arc<Self> {
        let entries = Mutex::new(Entries { by_key: HashMap::new(), uses: 0 });
        Arc::new(Self { entries, work_is_done: Condvar::new() })
    }

    /// For a payload: never waits.
    pub(in crate::plugin) fn take(self: &Arc<Self>, key: PluginKey, plugin: PluginKey) -> Taken<T> {
        let mut entries = self.lock();
        match entries.used(&key) {
            Some(Known::Ready(snapshot, _)) => return Taken::Ready(snapshot.clone()),
            Some(Known::Failed(at)) if at.elapsed() >= SNAPSHOT_RETRY_AFTER => {}
            Some(_) => return Taken::None,
            None => {}
        }
        Taken::Wanted(self.begin(&mut entries, key, plugin))
    }

    /// For a check: waits while somebody else is at work on it, and hands out the work where there is nothing.
    pub(in crate::plugin) fn wait_for(self: &Arc<Self>, key: PluginKey, plugin: PluginKey) -> Awaited<T> {
        let mut entries = self.lock();
        loop {
            match entries.used(&key) {
                Some(Known::Ready(..)) => return Awaited::Ready,
                Some(Known::Unfit(reason)) => return Awaited::Unfit(reason.clone()),
                Some(Known::InWork) => {
                    entries = self.work_is_done.wait(entries).unwrap_or_else(PoisonError::into_inner);
                }
                Some(Known::Failed(_)) | None => return Awaited::Wanted(self.begin(&mut entries, key, plugin)),
            }
        }
    }

    /// Why a plugin is configured per instance, where it is.
    pub(in crate::plugin) fn unfit(&self, plugin: &PluginKey) -> Option<String> {
        let entries = self.lock();
        entries.by_key.values().filter(|entry| entry.plugin == *plugin).find_map(|entry| match &entry.known {
            Known::Unfit(reason) => Some(reason.clone()),
            _ => None,
        })
    }

    fn begin(self: &Arc<Self>, entries: &mut Entries<T>, key: PluginKey, plugin: PluginKey) -> InWork<T> {
        entries.put(key, plugin, Known::InWork);
        InWork { shelf: self.clone(), key, is_done: false }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> InWork<T> {
    /// Says what came of it.
    pub(in crate::plugin) fn finish(mut self, known: Known<T>) {
        self.is_done = true;
        let mut entries = self.shelf.lock();
        if let Some(entry) = entries.by_key.get_mut(&self.key) {
            entry.known = known;
        }
        entries.make_room(&self.key);
        self.shelf.work_is_done.notify_all();
    }
}

impl<T> Drop for InWork<T> {
    fn drop(&mut self) {
        if !self.is_done {
            self.shelf.lock().by_key.remove(&self.key);
            self.shelf.work_is_done.notify_all();
        }
    }
}

impl<T> Entries<T> {
    fn used(&mut self, key: &PluginKey) -> Option<&Known<T>> {
        self.uses += 1;
        let entry = self.by_key.get_mut(key)?;
        entry.used = self.uses;
        Some(&entry.known)
    }

    fn put(&mut self, key: PluginKey, plugin: PluginKey, known: Known<T>) {
        self.by_key.insert(key, Entry { plugin, known, used: self.uses });
        self.make_room(&key);
    }

    /// Until the rest fits, but for the entry itself and what is in work. Payloads that have begun keep what they have.
    fn make_room(&mut self, kept: &PluginKey) {
        while self.by_key.len() > SNAPSHOTS_MAX || self.bytes() > SNAPSHOTS_BYTES_MAX {
            let others = self.by_key.iter().filter(|(key, _)| *key != kept);
            let idle = others.filter(|(_, entry)| !matches!(entry.known, Known::InWork));
            let Some(key) = idle.min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key) else { return };
            self.by_key.remove(&key);
        }
    }

    fn bytes(&self) -> usize {
        self.by_key.values().map(|entry| if let Known::Ready(_, bytes) = entry.known { bytes } else { 0 }).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// That of the plugin alone.
    const PLUGIN: usize = 0;

    fn key(number: usize) -> PluginKey {
        PluginKey(blake3::hash(&number.to_le_bytes()))
    }

    fn wanted(shelf: &Arc<Shelf<u32>>, number: usize) -> Option<InWork<u32>> {
        match shelf.take(key(number), key(PLUGIN)) {
            Taken::Wanted(work) => Some(work),
            _ => None,
        }
    }

    fn is_ready(shelf: &Arc<Shelf<u32>>, number: usize) -> bool {
        matches!(shelf.take(key(number), key(PLUGIN)), Taken::Ready(_))
    }

    #[test]
    fn the_first_payload_asks_for_it_and_all_go_on_without_until_it_is_there() {
        let shelf = Shelf::new();
        let work = wanted(&shelf, 1).unwrap();
        assert!(wanted(&shelf, 1).is_none() && !is_ready(&shelf, 1));
        work.finish(Known::Ready(Arc::new(7), 1));
        assert!(is_ready(&shelf, 1));
    }

    #[test]
    fn a_check_waits_for_the_work_of_another_and_takes_over_what_was_dropped() {
        let shelf = Shelf::<u32>::new();
        let work = wanted(&shelf, 1).unwrap();
        let waiting = thread::spawn({
            let shelf = shelf.clone();
            move || matches!(shelf.wait_for(key(1), key(PLUGIN)), Awaited::Unfit(_))
        });
        work.finish(Known::Unfit("it kept a stream".to_owned()));
        assert!(waiting.join().unwrap());
        assert_eq!(shelf.unfit(&key(PLUGIN)).unwrap(), "it kept a stream");
        assert_eq!(shelf.unfit(&key(9)), None);
        drop(wanted(&shelf, 2).unwrap());
        assert!(matches!(shelf.wait_for(key(2), key(PLUGIN)), Awaited::Wanted(_)));
    }

    #[test]
    fn a_failure_is_not_tried_again_by_every_payload_but_by_every_check() {
        let shelf = Shelf::<u32>::new();
        wanted(&shelf, 1).unwrap().finish(Known::Failed(Instant::now()));
        assert!(wanted(&shelf, 1).is_none());
        assert!(matches!(shelf.wait_for(key(1), key(PLUGIN)), Awaited::Wanted(_)));
        wanted(&shelf, 1).unwrap().finish(Known::Failed(Instant::now() - SNAPSHOT_RETRY_AFTER));
        assert!(wanted(&shelf, 1).is_some());
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let shelf = Shelf::new();
        let third = SNAPSHOTS_BYTES_MAX / 3;
        for number in 0..3 {
            wanted(&shelf, number).unwrap().finish(Known::Ready(Arc::new(0), third));
        }
        assert!(is_ready(&shelf, 0));
        wanted(&shelf, 3).unwrap().finish(Known::Ready(Arc::new(0), third));
        assert!(is_ready(&shelf, 0) && is_ready(&shelf, 2) && is_ready(&shelf, 3));
        assert!(wanted(&shelf, 1).is_some());
        wanted(&shelf, 4).unwrap().finish(Known::Ready(Arc::new(0), SNAPSHOTS_BYTES_MAX + 1));
        assert!(is_ready(&shelf, 4) && !is_ready(&shelf, 0));
    }
}
