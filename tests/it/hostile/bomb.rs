//! A component that takes for ever to compile: a child does it, which is ended; whoever else is there goes on meanwhile.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use runhook::plugin::{CacheSettings, ChainOutcome, PluginPolicy, PluginRuntime, RuntimeSettings, WasmRuntime};
use runhook_test_guests as guests;
use serde_json::json;
use zeroize::Zeroizing;

use crate::host_process::BINARY;
use crate::hostile::handmade::Handmade;
use crate::support::plugin_scene::{good, payload};
use crate::support::waiting::{PATIENCE, a_moment};

/// CPU time that the test leaves a child, in place of the minute that it has by itself.
const CPU_SECONDS: u64 = 2;

/// A function of so many loops in loops with so many variables, all of which each loop changes: the compiler looks at
/// each variable in each loop, again and again.
fn bomb(loops: usize, variables: usize) -> Vec<u8> {
    let change = |variable: usize| format!("(local.set {variable} (i64.add (local.get {variable}) (local.get 0)))");
    let changes: String = (1..=variables).map(change).collect();
    let body = format!("{}{changes}{}", "(loop ".repeat(loops), "(br_if 0 (i64.eqz (local.get 1))))".repeat(loops));
    let inside = format!("(func (export \"bomb\") (param i64) (local {}) {body})", "i64 ".repeat(variables));
    Handmade { inside: inside.leak(), ..Handmade::default() }.bytes()
}

/// A program that starts the binary with less CPU time. Written by another process, since a file that this one writes
/// could be held open by a child that it forks meanwhile.
fn hurried(folder: &Path) -> std::path::PathBuf {
    let script = folder.join("program");
    let text = format!("#!/bin/sh\nulimit -S -t {CPU_SECONDS}\nexec {BINARY} \"$@\"\n");
    let write = r#"printf %s "$2" > "$1" && chmod +x "$1""#;
    assert!(Command::new("sh").args(["-c", write, "sh"]).arg(&script).arg(text).status().unwrap().success());
    script
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_never_compiles_is_given_up_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(guests::RENAMES, plugins.join("renames.wasm")).unwrap();
    let program = hurried(folder.path());
    let start = || {
        let cache = CacheSettings { folder: folder.path().join("cache"), key: Zeroizing::new([7; 32]) };
        let settings = RuntimeSettings {
            directory: Some(plugins.clone()),
            policy: PluginPolicy::default(),
            program: Some(program.clone()),
            cache: Some(cache),
            ..RuntimeSettings::default()
        };
        WasmRuntime::start(settings).unwrap()
    };
    let runtime = start();
    let renames = [serde_json::from_value(json!({"name": "renames", "config": {"name": "n"}})).unwrap()];

    // Whoever lists plugins waits for the built-in ones to be compiled.
    assert!(runtime.plugins().iter().all(|plugin| plugin.error.is_none()));
    let good = [good()];
    for chain in [&renames, &good] {
        runtime.check(&chain[0]).await.unwrap();
    }
    let bytes = bomb(1500, 1500);
    println!("a bomb of {} KiB", bytes.len() / 1024);
    let children = runtime.work_done().children;
    fs::write(plugins.join("bomb.wasm"), bytes).unwrap();
    let begun = Instant::now();
    let error_of = |runtime: &WasmRuntime| {
        runtime.plugins().into_iter().find(|plugin| plugin.name == "bomb").and_then(|plugin| plugin.error)
    };
    let (mut served, mut slowest) = (0, Duration::ZERO);
    let error = loop {
        if let Some(error) = error_of(&runtime) {
            break error;
        }
        assert!(begun.elapsed() < PATIENCE, "it is given up some time");
        for chain in [&renames, &good] {
            let asked = Instant::now();
            let outcome = runtime.run(chain, payload()).await;
            assert!(matches!(outcome, ChainOutcome::Send(_)), "{outcome:?}");
            (served, slowest) = (served + 1, slowest.max(asked.elapsed()));
        }
        a_moment().await;
    };
    println!("given up after {:?}; {served} payloads meanwhile, the slowest in {slowest:?}: {error}", begun.elapsed());
    assert!(error.contains("CPU time that a plugin has to be compiled"), "{error}");
    assert!(begun.elapsed() > Duration::from_secs(CPU_SECONDS) && served > 20, "it was no bomb");
    assert!(slowest < Duration::from_secs(2), "others wait for it");
    assert_eq!(runtime.work_done().children, children + 1, "it was tried again");
    drop(runtime);
    let later = start();
    let error = error_of(&later).expect("it is refused at once");
    assert!(error.contains("CPU time") && error.contains("as an earlier start found"), "{error}");
    assert_eq!(later.work_done().children, 0, "the next start tries again");
}
