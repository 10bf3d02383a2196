//! docs/receiving.md: the FastAPI receiver really runs, checks the secret, and can be deployed to Modal.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use crate::host_process::{HostProcess, HostSettings};
use crate::support::payloads::Payloads;
use crate::support::peers::{Peer, python_scripts, python_with};
use crate::support::waiting::PATIENCE;

const RULE: &str = "7a1c9a7e-2222-4c38-9d5e-0d7a3c1f9b10";

fn receiver_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/receiver")
}

/// Uvicorn with the receiver of the docs; its lines of output come through the channel.
struct FastApi {
    child: Child,
    url: String,
    output: mpsc::Receiver<String>,
}

impl FastApi {
    fn start(python: &str, app: &str, secret: &str, environment: &[(&str, String)]) -> Self {
        let mut child = Command::new(python)
            .args(["-m", "uvicorn", app, "--port", "0"])
            .current_dir(receiver_folder())
            .envs(environment.iter().cloned())
            .env("LS_WEBHOOK", secret)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python starts");
        let (sink, output) = mpsc::channel();
        let errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let error_sink = sink.clone();
        std::thread::spawn(move || errors.lines().map_while(Result::ok).try_for_each(|line| error_sink.send(line)));
        std::thread::spawn(move || lines.lines().map_while(Result::ok).try_for_each(|line| sink.send(line)));
        let mut api = Self { child, url: String::new(), output };
        let line = api.line_with("running on http://");
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("uvicorn names its URL");
        api.url = url.to_owned();
        api
    }

    fn line_with(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.output.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {text:?} in {seen:#?}"),
            }
        }
    }
}

impl Drop for FastApi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fastapi_receiver_takes_the_right_secret_and_refuses_the_wrong_one() {
    let Some(python) = python_with("fastapi, uvicorn") else { return };
    let api = FastApi::start(&python, "receiver:app", "s3cret-of-the-receiver", &[]);
    let folder = tempfile::tempdir().unwrap();
    let host = HostProcess::start(&HostSettings::on(&folder.path().join("data")));
    host.apply(&format!(
        r#"
        [[rules]]
        id = "{RULE}"
        display_name = "to fastapi"
        sampling_rate = 1.0
        relay_secret = "relay"
        [[rules.webhooks]]
        id = "right"
        url = "{0}/?secret=s3cret-of-the-receiver"
        [[rules.webhooks]]
        id = "wrong"
        url = "{0}/?secret=something-else"
        "#,
        api.url
    ));
    let payload = r#"{"rule_id":"r","runs":[{"id":"run-1","name":"answer","status":"error","error":"boom"}]}"#;
    assert_eq!(host.relay(RULE, "relay", payload).await.status(), 202);
    host.until_settled().await;

    let line = api.line_with("run-1");
    assert!(line.ends_with("run-1 answer error boom"), "{line}");
    let deliveries = host.deliveries("").await;
    let state_of =
        |webhook: &str| deliveries.iter().find(|delivery| delivery["webhook_id"] == webhook).unwrap()["state"].clone();
    assert_eq!((state_of("right"), state_of("wrong")), ("delivered".into(), "failed".into()));
}

/// A correction that somebody gives becomes an example, by the unmodified SDK on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_becomes_an_example() {
    let Some(python) = python_with("fastapi, uvicorn, langsmith") else { return };
    let folder = tempfile::tempdir().unwrap();
    let host = HostProcess::start(&HostSettings::on(&folder.path().join("data")));
    let environment = [("LANGSMITH_ENDPOINT", host.url("")), ("LANGSMITH_API_KEY", host.api_key())];
    let api = FastApi::start(&python, "corrections:app", "s3cret-of-the-receiver", &environment);
    let (seen_url, seen) = Payloads::serve().await;
    let rule = |name: &str, url: &str| {
        format!(
            r#"
            [[rules]]
            display_name = "{name}"
            sampling_rate = 1.0
            session_name = "corrected"
            filter = 'has(feedback_key, "correctness")'
            window_seconds = 1
            webhooks = [{{ id = "hook", url = "{url}" }}]
            "#
        )
    };
    let (right, wrong) = (format!("{}/?secret=s3cret-of-the-receiver", api.url), format!("{}/?secret=no", api.url));
    host.apply(&[rule("right", &right), rule("wrong", &wrong), rule("seen", &seen_url)].concat());
    let peer = Peer { host: &host, root: "", project: "corrected" };
    let traced = peer.run(&python_scripts(), &[&python, "trace.py"], &serde_json::Value::Null).await;
    seen.until_runs(1).await;
    host.until_settled().await;
    let dataset = host.until("/datasets?name=corrections", |found| !found[0]["id"].is_null()).await;
    let examples = format!("/examples?dataset={}", dataset[0]["id"].as_str().unwrap());
    let examples = host.until(&examples, |found| found.as_array().is_some_and(|found| !found.is_empty())).await;
    assert_eq!(examples.as_array().unwrap().len(), 1);
    assert_eq!(examples[0]["inputs"], traced["runs"][0]["inputs"]);
    assert_eq!(examples[0]["outputs"]["output"], traced["feedback"][0]["correction"]);
    host.until("/api/v1/ledger", |ledger| {
        let states: Vec<_> = ledger["webhooks"].as_array().unwrap().iter().map(|it| it["states"].clone()).collect();
        states.iter().filter(|it| it["delivered"] == 1).count() == 2 && states.iter().any(|it| it["failed"] == 1)
    })
    .await;
}

#[test]
fn the_receiver_is_a_modal_app() {
    let Some(python) = python_with("fastapi, modal") else { return };
    let check = "import modal, receiver; print(receiver.modal_app.name, isinstance(receiver.receiver, modal.Function))";
    let output = Command::new(python)
        .args(["-c", check])
        .current_dir(receiver_folder())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.trim(), "runhook-receiver True", "{}", String::from_utf8_lossy(&output.stderr));
}
