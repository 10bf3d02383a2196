//! How guests are called, wherever they run: in this process, or in processes of their own.

use std::path::PathBuf;
use std::sync::Arc;

use crate::document::Document;
use crate::model::plugin::PluginFailure;
use crate::plugin::limits::PluginLimits;
use crate::plugin::pool::on_own_thread;
use crate::plugin::processes::GuestProcesses;
use crate::plugin::sandbox::call::{self, Called, Made, Usage};
use crate::plugin::sandbox::engine::{Running, Ticker};
use crate::plugin::sandbox::linked::Links;

/// Calls guests. Each call blocks until the guest has ended or hit a limit.
pub(super) struct Guests {
    ticker: Ticker,
    processes: GuestProcesses,
}

impl Guests {
    pub(super) fn new(ticker: Ticker, program: Option<PathBuf>) -> Self {
        Self { ticker, processes: GuestProcesses::new(program) }
    }

    /// Whether guests can run in processes of their own.
    pub(super) fn can_be_apart(&self) -> bool {
        self.processes.can_be_had()
    }

    pub(super) fn processes_started(&self) -> u64 {
        self.processes.started()
    }

    /// Passes a payload through a plugin.
    pub(super) fn process(
        &self,
        plugin: Called<'_>,
        document: Document,
        links: &Arc<Links>,
        limits: &PluginLimits,
    ) -> (Result<Made, PluginFailure>, Usage) {
        match &plugin.component.apart {
            Some(code) => self.processes.process(plugin, code, document, links, limits),
            None => {
                let _running = self.running();
                call::process(plugin, document, links, limits)
            }
        }
    }

    /// The same once, for whoever is no guest thread: nothing is kept ready for the next.
    pub(super) fn try_out(
        &self,
        plugin: Called<'_>,
        document: Document,
        links: &Arc<Links>,
        limits: &PluginLimits,
    ) -> (Result<Made, PluginFailure>, Usage) {
        match &plugin.component.apart {
            Some(code) => self.processes.process_once(plugin, code, document, links, limits),
            None => on_own_thread(|| self.process(plugin, document, links, limits)),
        }
    }

    /// Makes an instance, has it configured, and throws it away.
    pub(super) fn configure(&self, plugin: Called<'_>, limits: &PluginLimits) -> Result<(), PluginFailure> {
        match &plugin.component.apart {
            Some(code) => self.processes.configure(plugin, code, limits),
            None => {
                let _running = self.running();
                call::configured(plugin, limits).map(drop)
            }
        }
    }

    /// Asks a plugin what it says of itself: JSON.
    pub(super) fn describe(&self, plugin: Called<'_>, limits: &PluginLimits) -> Result<String, PluginFailure> {
        match &plugin.component.apart {
            Some(code) => self.processes.describe(plugin, code, limits),
            None => {
                let _running = self.running();
                call::describe(plugin, limits)
            }
        }
    }

    /// Has to be held while a guest runs in this process, or it cannot be interrupted.
    fn running(&self) -> Running {
        self.ticker.running()
    }
}
