//! Rules and their windows, simulated: runs come in, move between projects and are judged, rules are edited, while the
//! store fails now and then and the host crashes between any two of its steps, restarts, and finds its clock set back.
//! What a rule owes is sent, nothing is sent twice, and windows never overlap.
//!
//! Seeded: a failure prints its seed, and `RUNHOOK_SIMULATION_SEED` runs that one alone. `RUNHOOK_SIMULATION_ROUNDS`
//! asks for more.

mod asked;
mod life;
mod traffic;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use runhook::clock::Clock;
use runhook::model::Timestamp;
use runhook::model::ids::{RuleId, RunId};
use runhook::model::project::Project;
use runhook::model::rule::Rule;
use runhook::store::{RuleChanges, Store};
use serde_json::Value;

use self::asked::{Asked, Debtor, EDITS, KEPT};
use self::life::{Life, PACE, open};
use self::traffic::{PROJECTS, Traffic};
use crate::support::engine;
use crate::support::faulty_store::FaultyStore;

const ROUNDS: u64 = 40;
/// Crashes of one round.
const LIVES: usize = 6;
/// Steps after which a host crashes at most; a window takes about a dozen.
const STEPS_MAX: usize = 1_000;
const START: &str = "2026-07-01T09:00:00Z";
/// Between the two times at which runs start.
const BACKFILL_FROM: &str = "2026-07-01T08:30:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_is_sent_once_whatever_crashes_fails_and_changes() {
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
    // About half of what may be sent is owed; how much exactly is the seeds'.
    let has_seen_much =
        told.crashes > 0 && told.half_done > 0 && told.further_parts > 0 && told.owed > told.allowed / 4;
    assert!(is_alone || has_seen_much, "{told:?}");
}

/// What rounds came across: without it they would show little.
#[derive(Debug, Default)]
struct Told {
    crashes: usize,
    /// Lives that began with a window of which some parts were stored.
    half_done: usize,
    /// Payloads that were not the first of their window.
    further_parts: usize,
    /// Runs that had to be sent, were, and might have been.
    owed: usize,
    sent: usize,
    allowed: usize,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.half_done += other.half_done;
        self.further_parts += other.further_parts;
        self.owed += other.owed;
        self.sent += other.sent;
        self.allowed += other.allowed;
    }
}

/// A round's rules: some stay as they are, one asks for what was there before it, the others are edited.
struct Rules {
    projects: Vec<Project>,
    debtors: Vec<Debtor>,
    /// Those of the rules that are edited, as they are now.
    edited: BTreeMap<usize, Rule>,
}

impl Rules {
    async fn begin(store: &dyn Store, now: Timestamp) -> Self {
        let mut projects = Vec::new();
        for name in PROJECTS {
            projects.push(store.project_named(name, now).await.unwrap());
        }
        let mut rules = Self { projects, debtors: Vec::new(), edited: BTreeMap::new() };
        let asked: Vec<_> = KEPT.into_iter().chain([KEPT[0], KEPT[3]]).collect();
        let made: Vec<_> = asked.iter().map(|asked| rules.make(asked, now, None)).collect();
        rules.debtors = made.iter().zip(&asked).map(|(rule, asked)| Debtor::new(rule.id, *asked)).collect();
        rules.edited = made.iter().cloned().enumerate().skip(KEPT.len()).collect();
        store.change_rules(RuleChanges { put: made, delete: Vec::new() }, now).await.unwrap();
        rules
    }

    fn make(&self, asked: &Asked, now: Timestamp, backfill_from: Option<Timestamp>) -> Rule {
        let plain = engine::rule(&["http://127.0.0.1:1/"], &BTreeMap::new(), now);
        asked.rule(Rule { display_name: plain.id.to_string(), ..plain }, &self.projects, backfill_from)
    }

    async fn edit(&mut self, life: &Life, traffic: &mut Traffic) {
        let which = KEPT.len() + traffic.random.random_range(0..self.edited.len());
        let asked = EDITS[traffic.random.random_range(0..EDITS.len())];
        let Some(rule) = self.edited.get_mut(&which) else { return };
        // A rule that is not enabled holds what it sends; it looks all the same.
        let is_enabled = traffic.random.random_bool(0.7);
        *rule = asked.rule(Rule { is_enabled, ..rule.clone() }, &self.projects, None);
        life.put(rule.clone()).await;
        self.debtors[which].edit(asked, traffic);
    }

    async fn make_with_backfill(&mut self, life: &Life, traffic: &mut Traffic, now: Timestamp) {
        let asked = KEPT[traffic.random.random_range(0..KEPT.len())];
        let rule = self.make(&asked, now, Some(BACKFILL_FROM.parse().unwrap()));
        self.debtors.push(Debtor::with_backfill(rule.id, asked, traffic));
        life.put(rule).await;
    }

    fn ids(&self) -> Vec<RuleId> {
        self.debtors.iter().map(|debtor| debtor.rule).collect()
    }
}

async fn simulate(seed: u64) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let mut traffic = Traffic::new(seed);
    let mut now: Timestamp = START.parse().unwrap();
    let store = open(folder.path()).await;
    let mut rules = Rules::begin(&*store, now).await;
    drop(store);
    let backfill_in = traffic.random.random_range(1..=LIVES);
    let mut told = Told::default();
    for life in 0..=LIVES {
        let store = open(folder.path()).await;
        for rule in rules.ids() {
            let cursor = store.cursor(rule).await.unwrap();
            told.half_done += usize::from(cursor.is_some_and(|cursor| cursor.closing.is_some()));
        }
        rules.debtors.iter_mut().for_each(Debtor::begin_life);
        // The last life ends well.
        let steps = if life < LIVES { traffic.random.random_range(0..STEPS_MAX) } else { usize::MAX };
        let faulty = FaultyStore::crashing_at(store.clone(), steps).failing(traffic.random.random());
        let host = Life::begin(folder.path(), faulty, now).await;
        for _ in 0..traffic.random.random_range(2..14) {
            let (event, touched) = traffic.next();
            event.apply(&*store, host.clock.now()).await;
            for (trace, runs) in touched {
                rules.debtors.iter_mut().for_each(|debtor| debtor.see(&traffic.traces[trace], &runs));
            }
            host.clock.advance(Duration::from_millis(traffic.random.random_range(0..4_000)));
            tokio::task::yield_now().await;
            // What a rule remembers between its windows matters only where windows end between the events.
            if traffic.random.random_bool(0.3) {
                host.until_crash_or_quiet(&rules.ids()).await;
            }
            if traffic.random.random_bool(0.15) {
                rules.edit(&host, &mut traffic).await;
            }
        }
        if life == backfill_in {
            rules.make_with_backfill(&host, &mut traffic, now).await;
        }
        told.crashes += usize::from(!host.until_crash_or_quiet(&rules.ids()).await);
        // Clocks are set back and forth.
        now = host.clock.now() + jiff::SignedDuration::from_secs(traffic.random.random_range(-60..60));
        host.end().await;
    }
    let store = open(folder.path()).await;
    for (index, debtor) in rules.debtors.iter().enumerate() {
        told.add(check(&store, debtor, &traffic, index).await);
    }
    told
}

async fn check(store: &Arc<dyn Store>, debtor: &Debtor, traffic: &Traffic, index: usize) -> Told {
    let payloads = payloads(store, debtor.rule).await;
    check_windows(&payloads, index);
    let mut sent = BTreeSet::new();
    for run in payloads.iter().flat_map(|payload| payload["runs"].as_array().unwrap()) {
        let id: RunId = run["id"].as_str().unwrap().parse().unwrap();
        assert!(sent.insert(id), "rule {index}: {id} is in two payloads");
    }
    let (owed, allowed) = (debtor.owed(), debtor.allowed(traffic));
    let missing: Vec<_> = owed.difference(&sent).collect();
    assert!(missing.is_empty(), "rule {index}: never sent: {missing:?}");
    let unwanted: Vec<_> = sent.difference(&allowed).collect();
    assert!(unwanted.is_empty(), "rule {index}: sent without reason: {unwanted:?}");
    let further_parts = payloads.iter().filter(|payload| payload["part"].as_u64() > Some(1)).count();
    Told { further_parts, owed: owed.len(), sent: sent.len(), allowed: allowed.len(), ..Told::default() }
}

/// Documents of the rule's payloads, oldest first.
async fn payloads(store: &Arc<dyn Store>, rule: RuleId) -> Vec<Value> {
    let mut documents = Vec::new();
    for (id, _) in store.pending_payloads(None, usize::MAX >> 1).await.unwrap() {
        let payload = store.payload(id).await.unwrap().unwrap();
        if payload.rule == rule {
            documents.push(serde_json::from_slice(&payload.document).unwrap());
        }
    }
    documents
}

/// Windows follow each other, and the parts of one are numbered without a gap.
fn check_windows(payloads: &[Value], index: usize) {
    let time = |payload: &Value, key: &str| payload[key].as_str().unwrap().parse::<Timestamp>().unwrap();
    let mut seen = HashSet::new();
    let mut last: Option<(Timestamp, Timestamp, u64)> = None;
    for payload in payloads {
        let (start, end) = (time(payload, "start_time"), time(payload, "end_time"));
        let part = payload["part"].as_u64().unwrap_or(1);
        let count = payload["runs"].as_array().unwrap().len();
        assert!((1..=PACE.runs_per_payload_max).contains(&count));
        assert!(start < end, "rule {index}: an empty window");
        assert!(seen.insert((start, part)), "rule {index}: two payloads of one part");
        match last {
            Some((last_start, last_end, last_part)) if start == last_start => {
                assert_eq!((end, part), (last_end, last_part + 1), "rule {index}");
            }
            Some((_, last_end, _)) => assert!(start >= last_end && part == 1, "rule {index}: windows overlap"),
            None => assert_eq!(part, 1, "rule {index}"),
        }
        last = Some((start, end, part));
    }
}
