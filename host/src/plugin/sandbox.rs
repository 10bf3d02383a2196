//! What one instance can reach and use: the document, the body, its output, and the counters that bound it all.
//!
//! Made afresh for every plugin and payload; nothing in it outlives the call.

pub(super) mod bindings;
pub(super) mod budget;
pub(super) mod call;
pub(super) mod engine;
pub(super) mod frames;
pub(super) mod granted;
pub(super) mod host_document;
pub(super) mod host_output;
pub(super) mod linked;
pub(super) mod linker;
pub(super) mod output_ring;
pub(super) mod shape;

use std::sync::Arc;
use std::time::Duration;

use wasmtime::ResourceLimiter;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use crate::document::Document;
use crate::model::payload::Body;
use crate::model::plugin::PluginName;
use crate::plugin::guest_log::LogLine;
use crate::plugin::limits::PluginLimits;
use crate::plugin::sandbox::budget::{OutOfTime, TimeBudget};
use crate::plugin::sandbox::granted::Randomness;
use crate::plugin::sandbox::linked::{Links, Stop};
use crate::plugin::sandbox::output_ring::OutputRing;

/// A limit that a guest has hit, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LimitHit {
    #[error("it needs more than its {} MiB of memory (limit `memory_mib`)", .0 / 1024 / 1024)]
    Memory(usize),
    #[error("it needs more than its {0} table elements (limit `table_elements`)")]
    Table(usize),
    #[error("it called the host more than {0} times (limit `host_calls`)")]
    HostCalls(u64),
    #[error("it read more than {} MiB (limit `read_mib`)", .0 / 1024 / 1024)]
    BytesOut(u64),
    #[error("it holds more than its {0} handles (limit `handles`)")]
    Handles(usize),
    #[error("it asked for more than {0} random bytes at once")]
    Random(u64),
    #[error("it wrote more than {} MiB (limit `write_mib`)", .0 / 1024 / 1024)]
    BytesIn(u64),
}

/// The state of one instance.
pub(super) struct Sandbox {
    pub(super) plugin: PluginName,
    pub(super) document: Document,
    pub(super) links: Arc<Links>,
    /// Set where the host ended the guest's call.
    pub(super) stop: Option<Stop>,
    /// Head of the body that a render stage fills; its bytes are in `written`.
    pub(super) body: Body,
    pub(super) written: Vec<u8>,
    pub(super) output: OutputRing,
    pub(super) log: Vec<LogLine>,
    pub(super) usage: Usage,
    pub(super) time: TimeBudget,
    pub(super) out_of_time: Option<OutOfTime>,
    table: ResourceTable,
    wasi: WasiCtx,
    /// The time, once it was asked for.
    now: Option<Duration>,
    random: Option<Randomness>,
}

/// What an instance has used of its limits.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    pub(super) limits: PluginLimits,
    pub(super) memory_bytes: usize,
    pub(super) table_elements: usize,
    pub(super) host_calls: u64,
    pub(super) bytes_out: u64,
    pub(super) bytes_in: u64,
    /// Handles to runs that the guest holds now, and at most so far.
    pub(super) handles: usize,
    pub(super) handles_max: usize,
    pub(super) log_lines: u64,
    pub(super) hit: Option<LimitHit>,
}

impl Sandbox {
    pub(super) fn new(plugin: PluginName, document: Document, links: Arc<Links>, limits: PluginLimits) -> Self {
        let cpu = limits.cpu(document.source_len() + links.len_bytes());
        let output = OutputRing::of(limits.output_bytes);
        let wasi = WasiCtx::builder().stdout(output.clone()).stderr(output.clone()).build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        Self {
            plugin,
            document,
            links,
            stop: None,
            body: Body::json(bytes::Bytes::new()),
            written: Vec::new(),
            output,
            log: Vec::new(),
            usage: Usage::new(limits),
            time: TimeBudget::begin(cpu, cpu * limits.wall_factor),
            out_of_time: None,
            table,
            wasi,
            now: None,
            random: None,
        }
    }

    /// Whether the guest holds a stream or the like, which only this instance can have.
    pub(super) fn holds_handles(&self) -> bool {
        !self.table.is_empty()
    }

    /// Looked at whenever the epoch moves on.
    pub(super) fn check_time(&mut self) -> wasmtime::Result<()> {
        self.time.check().map_err(|out_of_time| {
            self.out_of_time = Some(out_of_time);
            wasmtime::Error::from(out_of_time)
        })
    }
}

impl Usage {
    fn new(limits: PluginLimits) -> Self {
        Self {
            limits,
            memory_bytes: 0,
            table_elements: 0,
            host_calls: 0,
            bytes_out: 0,
            bytes_in: 0,
            handles: 0,
            handles_max: 0,
            log_lines: 0,
            hit: None,
        }
    }

    /// Counts a call into the host.
    pub(super) fn call(&mut self) -> wasmtime::Result<()> {
        self.host_calls += 1;
        let max = self.limits.host_calls;
        self.bound(self.host_calls <= max, LimitHit::HostCalls(max))
    }

    /// Counts bytes that are handed to the guest, and hands them over.
    pub(super) fn hand_out<T: AsRef<str>>(&mut self, text: T) -> wasmtime::Result<T> {
        self.count_out(text.as_ref().len() as u64)?;
        Ok(text)
    }

    fn count_out(&mut self, bytes: u64) -> wasmtime::Result<()> {
        self.bytes_out += bytes;
        let max = self.limits.bytes_out;
        self.bound(self.bytes_out <= max, LimitHit::BytesOut(max))
    }

    /// Counts bytes that come from the guest.
    pub(super) fn take_in(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.bytes_in += bytes as u64;
        let max = self.limits.bytes_in;
        self.bound(self.bytes_in <= max, LimitHit::BytesIn(max))
    }

    /// Counts a handle to a run that the guest is given. The bound is the engine's.
    pub(super) fn give_handle(&mut self) {
        self.handles += 1;
        self.handles_max = self.handles_max.max(self.handles);
    }

    /// Counts one that it has let go.
    pub(super) fn take_handle(&mut self) {
        self.handles = self.handles.saturating_sub(1);
    }

    fn bound(&mut self, is_within: bool, hit: LimitHit) -> wasmtime::Result<()> {
        if is_within { Ok(()) } else { Err(self.hit(hit)) }
    }

    fn hit(&mut self, hit: LimitHit) -> wasmtime::Error {
        self.hit = Some(hit.clone());
        hit.into()
    }
}

impl ResourceLimiter for Usage {
    /// Sums all memories; `StoreLimits` of wasmtime counts each by itself.
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let needed = self.memory_bytes + desired.saturating_sub(current);
        let is_within = needed <= self.limits.memory_bytes;
        if is_within {
            self.memory_bytes = needed;
        } else {
            self.hit = Some(LimitHit::Memory(self.limits.memory_bytes));
        }
        Ok(is_within)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let needed = self.table_elements + desired.saturating_sub(current);
        let is_within = needed <= self.limits.table_elements;
        if is_within {
            self.table_elements = needed;
        } else {
            self.hit = Some(LimitHit::Table(self.limits.table_elements));
        }
        Ok(is_within)
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
