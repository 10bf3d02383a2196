//! The plugin runtime's public face: a chain and a payload go in, an outcome comes out.
//!
//! Nothing that a guest can see or hold reaches state that the engine owns, so that another process can serve this
//! seam later. Knows nothing of rules, stores or receivers.

mod bounded;
mod chain;
mod guest_log;
mod guests;
mod health;
mod limits;
mod policy;
mod pool;
mod processes;
mod registry;
mod runtime;
mod sandbox;
pub mod scaffold;
pub mod signing;
mod snapshots;
mod trial;
mod workshop;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::document::FieldLink;
use crate::model::ids::PayloadId;
use crate::model::payload::Body;
use crate::model::plugin::{PluginFailure, PluginName, PluginUse, Stages};
pub use guest_log::LogLine;
pub use health::failures::{FailureCount, FailureRecord};
pub use health::{QuarantineInfo, Readiness};
pub use limits::{LimitName, PluginLimits};
pub use policy::{Grant, Grants, Isolation, PluginPolicy, PolicyError, Terms};
pub use registry::loader::WorkDone;
pub use registry::signature::{KeyId, PublicKey, PublicKeyError, SignatureError, Signed, Signers};
pub use runtime::{InUse, RuntimeSettings, WasmRuntime};
pub use sandbox::call::Usage;
pub use sandbox::linked::Fetched;
pub(crate) use sandbox::output_ring::printable;
pub use snapshots::cache::CacheSettings;
pub use trial::{Benched, Measured, Prepared, Spread, Trial, TrialOutcome, TrialReport, TrialRun};
pub use workshop::errand::{CHILD, run_child};

/// What a chain made of a payload.
#[derive(Clone, Debug)]
pub enum ChainOutcome {
    /// To be sent. Where no plugin changed a byte, the body's bytes are the very `Bytes` that came in.
    Send(Body),
    /// No run was left, or the render stage had nothing to send.
    Filtered,
    /// A plugin failed with `on_error = "hold"`.
    Held(PluginFailure),
    /// A plugin failed with `on_error = "drop"`.
    Dropped(PluginFailure),
    /// A plugin reached a field that lies elsewhere: run the chain again with what these links lead to. One plugin asks
    /// twice at most, for the inputs and for the outputs of all runs.
    Needs(Vec<FieldLink>),
}

/// A plugin that can be named in a rule, or one that could not be loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PluginInfo {
    /// What a rule calls it; the stem of a file whose name cannot be a plugin's.
    pub name: String,
    /// Carried in the binary, or a file of the plugin directory.
    pub is_built_in: bool,
    /// The file's name; none for a built-in.
    pub file: Option<String>,
    /// Hash of the component that is active, hex; none where none is.
    pub hash: Option<String>,
    /// What it is used for.
    pub stages: Stages,
    /// In the plugin's own words.
    pub description: String,
    /// The plugin's own version.
    pub version: String,
    /// JSON Schema of its configuration, where it has one.
    pub config_schema: Option<serde_json::Value>,
    /// Why it is configured anew for every payload; none where payloads start from a snapshot, or none has come yet.
    #[serde(default)]
    pub per_instance: Option<String>,
    /// Id of the key that its file is signed with, as minisign shows it; none where nobody known has signed it.
    #[serde(default)]
    pub signed_by: Option<String>,
    /// How often it has failed since the host started.
    #[serde(default)]
    pub failures: FailureCount,
    /// With which configurations it is not run for now.
    #[serde(default)]
    pub quarantines: Vec<QuarantineInfo>,
    /// Why the newest file is not active; what was active before stays.
    pub error: Option<String>,
    /// What it failed on before it became active, which did not keep it from that.
    #[serde(default)]
    pub warning: Option<String>,
}

/// Runs chains in the sandbox.
#[async_trait]
pub trait PluginRuntime: Send + Sync {
    /// Passes a payload through a chain: each plugin in a fresh instance, under the limits. Never fails: a guest's
    /// trouble is data.
    ///
    /// Fields of runs that lie elsewhere are taken from `fetched`; see [`ChainOutcome::Needs`].
    ///
    /// A plugin that has failed too often is in quarantine, and its `on_error` applies without a call. `payload` is
    /// remembered where a plugin fails.
    async fn run_with(
        &self,
        chain: &[PluginUse],
        payload: PayloadId,
        document: Bytes,
        fetched: Arc<Fetched>,
    ) -> ChainOutcome;

    /// The same for a payload that nobody knows, with nothing fetched.
    async fn run(&self, chain: &[PluginUse], document: Bytes) -> ChainOutcome {
        self.run_with(chain, PayloadId::generate(), document, Arc::default()).await
    }

    /// Whether the plugin takes this configuration. Payloads start from what is prepared here. Answers what the plugin is
    /// used for.
    ///
    /// # Errors
    /// The plugin's own words, or that there is no such plugin (with the nearest name).
    async fn check(&self, plugin: &PluginUse) -> Result<Stages, PluginFailure>;

    /// Every plugin, by name.
    fn plugins(&self) -> Vec<PluginInfo>;

    /// The last failures of a plugin, the newest first; nothing where none of that name has failed.
    fn failures(&self, plugin: &PluginName) -> Vec<FailureRecord>;

    /// Whether a payload would meet the plugin with this configuration now.
    fn readiness(&self, plugin: &PluginUse) -> Readiness;

    /// Whether any plugin is in quarantine.
    fn has_quarantines(&self) -> bool;
}
