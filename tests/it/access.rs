//! How a webhook's own authorities, client certificate and tokens work, against real TLS servers and a token endpoint.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use http::{HeaderValue, StatusCode};
use runhook::clock::{Clock, ManualClock, after};
use runhook::model::access::{Access, ClientAuth, ClientCertificate, OAuth2};
use runhook::model::endpoint::EndpointUrl;
use runhook::model::secret::Secret;
use runhook::outbound::{AddressPolicy, Exchange, HttpSender, Request, SendFailure, Sender, SenderSettings};

use crate::support::authority::{Authority, Issued, VouchedReceiver};
use crate::support::engine::{loopback, standing_clock};
use crate::support::receiver::{Act, Receiver};
use crate::support::request::request;
use crate::support::token_server::{TokenServer, token_for_an_hour};

const CLIENT_SECRET: &str = "s3cret-of-the-client";

fn sender() -> HttpSender {
    HttpSender::new(loopback()).unwrap()
}

#[track_caller]
fn assert_connect_failed(exchange: &Exchange, says: &str) {
    match &exchange.result {
        Err(SendFailure::ConnectFailed(text)) => assert!(text.contains(says), "{text}"),
        other => panic!("{other:?}"),
    }
}

// Authorities and client certificates.

fn access_with(authority: &Authority, certificate: Option<&Issued>) -> Arc<Access> {
    let certificate = certificate
        .map(|own| ClientCertificate { certificate: own.certificate.clone(), key: Secret::new(own.key.as_str()) });
    Arc::new(Access { authority: Some(authority.pem()), client_certificate: certificate, oauth2: None })
}

#[tokio::test]
async fn an_authority_of_a_webhook_is_trusted_for_that_webhook_alone() {
    let authority = Authority::new();
    let receiver = VouchedReceiver::start(&authority, "127.0.0.1", None).await;
    let sender = sender();
    let trusting = sender.send(request(&receiver.url(), &access_with(&authority, None))).await;
    assert_eq!(trusting.result, Ok(StatusCode::OK));
    let other = sender.send(request(&receiver.url(), &access_with(&Authority::new(), None))).await;
    assert_connect_failed(&other, "certificate");
    let plain = sender.send(request(&receiver.url(), &Arc::default())).await;
    assert_connect_failed(&plain, "certificate");
    assert_eq!(receiver.seen().len(), 1);
}

#[tokio::test]
async fn a_connection_of_one_identity_is_never_used_for_another() {
    let authority = Authority::new();
    let receiver = VouchedReceiver::start(&authority, "127.0.0.1", Some(&authority)).await;
    let (one, two) = (authority.issue("one"), authority.issue("two"));
    let accesses = [access_with(&authority, Some(&one)), access_with(&authority, Some(&two))];
    let sender = sender();
    for round in 0..6 {
        let exchange = sender.send(request(&receiver.url(), &accesses[round % 2])).await;
        assert_eq!(exchange.result, Ok(StatusCode::OK));
    }
    let seen = receiver.seen();
    let certificates: Vec<_> = seen.iter().map(|seen| seen.certificate.clone().unwrap()).collect();
    assert_eq!(certificates, [&one.der, &two.der, &one.der, &two.der, &one.der, &two.der].map(Clone::clone));
    let connections: Vec<_> = seen.iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [1, 2, 1, 2, 1, 2], "each has one, and keeps it");
}

#[tokio::test]
async fn a_receiver_that_demands_a_certificate_takes_no_request_without_the_right_one() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let receiver = VouchedReceiver::start(&authority, "127.0.0.1", Some(&authority)).await;
    let sender = sender();
    for own in [None, Some(&stranger.issue("stranger"))] {
        let exchange = sender.send(request(&receiver.url(), &access_with(&authority, own))).await;
        // With TLS 1.3 a client may write before it is told.
        match exchange.result {
            Err(SendFailure::ConnectFailed(_) | SendFailure::ConnectionLost(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(receiver.seen().is_empty());
}

// Tokens.

fn credentials(token_url: &str) -> OAuth2 {
    OAuth2 {
        token_url: EndpointUrl::parse(token_url).unwrap(),
        client_id: "runhook".to_owned(),
        client_secret: Secret::new(CLIENT_SECRET),
        scope: None,
        audience: None,
        client_auth: ClientAuth::Basic,
    }
}

fn access_of(oauth2: OAuth2) -> Arc<Access> {
    Arc::new(Access { oauth2: Some(oauth2), ..Access::default() })
}

fn sender_with(clock: &ManualClock) -> HttpSender {
    HttpSender::start(SenderSettings { clock: Arc::new(clock.clone()), ..SenderSettings::new(loopback()) }).unwrap()
}

/// The tokens that a receiver has seen, in order.
fn tokens(receiver: &Receiver) -> Vec<String> {
    receiver.received().iter().map(|received| received.header("authorization").join(", ")).collect()
}

#[tokio::test]
async fn a_token_takes_the_place_of_the_webhooks_own_header() {
    let (receiver, server) = (Receiver::start([Act::Answer(200)]).await, TokenServer::giving_tokens().await);
    let mut request = request(&receiver.url(), &access_of(credentials(&server.url())));
    request.headers.insert("authorization", HeaderValue::from_static("Bearer own"));
    assert_eq!(sender().send(request).await.result, Ok(StatusCode::OK));
    assert_eq!(tokens(&receiver), ["Bearer token-1"]);
}

#[tokio::test]
async fn id_and_secret_stand_where_the_rule_says_in_the_form_that_the_rfc_says() {
    let (receiver, server) = (Receiver::start([Act::Answer(200)]).await, TokenServer::giving_tokens().await);
    let sender = sender();
    for client_auth in [ClientAuth::Basic, ClientAuth::Body] {
        let oauth2 = OAuth2 {
            client_id: "a b".to_owned(),
            client_secret: Secret::new("c:d/ü"),
            scope: Some("hooks:write more".to_owned()),
            audience: Some("https://api.example.com".to_owned()),
            client_auth,
            ..credentials(&server.url())
        };
        assert_eq!(sender.send(request(&receiver.url(), &access_of(oauth2))).await.result, Ok(StatusCode::OK));
    }
    let asked = server.asked();
    let common = "grant_type=client_credentials&scope=hooks%3Awrite+more&audience=https%3A%2F%2Fapi.example.com";
    // base64 of `a+b:c%3Ad%2F%C3%BC`
    assert_eq!(asked[0].authorization.as_deref(), Some("Basic YStiOmMlM0FkJTJGJUMzJUJD"));
    assert_eq!(asked[0].form, common);
    assert_eq!(asked[1].authorization, None);
    assert_eq!(asked[1].form, format!("{common}&client_id=a+b&client_secret=c%3Ad%2F%C3%BC"));
}

#[tokio::test]
async fn however_many_attempts_wait_a_token_is_fetched_once() {
    for (answer, is_given) in
        [(token_for_an_hour as fn(usize) -> (u16, String), true), (|_| (503, String::new()), false)]
    {
        let (receiver, server) = (Receiver::start([Act::Answer(200)]).await, TokenServer::start_closed(answer).await);
        let (sender, access) = (sender(), access_of(credentials(&server.url())));
        let sends = join_all((0..20).map(|_| sender.send(request(&receiver.url(), &access))));
        let opening = async {
            server.until_asked(1).await;
            server.open();
        };
        let (exchanges, ()) = tokio::join!(sends, opening);
        assert_eq!(exchanges.iter().filter(|exchange| exchange.result.is_ok()).count(), if is_given { 20 } else { 0 });
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_token_that_comes_too_late_for_one_attempt_serves_the_next() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let server = TokenServer::start_closed(token_for_an_hour).await;
    let (sender, access) = (sender(), access_of(credentials(&server.url())));
    let hasty = Request { connect_timeout: Duration::from_millis(50), ..request(&receiver.url(), &access) };
    let exchange = sender.send(hasty).await;
    assert_connect_failed(&exchange, "within 0.05 s");
    assert_eq!(exchange.address, None);
    server.open();
    assert_eq!(sender.send(request(&receiver.url(), &access)).await.result, Ok(StatusCode::OK));
    assert_eq!((server.asked().len(), tokens(&receiver)), (1, vec!["Bearer token-1".to_owned()]));
}

#[tokio::test]
async fn a_token_is_used_until_shortly_before_it_expires() {
    let (receiver, server) = (Receiver::start([Act::Answer(200)]).await, TokenServer::giving_tokens().await);
    let clock = standing_clock();
    let (sender, access) = (sender_with(&clock), access_of(credentials(&server.url())));
    for (seconds, fetched) in [(0, 1), (3569, 1), (1, 2), (3569, 2), (1, 3)] {
        clock.advance(Duration::from_secs(seconds));
        assert_eq!(sender.send(request(&receiver.url(), &access)).await.result, Ok(StatusCode::OK));
        assert_eq!(server.asked().len(), fetched, "after {seconds} s more");
    }
}

#[tokio::test]
async fn a_token_of_a_clock_that_was_set_back_is_fetched_anew() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let (server, clock) = (TokenServer::giving_tokens().await, standing_clock());
    let (sender, access) = (sender_with(&clock), access_of(credentials(&server.url())));
    let start = clock.now();
    for (ahead, fetched) in [(24, 1), (0, 2), (0, 2)] {
        clock.set(after(start, Duration::from_hours(ahead)));
        assert_eq!(sender.send(request(&receiver.url(), &access)).await.result, Ok(StatusCode::OK));
        assert_eq!(server.asked().len(), fetched);
    }
}

#[tokio::test]
async fn how_long_a_token_holds_is_read_from_its_answer_as_far_as_it_says() {
    for (expires_in, used_for) in [(r#", "expires_in": "40""#, 20), ("", 270), (r#", "expires_in": 1e300"#, 270)] {
        let receiver = Receiver::start([Act::Answer(200)]).await;
        let server = TokenServer::start(move |_| (200, format!(r#"{{"access_token": "t"{expires_in}}}"#))).await;
        let clock = standing_clock();
        let (sender, access) = (sender_with(&clock), access_of(credentials(&server.url())));
        for (seconds, fetched) in [(0, 1), (used_for - 1, 1), (1, 2)] {
            clock.advance(Duration::from_secs(seconds));
            assert_eq!(sender.send(request(&receiver.url(), &access)).await.result, Ok(StatusCode::OK));
            assert_eq!(server.asked().len(), fetched, "{expires_in} after {seconds} s more");
        }
    }
}

#[tokio::test]
async fn after_a_401_the_next_delivery_has_a_new_token_and_nothing_is_sent_twice() {
    let receiver = Receiver::start([Act::Answer(401), Act::Answer(401), Act::Answer(200)]).await;
    let (server, clock) = (TokenServer::giving_tokens().await, standing_clock());
    let (sender, access) = (sender_with(&clock), access_of(credentials(&server.url())));
    let young = sender.send(request(&receiver.url(), &access)).await;
    assert_eq!(young.result, Ok(StatusCode::UNAUTHORIZED));
    clock.advance(Duration::from_secs(10));
    let refused = sender.send(request(&receiver.url(), &access)).await;
    assert_eq!((refused.result, server.asked().len()), (Ok(StatusCode::UNAUTHORIZED), 1));
    assert_eq!(sender.send(request(&receiver.url(), &access)).await.result, Ok(StatusCode::OK));
    assert_eq!(tokens(&receiver), ["Bearer token-1", "Bearer token-1", "Bearer token-2"]);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn webhooks_of_other_credentials_have_other_tokens() {
    let (receiver, server) = (Receiver::start([Act::Answer(200)]).await, TokenServer::giving_tokens().await);
    let sender = sender();
    let narrow = OAuth2 { scope: Some("narrow".to_owned()), ..credentials(&server.url()) };
    for oauth2 in [credentials(&server.url()), narrow.clone(), credentials(&server.url()), narrow] {
        sender.send(request(&receiver.url(), &access_of(oauth2))).await.result.unwrap();
    }
    assert_eq!(tokens(&receiver), ["Bearer token-1", "Bearer token-2", "Bearer token-1", "Bearer token-2"]);
}

#[tokio::test]
async fn without_a_token_the_receiver_is_not_reached_and_the_failure_says_what_the_token_endpoint_did() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let echo = format!(r#"{{"error": "{CLIENT_SECRET}"}}"#);
    let long = format!(r#"{{"error": "{}"}}"#, "x".repeat(65));
    for (status, body, says) in [
        (401, r#"{"error": "invalid_client"}"#, "401 Unauthorized with the error `invalid_client`"),
        (400, "<html>", "it answered 400 Bad Request"),
        (400, &echo, "it answered 400 Bad Request"),
        (400, &long, "it answered 400 Bad Request"),
        (400, r#"{"error": "two words"}"#, "it answered 400 Bad Request"),
        (302, "", "it answered 302 Found"),
        (200, "{}", "no `access_token`"),
        (200, "token", "no JSON"),
        (200, r#"{"access_token": "t", "token_type": "mac"}"#, "another type"),
        (200, r#"{"access_token": "a\nb"}"#, "cannot stand in a header"),
    ] {
        let body = body.to_owned();
        let is_plain = body.contains("invalid_client");
        let server = TokenServer::start(move |_| (status, body.clone())).await;
        let exchange = sender().send(request(&receiver.url(), &access_of(credentials(&server.url())))).await;
        assert_connect_failed(&exchange, says);
        let text = exchange.result.unwrap_err().to_string();
        assert!(text.starts_with("no token from the token endpoint http://127.0.0.1:"), "{text}");
        assert!(!text.contains(CLIENT_SECRET) && !text.contains("t3nant") && !text.contains("xxx"), "{text}");
        assert!(is_plain || !text.contains("the error"), "{text}");
        assert_eq!((exchange.address, server.asked().len()), (None, 1));
    }
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn an_endless_answer_of_a_token_endpoint_is_cut_off() {
    let (receiver, endless) = (Receiver::start([Act::Answer(200)]).await, Receiver::start([Act::EndlessBody]).await);
    let exchange = sender().send(request(&receiver.url(), &access_of(credentials(&endless.url())))).await;
    assert_connect_failed(&exchange, "more than 64 KiB");
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_token_endpoint_is_held_to_the_address_policy_and_a_forbidden_receiver_costs_no_token() {
    let (receiver, server) = (Receiver::start([Act::Answer(200)]).await, TokenServer::giving_tokens().await);
    let sender = HttpSender::new(AddressPolicy::allowing(vec!["127.0.0.1/32".parse().unwrap()])).unwrap();
    let closed = access_of(credentials("http://127.0.0.2:1/token"));
    let exchange = sender.send(request(&receiver.url(), &closed)).await;
    assert_connect_failed(&exchange, "the address 127.0.0.2 is forbidden");
    let open = access_of(credentials(&server.url()));
    let exchange = sender.send(request("http://127.0.0.2:1/hook", &open)).await;
    assert!(matches!(exchange.result, Err(SendFailure::AddressForbidden(_))), "{exchange:?}");
    assert!(server.asked().is_empty() && receiver.received().is_empty());
}
