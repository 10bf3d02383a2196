//! Nothing is silent: endpoints tell how they do and can be asked, stopped and resumed; what failed is found and replayed.

use serde_json::Value;

use crate::host_process::{HostProcess, HostSettings};
use crate::support::receiver::{Act, Receiver};

const RULE: &str = "5f3c9a7e-3333-4c38-9d5e-0d7a3c1f9b10";
const PAYLOAD: &str = r#"{"rule_id":"r","runs":[{"id":"1","status":"success"}]}"#;
const SECRET: &str = "relay-secret-of-endpoints";

/// A host with one rule: to the receiver, to a port that refuses, and to the receiver through a filter of nothing.
fn host(folder: &tempfile::TempDir, receiver: &Receiver) -> HostProcess {
    let host = HostProcess::start(&HostSettings::on(&folder.path().join("data")));
    host.apply(&format!(
        r#"
        [[rules]]
        id = "{RULE}"
        display_name = "watched"
        sampling_rate = 1.0
        relay_secret = "{SECRET}"
        [[rules.webhooks]]
        id = "plain"
        url = "{url}"
        [[rules.webhooks]]
        id = "refused"
        url = "http://127.0.0.1:1/"
        [[rules.webhooks]]
        id = "nothing"
        url = "{url}"
        plugins = [{{ name = "sample", config = {{ rate = 0.0 }} }}]
        "#,
        url = receiver.url()
    ));
    host
}

async fn send(host: &HostProcess, count: usize) {
    for _ in 0..count {
        let answer = host.relay(RULE, SECRET, PAYLOAD).await;
        assert_eq!(answer.status(), 202);
    }
}

async fn endpoint(host: &HostProcess, webhook: &str) -> Value {
    host.get(&format!("/api/v1/endpoints/{RULE}/{webhook}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_the_truth_and_is_no_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([Act::Answer(200), Act::Answer(401)]).await;
    let host = host(&folder, &receiver);
    let probe = |webhook: &str| host.cli(&["endpoints", "probe", RULE, webhook]);
    let said = |output: &std::process::Output| String::from_utf8(output.stdout.clone()).unwrap();
    let delivered = probe("plain");
    assert!(delivered.status.success());
    assert!(said(&delivered).starts_with("delivered: the receiver answered 200 after "), "{}", said(&delivered));
    let received = receiver.received().remove(0);
    let body: Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!((&body["is_test"], body["runs"].as_array().unwrap().len()), (&Value::Bool(true), 1));
    let refused = probe("plain");
    assert!(!refused.status.success());
    assert!(said(&refused).starts_with("client_error: the receiver answered 401 after "), "{}", said(&refused));
    let nobody = probe("refused");
    assert!(!nobody.status.success());
    assert!(said(&nobody).starts_with("connect_failed: ") && said(&nobody).contains("refused"), "{}", said(&nobody));
    assert_eq!(said(&probe("nothing")), "not sent, a delivery would be filtered\n");
    let unknown = probe("unknown");
    let error = String::from_utf8(unknown.stderr).unwrap();
    assert!(!unknown.status.success() && error.contains("there is no webhook `unknown`"), "{error}");
    assert!(host.deliveries("").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_endpoint_keeps_what_arrives_visible_over_a_restart_and_sends_it_when_enabled() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start([Act::Answer(200)]).await;
    let mut first = host(&folder, &receiver);
    first.cli_ok(&["endpoints", "disable", RULE, "refused"]);
    let said = first.cli_ok(&["endpoints", "disable", RULE, "plain", "--reason", "their database is moved"]);
    assert_eq!(said, "disabled: their database is moved; deliveries that wait: 0\n");
    send(&first, 3).await;
    assert_eq!(first.stop(), Some(0));
    let host = HostProcess::start(&HostSettings::on(&folder.path().join("data")));
    send(&host, 2).await;
    let shown = host.until(&format!("/api/v1/endpoints/{RULE}/plain"), |shown| shown["pending"] == 5).await;
    assert_eq!((&shown["state"], &shown["cause"]), (&"disabled".into(), &"their database is moved".into()));
    assert!(shown["oldest_pending_at"].is_string());
    assert!(receiver.received().is_empty());
    let list = host.cli_ok(&["endpoints", "list"]);
    let line = list.lines().find(|line| line.contains(" plain ")).unwrap();
    assert!(line.starts_with("watched") && line.contains("disabled") && line.contains(" 5 "), "{line}");
    assert!(host.cli_ok(&["endpoints", "enable", RULE, "plain"]).starts_with("admitting; "));
    let is_sent = |shown: &Value| shown["recent"]["outcomes"]["delivered"] == 5;
    let shown = host.until(&format!("/api/v1/endpoints/{RULE}/plain"), is_sent).await;
    assert_eq!(receiver.received().len(), 5);
    assert_eq!(shown["pending"], 0);
    assert!(shown["recent"]["latency_ms"]["p99"].is_u64());
    assert_eq!(shown["last_attempt"]["status"], 200);
    assert_eq!(endpoint(&host, "refused").await["state"], "disabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_found_and_replayed_once() {
    let folder = tempfile::tempdir().unwrap();
    let script = vec![Act::Answer(404); 3].into_iter().chain([Act::Answer(200)]);
    let receiver = Receiver::start(script).await;
    let host = host(&folder, &receiver);
    host.cli_ok(&["endpoints", "disable", RULE, "refused"]);
    send(&host, 3).await;
    host.until("/api/v1/ledger", |ledger| {
        let plain = ledger["webhooks"].as_array().unwrap().iter().find(|webhook| webhook["webhook_id"] == "plain");
        plain.is_some_and(|plain| plain["states"]["failed"] == 3)
    })
    .await;
    let failed = ["--state", "failed", "--since", "1h", "--webhook", "plain", "--cause", "404"];
    let list = host.cli_ok(&[&["deliveries", "list"], &failed[..]].concat());
    assert_eq!(list.lines().count(), 4, "{list}");
    let replay = |more: &[&str]| host.cli_ok(&[&["deliveries", "replay"], &failed[..], more].concat());
    assert!(replay(&["--dry-run"]).starts_with("3 deliveries would be replayed\n"));
    assert_eq!(receiver.received().len(), 3);
    assert_eq!(replay(&["--until", "30m"]), "replayed 0 deliveries: 0 pending\n");
    // Two operators at once, who both may find all three.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| replay(&[]));
        }
    });
    let of_plain = host.deliveries("&webhook_id=plain").await;
    assert_eq!(of_plain.iter().filter(|delivery| delivery["replay_of"].is_string()).count(), 3);
    assert_eq!(replay(&[]), "replayed 0 deliveries: 0 pending\n", "what was replayed is not replayed again");
    let nothing = host.cli(&["deliveries", "replay"]);
    assert!(!nothing.status.success());
}
