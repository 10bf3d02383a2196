//! A clock that jumps by hours and days, forwards and back, while payloads come in, fail and are tried again: when it goes
//! right at last, everything comes to its end within the delays that the webhooks ask for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use runhook::clock::{Clock, ManualClock, after};
use runhook::dispatch::Dispatch;
use runhook::fanout::{self, Fanout};
use runhook::model::Timestamp;
use runhook::model::attempt::Outcome;
use runhook::model::delivery::{DeliveryRecord, State};
use runhook::model::ids::{HostId, PayloadId, RuleId, WebhookId};
use runhook::model::pace::Pace;
use runhook::model::payload::PendingPayload;
use runhook::model::retry::{Profile, Retry};
use runhook::model::rule::Rule;
use runhook::outbound::HttpSender;
use runhook::plugin::WasmRuntime;
use runhook::rulebook::RuleBook;
use runhook::shutdown::{self, ShutdownTrigger};
use runhook::store::{DeliveryQuery, NewPayload, RuleChanges, Store};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::engine::{local_blobs, loopback, open_store, rule, standing_clock};
use crate::support::plugin_cache;
use crate::support::receiver::{Act, Received, Receiver};
use crate::support::waiting::{PATIENCE, a_moment};

/// Payloads, and moments at which the clock may jump.
const STEPS: usize = 150;
/// The longest delay that a webhook asks for; the receiver asks for no longer one.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// What the clock may go on for until all has come to its end: some delays, a lease, the breaker's pauses. No jump is as
/// short.
const SETTLED_WITHIN: Duration = Duration::from_mins(30);
const THROTTLED: &str = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n";

/// Store, fan-out and dispatch with a clock of its own.
struct Scene {
    store: Arc<dyn Store>,
    fanout: Fanout,
    dispatch: Dispatch,
    clock: ManualClock,
    rule: Rule,
    _shutdown: ShutdownTrigger,
    _directory: TempDir,
}

/// Webhooks of several kinds, all to one receiver.
fn rule_to(receiver: &Receiver, now: Timestamp) -> Rule {
    let url = receiver.url();
    let mut rule = rule(&[&url, &url, &url, &url], &Default::default(), now);
    let durable = Retry {
        profile: Profile::Durable,
        attempts: Some(60),
        backoff_seconds: Some(vec![5, LONGEST_DELAY.as_secs() as u32]),
        ..Retry::default()
    };
    let paces = [
        Pace::default(),
        Pace::default(),
        Pace { rate_per_second: Some(20.0), ..Pace::default() },
        Pace { is_ordered: true, ..Pace::default() },
    ];
    // The first keeps the default profile, which gives up soon.
    rule.webhooks.iter_mut().skip(1).for_each(|webhook| webhook.endpoint.retry = durable.clone());
    rule.webhooks.iter_mut().zip(paces).for_each(|(webhook, pace)| webhook.endpoint.pace = pace);
    rule
}

/// What the receiver does, at random; it works when that is over.
fn script(random: &mut StdRng) -> Vec<Act> {
    let mut act = || match random.random_range(0..50) {
        0..25 => Act::Answer(200),
        25..40 => Act::Answer(503),
        40..44 => Act::WriteThenClose("HTTP/1.1 2"),
        44..48 => Act::AnswerThenClose(500),
        _ => Act::WriteThenClose(THROTTLED),
    };
    (0..4 * STEPS).map(|_| act()).chain([Act::Answer(200)]).collect()
}

impl Scene {
    async fn set(receiver: &Receiver) -> Self {
        let (directory, store) = open_store();
        let clock = standing_clock();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let rule = rule_to(receiver, clock.now());
        let rulebook = Arc::new(RuleBook::load(store.clone(), shared.clone()).await.unwrap());
        let changes = RuleChanges { put: vec![rule.clone()], delete: Vec::new() };
        rulebook.begin_change().await.commit(changes).await.unwrap();
        let owner = HostId::generate();
        let sender = Arc::new(HttpSender::new(loopback()).unwrap());
        let dispatch = Dispatch::new(store.clone(), rulebook.clone(), sender.clone(), shared.clone(), owner);
        let (fanout, hints) = Fanout::new(fanout::Parts {
            store: store.clone(),
            rulebook,
            plugins: Arc::new(WasmRuntime::start(plugin_cache::settings()).unwrap()),
            dispatch: dispatch.clone(),
            blobs: local_blobs(directory.path()),
            fetch: sender,
            clock: shared,
            owner,
        });
        let (trigger, shutdown) = shutdown::channel();
        let (fanning_out, sending, until) = (fanout.clone(), dispatch.clone(), shutdown.clone());
        tokio::spawn(async move { fanning_out.run(hints, until).await });
        tokio::spawn(async move { sending.run(shutdown).await });
        Self { store, fanout, dispatch, clock, rule, _shutdown: trigger, _directory: directory }
    }

    /// Takes a payload, and tells fan-out of it or leaves it to be found.
    async fn accept(&self, is_offered: bool) -> PayloadId {
        let (id, rule, accepted_at): (_, RuleId, _) = (PayloadId::generate(), self.rule.id, self.clock.now());
        let document = Bytes::from(format!(r#"{{"runs": [], "id": "{id}"}}"#));
        let new = NewPayload { id, rule, accepted_at, document: document.clone(), idempotency_key: None };
        self.store.accept(new).await.unwrap();
        if is_offered {
            self.fanout.offer(PendingPayload { id, rule, accepted_at, document, is_built: false });
        }
        id
    }

    fn in_flight(&self) -> usize {
        let endpoint = |webhook| self.rule.endpoint_id(webhook);
        self.rule.webhooks.iter().map(|webhook| self.dispatch.state(&endpoint(webhook)).1).sum()
    }

    /// Waits until no attempt is in flight, so that time does not run away from it.
    async fn at_rest(&self) {
        let wait = async {
            while self.in_flight() > 0 {
                a_moment().await;
            }
        };
        timeout(PATIENCE, wait).await.expect("attempts end");
    }

    async fn is_settled(&self) -> bool {
        let is_pending = |(_, state, count): (_, State, u64)| state == State::Pending && count > 0;
        self.store.pending_payloads(None, 1).await.unwrap().is_empty()
            && !self.store.ledger().await.unwrap().into_iter().any(is_pending)
    }

    /// Lets the clock go on until nothing waits any more.
    async fn settle(&self) {
        let end = after(self.clock.now(), SETTLED_WITHIN);
        let wait = async {
            while !self.is_settled().await {
                assert!(self.clock.now() < end, "something is stuck: {:#?}", self.pending().await);
                self.at_rest().await;
                self.clock.advance(Duration::from_secs(1));
                a_moment().await;
            }
        };
        timeout(2 * PATIENCE, wait).await.expect("it comes to its end");
    }

    async fn pending(&self) -> Vec<DeliveryRecord> {
        let query = DeliveryQuery { state: Some(State::Pending), limit: 5, ..DeliveryQuery::default() };
        self.records(query).await
    }

    async fn records(&self, query: DeliveryQuery) -> Vec<DeliveryRecord> {
        let mut records = Vec::new();
        for delivery in self.store.deliveries(query).await.unwrap() {
            records.push(self.store.delivery(delivery.id).await.unwrap().unwrap());
        }
        records
    }
}

/// What the clock shows apart from the time that has passed.
fn jump(random: &mut StdRng) -> i64 {
    let hours = if random.random_bool(0.5) { random.random_range(1..12) } else { 24 * random.random_range(1..9) };
    if random.random_bool(0.5) { hours } else { -hours }
}

#[tokio::test]
async fn nothing_is_lost_or_stuck_where_the_clock_jumps_by_hours_and_days() {
    let seed = std::env::var("RUNHOOK_TEST_SEED").map_or_else(|_| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let receiver = Receiver::start(script(&mut random)).await;
    let scene = Scene::set(&receiver).await;
    let mut accepted = Vec::new();
    // How far ahead the clock is of the right time.
    let mut ahead = 0;
    for _ in 0..STEPS {
        accepted.push(scene.accept(random.random_bool(0.8)).await);
        if random.random_bool(0.3) {
            scene.at_rest().await;
        }
        let hours = if random.random_bool(0.3) { jump(&mut random) } else { 0 };
        ahead += hours;
        scene.clock.set(scene.clock.now() + jiff::SignedDuration::from_hours(hours));
        scene.clock.advance(Duration::from_millis(random.random_range(0..3_000)));
        tokio::time::sleep(Duration::from_millis(random.random_range(0..3))).await;
    }
    scene.clock.set(scene.clock.now() - jiff::SignedDuration::from_hours(ahead));

    scene.settle().await;
    let webhooks: Vec<_> = scene.rule.webhooks.iter().map(|webhook| webhook.id.clone()).collect();
    let arrived = arrivals(&receiver.received());
    let mut told = Told::default();
    for payload in accepted {
        let query = DeliveryQuery { payload: Some(payload), limit: 100, ..DeliveryQuery::default() };
        let records = scene.records(query).await;
        let mut found: Vec<WebhookId> = records.iter().map(|record| record.delivery.endpoint.webhook.clone()).collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(found, webhooks, "a delivery for each webhook");
        records.iter().for_each(|record| told.check(record, &arrived));
    }
    println!("{told:?}");
    assert!(told.retried > 0 && told.failed > 0, "{told:?}");
}

/// The bodies that came, by delivery.
fn arrivals(received: &[Received]) -> HashMap<String, Vec<Vec<u8>>> {
    let mut arrived: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for request in received {
        arrived.entry(request.header("webhook-id")[0].to_owned()).or_default().push(request.body.clone());
    }
    arrived
}

#[derive(Debug, Default)]
struct Told {
    delivered: usize,
    failed: usize,
    retried: usize,
    interrupted: usize,
    duplicates: usize,
}

impl Told {
    fn check(&mut self, record: &DeliveryRecord, arrived: &HashMap<String, Vec<Vec<u8>>>) {
        let numbers = record.attempts.iter().map(|attempt| attempt.number);
        assert!(numbers.eq(1..=record.delivery.attempts), "{record:#?}");
        let outcomes: Vec<_> = record.attempts.iter().map(|attempt| attempt.outcome).collect();
        self.retried += outcomes.len() - 1;
        self.interrupted += outcomes.iter().filter(|outcome| **outcome == Outcome::Interrupted).count();
        let last = outcomes.last().unwrap();
        match record.delivery.state {
            State::Delivered => {
                self.delivered += 1;
                assert_eq!(*last, Outcome::Delivered, "{record:#?}");
                let bodies = &arrived[&record.delivery.id.to_string()];
                assert!(bodies.iter().all(|body| *body == bodies[0]));
                self.duplicates += bodies.len() - 1;
            }
            State::Failed => {
                self.failed += 1;
                assert_eq!(record.delivery.endpoint.webhook.0, "0", "the others do not give up: {record:#?}");
                assert!(!matches!(last, Outcome::Delivered | Outcome::Interrupted), "{record:#?}");
            }
            other => panic!("{other}: {record:#?}"),
        }
    }
}
