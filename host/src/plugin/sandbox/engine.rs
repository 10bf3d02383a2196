//! The engine's settings, and the ticker by which guests are interrupted.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::plugin::limits::PluginLimits;

/// How often a running guest is looked at: the bound on how far it overshoots its budget.
const TICK: Duration = Duration::from_millis(5);

/// Written memory that stays mapped in a pool's slot: saves the next instance its page faults. A plugin with four regular
/// expressions writes less than this to a small payload; 1 MiB gains nothing more.
const KEEP_RESIDENT_BYTES: usize = 512 * 1024;

/// Frames that are looked at where a guest traps, those that are not shown included. A call that does not trap pays
/// nothing for it: they are found by the frame pointers that the code keeps in any case.
const FRAMES_MAX: NonZeroUsize = NonZeroUsize::new(32).expect("it is not zero");

/// Instances at once, at least; address space is all that they cost.
const INSTANCES_MIN: u32 = 64;

/// Core modules of one component, instantiated: Rust's have a handful, Python's 38.
const CORE_INSTANCES_MAX: u32 = 64;

/// Instances at once: twice as many as there are guest threads, since slots are given back a moment late and plugins
/// are tried beside them.
fn instances_max() -> u32 {
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    u32::try_from(threads * 2).unwrap_or(INSTANCES_MIN).max(INSTANCES_MIN)
}

/// What guests run on.
pub(in crate::plugin) fn engine(limits: &PluginLimits) -> wasmtime::Result<Engine> {
    let mut config = settings();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits, instances_max())));
    Engine::new(&config)
}

/// What one guest at a time runs on, in a process of its own.
pub(in crate::plugin) fn for_one_guest(limits: &PluginLimits) -> wasmtime::Result<Engine> {
    let mut config = settings();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits, 1)));
    Engine::new(&config)
}

/// What compiles for [`engine`], on one thread.
pub(in crate::plugin) fn compiler() -> wasmtime::Result<Engine> {
    Engine::new(settings().parallel_compilation(false))
}

/// What snapshots are made on: one thread, one instance at a time, and no file in memory behind it.
pub(in crate::plugin) fn for_snapshots() -> wasmtime::Result<Engine> {
    // A failure over the configuration is told without frames: in a child nothing reads what a stranger's debug info says.
    let mut config = settings();
    config.parallel_compilation(false).memory_init_cow(false).wasm_backtrace_max_frames(None);
    Engine::new(&config)
}

fn pool(limits: &PluginLimits, instances_max: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max * CORE_INSTANCES_MAX)
        .total_memories(instances_max)
        .total_tables(instances_max * 4)
        // Guests are called on the caller's stack; by default a thousand others are kept ready, 2 GiB of them.
        .total_stacks(1)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(1)
        .max_tables_per_component(8)
        .max_memory_size(limits.memory_bytes)
        .max_component_instance_size(1024 * 1024)
        .max_core_instance_size(1024 * 1024)
        .table_elements(limits.table_elements)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        // Puts back the pages that were written to, wherever they are; without it, the lowest ones written to or not.
        .pagemap_scan(Enabled::Auto);
    pool
}

/// What machine code depends on, so that it can be made in another process and kept.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .memory_init_cow(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        .wasm_component_model(true)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .wasm_backtrace_max_frames(Some(FRAMES_MAX))
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .max_wasm_stack(512 * 1024);
    config
}

/// Moves the engine's epoch on while guests run, and rests while none does.
pub(in crate::plugin) struct Ticker {
    running: Arc<AtomicUsize>,
    thread: Thread,
}

/// A guest runs as long as this lives.
pub(in crate::plugin) struct Running {
    running: Arc<AtomicUsize>,
}

impl Ticker {
    /// Comes back when the thread is up: a child takes away soon what a thread needs to begin.
    pub(in crate::plugin) fn start(engine: &Engine) -> std::io::Result<Self> {
        let (began, has_begun) = mpsc::channel();
        let running = Arc::new(AtomicUsize::new(0));
        let (counted, engine) = (running.clone(), engine.weak());
        let handle = thread::Builder::new().name("guest-ticker".to_owned()).spawn(move || {
            let _ = began.send(());
            while let Some(engine) = engine.upgrade() {
                if counted.load(Ordering::Acquire) == 0 {
                    drop(engine);
                    thread::park_timeout(Duration::from_secs(1));
                } else {
                    thread::sleep(TICK);
                    engine.increment_epoch();
                }
            }
        })?;
        let _ = has_begun.recv();
        Ok(Self { running, thread: handle.thread().clone() })
    }

    pub(in crate::plugin) fn running(&self) -> Running {
        if self.running.fetch_add(1, Ordering::AcqRel) == 0 {
            self.thread.unpark();
        }
        Running { running: self.running.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    #[test]
    fn what_the_compiler_makes_is_made_for_the_engine() {
        let digest = |engine: Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        let compiled = digest(compiler().unwrap());
        assert_eq!(compiled, digest(engine(&PluginLimits::default()).unwrap()));
        assert_eq!(compiled, digest(for_one_guest(&PluginLimits::default()).unwrap()));
    }
}
