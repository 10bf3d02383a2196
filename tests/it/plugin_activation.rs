//! What a new file has to do before it becomes active, and what stays where it does not.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use runhook::plugin::{CacheSettings, ChainOutcome, PluginInfo, PluginRuntime, RuntimeSettings, WasmRuntime};
use runhook_test_guests as guests;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::host_process::BINARY;
use crate::support::plugin_cache;
use crate::support::waiting::PATIENCE;

const PAYLOAD: &[u8] = br#"{"rule_id":"r","runs":[{"id":"1","name":"a","status":"error","total_tokens":2}]}"#;

/// A runtime over a directory in which one plugin, `plugin`, is used with some configurations.
struct Scene {
    runtime: WasmRuntime,
    file: PathBuf,
    in_use: Arc<Mutex<Vec<Value>>>,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn of(component: &str, in_use: Value) -> Self {
        Self::on(plugin_cache::settings(), component, in_use)
    }

    /// For what depends on what was done before.
    fn anew(component: &str, in_use: Value) -> Self {
        Self::on(RuntimeSettings::default(), component, in_use)
    }

    fn on(settings: RuntimeSettings, component: &str, in_use: Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plugin.wasm");
        fs::copy(component, &file).unwrap();
        let in_use = Arc::new(Mutex::new(in_use.as_array().unwrap().clone()));
        let asked = in_use.clone();
        let settings = RuntimeSettings {
            directory: Some(folder.path().to_owned()),
            program: Some(BINARY.into()),
            in_use: Arc::new(
                move |name| {
                    if name.as_str() == "plugin" { asked.lock().unwrap().clone() } else { Vec::new() }
                },
            ),
            ..settings
        };
        Self { runtime: WasmRuntime::start(settings).unwrap(), file, in_use, _folder: folder }
    }

    /// Copies a newer file in, and waits for what becomes of it.
    fn replaced(&self, component: &str) -> PluginInfo {
        let (before, next) = (self.info(), self.file.with_extension("part"));
        fs::copy(component, &next).unwrap();
        fs::rename(next, &self.file).unwrap();
        self.other_than(&before)
    }

    /// Waits for what becomes of it.
    fn other_than(&self, before: &PluginInfo) -> PluginInfo {
        let begun = Instant::now();
        loop {
            let info = self.info();
            if info.hash != before.hash || info.error != before.error {
                return info;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing becomes of it: {info:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn info(&self) -> PluginInfo {
        self.runtime.plugins().into_iter().find(|plugin| plugin.name == "plugin").unwrap()
    }
}

#[test]
fn a_file_that_breaks_down_is_not_activated_and_the_one_of_before_stays() {
    let scene = Scene::of(guests::KEEPS_EVEN, json!([{}]));
    let before = scene.info();
    assert_eq!((&before.error, &before.warning), (&None, &None));
    for (guest, says) in [
        (guests::PANICS, "panics.rs:7:5: no idea what to do with 2 runs (in panics::apply)"),
        (guests::ENDLESS_LOOP, "CPU time of 50 ms"),
        (guests::PANICS_IN_CONFIGURE, "panics_in_configure.rs"),
        (guests::PROCESS_EXIT, "ended its process"),
    ] {
        let refused = scene.replaced(guest);
        let error = refused.error.unwrap();
        println!("{error}\n");
        assert!(
            error.starts_with("it breaks down on a payload of two small runs: plugin `plugin` failed in `"),
            "{error}"
        );
        assert!(error.contains(says), "{error}");
        assert_eq!(refused.hash, before.hash);
    }
    let good = scene.replaced(guests::COUNTS_CALLS);
    assert_eq!(good.error, None, "the next one that works is active");
    assert_ne!(good.hash, before.hash);
}

#[test]
fn a_file_that_does_not_take_a_configuration_in_use_is_not_activated() {
    let scene = Scene::of(guests::RENAMES, json!([{"name": "one"}, {"name": "two"}]));
    let before = scene.info();
    let refused = scene.replaced(guests::REFUSES_CONFIG);
    let error = refused.error.unwrap();
    println!("{error}");
    assert!(error.starts_with("it does not take a configuration that a rule uses it with: "), "{error}");
    assert!(error.contains("give the file another name"), "{error}");
    assert_eq!(refused.hash, before.hash);
    let refused = scene.info();
    *scene.in_use.lock().unwrap() = vec![json!({"word": "please"})];
    let taken = scene.other_than(&refused);
    assert_eq!(taken.error, None, "the rules were mended");
    assert_ne!(taken.hash, before.hash);
}

#[test]
fn what_no_rule_uses_may_refuse_an_empty_configuration_and_an_error_in_words_is_an_answer() {
    let unused = Scene::of(guests::KEEPS_EVEN, json!([])).replaced(guests::REFUSES_CONFIG);
    assert_eq!((unused.error, unused.warning), (None, None));
    let refuses = Scene::of(guests::KEEPS_EVEN, json!([{}])).replaced(guests::REFUSES_PAYLOAD);
    assert_eq!((refuses.error, refuses.warning), (None, None));
}

#[test]
fn at_the_start_there_is_nothing_else_and_what_fails_is_active_with_a_warning() {
    let trap = Scene::anew(guests::PANICS, json!([{}])).info();
    assert!(trap.hash.is_some() && trap.error.is_none());
    assert!(trap.warning.unwrap().contains("breaks down"));
    let configuration = Scene::anew(guests::REFUSES_CONFIG, json!([{"word": "please"}, {"word": "now"}])).info();
    assert!(configuration.hash.is_some() && configuration.error.is_none());
    assert!(configuration.warning.unwrap().contains("say please"));
}

#[test]
fn what_was_refused_or_failed_before_is_active_with_a_warning_at_every_start() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CacheSettings { folder: folder.path().join("cache"), key: Zeroizing::new([7; 32]) };
    let start = |component| {
        Scene::on(RuntimeSettings { cache: Some(cache.clone()), ..RuntimeSettings::default() }, component, json!([{}]))
    };
    let first = start(guests::KEEPS_EVEN);
    assert!(first.replaced(guests::PANICS).error.unwrap().contains("breaks down"));
    for guest in [guests::PANICS, guests::PANICS] {
        assert!(start(guest).info().warning.unwrap().contains("breaks down"));
    }
    assert_eq!(start(guests::KEEPS_EVEN).info().warning, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_ready_when_a_file_becomes_active() {
    let scene = Scene::anew(guests::KEEPS_EVEN, json!([{"name": "one"}, {"name": "one"}]));
    assert_eq!(scene.replaced(guests::RENAMES).error, None);
    let before = scene.runtime.work_done();
    let used = serde_json::from_value(json!({"name": "plugin", "config": {"name": "one"}})).unwrap();
    let outcome = scene.runtime.run(&[used], Bytes::from_static(PAYLOAD)).await;
    assert!(matches!(outcome, ChainOutcome::Send(_)), "{outcome:?}");
    let after = scene.runtime.work_done();
    assert_eq!((after.children, after.compiled), (before.children, before.compiled), "nothing was left to be made");
}

#[test]
fn a_warm_start_of_a_hundred_plugins_starts_no_child() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("plugins");
    fs::create_dir(&directory).unwrap();
    for number in 0..100 {
        let guest = [guests::KEEPS_EVEN, guests::RENAMES, guests::REFUSES_CONFIG][number % 3];
        fs::copy(guest, directory.join(format!("plugin-{number}.wasm"))).unwrap();
    }
    let start = || {
        let key = Zeroizing::new([7; 32]);
        let cache = CacheSettings { folder: folder.path().join("cache"), key };
        let is_renames = |name: &str| name.trim_start_matches("plugin-").parse::<usize>().is_ok_and(|n| n % 3 == 1);
        let settings = RuntimeSettings {
            directory: Some(directory.clone()),
            program: Some(BINARY.into()),
            cache: Some(cache),
            in_use: Arc::new(
                move |name| {
                    if is_renames(name.as_str()) { vec![json!({"name": "n"})] } else { Vec::new() }
                },
            ),
            ..RuntimeSettings::default()
        };
        let begun = Instant::now();
        let runtime = WasmRuntime::start(settings).unwrap();
        let took = begun.elapsed();
        assert!(runtime.plugins().iter().all(|plugin| plugin.error.is_none() && plugin.warning.is_none()));
        (runtime.work_done(), took)
    };
    let (_, cold) = start();
    let (warm_work, warm) = start();
    println!("cold {cold:?}, warm {warm:?}");
    assert_eq!((warm_work.children, warm_work.compiled), (0, 0), "{warm_work:?}");
    assert!(warm < Duration::from_secs(5), "{warm:?}");
}
