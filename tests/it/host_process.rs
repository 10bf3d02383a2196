//! The real binary, spawned: started, spoken to, killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::support::waiting::PATIENCE;
use serde_json::Value;

/// The path of the binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_runhook");

/// A spawned `runhook serve` with its whole log.
pub(crate) struct HostProcess {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) data: PathBuf,
    log: Arc<Mutex<String>>,
}

/// How to spawn it.
pub(crate) struct HostSettings {
    pub(crate) data: PathBuf,
    pub(crate) plugins: Option<PathBuf>,
    pub(crate) listen: String,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) arguments: Vec<String>,
}

impl HostSettings {
    pub(crate) fn on(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            plugins: None,
            listen: "127.0.0.1:0".to_owned(),
            environment: Vec::new(),
            arguments: Vec::new(),
        }
    }
}

impl HostProcess {
    /// Spawns the binary and waits until it says where it listens.
    pub(crate) fn start(settings: &HostSettings) -> Self {
        Self::try_start(settings).unwrap_or_else(|log| panic!("the host did not start:\n{log}"))
    }

    /// The same; where the host ends before it listens, its log.
    pub(crate) fn try_start(settings: &HostSettings) -> Result<Self, String> {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--log-format", "json", "--allow-cidr", "127.0.0.0/8", "--listen", &settings.listen]);
        command.arg("--data").arg(&settings.data).args(&settings.arguments);
        if let Some(plugins) = &settings.plugins {
            command.arg("--plugins").arg(plugins);
        }
        command.env_remove("RUNHOOK_API_KEY").env_remove("RUNHOOK_SECRET_KEY");
        command.env_remove("RUNHOOK_EARLIER_SECRET_KEYS");
        command.envs(settings.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (found, address) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let sink = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(address) = listening_address(&line) {
                    let _ = found.send(address);
                }
                let mut log = sink.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        match address.recv_timeout(PATIENCE) {
            Ok(address) => Ok(Self { child, address, data: settings.data.clone(), log }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(log.lock().unwrap().clone())
            }
        }
    }

    /// SIGKILL: no handler runs, nothing is flushed.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process ends");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.terminate();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the host does not stop\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = rustix::process::Pid::from_raw(self.child.id() as i32).expect("a process id is positive");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("the process is ours");
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(&mut self) {
        self.child.wait().expect("the process is ours");
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn api_key(&self) -> String {
        std::fs::read_to_string(self.data.join("api-key")).unwrap().trim().to_owned()
    }

    /// Runs another `runhook` command against this host.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with(&self.api_key(), arguments)
    }

    /// The same with that API key.
    pub(crate) fn cli_with(&self, key: &str, arguments: &[&str]) -> Output {
        Command::new(BINARY)
            .args(arguments)
            .env("RUNHOOK_SERVER", self.url(""))
            .env("RUNHOOK_API_KEY", key)
            .output()
            .expect("the binary starts")
    }

    /// The same, for a command that has to succeed.
    pub(crate) fn cli_ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "runhook {arguments:?} failed:\n{out}\n{err}");
        out.into_owned()
    }

    /// Applies rules given as TOML.
    pub(crate) fn apply(&self, rules: &str) {
        let file = self.data.with_extension("rules.toml");
        std::fs::write(&file, rules).unwrap();
        self.cli_ok(&["apply", "-f", file.to_str().unwrap()]);
    }

    /// GET of the API, as JSON.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.try_get(path).await.unwrap_or_else(|trouble| panic!("GET {path}: {trouble}\n{}", self.log()))
    }

    /// The same; where the host does not answer 200 with JSON, what it did instead.
    pub(crate) async fn try_get(&self, path: &str) -> Result<Value, String> {
        let request = client().get(self.url(path)).header("x-api-key", self.api_key());
        let answer = request.send().await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(answer.status().to_string());
        }
        answer.json().await.map_err(|error| error.to_string())
    }

    /// Every delivery, page by page.
    pub(crate) async fn deliveries(&self, query: &str) -> Vec<Value> {
        self.try_deliveries(query).await.unwrap_or_else(|trouble| panic!("deliveries: {trouble}\n{}", self.log()))
    }

    pub(crate) async fn try_deliveries(&self, query: &str) -> Result<Vec<Value>, String> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let before = all.last().map(|last| format!("&before={}", last["id"].as_str().unwrap())).unwrap_or_default();
            let page = self.try_get(&format!("/api/v1/deliveries?limit=500{query}{before}")).await?;
            let page = page["deliveries"].as_array().unwrap().clone();
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Posts a payload to a rule's relay URL.
    pub(crate) async fn relay(&self, rule: &str, secret: &str, payload: &str) -> reqwest::Response {
        let url = self.url(&format!("/relay/{rule}?secret={secret}"));
        client().post(url).header("content-type", "application/json").body(payload.to_owned()).send().await.unwrap()
    }

    /// Waits until the API's answer satisfies the claim.
    pub(crate) async fn until(&self, path: &str, claim: impl Fn(&Value) -> bool) -> Value {
        let answer = self.until_within(PATIENCE, path, claim).await;
        answer.unwrap_or_else(|trouble| panic!("{path}: {trouble}\n{}", self.log()))
    }

    async fn until_within(
        &self,
        patience: Duration,
        path: &str,
        claim: impl Fn(&Value) -> bool,
    ) -> Result<Value, String> {
        let deadline = Instant::now() + patience;
        let mut turn = tokio::time::interval(Duration::from_millis(20));
        loop {
            turn.tick().await;
            let answer = self.try_get(path).await?;
            if claim(&answer) {
                return Ok(answer);
            }
            if Instant::now() >= deadline {
                return Err(format!("never got there: {answer:#}"));
            }
        }
    }

    /// Waits until every accepted payload is fanned out and no delivery is pending.
    pub(crate) async fn until_settled(&self) {
        self.settles_within(PATIENCE).await.unwrap_or_else(|trouble| panic!("ledger: {trouble}\n{}", self.log()));
    }

    /// The same; what stands in the way where that takes longer or the host cannot tell.
    pub(crate) async fn settles_within(&self, patience: Duration) -> Result<(), String> {
        let is_settled = |ledger: &Value| {
            let mut webhooks = ledger["webhooks"].as_array().into_iter().flatten();
            ledger["payloads_waiting"] == 0 && webhooks.all(|webhook| webhook["states"]["pending"].is_null())
        };
        self.until_within(patience, "/api/v1/ledger", is_settled).await.map(drop)
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that keeps no connection to a host that may be killed meanwhile.
pub(crate) fn client() -> reqwest::Client {
    static CLIENT: std::sync::OnceLock<reqwest::Client> = std::sync::OnceLock::new();
    let make = || {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE);
        // Only http:// is spoken, so that a machine without CA certificates does as well.
        builder().build().or_else(|_| builder().tls_certs_only([]).build()).unwrap()
    };
    CLIENT.get_or_init(make).clone()
}

fn listening_address(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = &line["fields"];
    if fields["message"] != "listening" { None } else { fields["address"].as_str()?.parse().ok() }
}
