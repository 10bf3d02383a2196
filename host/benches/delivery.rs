//! Accept to recorded, against a bare client loop: the same receiver, the same 10 KB bodies, the same process.
//!
//! A delivery here is everything: a POST at the relay door of a whole host, made durable, answered 202, fanned out,
//! sent, and its outcome recorded. The bare loop only sends. Load generator and receiver share the machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use runhook::api::KEY_FILE;
use runhook::app::Host;
use runhook::client::Client;
use runhook::config::ServeConfig;
use runhook::intake::IntakeBounds;
use runhook::model::secret::Secret;
use runhook::plugin::RuntimeSettings;
use runhook::receiver::{Receiver, Script};
use runhook::retention::Periods;
use runhook::store::sqlite::Bodies;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const BODY_BYTES: usize = 10 * 1024;

/// Requests under way at once, at the door and in the bare loop.
const SENDERS: u64 = 64;

/// Rules, each with a webhook, that the payloads go to in turn, so that one endpoint's slots are no bound.
const RULES: usize = 8;

/// How often the ledger is asked whether all is recorded.
const LOOK: Duration = Duration::from_millis(5);

struct Bench {
    api: Client,
    sender: reqwest::Client,
    doors: Vec<String>,
    _host: Host,
    _folder: TempDir,
}

impl Bench {
    async fn open(receiver: &str, plugins: Value) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let config = ServeConfig {
            data: folder.path().to_owned(),
            plugins: RuntimeSettings::default(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            blobs: None,
            tls: None,
            allow_cidr: vec!["127.0.0.0/8".parse().expect("a range")],
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
        let server = format!("http://{}", host.address);
        let key = std::fs::read_to_string(folder.path().join(KEY_FILE)).expect("a key");
        let api = Client::new(&server, Secret::new(key.trim())).expect("a client");
        let rule = |number: usize| {
            json!({
                "display_name": format!("bench {number}"), "sampling_rate": 1.0, "relay_secret": "bench",
                "webhooks": [{"id": "w", "url": receiver, "plugins": plugins}],
            })
        };
        let rules = json!({"rules": (0..RULES).map(rule).collect::<Vec<_>>()});
        let applied = api.post("api/v1/runs/rules/apply", &[], &rules).await.expect("the rules are applied");
        let door = |rule: &Value| format!("{server}{}?secret=bench", rule["relay_path"].as_str().expect("a path"));
        let doors = applied["rules"].as_array().into_iter().flatten().map(door).collect();
        let sender = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { api, sender, doors, _host: host, _folder: folder }
    }

    /// From the first POST at the door until the last outcome is on record.
    async fn deliver(&self, count: u64, body: &Bytes) -> Duration {
        let before = self.delivered().await;
        let begun = Instant::now();
        let send_all = |sender| async move {
            for number in (sender..count).step_by(SENDERS as usize) {
                post(&self.sender, &self.doors[number as usize % RULES], body).await;
            }
        };
        join_all((0..SENDERS).map(send_all)).await;
        while self.delivered().await < before + count {
            tokio::time::sleep(LOOK).await;
        }
        begun.elapsed()
    }

    async fn delivered(&self) -> u64 {
        let ledger = self.api.get("api/v1/ledger", &[]).await.expect("the ledger");
        let webhooks = ledger["webhooks"].as_array().into_iter().flatten();
        webhooks.filter_map(|webhook| webhook["states"]["delivered"].as_u64()).sum()
    }
}

async fn post(client: &reqwest::Client, url: &str, body: &Bytes) {
    let request = client.post(url).header("content-type", "application/json").body(body.clone());
    let status = request.send().await.expect("an answer").status();
    assert!(status.is_success(), "{status}");
}

/// So many requests, and nothing else.
async fn send(client: &reqwest::Client, url: &str, count: u64, body: &Bytes) -> Duration {
    let begun = Instant::now();
    let send_all = |sender| async move {
        for _ in (sender..count).step_by(SENDERS as usize) {
            post(client, url, body).await;
        }
    };
    join_all((0..SENDERS).map(send_all)).await;
    begun.elapsed()
}

fn payload() -> Bytes {
    let mut text = r#"{"rule_id": "bench", "runs": [{"status": "error", "outputs": {"text": ""#.to_owned();
    text.push_str(&"x".repeat(BODY_BYTES - text.len() - 5));
    text.push_str("\"}}]}");
    Bytes::from(text)
}

fn deliveries(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let receiver = runtime.block_on(Receiver::start(any_port, Script::default())).expect("a free port");
    let (url, body) = (receiver.url(), payload());
    let plain = runtime.block_on(Bench::open(&url, json!([])));
    let filtered = runtime.block_on(Bench::open(&url, json!([{"name": "errors-only"}])));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut group = criterion.benchmark_group("delivery of 10 KB");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(10));
    group.bench_function("bare client loop", |bencher| {
        bencher.to_async(&runtime).iter_custom(|count| send(&client, &url, count, &body));
    });
    group.bench_function("accept to recorded", |bencher| {
        bencher.to_async(&runtime).iter_custom(|count| plain.deliver(count, &body));
    });
    group.bench_function("accept to recorded, through a filter", |bencher| {
        bencher.to_async(&runtime).iter_custom(|count| filtered.deliver(count, &body));
    });
    group.finish();
}

criterion_group!(benches, deliveries);
criterion_main!(benches);
