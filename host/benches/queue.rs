//! A host over a queue of 1,000,000 deliveries that nobody takes: how long it takes to start, how much memory it has, and
//! what others notice.
//!
//! A hundred endpoints refuse every connection, so all stays pending while their breakers probe. A test run takes a
//! fiftieth.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use futures::{StreamExt, stream};
use runhook::clock::{Clock, SystemClock, after};
use runhook::model::delivery::{Fate, NewDelivery, State};
use runhook::model::endpoint::{Endpoint, EndpointUrl};
use runhook::model::ids::{DeliveryId, HostId, PayloadId, RuleId, WebhookId};
use runhook::model::payload::{Body, PendingPayload};
use runhook::model::retry::Retry;
use runhook::model::rule::{Rule, Webhook};
use runhook::model::secret::Secret;
use runhook::secrets::Keyring;
use runhook::store::sqlite::SqliteStore;
use runhook::store::{ClaimNow, NewPayload, RuleChanges, Store};
use tokio::net::TcpListener;

mod spawned;

use spawned::Spawned;

const RULES: usize = 10;
const WEBHOOKS: usize = 10;
const BODY_BYTES: usize = 1024;
/// What the promise is.
const MEMORY_MAX_MIB: u64 = 300;
/// How long the host works over the queue before it is measured.
const WORKS: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let payloads = if is_test { 2_000 } else { 100_000 };
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let taken = format!("http://{}/taken", listener.local_addr().expect("an address"));
    let router = Router::new().route("/taken", post(|| async {}));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let begun = Instant::now();
    let other = fill(folder.path(), payloads, &taken).await;
    println!("{} deliveries queued in {:.1} s", payloads * WEBHOOKS, begun.elapsed().as_secs_f64());

    let begun = Instant::now();
    let host = Spawned::start(folder.path());
    println!("started in {:.2?}", begun.elapsed());
    tokio::time::sleep(WORKS / if is_test { 10 } else { 1 }).await;
    println!("memory while it works: {} MiB, {} MiB at most", host.memory_mib("VmRSS"), host.memory_mib("VmHWM"));

    // The first says which cryptography both use.
    let (api, client) = (host.api(), reqwest::Client::builder().no_proxy().build().expect("a client"));
    let url = format!("{}/relay/{other}?secret=queue", host.server);
    let mut accepted = Vec::new();
    for _ in 0..500 {
        let begun = Instant::now();
        let answer = client.post(&url).body(Bytes::from_static(br#"{"runs": []}"#)).send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
        accepted.push(begun.elapsed());
    }
    accepted.sort_unstable();
    println!("another rule's payload is accepted in p50 {:.2?}, p99 {:.2?}", accepted[250], accepted[495]);
    let begun = Instant::now();
    let patience = begun + Duration::from_secs(60);
    loop {
        let ledger = api.get("api/v1/ledger", &[]).await.expect("the ledger");
        let webhooks = ledger["webhooks"].as_array().cloned().unwrap_or_default();
        let count = |state: &str| webhooks.iter().filter_map(|it| it["states"][state].as_u64()).sum::<u64>();
        if count("delivered") == 500 {
            println!("its 500 are on record {:.2?} later; {} are pending", begun.elapsed(), count("pending"));
            assert!(count("pending") + count("failed") == (payloads * WEBHOOKS) as u64, "{ledger}");
            break;
        }
        assert!(Instant::now() < patience, "another rule's deliveries wait behind the queue: {ledger}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (what, path) in [("endpoints", "api/v1/endpoints"), ("the newest 100 deliveries", "api/v1/deliveries")] {
        let begun = Instant::now();
        api.get(path, &[]).await.expect("they are listed");
        println!("{what} listed in {:.2?}", begun.elapsed());
    }
    let most = host.memory_mib("VmHWM");
    println!("memory at the end: {most} MiB at most");
    assert!(most < MEMORY_MAX_MIB, "{most} MiB");
}

/// Queues deliveries to endpoints that refuse; the rule beside them, whose webhook takes what comes.
async fn fill(data: &std::path::Path, payloads: usize, taken: &str) -> RuleId {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keyring = Arc::new(Keyring::load(data, None).expect("a key"));
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(data, keyring).expect("a store"));
    let refusing: Vec<_> =
        (0..RULES).map(|number| rule(number, WEBHOOKS, "http://127.0.0.1:1/refused", &*clock)).collect();
    let other = rule(RULES, 1, taken, &*clock);
    let id = other.id;
    let put = refusing.iter().cloned().chain([other]).collect();
    store.change_rules(RuleChanges { put, delete: Vec::new() }, clock.now()).await.expect("rules");
    let queue = |number: usize| queue(&*store, &*clock, &refusing[number % RULES]);
    stream::iter(0..payloads).map(queue).buffer_unordered(256).for_each(|()| std::future::ready(())).await;
    let ledger = store.ledger().await.expect("the ledger");
    let pending: u64 = ledger.iter().filter(|(_, state, _)| *state == State::Pending).map(|(.., count)| count).sum();
    assert_eq!(pending, (payloads * WEBHOOKS) as u64);
    id
}

async fn queue(store: &dyn Store, clock: &dyn Clock, rule: &Rule) {
    let (id, now) = (PayloadId::generate(), clock.now());
    let document = Bytes::from(format!(r#"{{"id": "{id}", "runs": [], "x": "{}"}}"#, "x".repeat(BODY_BYTES - 80)));
    let new = NewPayload { id, rule: rule.id, accepted_at: now, document: document.clone(), idempotency_key: None };
    store.accept(new).await.expect("it is accepted");
    let payload = PendingPayload { id, rule: rule.id, accepted_at: now, document: document.clone(), is_built: false };
    let delivery = |webhook: &Webhook| NewDelivery {
        id: DeliveryId::generate(),
        endpoint: rule.endpoint_id(webhook),
        fate: Fate::Send(Body::json(document.clone())),
        replay_of: None,
    };
    let deliveries = rule.webhooks.iter().map(delivery).collect();
    let claim = ClaimNow { owner: HostId::generate(), lease_until: after(now, Duration::ZERO), deliveries: Vec::new() };
    store.fan_out(&payload, deliveries, claim, now).await.expect("it is fanned out");
}

fn rule(number: usize, webhooks: usize, url: &str, clock: &dyn Clock) -> Rule {
    let webhook = |webhook: usize| Webhook {
        id: WebhookId(webhook.to_string()),
        endpoint: Endpoint {
            url: EndpointUrl::parse(url).expect("a URL"),
            headers: Default::default(),
            retry: Retry::default(),
            pace: Default::default(),
            signing_secrets: Vec::new(),
            access: Arc::default(),
        },
        plugins: Vec::new(),
    };
    Rule {
        id: RuleId::generate(),
        display_name: format!("queue {number}"),
        is_enabled: true,
        sampling_rate: 1.0,
        source: None,
        relay_secret: Some(Secret::new("queue")),
        webhooks: (0..webhooks).map(webhook).collect(),
        created_at: clock.now(),
        updated_at: clock.now(),
    }
}
