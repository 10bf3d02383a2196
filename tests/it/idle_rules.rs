//! What rules cost where little happens: no read of the store in windows without a commit to their project, what changed
//! of a trace and not all of it, and one complaint about a rule that is not understood.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use runhook::clock::{Clock, ManualClock};
use runhook::layers;
use runhook::limits;
use runhook::matching::{self, Matching, Pace};
use runhook::model::Timestamp;
use runhook::model::ids::{FeedbackId, RunId};
use runhook::model::project::Project;
use runhook::model::rule::{Rule, RunSource};
use runhook::model::run::{FeedbackWrite, Layer, RunWrite};
use runhook::rulebook::RuleBook;
use runhook::shutdown::{self, ShutdownTrigger};
use runhook::store::runs::{NewRun, NewRuns, RunStore};
use runhook::store::{RuleChanges, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing::span;
use uuid::Uuid;

use crate::support::engine;
use crate::support::faulty_store::FaultyStore;
use crate::support::waiting::{PATIENCE, a_moment};

const WINDOW: Duration = Duration::from_secs(5);
/// Longer than a busy machine needs for a window of all rules.
/// A clock that counts how often somebody began to wait: matching once, and each rule once for each window.
#[derive(Clone)]
struct CountingClock {
    clock: ManualClock,
    sleeps: Arc<AtomicUsize>,
}

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let sleep = self.clock.sleep_until(until);
        self.sleeps.fetch_add(1, Ordering::SeqCst);
        sleep
    }
    fn random(&self) -> f64 {
        self.clock.random()
    }
}

/// Matching over rules with windows of 5 s.
struct Scene {
    store: Arc<FaultyStore>,
    rulebook: Arc<RuleBook>,
    clock: CountingClock,
    rules: usize,
    /// Waits that have been seen.
    waits: usize,
    _shutdown: ShutdownTrigger,
    _folder: TempDir,
}

impl Scene {
    /// Starts matching once `make` has filled the store, and lets each rule look for the first time.
    async fn start<M: Future<Output = Vec<Rule>>>(make: impl FnOnce(Arc<dyn Store>, Timestamp) -> M) -> Self {
        let (folder, store) = engine::open_store();
        let clock = CountingClock { clock: engine::standing_clock(), sleeps: Arc::default() };
        let put = make(store.clone(), clock.now()).await;
        let rules = put.len();
        store.change_rules(RuleChanges { put, delete: Vec::new() }, clock.now()).await.unwrap();
        let store = Arc::new(FaultyStore::counting(store));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let rulebook = Arc::new(RuleBook::load(store.clone(), shared.clone()).await.unwrap());
        let matching = Matching::new(matching::Parts {
            workspace: store.workspace().await.unwrap(),
            store: store.clone(),
            rulebook: rulebook.clone(),
            offer: Arc::new(drop),
            blobs: engine::local_blobs(folder.path()),
            clock: shared,
            public_url: "http://localhost:8484".parse().unwrap(),
            pace: Pace::default(),
        });
        let (trigger, shutdown) = shutdown::channel();
        tokio::spawn(async move { matching.run(shutdown).await });
        let mut scene = Self { store, rulebook, clock, rules, waits: 0, _shutdown: trigger, _folder: folder };
        scene.all_wait().await;
        scene
    }

    /// Waits until matching and each of its rules have worked off what was due.
    async fn all_wait(&mut self) {
        self.waits += self.rules + 1;
        let wait = async {
            while self.clock.sleeps.load(Ordering::SeqCst) < self.waits {
                a_moment().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("all rules come to rest");
    }

    /// Ends a window of all rules. Calls of the store that it took.
    async fn window(&mut self) -> usize {
        let before = self.store.calls();
        self.clock.clock.advance(WINDOW);
        self.all_wait().await;
        self.store.calls() - before
    }

    async fn payloads(&self) -> Vec<Value> {
        let store = self.store.beneath();
        let mut documents = Vec::new();
        for (id, _) in store.pending_payloads(None, 1_000_000).await.unwrap() {
            documents.push(serde_json::from_slice(&store.payload(id).await.unwrap().unwrap().document).unwrap());
        }
        documents
    }
}

fn rule(number: usize, project: &Project, filter: Option<&str>, now: Timestamp) -> Rule {
    tree_rule(number, project, [filter, None], now)
}

/// With a filter of runs and one of trees.
fn tree_rule(number: usize, project: &Project, filters: [Option<&str>; 2], now: Timestamp) -> Rule {
    let [filter, tree_filter] = filters.map(|filter| filter.map(str::to_owned));
    let source = RunSource {
        project: project.clone(),
        filter,
        trace_filter: None,
        tree_filter,
        window_seconds: WINDOW.as_secs() as u32,
        backfill_from: None,
        include_extended_stats: false,
    };
    let plain = engine::rule(&["http://127.0.0.1:1/"], &BTreeMap::new(), now);
    Rule { display_name: number.to_string(), source: Some(source), ..plain }
}

fn run(project: &Project) -> NewRuns {
    let id = fresh();
    NewRuns { runs: vec![run_of(id, id, project)], ..NewRuns::default() }
}

fn fresh() -> RunId {
    RunId(Uuid::now_v7())
}

/// A complete run of a trace; the root where it is the trace's.
fn run_of(trace: RunId, id: RunId, project: &Project) -> NewRun {
    let mut document = json!({
        "name": "n", "run_type": "chain", "session_name": project.name, "trace_id": trace,
        "start_time": "2026-07-01T09:00:00", "end_time": "2026-07-01T09:00:01",
    });
    if id != trace {
        document["parent_run_id"] = json!(trace);
    }
    let document = Bytes::from(document.to_string());
    let head = layers::head(Some(&document), None).unwrap();
    NewRun { head, write: RunWrite { id, layer: Layer::Post, document } }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_in_which_nothing_comes_in_reads_nothing() {
    const RULES: usize = 1_000;
    const PROJECTS: usize = 10;
    const PER_PROJECT: usize = RULES / PROJECTS;
    let mut projects = Vec::new();
    let mut scene = Scene::start(|store, now| {
        let projects = &mut projects;
        async move {
            for project in 0..PROJECTS {
                projects.push(store.project_named(&format!("p{project}"), now).await.unwrap());
                store.ingest(run(&projects[project]), now).await.unwrap();
            }
            (0..RULES).map(|number| rule(number, &projects[number % PROJECTS], None, now)).collect()
        }
    })
    .await;
    println!("{} calls of the store at the start", scene.store.calls());
    assert_eq!(scene.store.calls(), 2 * RULES, "each rule asks for its cursor and for the head");
    for _ in 0..50 {
        assert_eq!(scene.window().await, 0);
    }

    let last_end = scene.clock.now();
    scene.store.beneath().ingest(run(&projects[3]), scene.clock.now()).await.unwrap();
    let calls = scene.window().await;
    println!("{calls} calls for {PER_PROJECT} rules to which a run came");
    assert!((PER_PROJECT..=10 * PER_PROJECT).contains(&calls), "{calls}");
    let payloads = scene.payloads().await;
    assert_eq!(payloads.len(), PER_PROJECT);
    for payload in payloads {
        let start: Timestamp = payload["start_time"].as_str().unwrap().parse().unwrap();
        assert_eq!(start, last_end, "windows ended while nothing came in");
    }
    assert_eq!(scene.window().await, 0);

    let edited = rule(3, &projects[3], Some(r#"eq(status, "error")"#), scene.clock.now());
    let number_3 = scene.rulebook.snapshot().rules().iter().find(|rule| rule.display_name == "3").unwrap().id;
    let put = vec![Rule { id: number_3, ..edited }];
    let changes = RuleChanges { put, delete: Vec::new() };
    scene.rulebook.begin_change().await.commit(changes).await.unwrap();
    assert_eq!(scene.window().await, 2, "the rule that was edited looks where its cursor is");
    assert_eq!(scene.window().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_grows_costs_what_changed_of_it() {
    /// More than one page of changes, and of a tree.
    const GROWTH: usize = 2 * limits::LOOK_RUNS_MAX + 1;
    let mut made = None;
    let mut scene = Scene::start(|store, now| {
        let made = &mut made;
        async move {
            let project = made.insert(store.project_named("p", now).await.unwrap());
            let judged = |key: &str| format!(r#"has(feedback_key, "{key}")"#);
            // Open and shut, with runs that match and with runs that never do.
            let asked = [(None, "thumbs"), (Some(r#"eq(status, "error")"#), "thumbs"), (None, "never")];
            let rules = asked.into_iter().enumerate();
            rules.map(|(number, (filter, key))| tree_rule(number, project, [filter, Some(&judged(key))], now)).collect()
        }
    })
    .await;
    let (project, root) = (made.unwrap(), fresh());
    let mut calls = Vec::new();
    for window in 0..8 {
        let ids = (0..GROWTH).map(|number| if window == 0 && number == 0 { root } else { fresh() });
        let mut batch = NewRuns { runs: ids.map(|id| run_of(root, id, &project)).collect(), ..NewRuns::default() };
        if window == 0 {
            let document = Bytes::from(json!({"key": "thumbs", "score": 1, "run_id": root}).to_string());
            let (id, key) = (FeedbackId::generate(), "thumbs".to_owned());
            batch.feedback = vec![FeedbackWrite { id, run: Some(root), key, document }];
        }
        scene.store.beneath().ingest(batch, scene.clock.now()).await.unwrap();
        calls.push(scene.window().await);
    }
    println!("calls of the store by window: {calls:?}");
    assert!(calls[2..].iter().all(|window| *window <= calls[1]), "{calls:?}");
    let sent: usize = scene.payloads().await.iter().map(|payload| payload["runs"].as_array().unwrap().len()).sum();
    assert_eq!(sent, 8 * GROWTH, "one rule sends all");
}

/// Counts the errors that are logged.
struct Errors(Arc<AtomicUsize>);

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// On one thread, so that what is logged is heard.
#[tokio::test]
async fn a_filter_that_is_not_understood_is_said_once_for_each_version_of_its_rule() {
    let errors = Arc::new(AtomicUsize::new(0));
    let _heard = tracing::subscriber::set_default(Errors(errors.clone()));
    let said = || errors.load(Ordering::SeqCst);
    let mut scene = Scene::start(async |store: Arc<dyn Store>, now| {
        let project = store.project_named("p", now).await.unwrap();
        vec![rule(0, &project, Some("of a later version("), now)]
    })
    .await;
    for _ in 0..5 {
        assert_eq!((scene.window().await, said()), (0, 1));
    }
    let broken = Rule::clone(&scene.rulebook.snapshot().rules()[0]);
    let source = broken.source.clone().unwrap();
    let put = async |scene: &Scene, filter: Option<&str>| {
        let source = RunSource { filter: filter.map(str::to_owned), ..source.clone() };
        let changes = RuleChanges { put: vec![Rule { source: Some(source), ..broken.clone() }], delete: Vec::new() };
        scene.rulebook.begin_change().await.commit(changes).await.unwrap();
    };
    put(&scene, Some("another one(")).await;
    for _ in 0..5 {
        assert_eq!((scene.window().await, said()), (0, 2));
    }
    put(&scene, None).await;
    scene.store.beneath().ingest(run(&source.project), scene.clock.now()).await.unwrap();
    scene.window().await;
    assert_eq!((scene.payloads().await.len(), said()), (1, 2), "the rule looks as soon as it is understood");
}
