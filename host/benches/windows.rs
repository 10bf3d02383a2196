//! What windows cost: of 10,000 rules while nothing comes in, and of a rule with a tree filter over a trace that grows.
//!
//! A test run takes a tenth of the rules and of the trace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use runhook::blobs::{BlobSettings, Blobs, LocalSettings, SigningKey};
use runhook::clock::{Clock, SystemClock};
use runhook::layers;
use runhook::limits;
use runhook::matching::{self, Matching, Pace};
use runhook::model::ids::{FeedbackId, ProjectId, RuleId, RunId};
use runhook::model::project::Project;
use runhook::model::rule::{Rule, RunSource};
use runhook::model::run::{FeedbackWrite, Layer, RunWrite};
use runhook::rulebook::RuleBook;
use runhook::secrets::Keyring;
use runhook::shutdown;
use runhook::store::runs::{NewRun, NewRuns};
use runhook::store::sqlite::SqliteStore;
use runhook::store::{RuleChanges, Store};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use uuid::Uuid;

/// Runs by which the trace grows in each window.
const GROWTH: usize = 500;
const THUMBS: &str = r#"has(feedback_key, "thumbs")"#;

#[tokio::main]
async fn main() {
    let share = if std::env::args().any(|argument| argument == "--test") { 10 } else { 1 };
    idle(limits::RULES_MAX / share, Duration::from_secs(30 / share as u64)).await;
    for (name, judged) in [("is open from its first run on", Some(0)), ("stays shut", None)] {
        growing(name, judged, 50_000 / share).await;
    }
}

/// CPU time that the process took so far.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

async fn idle(count: usize, time: Duration) {
    let scene = Scene::new().await;
    let rules = (0..count).map(|number| scene.rule(number, None)).collect();
    scene.put(rules).await;
    let begun = cpu();
    let _matching = scene.start().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!("{count} rules: {:.2} CPU s for the start and 5 s", (cpu() - begun).as_secs_f64());
    let begun = cpu();
    tokio::time::sleep(time).await;
    let share = (cpu() - begun).as_secs_f64() / time.as_secs_f64();
    println!("{count} rules with windows of 5 s, nothing comes in: {:.2} % of a core", 100.0 * share);
}

/// The judged run's number in the trace, where there is one.
async fn growing(name: &str, judged: Option<usize>, count: usize) {
    let scene = Scene::new().await;
    let rule = scene.rule(0, Some(THUMBS));
    let id = rule.id;
    scene.put(vec![rule]).await;
    let matching = scene.start().await;
    let root = RunId(Uuid::now_v7());
    let mut times = Vec::new();
    for window in 0..count / GROWTH {
        let numbers = window * GROWTH..(window + 1) * GROWTH;
        let ids: Vec<_> = numbers.clone().map(|number| if number == 0 { root } else { fresh() }).collect();
        let is_judged = |(number, _): &(usize, &RunId)| judged == Some(*number);
        let feedback = numbers.zip(&ids).filter(is_judged).map(|(_, id)| thumbs(*id)).collect();
        let runs = ids.iter().map(|id| run(*id, root)).collect();
        let batch = NewRuns { runs, feedback, ..NewRuns::default() };
        scene.store.ingest(batch, scene.clock.now()).await.expect("runs are stored");
        let begun = Instant::now();
        matching.trigger(id);
        while !scene.is_done(id).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let tenth = (times.len() / 10).max(1);
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    let (first, last) = (mean(&times[..tenth]), mean(&times[times.len() - tenth..]));
    println!("a trace that {name} grows to {count} runs, {GROWTH} in a window: {first:.1} ms, in the end {last:.1} ms");
}

struct Scene {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    project: Project,
    folder: tempfile::TempDir,
}

/// Matching, which is asked to stop with it.
struct Running {
    matching: Matching,
    trigger: shutdown::ShutdownTrigger,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.trigger.request();
    }
}

impl std::ops::Deref for Running {
    type Target = Matching;
    fn deref(&self) -> &Matching {
        &self.matching
    }
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let keyring = Arc::new(Keyring::load(folder.path(), None).expect("a key"));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path(), keyring).expect("a store"));
        let project = store.project_named("bench", clock.now()).await.expect("a project");
        Self { store, clock, project, folder }
    }

    async fn put(&self, put: Vec<Rule>) {
        let changes = RuleChanges { put, delete: Vec::new() };
        self.store.change_rules(changes, self.clock.now()).await.expect("rules");
    }

    async fn start(&self) -> Running {
        let public_url: url::Url = "http://localhost:8484".parse().expect("a URL");
        let (blob_folder, signing_key) = (self.folder.path().join("blobs"), SigningKey::new([0; 32]));
        let blobs = LocalSettings { folder: blob_folder, public_url: public_url.clone(), signing_key };
        let rulebook = RuleBook::load(self.store.clone(), self.clock.clone()).await.expect("rules");
        let matching = Matching::new(matching::Parts {
            workspace: self.store.workspace().await.expect("a workspace"),
            store: self.store.clone(),
            rulebook: Arc::new(rulebook),
            offer: Arc::new(drop),
            blobs: Blobs::open(BlobSettings::Local(blobs)).expect("a folder"),
            clock: self.clock.clone(),
            public_url,
            pace: Pace::default(),
        });
        let (trigger, shutdown) = shutdown::channel();
        let running = matching.clone();
        tokio::spawn(async move { running.run(shutdown).await });
        Running { matching, trigger }
    }

    fn rule(&self, number: usize, tree_filter: Option<&str>) -> Rule {
        let now = self.clock.now();
        let source = RunSource {
            project: self.project.clone(),
            filter: None,
            trace_filter: None,
            tree_filter: tree_filter.map(str::to_owned),
            window_seconds: 5,
            backfill_from: None,
            include_extended_stats: false,
        };
        Rule {
            id: RuleId::generate(),
            display_name: number.to_string(),
            is_enabled: true,
            sampling_rate: 1.0,
            source: Some(source),
            relay_secret: None,
            webhooks: Vec::new(),
            created_at: now,
            updated_at: now,
        }
    }

    async fn is_done(&self, rule: RuleId) -> bool {
        let cursor = self.store.cursor(rule).await.expect("a cursor").expect("a cursor");
        cursor.closing.is_none() && cursor.looked_at >= self.head(cursor.project).await
    }

    async fn head(&self, project: ProjectId) -> i64 {
        self.store.head(project).await.expect("a head")
    }
}

fn fresh() -> RunId {
    RunId(Uuid::now_v7())
}

fn run(id: RunId, root: RunId) -> NewRun {
    let mut document = json!({
        "id": id, "name": "answer", "run_type": "llm", "trace_id": root, "session_name": "bench",
        "start_time": "2026-07-01T09:00:00Z", "end_time": "2026-07-01T09:00:02Z",
        "inputs": {"question": "w ".repeat(800)}, "outputs": {"answer": "yes"},
    });
    if id != root {
        document["parent_run_id"] = json!(root);
    }
    let document = Bytes::from(document.to_string());
    let head = layers::head(Some(&document), None).expect("a run");
    NewRun { head, write: RunWrite { id, layer: Layer::Post, document } }
}

fn thumbs(run: RunId) -> FeedbackWrite {
    let document = Bytes::from(json!({"key": "thumbs", "score": 1, "run_id": run}).to_string());
    FeedbackWrite { id: FeedbackId::generate(), run: Some(run), key: "thumbs".to_owned(), document }
}
