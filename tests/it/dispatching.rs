//! What surrounds an attempt: what its request carries, where it may go, what an interruption costs, who waits for whom.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use runhook::clock::{Clock, after};
use runhook::dispatch::retry::Terms;
use runhook::limits;
use runhook::model::attempt::Outcome;
use runhook::model::delivery::State;
use runhook::model::payload::Body;
use runhook::model::retry::Retry;
use runhook::model::secret::Secret;
use runhook::outbound::{AddressPolicy, HttpSender};
use tokio::time::timeout;

use crate::support::engine::{Engine, assert_failed_at_once, loopback, outcomes, standing_clock};
use crate::support::receiver::{Act, Receiver};
use crate::support::waiting::a_moment;

#[tokio::test]
async fn own_headers_are_sent_as_given_and_never_replace_the_hosts() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let given =
        [("authorization", "Bearer s3cret"), ("x-team", "on-call"), ("webhook-id", "mine"), ("user-agent", "me")];
    let headers = given.map(|(name, value)| (name.to_owned(), Secret::new(value))).into();
    let sender = HttpSender::new(loopback()).unwrap();
    let engine = Engine::start_with(standing_clock(), &[&receiver.url()], headers, sender).await;
    let body = Body {
        content_type: "text/plain; charset=utf-8".to_owned(),
        headers: vec![("x-plugin".to_owned(), "slack".to_owned()), ("content-type".to_owned(), "a/b".to_owned())],
        bytes: Bytes::from_static(b"hello"),
    };
    let id = engine.queue(0, body).await;
    engine.dispatch.nudge();
    engine.settled(id).await;
    let received = &receiver.received()[0];
    assert!(received.head.starts_with("POST /hook?secret=s3cret-in-the-query HTTP/1.1\r\n"), "{}", received.head);
    assert_eq!(received.header("authorization"), ["Bearer s3cret"]);
    assert_eq!(received.header("x-team"), ["on-call"]);
    assert_eq!(received.header("x-plugin"), ["slack"]);
    assert_eq!(received.header("webhook-id"), [id.to_string()]);
    assert_eq!(received.header("user-agent"), [concat!("runhook/", env!("CARGO_PKG_VERSION"))]);
    assert_eq!(received.header("content-type"), ["text/plain; charset=utf-8"]);
    assert_eq!(received.header("webhook-timestamp"), ["1782896400"]);
    assert_eq!(received.header("content-length"), ["5"]);
    assert!(received.header("accept-encoding").is_empty(), "nothing is ever decompressed");
    assert_eq!(received.body, b"hello");
}

#[tokio::test]
async fn a_forbidden_address_is_not_dialled_and_not_retried() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let port = receiver.address().port();
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"] {
        let sender = HttpSender::new(AddressPolicy::default()).unwrap();
        let url = format!("http://{host}:{port}/hook");
        let engine = Engine::start_with(standing_clock(), &[&url], BTreeMap::new(), sender).await;
        let id = engine.send().await;
        let record = engine.settled(id).await;
        assert_failed_at_once(&record, Outcome::AddressForbidden);
        assert_eq!(record.attempts[0].address, None, "{host}");
    }
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn an_interrupted_attempt_is_made_up_for_outside_the_budget() {
    let receiver = Receiver::start([Act::Answer(503)]).await;
    let clock = standing_clock();
    let engine = Engine::start(clock.clone(), &[&receiver.url()]).await;
    let id = engine.queue(0, Body::json(Bytes::from_static(b"{}"))).await;
    drop(engine.claim().await);
    clock.advance(limits::LEASE);
    let record = engine.attempted(id, 2).await;
    assert_eq!(outcomes(&record)[0], Outcome::Interrupted);
    for (ended, delay) in [(2, 1), (3, 2)] {
        engine.attempted(id, ended).await;
        clock.advance(Duration::from_secs(delay));
    }
    let record = engine.settled(id).await;
    let failed = Outcome::ServerError;
    assert_eq!(outcomes(&record), [Outcome::Interrupted, failed, failed, failed]);
    let numbers: Vec<_> = record.attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!(receiver.received().len(), 3);
}

#[tokio::test]
async fn a_silent_receiver_delays_nobody_else() {
    let silent = Receiver::start([Act::Write("")]).await;
    let quick = Receiver::start([Act::Answer(200)]).await;
    let engine = Engine::start(standing_clock(), &[&silent.url(), &quick.url()]).await;
    let body = || Body::json(Bytes::from_static(b"{}"));
    for _ in 0..2 * limits::ATTEMPTS_PER_ENDPOINT_MAX {
        engine.queue(0, body()).await;
    }
    let id = engine.queue(1, body()).await;
    engine.dispatch.nudge();
    let record = timeout(Duration::from_secs(3), engine.settled(id)).await.expect("it does not wait for the other");
    assert_eq!(record.delivery.state, State::Delivered);
    assert!(silent.connections() <= limits::ATTEMPTS_PER_ENDPOINT_MAX);
}

#[tokio::test]
async fn all_that_waits_for_a_slot_is_delivered_in_the_end() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let engine = Engine::start(standing_clock(), &[&receiver.url()]).await;
    let mut queued = Vec::new();
    for _ in 0..4 * limits::ATTEMPTS_PER_ENDPOINT_MAX {
        queued.push(engine.queue(0, Body::json(Bytes::from_static(b"{}"))).await);
    }
    engine.dispatch.nudge();
    for id in &queued {
        assert_eq!(engine.settled(*id).await.delivery.state, State::Delivered);
    }
    assert_eq!(receiver.received().len(), queued.len());
}

#[tokio::test]
async fn shutdown_waits_for_the_attempt_in_flight_and_records_it() {
    let receiver = Receiver::start([Act::DrippingBody]).await;
    let mut engine = Engine::start(standing_clock(), &[&receiver.url()]).await;
    let id = engine.send().await;
    while receiver.received().is_empty() {
        a_moment().await;
    }
    engine.stop().await;
    assert_eq!(engine.record(id).await.delivery.state, State::Delivered);
}

#[tokio::test]
async fn an_outcome_that_the_store_refuses_is_offered_again() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let clock = standing_clock();
    let (engine, store) = Engine::start_faulty(clock.clone(), &receiver.url(), 2).await;
    let id = engine.send().await;
    for refused in 1..=2 {
        store.refused(refused).await;
        clock.advance(Duration::from_millis(200));
    }
    assert_eq!(outcomes(&engine.settled(id).await), [Outcome::Delivered]);
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn an_outcome_that_is_refused_until_the_lease_ends_counts_as_interrupted() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let clock = standing_clock();
    let tries = limits::LEASE.as_millis() as usize / 200;
    let (engine, store) = Engine::start_faulty(clock.clone(), &receiver.url(), tries).await;
    let id = engine.send().await;
    for refused in 1..=tries {
        store.refused(refused).await;
        clock.advance(Duration::from_millis(200));
    }
    let record = engine.settled(id).await;
    assert_eq!(outcomes(&record), [Outcome::Interrupted, Outcome::Delivered]);
    assert_eq!(receiver.received().len(), 2, "at least once");
}

#[tokio::test]
async fn what_a_clock_ahead_has_put_off_is_sent_when_it_is_set_back() {
    let receiver = Receiver::start([Act::Answer(503), Act::Answer(200)]).await;
    let clock = standing_clock();
    let engine = Engine::start(clock.clone(), &[&receiver.url()]).await;
    let right = clock.now();
    clock.set(after(right, Duration::from_hours(24)));
    let id = engine.send().await;
    engine.attempted(id, 1).await;
    engine.at_rest().await;
    clock.set(right);
    engine.dispatch.nudge();
    assert_eq!(outcomes(&engine.settled(id).await), [Outcome::ServerError, Outcome::Delivered]);
}

#[tokio::test]
async fn a_claim_with_too_little_of_its_lease_left_is_not_sent() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let clock = standing_clock();
    let engine = Engine::start(clock.clone(), &[&receiver.url()]).await;
    let id = engine.queue(0, Body::json(Bytes::from_static(b"{}"))).await;
    let claim = engine.claim().await;
    let attempt_max = Terms::of(&Retry::default()).attempt_max();
    clock.advance(limits::LEASE - attempt_max + Duration::from_millis(1));
    let slot = engine.dispatch.try_reserve(&claim.endpoint, claim.body.bytes.len()).unwrap();
    engine.dispatch.start(claim, slot);
    clock.advance(attempt_max);
    assert_eq!(outcomes(&engine.settled(id).await), [Outcome::Interrupted, Outcome::Delivered]);
    assert_eq!(receiver.received().len(), 1);
}
