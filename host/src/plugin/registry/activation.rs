//! What a new file has to do before payloads meet it: take the configurations that rules use it with, and get through a
//! canned payload with each. What then becomes active has its snapshots ready.
//!
//! A file that breaks down over that, or does not take a configuration that is in use, is refused, and what was active
//! stays. It is different when the host starts: there is nothing else to serve the rules, the file most likely served them
//! before, and neither the canned payload nor one rule's configuration is all that it is for. So it becomes active with a
//! warning; what it does fail on is held, payload by payload, and quarantine bounds what that costs. One that has passed
//! before on this host is not even tried, so that a start with many plugins takes no time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::document::Document;
use crate::limits::TRIED_CONFIGURATIONS_MAX;
use crate::model::plugin::{PluginFailure, PluginFailureKind, PluginName};
use crate::plugin::limits::PluginLimits;
use crate::plugin::registry::Active;
use crate::plugin::registry::component::Callable;
use crate::plugin::registry::loader::{Loader, Origin};
use crate::plugin::runtime::InUse;
use crate::plugin::sandbox::call::Called;
use crate::plugin::sandbox::frames::is_foreign;
use crate::plugin::sandbox::linked::Links;
use crate::plugin::snapshots::Snapshots;
use crate::plugin::workshop::errand::Unmade;

/// Two small runs, one of them failed, as LangSmith sends them.
const CANNED_PAYLOAD: &[u8] = include_bytes!("smoke_payload.json");

/// What the policy allows may be a minute, for payloads of 64 MiB.
const TRIED_CPU_MAX: Duration = Duration::from_secs(1);
const TRIED_WALL_FACTOR_MAX: u32 = 10;

/// The configuration to try a plugin with that no rule uses.
const NO_CONFIG: &str = "{}";

/// Why a plugin that can be loaded is not fit for the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// What rules use it with is refused.
    #[error(
        "it does not take a configuration that a rule uses it with: {0}; give the rules one that it takes, and it is tried \
         again; where the plugin that is active now would not take that one, give the file another name"
    )]
    Configuration(PluginFailure),
    /// It breaks down.
    #[error("it breaks down on a payload of two small runs: {failure}{}", shown(.place.as_ref()))]
    Fault {
        failure: PluginFailure,
        /// The function of its own where it was stopped, if that is known.
        place: Option<String>,
    },
}

/// Loads files and tries them.
pub(in crate::plugin) struct Activation {
    loader: Arc<Loader>,
    snapshots: Arc<Snapshots>,
    in_use: InUse,
}

impl Activation {
    pub(in crate::plugin) fn new(loader: Arc<Loader>, snapshots: Arc<Snapshots>, in_use: InUse) -> Self {
        Self { loader, snapshots, in_use }
    }

    /// Configurations that rules use a plugin of that name with.
    pub(super) fn in_use(&self, name: &PluginName) -> Vec<Value> {
        (self.in_use)(name)
    }

    /// The plugin with what it was tried with; in words why the file can be none. Blocks.
    pub(super) fn load(
        &self,
        name: &PluginName,
        bytes: Bytes,
        signature: Option<&[u8]>,
        is_start: bool,
    ) -> Result<(Active, Result<(), Unfit>), String> {
        let active = self.loader.load(name, bytes, Origin::File { signature })?;
        if is_start && self.loader.has_passed(&active) {
            return Ok((active, Ok(())));
        }
        let tried = self.tried(&active);
        if tried.is_ok() {
            self.loader.remember_passed(&active);
        }
        Ok((active, tried))
    }

    fn tried(&self, active: &Active) -> Result<(), Unfit> {
        let in_use: BTreeSet<String> = (self.in_use)(&active.name).iter().map(ToString::to_string).collect();
        if in_use.is_empty() {
            // Nobody waits for a snapshot of it, and to refuse an empty configuration is no fault.
            return self.smoke(active, NO_CONFIG, None).or_else(|unfit| match unfit {
                Unfit::Configuration(_) => Ok(()),
                Unfit::Fault { .. } => Err(unfit),
            });
        }
        in_use.iter().take(TRIED_CONFIGURATIONS_MAX).try_for_each(|config| self.tried_with(active, config))
    }

    fn tried_with(&self, active: &Active, config: &str) -> Result<(), Unfit> {
        match self.snapshots.prepare(active, config) {
            Err(Unmade::Failed(failure)) if failure.kind.is_fault() => Err(Unfit::Fault { failure, place: None }),
            Err(Unmade::Failed(failure)) => Err(Unfit::Configuration(failure)),
            // Without a snapshot it is tried as payloads will meet it: configured by itself.
            prepared => {
                let key = active.key(Some(config));
                let snapshot = prepared.ok().and_then(|()| self.snapshots.at_hand(active, config, key));
                self.smoke(active, config, snapshot.as_deref())
            }
        }
    }

    /// As a payload that is none of anybody's; what the plugin says of it in its own words is an answer.
    fn smoke(&self, active: &Active, config: &str, snapshot: Option<&Callable>) -> Result<(), Unfit> {
        let limits = brief(active.terms.limits);
        let run = || {
            let document = canned();
            let links = Arc::new(Links::of(&document, Arc::default()));
            let called = match snapshot {
                Some(component) => Called { name: &active.name, component, config: None },
                None => Called { name: &active.name, component: &active.component, config: Some(config) },
            };
            self.loader.guests.try_out(called, document, &links, &limits)
        };
        let (mut made, mut usage) = run();
        // A busy machine must not refuse an honest file.
        if made.as_ref().is_err_and(|failure| failure.kind == PluginFailureKind::Deadline) {
            (made, usage) = run();
        }
        match made {
            Err(failure) if failure.kind.is_fault() => {
                let place = usage.frames.into_iter().next().filter(|frame| !is_foreign(frame));
                Err(Unfit::Fault { failure, place })
            }
            Err(failure) if failure.export == "configure" => Err(Unfit::Configuration(failure)),
            _ => Ok(()),
        }
    }
}

/// As long as two small runs may take anywhere: a start waits for it.
fn brief(limits: PluginLimits) -> PluginLimits {
    let cpu_base = limits.cpu_base.min(TRIED_CPU_MAX);
    PluginLimits { cpu_base, wall_factor: limits.wall_factor.min(TRIED_WALL_FACTOR_MAX), ..limits }
}

fn shown(place: Option<&String>) -> String {
    place.map(|place| format!(" (in {place})")).unwrap_or_default()
}

fn canned() -> Document {
    Document::parse(Bytes::from_static(CANNED_PAYLOAD)).expect("it is a payload")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::RuntimeSettings;
    use crate::plugin::registry::built_in;

    /// How the built-in `redact` does as a file, with the configurations that rules use it with.
    fn tried(in_use: &[Value]) -> Result<(), Unfit> {
        let in_use = in_use.to_vec();
        let loader = Arc::new(Loader::new(&RuntimeSettings::default()).unwrap());
        let snapshots = Snapshots::start(loader.clone()).unwrap();
        let activation = Activation::new(loader, snapshots, Arc::new(move |_| in_use.clone()));
        activation.load(&"mine".parse().unwrap(), built_in("redact").unwrap(), None, false).unwrap().1
    }

    #[test]
    fn a_configuration_that_is_in_use_has_to_be_taken_and_any_other_may_be_refused() {
        assert_eq!(tried(&[]), Ok(()), "`redact` wants a configuration, and no rule gives it one");
        let good = json!({"pointers": ["/inputs"]});
        assert_eq!(tried(std::slice::from_ref(&good)), Ok(()));
        let refused = tried(&[good, json!({"pointers": 7})]).unwrap_err();
        assert!(matches!(refused, Unfit::Configuration(_)), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("plugin `mine` failed in `configure`") && text.contains("another name"), "{text}");
    }

    #[test]
    fn the_canned_payload_is_one_of_two_runs() {
        assert_eq!(canned().len(), 2);
    }
}
