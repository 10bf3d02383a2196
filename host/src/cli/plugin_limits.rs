//! What plugins may use, as far as it can be set.

use clap::Args;

use crate::cli::size::{MIB, parse_mib};
use crate::plugin::PluginLimits;

#[derive(Args, Debug)]
pub(super) struct PluginLimitArgs {
    /// Largest plugin file, in MiB; Python's have 18 or 19
    #[arg(long, value_name = "MIB", default_value_t = default_mib(), value_parser = parse_mib)]
    max_plugin_file: usize,
}

impl PluginLimitArgs {
    pub(super) fn limits(&self) -> PluginLimits {
        PluginLimits { file_bytes: (self.max_plugin_file * MIB) as u64, ..PluginLimits::default() }
    }
}

fn default_mib() -> usize {
    PluginLimits::default().file_bytes as usize / MIB
}
