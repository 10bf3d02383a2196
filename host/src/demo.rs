//! The demo: a host and two receivers on loopback, one payload, and the whole way of it, told step by step.
//!
//! It uses the host as a user would, through its API. Its data directory is temporary.

mod story;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use http::StatusCode;
use ipnet::IpNet;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::broadcast::error::RecvError;

use crate::api::KEY_FILE;
use crate::app::Host;
use crate::client::Client;
use crate::config::ServeConfig;
use crate::intake::IntakeBounds;
use crate::model::secret::Secret;
use crate::plugin::RuntimeSettings;
use crate::receiver::{Receiver, Script, describe};
use crate::retention::Periods;
use crate::store::sqlite::Bodies;

pub use story::Style;

/// What LangSmith would send: four runs, two of them failed, with what should not leave the house.
const PAYLOAD: &str = include_str!("demo/payload.json");

/// What the sender has to know; on loopback, for as long as the demo runs.
const RELAY_SECRET: &str = "demo-relay-secret";
const RECEIVER_SECRET: &str = "demo-receiver-secret";

/// Longer than every retry takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host with its surroundings.
pub struct Demo {
    host: Host,
    client: Client,
    oncall: Receiver,
    slack: Receiver,
    folder: TempDir,
    style: Style,
    program: String,
    /// Where the rule's payloads arrive, once it is applied.
    relay_path: String,
}

impl Demo {
    /// Starts everything on free ports. `program` is how the user calls runhook, `binary` what runs.
    ///
    /// # Errors
    /// What cannot be started.
    pub async fn start(style: Style, program: String, binary: Option<PathBuf>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("runhook-demo-").tempdir().context("cannot make a directory")?;
        let (data, plugins) = (folder.path().join("data"), folder.path().join("plugins"));
        std::fs::create_dir(&plugins).context("cannot make a plugin directory")?;
        let oncall = Script {
            secret: Some(Secret::new(RECEIVER_SECRET)),
            statuses: vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK],
            ..Script::default()
        };
        let oncall = Receiver::start(loopback(), oncall).await?;
        let slack = Receiver::start(loopback(), Script::default()).await?;
        let config = ServeConfig {
            data: data.clone(),
            plugins: RuntimeSettings { directory: Some(plugins), program: binary, ..RuntimeSettings::default() },
            listen: loopback(),
            public_url: None,
            blobs: None,
            tls: None,
            allow_cidr: vec![IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST))],
            ca_files: Vec::new(),
            egress_proxy: None,
            intake: IntakeBounds::default(),
            periods: Periods::default(),
            offload_after: None,
            bodies: Bodies::Plain,
            secret_key: None,
            earlier_secret_keys: Vec::new(),
        };
        let host = Host::start(config).await?;
        let key = std::fs::read_to_string(data.join(KEY_FILE)).context("cannot read the API key")?;
        let client = Client::new(&format!("http://{}", host.address), Secret::new(key.trim()))?;
        Ok(Self { host, client, oncall, slack, folder, style, program, relay_path: String::new() })
    }

    /// Applies the rule, posts the payload, waits until all is delivered, and tells it.
    ///
    /// # Errors
    /// What did not work, or was not delivered.
    pub async fn play(&mut self) -> anyhow::Result<()> {
        let style = self.style;
        let payload: Value = serde_json::from_str(PAYLOAD)?;
        println!("{}\n", style.bold("runhook demo"));
        println!("1. A host listens on http://{}, its data in {}.", self.host.address, self.folder.path().display());
        println!("   Two receivers: {} and {}.", self.oncall.address(), self.slack.address());
        println!("   The first one will answer 503 once.\n");

        let applied = self.client.post("api/v1/runs/rules/apply", &[], &json!({"rules": [self.rule()]})).await?;
        println!("2. A rule is applied:\n");
        print!("{}", story::json(&self.client.get(&rule_path(&applied), &[]).await?["webhooks"], 60, style));

        println!("\n3. LangSmith sends a payload of four runs to the rule's relay URL:\n");
        print!("{}", story::runs(&payload, style));
        self.relay_path = applied["rules"][0]["relay_path"].as_str().context("the rule has no relay path")?.to_owned();
        let relay = self.relay_path.trim_start_matches('/');
        let accepted = self.client.post(relay, &[("secret", RELAY_SECRET.to_owned())], &payload).await?;
        let id = accepted["id"].as_str().context("the host answered without an id")?;
        println!("\n   It is answered 202 once it is on disk, as {id}.\n");

        let deliveries = self.delivered(id).await?;
        println!("4. `errors-only` kept the failed runs and `redact` removed what is secret. What arrived:\n");
        print!("{}", story::runs(&last_body(&self.oncall)?, style));
        println!("\n   Every attempt is on record:\n");
        print!("{}", story::attempts(find(&deliveries, "oncall"), style));
        println!("\n5. `slack` rendered a message for the other receiver. What arrived:\n");
        print!("{}", story::json(&last_body(&self.slack)?, 30, style));
        println!();
        print!("{}", story::attempts(find(&deliveries, "slack"), style));
        match deliveries.iter().find(|delivery| delivery["state"] != "delivered") {
            Some(lost) => bail!("a delivery is {}: {}", lost["state"], lost["cause"]),
            None => println!("\n{}", style.good("All is delivered.")),
        }
        Ok(())
    }

    /// Says how to go on, and shows what arrives until Ctrl-C.
    ///
    /// # Errors
    /// The host's on its way down.
    pub async fn stay(self) -> anyhow::Result<()> {
        self.print_next_steps(&self.folder.path().join("payload.json"))?;
        let (mut oncall, mut slack) = (self.oncall.subscribe(), self.slack.subscribe());
        loop {
            let received = tokio::select! {
                received = oncall.recv() => received,
                received = slack.recv() => received,
                stopped = tokio::signal::ctrl_c() => {
                    stopped.context("cannot wait for Ctrl-C")?;
                    return self.stop().await;
                }
            };
            match received {
                Ok(received) => println!("{}\n", describe(&received)),
                Err(RecvError::Lagged(missed)) => println!("... {missed} requests came too fast to be shown\n"),
                Err(RecvError::Closed) => return self.stop().await,
            }
        }
    }

    /// Stops the host and removes its data.
    ///
    /// # Errors
    /// The host's on its way down.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.host.stop().await
    }

    fn rule(&self) -> Value {
        json!({
            "display_name": "demo",
            "sampling_rate": 1.0,
            "relay_secret": RELAY_SECRET,
            "webhooks": [
                {
                    "id": "oncall",
                    "url": self.oncall.url(),
                    "headers": {"authorization": "Bearer demo"},
                    "plugins": [
                        {"name": "errors-only"},
                        {"name": "redact", "config": {
                            "pointers": ["/inputs/api_key"],
                            "patterns": [r"\b\d{4}( \d{4}){3}\b", r"[a-z0-9.]+@[a-z0-9.]+"],
                        }},
                    ],
                },
                {"id": "slack", "url": self.slack.url(), "plugins": [{"name": "errors-only"}, {"name": "slack"}]},
            ],
        })
    }

    /// Waits until nothing of the payload is pending; its deliveries with their attempts.
    async fn delivered(&self, payload: &str) -> anyhow::Result<Vec<Value>> {
        let settled = async {
            let mut turn = tokio::time::interval(Duration::from_millis(50));
            loop {
                turn.tick().await;
                let query = [("payload_id", payload.to_owned())];
                let listed = self.client.get("api/v1/deliveries", &query).await?;
                let deliveries = listed["deliveries"].as_array().cloned().unwrap_or_default();
                let is_pending = deliveries.iter().any(|delivery| delivery["state"] == "pending");
                if !deliveries.is_empty() && !is_pending {
                    return anyhow::Ok(deliveries);
                }
            }
        };
        let settled =
            tokio::time::timeout(PATIENCE, settled).await.context("the deliveries do not come to an end")??;
        let mut records = Vec::new();
        for delivery in settled {
            let path = format!("api/v1/deliveries/{}", delivery["id"].as_str().unwrap_or_default());
            records.push(self.client.get(&path, &[]).await?);
        }
        Ok(records)
    }

    fn print_next_steps(&self, payload: &Path) -> anyhow::Result<()> {
        std::fs::write(payload, PAYLOAD).context("cannot write the payload's file")?;
        let (folder, program) = (self.folder.path().display(), &self.program);
        let (address, relay) = (self.host.address, &self.relay_path);
        println!("\n{}\n", self.style.bold("Everything stays up until Ctrl-C. Go on with:"));
        println!("  see what arrived:   open {}", self.oncall.url());
        println!("                      open {}", self.slack.url());
        println!(
            "  send it again:      curl -X POST 'http://{address}{relay}?secret={RELAY_SECRET}' --data @{}",
            payload.display()
        );
        println!("  look at the record: {program} deliveries list --server http://{address} --data {folder}/data");
        println!("  write a plugin:     {program} plugin new my-filter --kind filter");
        println!("                      build it, and copy the .wasm to {folder}/plugins\n");
        Ok(())
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

fn rule_path(applied: &Value) -> String {
    format!("api/v1/runs/rules/{}", applied["rules"][0]["id"].as_str().unwrap_or_default())
}

fn find<'a>(deliveries: &'a [Value], webhook: &str) -> &'a Value {
    deliveries.iter().find(|delivery| delivery["webhook_id"] == webhook).unwrap_or(&Value::Null)
}

/// The body of the last request that a receiver took.
fn last_body(receiver: &Receiver) -> anyhow::Result<Value> {
    let received = receiver.received();
    let last = received.last().context("nothing has arrived")?;
    serde_json::from_slice(&last.body).context("what has arrived is no JSON")
}
