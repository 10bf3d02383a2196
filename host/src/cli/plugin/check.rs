//! `runhook plugin check`: whether the host would load a file, and what it is.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::{name_of, not_loaded, parse_config, read};
use crate::cli::plugin::report::size;
use crate::cli::plugin::signing::signature_beside;
use crate::cli::plugin_policy::PluginPolicyArgs;
use crate::plugin::{PluginPolicy, Trial, printable};

#[derive(Args, Debug)]
pub(in crate::cli) struct CheckArgs {
    /// The .wasm file
    file: PathBuf,
    /// A configuration that it has to take, JSON
    #[arg(long, value_name = "JSON", value_parser = parse_config)]
    config: Option<Value>,
    #[command(flatten)]
    policy: PluginPolicyArgs,
}

pub(super) fn run(arguments: &CheckArgs, program: Option<PathBuf>) -> anyhow::Result<()> {
    let (file, policy) = (&arguments.file, arguments.policy.policy()?);
    let has_signers = policy.signers.has_keys();
    let trial = load(file, policy, program)?;
    let configured = configured(&trial, arguments.config.as_ref())?;
    let info = trial.info();
    let (needed, granted) = trial.grants();
    println!("{} can be loaded; a rule names it `{}`", file.display(), info.name);
    line("stages", &info.stages.to_string());
    line("version", &info.version);
    line("description", &info.description);
    line("size", &format!("{} of {}", size(trial.file_bytes()), size(trial.limits().file_bytes)));
    line("contract", trial.contract_version().unwrap_or("unknown"));
    line("exports", &trial.exports().join("\n"));
    line("imports", &trial.imports().join("\n"));
    line("grants", &format!("needs {needed}; has {granted}"));
    if has_signers {
        line("signed", &info.signed_by.map_or_else(|| "by nobody".to_owned(), |key| format!("by {key}")));
    }
    line("runs", if trial.is_apart() { "in processes of its own" } else { "in the host's process" });
    line("configured", &configured);
    if let Some(schema) = info.config_schema {
        line("config", &printable(&format!("{schema:#}")));
    }
    Ok(())
}

/// Further lines stand below the first.
fn line(name: &str, text: &str) {
    println!("{name:<12} {}", text.replace('\n', "\n             "));
}

/// The signature beside the file is looked at as the host would.
fn load(file: &Path, policy: PluginPolicy, program: Option<PathBuf>) -> anyhow::Result<Trial> {
    let signature = if policy.signers.has_keys() { signature_beside(file)? } else { None };
    Trial::load_signed(name_of(file)?, read(file)?, signature.as_deref(), policy, program)
        .map_err(|reason| not_loaded(file, &reason))
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
