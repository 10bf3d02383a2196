//! A plugin file under the production runtime and limits, for its author: `plugin check`, `plugin test`, and `plugin bench`.

mod bench;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::document::{Document, DocumentError};
use crate::model::payload::Body;
use crate::model::plugin::{PluginFailure, PluginName};
use crate::plugin::limits::PluginLimits;
use crate::plugin::policy::{Grants, PluginPolicy};
use crate::plugin::pool::on_own_thread;
use crate::plugin::registry::component::Callable;
use crate::plugin::registry::loader::{Loader, Origin};
use crate::plugin::registry::signature::Signers;
use crate::plugin::registry::{Active, built_in, info, name_beside_built_in};
use crate::plugin::sandbox::call::{Called, Made, Usage};
use crate::plugin::sandbox::linked::Links;
use crate::plugin::workshop::errand::Unmade;
use crate::plugin::{PluginInfo, RuntimeSettings};

/// What an author can do about a field that lies elsewhere.
const NOT_FETCHED: &str = "the host would fetch them, a trial does not: put them into the payload in place of null";

/// A loaded plugin file that can be tried.
pub struct Trial {
    loader: Loader,
    active: Active,
    file: String,
}

pub use bench::{Benched, Measured, Spread};

/// A loaded plugin with a configuration.
pub struct Prepared<'a> {
    trial: &'a Trial,
    config: String,
    /// The plugin as payloads meet it, or why it is configured for each.
    snapshot: Result<Callable, Unmade>,
}

/// What a plugin made of a payload file.
#[derive(Debug)]
pub struct TrialReport {
    /// What would be sent, or why not.
    pub result: Result<TrialOutcome, PluginFailure>,
    /// What it used.
    pub usage: Usage,
    /// The runs that there were, and whether they are still there. None where the plugin failed, or wrote a body of its
    /// own.
    pub runs: Vec<TrialRun>,
    /// Number of runs before.
    pub runs_before: usize,
}

/// A run of the payload that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialRun {
    /// Its id, empty where it has none.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is still in the payload.
    pub is_kept: bool,
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
    /// Loads a plugin file as the host would, but for its signature: a file is signed when it was tried. `program` is the `runhook` binary, by which children are started; none does
    /// their work in this process.
    ///
    /// # Errors
    /// In words, why the host would not.
    pub fn load(file: &str, bytes: Bytes, policy: PluginPolicy, program: Option<PathBuf>) -> Result<Self, String> {
        let policy = PluginPolicy { signers: Signers::default(), ..policy };
        Self::load_signed(file, bytes, None, policy, program)
    }

    /// Loads a plugin file as the host would, with what stands in the signature beside it.
    ///
    /// # Errors
    /// In words, why the host would not.
    pub fn load_signed(
        file: &str,
        bytes: Bytes,
        signature: Option<&[u8]>,
        policy: PluginPolicy,
        program: Option<PathBuf>,
    ) -> Result<Self, String> {
        let settings = RuntimeSettings { policy, program, ..Default::default() };
        Self::of(name_beside_built_in(file)?, file, bytes, Origin::File { signature }, settings)
    }

    /// Loads a plugin that comes with runhook.
    ///
    /// # Errors
    /// In words, that there is none of that name.
    pub fn built_in(name: &PluginName, policy: PluginPolicy) -> Result<Self, String> {
        let bytes = built_in(name.as_str()).ok_or_else(|| format!("no built-in plugin is called `{name}`"))?;
        let settings = RuntimeSettings { policy, ..Default::default() };
        Self::of(name.clone(), name.as_str(), bytes, Origin::BuiltIn, settings)
    }

    fn of(
        name: PluginName,
        file: &str,
        bytes: Bytes,
        origin: Origin<'_>,
        settings: RuntimeSettings,
    ) -> Result<Self, String> {
        let loader = Loader::new(&settings).map_err(|error| format!("the sandbox cannot start: {error:#}"))?;
        let active = loader.load(&name, bytes, origin)?;
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

    #[cfg(test)]
    pub(super) fn name(&self) -> &PluginName {
        &self.active.name
    }

    #[cfg(test)]
    pub(super) fn component(&self) -> &Callable {
        &self.active.component
    }

    /// What it exports.
    pub fn exports(&self) -> &[String] {
        &self.active.component.exported
    }

    /// The version of the contract that it was built against, `1.0.0`; none where it hides it.
    pub fn contract_version(&self) -> Option<&str> {
        self.active.component.contract_version()
    }

    /// What has to be granted for its imports, and what is.
    pub fn grants(&self) -> (Grants, Grants) {
        (self.active.component.needed_grants(), self.active.terms.grants)
    }

    /// Whether its guests run in processes of their own.
    pub fn is_apart(&self) -> bool {
        self.active.component.apart.is_some()
    }

    /// Size of its file, in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.active.bytes.len() as u64
    }

    /// The limits that it is tried under.
    pub fn limits(&self) -> &PluginLimits {
        &self.active.terms.limits
    }

    /// Configures the plugin as the host would. Blocks.
    pub fn prepare(&self, config: &str) -> Prepared<'_> {
        let snapshot = self.loader.snapshot(&self.active, config).map(|snapshot| snapshot.callable);
        let mut prepared = Prepared { trial: self, config: config.to_owned(), snapshot };
        // The snapshot may have failed before the plugin was asked: it is asked as payloads will ask it.
        if prepared.snapshot.is_err()
            && prepared.refusal().is_none()
            && let Err(failure) = on_own_thread(|| prepared.instantiate())
        {
            prepared.snapshot = Err(Unmade::Failed(failure));
        }
        prepared
    }

    /// The plugin with a configuration that each instance is given anew, for comparison.
    pub fn per_instance(&self, config: &str) -> Prepared<'_> {
        let snapshot = Err(Unmade::Unavailable("not asked for".to_owned()));
        Prepared { trial: self, config: config.to_owned(), snapshot }
    }
}

impl Prepared<'_> {
    /// The plugin's failure over its configuration.
    pub fn refusal(&self) -> Option<&PluginFailure> {
        match &self.snapshot {
            Err(Unmade::Failed(failure)) => Some(failure),
            _ => None,
        }
    }

    /// Why each payload configures the plugin anew; none where payloads start from a snapshot.
    pub fn why_per_instance(&self) -> Option<String> {
        self.snapshot.as_ref().err().map(ToString::to_string)
    }

    /// Makes a fresh instance, configured, and throws it away. On this thread; nothing may be awaited on it.
    ///
    /// # Errors
    /// The plugin's failure.
    pub fn instantiate(&self) -> Result<(), PluginFailure> {
        self.trial.loader.guests.configure(self.called(), &self.trial.active.terms.limits)
    }

    /// Passes a document through a fresh instance. On this thread; nothing may be awaited on it.
    ///
    /// # Errors
    /// The plugin's failure.
    pub fn pass(&self, document: Document) -> Result<(), PluginFailure> {
        let links = Arc::new(Links::of(&document, Arc::default()));
        self.trial.loader.guests.process(self.called(), document, &links, &self.trial.active.terms.limits).0.map(drop)
    }

    /// Without a snapshot the instance is configured, and fails there if the plugin does.
    fn called(&self) -> Called<'_> {
        let active = &self.trial.active;
        match &self.snapshot {
            Ok(snapshot) => Called { name: &active.name, component: snapshot, config: None },
            Err(_) => Called { name: &active.name, component: &active.component, config: Some(&self.config) },
        }
    }

    /// Passes a payload through the plugin. Blocks until it has ended or hit a limit. Nothing is fetched: where the
    /// plugin reads a field that lies elsewhere, that is its failure.
    ///
    /// # Errors
    /// That the payload is none.
    pub fn run(&self, payload: Bytes) -> Result<TrialReport, DocumentError> {
        let document = Document::parse(payload)?;
        let (before, runs_before) = (runs(&document), document.len());
        let links = Arc::new(Links::of(&document, Arc::default()));
        let (guests, limits) = (&self.trial.loader.guests, &self.trial.active.terms.limits);
        let (made, usage) = guests.try_out(self.called(), document, &links, limits);
        let runs = match &made {
            Ok(Made::Document(document)) => compared(before, runs(document)),
            Ok(Made::NoRuns) => before.into_iter().map(|run| TrialRun { is_kept: false, ..run }).collect(),
            _ => Vec::new(),
        };
        Ok(TrialReport { result: made.and_then(outcome), usage, runs, runs_before })
    }
}

fn outcome(made: Made) -> Result<TrialOutcome, PluginFailure> {
    match made {
        Made::Document(document) => Ok(TrialOutcome::Payload(document.to_bytes(), document.len())),
        Made::NoRuns => Ok(TrialOutcome::NoRuns),
        Made::Body(body) => Ok(TrialOutcome::Body(body)),
        Made::Nothing => Ok(TrialOutcome::NothingToSend),
        Made::Needs(_, failure) => {
            let message = format!("{}; {NOT_FETCHED}", failure.message);
            Err(PluginFailure { message, ..failure })
        }
    }
}

fn runs(document: &Document) -> Vec<TrialRun> {
    let text = |key, pointer| document.run_text(key, pointer).unwrap_or_default();
    document.runs().map(|key| TrialRun { id: text(key, "/id"), name: text(key, "/name"), is_kept: true }).collect()
}

/// The runs as they were, each kept whose id is still there.
fn compared(before: Vec<TrialRun>, after: Vec<TrialRun>) -> Vec<TrialRun> {
    let left: HashSet<String> = after.into_iter().map(|run| run.id).collect();
    before.into_iter().map(|run| TrialRun { is_kept: left.contains(&run.id), ..run }).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const PATTERNS: &str = r#"{"patterns": ["sk-[a-z]+", "[0-9]{16}", "\\w+@\\w+", "(?i)secret"]}"#;

    pub(in crate::plugin) fn redact() -> Trial {
        Trial::built_in(&"redact".parse().unwrap(), PluginPolicy::default()).unwrap()
    }

    #[test]
    fn a_payload_comes_out_the_same_from_a_snapshot_and_from_an_instance_of_its_own() {
        let (redact, payload) =
            (redact(), Bytes::from_static(br#"{"runs":[{"id":"1","inputs":"a sk-b and \"c@d\""}]}"#));
        let made = |prepared: Prepared<'_>| match prepared.run(payload.clone()).unwrap().result.unwrap() {
            TrialOutcome::Payload(bytes, _) => bytes,
            other => panic!("{other:?}"),
        };
        let prepared = redact.prepare(PATTERNS);
        assert_eq!(prepared.why_per_instance(), None);
        let from_snapshot = made(prepared);
        assert_eq!(from_snapshot, made(redact.per_instance(PATTERNS)));
        assert_eq!(from_snapshot, r#"{"runs":[{"id":"1","inputs":"a [redacted] and \"[redacted]\""}]}"#);
    }

    #[test]
    fn a_refused_configuration_leaves_no_snapshot() {
        let redact = redact();
        let prepared = redact.prepare(r#"{"patterns": ["("]}"#);
        let refusal = prepared.refusal().unwrap();
        assert_eq!((refusal.export.as_str(), refusal.plugin.as_str()), ("configure", "redact"));
        assert!(refusal.message.contains("regex parse error"), "{refusal}");
    }

    #[test]
    fn a_built_ins_name_is_refused_as_the_host_would() {
        let refused = Trial::load("errors_only.wasm", Bytes::new(), PluginPolicy::default(), None).err().unwrap();
        assert_eq!(refused, "a built-in plugin is called `errors-only`; rename the file");
    }
}
