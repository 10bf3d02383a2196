//! The runtime in this process: the registry, the watcher and the guests' threads behind the [`PluginRuntime`] seam.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;

use crate::model::plugin::{PluginFailure, PluginFailureKind, PluginName, PluginUse, Stages};
use crate::plugin::call::{Called, configure};
use crate::plugin::chain::{self, Link};
use crate::plugin::limits::PluginLimits;
use crate::plugin::loader::Loader;
use crate::plugin::pool::GuestThreads;
use crate::plugin::registry::Registry;
use crate::plugin::watcher::Watcher;
use crate::plugin::{ChainOutcome, Fetched, PluginInfo, PluginRuntime};

/// What the runtime works with.
#[derive(Clone, Debug, Default)]
pub struct RuntimeSettings {
    /// Where plugins are dropped; none for the built-in ones alone.
    pub directory: Option<PathBuf>,
    /// What each plugin may use for each payload.
    pub limits: PluginLimits,
}

/// Runs guests with wasmtime on threads of its own.
pub struct WasmRuntime {
    registry: Arc<Registry>,
    threads: GuestThreads,
}

impl WasmRuntime {
    /// Loads what is in the directory, which is made where there is none, and watches it from then on. Blocks while it
    /// compiles.
    ///
    /// # Errors
    /// That the directory cannot be made or read, or that the machine has no threads or memory for guests.
    pub fn start(settings: RuntimeSettings) -> anyhow::Result<Self> {
        let registry = Arc::new(Registry::new(Loader::new(settings.limits)?));
        if let Some(directory) = &settings.directory {
            let watcher = fs::create_dir_all(directory)
                .and_then(|()| Watcher::begin(directory, &registry))
                .with_context(|| format!("cannot read the plugin directory {}", directory.display()))?;
            watcher.watch(&registry)?;
        }
        Ok(Self { registry, threads: GuestThreads::start()? })
    }
}

#[async_trait]
impl PluginRuntime for WasmRuntime {
    async fn run_with(&self, chain: &[PluginUse], document: Bytes, fetched: Arc<Fetched>) -> ChainOutcome {
        let Some(first) = chain.first().map(|plugin| plugin.name.clone()) else {
            return ChainOutcome::Send(crate::model::payload::Body::json(document));
        };
        let (registry, chain) = (self.registry.clone(), chain.to_vec());
        let work = move || {
            let links = chain.iter().map(|plugin| link(&registry, plugin)).collect();
            let _running = registry.loader().running();
            chain::run(links, document, fetched, &registry.loader().limits)
        };
        self.threads.run(work).await.unwrap_or_else(|| ChainOutcome::Held(our_fault(first)))
    }

    async fn check(&self, plugin: &PluginUse) -> Result<Stages, PluginFailure> {
        let (registry, plugin) = (self.registry.clone(), plugin.clone());
        let name = plugin.name.clone();
        let work = move || {
            let active = registry.find(&plugin.name)?;
            let config = plugin.config.to_string();
            let called = Called { name: &active.name, component: &active.component, config: &config };
            let _running = registry.loader().running();
            configure(called, &registry.loader().limits)?;
            Ok(active.component.exports.stages())
        };
        self.threads.run(work).await.unwrap_or_else(|| Err(our_fault(name)))
    }

    fn plugins(&self) -> Vec<PluginInfo> {
        self.registry.list()
    }
}

fn link(registry: &Registry, plugin: &PluginUse) -> Link {
    Link { found: registry.find(&plugin.name), config: plugin.config.to_string(), on_error: plugin.on_error }
}

fn our_fault(plugin: PluginName) -> PluginFailure {
    let message = "the host failed while it ran the plugin; its log has the cause".to_owned();
    PluginFailure { plugin, export: "load".to_owned(), kind: PluginFailureKind::Load, message }
}
