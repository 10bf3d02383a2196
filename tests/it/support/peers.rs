//! Real peers that a test needs and a machine may lack: Python and Node.js with packages of theirs, minisign, a disk that may
//! be filled up.
//!
//! Where one is missing the test says so loudly and passes; `RUNHOOK_TEST_NO_SKIP` makes that a failure.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::statvfs;
use serde_json::Value;

use crate::host_process::HostProcess;
use crate::support::waiting::PATIENCE;

/// To fill up more would take long, and somebody may need it.
const SMALL_DISK_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A program that a peer is run with, or none, said loudly.
fn found(variable: &str, default: &str, check: &[&str], missing: &str) -> Option<String> {
    let program = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    let found = Command::new(&program).args(check).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(program);
    }
    assert!(std::env::var_os("RUNHOOK_TEST_NO_SKIP").is_none(), "{program} {missing}");
    eprintln!("SKIPPED: {program} {missing}; set {variable} to one that can");
    None
}

/// `RUNHOOK_TEST_PYTHON`, with these packages.
pub(crate) fn python_with(packages: &str) -> Option<String> {
    let missing = format!("cannot import {packages}");
    found("RUNHOOK_TEST_PYTHON", "python3", &["-c", &format!("import {packages}")], &missing)
}

/// `RUNHOOK_TEST_PYTHON_OLD`, with a LangSmith SDK of 2024.
pub(crate) fn old_python() -> Option<String> {
    let check = "import langsmith; assert langsmith.__version__.startswith('0.1.')";
    found("RUNHOOK_TEST_PYTHON_OLD", "python3", &["-c", check], "has no langsmith 0.1")
}

/// The folder `RUNHOOK_TEST_JAVASCRIPT`: a copy of tests/sdk/javascript where `npm install` has run.
pub(crate) fn javascript() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var("RUNHOOK_TEST_JAVASCRIPT").unwrap_or_default());
    if folder.join("node_modules/langsmith").is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("RUNHOOK_TEST_NO_SKIP").is_none(),
        "RUNHOOK_TEST_JAVASCRIPT names no folder with langsmith"
    );
    eprintln!("SKIPPED: RUNHOOK_TEST_JAVASCRIPT names no copy of tests/sdk/javascript where npm install has run");
    None
}

/// `RUNHOOK_TEST_COMPONENTIZE_PY`, which makes plugins of Python.
pub(crate) fn componentize_py() -> Option<String> {
    found("RUNHOOK_TEST_COMPONENTIZE_PY", "componentize-py", &["--version"], "does not run")
}

/// `RUNHOOK_TEST_COMPONENTIZE_JS`, which makes plugins of JavaScript.
pub(crate) fn componentize_js() -> Option<String> {
    found("RUNHOOK_TEST_COMPONENTIZE_JS", "componentize-js", &["--version"], "does not run")
}

/// `RUNHOOK_TEST_MINISIGN`, which signs files.
pub(crate) fn minisign() -> Option<String> {
    found("RUNHOOK_TEST_MINISIGN", "minisign", &["-v"], "does not run")
}

/// The folder `RUNHOOK_TEST_SMALL_DISK`: a file system of its own, small enough to be filled up.
pub(crate) fn small_disk() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("RUNHOOK_TEST_SMALL_DISK").map(PathBuf::from) {
        let disk = statvfs(&folder).expect("RUNHOOK_TEST_SMALL_DISK is there");
        assert!(disk.f_blocks * disk.f_frsize <= SMALL_DISK_BYTES_MAX, "{} is not small", folder.display());
        return Some(folder);
    }
    assert!(std::env::var_os("RUNHOOK_TEST_NO_SKIP").is_none(), "RUNHOOK_TEST_SMALL_DISK names no folder");
    eprintln!("SKIPPED: RUNHOOK_TEST_SMALL_DISK names no folder of a small file system; .ci/run mounts one");
    None
}

/// Where the Python scripts are.
pub(crate) fn python_scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/sdk/python")
}

/// A script that speaks to the host as LangSmith's SDKs are told to by their environment.
pub(crate) struct Peer<'a> {
    pub(crate) host: &'a HostProcess,
    /// What is appended to the host's address: nothing, or `/api/v1`.
    pub(crate) root: &'a str,
    pub(crate) project: &'a str,
}

impl Peer<'_> {
    /// Runs it to its end, with that on its standard input; what it prints.
    pub(crate) async fn run(&self, folder: &Path, command: &[&str], input: &Value) -> Value {
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .current_dir(folder)
            .env("LANGSMITH_ENDPOINT", self.host.url(self.root))
            .env("LANGSMITH_API_KEY", self.host.api_key())
            .env("LANGSMITH_PROJECT", self.project)
            .env("LANGSMITH_TRACING", "true")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", self.host.url("/otel"))
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                format!("x-api-key={},Langsmith-Project={}", self.host.api_key(), self.project),
            )
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the peer starts");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // A peer that does not read ends before it is written; its output tells.
        let _ = stdin.write_all(input.to_string().as_bytes());
        drop(stdin);
        let id = rustix::process::Pid::from_child(&child);
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
        let Ok(output) = tokio::time::timeout(PATIENCE, ended).await else {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
            panic!("{command:?} does not end\n{}", self.host.log());
        };
        let output = output.unwrap().expect("the peer ends");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?} failed:\n{out}\n{err}\n{}", self.host.log());
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{command:?} printed no JSON:\n{out}\n{err}"))
    }
}
