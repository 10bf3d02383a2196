//! `runhook plugin new|check|test|list|wit`: for authors, with the production runtime and limits.

mod report;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::connection::Connection;
use crate::cli::plugin_policy::PluginPolicyArgs;
use crate::cli::table::table;
use crate::config::Environment;
use crate::model::plugin::PluginName;
use crate::plugin::scaffold::{ScaffoldKind, scaffold};
use crate::plugin::{PluginInfo, PluginPolicy, Trial};

/// The contract between host and plugins.
const WIT: &str = include_str!("../../../wit/plugin.wit");

/// Make, check and try plugins
#[derive(Subcommand, Debug)]
pub(super) enum PluginCommand {
    /// Write the crate of a new plugin, with the SDK beside it
    New(NewArgs),
    /// Say whether the host would load a file, and what it is
    Check(CheckArgs),
    /// Run a file on a payload: what it kept and changed, and what it used of each limit
    Test(TestArgs),
    /// The plugins of a running host, with the error of any that could not be loaded
    List(ListArgs),
    /// Print the contract between host and plugins (WIT), for plugins in other languages
    Wit,
}

#[derive(Args, Debug)]
pub(super) struct NewArgs {
    /// Lower-case letters, digits and -
    name: PluginName,
    /// filter, transform or render
    #[arg(long)]
    kind: ScaffoldKind,
    /// Where the crate's directory is made
    #[arg(long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The .wasm file
    file: PathBuf,
    /// A configuration that it has to take, JSON
    #[arg(long, value_name = "JSON", value_parser = parse_config)]
    config: Option<Value>,
    #[command(flatten)]
    policy: PluginPolicyArgs,
}

#[derive(Args, Debug)]
pub(super) struct TestArgs {
    /// The .wasm file
    file: PathBuf,
    /// The plugin's configuration, JSON
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = parse_config)]
    config: Value,
    /// File with a payload, JSON as LangSmith sends it
    #[arg(long, value_name = "FILE")]
    payload: PathBuf,
    #[command(flatten)]
    policy: PluginPolicyArgs,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// As JSON, with the schema of each plugin's configuration
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(command: PluginCommand, environment: Environment) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::New(arguments) => new(&arguments)?,
        PluginCommand::Check(arguments) => check(&arguments, environment.program)?,
        PluginCommand::Test(arguments) => return test(&arguments, environment.program),
        PluginCommand::List(arguments) => list(arguments, environment).await?,
        PluginCommand::Wit => print!("{WIT}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_config(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(config)) => Ok(Value::Object(config)),
        Ok(_) => Err("a configuration is a JSON object".to_owned()),
        Err(error) => Err(format!("no JSON: {error}")),
    }
}

fn new(arguments: &NewArgs) -> anyhow::Result<()> {
    let directory = scaffold(&arguments.directory, &arguments.name, arguments.kind)?;
    let file = arguments.name.as_str().replace('-', "_");
    println!("wrote {}\n", directory.display());
    println!("  cd {}", directory.display());
    println!("  cargo test");
    println!("  cargo build --release --target wasm32-wasip2");
    println!("  cp target/wasm32-wasip2/release/{file}.wasm YOUR_PLUGIN_DIRECTORY/\n");
    println!("A rule names it `{}`.", arguments.name);
    Ok(())
}

fn load(file: &Path, policy: PluginPolicy, program: Option<PathBuf>) -> anyhow::Result<Trial> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.file_name().and_then(|name| name.to_str()).context("the file has no name")?;
    Trial::load(name, bytes.into(), policy, program)
        .map_err(|reason| anyhow!("the host would not load {}: {reason}", file.display()))
}

fn check(arguments: &CheckArgs, program: Option<PathBuf>) -> anyhow::Result<()> {
    let file = &arguments.file;
    let trial = load(file, arguments.policy.policy()?, program)?;
    let info = trial.info();
    let configured = configured(&trial, arguments.config.as_ref())?;
    println!("{} can be loaded; a rule names it `{}`", file.display(), info.name);
    println!("stages       {}", info.stages);
    println!("version      {}", info.version);
    println!("description  {}", info.description);
    println!("imports      {}", trial.imports().join("\n             "));
    println!("configured   {configured}");
    if let Some(schema) = info.config_schema {
        println!("config       {}", format!("{schema:#}").replace('\n', "\n             "));
    }
    Ok(())
}

/// Whether payloads start from a snapshot. Without a configuration it is tried with an empty one, which may be refused.
fn configured(trial: &Trial, config: Option<&Value>) -> anyhow::Result<String> {
    let prepared = trial.prepare(&config.map_or_else(|| "{}".to_owned(), Value::to_string));
    if let Some(failure) = prepared.refusal() {
        anyhow::ensure!(config.is_none(), "{failure}");
        return Ok(format!("not tried: it wants a configuration (--config): {}", failure.message));
    }
    let once = "once; payloads start from a snapshot".to_owned();
    Ok(prepared.why_per_instance().map_or(once, |why| format!("for every payload: {why}")))
}

/// Fails as the plugin fails, so that a script notices.
fn test(arguments: &TestArgs, program: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let trial = load(&arguments.file, arguments.policy.policy()?, program)?;
    let shown = arguments.payload.display();
    let payload: Bytes = std::fs::read(&arguments.payload).with_context(|| format!("cannot read {shown}"))?.into();
    let prepared = trial.prepare(&arguments.config.to_string());
    let report = prepared.run(payload.clone()).with_context(|| shown.to_string())?;
    let is_colored = std::io::stdout().is_terminal();
    print!("{}", report::outcome(&report, &payload, is_colored));
    print!("{}", report::usage(&report.usage, trial.limits()));
    Ok(if report.result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn list(arguments: ListArgs, environment: Environment) -> anyhow::Result<()> {
    let answer = arguments.connection.client(environment)?.get("api/v1/plugins", &[]).await?;
    if arguments.json {
        println!("{answer:#}");
        return Ok(());
    }
    let plugins: Vec<PluginInfo> =
        serde_json::from_value(answer["plugins"].clone()).context("not a list of plugins")?;
    let row = |plugin: &PluginInfo| {
        let origin = plugin.file.clone().unwrap_or_else(|| "built in".to_owned());
        let first_line = plugin.description.lines().next().unwrap_or_default().to_owned();
        let text = match (&plugin.error, &plugin.per_instance) {
            (Some(error), _) => format!("ERROR {error}"),
            (None, Some(why)) => format!("{first_line} (configured for every payload: {why})"),
            (None, None) => first_line,
        };
        vec![plugin.name.clone(), plugin.stages.to_string(), origin, text]
    };
    let rows: Vec<_> = plugins.iter().map(row).collect();
    print!("{}", table(&["NAME", "STAGES", "FROM", "WHAT"], &rows));
    Ok(())
}
