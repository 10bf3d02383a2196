//! `runhook apply`: makes the host's rules as a file says.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use crate::cli::connection::Connection;
use crate::client::ClientError;
use crate::config::Environment;
use crate::definition::{Format, parse};

/// Make the host's rules as a file says; applying it twice changes nothing
#[derive(Args, Debug)]
pub(super) struct ApplyArgs {
    /// File of rules: .toml, .yaml or .json; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Format, where the file's name does not tell
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete rules that are not in the file
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(arguments: ApplyArgs, environment: Environment) -> anyhow::Result<()> {
    let client = arguments.connection.client(environment)?;
    let document = read(&arguments.file, arguments.format)?;
    let query = [("dry_run", arguments.dry_run.to_string()), ("prune", arguments.prune.to_string())];
    let answer = client.post("api/v1/runs/rules/apply", &query, &document).await;
    let answer = answer.map_err(|error| match error {
        ClientError::Refused { problems, .. } if !problems.is_empty() => {
            let lines: Vec<_> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            anyhow::anyhow!("{} was not applied; nothing was changed{}", arguments.file.display(), lines.concat())
        }
        error => error.into(),
    })?;
    for rule in answer["rules"].as_array().into_iter().flatten() {
        print_rule(rule, |path| client.url(&path.split('/').collect::<Vec<_>>()).to_string());
    }
    let cancelled = answer["cancelled_deliveries"].as_u64().unwrap_or(0);
    if cancelled > 0 {
        println!("{cancelled} waiting deliveries of removed webhooks were cancelled");
    }
    if arguments.dry_run {
        println!("nothing was changed (--dry-run)");
    }
    Ok(())
}

fn read(file: &Path, format: Option<Format>) -> anyhow::Result<Value> {
    let is_stdin = file == Path::new("-");
    let Some(format) = format.or_else(|| Format::of(file)) else {
        bail!("{} tells no format: name it .toml, .yaml or .json, or use --format", file.display());
    };
    let text = if is_stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    parse(format, &text).with_context(|| format!("cannot read {}", file.display()))
}

fn print_rule(rule: &Value, url: impl Fn(&str) -> String) {
    println!("{}", headline(rule));
    for detail in rule["details"].as_array().into_iter().flatten() {
        println!("             {}", detail.as_str().unwrap_or_default());
    }
    if let Some(path) = rule["relay_path"].as_str() {
        println!(
            "             relay URL: {}?secret=<relay_secret, percent-encoded>",
            url(path.trim_start_matches('/'))
        );
    }
}

/// Action, id and name; in a dry run a new rule may have no id yet.
fn headline(rule: &Value) -> String {
    let text = |key: &str| rule[key].as_str();
    let action = format!("{:<9}", text("action").unwrap_or_default());
    [Some(action.as_str()), text("id"), text("display_name")].into_iter().flatten().collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_without_an_id_leaves_no_gap() {
        let rule = json!({"action": "create", "id": null, "display_name": "a"});
        assert_eq!(headline(&rule), "create     a");
    }
}
