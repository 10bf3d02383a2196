//! `runhook plugin bench`: how long a plugin takes for a payload, beside the limits and beside the host without it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use serde_json::Value;

use super::{load, parse_config, read, report};
use crate::cli::plugin_policy::PluginPolicyArgs;
use crate::plugin::{Benched, TrialReport};

#[derive(Args, Debug)]
pub(in crate::cli) struct BenchArgs {
    /// The .wasm file
    file: PathBuf,
    /// The plugin's configuration, JSON
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = parse_config)]
    config: Value,
    /// File with a payload, JSON as LangSmith sends it
    #[arg(long, value_name = "FILE")]
    payload: PathBuf,
    /// How long to go on; a million payloads end it before
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    #[command(flatten)]
    policy: PluginPolicyArgs,
}

/// Fails as the plugin fails, so that a script notices.
pub(super) fn run(arguments: &BenchArgs, program: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let trial = load(&arguments.file, arguments.policy.policy()?, program)?;
    let payload = read(&arguments.payload)?;
    let prepared = trial.prepare(&arguments.config.to_string());
    let benched = prepared.bench(&payload, Duration::from_secs(arguments.seconds));
    match benched.with_context(|| arguments.payload.display().to_string())? {
        Benched::Measured(measured) => {
            print!("{}", report::bench(&measured, payload.len(), prepared.why_per_instance(), trial.limits()));
            Ok(ExitCode::SUCCESS)
        }
        Benched::Failed(failed, payloads) => {
            print!("{}", failure(&failed, &payload, payloads));
            print!("{}", report::usage(&failed.usage, trial.limits()));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// As `plugin test` says it; one that passed before is no plain failure.
fn failure(failed: &TrialReport, payload: &Bytes, payloads: usize) -> String {
    let text = report::outcome(failed, payload, false);
    if payloads > 1 { format!("on payload {payloads}, after it had passed the same before:\n{text}") } else { text }
}
