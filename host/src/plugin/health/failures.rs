//! The last failures of each plugin, in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::limits::{FAILING_PLUGINS_MAX, PLUGIN_FAILURE_OUTPUT_BYTES_MAX, PLUGIN_FAILURES_KEPT};
use crate::model::Timestamp;
use crate::model::ids::PayloadId;
use crate::model::plugin::{PluginFailure, PluginFailureKind, PluginName};
use crate::plugin::sandbox::call::Usage;

/// A payload that a plugin failed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// When.
    pub at: Timestamp,
    /// The payload.
    pub payload_id: PayloadId,
    /// The export that was running; see [`PluginFailure::export`].
    pub export: String,
    /// What kind of failure.
    pub kind: PluginFailureKind,
    /// The cause in words.
    pub message: String,
    /// The end of what the plugin printed, at most [`PLUGIN_FAILURE_OUTPUT_BYTES_MAX`] bytes.
    pub printed: String,
    /// Where it was stopped, the innermost call first; none where it returned an error.
    pub frames: Vec<String>,
    /// Whether it was configured for this payload alone, as it is where there is no snapshot.
    pub is_per_instance: bool,
}

/// How often a plugin has failed since the host started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// Failures, those that are no longer remembered included.
    pub count: u64,
    /// The last one.
    pub last_at: Option<Timestamp>,
}

impl FailureRecord {
    pub(in crate::plugin) fn of(
        failure: &PluginFailure,
        usage: Usage,
        payload_id: PayloadId,
        at: Timestamp,
        is_per_instance: bool,
    ) -> Self {
        let first_kept = usage.output.len().saturating_sub(PLUGIN_FAILURE_OUTPUT_BYTES_MAX);
        Self {
            at,
            payload_id,
            export: failure.export.clone(),
            kind: failure.kind,
            message: failure.message.clone(),
            printed: usage.output[usage.output.ceil_char_boundary(first_kept)..].to_owned(),
            frames: usage.frames,
            is_per_instance,
        }
    }
}

/// What is remembered of one plugin.
#[derive(Default)]
struct Remembered {
    count: FailureCount,
    /// The oldest first.
    last: VecDeque<FailureRecord>,
}

/// Of all plugins, by name: a newer file of the same name goes on with the list.
#[derive(Default)]
pub(super) struct Failures {
    by_plugin: Mutex<HashMap<PluginName, Remembered>>,
}

impl Failures {
    pub(super) fn add(&self, plugin: &PluginName, record: FailureRecord) {
        let mut by_plugin = self.lock();
        if by_plugin.len() >= FAILING_PLUGINS_MAX && !by_plugin.contains_key(plugin) {
            let oldest = by_plugin.iter().min_by_key(|(_, known)| known.count.last_at);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                by_plugin.remove(&name);
            }
        }
        let known = by_plugin.entry(plugin.clone()).or_default();
        known.count = FailureCount { count: known.count.count + 1, last_at: Some(record.at) };
        known.last.push_back(record);
        let excess = known.last.len().saturating_sub(PLUGIN_FAILURES_KEPT);
        known.last.drain(..excess);
    }

    /// The newest first.
    pub(super) fn of(&self, plugin: &PluginName) -> Vec<FailureRecord> {
        self.lock().get(plugin).map(|known| known.last.iter().rev().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn count(&self, plugin: &PluginName) -> FailureCount {
        self.lock().get(plugin).map(|known| known.count).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PluginName, Remembered>> {
        self.by_plugin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::after;

    fn record(number: u64, output: &str) -> FailureRecord {
        let failure = PluginFailure {
            plugin: "any".parse().unwrap(),
            export: "keep".to_owned(),
            kind: PluginFailureKind::Trap,
            message: number.to_string(),
        };
        let usage = Usage { output: output.to_owned(), ..Usage::default() };
        let at = after(Timestamp::UNIX_EPOCH, Duration::from_secs(number));
        FailureRecord::of(&failure, usage, PayloadId::generate(), at, false)
    }

    #[test]
    fn the_last_failures_are_remembered_and_all_are_counted() {
        let (failures, name) = (Failures::default(), "any".parse().unwrap());
        for number in 0..100 {
            failures.add(&name, record(number, ""));
        }
        let messages: Vec<_> = failures.of(&name).into_iter().map(|record| record.message).collect();
        let expected: Vec<_> = (80..100).rev().map(|number: u64| number.to_string()).collect();
        assert_eq!(messages, expected);
        let last_at = Some(after(Timestamp::UNIX_EPOCH, Duration::from_secs(99)));
        assert_eq!(failures.count(&name), FailureCount { count: 100, last_at });
        assert_eq!(failures.count(&"other".parse().unwrap()), FailureCount::default());
    }

    #[test]
    fn of_too_many_plugins_the_one_that_failed_least_recently_is_forgotten() {
        let failures = Failures::default();
        let name = |number: u64| format!("plugin-{number}").parse::<PluginName>().unwrap();
        for number in 0..=FAILING_PLUGINS_MAX as u64 {
            failures.add(&name(number), record(number, ""));
        }
        assert!(failures.of(&name(0)).is_empty() && !failures.of(&name(1)).is_empty());
        assert_eq!(failures.lock().len(), FAILING_PLUGINS_MAX);
    }

    #[test]
    fn the_end_of_what_was_printed_is_kept_between_characters() {
        let printed = record(1, &format!("{}end", "ä".repeat(5000))).printed;
        assert!(printed.len() <= PLUGIN_FAILURE_OUTPUT_BYTES_MAX && printed.ends_with("äend"));
    }
}
