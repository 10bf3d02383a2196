//! Makes plugins out of bytes: has them compiled, or finds them compiled, and asks them what they say of themselves.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::Deserialize;
use tracing::warn;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::model::plugin::{PluginFailureKind, PluginName};
use crate::plugin::RuntimeSettings;
use crate::plugin::guests::Guests;
use crate::plugin::limits::PluginLimits;
use crate::plugin::policy::{Grants, Isolation, PluginPolicy, Terms};
use crate::plugin::pool::on_own_thread;
use crate::plugin::registry::Active;
use crate::plugin::registry::component::{self, Callable, Refusal};
use crate::plugin::registry::signature::{KeyId, SignatureError};
use crate::plugin::sandbox::Sandbox;
use crate::plugin::sandbox::call::Called;
use crate::plugin::sandbox::engine::{Ticker, engine};
use crate::plugin::sandbox::linker::linker;
use crate::plugin::sandbox::output_ring::printable;
use crate::plugin::snapshots::cache::Cache;
use crate::plugin::snapshots::machine_code::{Label, MachineCode, SharedCode};
use crate::plugin::workshop::Workshop;
use crate::plugin::workshop::errand::{Configuration, Unmade, compile};

/// Bytes of what a plugin says of itself: it is kept and listed, and a schema of this size nobody reads.
const ABOUT_BYTES_MAX: usize = 256 * 1024;

/// How a component that could not be compiled has another try.
const TRY_AGAIN: &str = "it is tried again when the file changes, or without cache/plugins of the data directory";

/// What a plugin says of itself, as the contract's `describe` answers it.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::plugin) struct About {
    #[serde(default)]
    pub(in crate::plugin) description: String,
    #[serde(default)]
    pub(in crate::plugin) version: String,
    #[serde(default)]
    pub(in crate::plugin) config_schema: Option<serde_json::Value>,
}

/// Where a component comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum Origin<'a> {
    /// The binary: it is compiled in this process, which is quicker and needs no child.
    BuiltIn,
    /// A file, by whoever wrote it, with what stands in the signature beside it.
    File {
        /// None where there is no signature.
        signature: Option<&'a [u8]>,
    },
}

/// Where a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In this process.
    Here,
    /// In processes of its own.
    Apart,
}

/// A component that this process knows, and what others load where it runs apart.
struct Compiled {
    component: Component,
    shared: Option<SharedCode>,
    bytes: usize,
}

/// A plugin that has been configured, and the bytes that its machine code takes.
pub(in crate::plugin) struct Snapshot {
    pub(in crate::plugin) callable: Callable,
    pub(in crate::plugin) bytes: usize,
}

/// What was done to have plugins ready, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkDone {
    /// Child processes that were started.
    pub children: u64,
    /// Processes that were started for plugins to run in.
    pub guest_processes: u64,
    /// Components that were compiled, snapshots included.
    pub compiled: u64,
    /// Compiled components that were found in the cache.
    pub found: u64,
}

/// The engine with what is linked to guests. Cheap to call from any thread.
pub(in crate::plugin) struct Loader {
    engine: Engine,
    linker: Linker<Sandbox>,
    /// How guests are called.
    pub(in crate::plugin) guests: Guests,
    workshop: Workshop,
    cache: Option<Cache>,
    /// All that machine code depends on beside the component.
    settings: blake3::Hash,
    compiled: AtomicU64,
    found: AtomicU64,
    pub(in crate::plugin) policy: PluginPolicy,
}

impl Loader {
    pub(in crate::plugin) fn new(settings: &RuntimeSettings) -> anyhow::Result<Self> {
        let policy = settings.policy.clone();
        let engine = engine(&policy.largest()).map_err(cannot_start)?;
        let linker = linker(&engine).map_err(cannot_start)?;
        let guests = Guests::new(Ticker::start(&engine)?, settings.program.clone());
        let workshop = Workshop::new(settings.program.clone());
        let cache = settings.cache.clone().and_then(|cache| {
            let folder = cache.folder.clone();
            let no_cache = |error| warn!(folder = %folder.display(), %error, "cannot use the plugin cache: plugins are compiled at every start");
            Cache::open(cache).map_err(no_cache).ok()
        });
        let settings = digest(&engine);
        let (compiled, found) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { engine, linker, guests, workshop, cache, settings, compiled, found, policy })
    }

    pub(in crate::plugin) fn work_done(&self) -> WorkDone {
        WorkDone {
            children: self.workshop.children(),
            guest_processes: self.guests.processes_started(),
            compiled: self.compiled.load(Ordering::Relaxed),
            found: self.found.load(Ordering::Relaxed),
        }
    }

    /// Compiles and describes; in words why not. A file's signature comes first: until it is verified, nothing of the
    /// file is looked at.
    pub(in crate::plugin) fn load(
        &self,
        name: &PluginName,
        bytes: Bytes,
        origin: Origin<'_>,
    ) -> Result<Active, String> {
        let signed_by = self.signed_by(&bytes, origin).map_err(|error| error.to_string())?;
        let mut terms = self.policy.of(name).clone();
        terms.isolation = terms.isolation.of(signed_by.is_some());
        let component = self.component(&bytes, origin, &terms).map_err(|refusal| refusal.to_string())?;
        let about = self.about(name, &component, &terms.limits)?.into();
        Ok(Active { name: name.clone(), component: component.into(), bytes, about, terms, signed_by })
    }

    fn signed_by(&self, bytes: &[u8], origin: Origin<'_>) -> Result<Option<KeyId>, SignatureError> {
        match origin {
            Origin::BuiltIn => Ok(None),
            Origin::File { signature } => Ok(self.policy.signers.verify(bytes, signature)?.map(|signed| signed.by)),
        }
    }

    /// Whether this host has tried the plugin before, and it was well.
    pub(in crate::plugin) fn has_passed(&self, plugin: &Active) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.get(&self.passed(plugin)).is_some())
    }

    /// Keeps that it was.
    pub(in crate::plugin) fn remember_passed(&self, plugin: &Active) {
        if let Some(cache) = &self.cache {
            cache.put(&self.passed(plugin), b"");
        }
    }

    /// Of a plugin by its name: under another one it may have other limits.
    fn passed(&self, plugin: &Active) -> Label {
        self.label_of(&plugin.component.hash, b"passed", plugin.name.as_str())
    }

    /// Out of the cache, else asked and kept: a start calls no guest that it has called before.
    fn about(&self, name: &PluginName, component: &Callable, limits: &PluginLimits) -> Result<About, String> {
        let label = self.label_of(&component.hash, b"described", "");
        if let Some(kept) = self.cache.as_ref().and_then(|cache| cache.get(&label)) {
            return about(&String::from_utf8_lossy(&kept.into_bytes()));
        }
        let called = Called { name, component, config: None };
        let describe = || on_own_thread(|| self.guests.describe(called, limits));
        // A busy machine must not refuse an honest plugin: payloads would be held for it.
        let described = match describe() {
            Err(failure) if failure.kind == PluginFailureKind::Deadline => describe(),
            other => other,
        };
        let json = described.map_err(|failure| failure.to_string())?;
        let about = about(&json)?;
        if let Some(cache) = &self.cache {
            cache.put(&label, json.as_bytes());
        }
        Ok(about)
    }

    fn component(&self, bytes: &[u8], origin: Origin<'_>, terms: &Terms) -> Result<Callable, Refusal> {
        let max = terms.limits.file_bytes;
        if bytes.len() as u64 > max {
            return Err(Refusal::too_large(bytes.len() as u64, max));
        }
        component::check_preamble(bytes)?;
        let hash = component::hash(bytes);
        let compile = || match origin {
            Origin::BuiltIn => compile(&self.engine, bytes),
            Origin::File { .. } => self.compiled_once(&hash, bytes),
        };
        let place = self.place(origin, terms);
        let compiled = self.compiled(&self.label(&hash, None), place, compile);
        let compiled = compiled.map_err(|unmade| Refusal::Damaged(unmade.to_string()))?;
        self.callable(compiled, hash, terms.grants)
    }

    /// A component that cannot be compiled is not tried again, since each start would wait for it.
    fn compiled_once(&self, hash: &str, bytes: &[u8]) -> Result<MachineCode, Unmade> {
        let label = self.label_of(hash, b"uncompilable", "");
        if let Some(kept) = self.cache.as_ref().and_then(|cache| cache.get(&label)) {
            let words = String::from_utf8_lossy(&kept.into_bytes()).into_owned();
            return Err(Unmade::Uncompilable(format!("{words} (as an earlier start found; {TRY_AGAIN})")));
        }
        let made = self.workshop.compile(&self.engine, bytes);
        if let (Err(Unmade::Uncompilable(words)), Some(cache)) = (&made, &self.cache) {
            cache.put(&label, words.as_bytes());
        }
        made
    }

    /// A plugin as it is once it is configured. Blocks.
    ///
    /// # Errors
    /// See [`Unmade`].
    pub(in crate::plugin) fn snapshot(&self, active: &Active, config: &str) -> Result<Snapshot, Unmade> {
        let hash = &active.component.hash;
        let compile = || {
            let (plugin, config, limits) = (active.name.clone(), config.to_owned(), active.terms.limits);
            let snapshot = self
                .workshop
                .snapshot(&active.bytes, Configuration { plugin, config, limits, grants: active.terms.grants })?;
            self.workshop.compile(&self.engine, &snapshot)
        };
        let place = if active.component.apart.is_some() { Place::Apart } else { Place::Here };
        let compiled = self.compiled(&self.label(hash, Some(config)), place, compile)?;
        let bytes = compiled.bytes;
        let callable = self.callable(compiled, hash.clone(), active.terms.grants);
        let callable = callable.map_err(|refusal| Unmade::Unfit(refusal.to_string()))?;
        Ok(Snapshot { callable, bytes })
    }

    /// The name of a component's machine code, or of that of its snapshot.
    fn label(&self, hash: &str, config: Option<&str>) -> Label {
        match config {
            Some(config) => self.label_of(hash, b"configured", config),
            None => self.label_of(hash, b"as it came", ""),
        }
    }

    fn label_of(&self, hash: &str, what: &[u8], config: &str) -> Label {
        let mut label = blake3::Hasher::new();
        label.update(self.settings.as_bytes()).update(hash.as_bytes()).update(what).update(config.as_bytes());
        Label(label.finalize())
    }

    /// Out of the cache, else compiled and kept.
    fn compiled(
        &self,
        label: &Label,
        place: Place,
        compile: impl FnOnce() -> Result<MachineCode, Unmade>,
    ) -> Result<Compiled, Unmade> {
        if let Some(found) = self.cache.as_ref().and_then(|cache| self.found(cache, label, place)) {
            self.found.fetch_add(1, Ordering::Relaxed);
            return Ok(found);
        }
        let code = compile()?;
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let compiled = self.loaded(&code, place).map_err(|error| Unmade::Uncompilable(component::one_line(&error)))?;
        if let Some(cache) = &self.cache {
            cache.put(label, code.as_bytes());
        }
        Ok(compiled)
    }

    fn found(&self, cache: &Cache, label: &Label, place: Place) -> Option<Compiled> {
        let code = MachineCode::of_seal(cache.get(label)?);
        match self.loaded(&code, place) {
            Ok(compiled) => Some(compiled),
            Err(error) => {
                cache.forget(label, &component::one_line(&error));
                None
            }
        }
    }

    fn loaded(&self, code: &MachineCode, place: Place) -> wasmtime::Result<Compiled> {
        let (component, shared) = match place {
            Place::Here => (code.load(&self.engine)?, None),
            Place::Apart => code.share(&self.engine).map(|(component, shared)| (component, Some(shared)))?,
        };
        Ok(Compiled { component, shared, bytes: code.len() })
    }

    fn callable(&self, compiled: Compiled, hash: String, grants: Grants) -> Result<Callable, Refusal> {
        let linked = component::link(&self.engine, &self.linker, &compiled.component, grants)?;
        Ok(match compiled.shared {
            Some(code) => Callable::apart(linked, hash, code),
            None => Callable::here(linked, hash),
        })
    }

    /// What comes with the binary is ours, and runs in this process.
    fn place(&self, origin: Origin<'_>, terms: &Terms) -> Place {
        let is_file = matches!(origin, Origin::File { .. });
        let is_apart = is_file && terms.isolation == Isolation::Process && self.guests.can_be_apart();
        if is_apart { Place::Apart } else { Place::Here }
    }
}

/// The engine's settings, wasmtime's version among them, and this host's version: it says how snapshots are made.
fn digest(engine: &Engine) -> blake3::Hash {
    struct Digest(blake3::Hasher);
    impl Hasher for Digest {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut digest = Digest(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut digest);
    env!("CARGO_PKG_VERSION").hash(&mut digest);
    digest.0.finalize()
}

/// What a plugin's `describe` answered, taken apart.
fn about(json: &str) -> Result<About, String> {
    if json.len() > ABOUT_BYTES_MAX {
        let (kib, max) = (json.len().div_ceil(1024), ABOUT_BYTES_MAX / 1024);
        return Err(format!("its description, schema included, is {kib} KiB long; a plugin may have {max} KiB"));
    }
    let about: About =
        serde_json::from_str(json).map_err(|error| format!("its description is no valid JSON: {error}"))?;
    // They go to terminals.
    let (description, version) = (printable(&about.description), printable(&about.version));
    Ok(About { description, version, ..about })
}

fn cannot_start(error: wasmtime::Error) -> anyhow::Error {
    anyhow::anyhow!("the sandbox cannot start: {error:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_bounded() {
        let described = |bytes: usize| about(&format!(r#"{{"description":"{}"}}"#, "x".repeat(bytes)));
        assert_eq!(described(10).unwrap().description.len(), 10);
        assert!(described(ABOUT_BYTES_MAX).unwrap_err().contains("a plugin may have 256 KiB"));
    }

    #[test]
    fn what_terminals_obey_is_shown() {
        let about = about(r#"{"description":"a\u001b[31mb\n\u009bc","version":"1\u0007"}"#).unwrap();
        assert_eq!((about.description.as_str(), about.version.as_str()), ("a\\u{1b}[31mb\n\\u{9b}c", "1\\u{7}"));
    }
}
