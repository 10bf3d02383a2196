//! The delivery side of the engine: the real store, dispatch and sender around one rule, with a clock of choice.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use runhook::blobs::{BlobSettings, Blobs, LocalSettings, SigningKey};
use runhook::clock::{Clock, ManualClock, after};
use runhook::dispatch::Dispatch;
use runhook::limits;
use runhook::model::Timestamp;
use runhook::model::attempt::Outcome;
use runhook::model::delivery::{Claim, DeliveryRecord, Fate, NewDelivery, State};
use runhook::model::endpoint::{Endpoint, EndpointUrl};
use runhook::model::ids::{DeliveryId, EndpointId, HostId, PayloadId, RuleId, WebhookId};
use runhook::model::pace::Pace;
use runhook::model::payload::{Body, PendingPayload};
use runhook::model::retry::Retry;
use runhook::model::rule::{Rule, Webhook};
use runhook::model::secret::Secret;
use runhook::outbound::{AddressPolicy, HttpSender};
use runhook::rulebook::RuleBook;
use runhook::secrets::Keyring;
use runhook::shutdown::{self, ShutdownTrigger};
use runhook::store::sqlite::SqliteStore;
use runhook::store::{ClaimNow, ClaimRequest, NewPayload, Room, RuleChanges, Store};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::faulty_store::FaultyStore;
use crate::support::waiting::{PATIENCE, a_moment};

pub(crate) struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) dispatch: Dispatch,
    rulebook: Arc<RuleBook>,
    clock: Arc<dyn Clock>,
    rule: Rule,
    shutdown: ShutdownTrigger,
    running: Option<JoinHandle<()>>,
    _directory: TempDir,
}

/// The policy of the tests: loopback is open.
pub(crate) fn loopback() -> AddressPolicy {
    AddressPolicy::allowing(vec!["127.0.0.0/8".parse().unwrap()])
}

/// A clock that stands.
pub(crate) fn standing_clock() -> ManualClock {
    ManualClock::at("2026-07-01T09:00:00Z".parse().unwrap())
}

impl Engine {
    /// An engine whose one rule has a webhook per URL, named `0`, `1` and so on; it may reach loopback.
    pub(crate) async fn start(clock: impl Clock + 'static, urls: &[&str]) -> Self {
        Self::start_with(clock, urls, BTreeMap::new(), HttpSender::new(loopback()).unwrap()).await
    }

    pub(crate) async fn start_with(
        clock: impl Clock + 'static,
        urls: &[&str],
        headers: BTreeMap<String, Secret>,
        sender: HttpSender,
    ) -> Self {
        let (directory, store) = open_store();
        Self::assemble(directory, store, Arc::new(clock), urls, headers, sender).await
    }

    /// An engine whose one webhook is shaped by the closure.
    pub(crate) async fn start_shaped(
        clock: impl Clock + 'static,
        url: &str,
        shape: impl FnOnce(&mut Endpoint),
    ) -> Self {
        let (directory, store) = open_store();
        let mut rule = rule(&[url], &BTreeMap::new(), clock.now());
        shape(&mut rule.webhooks[0].endpoint);
        Self::around(directory, store, Arc::new(clock), rule, HttpSender::new(loopback()).unwrap()).await
    }

    /// An engine over a store that refuses so many outcomes.
    pub(crate) async fn start_faulty(clock: ManualClock, url: &str, refusing: usize) -> (Self, Arc<FaultyStore>) {
        let (directory, store) = open_store();
        let store = Arc::new(FaultyStore::refusing(store, refusing));
        let sender = HttpSender::new(loopback()).unwrap();
        let clock = Arc::new(clock);
        (Self::assemble(directory, store.clone(), clock, &[url], BTreeMap::new(), sender).await, store)
    }

    async fn assemble(
        directory: TempDir,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        urls: &[&str],
        headers: BTreeMap<String, Secret>,
        sender: HttpSender,
    ) -> Self {
        let rule = rule(urls, &headers, clock.now());
        Self::around(directory, store, clock, rule, sender).await
    }

    async fn around(
        directory: TempDir,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        rule: Rule,
        sender: HttpSender,
    ) -> Self {
        let rulebook = Arc::new(RuleBook::load(store.clone(), clock.clone()).await.unwrap());
        let changes = RuleChanges { put: vec![rule.clone()], delete: Vec::new() };
        rulebook.begin_change().await.commit(changes).await.unwrap();
        let dispatch =
            Dispatch::new(store.clone(), rulebook.clone(), Arc::new(sender), clock.clone(), HostId::generate());
        let (trigger, shutdown) = shutdown::channel();
        let looping = dispatch.clone();
        let running = Some(tokio::spawn(async move { looping.run(shutdown).await }));
        Self { store, dispatch, rulebook, clock, rule, shutdown: trigger, running, _directory: directory }
    }

    /// The operator corrects the URL of the first webhook.
    pub(crate) async fn move_to(&self, url: &str) {
        let mut rule = self.rule.clone();
        rule.webhooks[0].endpoint.url = EndpointUrl::parse(url).unwrap();
        let changes = RuleChanges { put: vec![rule], delete: Vec::new() };
        self.rulebook.begin_change().await.commit(changes).await.unwrap();
    }

    pub(crate) fn endpoint(&self, webhook: usize) -> EndpointId {
        EndpointId { rule: self.rule.id, webhook: WebhookId(webhook.to_string()) }
    }

    /// Queues a delivery of this body to the webhook.
    pub(crate) async fn queue(&self, webhook: usize, body: Body) -> DeliveryId {
        let payload = self.accept().await;
        let id = DeliveryId::generate();
        let delivery = NewDelivery { id, endpoint: self.endpoint(webhook), fate: Fate::Send(body), replay_of: None };
        let now = self.clock.now();
        let claim = ClaimNow { owner: HostId::generate(), lease_until: now, deliveries: Vec::new() };
        self.store.fan_out(&payload, vec![delivery], claim, now).await.unwrap();
        id
    }

    /// Queues a delivery of a small body to the first webhook and lets it be sent.
    pub(crate) async fn send(&self) -> DeliveryId {
        let id = self.queue(0, Body::json(Bytes::from_static(br#"{"runs": []}"#))).await;
        self.dispatch.nudge();
        id
    }

    async fn accept(&self) -> PendingPayload {
        let (id, now) = (PayloadId::generate(), self.clock.now());
        let document = Bytes::from_static(br#"{"runs": []}"#);
        let new =
            NewPayload { id, rule: self.rule.id, accepted_at: now, document: document.clone(), idempotency_key: None };
        self.store.accept(new).await.unwrap();
        PendingPayload { id, rule: self.rule.id, accepted_at: now, document, is_built: false }
    }

    /// What another host claims; where the claim is dropped, that host crashed.
    pub(crate) async fn claim(&self) -> Claim {
        let now = self.clock.now();
        let request = ClaimRequest {
            owner: HostId::generate(),
            now,
            lease_until: after(now, limits::LEASE),
            room: Room::everywhere(1),
            limit: 1,
            bytes_max: 1,
        };
        self.store.claim(request).await.unwrap().pop().expect("something is due")
    }

    pub(crate) async fn record(&self, id: DeliveryId) -> DeliveryRecord {
        self.store.delivery(id).await.unwrap().unwrap()
    }

    /// The delivery's record once so many attempts have ended.
    pub(crate) async fn attempted(&self, id: DeliveryId, attempts: usize) -> DeliveryRecord {
        self.wait_for(id, |record| record.attempts.len() >= attempts).await
    }

    /// The delivery's record once nothing more will be tried.
    pub(crate) async fn settled(&self, id: DeliveryId) -> DeliveryRecord {
        self.wait_for(id, |record| record.delivery.state != State::Pending).await
    }

    async fn wait_for(&self, id: DeliveryId, is_there: impl Fn(&DeliveryRecord) -> bool) -> DeliveryRecord {
        let wait = async {
            loop {
                let record = self.record(id).await;
                if is_there(&record) {
                    return record;
                }
                a_moment().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the delivery comes to this point in time")
    }

    /// Waits until no attempt is in flight.
    pub(crate) async fn at_rest(&self) {
        self.until(|engine| engine.rule.webhooks.iter().all(|webhook| engine.in_flight(webhook) == 0)).await;
    }

    fn in_flight(&self, webhook: &Webhook) -> usize {
        self.dispatch.state(&self.rule.endpoint_id(webhook)).1
    }

    /// Waits until it is so.
    pub(crate) async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_so(self) {
                a_moment().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it comes to this in time");
    }

    /// Stops, and returns once the loop has ended.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.request();
        self.running.take().unwrap().await.unwrap();
    }
}

/// The outcomes of a delivery's attempts, in order.
pub(crate) fn outcomes(record: &DeliveryRecord) -> Vec<Outcome> {
    record.attempts.iter().map(|attempt| attempt.outcome).collect()
}

pub(crate) fn open_store() -> (TempDir, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let keyring = Arc::new(Keyring::load(directory.path(), None).unwrap());
    let store = Arc::new(SqliteStore::open(directory.path(), keyring).unwrap());
    (directory, store)
}

/// Blobs in a folder of the directory.
pub(crate) fn local_blobs(directory: &Path) -> Blobs {
    let settings = LocalSettings {
        folder: directory.join("blobs"),
        public_url: "http://localhost:8484".parse().unwrap(),
        signing_key: SigningKey::new([7; 32]),
    };
    Blobs::open(BlobSettings::Local(settings)).unwrap()
}

pub(crate) fn rule(urls: &[&str], headers: &BTreeMap<String, Secret>, now: Timestamp) -> Rule {
    let webhook = |(index, url): (usize, &&str)| Webhook {
        id: WebhookId(index.to_string()),
        endpoint: Endpoint {
            url: EndpointUrl::parse(url).unwrap(),
            headers: headers.clone(),
            retry: Retry::default(),
            pace: Pace::default(),
            signing_secrets: Vec::new(),
            access: Arc::default(),
        },
        plugins: Vec::new(),
    };
    Rule {
        id: RuleId::generate(),
        display_name: "to be delivered".to_owned(),
        is_enabled: true,
        sampling_rate: 1.0,
        source: None,
        relay_secret: None,
        webhooks: urls.iter().enumerate().map(webhook).collect(),
        created_at: now,
        updated_at: now,
    }
}

/// One attempt, which was the last.
#[track_caller]
pub(crate) fn assert_failed_at_once(record: &DeliveryRecord, outcome: Outcome) {
    assert_eq!(outcomes(record), [outcome], "{record:?}");
    assert_eq!(record.delivery.state, State::Failed);
}
