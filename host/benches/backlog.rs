//! A rule over a backlog: how fast it is worked off, how much memory that takes, and what a look at nothing new costs.
//!
//! `RUNHOOK_BENCH_BACKLOG` sets the number of runs, a million where it is not set; a test run takes a thousand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use runhook::blobs::{BlobSettings, Blobs, LocalSettings, SigningKey};
use runhook::clock::{Clock, SystemClock};
use runhook::layers;
use runhook::matching::{self, Matching, Pace};
use runhook::model::Timestamp;
use runhook::model::ids::{RuleId, RunId};
use runhook::model::rule::{Rule, RunSource};
use runhook::model::run::{Layer, RunWrite};
use runhook::rulebook::RuleBook;
use runhook::secrets::Keyring;
use runhook::shutdown;
use runhook::store::runs::{NewRun, NewRuns};
use runhook::store::sqlite::SqliteStore;
use runhook::store::{RuleChanges, Store};
use serde_json::json;
use uuid::Uuid;

const RUNS_PER_BATCH: usize = 1_000;

fn new_run() -> NewRun {
    let id = RunId(Uuid::now_v7());
    let document = json!({
        "id": id, "name": "answer", "run_type": "llm", "trace_id": id, "session_name": "bench",
        "start_time": "2026-07-01T09:00:00Z", "end_time": "2026-07-01T09:00:02Z",
        "inputs": {"question": "w ".repeat(800)}, "outputs": {"answer": "yes"},
    });
    let document = Bytes::from(document.to_string());
    let head = layers::head(Some(&document), None).expect("a run");
    NewRun { head, write: RunWrite { id, layer: Layer::Post, document } }
}

/// A field of `/proc/self/status`, in MiB.
fn memory_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

#[tokio::main]
async fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let asked = std::env::var("RUNHOOK_BENCH_BACKLOG").ok().and_then(|text| text.parse().ok());
    let count: usize = asked.unwrap_or(if is_test { RUNS_PER_BATCH } else { 1_000_000 });
    let folder = tempfile::tempdir().expect("a temporary directory");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keyring = Arc::new(Keyring::load(folder.path(), None).expect("a key"));
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path(), keyring).expect("a store"));
    let begun = Instant::now();
    for _ in 0..count / RUNS_PER_BATCH {
        let runs = (0..RUNS_PER_BATCH).map(|_| new_run()).collect();
        store.ingest(NewRuns { runs, ..NewRuns::default() }, clock.now()).await.expect("runs are stored");
    }
    println!("{count} runs stored in {:.1} s", begun.elapsed().as_secs_f64());

    let rule = rule(&store, clock.now()).await;
    let id = rule.id;
    store.change_rules(RuleChanges { put: vec![rule], delete: Vec::new() }, clock.now()).await.expect("a rule");
    let rulebook = Arc::new(RuleBook::load(store.clone(), clock.clone()).await.expect("rules"));
    let payloads = Arc::new(AtomicUsize::new(0));
    let counted = payloads.clone();
    let public_url: url::Url = "http://localhost:8484".parse().expect("a URL");
    let (blob_folder, signing_key) = (folder.path().join("blobs"), SigningKey::new([0; 32]));
    let blobs = LocalSettings { folder: blob_folder, public_url: public_url.clone(), signing_key };
    let matching = Matching::new(matching::Parts {
        workspace: store.workspace().await.expect("a workspace"),
        store: store.clone(),
        rulebook,
        offer: Arc::new(move |_| _ = counted.fetch_add(1, Ordering::Relaxed)),
        blobs: Blobs::open(BlobSettings::Local(blobs)).expect("a folder"),
        clock: clock.clone(),
        public_url,
        pace: Pace::default(),
    });
    // From here on the highest mark is the rule's.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = memory_mib("VmRSS");
    let (trigger, shutdown) = shutdown::channel();
    let begun = Instant::now();
    let task = tokio::spawn({
        let matching = matching.clone();
        async move { matching.run(shutdown).await }
    });
    while !is_done(&store, id).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = count as f64 / seconds;
    println!("worked off in {seconds:.1} s, {rate:.0} runs/s, {} payloads", payloads.load(Ordering::Relaxed));
    println!("memory: {before} MiB before, {} MiB at most", memory_mib("VmHWM"));
    let begun = Instant::now();
    let project = store.cursor(id).await.expect("a cursor").expect("a cursor").project;
    for _ in 0..1_000 {
        store.head(project).await.expect("a head");
    }
    println!("a look at nothing new: {:.1} us", begun.elapsed().as_secs_f64() * 1e3);
    trigger.request();
    task.await.expect("matching stops");
}

/// Looks at all that was there before it.
async fn rule(store: &Arc<dyn Store>, now: Timestamp) -> Rule {
    let source = RunSource {
        project: store.project_named("bench", now).await.expect("a project"),
        filter: Some(r#"eq(run_type, "llm")"#.to_owned()),
        trace_filter: None,
        tree_filter: None,
        window_seconds: 1,
        backfill_from: Some(Timestamp::UNIX_EPOCH),
        include_extended_stats: false,
    };
    Rule {
        id: RuleId::generate(),
        display_name: "backlog".to_owned(),
        is_enabled: true,
        sampling_rate: 1.0,
        source: Some(source),
        relay_secret: None,
        webhooks: Vec::new(),
        created_at: now,
        updated_at: now,
    }
}

async fn is_done(store: &Arc<dyn Store>, rule: RuleId) -> bool {
    let cursor = store.cursor(rule).await.expect("a cursor").expect("a cursor");
    cursor.closing.is_none() && cursor.looked_at >= store.head(cursor.project).await.expect("a head")
}
