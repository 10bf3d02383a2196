//! What guests log and print, on its way to the host's log: under the plugin's name, one line each.

use serde::{Deserialize, Serialize};
use tracing::{debug, error, info, trace, warn};

use crate::model::plugin::PluginName;
use crate::plugin::sandbox::call::Usage;
use crate::plugin::sandbox::output_ring::one_line;

/// Bytes of one line of a guest's log.
pub(super) const LINE_BYTES_MAX: usize = 2048;

/// A line that a guest logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// As the contract names it; another one is as good as `info`.
    pub level: String,
    /// Without control characters.
    pub message: String,
}

impl LogLine {
    /// Bounded, and without control characters.
    pub(super) fn new(level: &str, message: &str) -> Self {
        let known = ["error", "warn", "info", "debug", "trace"].into_iter().find(|known| *known == level);
        let message = one_line(&message[..message.floor_char_boundary(LINE_BYTES_MAX)]);
        Self { level: known.unwrap_or("info").to_owned(), message }
    }

    /// One that another process wrote, made again as if a guest had said it.
    pub(super) fn checked(self) -> Self {
        Self::new(&self.level, &self.message)
    }
}

/// Writes down what a guest logged and printed during a call.
pub(super) fn write_down(plugin: &PluginName, usage: &Usage) {
    for LogLine { level, message } in &usage.log {
        match level.as_str() {
            "error" => error!(%plugin, "{message}"),
            "warn" => warn!(%plugin, "{message}"),
            "debug" => debug!(%plugin, "{message}"),
            "trace" => trace!(%plugin, "{message}"),
            _ => info!(%plugin, "{message}"),
        }
    }
    if !usage.output.is_empty() {
        info!(%plugin, output = ?usage.output, "a plugin printed");
    }
}
