//! The file in which an operator says what plugins may use.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::plugin::PluginPolicy;

#[derive(Args, Debug)]
pub(super) struct PluginPolicyArgs {
    /// TOML file with the limits and grants of plugins
    #[arg(long, value_name = "FILE")]
    plugin_policy: Option<PathBuf>,
}

impl PluginPolicyArgs {
    pub(super) fn policy(&self) -> anyhow::Result<PluginPolicy> {
        let Some(file) = &self.plugin_policy else { return Ok(PluginPolicy::default()) };
        let shown = || format!("the plugin policy {}", file.display());
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", shown()))?;
        PluginPolicy::parse(&text).with_context(shown)
    }
}
