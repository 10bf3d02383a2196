//! `runhook deliveries list|show|replay`.

mod replay_many;

use clap::{ArgGroup, Args, Subcommand};
use jiff::SignedDuration;
use serde_json::Value;

use crate::cli::connection::Connection;
use crate::cli::table::table;
use crate::clock::{Clock, SystemClock};
use crate::config::Environment;
use crate::model::Timestamp;
use crate::model::delivery::State;
use crate::model::ids::{DeliveryId, PayloadId, RuleId};
use crate::model::plugin::PluginName;

/// List, show and replay deliveries
#[derive(Subcommand, Debug)]
pub(super) enum DeliveriesCommand {
    /// Deliveries, newest first
    List(ListArgs),
    /// One delivery with every attempt
    Show(ShowArgs),
    /// Make new deliveries from ones that have ended or are held: their payloads pass the plugins again
    Replay(ReplayArgs),
}

/// Which deliveries are meant.
#[derive(Args, Debug)]
struct Filter {
    /// Only this state: pending, held, delivered, failed, filtered, dropped or cancelled
    #[arg(long)]
    state: Option<State>,
    /// Only of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<RuleId>,
    /// Only to webhooks of this id
    #[arg(long, value_name = "ID")]
    webhook: Option<String>,
    /// Only those that this plugin failed on
    #[arg(long, value_name = "NAME")]
    plugin: Option<PluginName>,
    /// Only those made then or later: 2026-07-01T09:00:00Z, or so long ago: 30m, 36h, 14d
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Only those made before; as --since
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Only those whose cause has this text in it
    #[arg(long, value_name = "TEXT")]
    cause: Option<String>,
}

impl Filter {
    /// What is held because of a plugin, where a plugin is named and no state is.
    fn state(&self) -> Option<State> {
        self.state.or(self.plugin.is_some().then_some(State::Held))
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let values = [
            ("state", self.state.map(|state| state.to_string())),
            ("rule_id", self.rule.map(|id| id.to_string())),
            ("webhook_id", self.webhook.clone()),
            ("plugin", self.plugin.as_ref().map(ToString::to_string)),
            ("since", self.since.map(|time| time.to_string())),
            ("until", self.until.map(|time| time.to_string())),
            ("cause", self.cause.clone()),
        ];
        values.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// A time, or how long ago it was.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let minutes = match unit {
        "m" => Some(1),
        "h" => Some(60),
        "d" => Some(24 * 60),
        _ => None,
    };
    let ago = number.parse::<i64>().ok().filter(|number| *number >= 0).zip(minutes);
    let ago = ago.and_then(|(number, minutes)| number.checked_mul(minutes)?.checked_mul(60));
    let then = ago.and_then(|seconds| SystemClock.now().checked_sub(SignedDuration::from_secs(seconds)).ok());
    then.ok_or_else(|| format!("`{text}` is no time: use 2026-07-01T09:00:00Z, or 30m, 36h, 14d for so long ago"))
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// Only of this payload
    #[arg(long, value_name = "ID")]
    payload: Option<PayloadId>,
    /// Only older than this delivery: the last one of the page before
    #[arg(long, value_name = "ID")]
    before: Option<DeliveryId>,
    /// At most so many, up to 500
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// The delivery
    id: DeliveryId,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").args(["ids", "state", "plugin"]).multiple(true).required(true))]
pub(super) struct ReplayArgs {
    /// The deliveries; or all, the oldest first, that --state or --plugin and the other filters select and nobody has
    /// replayed. With --plugin and no --state: those that are held because of it
    #[arg(conflicts_with_all = ["state", "plugin", "rule", "webhook", "since", "until", "cause", "dry_run"])]
    ids: Vec<DeliveryId>,
    #[command(flatten)]
    filter: Filter,
    /// Only say which they are
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(command: DeliveriesCommand, environment: Environment) -> anyhow::Result<()> {
    match command {
        DeliveriesCommand::List(arguments) => list(arguments, environment).await,
        DeliveriesCommand::Show(arguments) => show(arguments, environment).await,
        DeliveriesCommand::Replay(arguments) => replay(arguments, environment).await,
    }
}

async fn list(arguments: ListArgs, environment: Environment) -> anyhow::Result<()> {
    let mut query = arguments.filter.query();
    query.push(("limit", arguments.limit.to_string()));
    query.extend(arguments.payload.map(|id| ("payload_id", id.to_string())));
    query.extend(arguments.before.map(|id| ("before", id.to_string())));
    let answer = arguments.connection.client(environment)?.get("api/v1/deliveries", &query).await?;
    if arguments.json {
        println!("{answer:#}");
        return Ok(());
    }
    let columns = ["id", "state", "attempt_count", "created_at", "webhook_id", "cause"];
    let row = |delivery: &Value| columns.iter().map(|key| cell(&delivery[*key])).collect::<Vec<_>>();
    let rows: Vec<_> = answer["deliveries"].as_array().into_iter().flatten().map(row).collect();
    print!("{}", table(&["ID", "STATE", "ATTEMPTS", "CREATED", "WEBHOOK", "CAUSE"], &rows));
    Ok(())
}

async fn show(arguments: ShowArgs, environment: Environment) -> anyhow::Result<()> {
    let client = arguments.connection.client(environment)?;
    let delivery = client.get(&format!("api/v1/deliveries/{}", arguments.id), &[]).await?;
    if arguments.json {
        println!("{delivery:#}");
        return Ok(());
    }
    for (key, value) in delivery.as_object().into_iter().flatten() {
        if !value.is_null() && key != "attempts" {
            println!("{key:<16} {}", cell(value));
        }
    }
    let columns = ["number", "started_at", "duration_ms", "outcome", "status", "address", "error"];
    let row = |attempt: &Value| columns.iter().map(|key| cell(&attempt[*key])).collect::<Vec<_>>();
    let rows: Vec<_> = delivery["attempts"].as_array().into_iter().flatten().map(row).collect();
    if !rows.is_empty() {
        println!();
        print!("{}", table(&["ATTEMPT", "STARTED", "MS", "OUTCOME", "STATUS", "ADDRESS", "ERROR"], &rows));
    }
    Ok(())
}

async fn replay(arguments: ReplayArgs, environment: Environment) -> anyhow::Result<()> {
    let client = arguments.connection.client(environment)?;
    if arguments.ids.is_empty() {
        let filter = Filter { state: arguments.filter.state(), ..arguments.filter };
        return replay_many::run(&client, &filter, arguments.dry_run).await;
    }
    for id in arguments.ids {
        let answer = client.post(&format!("api/v1/deliveries/{id}/replay"), &[], &Value::Null).await?;
        let cause = answer["cause"].as_str().map(|cause| format!(", {}: {cause}", cell(&answer["state"])));
        println!("{id} is replayed as {}{}", cell(&answer["id"]), cause.unwrap_or_default());
    }
    Ok(())
}

/// A value as a cell: text unquoted and on one line, nothing for null.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace('\n', " "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_time_or_so_long_ago() {
        assert_eq!(parse_time("2026-07-01T09:00:00Z").unwrap(), "2026-07-01T09:00:00Z".parse().unwrap());
        for (text, minutes) in [("30m", 30), ("36h", 36 * 60), ("14d", 14 * 24 * 60)] {
            let ago = SystemClock.now().duration_since(parse_time(text).unwrap()).as_mins();
            assert!((minutes - 1..=minutes).contains(&ago), "{text}: {ago} minutes");
        }
        for wrong in ["", "soon", "3", "-1d", "1w", "ä", "99999999999999999999d", "9223372036854775807d"] {
            assert!(parse_time(wrong).unwrap_err().contains("is no time"), "{wrong}");
        }
    }
}
