//! Fan-out finds by itself what nobody hinted at, and no rule waits for what another one waits for.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use runhook::clock::{Clock, ManualClock};
use runhook::dispatch::Dispatch;
use runhook::fanout::{self, Fanout, Hints};
use runhook::limits::FANOUTS_MAX;
use runhook::model::ids::{HostId, PayloadId, RuleId};
use runhook::model::payload::PendingPayload;
use runhook::outbound::{Allowance, Fetch, FetchFailure, HttpSender};
use runhook::plugin::WasmRuntime;
use runhook::rulebook::RuleBook;
use runhook::shutdown::{self, ShutdownTrigger};
use runhook::store::{DeliveryQuery, NewPayload, RuleChanges, Store};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use url::Url;

use crate::support::engine::{local_blobs, loopback, open_store, rule as rule_to, standing_clock};
use crate::support::plugin_cache;
use crate::support::waiting::a_moment;

struct Scene {
    store: Arc<dyn Store>,
    fanout: Fanout,
    hints: Option<Hints>,
    clock: ManualClock,
    rule: RuleId,
    /// A rule whose plugin reads inputs.
    reads: RuleId,
    elsewhere: Arc<Elsewhere>,
    shutdown: ShutdownTrigger,
    directory: TempDir,
}

/// Where inputs lie; it hangs until it is opened.
struct Elsewhere(Semaphore);

#[async_trait]
impl Fetch for Elsewhere {
    async fn fetch(&self, _: &Url, _: &Allowance) -> Result<Bytes, FetchFailure> {
        let _opened = self.0.acquire().await;
        Ok(Bytes::from_static(b"{}"))
    }
}

impl Scene {
    /// A fan-out at rest.
    async fn set() -> Self {
        let (directory, store) = open_store();
        let clock = standing_clock();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let rulebook = Arc::new(RuleBook::load(store.clone(), shared.clone()).await.unwrap());
        let rule = rule_to(&["http://127.0.0.1:1/hook"], &Default::default(), clock.now());
        let mut reads = rule_to(&["http://127.0.0.1:1/hook"], &Default::default(), clock.now());
        reads.display_name = "reads".to_owned();
        reads.webhooks[0].plugins =
            serde_json::from_value(json!([{"name": "redact", "config": {"pointers": ["/inputs/a"]}}])).unwrap();
        let (id, reads_id) = (rule.id, reads.id);
        let changes = RuleChanges { put: vec![rule, reads], delete: Vec::new() };
        rulebook.begin_change().await.commit(changes).await.unwrap();
        let elsewhere = Arc::new(Elsewhere(Semaphore::new(0)));
        let owner = HostId::generate();
        let sender = Arc::new(HttpSender::new(loopback()).unwrap());
        let dispatch = Dispatch::new(store.clone(), rulebook.clone(), sender, shared.clone(), owner);
        let plugins = Arc::new(WasmRuntime::start(plugin_cache::settings()).unwrap());
        let (fanout, hints) = Fanout::new(fanout::Parts {
            store: store.clone(),
            rulebook,
            plugins,
            dispatch,
            blobs: local_blobs(directory.path()),
            fetch: elsewhere.clone(),
            clock: shared,
            owner,
        });
        let (shutdown, _) = shutdown::channel();
        Self { store, fanout, hints: Some(hints), clock, rule: id, reads: reads_id, elsewhere, shutdown, directory }
    }

    fn start(&mut self) {
        let (trigger, shutdown) = shutdown::channel();
        self.shutdown = trigger;
        let (fanout, hints) = (self.fanout.clone(), self.hints.take().unwrap());
        tokio::spawn(async move { fanout.run(hints, shutdown).await });
    }

    /// A durable payload that fan-out has not heard of.
    async fn accept(&self) -> PendingPayload {
        self.accept_for(self.rule, br#"{"runs": []}"#).await
    }

    async fn accept_for(&self, rule: RuleId, document: &'static [u8]) -> PendingPayload {
        let document = Bytes::from_static(document);
        let (id, accepted_at) = (PayloadId::generate(), self.clock.now());
        let new = NewPayload { id, rule, accepted_at, document: document.clone(), idempotency_key: None };
        self.store.accept(new).await.unwrap();
        PendingPayload { id, rule, accepted_at, document, is_built: false }
    }

    async fn is_fanned_out(&self, payload: PayloadId) -> bool {
        let query = DeliveryQuery { payload: Some(payload), limit: 1, ..DeliveryQuery::default() };
        !self.store.deliveries(query).await.unwrap().is_empty()
    }

    async fn until_fanned_out(&self, payload: PayloadId) {
        let wait = async {
            while !self.is_fanned_out(payload).await {
                a_moment().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("a hinted payload is fanned out");
    }

    async fn relay(&self) {
        let payload = self.accept().await;
        let id = payload.id;
        self.fanout.offer(payload);
        self.until_fanned_out(id).await;
    }
}

#[tokio::test]
async fn a_payload_that_no_hint_brought_is_found_while_hints_keep_coming() {
    let mut scene = Scene::set().await;
    scene.start();
    // Once a hint is worked on, the look that every start begins with is over.
    scene.relay().await;
    let missed = scene.accept().await;
    for _ in 0..50 {
        scene.clock.advance(Duration::from_millis(300));
        scene.relay().await;
        if scene.is_fanned_out(missed.id).await {
            return;
        }
    }
    panic!("it still waits after 15 s of traffic");
}

#[tokio::test]
async fn what_was_hinted_does_not_wait_until_all_that_was_not_is_done() {
    let mut scene = Scene::set().await;
    let hinted = scene.accept().await;
    let id = hinted.id;
    scene.fanout.offer(hinted);
    join_all((0..2_000).map(|_| scene.accept())).await;
    scene.start();
    scene.until_fanned_out(id).await;
    let left = scene.store.pending_payloads(None, 2_000).await.unwrap().len();
    assert!(left > 500, "it came with the last: {left} left");
}

const LINKING: &[u8] =
    br#"{"runs": [{"id": "1", "inputs": null, "inputs_s3_urls": {"ROOT": {"presigned_url": "https://a.example/1"}}}]}"#;

#[tokio::test]
async fn a_rule_whose_fields_lie_where_nobody_answers_holds_up_no_other() {
    let mut scene = Scene::set().await;
    scene.start();
    let waiting = join_all((0..FANOUTS_MAX + 10).map(|_| scene.accept_for(scene.reads, LINKING))).await;
    let ids: Vec<_> = waiting.iter().map(|payload| payload.id).collect();
    waiting.into_iter().for_each(|payload| scene.fanout.offer(payload));
    scene.relay().await;
    for id in &ids {
        assert!(!scene.is_fanned_out(*id).await, "its fields cannot be had yet");
    }
    scene.elsewhere.0.add_permits(ids.len());
    for id in ids {
        scene.until_fanned_out(id).await;
    }
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_holds_up_no_other() {
    let mut scene = Scene::set().await;
    let damaged = scene.accept().await;
    let waiting = [scene.accept().await, scene.accept().await];
    let log = scene.directory.path().join("bodies/000001.log");
    let mut bodies = std::fs::read(&log).unwrap();
    bodies[0] = b'!';
    std::fs::write(&log, bodies).unwrap();
    scene.start();
    for payload in waiting {
        scene.until_fanned_out(payload.id).await;
    }
    assert!(!scene.is_fanned_out(damaged.id).await);
    assert_eq!(
        scene.store.pending_payloads(None, 10).await.unwrap(),
        [(damaged.id, scene.rule)],
        "it is still on the books"
    );
}
