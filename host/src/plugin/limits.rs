//! What a guest may use, per plugin and payload, each with its why. Enforced by `sandbox` and `budget`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one plugin on one payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginLimits {
    /// CPU time of the guest's thread, configuration included; a filter needs microseconds per run.
    pub cpu_base: Duration,
    /// CPU time on top for each MiB of payload, since honest work grows with it.
    pub cpu_per_mib: Duration,
    /// The wall clock is allowed so many times the CPU time: a busy machine must not fail an innocent plugin.
    pub wall_factor: u32,
    /// Linear memory in bytes, summed over all memories of the instance.
    pub memory_bytes: usize,
    /// Elements of all tables.
    pub table_elements: usize,
    /// Calls from the guest into the host; a payload of 250 runs and 50 fields needs 12,500.
    pub host_calls: u64,
    /// Bytes handed to the guest, summed over all calls.
    pub bytes_out: u64,
    /// Bytes taken from the guest (edits, body, log), summed over all calls.
    pub bytes_in: u64,
    /// Size of the component's file in bytes.
    pub file_bytes: u64,
    /// Log lines of the guest that are kept.
    pub log_lines: u64,
}

const MIB: u64 = 1024 * 1024;

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            cpu_base: Duration::from_millis(50),
            cpu_per_mib: Duration::from_millis(50),
            wall_factor: 4,
            memory_bytes: 64 * MIB as usize,
            table_elements: 20_000,
            host_calls: 100_000,
            bytes_out: 512 * MIB,
            bytes_in: 128 * MIB,
            file_bytes: 16 * MIB,
            log_lines: 1_000,
        }
    }
}

impl PluginLimits {
    /// CPU time for a payload of that size.
    pub fn cpu(&self, payload_bytes: usize) -> Duration {
        self.cpu_base + self.cpu_per_mib.mul_f64(payload_bytes as f64 / MIB as f64)
    }

    /// Size of a snapshot at most: the component, its memory, and what is written about both.
    pub(super) fn snapshot_bytes(&self) -> u64 {
        2 * self.file_bytes + self.memory_bytes as u64
    }
}
