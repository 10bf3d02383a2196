//! `runhook rule list|show|delete`.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::connection::Connection;
use crate::cli::table::table;
use crate::config::Environment;

/// List, show and delete rules; `runhook apply` makes and changes them
#[derive(Subcommand, Debug)]
pub(super) enum RuleCommand {
    /// All rules, by name
    List(ListArgs),
    /// One rule as JSON, secrets masked
    Show(OneRule),
    /// Delete a rule; what still waits for its webhooks is cancelled
    Delete(OneRule),
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
pub(super) struct OneRule {
    /// Id or display name
    rule: String,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(command: RuleCommand, environment: Environment) -> anyhow::Result<()> {
    match command {
        RuleCommand::List(arguments) => {
            let rules = arguments.connection.client(environment)?.get("api/v1/runs/rules", &[]).await?;
            if arguments.json { println!("{rules:#}") } else { print!("{}", listed(&rules)) }
        }
        RuleCommand::Show(one) => {
            let rule = one.connection.client(environment)?.get_at(&place(&one.rule)).await?;
            println!("{rule:#}");
        }
        RuleCommand::Delete(one) => {
            let deleted = one.connection.client(environment)?.delete_at(&place(&one.rule)).await?;
            println!("deleted {}", deleted["display_name"].as_str().unwrap_or_default());
            println!("{} waiting deliveries were cancelled", deleted["cancelled_deliveries"]);
        }
    }
    Ok(())
}

/// A display name is one segment, whatever stands in it.
fn place(rule: &str) -> [&str; 5] {
    ["api", "v1", "runs", "rules", rule]
}

fn listed(rules: &Value) -> String {
    let row = |rule: &Value| {
        let webhooks: Vec<_> =
            rule["webhooks"].as_array().into_iter().flatten().filter_map(|it| it["id"].as_str()).collect();
        let is_enabled = if rule["is_enabled"] == true { "yes" } else { "no" };
        vec![
            rule["id"].as_str().unwrap_or_default().to_owned(),
            is_enabled.to_owned(),
            rule["sampling_rate"].to_string(),
            webhooks.join(", "),
            rule["display_name"].as_str().unwrap_or_default().to_owned(),
        ]
    };
    let rows: Vec<_> = rules.as_array().into_iter().flatten().map(row).collect();
    table(&["ID", "ENABLED", "SAMPLING", "WEBHOOKS", "NAME"], &rows)
}
