//! The books of ids that the tests of lost power and killed hosts keep: what was answered 2xx, what is on record, what
//! arrived.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::host_process::{HostProcess, client};

pub(crate) const RULE: &str = "0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10";
pub(crate) const RELAY_SECRET: &str = "relay-secret-of-the-ledger";
/// Webhooks of the rule: to the receiver, to the receiver through a filter, to a filter that leaves nothing.
pub(crate) const WEBHOOKS: usize = 3;

/// The rule of the ledger tests, with all its webhooks to one receiver.
pub(crate) fn rules(receiver: &str) -> String {
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
        [[rules.webhooks]]
        id = "errors"
        url = "{receiver}/errors"
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
                    if let Some(id) = post(&url, payload(sender, number)).await {
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

/// The payload's id where it was answered 202. A host that is dead or dies meanwhile answers nothing.
async fn post(url: &str, payload: String) -> Option<String> {
    let answer = client().post(url).body(payload).send().await.ok()?;
    if answer.status() != 202 {
        return None;
    }
    let answer: Value = answer.json().await.ok()?;
    Some(answer["id"].as_str()?.to_owned())
}

/// What arrived at the receiver, by delivery.
#[derive(Clone, Default)]
pub(crate) struct Arrivals(Arc<Mutex<HashMap<String, Vec<blake3::Hash>>>>);

impl Arrivals {
    pub(crate) fn record(&self, delivery: &str, body: &[u8]) {
        self.0.lock().unwrap().entry(delivery.to_owned()).or_default().push(blake3::hash(body));
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
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for delivery in deliveries {
        *counts.entry(delivery["payload_id"].as_str().unwrap()).or_default() += 1;
    }
    accepted.iter().filter(|id| counts.get(id.as_str()) != Some(&WEBHOOKS)).cloned().collect()
}

/// Compares the three books and prints what they add up to.
pub(crate) async fn settle(host: &HostProcess, accepted: &[String], arrivals: &Arrivals) {
    host.until_settled().await;
    let deliveries = host.deliveries("").await;
    let missing = missing_from(&deliveries, accepted);
    assert!(
        missing.is_empty(),
        "{} of {} accepted payloads miss deliveries: {missing:?}",
        missing.len(),
        accepted.len()
    );

    let mut states: BTreeMap<(String, String), usize> = BTreeMap::new();
    for delivery in &deliveries {
        let key = |name: &str| delivery[name].as_str().unwrap().to_owned();
        *states.entry((key("webhook_id"), key("state"))).or_default() += 1;
    }
    let arrived = arrivals.0.lock().unwrap();
    let mut duplicates = 0;
    for delivery in deliveries.iter().filter(|delivery| delivery["state"] == "delivered") {
        let bodies = arrived.get(delivery["id"].as_str().unwrap()).expect("what is delivered has arrived");
        assert_eq!(bodies.iter().collect::<HashSet<_>>().len(), 1, "bodies of one delivery differ");
        duplicates += bodies.len() - 1;
    }
    for state in states.keys().map(|(_, state)| state.as_str()) {
        assert!(["delivered", "filtered"].contains(&state), "unexpected state {state}: {states:?}");
    }
    println!(
        "accepted {} payloads; {} deliveries: {states:?}; {duplicates} duplicates",
        accepted.len(),
        deliveries.len()
    );
}
