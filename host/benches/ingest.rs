//! Runs that come in: multipart bodies through a whole host until they are durable, and filters over them.
//!
//! The baseline sends the same bodies to a receiver that reads and forgets them.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use runhook::api::KEY_FILE;
use runhook::app::Host;
use runhook::config::ServeConfig;
use runhook::filter::{Facts, Filter};
use runhook::intake::IntakeBounds;
use runhook::layers;
use runhook::model::Timestamp;
use runhook::model::ids::{ProjectId, RunId};
use runhook::model::run::Run;
use runhook::plugin::RuntimeSettings;
use runhook::receiver::{Receiver, Script};
use runhook::retention::Periods;
use runhook::store::sqlite::Bodies;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// As the SDKs batch them.
const RUNS_PER_BODY: usize = 100;
/// Requests under way at once: several SDKs.
const SENDERS: usize = 8;
const BOUNDARY: &str = "bench";

/// A run of 2 KB as an SDK sends it, all in one post.
fn run(id: Uuid) -> Value {
    json!({
        "id": id, "name": "answer", "run_type": "llm", "trace_id": id,
        "dotted_order": format!("20260701T090000000000Z{id}"), "session_name": "bench",
        "start_time": "2026-07-01T09:00:00.000000+00:00", "end_time": "2026-07-01T09:00:02.500000+00:00",
        "tags": ["prod", "eu"],
        "extra": {"metadata": {"thread_id": "t-1", "customer": "acme", "LANGSMITH_PROJECT": "bench"},
                  "runtime": {"sdk": "langsmith-py", "sdk_version": "0.15.1", "platform": "Linux"}},
        "inputs": {"messages": [{"role": "user", "content": "w ".repeat(400)}]},
        "outputs": {"content": "w ".repeat(250), "usage_metadata": {"input_tokens": 12, "output_tokens": 5}},
    })
}

/// A multipart body with inputs and outputs as parts of their own.
fn body() -> Bytes {
    let mut text = String::new();
    let mut part = |name: String, content: &Value| {
        text += &format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: application/json\r\n\r\n{content}\r\n"
        );
    };
    for _ in 0..RUNS_PER_BODY {
        let id = Uuid::now_v7();
        let mut run = run(id);
        let (inputs, outputs) = (run["inputs"].take(), run["outputs"].take());
        part(format!("post.{id}"), &run);
        part(format!("post.{id}.inputs"), &inputs);
        part(format!("post.{id}.outputs"), &outputs);
    }
    (text + "--" + BOUNDARY + "--\r\n").into()
}

async fn host(folder: &TempDir) -> (Host, String) {
    let config = ServeConfig {
        data: folder.path().to_owned(),
        plugins: RuntimeSettings::default(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        public_url: None,
        blobs: None,
        tls: None,
        allow_cidr: Vec::new(),
        ca_files: Vec::new(),
        egress_proxy: None,
        intake: IntakeBounds::default(),
        periods: Periods::default(),
        offload_after: None,
        bodies: Bodies::Plain,
        secret_key: None,
        earlier_secret_keys: Vec::new(),
    };
    let host = Host::start(config).await.expect("a host");
    let key = std::fs::read_to_string(folder.path().join(KEY_FILE)).expect("a key");
    (host, key.trim().to_owned())
}

/// Sends that many bodies, `SENDERS` at a time; ready-made, so that only sending counts.
async fn send(client: &reqwest::Client, url: &str, key: &str, bodies: u64) -> Duration {
    let mut made: Vec<Vec<Bytes>> = vec![Vec::new(); SENDERS];
    (0..bodies as usize).for_each(|number| made[number % SENDERS].push(body()));
    let begun = Instant::now();
    let senders = made.into_iter().map(|bodies| async move {
        for body in bodies {
            let request = client.post(url).header("x-api-key", key);
            let request = request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
            let answer = request.body(body).send().await.expect("an answer");
            assert!(answer.status().is_success(), "{}", answer.status());
        }
    });
    join_all(senders).await;
    begun.elapsed()
}

fn ingest(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (host, key) = runtime.block_on(host(&folder));
    let receiver = runtime.block_on(Receiver::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Script::default()));
    let receiver = receiver.expect("a receiver");
    let mut group = criterion.benchmark_group("runs of 2 KB, 100 in a multipart body");
    group
        .throughput(Throughput::Elements(RUNS_PER_BODY as u64))
        .sample_size(10)
        .measurement_time(Duration::from_secs(10));
    let targets = [
        ("sent and forgotten", receiver.url()),
        ("decoded and durable", format!("http://{}/runs/multipart", host.address)),
    ];
    for (name, url) in &targets {
        let (client, key) = (&client, &key);
        group.bench_function(*name, |bencher| {
            bencher.to_async(&runtime).iter_custom(|bodies| async move { send(client, url, key, bodies).await });
        });
    }
    group.finish();
    runtime.block_on(host.stop()).expect("the host stops");
}

fn filters(criterion: &mut Criterion) {
    let document = run(Uuid::nil()).to_string();
    let stored = bytestring::ByteString::from(document);
    let (id, project, now) = (RunId(Uuid::nil()), ProjectId(Uuid::nil()), Timestamp::UNIX_EPOCH);
    let run: Run = layers::run(id, project, now, Some(&stored), None).expect("a run");
    let mut group = criterion.benchmark_group("a filter over a run");
    group.throughput(Throughput::Elements(1));
    for text in [
        r#"eq(status, "error")"#,
        r#"and(eq(is_root, true), gt(latency, "5s"))"#,
        r#"has(tags, "prod")"#,
        r#"and(eq(metadata_key, "customer"), eq(metadata_value, "acme"))"#,
    ] {
        let filter = Filter::parse(text).expect("a filter");
        group.bench_function(text, |bencher| {
            bencher.iter(|| black_box(filter.matches(&Facts::new(black_box(&run), &[]))));
        });
    }
    group.bench_function("baseline: the run out of its stored text", |bencher| {
        bencher.iter(|| layers::run(id, project, now, Some(black_box(&stored)), None));
    });
    group.finish();
}

criterion_group!(benches, ingest, filters);
criterion_main!(benches);
