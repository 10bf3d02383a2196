//! A host that is told to stop: what is in flight is finished or handed back, and a second signal waits for nothing.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::host_process::{HostProcess, HostSettings};
use crate::support::receiver::{Act, Receiver};
use crate::support::waiting::{PATIENCE, a_moment};

const RULE: &str = "6e3c9a7e-4444-4c38-9d5e-0d7a3c1f9b10";
const PAYLOAD: &str = r#"{"rule_id":"r","runs":[{"id":"1","status":"success"}]}"#;

/// A host with an attempt in flight at a receiver that says nothing for longer than a stopping host waits.
async fn host_with_an_attempt_in_flight(settings: &HostSettings, receiver: &Receiver) -> HostProcess {
    let host = HostProcess::start(settings);
    host.apply(&format!(
        r#"
        [[rules]]
        id = "{RULE}"
        display_name = "slow"
        sampling_rate = 1.0
        relay_secret = "s3cret-of-the-slow-rule"
        [[rules.webhooks]]
        url = "{}"
        timeout_seconds = 60
        "#,
        receiver.url()
    ));
    let answer = host.relay(RULE, "s3cret-of-the-slow-rule", PAYLOAD).await;
    assert_eq!(answer.status(), 202);
    until("the request", || !receiver.received().is_empty()).await;
    host
}

/// Waits until it is there; nobody is told.
async fn until(what: &str, is_there: impl Fn() -> bool) {
    let wait = async {
        while !is_there() {
            a_moment().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} never comes"));
}

/// The next start records the attempt that nobody saw the end of, and makes another one.
async fn assert_taken_over(settings: &HostSettings) {
    let host = HostProcess::start(settings);
    host.until_settled().await;
    let delivery = host.deliveries("").await.remove(0);
    let id = delivery["id"].as_str().unwrap();
    let attempts = host.get(&format!("/api/v1/deliveries/{id}")).await["attempts"].clone();
    let outcomes: Vec<_> = attempts.as_array().unwrap().iter().map(|attempt| attempt["outcome"].clone()).collect();
    assert_eq!(outcomes, ["interrupted", "delivered"].map(Value::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_within_the_grace_period_is_handed_back_to_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HostSettings::on(&folder.path().join("data"));
    let receiver = Receiver::start([Act::Write(""), Act::Answer(200)]).await;
    let mut host = host_with_an_attempt_in_flight(&settings, &receiver).await;
    let begun = Instant::now();
    assert_eq!(host.stop(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(14), "it waits: {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(50), "but not for the attempt: {:?}", begun.elapsed());
    assert_taken_over(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HostSettings::on(&folder.path().join("data"));
    let receiver = Receiver::start([Act::Write(""), Act::Answer(200)]).await;
    let mut host = host_with_an_attempt_in_flight(&settings, &receiver).await;
    host.terminate();
    until("the word of the first signal", || host.log().contains("a second signal stops at once")).await;
    let begun = Instant::now();
    assert_eq!(host.stop(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_taken_over(&settings).await;
}
