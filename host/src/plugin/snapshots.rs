//! Which payloads start from a snapshot, and who has it made: a check waits for it, a payload never does.

pub(super) mod cache;
pub(super) mod machine_code;
pub(super) mod shelf;
pub(super) mod snapshot;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, warn};

use crate::limits::PLUGIN_CHILDREN_MAX;
use crate::plugin::pool::Threads;
use crate::plugin::registry::component::Callable;
use crate::plugin::registry::loader::Loader;
use crate::plugin::registry::{Active, PluginKey};
use crate::plugin::snapshots::shelf::{Awaited, InWork, Known, Shelf, Taken};
use crate::plugin::workshop::errand::Unmade;

pub(super) struct Snapshots {
    loader: Arc<Loader>,
    shelf: Arc<Shelf<Callable>>,
    /// They wait for children.
    threads: Threads,
}

impl Snapshots {
    pub(super) fn start(loader: Arc<Loader>) -> io::Result<Arc<Self>> {
        let threads = Threads::start("snapshots", PLUGIN_CHILDREN_MAX)?;
        Ok(Arc::new(Self { loader, shelf: Shelf::new(), threads }))
    }

    /// What a payload starts from. Where there is none yet, one is being made, and the payload is configured by itself.
    /// `key` is that of the plugin with the configuration.
    pub(super) fn at_hand(self: &Arc<Self>, active: &Active, config: &str, key: PluginKey) -> Option<Arc<Callable>> {
        match self.shelf.take(key, active.key(None)) {
            Taken::Ready(snapshot) => Some(snapshot),
            Taken::None => None,
            Taken::Wanted(work) => {
                let (snapshots, active, config) = (self.clone(), active.clone(), config.to_owned());
                self.threads.queue(move || drop(snapshots.make(work, &active, &config)));
                None
            }
        }
    }

    /// Has the snapshot made unless it is at hand. Blocks.
    ///
    /// # Errors
    /// That the plugin fails, or why there is no snapshot, which says nothing of the configuration.
    pub(super) fn prepare(&self, active: &Active, config: &str) -> Result<(), Unmade> {
        match self.shelf.wait_for(active.key(Some(config)), active.key(None)) {
            Awaited::Ready => Ok(()),
            Awaited::Unfit(reason) => Err(Unmade::Unfit(reason)),
            Awaited::Wanted(work) => self.make(work, active, config),
        }
    }

    /// Why a plugin is configured for every payload, where it is.
    pub(super) fn unfit(&self, plugin: &PluginKey) -> Option<String> {
        self.shelf.unfit(plugin)
    }

    fn make(&self, work: InWork<Callable>, active: &Active, config: &str) -> Result<(), Unmade> {
        let plugin = &active.name;
        match self.loader.snapshot(active, config) {
            Ok(snapshot) => {
                debug!(%plugin, "payloads start from a snapshot");
                work.finish(Known::Ready(Arc::new(snapshot.callable), snapshot.bytes));
                Ok(())
            }
            Err(Unmade::Unfit(reason) | Unmade::Uncompilable(reason)) => {
                warn!(%plugin, reason, "no snapshot can be made of a plugin; it is configured for every payload");
                work.finish(Known::Unfit(reason.clone()));
                Err(Unmade::Unfit(reason))
            }
            Err(unmade) => {
                warn!(%plugin, reason = ?unmade.to_string(), "there is no snapshot of a plugin for now");
                work.finish(Known::Failed(Instant::now()));
                Err(unmade)
            }
        }
    }
}
