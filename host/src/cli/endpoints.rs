//! `runhook endpoints`: where deliveries go, how the receivers do, and a way to ask them.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::connection::Connection;
use crate::cli::table::table;
use crate::config::Environment;
use crate::limits::API_PAGE_MAX;
use crate::model::ids::RuleId;

/// Look at the endpoints of webhooks, stop and resume sending to them, send a test
#[derive(Subcommand, Debug)]
pub(super) enum EndpointsCommand {
    /// List endpoints with their state, what waits for them and how their last attempts went
    List(ListArgs),
    /// Send a test through the webhook's plugins to its receiver, and say what came of it
    Probe(EndpointArgs),
    /// Stop sending; what arrives is kept
    Disable(DisableArgs),
    /// Go on sending, what was kept first
    Enable(EndpointArgs),
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<RuleId>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
pub(super) struct EndpointArgs {
    /// The rule
    rule: RuleId,
    /// The webhook's id in the rule
    webhook: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
pub(super) struct DisableArgs {
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// Why, for who looks at it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl EndpointArgs {
    async fn post(self, action: &str, query: &[(&str, String)], environment: Environment) -> anyhow::Result<Value> {
        let client = self.connection.client(environment)?;
        let rule = self.rule.to_string();
        Ok(client.post_at(&["api", "v1", "endpoints", &rule, &self.webhook, action], query, &Value::Null).await?)
    }
}

pub(super) async fn run(command: EndpointsCommand, environment: Environment) -> anyhow::Result<()> {
    match command {
        EndpointsCommand::List(arguments) => list(arguments, environment).await,
        EndpointsCommand::Probe(endpoint) => {
            let probed = endpoint.post("probe", &[], environment).await?;
            println!("{}", outcome(&probed));
            anyhow::ensure!(probed["is_delivered"] == true, "the receiver did not take it");
            Ok(())
        }
        EndpointsCommand::Disable(DisableArgs { endpoint, reason }) => {
            let reason: Vec<_> = reason.map(|reason| ("reason", reason)).into_iter().collect();
            println!("{}", in_words(&endpoint.post("disable", &reason, environment).await?));
            Ok(())
        }
        EndpointsCommand::Enable(endpoint) => {
            println!("{}", in_words(&endpoint.post("enable", &[], environment).await?));
            Ok(())
        }
    }
}

async fn list(arguments: ListArgs, environment: Environment) -> anyhow::Result<()> {
    let client = arguments.connection.client(environment)?;
    let mut endpoints: Vec<Value> = Vec::new();
    loop {
        let mut query = vec![("limit", API_PAGE_MAX.to_string()), ("offset", endpoints.len().to_string())];
        query.extend(arguments.rule.map(|id| ("rule_id", id.to_string())));
        let answer = client.get("api/v1/endpoints", &query).await?;
        let page = answer["endpoints"].as_array().cloned().unwrap_or_default();
        let is_last = page.len() < API_PAGE_MAX;
        endpoints.extend(page);
        if is_last {
            break;
        }
    }
    if arguments.json {
        println!("{:#}", Value::Array(endpoints));
        return Ok(());
    }
    let header = ["RULE", "WEBHOOK", "STATE", "PENDING", "LAST OUTCOME", "P50 MS", "P99 MS", "URL"];
    print!("{}", table(&header, &endpoints.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

fn row(endpoint: &Value) -> Vec<String> {
    let text = |value: &Value| {
        value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
    };
    let latency = &endpoint["recent"]["latency_ms"];
    let rule = if endpoint["rule"].is_null() { &endpoint["rule_id"] } else { &endpoint["rule"] };
    let cells = [
        rule,
        &endpoint["webhook_id"],
        &endpoint["state"],
        &endpoint["pending"],
        &endpoint["last_attempt"]["outcome"],
        &latency["p50"],
        &latency["p99"],
        &endpoint["url"],
    ];
    cells.into_iter().map(text).collect()
}

/// `disabled: the receiver is gone; 12 deliveries wait`.
fn in_words(endpoint: &Value) -> String {
    let cause = endpoint["cause"].as_str().map(|cause| format!(": {cause}")).unwrap_or_default();
    let state = endpoint["state"].as_str().unwrap_or_default();
    format!("{state}{cause}; deliveries that wait: {}", endpoint["pending"])
}

/// `delivered: the receiver answered 200 after 12 ms (127.0.0.1:9000)`.
fn outcome(probed: &Value) -> String {
    let attempt = &probed["attempt"];
    if attempt.is_null() {
        let cause = probed["cause"].as_str().map(|cause| format!(": {cause}")).unwrap_or_default();
        return format!("not sent, a delivery would be {}{cause}", probed["state"].as_str().unwrap_or_default());
    }
    let answered = match (&attempt["status"], &attempt["error"]) {
        (Value::Null, error) => error.as_str().unwrap_or_default().to_owned(),
        (status, _) => format!("the receiver answered {status}"),
    };
    let address = attempt["address"].as_str().map(|address| format!(" ({address})")).unwrap_or_default();
    let name = attempt["outcome"].as_str().unwrap_or_default();
    format!("{name}: {answered} after {} ms{address}", attempt["duration_ms"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_probe_is_told_in_words() {
        let answered =
            json!({"attempt": {"outcome": "client_error", "status": 401, "duration_ms": 12, "address": "127.0.0.1:9"}});
        assert_eq!(outcome(&answered), "client_error: the receiver answered 401 after 12 ms (127.0.0.1:9)");
        let lost =
            json!({"attempt": {"outcome": "connect_failed", "status": null, "error": "refused", "duration_ms": 1}});
        assert_eq!(outcome(&lost), "connect_failed: refused after 1 ms");
        assert_eq!(outcome(&json!({"state": "filtered"})), "not sent, a delivery would be filtered");
    }
}
