//! docs/receiving.md: the FastAPI receiver really runs, checks the secret, and can be deployed to Modal.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use crate::host_process::{HostProcess, HostSettings, PATIENCE};

const RULE: &str = "7a1c9a7e-2222-4c38-9d5e-0d7a3c1f9b10";

/// Python with these packages, or none, said loudly; `RUNHOOK_TEST_NO_SKIP` makes that a failure.
fn python_with(packages: &str) -> Option<String> {
    let python = std::env::var("RUNHOOK_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", &format!("import {packages}")]).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    assert!(std::env::var_os("RUNHOOK_TEST_NO_SKIP").is_none(), "{python} cannot import {packages}");
    eprintln!("SKIPPED: {python} cannot import {packages}; set RUNHOOK_TEST_PYTHON to one that can");
    None
}

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
    fn start(python: &str, secret: &str) -> Self {
        let mut child = Command::new(python)
            .args(["-m", "uvicorn", "receiver:app", "--port", "0"])
            .current_dir(receiver_folder())
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
    let api = FastApi::start(&python, "s3cret-of-the-receiver");
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
