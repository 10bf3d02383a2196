//! What an operator says about the way out: authorities, the egress proxy; with the real binary where it reads files,
//! arguments and the environment.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use runhook::model::access::Access;
use runhook::outbound::{AddressPolicy, EgressProxy, HttpSender, SendFailure, Sender, SenderSettings};
use tokio::net::TcpListener;

use crate::host_process::{HostProcess, HostSettings};
use crate::support::authority::{Authority, Issued, VouchedReceiver};
use crate::support::connect_proxy::ConnectProxy;
use crate::support::receiver::{Act, Receiver};
use crate::support::request::request;
use crate::support::token_server::TokenServer;

const RULE: &str = "4e6c9a7e-2222-4c38-9d5e-0d7a3c1f9b10";
const SECRET: &str = "relay-s3cret";
const CLIENT_SECRET: &str = "client-s3cret-3f1b";
const PAYLOAD: &str = r#"{"rule_id":"r","runs":[{"id":"1","status":"error"}]}"#;
/// base64 of `user:hunter2`
const AUTHORIZATION: &str = "Basic dXNlcjpodW50ZXIy";

/// A rule with these webhooks; each is the TOML of one.
fn rule(webhooks: &[String]) -> String {
    let webhooks: String = webhooks.iter().map(|webhook| format!("[[rules.webhooks]]\n{webhook}\n")).collect();
    format!(
        "[[rules]]\nid = \"{RULE}\"\ndisplay_name = \"way out\"\nsampling_rate = 1.0\nrelay_secret = \"{SECRET}\"\n{webhooks}"
    )
}

/// The states of the deliveries of one payload, by webhook.
async fn delivered(host: &HostProcess) -> Vec<(String, String)> {
    assert_eq!(host.relay(RULE, SECRET, PAYLOAD).await.status(), 202);
    host.until_settled().await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let deliveries = host.deliveries("").await;
    let mut states: Vec<_> = deliveries.iter().map(|it| (text(&it["webhook_id"]), text(&it["state"]))).collect();
    states.sort();
    states
}

fn pem_line(key: &str, text: &str) -> String {
    format!("{key} = \"\"\"\n{text}\"\"\"")
}

fn files_with(folder: &Path, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, secret));
        } else if fs::read(&path).unwrap().windows(secret.len()).any(|window| window == secret.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// A machine without authorities: what `SSL_CERT_FILE` names is empty.
fn without_authorities(folder: &Path) -> Vec<(String, String)> {
    let (file, none) = (folder.join("none.pem"), folder.join("none"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&none).unwrap();
    [("SSL_CERT_FILE", file), ("SSL_CERT_DIR", none)]
        .map(|(key, path)| (key.to_owned(), path.display().to_string()))
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_of_files_and_of_webhooks_are_trusted_on_a_machine_that_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, own, unknown] = [(); 4].map(|()| Authority::new());
    let mut settings = HostSettings::on(&folder.path().join("data"));
    settings.environment = without_authorities(folder.path());
    for (name, authority) in [("first.pem", &first), ("second.pem", &second)] {
        let file = folder.path().join(name);
        fs::write(&file, authority.pem()).unwrap();
        settings.arguments.extend(["--ca-file".to_owned(), file.display().to_string()]);
    }
    let host = HostProcess::start(&settings);
    let mut webhooks = Vec::new();
    for (id, authority) in [("first", &first), ("own", &own), ("second", &second), ("unknown", &unknown)] {
        let receiver = VouchedReceiver::start(authority, "127.0.0.1", None).await;
        let ca = if id == "own" { pem_line("ca", &own.pem()) } else { String::new() };
        webhooks.push(format!("id = \"{id}\"\nurl = \"{}\"\n{ca}", receiver.url()));
    }
    host.apply(&rule(&webhooks));
    let states = [("first", "delivered"), ("own", "delivered"), ("second", "delivered"), ("unknown", "failed")];
    assert_eq!(delivered(&host).await, states.map(|(id, state)| (id.to_owned(), state.to_owned())));
}

#[test]
fn a_ca_file_that_is_none_is_named_and_the_host_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "nothing").unwrap();
    for (file, says) in [(empty, "has no certificate"), (folder.path().join("missing.pem"), "cannot read --ca-file")] {
        let mut settings = HostSettings::on(&folder.path().join("data"));
        settings.arguments = vec!["--ca-file".to_owned(), file.display().to_string()];
        let Err(log) = HostProcess::try_start(&settings) else { panic!("it starts with {}", file.display()) };
        assert!(log.contains(says) && log.contains(&file.display().to_string()), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rules_client_certificate_and_token_reach_the_receiver_and_its_secrets_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let receiver = VouchedReceiver::start(&authority, "127.0.0.1", Some(&authority)).await;
    let server = TokenServer::giving_tokens().await;
    let Issued { der, certificate, key } = authority.issue("runhook");
    let mut settings = HostSettings::on(&folder.path().join("data"));
    settings.environment.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    let mut host = HostProcess::start(&settings);
    host.apply(&rule(&[format!(
        "id = \"whole\"\nurl = \"{}\"\n{}\n[rules.webhooks.client_certificate]\n{}\n{}\n[rules.webhooks.oauth2]\n\
         token_url = \"{}\"\nclient_id = \"runhook\"\nclient_secret = \"{CLIENT_SECRET}\"",
        receiver.url(),
        pem_line("ca", &authority.pem()),
        pem_line("certificate", &certificate),
        pem_line("key", &key),
        server.url(),
    )]));
    let whole = [("whole".to_owned(), "delivered".to_owned())];
    assert_eq!(delivered(&host).await, whole);

    // What is shown can be applied and changes nothing.
    let shown = host.cli_ok(&["rule", "show", RULE]);
    let file = folder.path().join("shown.json");
    fs::write(&file, &shown).unwrap();
    host.cli_ok(&["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(delivered(&host).await, [whole.clone(), whole].concat());
    assert_eq!(host.stop(), Some(0));

    let seen = receiver.seen();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!((seen.certificate, seen.authorization.as_deref()), (Some(der.clone()), Some("Bearer token-1")));
    }
    let line_of_the_key = key.lines().nth(1).unwrap();
    for secret in [line_of_the_key, CLIENT_SECRET, "token-1", "t3nant"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
        assert!(!host.log().contains(secret), "{secret} in the log");
        assert_eq!(files_with(&host.data, secret), Vec::<String>::new(), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_systems_proxy_variables_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let (receiver, trap) = (Receiver::start([Act::Answer(200)]).await, Receiver::start([Act::Answer(200)]).await);
    let mut settings = HostSettings::on(&folder.path().join("data"));
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        settings.environment.push((name.to_owned(), format!("http://{}", trap.address())));
    }
    for name in ["NO_PROXY", "no_proxy"] {
        settings.environment.push((name.to_owned(), String::new()));
    }
    let host = HostProcess::start(&settings);
    // The command itself is not the host: it is not given these variables.
    host.apply(&rule(&[format!("id = \"straight\"\nurl = \"{}\"", receiver.url())]));
    assert_eq!(delivered(&host).await, [("straight".to_owned(), "delivered".to_owned())]);
    assert_eq!((receiver.received().len(), trap.connections()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_egress_proxy_names_are_its_own_to_resolve_and_literals_are_still_judged() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let proxy = ConnectProxy::start(receiver.address(), Some(AUTHORIZATION)).await;
    let mut settings = HostSettings::on(&folder.path().join("data"));
    settings.environment = vec![
        ("RUNHOOK_EGRESS_PROXY".to_owned(), format!("http://user:hunter2@{}", proxy.address)),
        ("RUST_LOG".to_owned(), "trace".to_owned()),
    ];
    let mut host = HostProcess::start(&settings);
    host.apply(&rule(&[
        "id = \"literal\"\nurl = \"http://10.0.0.1/hook\"".to_owned(),
        "id = \"name\"\nurl = \"http://receiver.invalid/hook\"".to_owned(),
    ]));
    let states = [("literal", "failed"), ("name", "delivered")];
    assert_eq!(delivered(&host).await, states.map(|(id, state)| (id.to_owned(), state.to_owned())));
    assert_eq!(host.stop(), Some(0));
    assert_eq!(proxy.asked(), ["POST http://receiver.invalid/hook HTTP/1.1"]);
    for secret in ["hunter2", AUTHORIZATION] {
        assert!(!host.log().contains(secret), "{}", host.log());
    }
}

fn through(proxy: &str, authority: Option<&Authority>) -> (HttpSender, Arc<Access>) {
    let proxy = Some(EgressProxy::parse(proxy).unwrap());
    let settings = SenderSettings { proxy, ..SenderSettings::new(AddressPolicy::default()) };
    let access = Access { authority: authority.map(Authority::pem), ..Access::default() };
    (HttpSender::start(settings).unwrap(), Arc::new(access))
}

#[tokio::test]
async fn https_goes_through_the_proxy_in_a_tunnel_and_the_certificate_is_the_receivers() {
    let authority = Authority::new();
    let receiver = VouchedReceiver::start(&authority, "receiver.invalid", None).await;
    let proxy = ConnectProxy::start(receiver.address, Some(AUTHORIZATION)).await;
    let (sender, access) =
        through(&format!("http://user:hunter2@localhost:{}", proxy.address.port()), Some(&authority));
    let exchange = sender.send(request("https://receiver.invalid/hook", &access)).await;
    assert_eq!(exchange.result, Ok(StatusCode::OK));
    assert_eq!(exchange.address.map(|address| address.port()), Some(proxy.address.port()));
    let other = sender.send(request("https://other.invalid/hook", &access)).await;
    assert!(matches!(other.result, Err(SendFailure::ConnectFailed(_))), "{other:?}");
    assert_eq!(proxy.asked(), ["CONNECT receiver.invalid:443 HTTP/1.1", "CONNECT other.invalid:443 HTTP/1.1"]);
    assert_eq!(receiver.seen().len(), 1);
}

#[tokio::test]
async fn an_https_proxy_has_to_be_vouched_for_and_carries_http_and_tunnels() {
    let authority = Authority::new();
    let (plain, tls) =
        (Receiver::start([Act::Answer(200)]).await, VouchedReceiver::start(&authority, "receiver.invalid", None).await);
    for (receiver, url) in
        [(plain.address(), "http://receiver.invalid/hook"), (tls.address, "https://receiver.invalid/hook")]
    {
        let acceptor = authority.acceptor("localhost", None, &[]);
        let proxy = ConnectProxy::start_tls(receiver, acceptor).await;
        let address = format!("https://localhost:{}", proxy.address.port());
        let (sender, access) = through(&address, Some(&authority));
        assert_eq!(sender.send(request(url, &access)).await.result, Ok(StatusCode::OK));
        let (sender, access) = through(&address, Some(&Authority::new()));
        let stranger = sender.send(request(url, &access)).await;
        assert!(matches!(stranger.result, Err(SendFailure::ConnectFailed(_))), "{stranger:?}");
        assert_eq!(proxy.asked().len(), 1);
    }
    assert_eq!((plain.received().len(), tls.seen().len()), (1, 1));
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_not_there_is_said_to_be_at_fault() {
    let authority = Authority::new();
    let receiver = VouchedReceiver::start(&authority, "receiver.invalid", None).await;
    let proxy = ConnectProxy::start(receiver.address, Some(AUTHORIZATION)).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for address in [proxy.address, closed] {
        let (sender, access) = through(&format!("http://user:wr0ng@{address}"), Some(&authority));
        let exchange = sender.send(request("https://receiver.invalid/hook", &access)).await;
        match exchange.result {
            Err(SendFailure::ConnectFailed(text)) => {
                assert!(text.starts_with("through the egress proxy: ") && !text.contains("wr0ng"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(exchange.address, Some(address));
    }
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn a_webhooks_header_is_never_the_proxys_password() {
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let proxy = ConnectProxy::start(receiver.address(), Some(AUTHORIZATION)).await;
    let (sender, access) = through(&format!("http://user:hunter2@{}", proxy.address), None);
    let mut request = request("http://receiver.invalid/hook", &access);
    request.headers.insert("proxy-authorization", HeaderValue::from_static("Basic b3RoZXI6b3RoZXI="));
    assert_eq!(sender.send(request).await.result, Ok(StatusCode::OK));
    assert_eq!(receiver.received()[0].header("proxy-authorization"), [AUTHORIZATION]);
}
