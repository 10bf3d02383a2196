//! What a load costs and how long it takes, with the host in a process of its own: CPU time for each delivery, latencies
//! at a fixed rate, and what fast endpoints notice of one that hangs and one that drips.
//!
//! Everything is durable (fsync before 202) and recorded. Load generator and receiver share the machine with the host.
//! Each part ends with its books: every payload that was accepted has arrived, and how many came twice.
//!
//! A test run takes a tenth of the load.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use runhook::client::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;

mod spawned;

use spawned::Spawned;

const BODY_BYTES: usize = 10 * 1024;
/// Requests under way at once, where as much is sent as is taken.
const SENDERS: usize = 64;
const RATE_PER_SECOND: u64 = 2_000;
/// Of the skewed load: each fast endpoint gets so many payloads per second.
const EACH_PER_SECOND: u64 = 10;
const FAST: usize = 99;

#[tokio::main]
async fn main() {
    let share = if std::env::args().any(|argument| argument == "--test") { 10 } else { 1 };
    let receiver = Receiver::start().await;
    for (name, plugins) in [
        ("no plugin", json!([])),
        (
            "a filter and redaction",
            json!([{"name": "errors-only"}, {"name": "redact", "config": {"pointers": ["/inputs"]}}]),
        ),
    ] {
        let host = Host::start(&receiver, &[Endpoint::Fast; 8], &plugins).await;
        host.as_much_as_it_takes(name, &receiver, 60_000 / share).await;
        if name == "no plugin" {
            let begun = receiver.at_a_rate(&host, RATE_PER_SECOND, 20_000 / share, |number| number as usize % 8).await;
            begun.tell("at 2,000/s");
        }
    }
    let seconds = 20 / share;
    let of_fast = |endpoints: Vec<Endpoint>| {
        let receiver = &receiver;
        async move {
            let host = Host::start(receiver, &endpoints, &json!([])).await;
            let count = endpoints.len() as u64;
            let rate = count * EACH_PER_SECOND;
            receiver.at_a_rate(&host, rate, rate * seconds, move |number| (number % count) as usize).await
        }
    };
    let alone = of_fast(vec![Endpoint::Fast; FAST]).await;
    alone.tell("99 fast endpoints alone");
    let mut skewed = vec![Endpoint::Fast; FAST];
    skewed.extend([Endpoint::Hangs, Endpoint::Drips]);
    let beside = of_fast(skewed).await;
    beside.tell("99 fast endpoints beside one that hangs and one that drips");
}

/// What a receiver does.
#[derive(Clone, Copy)]
enum Endpoint {
    Fast,
    /// Takes the request and never answers.
    Hangs,
    /// Answers with a body of a byte per second that never ends.
    Drips,
}

impl Endpoint {
    fn path(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Hangs => "hangs",
            Self::Drips => "drips",
        }
    }
}

/// What arrived at fast endpoints: by the payload's number, when first and how often.
#[derive(Clone)]
struct Receiver {
    url: String,
    arrived: Arc<Mutex<HashMap<u64, (Instant, u64)>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let receiver = Self { url, arrived: Arc::default() };
        let books = receiver.arrived.clone();
        let answer = move |Path(kind): Path<String>, body: Bytes| answer(kind, body, books.clone());
        let router = Router::new().route("/{kind}", post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// Sends at a fixed rate, whatever the host does with it, and waits until all that goes to fast endpoints is there.
    async fn at_a_rate(&self, host: &Host, rate: u64, count: u64, door: impl Fn(u64) -> usize) -> Latencies {
        self.arrived.lock().expect("the books").clear();
        let cpu = host.process.cpu();
        let begun = Instant::now();
        let mut sending = Vec::with_capacity(count as usize);
        for number in 0..count {
            let due = begun + Duration::from_nanos(number * 1_000_000_000 / rate);
            tokio::time::sleep_until(due.into()).await;
            let (client, url, body) = (host.client.clone(), host.doors[door(number)].0.clone(), payload(number));
            sending.push(tokio::spawn(async move {
                let begun = Instant::now();
                send(&client, &url, body).await;
                (number, begun, begun.elapsed())
            }));
        }
        let sent: Vec<_> = join_all(sending).await.into_iter().map(|sent| sent.expect("it was sent")).collect();
        let to_fast: Vec<_> =
            sent.iter().filter(|(number, ..)| matches!(host.doors[door(*number)].1, Endpoint::Fast)).collect();
        self.until(to_fast.len() as u64).await;
        let cpu = host.process.cpu() - cpu;
        let arrived = self.arrived.lock().expect("the books");
        let to_arrive = to_fast.iter().map(|(number, begun, _)| arrived[number].0 - *begun).collect();
        let twice = arrived.values().map(|(_, times)| times - 1).sum();
        Latencies { accept: sent.iter().map(|(.., took)| *took).collect(), to_arrive, twice, cpu, count }
    }

    async fn until(&self, count: u64) {
        let patience = Instant::now() + Duration::from_secs(120);
        while (self.arrived.lock().expect("the books").len() as u64) < count {
            assert!(Instant::now() < patience, "something that was accepted has not arrived");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn answer(kind: String, body: Bytes, books: Arc<Mutex<HashMap<u64, (Instant, u64)>>>) -> Response {
    let now = Instant::now();
    match kind.as_str() {
        "hangs" => std::future::pending().await,
        "drips" => {
            let drops = futures::stream::repeat(()).then(|()| async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok::<_, Infallible>(Bytes::from_static(b"."))
            });
            Response::new(Body::from_stream(drops))
        }
        _ => {
            let number = number_of(&body);
            books.lock().expect("the books").entry(number).or_insert((now, 0)).1 += 1;
            Response::new(Body::empty())
        }
    }
}

/// How a load went.
struct Latencies {
    accept: Vec<Duration>,
    /// From the first byte at the door to the receiver.
    to_arrive: Vec<Duration>,
    twice: u64,
    cpu: Duration,
    count: u64,
}

impl Latencies {
    fn tell(mut self, what: &str) {
        let cpu = self.cpu.as_secs_f64() * 1_000.0 / self.count as f64;
        println!(
            "{what}: accepted in {}; at the receiver after {}; {cpu:.3} CPU-seconds of the host per 1,000; {} arrived, {} of them twice",
            percentiles(&mut self.accept),
            percentiles(&mut self.to_arrive),
            self.to_arrive.len(),
            self.twice
        );
    }
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let share = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("p50 {:.2?}, p99 {:.2?}", share(0.5), share(0.99))
}

/// A spawned host with a rule for each endpoint.
struct Host {
    process: Spawned,
    api: Client,
    client: reqwest::Client,
    /// Relay URLs, and what is behind them.
    doors: Vec<(String, Endpoint)>,
    _folder: tempfile::TempDir,
}

impl Host {
    async fn start(receiver: &Receiver, endpoints: &[Endpoint], plugins: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let process = Spawned::start(folder.path());
        let (api, server) = (process.api(), &process.server);
        let rule = |(number, endpoint): (usize, &Endpoint)| {
            json!({
                "display_name": format!("load {number}"), "sampling_rate": 1.0, "relay_secret": "load",
                "webhooks": [{"id": "w", "url": format!("{}/{}", receiver.url, endpoint.path()), "plugins": plugins}],
            })
        };
        let rules = json!({"rules": endpoints.iter().enumerate().map(rule).collect::<Vec<_>>()});
        let applied = api.post("api/v1/runs/rules/apply", &[], &rules).await.expect("the rules are applied");
        let paths = applied["rules"].as_array().into_iter().flatten().map(|rule| &rule["relay_path"]);
        let urls = paths.map(|path| format!("{server}{}?secret=load", path.as_str().expect("a path")));
        let doors = urls.zip(endpoints.iter().copied()).collect();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { process, api, client, doors, _folder: folder }
    }

    /// Sends as fast as it takes, until the last outcome is on record.
    async fn as_much_as_it_takes(&self, what: &str, receiver: &Receiver, count: u64) {
        receiver.arrived.lock().expect("the books").clear();
        let (cpu, begun) = (self.process.cpu(), Instant::now());
        let send_all = |sender: usize| async move {
            for number in (sender as u64..count).step_by(SENDERS) {
                send(&self.client, &self.doors[number as usize % self.doors.len()].0, payload(number)).await;
            }
        };
        join_all((0..SENDERS).map(send_all)).await;
        let accepted = begun.elapsed();
        while self.delivered().await < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = begun.elapsed();
        let per_thousand = (self.process.cpu() - cpu).as_secs_f64() * 1_000.0 / count as f64;
        receiver.until(count).await;
        let twice: u64 = receiver.arrived.lock().expect("the books").values().map(|(_, times)| times - 1).sum();
        println!(
            "as much as it takes, {what}: accept to recorded {:.0}/s, accepted {:.0}/s; {per_thousand:.3} CPU-seconds of the host per 1,000; {count} arrived, {twice} of them twice",
            count as f64 / took.as_secs_f64(),
            count as f64 / accepted.as_secs_f64(),
        );
    }

    async fn delivered(&self) -> u64 {
        let ledger = self.api.get("api/v1/ledger", &[]).await.expect("the ledger");
        let webhooks = ledger["webhooks"].as_array().into_iter().flatten();
        webhooks.filter_map(|webhook| webhook["states"]["delivered"].as_u64()).sum()
    }
}

async fn send(client: &reqwest::Client, url: &str, body: Bytes) {
    let request = client.post(url).header("content-type", "application/json").body(body);
    let status = request.send().await.expect("an answer").status();
    assert!(status.is_success(), "{status}");
}

/// 10 KB; begins with its number, which no plugin takes away.
fn payload(number: u64) -> Bytes {
    let mut text = format!(r#"{{"rule_id": "{number:012}", "runs": [{{"status": "error", "outputs": {{"text": ""#);
    text.push_str(&"x".repeat(BODY_BYTES - text.len() - 5));
    text.push_str("\"}}]}");
    Bytes::from(text)
}

fn number_of(body: &[u8]) -> u64 {
    let begin = r#"{"rule_id": ""#.len();
    str::from_utf8(&body[begin..begin + 12]).ok().and_then(|digits| digits.parse().ok()).expect("its number")
}
