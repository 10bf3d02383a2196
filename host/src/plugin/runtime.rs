//! The runtime in this process: the registry, the watcher and the guests' threads behind the [`PluginRuntime`] seam.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use tracing::warn;

use crate::clock::{Clock, SystemClock};
use crate::limits::PLUGIN_CHILDREN_MAX;
use crate::model::ids::PayloadId;
use crate::model::plugin::{PluginFailure, PluginFailureKind, PluginName, PluginUse, Stages};
use crate::plugin::chain::{self, Link};
use crate::plugin::health::failures::FailureRecord;
use crate::plugin::health::{Health, Readiness};
use crate::plugin::policy::PluginPolicy;
use crate::plugin::pool::Threads;
use crate::plugin::registry::activation::Activation;
use crate::plugin::registry::loader::{Loader, WorkDone};
use crate::plugin::registry::watcher::Watcher;
use crate::plugin::registry::{Active, Registry};
use crate::plugin::sandbox::call::Called;
use crate::plugin::snapshots::Snapshots;
use crate::plugin::snapshots::cache::CacheSettings;
use crate::plugin::workshop::errand::Unmade;
use crate::plugin::{ChainOutcome, Fetched, PluginInfo, PluginRuntime};

/// The configurations that rules use a plugin with.
pub type InUse = Arc<dyn Fn(&PluginName) -> Vec<serde_json::Value> + Send + Sync>;

/// What the runtime works with.
#[derive(Clone)]
pub struct RuntimeSettings {
    /// Where plugins are dropped; none for the built-in ones alone.
    pub directory: Option<PathBuf>,
    /// What plugins may use and import.
    pub policy: PluginPolicy,
    /// The `runhook` binary, by which children are started; none to do their work in this process.
    pub program: Option<PathBuf>,
    /// Where compiled plugins are kept; none to compile them at every start.
    pub cache: Option<CacheSettings>,
    /// A new file has to take these before it becomes active.
    pub in_use: InUse,
    /// Time: of failures and quarantines. Limits of time go by the machine's clock.
    pub clock: Arc<dyn Clock>,
}

impl Default for RuntimeSettings {
    /// The built-in plugins alone, their work done in this process; no rules.
    fn default() -> Self {
        Self {
            directory: None,
            policy: PluginPolicy::default(),
            program: None,
            cache: None,
            in_use: Arc::new(|_| Vec::new()),
            clock: Arc::new(SystemClock),
        }
    }
}

impl fmt::Debug for RuntimeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, policy, program, cache, .. } = self;
        let mut shown = f.debug_struct("RuntimeSettings");
        shown.field("directory", directory).field("policy", policy).field("program", program).field("cache", cache);
        shown.finish_non_exhaustive()
    }
}

/// Runs guests with wasmtime on threads of its own.
pub struct WasmRuntime {
    registry: Arc<Registry>,
    snapshots: Arc<Snapshots>,
    health: Arc<Health>,
    threads: Threads,
    /// They wait for children, which is no work for a guest's thread; and a host that stops does not wait for them.
    checks: Threads,
}

impl WasmRuntime {
    /// Loads what is in the directory, which is made where there is none, and watches it from then on. Blocks while it
    /// compiles.
    ///
    /// # Errors
    /// That the directory cannot be made or read, or that the machine has no threads or memory for guests.
    pub fn start(settings: RuntimeSettings) -> anyhow::Result<Self> {
        let loader = Arc::new(Loader::new(&settings)?);
        let registry = Arc::new(Registry::new(loader.clone()));
        let snapshots = Snapshots::start(loader.clone())?;
        if let Some(directory) = &settings.directory {
            let activation = Activation::new(loader, snapshots.clone(), settings.in_use);
            let watcher = fs::create_dir_all(directory)
                .and_then(|()| Watcher::begin(directory, activation, &registry))
                .with_context(|| format!("cannot read the plugin directory {}", directory.display()))?;
            watcher.watch(&registry)?;
        }
        for unknown in settings.policy.unknown(&registry.names()) {
            warn!("the plugin policy: {unknown}");
        }
        let health = Arc::new(Health::new(settings.clock));
        let checks = Threads::start("checks", PLUGIN_CHILDREN_MAX)?;
        Ok(Self { registry, snapshots, health, threads: Threads::for_guests()?, checks })
    }

    /// What was done so far to have plugins ready.
    pub fn work_done(&self) -> WorkDone {
        self.registry.loader().work_done()
    }

    /// Whether the plugin takes the configuration, by an instance in this process.
    async fn try_out(&self, active: Active, config: String) -> Result<(), PluginFailure> {
        let (registry, name) = (self.registry.clone(), active.name.clone());
        let work = move || {
            let called = Called { name: &active.name, component: &active.component, config: Some(&config) };
            registry.loader().guests.configure(called, &active.terms.limits)
        };
        self.threads.run(work).await.unwrap_or_else(|| Err(our_fault(name)))
    }
}

#[async_trait]
impl PluginRuntime for WasmRuntime {
    async fn run_with(
        &self,
        chain: &[PluginUse],
        payload: PayloadId,
        document: Bytes,
        fetched: Arc<Fetched>,
    ) -> ChainOutcome {
        let Some(first) = chain.first().map(|plugin| plugin.name.clone()) else {
            return ChainOutcome::Send(crate::model::payload::Body::json(document));
        };
        let (registry, snapshots, chain) = (self.registry.clone(), self.snapshots.clone(), chain.to_vec());
        let health = self.health.clone();
        let work = move || {
            let links = chain.iter().map(|plugin| link(&registry, &snapshots, plugin)).collect();
            let context = chain::Context { payload, guests: &registry.loader().guests, health: &health };
            chain::run(links, document, fetched, context)
        };
        self.threads.run(work).await.unwrap_or_else(|| ChainOutcome::Held(our_fault(first)))
    }

    async fn check(&self, plugin: &PluginUse) -> Result<Stages, PluginFailure> {
        let (registry, snapshots) = (self.registry.clone(), self.snapshots.clone());
        let (name, config) = (plugin.name.clone(), plugin.config.to_string());
        let work = move || {
            let active = registry.find(&name)?;
            let prepared = snapshots.prepare(&active, &config);
            Ok((active, config, prepared))
        };
        let prepared = self.checks.run(work).await;
        let (active, config, prepared) = prepared.unwrap_or_else(|| Err(our_fault(plugin.name.clone())))?;
        let stages = active.component.exports.stages();
        match prepared {
            Ok(()) => {}
            Err(Unmade::Failed(failure)) => return Err(failure),
            // The snapshot may have failed before the plugin was asked: it is asked as payloads will ask it.
            Err(_) => self.try_out(active, config).await?,
        }
        Ok(stages)
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        let mut listed = self.registry.list();
        for plugin in &mut listed {
            let Ok(name) = plugin.name.parse() else { continue };
            plugin.failures = self.health.failure_count(&name);
            if plugin.hash.is_some()
                && let Ok(active) = self.registry.find(&name)
            {
                let key = active.key(None);
                plugin.per_instance = self.snapshots.unfit(&key);
                plugin.quarantines = self.health.quarantines(&key);
            }
        }
        listed
    }

    fn failures(&self, plugin: &PluginName) -> Vec<FailureRecord> {
        self.health.failures(plugin)
    }

    fn readiness(&self, plugin: &PluginUse) -> Readiness {
        let Ok(active) = self.registry.find(&plugin.name) else { return Readiness::Unready };
        let config = plugin.config.to_string();
        self.health.readiness(&active.key(Some(&config)))
    }

    fn has_quarantines(&self) -> bool {
        self.health.has_quarantines()
    }
}

fn link(registry: &Registry, snapshots: &Arc<Snapshots>, plugin: &PluginUse) -> Link {
    let config = plugin.config.to_string();
    let found = registry.find(&plugin.name).map(|active| {
        let key = active.key(Some(&config));
        (active, key)
    });
    let snapshot = found.as_ref().ok().and_then(|(active, key)| snapshots.at_hand(active, &config, *key));
    Link { found, snapshot, config, on_error: plugin.on_error }
}

fn our_fault(plugin: PluginName) -> PluginFailure {
    let message = "the host failed while it ran the plugin; its log has the cause".to_owned();
    PluginFailure { plugin, export: "load".to_owned(), kind: PluginFailureKind::Load, message }
}
