//! Guests in processes of their own: the same as in the host's, confined, and nobody else's trouble.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use runhook::limits::GUEST_PROCESSES_MAX;
use runhook::model::ids::PayloadId;
use runhook::model::plugin::{PluginFailureKind, PluginUse};
use runhook::plugin::{
    ChainOutcome, Fetched, Isolation, PluginLimits, PluginPolicy, PluginRuntime, RuntimeSettings, Terms, WasmRuntime,
};
use runhook_test_guests as guests;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::host_process::{BINARY, HostProcess, HostSettings};
use crate::support::children::{Child, children, children_of};
use crate::support::plugin_cache;
use crate::support::waiting::{PATIENCE, a_moment};

const PAYLOAD: &[u8] = br#"{"rule_id":"r","runs":[
    {"id":"1","name":"a","status":"error","inputs":{"q":"x"}},
    {"id":"2","name":"b","status":"success","inputs":null,"inputs_s3_urls":{"ROOT":{"presigned_url":"https://a/1"}}},
    {"id":"3","name":"c","status":"success","inputs":{"q":"y"}}
]}"#;

/// A runtime with guests in its directory.
struct Scene {
    runtime: WasmRuntime,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn of(components: &[&str], isolation: Isolation, limits: PluginLimits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for component in components {
            fs::copy(component, directory.path().join(Path::new(component).file_name().unwrap())).unwrap();
        }
        let terms = Terms { limits, isolation, ..Terms::default() };
        let settings = RuntimeSettings {
            directory: Some(directory.path().to_owned()),
            policy: PluginPolicy { terms, ..PluginPolicy::default() },
            program: Some(BINARY.into()),
            ..plugin_cache::settings()
        };
        Self { runtime: WasmRuntime::start(settings).unwrap(), _directory: directory }
    }

    /// One guest under a name of its own.
    fn named(name: &str, component: &str, limits: PluginLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(format!("{name}.wasm"));
        fs::copy(component, &file).unwrap();
        Self::of(&[file.to_str().unwrap()], Isolation::Process, limits)
    }

    async fn run(&self, plugins: &[PluginUse]) -> ChainOutcome {
        self.runtime.run(plugins, Bytes::from_static(PAYLOAD)).await
    }
}

fn used(component: &str, config: &Value) -> PluginUse {
    let name = Path::new(component).file_stem().map_or(component.into(), |stem| stem.to_string_lossy());
    serde_json::from_value(json!({"name": name, "config": config})).unwrap()
}

fn json_of(outcome: ChainOutcome) -> Value {
    match outcome {
        ChainOutcome::Send(body) => serde_json::from_slice(&body.bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The processes that serve a plugin; no other test calls it so.
fn serving(name: &str) -> Vec<Child> {
    children().into_iter().filter(|child| child.is_for(&format!("serve\0{name}\0"))).collect()
}

async fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it does not come about");
        a_moment().await;
    }
}

/// Kills it, and waits until it holds no pipe any more.
async fn kill(child: &Child) {
    kill_process(Pid::from_raw(child.id as i32).unwrap(), Signal::KILL).unwrap();
    until(|| child.files().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_guest_does_the_same_in_a_process_of_its_own_and_in_the_hosts() {
    // A busy machine must change nothing: what is written in full is refused early, and only what loops runs out of time.
    let cpu_base = Duration::from_secs(2);
    let limits = PluginLimits { cpu_base, wall_factor: 100, bytes_in: 8 << 20, ..PluginLimits::default() };
    let all: Vec<&str> = guests::ALL.iter().map(|(_, component)| *component).collect();
    let (apart, host) = (Scene::of(&all, Isolation::Process, limits), Scene::of(&all, Isolation::Host, limits));
    for component in all {
        let config = match Path::new(component).file_stem().unwrap().to_str().unwrap() {
            "whole_contract" => json!({"mark": "m"}),
            "echoes_config" => json!({"texts": ["t"]}),
            "renames" => json!({"name": "n"}),
            "reads_inputs" => json!({"url": "https://a/1"}),
            _ => json!({}),
        };
        let plugin = [used(component, &config), used("errors-only", &json!({}))];
        let (apart, host) = (apart.run(&plugin).await, host.run(&plugin).await);
        assert_eq!(format!("{apart:?}"), format!("{host:?}"), "{component}");
    }
    assert!(apart.runtime.work_done().guest_processes > 0 && host.runtime.work_done().guest_processes == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_lies_elsewhere_is_asked_for_and_read_in_both() {
    for isolation in [Isolation::Process, Isolation::Host] {
        let scene = Scene::of(&[guests::READS_INPUTS, guests::RENAMES], isolation, PluginLimits::default());
        // The second one meets a payload that the first has edited.
        let chain = [used(guests::RENAMES, &json!({"name": "n"})), used(guests::READS_INPUTS, &json!({}))];
        let ChainOutcome::Needs(links) = scene.run(&chain).await else { panic!("it needs the inputs of run 2") };
        assert_eq!(links.iter().map(|link| link.url.as_str()).collect::<Vec<_>>(), ["https://a/1"]);
        for (value, is_read) in [(Ok("{\"q\":1}".into()), true), (Err("it is gone".to_owned()), false)] {
            let mut fetched = Fetched::default();
            fetched.insert("https://a/1".to_owned(), value);
            let payload = Bytes::from_static(PAYLOAD);
            let outcome = scene.runtime.run_with(&chain, PayloadId::generate(), payload, Arc::new(fetched)).await;
            if is_read {
                let sent = json_of(outcome);
                assert_eq!((&sent["runs"][1]["is_read"], &sent["runs"][1]["name"]), (&json!(true), &json!("n")));
                assert!(sent["runs"][1]["inputs"].is_null(), "reading takes nothing in");
            } else {
                let ChainOutcome::Held(failure) = outcome else { panic!("{outcome:?}") };
                assert!(failure.message.contains("the run 2") && failure.message.contains("it is gone"), "{failure}");
            }
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_of_a_guest_is_confined_and_a_kill_costs_its_payload_alone() {
    let limits = PluginLimits { cpu_base: Duration::from_secs(50), ..PluginLimits::default() };
    let scene = Arc::new(Scene::named("loops-for-long", guests::ENDLESS_LOOP, limits));
    let looping = tokio::spawn({
        let scene = scene.clone();
        async move { scene.run(&[used("loops-for-long", &json!({}))]).await }
    });
    let confined = || serving("loops-for-long").into_iter().find(|child| child.has_status("Seccomp: 2"));
    until(|| confined().is_some()).await;
    let child = confined().unwrap();
    assert!(child.has_status("NoNewPrivs: 1") && child.opens_nothing() && child.about("environ").is_empty());
    let files = child.files();
    let is_expected = |file: &String| {
        let kinds = ["pipe:", "/memfd:plugin", "/memfd:wasm-memory-image", "/proc/"];
        kinds.iter().any(|kind| file.starts_with(kind)) || file == "/dev/null"
    };
    assert!(files.iter().all(is_expected), "{files:?}");
    // Others are served meanwhile.
    assert_eq!(json_of(scene.run(&[used("errors-only", &json!({}))]).await)["runs"].as_array().unwrap().len(), 1);
    kill(&child).await;
    let outcome = looping.await.unwrap();
    let ChainOutcome::Held(failure) = outcome else { panic!("{outcome:?}") };
    assert_eq!((failure.kind, failure.plugin.as_str()), (PluginFailureKind::Trap, "loops-for-long"));
    assert!(failure.message.contains("its process ended by the signal 9"), "{failure}");
}

/// Signals reach the whole group of a terminal, or of a service: they are meant for the host.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn what_stops_the_host_leaves_a_payload_to_be_worked_on() {
    let limits = PluginLimits { cpu_base: Duration::from_secs(1), wall_factor: 50, ..PluginLimits::default() };
    let scene = Arc::new(Scene::named("loops-through-signals", guests::ENDLESS_LOOP, limits));
    let looping = tokio::spawn({
        let scene = scene.clone();
        async move { scene.run(&[used("loops-through-signals", &json!({}))]).await }
    });
    let confined = || serving("loops-through-signals").into_iter().find(|child| child.has_status("Seccomp: 2"));
    until(|| confined().is_some()).await;
    let child = Pid::from_raw(confined().unwrap().id as i32).unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        kill_process(child, signal).unwrap();
    }
    let outcome = looping.await.unwrap();
    let ChainOutcome::Held(failure) = outcome else { panic!("{outcome:?}") };
    assert!(failure.kind == PluginFailureKind::Deadline && failure.export == "keep", "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_serves_one_payload_after_another_until_it_is_ended_from_outside() {
    let scene = Scene::named("counts-for-long", guests::COUNTS_CALLS, PluginLimits::default());
    let plugin = [used("counts-for-long", &json!({}))];
    scene.runtime.check(&plugin[0]).await.unwrap();
    let first = json_of(scene.run(&plugin).await);
    for _ in 0..50 {
        assert_eq!(json_of(scene.run(&plugin).await), first, "each payload meets a fresh instance");
    }
    // One was asked what the plugin says of itself, one was tried, and each thread that calls guests has one.
    let threads = std::thread::available_parallelism().unwrap().get() as u64;
    let started = scene.runtime.work_done().guest_processes;
    assert!(started <= 2 + threads, "{started}");
    let waiting = serving("counts-for-long");
    assert!(!waiting.is_empty());
    for child in waiting {
        kill(&child).await;
    }
    for _ in 0..10 {
        assert_eq!(json_of(scene.run(&plugin).await), first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_copy_of_a_file_runs_where_the_policy_says() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["here", "there"] {
        fs::copy(guests::KEEPS_EVEN, directory.path().join(name).with_extension("wasm")).unwrap();
    }
    let settings = RuntimeSettings {
        directory: Some(directory.path().to_owned()),
        policy: PluginPolicy::parse("[plugins.here]\nisolation = \"host\"").unwrap(),
        program: Some(BINARY.into()),
        ..plugin_cache::settings()
    };
    let runtime = WasmRuntime::start(settings).unwrap();
    for (name, processes) in [("here", 0), ("there", 1)] {
        let plugin = used(name, &json!({}));
        runtime.check(&plugin).await.unwrap();
        let before = runtime.work_done().guest_processes;
        runtime.run(&[plugin], Bytes::from_static(PAYLOAD)).await;
        assert_eq!(runtime.work_done().guest_processes, before + processes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_processes_wait_than_may_and_none_outlives_its_runtime() {
    let scene = Scene::named("echoes-for-many", guests::ECHOES_CONFIG, PluginLimits::default());
    let many = GUEST_PROCESSES_MAX + 8;
    for number in 0..many {
        let plugin = used("echoes-for-many", &json!({"texts": [number.to_string()]}));
        assert_eq!(json_of(scene.run(&[plugin]).await)["echo"], json!([number.to_string()]));
    }
    assert!(scene.runtime.work_done().guest_processes as usize >= many);
    let waiting = serving("echoes-for-many").len();
    assert!((1..=GUEST_PROCESSES_MAX).contains(&waiting), "{waiting}");
    drop(scene);
    until(|| serving("echoes-for-many").is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_process_nothing_of_a_file_runs_and_the_reason_is_said() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy(guests::KEEPS_EVEN, directory.path().join("keeps_even.wasm")).unwrap();
    let settings = RuntimeSettings {
        directory: Some(directory.path().to_owned()),
        program: Some("/no/such/program".into()),
        ..RuntimeSettings::default()
    };
    let runtime = WasmRuntime::start(settings).unwrap();
    let listed = runtime.plugins().into_iter().find(|plugin| plugin.name == "keeps-even").unwrap();
    let error = listed.error.unwrap();
    assert!(error.contains("no process of its own can be had") && error.contains("isolation = \"host\""), "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_in_the_middle_of_a_payload_ends_with_its_host() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(guests::ENDLESS_LOOP, plugins.join("endless_loop.wasm")).unwrap();
    let policy = folder.path().join("policy.toml");
    fs::write(&policy, "[limits]\ncpu_ms = 60000").unwrap();
    let mut settings = HostSettings::on(&folder.path().join("data"));
    settings.plugins = Some(plugins);
    settings.arguments = vec!["--plugin-policy".to_owned(), policy.display().to_string()];
    let mut host = HostProcess::start(&settings);
    host.apply(
        r#"
        [[rules]]
        id = "9d1c9a7e-4444-4c38-9d5e-0d7a3c1f9b11"
        display_name = "endless"
        sampling_rate = 1.0
        relay_secret = "relay"
        [[rules.webhooks]]
        id = "w"
        url = "http://127.0.0.1:9/hook"
        plugins = [{ name = "endless-loop" }]
        "#,
    );
    let payload = r#"{"rule_id":"r","runs":[{"id":"1","status":"error"}]}"#;
    assert_eq!(host.relay("9d1c9a7e-4444-4c38-9d5e-0d7a3c1f9b11", "relay", payload).await.status(), 202);
    let id = host.id();
    let serving = || children_of(id).into_iter().find(|child| child.is_for("serve") && child.has_status("Seccomp: 2"));
    until(|| serving().is_some()).await;
    let child = serving().unwrap();
    host.kill();
    until(|| !child.is_there()).await;
}
