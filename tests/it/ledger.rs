//! The books of ids that the tests of lost power and killed hosts keep: what was answered 2xx, what is on record, what
//! arrived.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use http::StatusCode;
use serde_json::Value;

use crate::host_process::{HostProcess, client};

pub(crate) const RULE: &str = "0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10";
pub(crate) const RELAY_SECRET: &str = "relay-secret-of-the-ledger";
/// Webhooks of the rule: to the receiver through a filter, to a filter that leaves nothing, to the receiver.
const WEBHOOKS: [&str; 3] = ["errors", "nothing", "plain"];
/// Deliveries of one attempt or none whose attempts are asked for.
const ASKED_MAX: usize = 1_000;

/// The rule of the ledger tests, with all its webhooks to one receiver.
pub(crate) fn rules(receiver: &str) -> String {
    rules_with(receiver, ["", ""])
}

/// The same with these terms of the two webhooks that send.
pub(crate) fn rules_with(receiver: &str, terms: [&str; 2]) -> String {
    let [plain, errors] = terms;
    format!(
        r#"
        [[rules]]
        id = "{RULE}"
        display_name = "ledger"
        sampling_rate = 1.0
        relay_secret = "{RELAY_SECRET}"
        [[rules.webhooks]]
        id = "plain"
        url = "{receiver}/plain"
        {plain}
        [[rules.webhooks]]
        id = "errors"
        url = "{receiver}/errors"
        {errors}
        plugins = [{{ name = "errors-only" }}]
        [[rules.webhooks]]
        id = "nothing"
        url = "{receiver}/nothing"
        plugins = [{{ name = "sample", config = {{ rate = 0.0 }} }}]
        "#
    )
}

/// Payload number `number` of one sender: two runs, one of them failed.
fn payload(sender: usize, number: usize) -> String {
    let filler = "x".repeat(2_000);
    format!(
        r#"{{"rule_id":"{RULE}","start_time":"2026-07-01T09:00:00.120394+00:00","end_time":"2026-07-01T09:01:00.120394+00:00","runs":[{{"id":"{sender}-{number}-a","status":"success","inputs":{{"q":"{filler}"}}}},{{"id":"{sender}-{number}-b","status":"error","inputs":{{"q":"{filler}"}}}}]}}"#
    )
}

/// Senders that post until told to stop and keep the ids that were answered 202.
pub(crate) struct Senders {
    accepted: Arc<Mutex<Vec<String>>>,
    is_stopping: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Senders {
    pub(crate) fn start(count: usize, relay_url: String) -> Self {
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let send = |sender: usize| {
            let (accepted, is_stopping, url) = (accepted.clone(), is_stopping.clone(), relay_url.clone());
            tokio::spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_millis(5));
                for number in 0.. {
                    pace.tick().await;
                    if is_stopping.load(Ordering::Relaxed) {
                        return;
                    }
                    if let Some((_, Some(id))) = post(&url, payload(sender, number)).await {
                        accepted.lock().unwrap().push(id);
                    }
                }
            })
        };
        let tasks = (0..count).map(send).collect();
        Self { accepted, is_stopping, tasks }
    }

    /// Stops, and says what was answered 202.
    pub(crate) async fn stop(self) -> Vec<String> {
        self.is_stopping.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        let accepted = self.accepted.lock().unwrap();
        accepted.clone()
    }
}

/// The status, and the payload's id where that is 202. A host that is dead or dies meanwhile answers nothing.
pub(crate) async fn post(url: &str, payload: String) -> Option<(StatusCode, Option<String>)> {
    let answer = client().post(url).body(payload).send().await.ok()?;
    let status = answer.status();
    if status != StatusCode::ACCEPTED {
        return Some((status, None));
    }
    let answer: Value = answer.json().await.ok()?;
    Some((status, Some(answer["id"].as_str()?.to_owned())))
}

/// What arrived at the receiver, by delivery.
#[derive(Clone, Default)]
pub(crate) struct Arrivals(Arc<Mutex<HashMap<String, Vec<blake3::Hash>>>>);

impl Arrivals {
    pub(crate) fn record(&self, delivery: &str, body: &[u8]) {
        self.0.lock().unwrap().entry(delivery.to_owned()).or_default().push(blake3::hash(body));
    }

    /// What arrived more often than once, of what is delivered: that has arrived, and always with the same body.
    fn duplicates(&self, deliveries: &[Value]) -> usize {
        let arrived = self.0.lock().unwrap();
        let delivered = deliveries.iter().filter(|delivery| delivery["state"] == "delivered");
        let repeats = delivered.map(|delivery| {
            let bodies = arrived.get(delivery["id"].as_str().unwrap()).expect("what is delivered has arrived");
            assert_eq!(bodies.iter().collect::<HashSet<_>>().len(), 1, "bodies of one delivery differ");
            bodies.len() - 1
        });
        repeats.sum()
    }

    /// Hash of the body that arrived last.
    pub(crate) fn last(&self, delivery: &str) -> blake3::Hash {
        *self.0.lock().unwrap()[delivery].last().unwrap()
    }
}

/// Whether every accepted payload gets a delivery for each webhook. A host whose data is damaged may not settle, nor be
/// able to show its books.
pub(crate) async fn adds_up(host: &HostProcess, accepted: &[String]) -> bool {
    if host.settles_within(Duration::from_secs(15)).await.is_err() {
        return false;
    }
    host.try_deliveries("").await.is_ok_and(|deliveries| missing_from(&deliveries, accepted).is_empty())
}

fn missing_from(deliveries: &[Value], accepted: &[String]) -> Vec<String> {
    let mut found: HashMap<&str, Vec<&str>> = HashMap::new();
    for delivery in deliveries {
        let webhook = delivery["webhook_id"].as_str().unwrap();
        found.entry(delivery["payload_id"].as_str().unwrap()).or_default().push(webhook);
    }
    found.values_mut().for_each(|webhooks| webhooks.sort_unstable());
    accepted.iter().filter(|id| found.get(id.as_str()).is_none_or(|webhooks| *webhooks != WEBHOOKS)).cloned().collect()
}

/// Compares the three books and prints what they add up to: receivers that tell the truth get everything.
pub(crate) async fn settle(host: &HostProcess, accepted: &[String], arrivals: &Arrivals) {
    settle_in(&["delivered", "filtered"], host, accepted, arrivals).await;
}

/// The same where deliveries may come to these states; what was asked of their attempts.
pub(crate) async fn settle_in(
    states: &[&str],
    host: &HostProcess,
    accepted: &[String],
    arrivals: &Arrivals,
) -> Vec<Value> {
    host.until_settled().await;
    let deliveries = host.deliveries("").await;
    let missing = missing_from(&deliveries, accepted);
    assert!(
        missing.is_empty(),
        "{} of {} accepted payloads miss deliveries: {missing:?}",
        missing.len(),
        accepted.len()
    );
    let ledger = ledger(&deliveries);
    for (_, state) in ledger.keys() {
        assert!(states.contains(&state.as_str()), "unexpected state {state}: {ledger:?}");
    }
    let duplicates = arrivals.duplicates(&deliveries);
    let records = records(host, &deliveries).await;
    records.iter().for_each(check_attempts);
    println!(
        "accepted {} payloads; {} deliveries: {ledger:?}; {duplicates} duplicates; {} interrupted attempts",
        accepted.len(),
        deliveries.len(),
        records.iter().flat_map(outcomes).filter(|outcome| *outcome == "interrupted").count()
    );
    records
}

/// Deliveries per webhook and state.
fn ledger(deliveries: &[Value]) -> BTreeMap<(String, String), usize> {
    let mut ledger = BTreeMap::new();
    for delivery in deliveries {
        let key = |name: &str| delivery[name].as_str().unwrap().to_owned();
        *ledger.entry((key("webhook_id"), key("state"))).or_default() += 1;
    }
    ledger
}

/// The records of all that was attempted more than once, and of some that was not: each costs a request.
async fn records(host: &HostProcess, deliveries: &[Value]) -> Vec<Value> {
    let (often, once): (Vec<_>, Vec<_>) =
        deliveries.iter().partition(|delivery| delivery["attempt_count"].as_u64() > Some(1));
    let asked = often.into_iter().chain(once.into_iter().take(ASKED_MAX));
    let paths = asked.map(|delivery| format!("/api/v1/deliveries/{}", delivery["id"].as_str().unwrap()));
    stream::iter(paths).map(async |path| host.get(&path).await).buffer_unordered(16).collect().await
}

/// Attempts are numbered from 1 without gaps, all that were begun are on record, and what was delivered was by its last.
fn check_attempts(record: &Value) {
    let numbers = record["attempts"].as_array().unwrap().iter().map(|attempt| attempt["number"].as_u64().unwrap());
    assert!(numbers.eq(1..=record["attempt_count"].as_u64().unwrap()), "{record:#}");
    let last = outcomes(record).len().checked_sub(1).filter(|_| record["state"] == "delivered");
    assert_eq!(outcomes(record).iter().position(|outcome| *outcome == "delivered"), last, "{record:#}");
}

/// The outcomes of a record's attempts, in order.
pub(crate) fn outcomes(record: &Value) -> Vec<&str> {
    record["attempts"].as_array().unwrap().iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect()
}
