//! `runhook plugin`: for authors, with the production runtime and limits, and for who signs what they made.

mod bench;
mod check;
mod listing;
mod report;
mod signing;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::connection::Connection;
use crate::cli::plugin_policy::PluginPolicyArgs;
use crate::config::Environment;
use crate::model::plugin::PluginName;
use crate::plugin::scaffold::{ScaffoldKind, scaffold};
use crate::plugin::{FailureRecord, PluginInfo, PluginPolicy, Trial};

/// The contract between host and plugins.
const WIT: &str = include_str!("../../../wit/plugin.wit");

/// Make, check, try and sign plugins
#[derive(Subcommand, Debug)]
pub(super) enum PluginCommand {
    /// Write the crate of a new plugin, with the SDK beside it
    New(NewArgs),
    /// Say whether the host would load a file, and what it is
    Check(check::CheckArgs),
    /// Run a file on a payload: what it kept and changed, and what it used of each limit
    Test(TestArgs),
    /// Run a file on a payload again and again: how long it takes, and the host without it
    Bench(bench::BenchArgs),
    /// Make a key pair to sign plugins with (minisign's)
    Keygen(signing::KeygenArgs),
    /// Sign a file: writes FILE.minisig, which goes beside it
    Sign(signing::SignArgs),
    /// Say who has signed a file
    Verify(signing::VerifyArgs),
    /// The plugins of a running host, with the error of any that could not be loaded, and how often each has failed
    List(ListArgs),
    /// The last failures of a plugin on a running host: the payload, the cause, where in the plugin
    Failures(FailuresArgs),
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

#[derive(Args, Debug)]
pub(super) struct FailuresArgs {
    /// As a rule names it
    name: PluginName,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(command: PluginCommand, environment: Environment) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::New(arguments) => new(&arguments)?,
        PluginCommand::Check(arguments) => check::run(&arguments, environment.program)?,
        PluginCommand::Test(arguments) => return test(&arguments, environment.program),
        PluginCommand::Bench(arguments) => return bench::run(&arguments, environment.program),
        PluginCommand::Keygen(arguments) => signing::keygen(&arguments, environment.signing_password.as_ref())?,
        PluginCommand::Sign(arguments) => signing::sign(&arguments, environment.signing_password.as_ref())?,
        PluginCommand::Verify(arguments) => signing::verify(&arguments)?,
        PluginCommand::List(arguments) => list(arguments, environment).await?,
        PluginCommand::Failures(arguments) => failures(arguments, environment).await?,
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
    println!("  runhook plugin test target/wasm32-wasip2/release/{file}.wasm --payload payload.json");
    println!("  cp target/wasm32-wasip2/release/{file}.wasm YOUR_PLUGIN_DIRECTORY/\n");
    println!("A rule names it `{}`.", arguments.name);
    Ok(())
}

fn load(file: &Path, policy: PluginPolicy, program: Option<PathBuf>) -> anyhow::Result<Trial> {
    Trial::load(name_of(file)?, read(file)?, policy, program).map_err(|reason| not_loaded(file, &reason))
}

fn read(file: &Path) -> anyhow::Result<Bytes> {
    Ok(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?.into())
}

fn name_of(file: &Path) -> anyhow::Result<&str> {
    file.file_name().and_then(|name| name.to_str()).context("the file has no name")
}

fn not_loaded(file: &Path, reason: &str) -> anyhow::Error {
    anyhow!("the host would not load {}: {reason}", file.display())
}

/// Fails as the plugin fails, so that a script notices.
fn test(arguments: &TestArgs, program: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let trial = load(&arguments.file, arguments.policy.policy()?, program)?;
    let payload = read(&arguments.payload)?;
    let prepared = trial.prepare(&arguments.config.to_string());
    let report = prepared.run(payload.clone()).with_context(|| arguments.payload.display().to_string())?;
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
    print!("{}", listing::plugins(&plugins));
    Ok(())
}

async fn failures(arguments: FailuresArgs, environment: Environment) -> anyhow::Result<()> {
    let path = format!("api/v1/plugins/{}/failures", arguments.name);
    let answer = arguments.connection.client(environment)?.get(&path, &[]).await?;
    if arguments.json {
        println!("{answer:#}");
        return Ok(());
    }
    let failures: Vec<FailureRecord> =
        serde_json::from_value(answer["failures"].clone()).context("not a list of failures")?;
    print!("{}", listing::failures(&arguments.name, &failures));
    Ok(())
}
