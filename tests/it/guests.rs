//! The plugin runtime against one tiny guest per behaviour, good and hostile: the outcome, and what the error says.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use runhook::model::plugin::{OnError, PluginFailure, PluginFailureKind, PluginUse};
use runhook::plugin::{ChainOutcome, PluginLimits, PluginPolicy, PluginRuntime, RuntimeSettings, WasmRuntime};
use runhook_test_guests as guests;
use serde_json::{Value, json};

use crate::host_process::BINARY;

/// Longer than any guest may run on a busy machine.
const BOUND: Duration = Duration::from_secs(10);

/// A runtime with one guest in its directory.
struct Scene {
    runtime: WasmRuntime,
    name: String,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn of(component: &str) -> Self {
        Self::with(component, PluginLimits::default())
    }

    fn with(component: &str, limits: PluginLimits) -> Self {
        Self::under(component, PluginPolicy::with_limits(limits))
    }

    fn under(component: &str, policy: PluginPolicy) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = Path::new(component).file_name().unwrap().to_str().unwrap();
        fs::copy(component, directory.path().join(file)).unwrap();
        let settings = RuntimeSettings {
            directory: Some(directory.path().to_owned()),
            policy,
            program: Some(BINARY.into()),
            ..RuntimeSettings::default()
        };
        let name = file.strip_suffix(".wasm").unwrap().replace('_', "-");
        Self { runtime: WasmRuntime::start(settings).unwrap(), name, _directory: directory }
    }

    fn used(&self, config: Value, on_error: OnError) -> PluginUse {
        PluginUse { name: self.name.parse().unwrap(), config, on_error }
    }

    async fn run(&self, config: Value, on_error: OnError) -> ChainOutcome {
        let begun = Instant::now();
        let outcome = self.runtime.run(&[self.used(config, on_error)], payload()).await;
        assert!(begun.elapsed() < BOUND, "{} took {:?}", self.name, begun.elapsed());
        outcome
    }

    async fn held(&self) -> PluginFailure {
        match self.run(json!({}), OnError::Hold).await {
            ChainOutcome::Held(failure) => failure,
            other => panic!("{}: {other:?}", self.name),
        }
    }

    async fn sent(&self, config: Value) -> Value {
        match self.run(config, OnError::Hold).await {
            ChainOutcome::Send(body) => serde_json::from_slice(&body.bytes).unwrap(),
            other => panic!("{}: {other:?}", self.name),
        }
    }
}

fn payload() -> Bytes {
    let runs = json!([
        {"id": "1", "name": "a", "status": "error", "total_tokens": 2, "inputs": {"q": "x"}},
        {"id": "2", "name": "b", "status": "success", "total_tokens": 3, "inputs": {"q": "y"}},
    ]);
    json!({"rule_id": "r", "runs": runs}).to_string().into()
}

/// How a guest that fails is to fail.
struct Failing {
    kind: PluginFailureKind,
    export: &'static str,
    says: &'static str,
}

/// Every guest that fails, and nothing for one that does not. A new guest has to be named here.
fn expected(guest: &str) -> Option<Failing> {
    use PluginFailureKind::{Deadline, Limit, Refused, Trap};
    let failing = |kind, export, says| Some(Failing { kind, export, says });
    match guest {
        "endless_loop" => failing(Deadline, "keep", "CPU time of 50 ms"),
        "exits_in_configure" => failing(Trap, "configure", "ended its process"),
        "giant_edit" => failing(Limit, "apply", "wrote more than 8 MiB"),
        "giant_error" => failing(Refused, "keep", "no! no! "),
        "giant_output" => failing(Limit, "render", "wrote more than 8 MiB"),
        "hoards_in_configure" => failing(Limit, "configure", "64 MiB of memory"),
        "host_call_flood" => failing(Limit, "keep", "called the host more than 100000 times"),
        "loops_in_configure" => failing(Deadline, "configure", "CPU time"),
        "memory_bomb" => failing(Limit, "keep", "64 MiB of memory"),
        "panics" => failing(Trap, "apply", "panics.rs:7:5: no idea"),
        "panics_in_configure" => failing(Trap, "configure", "panics_in_configure.rs:14:5: no idea how"),
        "process_exit" => failing(Trap, "keep", "ended its process"),
        "refuses_config" => failing(Refused, "configure", "word"),
        "refuses_payload" => failing(Refused, "apply", "not this one"),
        "stack_overflow" => failing(Trap, "keep", "stack"),
        "twin_bomb" => failing(Refused, "apply", "16 MiB"),
        "all_stages"
        | "clock_and_random"
        | "counts_calls"
        | "counts_configures"
        | "deep_pointer"
        | "echoes_config"
        | "invalid_json_set"
        | "keeps_even"
        | "prints_flood"
        | "prints_in_configure"
        | "reads_inputs"
        | "renames"
        | "ungranted_import"
        | "whole_contract" => None,
        other => panic!("no test expects anything of the guest `{other}`"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failing_guest_is_named_with_its_export_and_cause_and_the_next_payload_passes() {
    let mut wrong = Vec::new();
    for (guest, component) in guests::ALL {
        let Some(failing) = expected(guest) else { continue };
        // A limit of size is to be hit whatever time there is.
        let is_size = failing.kind == PluginFailureKind::Limit;
        let limits = PluginLimits::default();
        let cpu_base = if is_size { BOUND } else { limits.cpu_base };
        // A limit of CPU time is to be hit however busy the machine is.
        let scene = Scene::with(component, PluginLimits { cpu_base, wall_factor: 100, bytes_in: 8 << 20, ..limits });
        let failure = scene.held().await;
        println!("{:.160}", failure.to_string());
        let is_right = failure.kind == failing.kind
            && failure.export == failing.export
            && failure.message.contains(failing.says)
            && failure.plugin.as_str() == scene.name;
        if !is_right {
            wrong.push(format!("{failure:?}"));
        }
        // The same threads serve on.
        let redact: PluginUse = serde_json::from_value(json!({"name": "errors-only"})).unwrap();
        let next = scene.runtime.run(&[redact], payload()).await;
        assert!(matches!(next, ChainOutcome::Send(_)), "after {guest}: {next:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_text_is_bounded() {
    assert!(Scene::of(guests::GIANT_ERROR).held().await.message.len() <= runhook::limits::ERROR_TEXT_BYTES_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_meets_every_payload_in_a_fresh_instance() {
    let scene = Scene::of(guests::COUNTS_CALLS);
    scene.runtime.check(&scene.used(json!({}), OnError::Hold)).await.unwrap();
    for _ in 0..200 {
        assert_eq!(scene.sent(json!({})).await["runs"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_keeps_and_a_transform_edits() {
    let kept = Scene::of(guests::KEEPS_EVEN).sent(json!({})).await;
    assert_eq!(kept["runs"], json!([serde_json::from_slice::<Value>(&payload()).unwrap()["runs"][0]]));
    let renamed = Scene::of(guests::RENAMES).sent(json!({"name": "n"})).await;
    assert_eq!((&renamed["runs"][0]["name"], &renamed["runs"][1]["name"]), (&json!("n"), &json!("n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_stages_of_one_plugin_run_in_order_and_share_the_configuration() {
    let scene = Scene::of(guests::ALL_STAGES);
    let ChainOutcome::Send(body) = scene.run(json!({"mark": "m"}), OnError::Hold).await else { panic!() };
    assert_eq!(body.content_type, "text/plain");
    assert_eq!(body.headers, [("x-mark".to_owned(), "m".to_owned())]);
    assert_eq!(body.bytes, "1 failed");
    let stages = scene.runtime.plugins().into_iter().find(|plugin| plugin.name == "all-stages").unwrap().stages;
    assert_eq!(stages.to_string(), "filter, transform, render");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_json_never_gets_into_the_payload() {
    let scene = Scene::of(guests::INVALID_JSON_SET);
    assert_eq!(scene.sent(json!({})).await, serde_json::from_slice::<Value>(&payload()).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_a_guest_writes_is_not_followed() {
    let scene = Scene::of(guests::READS_INPUTS);
    assert_eq!(scene.sent(json!({})).await["runs"][0]["is_read"], json!(true));
    let written = scene.sent(json!({"url": "https://elsewhere.example/?what-it=knows"})).await;
    assert_eq!(written["runs"][0]["is_read"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_of_any_depth_costs_the_host_no_stack() {
    assert_eq!(Scene::of(guests::DEEP_POINTER).sent(json!({})).await["deep"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_harms_nobody() {
    Scene::of(guests::PRINTS_FLOOD).sent(json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_error_holds_skips_or_drops_and_a_skipped_edit_is_undone() {
    let scene = Scene::of(guests::REFUSES_PAYLOAD);
    assert!(matches!(scene.run(json!({}), OnError::Hold).await, ChainOutcome::Held(_)));
    assert!(matches!(scene.run(json!({}), OnError::Drop).await, ChainOutcome::Dropped(_)));
    let ChainOutcome::Send(body) = scene.run(json!({}), OnError::Skip).await else { panic!() };
    assert_eq!(body.bytes, payload(), "not a byte of the half-done edit is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_refused_in_the_plugins_own_words() {
    let scene = Scene::of(guests::REFUSES_CONFIG);
    assert!(scene.runtime.check(&scene.used(json!({"word": "please"}), OnError::Hold)).await.unwrap().filter);
    let refused = scene.runtime.check(&scene.used(json!({"word": "now"}), OnError::Hold)).await.unwrap_err();
    assert!(refused.message.contains("say please"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_plugin_is_answered_with_the_nearest_name() {
    let scene = Scene::of(guests::KEEPS_EVEN);
    let ask = async |name: &str| {
        let plugin: PluginUse = serde_json::from_value(json!({ "name": name })).unwrap();
        let failure = scene.runtime.check(&plugin).await.unwrap_err();
        assert_eq!(failure.kind, PluginFailureKind::Missing);
        failure.message
    };
    assert!(ask("error-only").await.ends_with("did you mean `errors-only`?"));
    assert!(ask("keep-even").await.ends_with("did you mean `keeps-even`?"));
    assert!(ask("zzzzz").await.ends_with("there is no plugin of that name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_run_here_is_refused_with_what_would() {
    let cases = [
        (guests::UNGRANTED_IMPORT, ["wasi:filesystem/", "wasi:sockets/"]),
        (guests::CORE_MODULE, ["core module", "--target wasm32-wasip2"]),
        (guests::TRUNCATED, ["damaged", "incomplete"]),
    ];
    for (component, words) in cases {
        let scene = Scene::of(component);
        let failure = scene.held().await;
        assert_eq!(failure.kind, PluginFailureKind::Load);
        println!("{failure}");
        for word in words {
            assert!(failure.message.contains(word), "{failure}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_and_randomness_are_granted_by_name_and_a_payload_meets_the_same_numbers_again() {
    let ungranted = Scene::of(guests::CLOCK_AND_RANDOM).held().await;
    assert_eq!(ungranted.kind, PluginFailureKind::Load);
    assert!(ungranted.message.contains("`grants = [\"clock\", \"random\"]`"), "{ungranted}");
    let half = PluginPolicy::parse("[plugins.clock-and-random]\ngrants = [\"clock\"]").unwrap();
    let ungranted = Scene::under(guests::CLOCK_AND_RANDOM, half).held().await;
    assert!(ungranted.message.contains("wasi:random/random") && !ungranted.message.contains("wasi:clocks"));

    let policy = PluginPolicy::parse("[plugins.clock-and-random]\ngrants = [\"clock\", \"random\"]").unwrap();
    let scene = Scene::under(guests::CLOCK_AND_RANDOM, policy);
    let sent = scene.sent(json!({})).await;
    assert_eq!(sent["stood_still"], true);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(sent["seconds"].as_u64().unwrap().abs_diff(now) < 60, "{sent}");
    assert_ne!(sent["first"], sent["second"]);
    let again = scene.sent(json!({})).await;
    assert_eq!((&again["first"], &again["second"]), (&sent["first"], &sent["second"]));
    let other = Bytes::from_static(br#"{"runs":[{"id":"3"}]}"#);
    let ChainOutcome::Send(body) = scene.runtime.run(&[scene.used(json!({}), OnError::Hold)], other).await else {
        panic!("it passes");
    };
    let other: Value = serde_json::from_slice(&body.bytes).unwrap();
    assert_ne!(other["first"], sent["first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_changes_nothing_hands_the_very_bytes_on() {
    let scene = Scene::of(guests::INVALID_JSON_SET);
    let before = payload();
    let chain = [serde_json::from_value(json!({"name": "sample", "config": {"rate": 1.0}})).unwrap()];
    let ChainOutcome::Send(body) = scene.runtime.run(&chain, before.clone()).await else { panic!() };
    assert_eq!(body.bytes.as_ptr(), before.as_ptr());
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_over_many_failures() {
    let scene = Scene::of(guests::PANICS);
    let resident_kib = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    for _ in 0..200 {
        scene.held().await;
    }
    let kib = resident_kib();
    for _ in 0..2_000 {
        scene.held().await;
    }
    let kib_after = resident_kib();
    // Other tests of this process come and go; a leak of 100 KiB for each failure would show as 200 MiB.
    assert!(kib_after < kib + 200 * 1024, "{kib} KiB grew to {kib_after} KiB");
}
