//! What a guest may use, per plugin and payload, each with its why. Enforced by `sandbox`.

use std::fmt;
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
    /// Handles to runs and streams that the guest holds at once.
    pub handles: usize,
    /// Log lines of the guest that are kept.
    pub log_lines: u64,
    /// Bytes of what it prints that are kept, its last ones.
    pub output_bytes: usize,
    /// Size of the component's file in bytes.
    pub file_bytes: u64,
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Log lines that any policy may have kept.
pub(super) const LOG_LINES_MAX: usize = 10_000;

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
            handles: 10_000,
            log_lines: 1_000,
            output_bytes: 16 * KIB as usize,
            file_bytes: 16 * MIB,
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

    /// The larger of each.
    pub(super) fn max(mut self, other: &Self) -> Self {
        for name in LimitName::ALL {
            if name.of(other) > name.of(&self) {
                name.put(&mut self, name.of(other));
            }
        }
        self
    }
}

/// A limit by the name that it has in a policy; the name's end is its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    /// [`PluginLimits::cpu_base`]
    CpuMs,
    /// [`PluginLimits::cpu_per_mib`]
    CpuMsPerMib,
    /// [`PluginLimits::wall_factor`]
    WallFactor,
    /// [`PluginLimits::memory_bytes`]
    MemoryMib,
    /// [`PluginLimits::table_elements`]
    TableElements,
    /// [`PluginLimits::host_calls`]
    HostCalls,
    /// [`PluginLimits::bytes_out`]
    ReadMib,
    /// [`PluginLimits::bytes_in`]
    WriteMib,
    /// [`PluginLimits::handles`]
    Handles,
    /// [`PluginLimits::log_lines`]
    LogLines,
    /// [`PluginLimits::output_bytes`]
    OutputKib,
    /// [`PluginLimits::file_bytes`]
    FileMib,
}

impl LimitName {
    /// All of them, in the order of the pages.
    pub const ALL: [Self; 12] = [
        Self::CpuMs,
        Self::CpuMsPerMib,
        Self::WallFactor,
        Self::MemoryMib,
        Self::TableElements,
        Self::HostCalls,
        Self::ReadMib,
        Self::WriteMib,
        Self::Handles,
        Self::LogLines,
        Self::OutputKib,
        Self::FileMib,
    ];

    /// The least that makes sense and the most that any policy may allow, in its unit: beyond it the host's own
    /// memory, its children's bounds or everybody's patience would suffer.
    pub(super) fn bounds(self) -> (u64, u64) {
        match self {
            Self::CpuMs | Self::CpuMsPerMib => (1, 60_000),
            Self::WallFactor => (1, 100),
            Self::MemoryMib => (1, 512),
            Self::TableElements => (1, 1_000_000),
            Self::HostCalls => (1, 1_000_000_000),
            Self::ReadMib => (1, 65_536),
            Self::WriteMib => (1, 1_024),
            Self::Handles => (1, 1_000_000),
            Self::LogLines => (0, LOG_LINES_MAX as u64),
            Self::OutputKib => (1, 1_024),
            Self::FileMib => (1, 64),
        }
    }

    /// Its value, in its unit.
    pub(super) fn of(self, limits: &PluginLimits) -> u64 {
        match self {
            Self::CpuMs => limits.cpu_base.as_millis() as u64,
            Self::CpuMsPerMib => limits.cpu_per_mib.as_millis() as u64,
            Self::WallFactor => limits.wall_factor.into(),
            Self::MemoryMib => limits.memory_bytes as u64 / MIB,
            Self::TableElements => limits.table_elements as u64,
            Self::HostCalls => limits.host_calls,
            Self::ReadMib => limits.bytes_out / MIB,
            Self::WriteMib => limits.bytes_in / MIB,
            Self::Handles => limits.handles as u64,
            Self::LogLines => limits.log_lines,
            Self::OutputKib => limits.output_bytes as u64 / KIB,
            Self::FileMib => limits.file_bytes / MIB,
        }
    }

    /// Sets it; the value is within its bounds.
    pub(super) fn put(self, limits: &mut PluginLimits, value: u64) {
        match self {
            Self::CpuMs => limits.cpu_base = Duration::from_millis(value),
            Self::CpuMsPerMib => limits.cpu_per_mib = Duration::from_millis(value),
            Self::WallFactor => limits.wall_factor = value as u32,
            Self::MemoryMib => limits.memory_bytes = (value * MIB) as usize,
            Self::TableElements => limits.table_elements = value as usize,
            Self::HostCalls => limits.host_calls = value,
            Self::ReadMib => limits.bytes_out = value * MIB,
            Self::WriteMib => limits.bytes_in = value * MIB,
            Self::Handles => limits.handles = value as usize,
            Self::LogLines => limits.log_lines = value,
            Self::OutputKib => limits.output_bytes = (value * KIB) as usize,
            Self::FileMib => limits.file_bytes = value * MIB,
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CpuMs => "cpu_ms",
            Self::CpuMsPerMib => "cpu_ms_per_mib",
            Self::WallFactor => "wall_factor",
            Self::MemoryMib => "memory_mib",
            Self::TableElements => "table_elements",
            Self::HostCalls => "host_calls",
            Self::ReadMib => "read_mib",
            Self::WriteMib => "write_mib",
            Self::Handles => "handles",
            Self::LogLines => "log_lines",
            Self::OutputKib => "output_kib",
            Self::FileMib => "file_mib",
        })
    }
}
