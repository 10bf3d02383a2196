//! What is known of plugins that fail: their last failures, and who is in quarantine.
//!
//! A quarantine is of a plugin *with one configuration*: a configuration that a rule gives may be what makes it fail, and
//! must not keep other rules from using it. Its key is the snapshots', which has the plugin's name and the component's hash
//! in it, so that a newer file starts clean, and a copy under another name is another plugin. Where a plugin is at fault
//! itself, each of its configurations finds that out with five faults.
//!
//! Nothing is kept of what does not fail, and asking for that costs one load of a counter.

pub(super) mod failures;
mod quarantine;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::limits::{AILING_PLUGINS_MAX, QUARANTINE_FAULTS, QUARANTINE_WINDOW};
use crate::model::Timestamp;
use crate::model::ids::PayloadId;
use crate::model::plugin::{PluginFailure, PluginFailureKind, PluginName};
use crate::plugin::health::failures::{FailureCount, FailureRecord, Failures};
use crate::plugin::health::quarantine::{Admission, Course, Quarantine};
use crate::plugin::registry::PluginKey;
use crate::plugin::sandbox::call::Usage;

/// A plugin that is not run for now, with the configuration that this is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineInfo {
    /// The configuration, JSON.
    pub config: String,
    /// Since when.
    pub since: Timestamp,
    /// When the next payload is the probe.
    pub probe_at: Timestamp,
    /// The last fault, in words.
    pub cause: String,
    /// Payloads that did not meet the plugin because of it.
    pub turned_away: u64,
}

/// Whether a payload would meet a plugin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It would.
    Ready,
    /// It would be the probe that may end the quarantine.
    ProbeDue,
    /// It would not: the plugin is in quarantine, or there is none that can be run.
    Unready,
}

/// A plugin with a configuration that has failed of late.
struct Ailing {
    /// Without the configuration.
    plugin: PluginKey,
    config: String,
    course: Course,
}

pub(super) struct Health {
    clock: Arc<dyn Clock>,
    failures: Failures,
    ailing: Mutex<HashMap<PluginKey, Ailing>>,
    /// How many there are, so that nobody takes the lock to find that there is none.
    count: AtomicUsize,
}

/// The right to run a plugin once. A probe that is dropped without a word is another one's.
pub(super) struct Turn<'a> {
    health: &'a Health,
    key: PluginKey,
    is_probe: bool,
}

impl Health {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, failures: Failures::default(), ailing: Mutex::default(), count: AtomicUsize::new(0) }
    }

    /// Asked before a plugin is run on a payload.
    ///
    /// # Errors
    /// It is in quarantine; says since when, why and until when.
    pub(super) fn admit(&self, plugin: &PluginName, key: PluginKey) -> Result<Turn<'_>, PluginFailure> {
        let turn = |is_probe| Turn { health: self, key, is_probe };
        if self.count.load(Ordering::Relaxed) == 0 {
            return Ok(turn(false));
        }
        let mut ailing = self.lock();
        let Some(found) = ailing.get_mut(&key) else { return Ok(turn(false)) };
        let admission = found.course.admit(self.clock.now());
        match (admission, found.course.quarantine()) {
            (Admission::TurnedAway, Some(quarantine)) => Err(turned_away(plugin, quarantine)),
            (admission, _) => Ok(turn(admission == Admission::Probe)),
        }
    }

    /// As [`Health::admit`] would answer.
    pub(super) fn readiness(&self, key: &PluginKey) -> Readiness {
        match self.lock().get(key).map(|found| found.course.would_admit(self.clock.now())) {
            None | Some(Admission::Free) => Readiness::Ready,
            Some(Admission::Probe) => Readiness::ProbeDue,
            Some(Admission::TurnedAway) => Readiness::Unready,
        }
    }

    /// Remembers a failure. One by quarantine is none of the plugin's, and is counted with the quarantine.
    pub(super) fn remember(&self, failure: &PluginFailure, usage: Usage, payload: PayloadId, is_per_instance: bool) {
        if failure.kind != PluginFailureKind::Quarantined {
            let record = FailureRecord::of(failure, usage, payload, self.clock.now(), is_per_instance);
            self.failures.add(&failure.plugin, record);
        }
    }

    /// The newest first.
    pub(super) fn failures(&self, plugin: &PluginName) -> Vec<FailureRecord> {
        self.failures.of(plugin)
    }

    pub(super) fn failure_count(&self, plugin: &PluginName) -> FailureCount {
        self.failures.count(plugin)
    }

    /// Whether any plugin is in quarantine.
    pub(super) fn has_quarantines(&self) -> bool {
        let has_ailing = self.count.load(Ordering::Relaxed) > 0;
        has_ailing && self.lock().values().any(|found| found.course.quarantine().is_some())
    }

    /// The quarantines of a plugin, the newest first.
    pub(super) fn quarantines(&self, plugin: &PluginKey) -> Vec<QuarantineInfo> {
        let ailing = self.lock();
        let of_plugin = ailing.values().filter(|found| found.plugin == *plugin);
        let info = |found: &Ailing| {
            let Quarantine { since, cause, probe_at, turned_away, .. } = found.course.quarantine()?.clone();
            Some(QuarantineInfo { config: found.config.clone(), since, probe_at, cause, turned_away })
        };
        let mut all: Vec<_> = of_plugin.filter_map(info).collect();
        all.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.config.cmp(&b.config)));
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PluginKey, Ailing>> {
        self.ailing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is over goes, and beyond the bound what has failed least recently.
    fn make_room(&self, ailing: &mut HashMap<PluginKey, Ailing>) {
        let now = self.clock.now();
        ailing.retain(|_, found| !found.course.is_over(now));
        if ailing.len() >= AILING_PLUGINS_MAX {
            let oldest = ailing.iter().min_by_key(|(_, found)| found.course.last()).map(|(key, _)| *key);
            oldest.map(|key| ailing.remove(&key));
        }
        self.count.store(ailing.len(), Ordering::Relaxed);
    }
}

impl Turn<'_> {
    /// The plugin did its work, or said in its own words that it does not.
    pub(super) fn passed(mut self, plugin: &PluginName) {
        if self.is_probe {
            self.is_probe = false;
            info!(%plugin, "a plugin is out of quarantine");
            let mut ailing = self.health.lock();
            if let Some(found) = ailing.get_mut(&self.key) {
                found.course.passed_probe();
            }
            self.health.make_room(&mut ailing);
        }
    }

    /// It broke down. `plugin` is its key without the configuration.
    pub(super) fn faulted(mut self, plugin: PluginKey, config: &str, failure: &PluginFailure) {
        let is_probe = std::mem::take(&mut self.is_probe);
        let (health, now) = (self.health, self.health.clock.now());
        let mut ailing = health.lock();
        if !ailing.contains_key(&self.key) {
            health.make_room(&mut ailing);
        }
        let found = match ailing.entry(self.key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                entry.insert(Ailing { plugin, config: config.to_owned(), course: Course::default() })
            }
        };
        if found.course.faulted(now, is_probe, &failure.message) {
            let (plugin, cause) = (&failure.plugin, &failure.message);
            warn!(%plugin, ?cause, "a plugin is in quarantine: its `on_error` applies at once until a probe passes");
        }
        health.count.store(ailing.len(), Ordering::Relaxed);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_probe
            && let Some(found) = self.health.lock().get_mut(&self.key)
        {
            found.course.gave_probe_back();
        }
    }
}

fn turned_away(plugin: &PluginName, quarantine: &Quarantine) -> PluginFailure {
    let Quarantine { since, cause, probe_at, .. } = quarantine;
    let window = QUARANTINE_WINDOW.as_secs();
    let message = format!(
        "it is in quarantine since {since:.0}, after {QUARANTINE_FAULTS} faults within {window} s, and is tried again from \
         {probe_at:.0} on; the last fault: {cause}"
    );
    PluginFailure { plugin: plugin.clone(), export: "load".to_owned(), kind: PluginFailureKind::Quarantined, message }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    fn key(number: usize) -> PluginKey {
        PluginKey(blake3::hash(&number.to_le_bytes()))
    }

    struct Scene {
        health: Health,
        clock: ManualClock,
        plugin: PluginName,
    }

    impl Scene {
        fn set() -> Self {
            let clock = ManualClock::at("2026-07-01T09:00:00Z".parse().unwrap());
            Self { health: Health::new(Arc::new(clock.clone())), clock, plugin: "any".parse().unwrap() }
        }

        fn fault(&self, number: usize) {
            let failure = PluginFailure {
                plugin: self.plugin.clone(),
                export: "keep".to_owned(),
                kind: PluginFailureKind::Trap,
                message: "it trapped".to_owned(),
            };
            self.health.admit(&self.plugin, key(number)).unwrap().faulted(key(0), "{}", &failure);
        }

        fn ailing(&self) -> usize {
            assert_eq!(self.health.count.load(Ordering::Relaxed), self.health.lock().len());
            self.health.lock().len()
        }
    }

    #[test]
    fn of_too_many_the_one_that_failed_least_recently_starts_anew() {
        let scene = Scene::set();
        for number in 0..AILING_PLUGINS_MAX + 10 {
            scene.fault(number);
            scene.clock.advance(Duration::from_millis(1));
        }
        assert_eq!(scene.ailing(), AILING_PLUGINS_MAX);
        let is_known = |number| scene.health.lock().contains_key(&key(number));
        assert!(!is_known(9) && is_known(10));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let scene = Scene::set();
        scene.fault(1);
        scene.clock.advance(QUARANTINE_WINDOW);
        scene.fault(2);
        assert_eq!(scene.ailing(), 1);
        for _ in 1..QUARANTINE_FAULTS {
            scene.fault(2);
        }
        assert_eq!(scene.health.readiness(&key(2)), Readiness::Unready);
        assert!(scene.health.has_quarantines());
        scene.clock.advance(Duration::from_secs(1));
        scene.health.admit(&scene.plugin, key(2)).unwrap().passed(&scene.plugin);
        assert_eq!((scene.ailing(), scene.health.has_quarantines()), (0, false));
    }

    #[test]
    fn a_probe_that_ends_without_a_word_is_given_back() {
        let scene = Scene::set();
        for _ in 0..QUARANTINE_FAULTS {
            scene.fault(1);
        }
        scene.clock.advance(Duration::from_secs(1));
        let probe = scene.health.admit(&scene.plugin, key(1)).unwrap();
        assert!(scene.health.admit(&scene.plugin, key(1)).is_err());
        drop(probe);
        assert!(scene.health.admit(&scene.plugin, key(1)).is_ok());
    }
}
