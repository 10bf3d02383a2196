//! Which plugins there are: those that the binary carries and the files of the directory, found by name without waiting.
//!
//! The watcher writes, everybody reads. What a chain has found stays whole for it, whatever is swapped meanwhile.

pub(super) mod activation;
pub(super) mod binary;
pub(super) mod component;
pub(super) mod loader;
pub(super) mod signature;
pub(super) mod watcher;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::model::plugin::{PluginFailure, PluginFailureKind, PluginName, Stages};
use crate::nearest::did_you_mean;
use crate::plugin::PluginInfo;
use crate::plugin::health::failures::FailureCount;
use crate::plugin::policy::Terms;
use crate::plugin::registry::component::Callable;
use crate::plugin::registry::loader::{About, Loader, Origin};
use crate::plugin::registry::signature::KeyId;

include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// A plugin that can be called.
#[derive(Clone)]
pub(super) struct Active {
    pub(super) name: PluginName,
    pub(super) component: Arc<Callable>,
    /// What it was compiled from; its snapshots are made of it.
    pub(super) bytes: Bytes,
    pub(super) about: Arc<About>,
    /// What it may use and import.
    pub(super) terms: Terms,
    /// The key of the policy's that its file is signed with.
    pub(super) signed_by: Option<KeyId>,
}

/// What names a plugin in this process, alone or with a configuration: under another name it has terms of its own, and
/// where its file was signed meanwhile it may run elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PluginKey(pub(super) blake3::Hash);

impl Active {
    /// The plugin's key, with a configuration or alone.
    pub(super) fn key(&self, config: Option<&str>) -> PluginKey {
        let (name, place) = (self.name.as_str(), [0, u8::from(self.component.apart.is_some())]);
        let mut key = blake3::Hasher::new();
        key.update(name.as_bytes()).update(&place).update(self.component.hash.as_bytes());
        if let Some(config) = config {
            key.update(b"configured").update(config.as_bytes());
        }
        PluginKey(key.finalize())
    }

    /// Whether its file is signed by somebody whom the policy knows. What comes with runhook is not: it is no file.
    pub(super) fn is_signed(&self) -> bool {
        self.signed_by.is_some()
    }
}

/// What became of a file of the directory.
#[derive(Clone, Default)]
pub(super) struct PluginFile {
    /// What is called under the file's name; the last that worked.
    pub(super) active: Option<Active>,
    /// Why the newest content is not active.
    pub(super) error: Option<String>,
    /// What it failed on, where it is active all the same.
    pub(super) warning: Option<String>,
}

/// Carried in the binary; compiled when it is first asked for. A failure is not kept: one of an overloaded machine passes.
struct BuiltIn {
    bytes: &'static [u8],
    active: OnceLock<Active>,
}

/// The files by their names, and what is active by the plugins' names.
#[derive(Clone, Default)]
struct Directory {
    files: BTreeMap<String, PluginFile>,
    active: HashMap<PluginName, Active>,
}

pub(super) struct Registry {
    loader: Arc<Loader>,
    built_in: BTreeMap<PluginName, BuiltIn>,
    directory: ArcSwap<Directory>,
}

impl Registry {
    pub(super) fn new(loader: Arc<Loader>) -> Self {
        let entry = |(name, bytes): &(&str, &'static [u8])| {
            let name: PluginName = name.parse().expect("the build script takes the crates' names");
            (name, BuiltIn { bytes, active: OnceLock::new() })
        };
        Self { loader, built_in: BUILT_IN.iter().map(entry).collect(), directory: ArcSwap::default() }
    }

    pub(super) fn loader(&self) -> &Loader {
        &self.loader
    }

    /// Whether the policy knows keys by which files may be signed.
    pub(super) fn has_signers(&self) -> bool {
        self.loader.policy.signers.has_keys()
    }

    /// The plugin of that name, or why there is none. Compiles a built-in plugin the first time.
    pub(super) fn find(&self, name: &PluginName) -> Result<Active, PluginFailure> {
        let failed = |kind, message| PluginFailure { plugin: name.clone(), export: "load".to_owned(), kind, message };
        if let Some(built_in) = self.built_in.get(name) {
            return self.built_in(name, built_in).map_err(|error| failed(PluginFailureKind::Load, error));
        }
        let directory = self.directory.load();
        if let Some(active) = directory.active.get(name) {
            return Ok(active.clone());
        }
        let broken = directory.files.iter().find(|(file, _)| plugin_name(file).as_ref() == Ok(name));
        match broken.and_then(|(file, found)| found.error.as_ref().map(|error| format!("{file}: {error}"))) {
            Some(message) => Err(failed(PluginFailureKind::Load, message)),
            None => Err(failed(PluginFailureKind::Missing, self.missing(name, &directory))),
        }
    }

    /// Two who ask first at the same time both compile; one of the results stays.
    fn built_in(&self, name: &PluginName, built_in: &BuiltIn) -> Result<Active, String> {
        if let Some(active) = built_in.active.get() {
            return Ok(active.clone());
        }
        let loaded = self.loader.load(name, Bytes::from_static(built_in.bytes), Origin::BuiltIn)?;
        Ok(built_in.active.get_or_init(|| loaded).clone())
    }

    /// Of all that can be called, the built-in ones included.
    pub(super) fn names(&self) -> Vec<PluginName> {
        self.built_in.keys().chain(self.directory.load().active.keys()).cloned().collect()
    }

    fn missing(&self, name: &PluginName, directory: &Directory) -> String {
        let names = self.built_in.keys().chain(directory.active.keys()).map(PluginName::as_str);
        format!("there is no plugin of that name{}", did_you_mean(name.as_str(), names))
    }

    /// The plugin's name for a file, unless a built-in plugin or another file has it.
    pub(super) fn free_name(&self, file: &str) -> Result<PluginName, String> {
        let name = name_beside_built_in(file)?;
        let directory = self.directory.load();
        let is_taken = |(other, found): &(&String, &PluginFile)| {
            other.as_str() != file && found.active.as_ref().is_some_and(|active| active.name == name)
        };
        match directory.files.iter().find(is_taken) {
            Some((other, _)) => Err(format!("`{other}` is called `{name}` already; rename one of them")),
            None => Ok(name),
        }
    }

    /// Whether the file's newest content is what is called.
    pub(super) fn is_active(&self, file: &str) -> bool {
        self.directory.load().files.get(file).is_some_and(|found| found.error.is_none())
    }

    /// Activates, replaces or marks a file, at once for everybody.
    pub(super) fn put(&self, file: &str, loaded: Result<(Active, Option<String>), String>) {
        self.change(|directory| {
            let entry = directory.files.entry(file.to_owned()).or_default();
            match loaded {
                Ok((active, warning)) => *entry = PluginFile { active: Some(active), error: None, warning },
                Err(error) => entry.error = Some(error),
            }
        });
    }

    pub(super) fn remove(&self, file: &str) {
        self.change(|directory| drop(directory.files.remove(file)));
    }

    /// Only the watcher's thread writes, so that nothing is lost between load and store.
    fn change(&self, edit: impl FnOnce(&mut Directory)) {
        let mut directory = Directory::clone(&self.directory.load());
        edit(&mut directory);
        let active = directory.files.values().filter_map(|file| file.active.clone());
        directory.active = active.map(|active| (active.name.clone(), active)).collect();
        self.directory.store(Arc::new(directory));
    }

    pub(super) fn list(&self) -> Vec<PluginInfo> {
        let built_in = self.built_in.keys().map(|name| {
            let found = self.find(name);
            let error = found.as_ref().err().map(|failure| failure.message.clone());
            info(name.to_string(), None, found.ok().as_ref(), error)
        });
        let directory = self.directory.load();
        let files = directory.files.iter().map(|(file, found)| {
            let name = plugin_name(file).map_or_else(|_| stem(file).to_owned(), String::from);
            let info = info(name, Some(file.clone()), found.active.as_ref(), found.error.clone());
            PluginInfo { warning: found.warning.clone(), ..info }
        });
        let mut all: Vec<_> = built_in.chain(files).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// What is shown of a plugin.
pub(super) fn info(name: String, file: Option<String>, active: Option<&Active>, error: Option<String>) -> PluginInfo {
    PluginInfo {
        name,
        is_built_in: file.is_none(),
        file,
        hash: active.map(|active| active.component.hash.clone()),
        stages: active.map_or_else(Stages::default, |active| active.component.exports.stages()),
        description: active.map(|active| active.about.description.clone()).unwrap_or_default(),
        version: active.map(|active| active.about.version.clone()).unwrap_or_default(),
        config_schema: active.and_then(|active| active.about.config_schema.clone()),
        per_instance: None,
        signed_by: active.and_then(|active| active.signed_by).map(|key| key.to_string()),
        failures: FailureCount::default(),
        quarantines: Vec::new(),
        error,
        warning: None,
    }
}

/// The component of a plugin that the binary carries.
pub(super) fn built_in(name: &str) -> Option<Bytes> {
    BUILT_IN.iter().find(|(built_in, _)| *built_in == name).map(|(_, bytes)| Bytes::from_static(bytes))
}

fn stem(file: &str) -> &str {
    file.strip_suffix(".wasm").unwrap_or(file)
}

/// A file's stem, `_` read as `-`.
pub(super) fn plugin_name(file: &str) -> Result<PluginName, String> {
    stem(file).parse().map_err(|error| format!("{error}; rename the file"))
}

/// As [`plugin_name`], refused where a built-in plugin has the name.
pub(super) fn name_beside_built_in(file: &str) -> Result<PluginName, String> {
    let name = plugin_name(file)?;
    if BUILT_IN.iter().any(|(built_in, _)| *built_in == name.as_str()) {
        return Err(format!("a built-in plugin is called `{name}`; rename the file"));
    }
    Ok(name)
}
