//! What a plugin that never comes back costs: how far beyond its deadline it gets, and what others notice of it.
//!
//! A test run takes a tenth of the calls.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use runhook::clock::ManualClock;
use runhook::limits::QUARANTINE_WINDOW;
use runhook::model::Timestamp;
use runhook::model::plugin::PluginUse;
use runhook::plugin::{ChainOutcome, PluginLimits, PluginPolicy, PluginRuntime, RuntimeSettings, WasmRuntime};
use runhook_test_guests as guests;
use serde_json::json;

const WARM_UP_CALLS: usize = 10;
const CPU: Duration = Duration::from_millis(50);

#[tokio::main]
async fn main() {
    let share = if std::env::args().any(|argument| argument == "--test") { 10 } else { 1 };
    let scene = Arc::new(Scene::new());
    let small = scene.latencies(&scene.filter, 2_000).await;
    told("warm up", small);
    // The first ones meet what makes the snapshot, and start a process.
    scene.latencies(&scene.endless, WARM_UP_CALLS).await;

    let beyond = scene.latencies(&scene.endless, 100 / share).await;
    told("beyond its 50 ms of CPU time", beyond.into_iter().map(|took| took.saturating_sub(CPU)).collect());

    let calls = 50_000 / share;
    told("a small filter alone", scene.latencies(&scene.filter, calls).await);
    let is_over = Arc::new(AtomicBool::new(false));
    let looping = tokio::spawn({
        let (scene, is_over) = (scene.clone(), is_over.clone());
        async move {
            while !is_over.load(Ordering::Relaxed) {
                scene.call(&scene.endless).await;
            }
        }
    });
    told("a small filter beside one that always loops", scene.latencies(&scene.filter, calls).await);
    is_over.store(true, Ordering::Relaxed);
    looping.await.expect("it loops");
}

struct Scene {
    runtime: WasmRuntime,
    /// Moved on after each failure, or quarantine would answer.
    clock: ManualClock,
    filter: [PluginUse; 1],
    endless: [PluginUse; 1],
    payload: Bytes,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::copy(guests::ENDLESS_LOOP, directory.path().join("endless.wasm")).expect("a copy");
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let settings = RuntimeSettings {
            directory: Some(directory.path().to_owned()),
            policy: PluginPolicy::with_limits(PluginLimits { cpu_base: CPU, ..PluginLimits::default() }),
            clock: Arc::new(clock.clone()),
            ..RuntimeSettings::default()
        };
        let runtime = WasmRuntime::start(settings).expect("a runtime");
        let used = |name: &str| [serde_json::from_value(json!({ "name": name })).expect("a plugin")];
        let runs = json!([{"id": "1", "status": "error", "inputs": {"question": "why?"}}]);
        let payload = json!({"rule_id": "r", "runs": runs}).to_string().into();
        Self { runtime, clock, filter: used("errors-only"), endless: used("endless"), payload, _directory: directory }
    }

    async fn call(&self, chain: &[PluginUse]) -> Duration {
        let begun = Instant::now();
        let outcome = self.runtime.run(chain, self.payload.clone()).await;
        let took = begun.elapsed();
        let is_kept = matches!(outcome, ChainOutcome::Send(_));
        assert_eq!(is_kept, chain[0] == self.filter[0], "{outcome:?}");
        if !is_kept {
            self.clock.advance(QUARANTINE_WINDOW);
        }
        took
    }

    /// Of calls one after the other.
    async fn latencies(&self, chain: &[PluginUse], calls: usize) -> Vec<Duration> {
        let mut latencies = Vec::with_capacity(calls);
        for _ in 0..calls {
            latencies.push(self.call(chain).await);
        }
        latencies
    }
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let share = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}: p50 {:?}, p99 {:?}, max {:?} of {}", share(0.5), share(0.99), share(1.0), times.len());
}
