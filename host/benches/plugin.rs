//! What the sandbox costs, against native code that parses and writes the whole document.
//!
//! Each call is what fan-out does: a fresh instance, configured, on a guest thread, and the answer awaited. The instances
//! alone are measured on the bench's own thread.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use regex::Regex;
use runhook::document::Document;
use runhook::model::plugin::PluginUse;
use runhook::plugin::{ChainOutcome, PluginPolicy, PluginRuntime, RuntimeSettings, Trial, WasmRuntime};
use runhook_test_guests as guests;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const RUNS: usize = 100;
const RUN_BYTES: usize = 10 * 1024;

fn payload(runs: usize) -> Bytes {
    let message =
        |number: usize| json!({"role": "user", "content": format!("message {number}: {}", "words ".repeat(32))});
    let messages: Vec<Value> = (0..RUN_BYTES / 2 / 240).map(message).collect();
    let run = |number: usize| {
        json!({
            "id": format!("7d0e1101-5a51-4c38-9d5e-{number:012}"), "name": "answer", "run_type": "chain",
            "status": if number.is_multiple_of(2) { "error" } else { "success" },
            "start_time": "2026-07-01T09:00:00.000001", "total_tokens": number,
            "inputs": {"messages": messages}, "outputs": {"messages": messages},
        })
    };
    json!({"rule_id": "r", "runs": (0..runs).map(run).collect::<Vec<_>>()}).to_string().into()
}

fn chain(plugins: &Value) -> Vec<PluginUse> {
    serde_json::from_value(plugins.clone()).expect("a chain")
}

/// Parses everything, replaces `inputs`, writes everything.
fn redacted_natively(payload: &[u8]) -> Vec<u8> {
    let mut document: Value = serde_json::from_slice(payload).expect("JSON");
    for run in document["runs"].as_array_mut().into_iter().flatten() {
        run["inputs"] = "[redacted]".into();
    }
    serde_json::to_vec(&document).expect("JSON")
}

struct Bench {
    runtime: Runtime,
    plugins: WasmRuntime,
}

impl Bench {
    fn run(&self, chain: &[PluginUse], payload: &Bytes) -> ChainOutcome {
        self.runtime.block_on(self.plugins.run(chain, payload.clone()))
    }
}

fn sandbox(criterion: &mut Criterion) {
    let plugins = WasmRuntime::start(RuntimeSettings::default()).expect("a runtime");
    let bench = Bench { runtime: Runtime::new().expect("a runtime"), plugins };
    let filter = chain(&json!([{"name": "errors-only"}]));
    let redact = chain(&json!([{"name": "redact", "config": {"pointers": ["/inputs"]}}]));
    let (one, hundred) = (payload(1), payload(RUNS));
    let native = redacted_natively(&hundred);
    let ChainOutcome::Send(body) = bench.run(&redact, &hundred) else { panic!("redaction fails") };
    let (sandboxed, native): (Value, Value) =
        (serde_json::from_slice(&body.bytes).expect("JSON"), serde_json::from_slice(&native).expect("JSON"));
    assert_eq!(sandboxed, native, "both do the same");

    let mut group = criterion.benchmark_group("plugin");
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("fresh instance, one field of one run", |bencher| {
        bencher.iter(|| black_box(bench.run(&filter, &one)));
    });
    group.bench_function("fresh instance, one field of each of 100 runs", |bencher| {
        bencher.iter(|| black_box(bench.run(&filter, &hundred)));
    });
    group.bench_function("host alone: index 100 runs", |bencher| {
        bencher.iter_batched(|| hundred.clone(), |bytes| black_box(Document::parse(bytes)), BatchSize::SmallInput);
    });
    group.finish();

    let mut group = criterion.benchmark_group("redact inputs of 100 runs x 10 KB");
    group.throughput(Throughput::Bytes(hundred.len() as u64)).measurement_time(Duration::from_secs(5));
    group.bench_function("in the sandbox", |bencher| bencher.iter(|| black_box(bench.run(&redact, &hundred))));
    group.bench_function("natively, serde_json::Value", |bencher| {
        bencher.iter(|| black_box(redacted_natively(&hundred)));
    });
    group.finish();
}

/// Keys, card numbers, addresses and tokens.
const PATTERNS: [&str; 4] = [
    r"sk-[A-Za-z0-9]{20,}",
    r"\b\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}\b",
    r"[\w.+-]+@[\w-]+\.[\w.]+",
    r"(?i)bearer [a-z0-9._-]+",
];

/// Four regular expressions over all strings of a payload, against the same ones natively over its text as it stands.
fn patterns(criterion: &mut Criterion) {
    let plugin = built_in("redact");
    let redact = plugin.prepare(&json!({"patterns": PATTERNS}).to_string());
    assert_eq!(redact.why_per_instance(), None);
    let natively = PATTERNS.map(|pattern| Regex::new(pattern).expect("a pattern"));
    let bytes = payload(RUNS);
    let text = str::from_utf8(&bytes).expect("JSON").to_owned();
    let document = Document::parse(bytes).expect("a payload");
    let mut group = criterion.benchmark_group("four patterns over 100 runs x 10 KB");
    group.throughput(Throughput::Bytes(text.len() as u64)).measurement_time(Duration::from_secs(5));
    group.bench_function("in the sandbox", |bencher| {
        bencher.iter(|| redact.pass(document.clone()).expect("a payload"));
    });
    group.bench_function("natively, over the text", |bencher| {
        bencher.iter(|| natively.iter().filter(|pattern| black_box(pattern).is_match(black_box(&text))).count());
    });
    group.finish();
}

/// Four regular expressions as configuration, from a snapshot and configured in each instance.
fn instances(criterion: &mut Criterion) {
    let redact = built_in("redact");
    let config = json!({"patterns": PATTERNS}).to_string();
    let prepared = redact.prepare(&config);
    assert_eq!(prepared.why_per_instance(), None);
    let afresh = redact.per_instance(&config);
    let errors_only = built_in("errors-only");
    let filter = errors_only.prepare("{}");
    let small = json!({"rule_id": "r", "runs": [{"id": "1", "status": "error", "inputs": {"question": "why?"}}]});
    let document = Document::parse(small.to_string().into()).expect("a payload");

    let mut group = criterion.benchmark_group("instance of redact with four patterns");
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("from its snapshot", |bencher| bencher.iter(|| prepared.instantiate().expect("an instance")));
    group.bench_function("from its snapshot, with its call", |bencher| {
        bencher.iter(|| prepared.pass(document.clone()).expect("a payload"));
    });
    group.bench_function("configured afresh", |bencher| bencher.iter(|| afresh.instantiate().expect("an instance")));
    group.bench_function("configured afresh, with its call", |bencher| {
        bencher.iter(|| afresh.pass(document.clone()).expect("a payload"));
    });
    group.finish();

    let mut group = criterion.benchmark_group("instance of errors-only");
    group.measurement_time(Duration::from_secs(5));
    group.bench_function("from its snapshot", |bencher| bencher.iter(|| filter.instantiate().expect("an instance")));
    group.bench_function("from its snapshot, with its call", |bencher| {
        bencher.iter(|| filter.pass(document.clone()).expect("a payload"));
    });
    group.finish();
}

/// A guest that reads three fields of each run: what one more run costs is the difference over 99.
fn runs(criterion: &mut Criterion) {
    let bytes = std::fs::read(guests::READS_THREE).expect("it is there").into();
    let filter = Trial::load("reads_three.wasm", bytes, PluginPolicy::default(), None).expect("it loads");
    let prepared = filter.prepare("{}");
    assert_eq!(prepared.why_per_instance(), None);
    let small = |number: usize| {
        json!({"id": number.to_string(), "status": "success", "run_type": "chain", "total_tokens": number,
            "inputs": {"question": "why?"}, "outputs": {"answer": "because"}})
    };
    let of_small = |runs: usize| json!({"runs": (0..runs).map(small).collect::<Vec<_>>()}).to_string().into();
    let mut group = criterion.benchmark_group("three fields of each run");
    group.measurement_time(Duration::from_secs(5));
    for (name, bytes) in [
        ("1 small run", of_small(1)),
        ("100 small runs", of_small(RUNS)),
        ("1 run of 10 KB", payload(1)),
        ("100 runs of 10 KB", payload(RUNS)),
    ] {
        let document = Document::parse(bytes).expect("a payload");
        group.bench_function(name, |bencher| bencher.iter(|| prepared.pass(document.clone()).expect("a payload")));
    }
    group.finish();
}

fn built_in(name: &str) -> Trial {
    Trial::built_in(&name.parse().expect("a name"), PluginPolicy::default()).expect("it is built in")
}

criterion_group!(benches, sandbox, instances, patterns, runs);
criterion_main!(benches);
