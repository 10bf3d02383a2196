//! How much one endpoint is sent at once, how fast, in which order, and what happens while it fails.

use std::time::{Duration, Instant};

use bytes::Bytes;
use runhook::clock::SystemClock;
use runhook::dispatch::Breaker;
use runhook::model::delivery::State;
use runhook::model::ids::DeliveryId;
use runhook::model::pace::Pace;
use runhook::model::payload::Body;

use crate::support::engine::{Engine, standing_clock};
use crate::support::receiver::{Act, Receiver};

async fn queue(engine: &Engine, count: usize) -> Vec<DeliveryId> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(engine.queue(0, Body::json(Bytes::from(format!(r#"{{"number":{number}}}"#)))).await);
    }
    engine.dispatch.nudge();
    ids
}

async fn all_delivered(engine: &Engine, ids: &[DeliveryId]) {
    for id in ids {
        assert_eq!(engine.settled(*id).await.delivery.state, State::Delivered);
    }
}

#[tokio::test]
async fn no_more_attempts_are_in_flight_than_the_webhook_takes() {
    let receiver = Receiver::start([Act::Write("")]).await;
    let pace = Pace { concurrency: Some(2), ..Pace::default() };
    let engine = Engine::start_shaped(standing_clock(), &receiver.url(), |endpoint| endpoint.pace = pace).await;
    let ids = queue(&engine, 6).await;
    // Each hangs until its timeout; the first two end together, and the next two begin.
    engine.settled(ids[0]).await;
    engine.settled(ids[1]).await;
    assert!(receiver.connections() <= 4, "{}", receiver.connections());
    assert_eq!(engine.record(ids[4]).await.delivery.attempts, 0);
}

#[tokio::test]
async fn attempts_begin_no_faster_than_the_webhook_takes() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let pace = Pace { rate_per_second: Some(20.0), ..Pace::default() };
    let engine = Engine::start_shaped(SystemClock, &receiver.url(), |endpoint| endpoint.pace = pace).await;
    let begun = Instant::now();
    let ids = queue(&engine, 24).await;
    all_delivered(&engine, &ids).await;
    let received = receiver.received();
    // Two may begin at once, each further one 50 ms after another.
    let took = received.iter().map(|received| received.at).max().unwrap() - begun;
    assert!(took >= Duration::from_millis(22 * 50), "{took:?}");
    // A wake-up that is lost costs up to a second, and there are twenty.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn an_ordered_webhook_gets_one_at_a_time_in_the_order_of_acceptance_also_over_a_retry() {
    let receiver = Receiver::start([Act::Answer(200), Act::Answer(503), Act::Answer(200)]).await;
    let clock = standing_clock();
    let pace = Pace { is_ordered: true, ..Pace::default() };
    let engine = Engine::start_shaped(clock.clone(), &receiver.url(), |endpoint| endpoint.pace = pace).await;
    let ids = queue(&engine, 20).await;
    engine.attempted(ids[1], 1).await;
    assert_eq!(receiver.received().len(), 2);
    clock.advance(Duration::from_secs(1));
    all_delivered(&engine, &ids).await;
    let arrived: Vec<_> =
        receiver.received().iter().map(|received| received.header("webhook-id")[0].to_owned()).collect();
    let mut expected: Vec<_> = ids.iter().map(ToString::to_string).collect();
    expected.insert(1, expected[1].clone());
    assert_eq!(arrived, expected);
}

#[tokio::test]
async fn an_endpoint_that_fails_again_and_again_is_left_alone_then_probed_and_loses_little() {
    let failures = 10;
    let script = vec![Act::Answer(500); failures + 1].into_iter().chain([Act::Answer(200)]);
    let receiver = Receiver::start(script).await;
    let clock = standing_clock();
    let pace = Pace { concurrency: Some(1), ..Pace::default() };
    let engine = Engine::start_shaped(clock.clone(), &receiver.url(), |endpoint| endpoint.pace = pace).await;
    let ids = queue(&engine, 40).await;
    let paused = |pauses| move |engine: &Engine| matches!(engine.dispatch.state(&engine.endpoint(0)).0, Breaker::Paused { pauses: now, .. } if now == pauses);
    engine.until(paused(1)).await;
    assert_eq!(receiver.received().len(), failures);
    // Retries are due as well; they wait as the others do, and one attempt of all is made.
    clock.advance(Duration::from_secs(1));
    engine.until(paused(2)).await;
    assert_eq!(receiver.received().len(), failures + 1);
    clock.advance(Duration::from_secs(2));
    all_delivered(&engine, &ids[failures..]).await;
    clock.advance(Duration::from_secs(2));
    all_delivered(&engine, &ids).await;
    assert_eq!(engine.dispatch.state(&engine.endpoint(0)).0, Breaker::default());
}

#[tokio::test]
async fn a_paused_endpoint_delays_no_retry_of_another() {
    let failing = Receiver::start([Act::Answer(500)]).await;
    let other = Receiver::start([Act::Answer(503), Act::Answer(200)]).await;
    let clock = standing_clock();
    let engine = Engine::start(clock.clone(), &[&failing.url(), &other.url()]).await;
    queue(&engine, 40).await;
    engine.until(|engine| engine.dispatch.state(&engine.endpoint(0)).0 != Breaker::default()).await;
    engine.at_rest().await;
    let id = engine.queue(1, Body::json(Bytes::from_static(b"{}"))).await;
    engine.dispatch.nudge();
    engine.attempted(id, 1).await;
    // Less than a tick is between now and the retry's time; the loop has to know it.
    clock.advance(Duration::from_secs(1));
    assert_eq!(engine.settled(id).await.delivery.state, State::Delivered);
}
