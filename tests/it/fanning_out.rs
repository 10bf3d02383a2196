//! Fan-out finds by itself what nobody hinted at.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runhook::clock::{Clock, ManualClock};
use runhook::dispatch::Dispatch;
use runhook::fanout::{self, Fanout, Hints};
use runhook::model::ids::{HostId, PayloadId, RuleId};
use runhook::model::payload::PendingPayload;
use runhook::outbound::HttpSender;
use runhook::plugin::WasmRuntime;
use runhook::rulebook::RuleBook;
use runhook::shutdown::{self, ShutdownTrigger};
use runhook::store::{DeliveryQuery, NewPayload, RuleChanges, Store};
use tempfile::TempDir;

use crate::support::engine::{local_blobs, loopback, open_store, rule, standing_clock};
use crate::support::plugin_cache;
use crate::support::waiting::a_moment;

struct Scene {
    store: Arc<dyn Store>,
    fanout: Fanout,
    hints: Option<Hints>,
    clock: ManualClock,
    rule: RuleId,
    shutdown: ShutdownTrigger,
    directory: TempDir,
}

impl Scene {
    /// A fan-out at rest.
    async fn set() -> Self {
        let (directory, store) = open_store();
        let clock = standing_clock();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let rulebook = Arc::new(RuleBook::load(store.clone(), shared.clone()).await.unwrap());
        let rule = rule(&["http://127.0.0.1:1/hook"], &Default::default(), clock.now());
        let id = rule.id;
        rulebook.begin_change().await.commit(RuleChanges { put: vec![rule], delete: Vec::new() }).await.unwrap();
        let owner = HostId::generate();
        let sender = Arc::new(HttpSender::new(loopback()).unwrap());
        let dispatch = Dispatch::new(store.clone(), rulebook.clone(), sender.clone(), shared.clone(), owner);
        let plugins = Arc::new(WasmRuntime::start(plugin_cache::settings()).unwrap());
        let (fanout, hints) = Fanout::new(fanout::Parts {
            store: store.clone(),
            rulebook,
            plugins,
            dispatch,
            blobs: local_blobs(directory.path()),
            fetch: sender,
            clock: shared,
            owner,
        });
        let (shutdown, _) = shutdown::channel();
        Self { store, fanout, hints: Some(hints), clock, rule: id, shutdown, directory }
    }

    fn start(&mut self) {
        let (trigger, shutdown) = shutdown::channel();
        self.shutdown = trigger;
        let (fanout, hints) = (self.fanout.clone(), self.hints.take().unwrap());
        tokio::spawn(async move { fanout.run(hints, shutdown).await });
    }

    /// A durable payload that fan-out has not heard of.
    async fn accept(&self) -> PendingPayload {
        let document = Bytes::from_static(br#"{"runs": []}"#);
        let (id, rule, accepted_at) = (PayloadId::generate(), self.rule, self.clock.now());
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
    assert_eq!(scene.store.pending_payloads(10).await.unwrap(), [damaged.id], "it is still on the books");
}
