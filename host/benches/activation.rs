//! How long it takes until plugins are ready: one that is new, one that was compiled before, and a hundred of them.
//!
//! A test run takes a tenth of the plugins.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use runhook::model::plugin::PluginUse;
use runhook::plugin::{CacheSettings, PluginRuntime, RuntimeSettings, WasmRuntime};
use runhook_test_guests as guests;
use serde_json::json;

/// 175 KB.
const COMPONENT: &str = guests::ECHOES_CONFIG;
const STARTS: usize = 20;

#[tokio::main]
async fn main() {
    let share = if std::env::args().any(|argument| argument == "--test") { 10 } else { 1 };
    let scene = Scene::new();
    let none = median((0..STARTS).map(|_| scene.start()));
    println!("a start without plugins: {none:?}");
    scene.put(0);
    let cold = median((0..STARTS).map(|_| {
        fs::remove_dir_all(scene.cache()).expect("the cache is there");
        scene.start()
    }));
    let cached = median((0..STARTS).map(|_| scene.start()));
    let size = fs::metadata(COMPONENT).expect("it is there").len() / 1000;
    println!("a plugin of {size} KB becomes active, beyond that: cold {:?}, cached {:?}", cold - none, cached - none);

    let plugins = 100 / share;
    for number in 0..plugins {
        scene.put(number);
    }
    println!("{plugins} plugins, each with a configuration:");
    println!("  the first start, and each checked: {:?}", scene.start_and_check(plugins).await);
    println!("  the next start, and each checked: {:?}", scene.start_and_check(plugins).await);
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2]
}

struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        fs::create_dir(folder.path().join("plugins")).expect("a directory");
        Self(folder)
    }

    fn cache(&self) -> std::path::PathBuf {
        self.0.path().join("cache")
    }

    /// Puts a component there that differs from all others by a section that means nothing.
    fn put(&self, number: usize) {
        let mut bytes = fs::read(COMPONENT).expect("it is there");
        let name = number.to_string();
        bytes.extend([0, name.len() as u8 + 1, name.len() as u8]);
        bytes.extend(name.as_bytes());
        fs::write(self.plugins().join(format!("plugin-{number}.wasm")), bytes).expect("it can be written");
    }

    fn plugins(&self) -> std::path::PathBuf {
        self.0.path().join("plugins")
    }

    fn runtime(&self) -> WasmRuntime {
        let settings = RuntimeSettings {
            directory: Some(self.plugins()),
            program: Some(Path::new(env!("CARGO_BIN_EXE_runhook")).to_owned()),
            cache: Some(CacheSettings { folder: self.cache(), key: [7; 32].into() }),
            ..RuntimeSettings::default()
        };
        WasmRuntime::start(settings).expect("a runtime")
    }

    fn start(&self) -> Duration {
        let begun = Instant::now();
        let runtime = self.runtime();
        let took = begun.elapsed();
        drop(runtime);
        took
    }

    async fn start_and_check(&self, plugins: usize) -> Duration {
        let begun = Instant::now();
        let runtime = self.runtime();
        for number in 0..plugins {
            let config = json!({"texts": [number.to_string()]});
            let plugin: PluginUse =
                serde_json::from_value(json!({"name": format!("plugin-{number}"), "config": config}))
                    .expect("a plugin");
            runtime.check(&plugin).await.expect("it takes it");
        }
        begun.elapsed()
    }
}
