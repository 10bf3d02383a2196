//! What a process of its own costs a guest, against the same guest in the host's process: one payload after another, and
//! as many at once as keep every core busy.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use runhook::model::plugin::PluginUse;
use runhook::plugin::{ChainOutcome, Isolation, PluginPolicy, PluginRuntime, RuntimeSettings, Terms, WasmRuntime};
use runhook_test_guests as guests;
use serde_json::json;
use tokio::runtime::Runtime;

const RUN_BYTES: usize = 10 * 1024;
const AT_ONCE: usize = 64;

fn payload(runs: usize) -> Bytes {
    let run = |number: usize| json!({"id": number.to_string(), "name": "a", "total_tokens": 2, "inputs": "x".repeat(RUN_BYTES)});
    json!({"rule_id": "r", "runs": (0..runs).map(run).collect::<Vec<_>>()}).to_string().into()
}

struct Bench {
    runtime: Runtime,
    plugins: WasmRuntime,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn of(isolation: Isolation) -> Self {
        let directory = tempfile::tempdir().expect("a folder");
        for component in [guests::KEEPS_EVEN, guests::RENAMES] {
            let name = Path::new(component).file_name().expect("a file");
            fs::copy(component, directory.path().join(name)).expect("a copy");
        }
        let settings = RuntimeSettings {
            directory: Some(directory.path().to_owned()),
            policy: PluginPolicy { terms: Terms { isolation, ..Terms::default() }, ..PluginPolicy::default() },
            program: Some(env!("CARGO_BIN_EXE_runhook").into()),
            ..RuntimeSettings::default()
        };
        let plugins = WasmRuntime::start(settings).expect("a runtime");
        Self { runtime: Runtime::new().expect("a runtime"), plugins, _directory: directory }
    }

    /// Has the snapshot made first, so that it is what is measured.
    fn prepare(&self, chain: &[PluginUse]) {
        self.runtime.block_on(self.plugins.check(&chain[0])).expect("it takes its configuration");
    }

    fn run(&self, chain: &[PluginUse], payload: &Bytes) {
        let outcome = self.runtime.block_on(self.plugins.run(chain, payload.clone()));
        assert!(matches!(black_box(outcome), ChainOutcome::Send(_)));
    }

    fn run_many(&self, chain: &[PluginUse], payload: &Bytes) {
        let all = join_all((0..AT_ONCE).map(|_| self.plugins.run(chain, payload.clone())));
        assert!(self.runtime.block_on(all).iter().all(|outcome| matches!(outcome, ChainOutcome::Send(_))));
    }
}

fn isolation(criterion: &mut Criterion) {
    let places = [("the host's process", Bench::of(Isolation::Host)), ("its own", Bench::of(Isolation::Process))];
    let filter: PluginUse = serde_json::from_value(json!({"name": "keeps-even"})).expect("a plugin");
    let transform: PluginUse =
        serde_json::from_value(json!({"name": "renames", "config": {"name": "n"}})).expect("a plugin");
    let cases = [
        ("filter, 1 run x 10 KB", filter.clone(), 1),
        ("transform, 1 run x 10 KB", transform.clone(), 1),
        ("filter, 100 runs x 10 KB", filter, 100),
        ("transform, 100 runs x 10 KB", transform, 100),
    ];
    for (name, plugin, runs) in cases {
        let (chain, payload) = ([plugin], payload(runs));
        let mut group = criterion.benchmark_group(name);
        group.measurement_time(Duration::from_secs(4));
        for (place, bench) in &places {
            bench.prepare(&chain);
            group.bench_function(format!("in {place}"), |bencher| bencher.iter(|| bench.run(&chain, &payload)));
        }
        if runs == 1 {
            group.throughput(Throughput::Elements(AT_ONCE as u64));
            for (place, bench) in &places {
                group.bench_function(format!("{AT_ONCE} at once, in {place}"), |bencher| {
                    bencher.iter(|| bench.run_many(&chain, &payload));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, isolation);
criterion_main!(benches);
