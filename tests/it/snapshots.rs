//! Plugins configured once, in children of the real binary: what payloads start from, what failing leaves behind, and
//! what a second start finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use runhook::model::plugin::{PluginFailureKind, PluginUse};
use runhook::plugin::{
    CacheSettings, ChainOutcome, Isolation, PluginLimits, PluginPolicy, PluginRuntime, RuntimeSettings, Trial,
    TrialOutcome, WasmRuntime, WorkDone,
};
use runhook_test_guests as guests;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::host_process::BINARY;
use crate::support::children::{Child, children};
use crate::support::waiting::PATIENCE;

const PAYLOAD: &[u8] = br#"{"rule_id":"r","runs":[{"id":"1","name":"a","status":"error"}]}"#;

fn used(name: &str, config: &Value) -> PluginUse {
    serde_json::from_value(json!({"name": name, "config": config})).unwrap()
}

/// A folder with a plugin directory and a cache, for one start after another.
struct Scene {
    folder: tempfile::TempDir,
    program: PathBuf,
    policy: PluginPolicy,
}

impl Scene {
    fn of(components: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plugins")).unwrap();
        for component in components {
            let file = Path::new(component).file_name().unwrap();
            fs::copy(component, folder.path().join("plugins").join(file)).unwrap();
        }
        Self { folder, program: BINARY.into(), policy: PluginPolicy::default() }
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache/plugins")
    }

    fn start(&self) -> WasmRuntime {
        self.start_with(7)
    }

    fn start_with(&self, key: u8) -> WasmRuntime {
        let settings = RuntimeSettings {
            directory: Some(self.folder.path().join("plugins")),
            program: Some(self.program.clone()),
            cache: Some(CacheSettings { folder: self.cache(), key: Zeroizing::new([key; 32]) }),
            policy: self.policy.clone(),
            ..RuntimeSettings::default()
        };
        WasmRuntime::start(settings).unwrap()
    }

    /// A program that stands before the binary: `first` is the shell's, then the binary goes on. Written by another
    /// process, since a file that this one writes could be held open by a child that it forks meanwhile.
    fn stand_before(&mut self, first: &str) {
        let script = self.folder.path().join("program");
        let text = format!("#!/bin/sh\n{first}\nexec {BINARY} \"$@\"\n");
        let write = r#"printf %s "$2" > "$1" && chmod +x "$1""#;
        let written = Command::new("sh").args(["-c", write, "sh"]).arg(&script).arg(text).status().unwrap();
        assert!(written.success());
        self.program = script;
    }
}

async fn sent(runtime: &WasmRuntime, plugin: &PluginUse) -> Value {
    match runtime.run(std::slice::from_ref(plugin), Bytes::from_static(PAYLOAD)).await {
        ChainOutcome::Send(body) => serde_json::from_slice(&body.bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn trial(component: &str) -> Trial {
    let file = Path::new(component).file_name().unwrap().to_str().unwrap();
    Trial::load(file, fs::read(component).unwrap().into(), PluginPolicy::default(), Some(BINARY.into())).unwrap()
}

/// The payload as the plugin leaves it.
fn made(trial: &Trial, config: &Value) -> Value {
    let prepared = trial.prepare(&config.to_string());
    assert_eq!(prepared.why_per_instance(), None);
    match prepared.run(Bytes::from_static(PAYLOAD)).unwrap().result.unwrap() {
        TrialOutcome::Payload(bytes, _) => serde_json::from_slice(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_payload_starts_from_the_memory_after_configure_and_none_from_that_of_another() {
    let trial = trial(guests::COUNTS_CONFIGURES);
    let prepared = trial.prepare("{}");
    for _ in 0..20 {
        let report = prepared.run(Bytes::from_static(PAYLOAD)).unwrap();
        let Ok(TrialOutcome::Payload(bytes, _)) = report.result else { panic!("{report:?}") };
        let payload: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(payload["counts"], json!([1, 1, 1]), "configured once, and this is the first call");
    }
}

#[test]
fn a_configuration_arrives_as_it_was_given() {
    let mut runner = TestRunner::deterministic();
    let mut any = || any::<String>().new_tree(&mut runner).unwrap().current();
    let mut texts: Vec<String> = (0..300).map(|_| any()).collect();
    texts.extend((0..0x2_0000).step_by(0x800).map(|first| (first..first + 0x800).filter_map(char::from_u32).collect()));
    let awkward =
        ["", "\"", "\\", "\\\"", "\n\r\t\0\u{7f}\u{1b}[31m", "'`$(){}[]<>%", "\\u{41}\\n", "\u{feff}\u{202e}ä🦀"];
    texts.extend(awkward.map(str::to_owned));
    texts.push("x\"\\\n".repeat(1024 * 1024 / 4));
    let config = json!({ "texts": texts });
    assert_eq!(made(&trial(guests::ECHOES_CONFIG), &config)["echo"], config["texts"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configure_that_fails_is_named_and_leaves_nothing_running() {
    use PluginFailureKind::{Deadline, Limit, Refused, Trap};
    let cases = [
        (guests::LOOPS_IN_CONFIGURE, Deadline, "it used up its"),
        (guests::HOARDS_IN_CONFIGURE, Limit, "64 MiB of memory"),
        (guests::PANICS_IN_CONFIGURE, Trap, "panics_in_configure.rs"),
        (guests::EXITS_IN_CONFIGURE, Trap, "ended its process"),
        (guests::REFUSES_CONFIG, Refused, "word"),
    ];
    let mut scene = Scene::of(&cases.map(|(component, ..)| component));
    // A slow machine takes longer over 64 MiB than the guest has.
    scene.policy = PluginPolicy::parse("[plugins.hoards-in-configure.limits]\ncpu_ms = 2000").unwrap();
    let runtime = scene.start();
    let before = runtime.work_done();
    for (component, kind, says) in cases {
        let name = Path::new(component).file_stem().unwrap().to_string_lossy().replace('_', "-");
        let failure = runtime.check(&used(&name, &json!({}))).await.unwrap_err();
        println!("{failure}");
        assert_eq!((failure.kind, failure.export.as_str()), (kind, "configure"), "{failure}");
        assert!(failure.message.contains(says) && failure.plugin.as_str() == name, "{failure}");
    }
    assert_eq!(runtime.work_done().children, before.children + 5, "each was told by one child");
    assert_eq!(sent(&runtime, &used("errors-only", &json!({}))).await["runs"][0]["id"], "1");
    // Children of other tests come and go: at some moment there is none that nobody waits for.
    until(|| children().iter().all(|child| !child.is_zombie));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_finds_what_the_first_has_made() {
    let scene = Scene::of(&[guests::RENAMES]);
    let plugins = [
        used("redact", &json!({"patterns": ["sk-[a-z]+"]})),
        used("errors-only", &json!({})),
        used("renames", &json!({"name": "n"})),
    ];
    let check = async |runtime: &WasmRuntime| {
        for plugin in &plugins {
            runtime.check(plugin).await.unwrap();
            runtime.check(plugin).await.unwrap();
        }
        assert_eq!(sent(runtime, &plugins[2]).await["runs"][0]["name"], "n");
        runtime.work_done()
    };
    let first = check(&scene.start()).await;
    // A file is compiled by a child; for each configuration one runs the guest and another compiles. What the file says of
    // itself is kept too, and that it was tried: after that only its payload is worth a process.
    assert_eq!(first, WorkDone { children: 7, guest_processes: 3, compiled: 6, found: 0 });
    let second = check(&scene.start()).await;
    assert_eq!(second, WorkDone { children: 0, guest_processes: 1, compiled: 0, found: 6 });

    let spoil = |edit: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        for entry in fs::read_dir(scene.cache()).unwrap() {
            let path = entry.unwrap().path();
            fs::write(&path, edit(fs::read(&path).unwrap())).unwrap();
        }
    };
    spoil(&|mut entry| {
        let middle = entry.len() / 2;
        entry[middle] ^= 1;
        entry
    });
    assert_eq!(check(&scene.start()).await, first, "forged");
    spoil(&|entry| entry[..entry.len() - 1].to_vec());
    assert_eq!(check(&scene.start()).await, first, "cut");
    assert_eq!(check(&scene.start_with(8)).await, first, "by another host");
    assert_eq!(check(&scene.start_with(8)).await, second, "what was made then is found again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_cannot_be_snapshotted_works_and_is_named() {
    let scene = Scene::of(&[guests::PRINTS_IN_CONFIGURE, guests::RENAMES]);
    let runtime = scene.start();
    let prints = used("prints-in-configure", &json!({}));
    runtime.check(&prints).await.unwrap();
    runtime.check(&used("renames", &json!({"name": "n"}))).await.unwrap();
    assert_eq!(sent(&runtime, &prints).await["mark"], "printed");
    let why = |name: &str| runtime.plugins().into_iter().find(|plugin| plugin.name == name).unwrap().per_instance;
    assert!(why("prints-in-configure").unwrap().contains("a stream"));
    assert_eq!(why("renames"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_payload_does_not_wait_for_its_snapshot() {
    let scene = Scene::of(&[guests::RENAMES]);
    let runtime = scene.start();
    let renames = used("renames", &json!({"name": "n"}));
    let before = runtime.work_done().compiled;
    assert_eq!(sent(&runtime, &renames).await["runs"][0]["name"], "n");
    until(|| runtime.work_done().compiled == before + 1);
    assert_eq!(sent(&runtime, &renames).await["runs"][0]["name"], "n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_killed_is_replaced_once_and_then_done_without() {
    let mut scene = Scene::of(&[]);
    let flag = scene.folder.path().join("killed");
    scene.stand_before(&format!("[ -e {0} ] || {{ : > {0}; kill -9 $$; }}", flag.display()));
    let runtime = scene.start();
    let redact = used("redact", &json!({"pointers": ["/name"]}));
    runtime.check(&redact).await.unwrap();
    assert!(flag.exists());
    assert_eq!(runtime.work_done().children, 3, "one was lost, one configured, one compiled");
    assert_eq!(sent(&runtime, &redact).await["runs"][0]["name"], "[redacted]");

    for trouble in ["kill -9 $$", "exec /no/such/program"] {
        fs::remove_dir_all(scene.cache()).unwrap();
        scene.stand_before(trouble);
        let runtime = scene.start();
        runtime.check(&redact).await.unwrap();
        assert_eq!(sent(&runtime, &redact).await["runs"][0]["name"], "[redacted]");
        let refused = runtime.check(&used("redact", &json!({"patterns": ["("]}))).await.unwrap_err();
        assert!(refused.message.contains("regex parse error"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_children_the_host_does_their_work() {
    let mut scene = Scene::of(&[guests::RENAMES]);
    scene.program = "/no/such/program".into();
    scene.policy.terms.isolation = Isolation::Host;
    let runtime = scene.start();
    let renames = used("renames", &json!({"name": "n"}));
    runtime.check(&renames).await.unwrap();
    assert_eq!(sent(&runtime, &renames).await["runs"][0]["name"], "n");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_runs_a_guest_is_confined() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(guests::LOOPS_IN_CONFIGURE, directory.path().join("loops.wasm")).unwrap();
    let settings = RuntimeSettings {
        directory: Some(directory.path().to_owned()),
        program: Some(BINARY.into()),
        policy: PluginPolicy::with_limits(PluginLimits { cpu_base: Duration::from_secs(5), ..PluginLimits::default() }),
        ..RuntimeSettings::default()
    };
    let runtime = WasmRuntime::start(settings).unwrap();
    let checked = tokio::spawn(async move { runtime.check(&used("loops", &json!({}))).await });
    // Children of other tests begin and end too: one has to be seen as it should be.
    let is_confined = |child: &Child| {
        // At its 60 s of CPU time a child gets a signal that tells; one that got no other would be tried again.
        let is_timed = child.has_limit("Max cpu time 60 61 seconds");
        let has_stack = child.has_limit("Max stack size 8388608 8388608 bytes");
        let is_limited = child.has_status("Seccomp: 2") && child.has_status("NoNewPrivs: 1") && child.opens_nothing();
        let has_nothing = child.files().len() == 3 && child.about("environ").is_empty();
        // SIGHUP, SIGINT, SIGQUIT and SIGTERM are for the host, which ends its children by SIGKILL.
        let is_let_finish = child.has_status("SigBlk: 0000000000004007");
        child.is_for("snapshot") && is_limited && is_timed && has_stack && is_let_finish && has_nothing
    };
    until(|| children().iter().any(is_confined));
    assert_eq!(checked.await.unwrap().unwrap_err().kind, PluginFailureKind::Deadline);
}

fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it does not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}
