//! `runhook keys new|list|revoke|rotate`.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::connection::Connection;
use crate::cli::serve::parse_period;
use crate::cli::table::table;
use crate::config::Environment;
use crate::limits;
use crate::model::api_key::Scope;

/// Make, list and revoke API keys; rotate the secret key
#[derive(Subcommand, Debug)]
pub(super) enum KeysCommand {
    /// Make an API key and print it, this once
    New(NewArgs),
    /// API keys, the oldest first
    List(ListArgs),
    /// End an API key at once
    Revoke(RevokeArgs),
    /// Seal all stored secrets with a new secret key, while the host runs
    Rotate(RotateArgs),
}

#[derive(Args, Debug)]
pub(super) struct NewArgs {
    /// What the key is for
    name: String,
    /// What it allows: ingest, read, operate, or admin for all of it; can be repeated
    #[arg(long, required = true)]
    scope: Vec<Scope>,
    /// How long it holds, in days (`90d`) or hours (`36h`); for ever without
    #[arg(long, value_name = "TIME", value_parser = parse_period)]
    expires: Option<Duration>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
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
pub(super) struct RevokeArgs {
    /// The key's id, which stands in the key: rh_ID_…
    id: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(command: KeysCommand, environment: Environment) -> anyhow::Result<()> {
    match command {
        KeysCommand::New(arguments) => make(arguments, environment).await,
        KeysCommand::List(arguments) => list(arguments, environment).await,
        KeysCommand::Revoke(arguments) => revoke(arguments, environment).await,
        KeysCommand::Rotate(arguments) => rotate(arguments, environment).await,
    }
}

/// The key alone on standard output, so that it can be put where it is needed without a look at it.
async fn make(arguments: NewArgs, environment: Environment) -> anyhow::Result<()> {
    let seconds = arguments.expires.map(|lifetime| lifetime.as_secs());
    let wanted = json!({"name": arguments.name, "scopes": arguments.scope, "expires_in_seconds": seconds});
    let made = arguments.connection.client(environment)?.post("api/v1/keys", &[], &wanted).await?;
    if arguments.json {
        println!("{made:#}");
        return Ok(());
    }
    println!("{}", text(&made["key"]));
    eprintln!("made the API key {}; it is not shown again", text(&made["id"]));
    Ok(())
}

async fn list(arguments: ListArgs, environment: Environment) -> anyhow::Result<()> {
    let answer = arguments.connection.client(environment)?.get("api/v1/keys", &[]).await?;
    if arguments.json {
        println!("{answer:#}");
        return Ok(());
    }
    let scopes = |key: &Value| key["scopes"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
    let row = |key: &Value| {
        let times = ["created_at", "expires_at", "last_used_on"].map(|column| text(&key[column]));
        [vec![text(&key["id"]), scopes(key)], times.to_vec(), vec![text(&key["name"])]].concat()
    };
    let rows: Vec<_> = answer["keys"].as_array().into_iter().flatten().map(row).collect();
    print!("{}", table(&["ID", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "NAME"], &rows));
    Ok(())
}

async fn revoke(arguments: RevokeArgs, environment: Environment) -> anyhow::Result<()> {
    let place = ["api", "v1", "keys", &arguments.id];
    let revoked = arguments.connection.client(environment)?.delete_at(&place).await?;
    println!("revoked {} ({})", text(&revoked["id"]), text(&revoked["name"]));
    Ok(())
}

async fn rotate(arguments: RotateArgs, environment: Environment) -> anyhow::Result<()> {
    let rotated = arguments.connection.client(environment)?.post("api/v1/keys/rotate", &[], &Value::Null).await?;
    let (id, secrets) = (text(&rotated["key_id"]), &rotated["secrets"]);
    if rotated["is_key_new"] == true {
        println!("sealed {secrets} secrets with the new key {id}; the key before it is gone");
    } else {
        println!("sealed {secrets} secrets with the key {id}; no earlier key is needed any more");
        let days = limits::LINK_LIFETIME.as_secs() / (24 * 3600);
        println!(
            "if RUNHOOK_EARLIER_SECRET_KEYS is set, take it away {days} days from now: links of before hold so long"
        );
    }
    println!("backups of before still need the key of their time");
    Ok(())
}

/// What is not there is a dash.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}
