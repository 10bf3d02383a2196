//! A plugin file under the production runtime and limits, for its author: `plugin check` and `plugin test`.

use std::sync::Arc;

use bytes::Bytes;

use crate::document::{Document, DocumentError};
use crate::model::payload::Body;
use crate::model::plugin::{PluginFailure, PluginName};
use crate::plugin::PluginInfo;
use crate::plugin::call::{Called, Made, Usage, process};
use crate::plugin::limits::PluginLimits;
use crate::plugin::linked::Links;
use crate::plugin::loader::Loader;
use crate::plugin::pool::on_own_thread;
use crate::plugin::registry::{Active, info, name_beside_built_in};

/// What an author can do about a field that lies elsewhere.
const NOT_FETCHED: &str = "the host would fetch them, a trial does not: put them into the payload in place of null";

/// A loaded plugin file that can be tried.
pub struct Trial {
    loader: Loader,
    active: Active,
    file: String,
}

/// What a plugin made of a payload file.
#[derive(Debug)]
pub struct TrialReport {
    /// What would be sent, or why not.
    pub result: Result<TrialOutcome, PluginFailure>,
    /// What it used.
    pub usage: Usage,
    /// Number of runs before.
    pub runs_before: usize,
}

/// What would go on to the next plugin or to the receiver.
#[derive(Debug)]
pub enum TrialOutcome {
    /// The payload as it is now, and its number of runs.
    Payload(Bytes, usize),
    /// What the render stage wrote.
    Body(Body),
    /// No run is left.
    NoRuns,
    /// The render stage had nothing to send.
    NothingToSend,
}

impl Trial {
    /// Loads a plugin file as the host would.
    ///
    /// # Errors
    /// In words, why the host would not.
    pub fn load(file: &str, bytes: &[u8], limits: PluginLimits) -> Result<Self, String> {
        let name: PluginName = name_beside_built_in(file)?;
        let loader = Loader::new(limits).map_err(|error| format!("the sandbox cannot start: {error:#}"))?;
        let active = loader.load(&name, bytes)?;
        Ok(Self { loader, active, file: file.to_owned() })
    }

    /// What the plugin says of itself.
    pub fn info(&self) -> PluginInfo {
        info(self.active.name.to_string(), Some(self.file.clone()), Some(&self.active), None)
    }

    /// The interfaces that it imports.
    pub fn imports(&self) -> &[String] {
        &self.active.component.imports
    }

    /// The limits that it is tried under.
    pub fn limits(&self) -> &PluginLimits {
        &self.loader.limits
    }

    /// Passes a payload through the plugin. Blocks until it has ended or hit a limit. Nothing is fetched: where the
    /// plugin reads a field that lies elsewhere, that is its failure.
    ///
    /// # Errors
    /// That the payload is none.
    pub fn run(&self, config: &str, payload: Bytes) -> Result<TrialReport, DocumentError> {
        let document = Document::parse(payload)?;
        let runs_before = document.len();
        let called = Called { name: &self.active.name, component: &self.active.component, config };
        let links = Arc::new(Links::of(&document, Arc::default()));
        let _running = self.loader.running();
        let (made, usage) = on_own_thread(|| process(called, document, &links, &self.loader.limits));
        let result = made.and_then(|made| match made {
            Made::Document(document) => Ok(TrialOutcome::Payload(document.to_bytes(), document.len())),
            Made::NoRuns => Ok(TrialOutcome::NoRuns),
            Made::Body(body) => Ok(TrialOutcome::Body(body)),
            Made::Nothing => Ok(TrialOutcome::NothingToSend),
            Made::Needs(_, failure) => {
                let message = format!("{}; {NOT_FETCHED}", failure.message);
                Err(PluginFailure { message, ..failure })
            }
        });
        Ok(TrialReport { result, usage, runs_before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_ins_name_is_refused_as_the_host_would() {
        let refused = Trial::load("errors_only.wasm", b"", PluginLimits::default()).err().unwrap();
        assert_eq!(refused, "a built-in plugin is called `errors-only`; rename the file");
    }
}
