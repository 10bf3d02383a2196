//! The promise to plugins: what was compiled at a release of the contract runs as it did then, and a released contract
//! stays as it is, to the letter. The folders are explained in tests/compat/README.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host_process::BINARY;
use crate::support::plugin_cache;
use runhook::model::plugin::PluginUse;
use runhook::plugin::{ChainOutcome, PluginLimits, PluginPolicy, PluginRuntime, RuntimeSettings, WasmRuntime};
use serde_json::{Value, json};

const SUMS: &str = "FROZEN.b3";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// One for each released version.
fn folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/compat")).unwrap();
    let folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert!(!folders.is_empty());
    folders
}

/// Text of a file, by its name.
fn read(folder: &Path, file: &str) -> String {
    let path = folder.join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A line for each file, in the form of b3sum.
fn sums(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeMap<_, _> = files.map(|path| (path.file_name().unwrap().to_owned(), path)).collect();
    let line = |path: &Path| format!("{}  {}\n", blake3::hash(&fs::read(path).unwrap()), file_name(path));
    files.values().filter(|path| file_name(path) != SUMS).map(|path| line(path)).collect()
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// What each plugin of a folder makes of the folder's payload, by the plugin's file.
async fn sent(folder: &Path) -> BTreeMap<String, String> {
    let configs: BTreeMap<String, Value> = serde_json::from_str(&read(folder, "configs.json")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for file in configs.keys() {
        // Beside the plugin of that name in the binary.
        let (from, to) = (folder.join(file), directory.path().join(format!("old_{file}")));
        fs::copy(from.with_extension("wasm"), to.with_extension("wasm")).unwrap();
    }
    // What is looked at is not how fast a busy machine is.
    let limits = PluginLimits { cpu_base: Duration::from_secs(10), ..PluginLimits::default() };
    let settings = RuntimeSettings {
        directory: Some(directory.path().to_owned()),
        policy: PluginPolicy::with_limits(limits),
        program: Some(BINARY.into()),
        ..plugin_cache::settings()
    };
    let runtime = WasmRuntime::start(settings).unwrap();
    let mut sent = BTreeMap::new();
    for (file, config) in configs {
        let used = json!({"name": format!("old-{}", file.replace('_', "-")), "config": config});
        let used: PluginUse = serde_json::from_value(used).unwrap();
        let outcome = runtime.run(&[used], read(folder, "payload.json").into()).await;
        let ChainOutcome::Send(body) = outcome else { panic!("{file} of {}: {outcome:?}", folder.display()) };
        let headers = body.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>();
        let text = String::from_utf8(body.bytes.to_vec()).unwrap();
        sent.insert(file, format!("content-type: {}\n{headers}\n{text}", body.content_type));
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_any_release_does_what_it_did_then() {
    for folder in folders() {
        for (file, sent) in sent(&folder).await {
            assert_eq!(sent, read(&folder, &format!("{file}.sent")), "{file} of {}", folder.display());
        }
    }
}

#[test]
fn a_released_contract_does_not_change() {
    for folder in folders() {
        assert_eq!(sums(&folder), read(&folder, SUMS), "{} is frozen; see wit/README.md", folder.display());
    }
    let current = read(&root(), "wit/plugin.wit");
    let package = current.lines().find_map(|line| line.strip_prefix("package runhook:plugin@"));
    let version = package.expect("the contract has a version").trim_end_matches(';');
    let released = root().join("tests/compat").join(version);
    if released.is_dir() {
        let is_same = current == read(&released, "plugin.wit");
        assert!(is_same, "wit/plugin.wit has changed, and {version} is frozen; see wit/README.md");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fills the folder of a new release; see tests/compat/README.md"]
async fn record() {
    for folder in folders().into_iter().filter(|folder| !folder.join(SUMS).exists()) {
        for (file, sent) in sent(&folder).await {
            fs::write(folder.join(format!("{file}.sent")), sent).unwrap();
        }
        fs::write(folder.join(SUMS), sums(&folder)).unwrap();
    }
}
