//! A host in a process of its own, so that what it costs is its alone.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use runhook::api::KEY_FILE;
use runhook::client::Client;
use runhook::model::secret::Secret;
use serde_json::Value;

/// Ends with it.
pub(crate) struct Spawned {
    process: Child,
    pub(crate) server: String,
    data: PathBuf,
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Spawned {
    /// Spawns a host on the data directory and waits until it says where it listens.
    pub(crate) fn start(data: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_runhook"))
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-cidr", "127.0.0.0/8", "--log-format", "json", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let errors = BufReader::new(process.stderr.take().expect("it is piped"));
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let server = format!("http://{}", address(errors, output));
        Self { process, server, data: data.to_owned() }
    }

    pub(crate) fn api(&self) -> Client {
        let key = std::fs::read_to_string(self.data.join(KEY_FILE)).expect("a key");
        Client::new(&self.server, Secret::new(key.trim())).expect("a client")
    }

    /// CPU time of the process and of children that have ended.
    #[allow(dead_code)]
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("it runs");
        let behind_the_name: Vec<_> = stat.rsplit(')').next().into_iter().flat_map(str::split_whitespace).collect();
        // Ten others stand between the state and the four times, in ticks of 10 ms.
        let ticks = behind_the_name[11..15].iter().map(|ticks| ticks.parse::<u64>().expect("a number"));
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// A field of its `/proc/<id>/status`, in MiB.
    #[allow(dead_code)]
    pub(crate) fn memory_mib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(field)).expect("it is there");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
        kib / 1024
    }
}

/// Where the host says that it listens; what it says after that is thrown away.
fn address(errors: impl BufRead + Send + 'static, output: impl BufRead + Send + 'static) -> String {
    let (sink, lines) = std::sync::mpsc::channel();
    let other = sink.clone();
    std::thread::spawn(move || errors.lines().map_while(Result::ok).for_each(|line| drop(other.send(line))));
    std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(sink.send(line))));
    loop {
        let line = lines.recv_timeout(Duration::from_secs(60)).expect("it says where it listens");
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = said["address"].as_str().or_else(|| said["fields"]["address"].as_str());
        if let Some(address) = address {
            return address.to_owned();
        }
    }
}
