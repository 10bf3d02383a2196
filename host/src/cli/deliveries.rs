//! `runhook deliveries list|show|replay`.

mod replay_held;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::connection::Connection;
use crate::cli::table::table;
use crate::config::Environment;
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

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Only this state: pending, held, delivered, failed, filtered, dropped or cancelled
    #[arg(long)]
    state: Option<State>,
    /// Only of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<RuleId>,
    /// Only of this payload
    #[arg(long, value_name = "ID")]
    payload: Option<PayloadId>,
    /// Only those that this plugin failed on
    #[arg(long, value_name = "NAME")]
    plugin: Option<PluginName>,
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
pub(super) struct ReplayArgs {
    /// The deliveries
    #[arg(required_unless_present = "plugin", conflicts_with = "plugin")]
    ids: Vec<DeliveryId>,
    /// All that are held because this plugin failed on them, the oldest first
    #[arg(long, value_name = "NAME")]
    plugin: Option<PluginName>,
    /// Of these only the ones of this rule
    #[arg(long, value_name = "ID", requires = "plugin")]
    rule: Option<RuleId>,
    /// Only say how many there are
    #[arg(long, requires = "plugin")]
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
    let mut query = vec![("limit", arguments.limit.to_string())];
    query.extend(arguments.state.map(|state| ("state", state.to_string())));
    query.extend(arguments.rule.map(|id| ("rule_id", id.to_string())));
    query.extend(arguments.payload.map(|id| ("payload_id", id.to_string())));
    query.extend(arguments.plugin.map(|name| ("plugin", name.to_string())));
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
    if let Some(plugin) = arguments.plugin {
        return replay_held::run(&client, &plugin, arguments.rule, arguments.dry_run).await;
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
