//! The relay door of the real binary: what it takes, what it refuses and how, and that it changes not a byte.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_compression::futures::bufread::{GzipEncoder, ZstdEncoder};
use futures::AsyncReadExt;
use reqwest::{RequestBuilder, Response};
use runhook::access::Access;
use runhook::api::{self, Api, Listener};
use runhook::clock::{Clock, SystemClock};
use runhook::dispatch::Dispatch;
use runhook::fanout::{self, Fanout};
use runhook::intake::{Intake, IntakeBounds};
use runhook::limits;
use runhook::matching::{self, Matching, Pace};
use runhook::model::ids::HostId;
use runhook::model::secret::Secret;
use runhook::outbound::HttpSender;
use runhook::plugin::{PluginRuntime, WasmRuntime};
use runhook::reading::Reading;
use runhook::rotation::Rotation;
use runhook::rulebook::RuleBook;
use runhook::secrets::Keyring;
use runhook::store::{RuleChanges, Store};
use serde_json::{Value, json};
use url::Url;

use crate::host_process::{HostProcess, HostSettings, client};
use crate::ledger::Arrivals;
use crate::support::engine::{self, local_blobs, open_store};
use crate::support::faulty_store::FaultyStore;
use crate::support::plugin_cache;
use crate::support::recording_receiver;
use crate::support::tls::self_signed;

const RULE: &str = "3c1c9a7e-4444-4c38-9d5e-0d7a3c1f9b10";
const CLOSED_RULE: &str = "3c1c9a7e-5555-4c38-9d5e-0d7a3c1f9b10";

struct Scene {
    host: HostProcess,
    arrivals: Arrivals,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// A host that takes payloads of up to 1 MiB, with one rule whose door is open and one whose is not.
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arrivals = Arrivals::default();
        let receiver = recording_receiver(arrivals.clone()).await;
        let mut settings = HostSettings::on(&folder.path().join("data"));
        settings.arguments = ["--max-payload", "1"].map(str::to_owned).to_vec();
        let host = HostProcess::start(&settings);
        host.apply(&format!(
            r#"
            [[rules]]
            id = "{RULE}"
            display_name = "open"
            sampling_rate = 1.0
            relay_secret = "relay"
            [[rules.webhooks]]
            id = "w"
            url = "{receiver}/hook"
            [[rules]]
            id = "{CLOSED_RULE}"
            display_name = "closed"
            sampling_rate = 1.0
            "#
        ));
        Self { host, arrivals, _folder: folder }
    }

    fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        client().post(self.host.url(path)).body(body)
    }

    async fn relay(&self, body: impl Into<reqwest::Body>, headers: &[(&str, &str)]) -> Response {
        let request = self.post(&format!("/relay/{RULE}?secret=relay"), body);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap()
    }

    /// Hash of the body that arrived from a payload.
    async fn arrived_from(&self, payload: &str) -> blake3::Hash {
        self.host.until_settled().await;
        let deliveries = self.host.deliveries(&format!("&payload_id={payload}")).await;
        assert_eq!(deliveries.len(), 1, "{deliveries:#?}");
        assert_eq!(deliveries[0]["state"], "delivered");
        self.arrivals.last(deliveries[0]["id"].as_str().unwrap())
    }
}

async fn answered(response: Response) -> (u16, Value) {
    (response.status().as_u16(), response.json().await.unwrap())
}

fn id(answer: &Value) -> String {
    answer["id"].as_str().unwrap_or_else(|| panic!("no id in {answer}")).to_owned()
}

const PAYLOAD: &str = r#"{"rule_id":"r","runs":[{"id":"1"}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_with_the_reason() {
    let scene = Scene::set().await;
    let large = format!(r#"{{"runs":["{}"]}}"#, "x".repeat(1 << 20));
    let relay = format!("/relay/{RULE}?secret=relay");
    let cases: [(String, &str, &str, u16, &str); 13] = [
        (format!("/relay/{CLOSED_RULE}?secret=relay"), PAYLOAD, "", 404, "no `relay_secret`"),
        ("/relay/3c1c9a7e-6666-4c38-9d5e-0d7a3c1f9b10?secret=relay".into(), PAYLOAD, "", 404, "no such rule"),
        ("/relay/mine?secret=relay".into(), PAYLOAD, "", 404, "id of a rule"),
        (format!("/relay/{RULE}"), PAYLOAD, "", 401, "relay secret"),
        (format!("/relay/{RULE}?secret=guess"), PAYLOAD, "", 401, "relay secret"),
        (relay.clone(), "{\"runs\": [\n {]}", "", 400, "line 2, column 3"),
        (relay.clone(), "", "", 400, "line 1, column 1"),
        (relay.clone(), "[]", "", 422, "`runs` or `threads`"),
        (relay.clone(), r#"{"runs":{}}"#, "", 422, "`runs` or `threads`"),
        (relay.clone(), r#"{"thread":[]}"#, "", 422, "`runs` or `threads`"),
        (relay.clone(), &large, "", 413, "1048576 bytes"),
        (relay.clone(), PAYLOAD, "br", 415, "gzip, zstd"),
        (relay.clone(), PAYLOAD, "gzip", 400, "cannot be read"),
    ];
    for (path, body, encoding, status, words) in cases {
        let answer = scene.post(&path, body.to_owned()).header("content-encoding", encoding).send().await.unwrap();
        let (answered_status, answer) = answered(answer).await;
        let shown = &body[..body.len().min(40)];
        assert_eq!(answered_status, status, "{path} {shown}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(words), "{path} {shown}: {answer}");
    }
    assert_eq!(client().get(scene.host.url(&relay)).send().await.unwrap().status(), 405);
    assert!(scene.host.deliveries("").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_arrives_as_it_was_sent_byte_for_byte() {
    let scene = Scene::set().await;
    let payloads = [
        r#"{ "rule_id":"r", "unknown" : {"z":1,"a":1.0e2}, "runs":[ {"id":"1","feedback_stats":{"k":{"n":1}}} ],"feedback_stats":{"k":{"n":2}} }"#,
        r#"{"rule_id":"r","threads":[{"thread_id":"t","é":"\u00e9"}]}"#,
        "{\"runs\":[]}\n",
    ];
    for payload in payloads {
        let (status, answer) = answered(scene.relay(payload, &[]).await).await;
        assert_eq!(status, 202, "{answer}");
        assert_eq!(scene.arrived_from(&id(&answer)).await, blake3::hash(payload.as_bytes()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_and_zstd_are_decoded() {
    let scene = Scene::set().await;
    let (mut gzip, mut zstd) = (Vec::new(), Vec::new());
    GzipEncoder::new(PAYLOAD.as_bytes()).read_to_end(&mut gzip).await.unwrap();
    ZstdEncoder::new(PAYLOAD.as_bytes()).read_to_end(&mut zstd).await.unwrap();
    for (packed, encoding) in [(gzip, "gzip"), (zstd, "zstd")] {
        let (status, answer) = answered(scene.relay(packed, &[("content-encoding", encoding)]).await).await;
        assert_eq!(status, 202, "{answer}");
        assert_eq!(scene.arrived_from(&id(&answer)).await, blake3::hash(PAYLOAD.as_bytes()));
    }
    let mut bomb = Vec::new();
    GzipEncoder::new(vec![b' '; 64 << 20].as_slice()).read_to_end(&mut bomb).await.unwrap();
    assert_eq!(scene.relay(bomb, &[("content-encoding", "gzip")]).await.status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_under_a_key_gets_the_same_answer_and_another_body_a_conflict() {
    let scene = Scene::set().await;
    for header in ["webhook-id", "Idempotency-Key"] {
        let key = [(header, "key-of-the-sender")];
        let (status, first) = answered(scene.relay(PAYLOAD, &key).await).await;
        if header == "webhook-id" {
            assert_eq!((status, &first["is_repeat"]), (202, &json!(false)));
        }
        for _ in 0..3 {
            let (status, again) = answered(scene.relay(PAYLOAD, &key).await).await;
            assert_eq!((status, id(&again), &again["is_repeat"]), (202, id(&first), &json!(true)));
        }
        let (status, answer) = answered(scene.relay(r#"{"runs":[]}"#, &key).await).await;
        assert_eq!(status, 409, "{answer}");
    }
    scene.host.until_settled().await;
    assert_eq!(scene.host.deliveries("").await.len(), 1, "one payload, one webhook, one delivery");
    let long = "k".repeat(limits::IDEMPOTENCY_KEY_BYTES_MAX + 1);
    assert_eq!(scene.relay(PAYLOAD, &[("webhook-id", &long)]).await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_deduplicated() {
    let scene = Scene::set().await;
    for _ in 0..2 {
        assert_eq!(scene.relay(PAYLOAD, &[]).await.status(), 202);
    }
    scene.host.until_settled().await;
    assert_eq!(scene.host.deliveries("").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_is_switched_off_holds_what_arrives() {
    let scene = Scene::set().await;
    let off = json!({"display_name": "open", "sampling_rate": 1.0, "is_enabled": false});
    let url = scene.host.url(&format!("/api/v1/runs/rules/{RULE}"));
    let patched = client().patch(url).header("x-api-key", scene.host.api_key()).json(&off).send().await.unwrap();
    assert_eq!(patched.status(), 200);
    assert_eq!(scene.relay(PAYLOAD, &[]).await.status(), 202);
    scene.host.until_settled().await;
    let held = scene.host.deliveries("&state=held").await;
    assert_eq!((held.len(), &held[0]["cause"]), (1, &json!("the rule is not enabled")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doors_speak_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = self_signed();
    let (cert_file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert_file, &certificate).unwrap();
    std::fs::write(&key_file, key).unwrap();
    let mut settings = HostSettings::on(&folder.path().join("data"));
    let (cert_path, key_path) = (cert_file.display().to_string(), key_file.display().to_string());
    settings.arguments = vec!["--tls-cert".into(), cert_path, "--tls-key".into(), key_path];
    let host = HostProcess::start(&settings);
    let authority = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([authority]);
    let answer = builder.build().unwrap().get(format!("https://{}/health", host.address)).send().await.unwrap();
    assert_eq!(answered(answer).await, (200, json!({"status": "ok"})));
    assert!(client().get(host.url("/health")).send().await.is_err(), "nothing is answered in clear");

    std::fs::write(&key_file, "no key").unwrap();
    settings.data = folder.path().join("other");
    let log = HostProcess::try_start(&settings).err().expect("it does not start");
    assert!(log.contains("key.pem"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_keep_up_is_answered_503_in_time_to_try_again() {
    let (directory, store) = open_store();
    let store: Arc<dyn Store> = Arc::new(FaultyStore::stuck(store));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let rulebook = Arc::new(RuleBook::load(store.clone(), clock.clone()).await.unwrap());
    let mut rule = engine::rule(&[], &Default::default(), clock.now());
    rule.relay_secret = Some(Secret::new("relay"));
    let path = format!("relay/{}?secret=relay", rule.id);
    rulebook.begin_change().await.commit(RuleChanges { put: vec![rule], delete: Vec::new() }).await.unwrap();
    let plugins: Arc<dyn PluginRuntime> = Arc::new(WasmRuntime::start(plugin_cache::settings()).unwrap());
    let sender = Arc::new(HttpSender::new(engine::loopback()).unwrap());
    let owner = HostId::generate();
    let dispatch = Dispatch::new(store.clone(), rulebook.clone(), sender.clone(), clock.clone(), owner);
    let blobs = local_blobs(directory.path());
    let (fanout, _hints) = Fanout::new(fanout::Parts {
        store: store.clone(),
        rulebook: rulebook.clone(),
        plugins: plugins.clone(),
        dispatch: dispatch.clone(),
        blobs: blobs.clone(),
        fetch: sender,
        clock: clock.clone(),
        owner,
    });
    let bounds = IntakeBounds::default();
    let intake = Intake::new(store.clone(), rulebook.clone(), clock.clone(), fanout.clone(), blobs.clone(), bounds);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
    let url = format!("http://{}/{path}", listener.address());
    let (_trigger, shutdown) = runhook::shutdown::channel();
    let workspace = store.workspace().await.unwrap();
    let public_url = Url::parse(&url).unwrap();
    let matching = Matching::new(matching::Parts {
        store: store.clone(),
        rulebook: rulebook.clone(),
        offer: Arc::new(drop),
        blobs: blobs.clone(),
        clock: clock.clone(),
        workspace,
        public_url: public_url.clone(),
        pace: Pace::default(),
    });
    let reading = Reading::new(store.clone(), blobs.clone());
    let access = Access::load(store.clone(), clock.clone(), Secret::new("key")).await.unwrap();
    let keyring = Arc::new(Keyring::load(directory.path(), None).unwrap());
    let rotation = Rotation::new(keyring, store.clone(), blobs.clone(), clock.clone());
    let api = Api {
        store,
        rulebook,
        plugins,
        intake,
        reading,
        blobs,
        matching,
        fanout,
        dispatch,
        clock,
        access,
        rotation,
        workspace,
        public_url,
    };
    tokio::spawn(api::serve(listener, api, shutdown));

    let begun = Instant::now();
    let answer = client().post(url).body(PAYLOAD).send().await.unwrap();
    let took = begun.elapsed();
    println!("503 after {} ms", took.as_millis());
    assert_eq!(answer.headers()["retry-after"], "1");
    let (status, answer) = answered(answer).await;
    assert_eq!(status, 503, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("send it again"), "{answer}");
    // Half a second of room for a busy machine below the 5 s after which LangSmith gives up for good.
    assert!(took < Duration::from_millis(4_500), "{took:?}");
}
