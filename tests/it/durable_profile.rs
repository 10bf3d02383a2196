//! The profile `durable`, and numbers of a webhook's own: what is promised in docs/delivery.md beyond LangSmith's profile.

use std::process::Command;
use std::time::Duration;

use runhook::clock::{Clock, ManualClock, after};
use runhook::model::attempt::Outcome;
use runhook::model::delivery::State;
use runhook::model::endpoint::Endpoint;
use runhook::model::retry::{Profile, Retry};
use runhook::model::secret::Secret;
use runhook::model::signing::SigningSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::engine::{Engine, outcomes, standing_clock};
use crate::support::peers::python_with;
use crate::support::receiver::{Act, Receiver};

const OLD_SECRET: &str = "whsec_b2xkLXNlY3JldC1vZi10aGUtcmVjZWl2ZXItMDE=";
const NEW_SECRET: &str = "whsec_bmV3LXNlY3JldC1vZi10aGUtcmVjZWl2ZXItMDI=";
const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n";
const UNTIL: &str =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: Wed, 01 Jul 2026 09:10:00 GMT\r\ncontent-length: 0\r\n\r\n";

fn durable(endpoint: &mut Endpoint) {
    endpoint.retry.profile = Profile::Durable;
}

async fn engine(clock: &ManualClock, receiver: &Receiver) -> Engine {
    Engine::start_shaped(clock.clone(), &receiver.url(), durable).await
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_sent_again() {
    let receiver = Receiver::start([Act::WriteThenClose(""), Act::Answer(404), Act::Answer(200)]).await;
    let clock = standing_clock();
    let engine = engine(&clock, &receiver).await;
    let id = engine.send().await;
    for (ended, seconds) in [(1, 5), (2, 300)] {
        let record = engine.attempted(id, ended).await;
        assert_eq!(record.delivery.next_attempt_at, Some(after(clock.now(), Duration::from_secs(seconds))));
        clock.advance(Duration::from_secs(seconds));
    }
    let record = engine.settled(id).await;
    assert_eq!(outcomes(&record), [Outcome::ConnectionLost, Outcome::ClientError, Outcome::Delivered]);
    let received = receiver.received();
    assert!(received.iter().all(|request| request.body == received[0].body));
}

#[tokio::test]
async fn a_receiver_that_names_a_time_is_waited_for_and_so_is_all_else_that_goes_to_it() {
    for (answer, seconds) in [(BUSY, 120), (UNTIL, 600)] {
        let receiver = Receiver::start([Act::WriteThenClose(answer), Act::Answer(200)]).await;
        let clock = standing_clock();
        let engine = engine(&clock, &receiver).await;
        let first = engine.send().await;
        let record = engine.attempted(first, 1).await;
        assert_eq!(record.delivery.next_attempt_at, Some(after(clock.now(), Duration::from_secs(seconds))));
        // The verdict is in once the slot is back.
        engine.at_rest().await;
        let second = engine.send().await;
        clock.advance(Duration::from_secs(seconds - 1));
        engine.dispatch.nudge();
        assert_eq!(engine.record(second).await.attempts, []);
        clock.advance(Duration::from_secs(1));
        assert_eq!(engine.settled(first).await.delivery.state, State::Delivered);
        assert_eq!(engine.settled(second).await.delivery.state, State::Delivered);
        assert_eq!(receiver.received().len(), 3);
    }
}

#[tokio::test]
async fn after_410_nothing_is_sent_until_the_endpoint_is_enabled_and_what_arrives_is_kept() {
    let receiver = Receiver::start([Act::Answer(410), Act::Answer(200)]).await;
    let clock = standing_clock();
    let engine = engine(&clock, &receiver).await;
    let gone = engine.send().await;
    assert_eq!(engine.settled(gone).await.delivery.state, State::Failed);
    let kept = engine.send().await;
    clock.advance(Duration::from_hours(24));
    engine.dispatch.nudge();
    let endpoints = engine.store.endpoints().await.unwrap();
    assert!(endpoints[0].disabled.as_ref().unwrap().cause.contains("410"));
    assert_eq!(endpoints[0].pending, 1);
    assert_eq!(receiver.received().len(), 1);
    assert!(engine.store.set_disabled(&engine.endpoint(0), None).await.unwrap());
    engine.dispatch.nudge();
    assert_eq!(engine.settled(kept).await.delivery.state, State::Delivered);
}

#[tokio::test]
async fn a_410_from_a_url_that_was_corrected_meanwhile_disables_nothing() {
    let before = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, receiver) =
        (format!("http://{}/", before.local_addr().unwrap()), Receiver::start([Act::Answer(200)]).await);
    let engine = Engine::start_shaped(standing_clock(), &url, durable).await;
    let id = engine.send().await;
    let (mut connection, _) = before.accept().await.unwrap();
    assert!(connection.read(&mut [0; 1024]).await.unwrap() > 0);
    engine.move_to(&receiver.url()).await;
    connection.write_all(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let record = engine.settled(id).await;
    assert_eq!(outcomes(&record), [Outcome::ClientError, Outcome::Delivered]);
    assert_eq!(engine.store.endpoints().await.unwrap()[0].disabled, None);
}

#[tokio::test]
async fn own_numbers_hold_in_each_profile() {
    let receiver = Receiver::start([Act::Write("")]).await;
    let clock = standing_clock();
    let numbers = Retry {
        profile: Profile::Durable,
        timeout_seconds: Some(1),
        attempts: Some(2),
        backoff_seconds: Some(vec![7]),
    };
    let engine = Engine::start_shaped(clock.clone(), &receiver.url(), |endpoint| endpoint.retry = numbers).await;
    let id = engine.send().await;
    let record = engine.attempted(id, 1).await;
    let took = record.attempts[0].duration_ms.unwrap();
    assert!((900..4_000).contains(&took), "{took} ms");
    assert_eq!(record.delivery.next_attempt_at, Some(after(clock.now(), Duration::from_secs(7))));
    clock.advance(Duration::from_secs(7));
    let record = engine.settled(id).await;
    assert_eq!((outcomes(&record), record.delivery.state), (vec![Outcome::TimedOut; 2], State::Failed));
}

/// As a receiver's author would check it, with the library of Standard Webhooks.
const VERIFY: &str = "
import sys
from unittest import mock
from standardwebhooks.webhooks import Webhook
body, secret, *headers = sys.argv[1:]
names = ['webhook-id', 'webhook-timestamp', 'webhook-signature']
# Its own clock would find a request of the test's clock too old.
with mock.patch.object(Webhook, '_Webhook__verify_timestamp', lambda self, text: __import__('datetime').datetime.fromtimestamp(int(text), __import__('datetime').timezone.utc)):
    Webhook(secret).verify(body, dict(zip(names, headers)))
";

#[tokio::test]
async fn the_library_of_standard_webhooks_takes_a_signature_by_each_secret_and_no_other() {
    let Some(python) = python_with("standardwebhooks") else { return };
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let secret = |text| SigningSecret::parse(Secret::new(text)).unwrap();
    let shape = |endpoint: &mut Endpoint| endpoint.signing_secrets = vec![secret(NEW_SECRET), secret(OLD_SECRET)];
    let engine = Engine::start_shaped(standing_clock(), &receiver.url(), shape).await;
    let id = engine.send().await;
    engine.settled(id).await;
    let received = receiver.received().remove(0);
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| received.header(name)[0]);
    let body = String::from_utf8(received.body.clone()).unwrap();
    let verifies = |body: &str, secret: &str| {
        let output = Command::new(&python).args(["-c", VERIFY, body, secret]).args(headers).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || error.contains("No matching signature found"), "{error}");
        output.status.success()
    };
    assert!(verifies(&body, NEW_SECRET) && verifies(&body, OLD_SECRET));
    assert!(!verifies(&body, "whsec_YW5vdGhlci1zZWNyZXQtb2Ytc29tZWJvZHktMDM="));
    assert!(!verifies(&format!("{body} "), NEW_SECRET));
}
