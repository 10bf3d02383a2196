//! What is promised to receivers (docs/delivery.md), row by row, against receivers that do as scripted.
//!
//! Backoff runs on a clock that stands until it is moved; timeouts of an exchange are real.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use runhook::clock::{ManualClock, SystemClock, after};
use runhook::limits;
use runhook::model::attempt::{Attempt, Outcome};
use runhook::model::delivery::{DeliveryRecord, State};
use runhook::model::ids::DeliveryId;
use runhook::model::payload::Body;
use runhook::outbound::{AddressPolicy, HttpSender};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::engine::{Engine, assert_failed_at_once, loopback, outcomes, standing_clock};
use crate::support::receiver::{Act, Receiver};
use crate::support::tls;

/// Lets all attempts of a delivery happen, moving the clock to each as it is due, and checks the delays.
async fn run_out(engine: &Engine, clock: &ManualClock, id: DeliveryId) -> DeliveryRecord {
    for (ended, delay) in [(1, 1), (2, 2)] {
        let record = engine.attempted(id, ended).await;
        let Some(due) = record.delivery.next_attempt_at else { return record };
        let delay = Duration::from_secs(delay);
        assert_eq!(due, after(now(clock), delay));
        clock.advance(delay);
    }
    engine.settled(id).await
}

fn now(clock: &ManualClock) -> jiff::Timestamp {
    runhook::clock::Clock::now(clock)
}

fn seconds(attempt: &Attempt) -> f64 {
    attempt.duration_ms.unwrap() as f64 / 1000.0
}

/// Sends to the URL until nothing more is tried.
async fn deliver_to(url: &str) -> DeliveryRecord {
    let clock = standing_clock();
    let engine = Engine::start(clock.clone(), &[url]).await;
    let id = engine.send().await;
    run_out(&engine, &clock, id).await
}

fn assert_retried_then_failed(record: &DeliveryRecord, outcome: Outcome) {
    assert_eq!(outcomes(record), [outcome; 3], "{record:?}");
    assert_eq!(record.delivery.state, State::Failed);
}

// Cannot connect: retried, then failed.

#[tokio::test]
async fn a_refused_connection_is_retried_twice_then_failed() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let record = deliver_to(&format!("http://{closed}/hook?secret=s3cret")).await;
    assert_retried_then_failed(&record, Outcome::ConnectFailed);
    for attempt in &record.attempts {
        assert_eq!(attempt.address, Some(closed));
        assert_eq!(attempt.status, None);
        let error = attempt.error.as_deref().unwrap();
        assert!(error.contains("refused") && !error.contains("s3cret") && !error.contains("hook"), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_retried_twice_then_failed() {
    let record = deliver_to("http://receiver.invalid/hook").await;
    assert_retried_then_failed(&record, Outcome::ConnectFailed);
    assert_eq!(record.attempts[0].address, None);
}

#[tokio::test]
async fn a_tls_handshake_that_fails_is_retried_twice_then_failed() {
    // A port behind which nobody speaks TLS: each connection is closed at once.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = plain.accept().await {
            drop(stream);
        }
    });
    let record = deliver_to(&format!("https://{address}/hook")).await;
    assert_retried_then_failed(&record, Outcome::ConnectFailed);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_retried_twice_then_failed() {
    let receiver = tls::start().await;
    let record = deliver_to(&receiver.url()).await;
    assert_retried_then_failed(&record, Outcome::ConnectFailed);
    let error = record.attempts[0].error.as_deref().unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(receiver.requests(), 0);
}

#[tokio::test]
async fn a_handshake_that_is_never_answered_ends_after_five_seconds_and_is_retried() {
    // TCP connects, TLS does not go on: that is not connected yet.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/hook", silent.local_addr().unwrap());
    let engine = Engine::start(standing_clock(), &[&url]).await;
    let id = engine.send().await;
    assert_connect_timeout(&engine, id).await;
}

#[tokio::test]
async fn a_connection_that_is_never_accepted_ends_after_five_seconds_and_is_retried() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = socket.listen(1).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 64, "the backlog never fills");
    }
    let engine = Engine::start(standing_clock(), &[&format!("http://{address}/hook")]).await;
    let id = engine.send().await;
    assert_connect_timeout(&engine, id).await;
}

async fn assert_connect_timeout(engine: &Engine, id: DeliveryId) {
    let record = engine.attempted(id, 1).await;
    assert_eq!(outcomes(&record), [Outcome::ConnectFailed], "{record:?}");
    assert!((5.0..5.9).contains(&seconds(&record.attempts[0])));
    assert_eq!(record.delivery.state, State::Pending, "it is retried");
    assert!(record.delivery.next_attempt_at.is_some());
}

// No complete response head in time: failed, not retried.

#[tokio::test]
async fn a_silent_receiver_fails_after_five_seconds_without_a_retry() {
    let receiver = Receiver::start([Act::Write("")]).await;
    let record = deliver_to(&receiver.url()).await;
    assert_failed_at_once(&record, Outcome::TimedOut);
    assert!((5.0..5.9).contains(&seconds(&record.attempts[0])));
    assert_eq!(record.attempts[0].address, Some(receiver.address()));
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_head_of_one_byte_per_second_fails_after_five_seconds_without_a_retry() {
    let receiver = Receiver::start([Act::DrippingHead]).await;
    let record = deliver_to(&receiver.url()).await;
    assert_failed_at_once(&record, Outcome::TimedOut);
    assert!((5.0..5.9).contains(&seconds(&record.attempts[0])));
}

#[tokio::test]
async fn a_silent_receiver_of_an_empty_body_is_told_from_one_that_cannot_be_reached() {
    let receiver = Receiver::start([Act::Write("")]).await;
    let engine = Engine::start(standing_clock(), &[&receiver.url()]).await;
    let id = engine.queue(0, Body::json(Bytes::new())).await;
    engine.dispatch.nudge();
    assert_failed_at_once(&engine.settled(id).await, Outcome::TimedOut);
    assert_eq!(receiver.received()[0].header("content-length"), ["0"]);
}

#[tokio::test]
async fn a_reused_connection_that_falls_silent_is_a_timeout_with_its_address() {
    let receiver = Receiver::start([Act::Answer(200), Act::Write("")]).await;
    let url = format!("http://localhost:{}/hook", receiver.address().port());
    let sender =
        HttpSender::new(AddressPolicy::allowing(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]));
    let engine = Engine::start_with(standing_clock(), &[&url], BTreeMap::new(), sender.unwrap()).await;
    let first = engine.send().await;
    assert_eq!(engine.settled(first).await.delivery.state, State::Delivered);
    let second = engine.send().await;
    let record = engine.settled(second).await;
    assert_failed_at_once(&record, Outcome::TimedOut);
    assert_eq!(record.attempts[0].address.map(|address| address.port()), Some(receiver.address().port()));
    assert_eq!(receiver.connections(), 1);
}

// 5xx: retried, then failed.

#[tokio::test]
async fn delivers_after_503_with_backoff_and_the_same_bytes() {
    let receiver = Receiver::start([Act::Answer(503), Act::Answer(200)]).await;
    let record = deliver_to(&receiver.url()).await;
    assert_eq!(outcomes(&record), [Outcome::ServerError, Outcome::Delivered]);
    assert_eq!(record.delivery.state, State::Delivered);
    assert_eq!(record.attempts.iter().map(|attempt| attempt.status).collect::<Vec<_>>(), [Some(503), Some(200)]);
    assert_eq!(record.attempts[1].started_at, after(record.attempts[0].started_at, Duration::from_secs(1)));
    let received = receiver.received();
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    assert_eq!(received[0].header("webhook-id"), [record.delivery.id.to_string()]);
}

#[tokio::test]
async fn a_receiver_that_answers_5xx_thrice_is_given_up() {
    for status in [500, 502, 503, 504, 599] {
        let receiver = Receiver::start([Act::Answer(status)]).await;
        assert_retried_then_failed(&deliver_to(&receiver.url()).await, Outcome::ServerError);
        assert_eq!(receiver.received().len(), 3);
    }
}

#[tokio::test]
async fn refused_connections_and_5xx_share_one_budget() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let clock = standing_clock();
    let engine = Engine::start(clock.clone(), &[&format!("http://{closed}/hook")]).await;
    let id = engine.send().await;
    engine.attempted(id, 1).await;
    let receiver = Receiver::start_on(TcpListener::bind(closed).await.unwrap(), [Act::Answer(500)]);
    clock.advance(Duration::from_secs(1));
    engine.attempted(id, 2).await;
    clock.advance(Duration::from_secs(2));
    let record = engine.settled(id).await;
    assert_eq!(outcomes(&record), [Outcome::ConnectFailed, Outcome::ServerError, Outcome::ServerError]);
    assert_eq!(record.delivery.state, State::Failed);
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn nothing_is_sent_before_a_retry_is_due() {
    let receiver = Receiver::start([Act::Answer(503), Act::Answer(200)]).await;
    let clock = standing_clock();
    clock.set_random(0.0);
    let engine = Engine::start(clock.clone(), &[&receiver.url()]).await;
    let id = engine.send().await;
    let due = engine.attempted(id, 1).await.delivery.next_attempt_at.unwrap();
    assert_eq!(due, after(now(&clock), Duration::from_millis(800)), "a fifth earlier");
    clock.advance(Duration::from_millis(799));
    // Another delivery that passes through the same loop shows that it has looked.
    engine.dispatch.nudge();
    let other = engine.send().await;
    engine.settled(other).await;
    assert_eq!(engine.record(id).await.attempts.len(), 1);
    clock.advance(Duration::from_millis(1));
    assert_eq!(engine.settled(id).await.attempts.len(), 2);
}

#[tokio::test]
async fn backoff_holds_on_the_real_clock() {
    let receiver = Receiver::start([Act::Answer(503), Act::Answer(503), Act::Answer(200)]).await;
    let engine = Engine::start(SystemClock, &[&receiver.url()]).await;
    let id = engine.send().await;
    let record = engine.settled(id).await;
    assert_eq!(outcomes(&record), [Outcome::ServerError, Outcome::ServerError, Outcome::Delivered]);
    let at: Vec<Instant> = receiver.received().iter().map(|received| received.at).collect();
    let (first, second) = (at[1] - at[0], at[2] - at[1]);
    // A disk that others keep busy makes it later, by seconds.
    assert!(first >= Duration::from_millis(790) && second >= Duration::from_millis(1_590), "{first:?} {second:?}");
    assert!(first + second < Duration::from_secs(30), "{first:?} {second:?}");
}

// Lost after sending: failed, not retried.

#[tokio::test]
async fn a_connection_lost_after_sending_fails_without_a_retry() {
    let receiver = Receiver::start([Act::WriteThenClose("")]).await;
    let record = deliver_to(&receiver.url()).await;
    assert_failed_at_once(&record, Outcome::ConnectionLost);
    assert_eq!(record.attempts[0].address, Some(receiver.address()));
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_of_the_head_fails_without_a_retry() {
    let receiver = Receiver::start([Act::WriteThenClose("HTTP/1.1 200 OK\r\ncontent-le")]).await;
    assert_failed_at_once(&deliver_to(&receiver.url()).await, Outcome::ConnectionLost);
}

#[tokio::test]
async fn an_answer_that_is_no_http_fails_without_a_retry() {
    let receiver = Receiver::start([Act::WriteThenClose("220 mail.example.com ESMTP\r\n\r\n")]).await;
    assert_failed_at_once(&deliver_to(&receiver.url()).await, Outcome::ConnectionLost);
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_reused_connection_that_is_lost_after_sending_is_not_sent_again() {
    let receiver = Receiver::start([Act::Answer(200), Act::WriteThenClose("")]).await;
    let engine = Engine::start(standing_clock(), &[&receiver.url()]).await;
    let first = engine.send().await;
    assert_eq!(engine.settled(first).await.delivery.state, State::Delivered);
    let second = engine.send().await;
    assert_failed_at_once(&engine.settled(second).await, Outcome::ConnectionLost);
    assert_eq!(receiver.connections(), 1, "the connection was reused");
    assert_eq!(receiver.received().len(), 2, "each delivery came once");
}

#[tokio::test]
async fn a_connection_that_was_closed_between_two_deliveries_costs_nothing() {
    let receiver = Receiver::start([Act::AnswerThenClose(200)]).await;
    let engine = Engine::start(standing_clock(), &[&receiver.url()]).await;
    for sent in 1..=20 {
        let id = engine.send().await;
        let record = engine.settled(id).await;
        assert_eq!(outcomes(&record), [Outcome::Delivered]);
        assert_eq!(receiver.received().len(), sent, "nothing came twice");
        // The close is under way; whether the next request meets it or not is chance.
        receiver.connections_ended(sent).await;
    }
}

// 4xx, 3xx, 1xx only: failed, not retried.

#[tokio::test]
async fn a_4xx_fails_without_a_retry() {
    for status in [400, 401, 404, 408, 410, 422, 429] {
        let receiver = Receiver::start([Act::Answer(status)]).await;
        let record = deliver_to(&receiver.url()).await;
        assert_failed_at_once(&record, Outcome::ClientError);
        assert_eq!(record.attempts[0].status, Some(status));
        assert_eq!(receiver.received().len(), 1);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_fails_without_a_retry() {
    let elsewhere = Receiver::start([Act::Answer(200)]).await;
    for status in [301, 302, 303, 307, 308] {
        let receiver = Receiver::start([Act::Redirect(status, elsewhere.url())]).await;
        let record = deliver_to(&receiver.url()).await;
        assert_failed_at_once(&record, Outcome::Redirected);
        assert_eq!(record.attempts[0].status, Some(status));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn interim_answers_only_fail_without_a_retry() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n";
    let receiver = Receiver::start([Act::Write(interim)]).await;
    assert_failed_at_once(&deliver_to(&receiver.url()).await, Outcome::TimedOut);
    let receiver = Receiver::start([Act::WriteThenClose(interim)]).await;
    assert_failed_at_once(&deliver_to(&receiver.url()).await, Outcome::ConnectionLost);
    let receiver =
        Receiver::start([Act::WriteThenClose("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")]).await;
    assert_failed_at_once(&deliver_to(&receiver.url()).await, Outcome::UnexpectedResponse);
}

#[tokio::test]
async fn interim_answers_before_a_2xx_are_skipped() {
    let receiver = Receiver::start([Act::Write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")]).await;
    let record = deliver_to(&receiver.url()).await;
    assert_eq!((record.delivery.state, record.attempts[0].status), (State::Delivered, Some(204)));
}

// 2xx: delivered; the body is ignored, within bounds.

#[tokio::test]
async fn an_endless_body_is_cut_off_and_the_delivery_counts() {
    let receiver = Receiver::start([Act::EndlessBody]).await;
    let record = timeout(limits::RESPONSE_READ_TIMEOUT, deliver_to(&receiver.url())).await;
    let record = record.expect("the size ends it, not the time");
    assert_eq!(outcomes(&record), [Outcome::Delivered]);
    receiver.connections_ended(1).await;
}

#[tokio::test]
async fn a_body_of_one_byte_per_second_is_left_after_five_seconds_and_the_delivery_counts() {
    let receiver = Receiver::start([Act::DrippingBody]).await;
    let begun = Instant::now();
    let record = deliver_to(&receiver.url()).await;
    assert_eq!(outcomes(&record), [Outcome::Delivered]);
    assert!((5.0..6.5).contains(&begun.elapsed().as_secs_f64()));
    assert!(seconds(&record.attempts[0]) < 1.0, "what counts is the time to the head");
    receiver.connections_ended(1).await;
}

#[tokio::test]
async fn an_answer_with_a_body_leaves_the_connection_for_the_next_delivery() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let engine = Engine::start(standing_clock(), &[&receiver.url()]).await;
    for _ in 0..3 {
        let id = engine.send().await;
        assert_eq!(engine.settled(id).await.delivery.state, State::Delivered);
    }
    assert_eq!(receiver.connections(), 1);
}

#[tokio::test]
async fn tls_with_an_authority_that_is_trusted_delivers_over_http2() {
    let receiver = tls::start().await;
    let sender = HttpSender::trusting(loopback(), &[receiver.authority()]).unwrap();
    let clock = standing_clock();
    let engine = Engine::start_with(clock.clone(), &[&receiver.url()], BTreeMap::new(), sender).await;
    let id = engine.send().await;
    let record = run_out(&engine, &clock, id).await;
    assert_eq!(outcomes(&record), [Outcome::Delivered], "{record:?}");
    assert_eq!(receiver.requests(), 1);
}
