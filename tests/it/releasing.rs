//! What a quarantine holds goes on by itself: the stage over the real store, fan-out and runtime, with a clock that is set.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runhook::clock::{Clock, ManualClock};
use runhook::dispatch::Dispatch;
use runhook::fanout::{self, Fanout, Replay, ReplayError};
use runhook::model::delivery::{Delivery, State};
use runhook::model::ids::{HostId, PayloadId, RuleId};
use runhook::model::payload::PendingPayload;
use runhook::model::plugin::PluginFailureKind;
use runhook::outbound::HttpSender;
use runhook::plugin::{PluginRuntime, RuntimeSettings, WasmRuntime};
use runhook::release::{self, ReleaseHeld, Released};
use runhook::rulebook::RuleBook;
use runhook::secrets::Keyring;
use runhook::shutdown::{self, ShutdownTrigger};
use runhook::store::sqlite::SqliteStore;
use runhook::store::{DeliveryQuery, NewPayload, RuleChanges, Store};
use runhook_test_guests as guests;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::engine::{local_blobs, loopback, rule, standing_clock};
use crate::support::plugin_cache;
use crate::support::waiting::{PATIENCE, a_moment};

struct Scene {
    store: Arc<dyn Store>,
    rulebook: Arc<RuleBook>,
    plugins: Arc<dyn PluginRuntime>,
    fanout: Fanout,
    clock: ManualClock,
    rule: RuleId,
    running: Vec<JoinHandle<()>>,
    shutdown: ShutdownTrigger,
    folder: TempDir,
}

impl Scene {
    /// One rule with one webhook through `breaks-on-demand`; fan-out is running.
    async fn set() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), standing_clock());
        fs_copy(guests::BREAKS_ON_DEMAND, &folder.path().join("plugins"));
        let mut rule = rule(&["http://127.0.0.1:1/hook"], &Default::default(), clock.now());
        rule.webhooks[0].plugins = vec![serde_json::from_value(json!({"name": "breaks-on-demand"})).unwrap()];
        let id = rule.id;
        let scene = Self::start(folder, clock, id).await;
        let changes = RuleChanges { put: vec![rule], delete: Vec::new() };
        scene.rulebook.begin_change().await.commit(changes).await.unwrap();
        scene
    }

    async fn start(folder: TempDir, clock: ManualClock, rule: RuleId) -> Self {
        let keyring = Arc::new(Keyring::load(folder.path(), None).unwrap());
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path(), keyring).unwrap());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let rulebook = Arc::new(RuleBook::load(store.clone(), shared.clone()).await.unwrap());
        let settings = RuntimeSettings {
            directory: Some(folder.path().join("plugins")),
            clock: shared.clone(),
            ..plugin_cache::settings()
        };
        let plugins: Arc<dyn PluginRuntime> = Arc::new(WasmRuntime::start(settings).unwrap());
        let (owner, sender) = (HostId::generate(), Arc::new(HttpSender::new(loopback()).unwrap()));
        let dispatch = Dispatch::new(store.clone(), rulebook.clone(), sender.clone(), shared.clone(), owner);
        let (fanout, hints) = Fanout::new(fanout::Parts {
            store: store.clone(),
            rulebook: rulebook.clone(),
            plugins: plugins.clone(),
            dispatch,
            blobs: local_blobs(folder.path()),
            fetch: sender,
            clock: shared,
            owner,
        });
        let (trigger, shutdown) = shutdown::channel();
        let running = vec![tokio::spawn({
            let fanout = fanout.clone();
            async move { fanout.run(hints, shutdown).await }
        })];
        Self { store, rulebook, plugins, fanout, clock, rule, running, shutdown: trigger, folder }
    }

    fn release(&mut self) {
        let fanout = self.fanout.clone();
        let stage = ReleaseHeld::new(release::Parts {
            store: self.store.clone(),
            rulebook: self.rulebook.clone(),
            plugins: self.plugins.clone(),
            release: Arc::new(move |id| {
                let fanout = fanout.clone();
                Box::pin(async move {
                    match fanout.replay(id, Replay::OutOfQuarantine).await {
                        Ok(Some(_)) | Err(ReplayError::NotHeld(_)) => Released::Gone,
                        Ok(None) => Released::Waits,
                        Err(error) => Released::Failed(error.to_string()),
                    }
                })
            }),
            is_asked_for: Arc::new(|plugin| plugin.as_str() == "breaks-on-demand"),
            clock: Arc::new(self.clock.clone()),
        });
        let (trigger, shutdown) = shutdown::channel();
        let fanout_trigger = std::mem::replace(&mut self.shutdown, trigger);
        // Both are kept: a trigger that is gone stops what listens to it.
        let stage = tokio::spawn(async move {
            stage.run(shutdown).await;
            drop(fanout_trigger);
        });
        self.running.push(stage);
    }

    /// Stops what runs and starts anew on what is stored.
    async fn restart(self) -> Self {
        let Self { running, shutdown, folder, clock, rule, store, rulebook, plugins, fanout } = self;
        shutdown.request();
        for task in running {
            task.await.unwrap();
        }
        drop((store, rulebook, plugins, fanout));
        Self::start(folder, clock, rule).await
    }

    /// A payload with a run of that name, and its delivery once there is one.
    async fn relay(&self, name: &str) -> Delivery {
        let document = Bytes::from(json!({"runs": [{"id": "1", "name": name}]}).to_string());
        let (id, accepted_at) = (PayloadId::generate(), self.clock.now());
        let new = NewPayload { id, rule: self.rule, accepted_at, document: document.clone(), idempotency_key: None };
        self.store.accept(new).await.unwrap();
        self.fanout.offer(PendingPayload { id, rule: self.rule, accepted_at, document, is_built: false });
        self.until(|all| all.iter().any(|delivery| delivery.payload == id)).await;
        self.of(id).await.remove(0)
    }

    /// The deliveries of a payload, the newest first.
    async fn of(&self, payload: PayloadId) -> Vec<Delivery> {
        self.all().await.into_iter().filter(|delivery| delivery.payload == payload).collect()
    }

    async fn all(&self) -> Vec<Delivery> {
        self.store.deliveries(DeliveryQuery { limit: 500, ..DeliveryQuery::default() }).await.unwrap()
    }

    async fn until(&self, is_there: impl Fn(&[Delivery]) -> bool) {
        let wait = async {
            while !is_there(&self.all().await) {
                a_moment().await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("it does not come about: {:#?}", self.all().await);
        }
    }

    /// Moves the clock on in steps in which the stage wakes, until it is so.
    async fn until_in_time(&self, is_there: impl Fn(&[Delivery]) -> bool) {
        let wait = async {
            while !is_there(&self.all().await) {
                self.clock.advance(Duration::from_millis(100));
                a_moment().await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("it does not come about: {:#?}", self.all().await);
        }
    }

    async fn put_into_quarantine(&self) {
        for _ in 0..5 {
            assert_eq!(self.relay("bad").await.failure, Some(PluginFailureKind::Trap));
        }
    }
}

fn fs_copy(component: &str, directory: &Path) {
    std::fs::create_dir(directory).unwrap();
    std::fs::copy(component, directory.join(Path::new(component).file_name().unwrap())).unwrap();
}

fn is_held(delivery: &Delivery) -> bool {
    delivery.failure == Some(PluginFailureKind::Quarantined) && delivery.state == State::Held
}

fn nothing_is_held_by_quarantine(all: &[Delivery]) -> bool {
    !all.iter().any(is_held)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_delivery_is_the_probe_and_when_it_passes_the_others_follow() {
    let mut scene = Scene::set().await;
    scene.put_into_quarantine().await;
    let mut held = Vec::new();
    for _ in 0..10 {
        let delivery = scene.relay("good").await;
        assert!(is_held(&delivery), "{delivery:?}");
        held.push(delivery);
    }
    scene.release();
    scene.until_in_time(nothing_is_held_by_quarantine).await;
    assert!(!scene.plugins.has_quarantines());
    let all = scene.all().await;
    let replayed: Vec<_> = all.iter().rev().filter_map(|delivery| delivery.replay_of).collect();
    assert_eq!(replayed.len(), 10, "each went on once: {all:#?}");
    assert_eq!(replayed[0], held[0].id, "the oldest is the probe");
    assert!(all.iter().filter(|delivery| delivery.replay_of.is_some()).all(|delivery| delivery.state != State::Held));
    // What it failed on itself is not tried again.
    assert_eq!(all.iter().filter(|delivery| delivery.failure == Some(PluginFailureKind::Trap)).count(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_fails_as_the_probe_is_held_by_its_own_failure_and_not_tried_again() {
    let mut scene = Scene::set().await;
    scene.put_into_quarantine().await;
    let (bad, good) = (scene.relay("bad").await, scene.relay("good").await);
    assert!(is_held(&bad) && is_held(&good));
    scene.release();
    scene.until_in_time(nothing_is_held_by_quarantine).await;
    let states = async |payload| {
        let all = scene.of(payload).await;
        all.iter().map(|delivery| (delivery.state, delivery.failure)).collect::<Vec<_>>()
    };
    let cancelled = (State::Cancelled, Some(PluginFailureKind::Quarantined));
    assert_eq!(states(bad.payload).await, [(State::Held, Some(PluginFailureKind::Trap)), cancelled]);
    assert_eq!(states(good.payload).await[1..], [cancelled]);
    let count = scene.all().await.len();
    for _ in 0..20 {
        scene.clock.advance(Duration::from_secs(1));
        scene.relay("good").await;
    }
    assert_eq!(scene.all().await.len(), count + 20, "nothing but what is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_ends_every_quarantine_and_what_it_held_goes_on() {
    let mut scene = Scene::set().await;
    scene.put_into_quarantine().await;
    let held = scene.relay("good").await;
    assert!(is_held(&held));
    scene.release();
    let mut scene = scene.restart().await;
    assert!(scene.of(held.payload).await.iter().any(is_held));
    scene.release();
    scene.until(nothing_is_held_by_quarantine).await;
    scene.shutdown.request();
    scene.running.pop().unwrap().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_that_is_off_holds_waits_for_the_rule() {
    let mut scene = Scene::set().await;
    scene.put_into_quarantine().await;
    let held = scene.relay("good").await;
    let set_enabled = async |scene: &Scene, is_enabled| {
        let change = scene.rulebook.begin_change().await;
        let mut rule = (**change.before().rule(scene.rule).unwrap()).clone();
        rule.is_enabled = is_enabled;
        change.commit(RuleChanges { put: vec![rule], delete: Vec::new() }).await.unwrap();
    };
    set_enabled(&scene, false).await;
    // Looks at once, and again at each tick of the pause and after it.
    scene.release();
    for _ in 0..20 {
        scene.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    assert!(scene.of(held.payload).await.iter().any(is_held));
    set_enabled(&scene, true).await;
    scene.until_in_time(nothing_is_held_by_quarantine).await;
}
