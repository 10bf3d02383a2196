//! Rules and their windows, simulated: runs come in while the host crashes between any two of its steps, restarts, and
//! finds its clock set back. Each run that matches is in exactly one payload of the rule, and windows never overlap.
//!
//! Seeded: a failure prints its seed, and `RUNHOOK_SIMULATION_SEED` runs that one alone. `RUNHOOK_SIMULATION_ROUNDS`
//! asks for more.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use runhook::clock::{Clock, ManualClock};
use runhook::layers;
use runhook::matching::{self, Matching, Pace};
use runhook::model::Timestamp;
use runhook::model::ids::{FeedbackId, ProjectId, RuleId, RunId};
use runhook::model::rule::{Rule, RunSource};
use runhook::model::run::{FeedbackWrite, Layer, RunWrite};
use runhook::rulebook::RuleBook;
use runhook::sampling;
use runhook::secrets::Keyring;
use runhook::shutdown::{self, ShutdownTrigger};
use runhook::store::runs::{NewRun, NewRuns, RunStore};
use runhook::store::sqlite::SqliteStore;
use runhook::store::{RuleChanges, Store};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::engine::{local_blobs, rule};
use crate::support::faulty_store::FaultyStore;

const ROUNDS: u64 = 40;
/// Crashes of one round.
const LIVES: usize = 6;
/// Small, so that windows have many pages and parts.
const PACE: Pace = Pace { runs_per_payload_max: 3, look_runs_max: 4, looked_at_step: 5 };
/// Steps after which a host crashes at most; a window takes about eight.
const STEPS_MAX: usize = 150;

fn open(folder: &Path) -> Arc<dyn Store> {
    let keyring = Arc::new(Keyring::load(folder, None).unwrap());
    Arc::new(SqliteStore::open(folder, keyring).unwrap())
}

/// What a rule asks, and which runs it has to send in the end: nothing that comes later takes a match back.
struct Asked {
    name: &'static str,
    filters: [Option<&'static str>; 3],
    sampling_rate: f64,
    wants: fn(&Known, &Trace) -> bool,
}

const ASKED: [Asked; 4] = [
    Asked { name: "all", filters: [None, None, None], sampling_rate: 1.0, wants: |_, _| true },
    Asked {
        name: "judged errors",
        filters: [Some(r#"and(eq(status, "error"), has(feedback_key, "thumbs"))"#), None, None],
        sampling_rate: 0.5,
        wants: |run, _| run.is_error && run.is_judged,
    },
    Asked {
        name: "under a failed root",
        filters: [None, Some(r#"eq(status, "error")"#), None],
        sampling_rate: 1.0,
        wants: |_, trace| trace.runs[0].is_error && trace.runs[0].has_ended && trace.runs[0].is_posted,
    },
    Asked {
        name: "near a judged run",
        filters: [Some("eq(is_root, false)"), None, Some(r#"has(feedback_key, "thumbs")"#)],
        sampling_rate: 1.0,
        wants: |run, trace| run.index > 0 && trace.runs.iter().any(|run| run.is_judged && run.is_posted),
    },
];

/// What was sent of a run so far.
#[derive(Clone)]
struct Known {
    id: RunId,
    index: usize,
    is_error: bool,
    is_posted: bool,
    has_ended: bool,
    is_judged: bool,
}

struct Trace {
    runs: Vec<Known>,
}

/// All that is sent in a round, and what was sent.
struct Traffic {
    random: StdRng,
    traces: Vec<Trace>,
}

impl Traffic {
    fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), traces: Vec::new() }
    }

    /// A request: halves of runs and feedback in any order, of new traces and of old ones.
    fn request(&mut self) -> NewRuns {
        let mut request = NewRuns::default();
        for _ in 0..self.random.random_range(1..6) {
            if self.traces.is_empty() || self.random.random_bool(0.4) {
                self.begin_trace();
            }
            let trace = self.random.random_range(0..self.traces.len());
            let run = self.random.random_range(0..self.traces[trace].runs.len());
            match self.random.random_range(0..5) {
                0 | 1 => request.runs.push(self.post(trace, run)),
                2 | 3 => request.runs.push(self.patch(trace, run)),
                _ => request.feedback.push(self.judge(trace, run)),
            }
        }
        request
    }

    fn begin_trace(&mut self) {
        let count = self.random.random_range(1..5);
        let mut run = |index| Known {
            id: RunId(Uuid::from_u128(self.random.random())),
            index,
            is_error: self.random.random_bool(0.5),
            is_posted: false,
            has_ended: false,
            is_judged: false,
        };
        self.traces.push(Trace { runs: (0..count).map(&mut run).collect() });
    }

    fn post(&mut self, trace: usize, run: usize) -> NewRun {
        let runs = &mut self.traces[trace].runs;
        let (root, run) = (runs[0].id, &mut runs[run]);
        run.is_posted = true;
        let parent = (run.index > 0).then_some(root);
        let mut document = json!({"name": "n", "run_type": "chain", "session_name": "p", "trace_id": root, "start_time": "2026-07-01T09:00:00"});
        if let Some(parent) = parent {
            document["parent_run_id"] = json!(parent);
        }
        write(run.id, Layer::Post, &document)
    }

    fn patch(&mut self, trace: usize, run: usize) -> NewRun {
        let run = &mut self.traces[trace].runs[run];
        run.has_ended = true;
        let mut document = json!({"end_time": "2026-07-01T09:00:01"});
        if run.is_error {
            document["error"] = json!("it broke");
        }
        write(run.id, Layer::Patch, &document)
    }

    fn judge(&mut self, trace: usize, run: usize) -> FeedbackWrite {
        let run = &mut self.traces[trace].runs[run];
        run.is_judged = true;
        let document = Bytes::from(json!({"key": "thumbs", "score": 1, "run_id": run.id}).to_string());
        FeedbackWrite { id: FeedbackId::generate(), run: Some(run.id), key: "thumbs".to_owned(), document }
    }

    /// What a rule has to have sent when all is done.
    fn expected(&self, rule: RuleId, asked: &Asked) -> BTreeSet<RunId> {
        let runs = self.traces.iter().flat_map(|trace| trace.runs.iter().map(move |run| (trace, run)));
        let is_wanted = |(trace, run): &(&Trace, &Known)| {
            let is_drawn = sampling::is_drawn(rule, &run.id.to_string(), asked.sampling_rate);
            run.is_posted && run.has_ended && is_drawn && (asked.wants)(run, trace)
        };
        runs.filter(is_wanted).map(|(_, run)| run.id).collect()
    }
}

fn write(id: RunId, layer: Layer, document: &Value) -> NewRun {
    let document = Bytes::from(document.to_string());
    let (post, patch) = match layer {
        Layer::Post => (Some(&document[..]), None),
        Layer::Patch => (None, Some(&document[..])),
    };
    NewRun { head: layers::head(post, patch).unwrap(), write: RunWrite { id, layer, document: document.clone() } }
}

/// One life of a host's matching.
struct Life {
    store: Arc<FaultyStore>,
    clock: ManualClock,
    shutdown: ShutdownTrigger,
    task: tokio::task::JoinHandle<()>,
}

impl Life {
    async fn begin(folder: &Path, store: Arc<dyn Store>, now: Timestamp, crash_after: usize) -> Self {
        let store = Arc::new(FaultyStore::crashing_at(store, crash_after));
        let clock = ManualClock::at(now);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let rulebook = Arc::new(RuleBook::load(store.clone(), shared.clone()).await.unwrap());
        let matching = Matching::new(matching::Parts {
            workspace: store.workspace().await.unwrap(),
            store: store.clone(),
            rulebook,
            offer: Arc::new(drop),
            blobs: local_blobs(folder),
            clock: shared,
            public_url: "http://localhost:8484".parse().unwrap(),
            pace: PACE,
        });
        let (trigger, shutdown) = shutdown::channel();
        let task = tokio::spawn(async move { matching.run(shutdown).await });
        Self { store, clock, shutdown: trigger, task }
    }

    /// Lets time pass, and the host work, until it crashes or all is looked at.
    async fn until_crash_or_quiet(&self, rules: &[RuleId], project: ProjectId) -> bool {
        let quiet = async {
            while !self.is_quiet(rules, project).await {
                self.clock.advance(Duration::from_millis(500));
                // The store tells nobody of changes: look again soon, and leave the cores to who works.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = self.store.crashed() => false,
            () = quiet => true,
        }
    }

    async fn is_quiet(&self, rules: &[RuleId], project: ProjectId) -> bool {
        let store = self.store.beneath();
        let head = store.head(project).await.unwrap();
        for rule in rules {
            let cursor = store.cursor(*rule).await.unwrap().unwrap();
            if cursor.looked_at < head || cursor.closing.is_some() {
                return false;
            }
        }
        true
    }

    /// What a crash leaves: nothing of this life works on.
    async fn end(self) {
        self.shutdown.request();
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn put_rules(store: &Arc<dyn Store>, now: Timestamp) -> (Vec<RuleId>, ProjectId) {
    let project = store.project_named("p", now).await.unwrap();
    let make = |asked: &Asked| {
        let [filter, trace_filter, tree_filter] = asked.filters.map(|filter| filter.map(str::to_owned));
        let source = RunSource {
            project: project.clone(),
            filter,
            trace_filter,
            tree_filter,
            window_seconds: 5,
            backfill_from: None,
            include_extended_stats: false,
        };
        let plain = rule(&["http://127.0.0.1:1/"], &BTreeMap::new(), now);
        let (display_name, sampling_rate) = (asked.name.to_owned(), asked.sampling_rate);
        Rule { display_name, sampling_rate, source: Some(source), ..plain }
    };
    let rules: Vec<_> = ASKED.iter().map(make).collect();
    let ids = rules.iter().map(|rule| rule.id).collect();
    store.change_rules(RuleChanges { put: rules, delete: Vec::new() }, now).await.unwrap();
    (ids, project.id)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_match_is_in_exactly_one_payload_whatever_crashes() {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = variable("RUNHOOK_SIMULATION_ROUNDS").unwrap_or(ROUNDS);
    let seeds = match variable("RUNHOOK_SIMULATION_SEED") {
        Some(seed) => vec![seed],
        None => (0..rounds).map(|_| rand::rng().random()).collect(),
    };
    let mut told = Told::default();
    for seed in seeds {
        println!("seed {seed}");
        let round = tokio::time::timeout(Duration::from_secs(120), simulate(seed));
        told.add(round.await.unwrap_or_else(|_| panic!("seed {seed} never came to rest")));
    }
    println!("{told:?}");
    let is_alone = std::env::var_os("RUNHOOK_SIMULATION_SEED").is_some();
    assert!(is_alone || (told.crashes > 0 && told.half_done > 0 && told.further_parts > 0), "{told:?}");
}

/// What rounds came across: without it they would show little.
#[derive(Debug, Default)]
struct Told {
    crashes: usize,
    /// Lives that began with a window of which some parts were stored.
    half_done: usize,
    /// Payloads that were not the first of their window.
    further_parts: usize,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.half_done += other.half_done;
        self.further_parts += other.further_parts;
    }
}

async fn simulate(seed: u64) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let mut traffic = Traffic::new(seed);
    let start: Timestamp = "2026-07-01T09:00:00Z".parse().unwrap();
    let store = open(folder.path());
    let (rules, project) = put_rules(&store, start).await;
    drop(store);
    let mut now = start;
    let mut told = Told::default();
    for life in 0..=LIVES {
        let store = open_again(folder.path()).await;
        for rule in &rules {
            told.half_done += usize::from(store.cursor(*rule).await.unwrap().unwrap().closing.is_some());
        }
        // The last life ends well.
        let steps = if life < LIVES { traffic.random.random_range(0..STEPS_MAX) } else { usize::MAX };
        let host = Life::begin(folder.path(), store.clone(), now, steps).await;
        for _ in 0..traffic.random.random_range(1..8) {
            store.ingest(traffic.request(), host.clock.now()).await.unwrap();
            host.clock.advance(Duration::from_millis(traffic.random.random_range(0..4_000)));
            tokio::task::yield_now().await;
        }
        told.crashes += usize::from(!host.until_crash_or_quiet(&rules, project).await);
        // Clocks are set back and forth.
        now = host.clock.now() + jiff::SignedDuration::from_secs(traffic.random.random_range(-60..60));
        host.end().await;
    }
    let store = open_again(folder.path()).await;
    for (rule, asked) in rules.into_iter().zip(&ASKED) {
        let payloads = payloads(&store, rule).await;
        check_windows(&payloads, asked.name);
        told.further_parts += payloads.iter().filter(|payload| payload["part"].as_u64() > Some(1)).count();
        let mut sent = BTreeSet::new();
        for run in payloads.iter().flat_map(|payload| payload["runs"].as_array().unwrap()) {
            let id: RunId = run["id"].as_str().unwrap().parse().unwrap();
            assert!(sent.insert(id), "{}: {id} is in two payloads", asked.name);
        }
        assert_eq!(sent, traffic.expected(rule, asked), "{}", asked.name);
    }
    told
}

/// The folder's lock is free once nothing of the life before holds the store.
async fn open_again(folder: &Path) -> Arc<dyn Store> {
    loop {
        let keyring = Arc::new(Keyring::load(folder, None).unwrap());
        if let Ok(store) = SqliteStore::open(folder, keyring) {
            return Arc::new(store);
        }
        tokio::task::yield_now().await;
    }
}

/// Documents of the rule's payloads, oldest first.
async fn payloads(store: &Arc<dyn Store>, rule: RuleId) -> Vec<Value> {
    let mut documents = Vec::new();
    for id in store.pending_payloads(usize::MAX >> 1).await.unwrap() {
        let payload = store.payload(id).await.unwrap().unwrap();
        if payload.rule == rule {
            documents.push(serde_json::from_slice(&payload.document).unwrap());
        }
    }
    documents
}

/// Windows follow each other, and the parts of one are numbered without a gap.
fn check_windows(payloads: &[Value], name: &str) {
    let time = |payload: &Value, key: &str| payload[key].as_str().unwrap().parse::<Timestamp>().unwrap();
    let mut seen = HashSet::new();
    let mut last: Option<(Timestamp, Timestamp, u64)> = None;
    for payload in payloads {
        let (start, end) = (time(payload, "start_time"), time(payload, "end_time"));
        let part = payload["part"].as_u64().unwrap_or(1);
        let count = payload["runs"].as_array().unwrap().len();
        assert!((1..=PACE.runs_per_payload_max).contains(&count));
        assert!(start < end, "{name}: an empty window");
        assert!(seen.insert((start, part)), "{name}: two payloads of one part");
        match last {
            Some((last_start, last_end, last_part)) if start == last_start => {
                assert_eq!((end, part), (last_end, last_part + 1), "{name}");
            }
            Some((_, last_end, _)) => assert!(start >= last_end && part == 1, "{name}: windows overlap"),
            None => assert_eq!(part, 1, "{name}"),
        }
        last = Some((start, end, part));
    }
}
