//! Plugins that fail: what is remembered of it, when they are in quarantine, and what an operator sees and does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use runhook::clock::ManualClock;
use runhook::model::ids::PayloadId;
use runhook::model::plugin::{PluginFailure, PluginFailureKind, PluginName, PluginUse};
use runhook::plugin::{ChainOutcome, PluginInfo, PluginPolicy, PluginRuntime, Readiness, RuntimeSettings, WasmRuntime};
use runhook_test_guests as guests;
use serde_json::{Value, json};

use crate::host_process::{BINARY, HostProcess, HostSettings};
use crate::ledger::Arrivals;
use crate::support::engine::standing_clock;
use crate::support::plugin_cache;
use crate::support::recording_receiver;
use crate::support::waiting::{PATIENCE, a_moment};

const RULE: &str = "9d1c9a7e-4444-4c38-9d5e-0d7a3c1f9b10";

fn payload(name: &str) -> Bytes {
    json!({"rule_id": "r", "runs": [{"id": "1", "name": name, "total_tokens": 2}]}).to_string().into()
}

/// A runtime with one plugin, `plugin`, and a clock that stands.
struct Scene {
    runtime: WasmRuntime,
    clock: ManualClock,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Scene {
    fn of(component: &str) -> Self {
        let (directory, clock) = (tempfile::tempdir().unwrap(), standing_clock());
        let file = directory.path().join("plugin.wasm");
        fs::copy(component, &file).unwrap();
        let settings = RuntimeSettings {
            directory: Some(directory.path().to_owned()),
            clock: Arc::new(clock.clone()),
            ..plugin_cache::settings()
        };
        Self { runtime: WasmRuntime::start(settings).unwrap(), clock, file, _directory: directory }
    }

    fn used(number: u32) -> PluginUse {
        serde_json::from_value(json!({"name": "plugin", "config": {"number": number}})).unwrap()
    }

    /// How a payload with a run of this name fares.
    async fn run(&self, name: &str) -> Result<(), PluginFailure> {
        self.run_with(name, 0, PayloadId::generate()).await
    }

    async fn run_with(&self, name: &str, number: u32, id: PayloadId) -> Result<(), PluginFailure> {
        match self.runtime.run_with(&[Self::used(number)], id, payload(name), Arc::default()).await {
            ChainOutcome::Send(_) => Ok(()),
            ChainOutcome::Held(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    async fn kind(&self, name: &str) -> Option<PluginFailureKind> {
        self.run(name).await.err().map(|failure| failure.kind)
    }

    async fn put_into_quarantine(&self) {
        for _ in 0..5 {
            assert_eq!(self.kind("bad").await, Some(PluginFailureKind::Trap));
        }
    }

    fn info(&self) -> PluginInfo {
        self.runtime.plugins().into_iter().find(|plugin| plugin.name == "plugin").unwrap()
    }

    fn name() -> PluginName {
        "plugin".parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_faults_are_a_quarantine_which_a_probe_that_passes_ends() {
    use PluginFailureKind::{Quarantined, Trap};
    let scene = Scene::of(guests::BREAKS_ON_DEMAND);
    scene.put_into_quarantine().await;
    let turned_away = scene.run("good").await.unwrap_err();
    println!("{turned_away}");
    assert_eq!(turned_away.kind, Quarantined);
    let text = turned_away.to_string();
    for words in [
        "plugin `plugin` was not run: it is in quarantine since 2026-07-01T09:00:00Z, after 5 faults within 60 s",
        "is tried again from 2026-07-01T09:00:01Z on",
        "the last fault: panicked at ",
    ] {
        assert!(text.contains(words), "{text}");
    }
    let quarantine = &scene.info().quarantines[0];
    assert_eq!((quarantine.turned_away, quarantine.config.as_str()), (1, r#"{"number":0}"#));

    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.runtime.readiness(&Scene::used(0)), Readiness::ProbeDue);
    assert_eq!(scene.kind("bad").await, Some(Trap), "it is the probe");
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.kind("good").await, Some(Quarantined), "the pause is twice as long");
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.kind("good").await, None);
    assert_eq!(scene.kind("good").await, None);
    assert!(scene.info().quarantines.is_empty() && !scene.runtime.has_quarantines());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_plugins_own_words_is_no_fault_and_ends_a_quarantine() {
    use PluginFailureKind::Refused;
    let scene = Scene::of(guests::BREAKS_ON_DEMAND);
    for _ in 0..20 {
        assert_eq!(scene.kind("refused").await, Some(Refused));
    }
    scene.put_into_quarantine().await;
    scene.clock.advance(Duration::from_secs(1));
    assert_eq!(scene.kind("refused").await, Some(Refused));
    assert_eq!(scene.kind("good").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_is_of_one_configuration_and_of_one_file() {
    let scene = Scene::of(guests::BREAKS_ON_DEMAND);
    scene.put_into_quarantine().await;
    scene.run_with("good", 1, PayloadId::generate()).await.unwrap();
    assert_eq!(scene.kind("good").await, Some(PluginFailureKind::Quarantined));
    let before = scene.info().hash;
    // The same component with a section more, which says nothing.
    let mut newer = fs::read(guests::BREAKS_ON_DEMAND).unwrap();
    newer.extend([0, 2, 1, b'x']);
    fs::write(&scene.file, newer).unwrap();
    let begun = std::time::Instant::now();
    while scene.info().hash == before {
        assert!(begun.elapsed() < PATIENCE, "{:?}", scene.info());
        a_moment().await;
    }
    assert_eq!(scene.kind("good").await, None, "a new file starts clean");
    assert!(scene.info().quarantines.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_under_another_name_has_limits_and_quarantines_of_its_own() {
    use PluginFailureKind::{Limit, Quarantined};
    let directory = tempfile::tempdir().unwrap();
    for name in ["few", "many"] {
        fs::copy(guests::READS_THREE, directory.path().join(name).with_extension("wasm")).unwrap();
    }
    let settings = RuntimeSettings {
        directory: Some(directory.path().to_owned()),
        policy: PluginPolicy::parse("[plugins.few.limits]\nhost_calls = 2").unwrap(),
        program: Some(BINARY.into()),
        clock: Arc::new(standing_clock()),
        ..plugin_cache::settings()
    };
    let runtime = WasmRuntime::start(settings).unwrap();
    let [few, many] = ["few", "many"].map(|name| serde_json::from_value(json!({ "name": name })).unwrap());
    let run = async |plugin: &PluginUse| {
        let payload = Bytes::from_static(br#"{"runs":[{"id":"1","total_tokens":2000}]}"#);
        match runtime.run(std::slice::from_ref(plugin), payload).await {
            ChainOutcome::Send(_) => None,
            ChainOutcome::Held(failure) => Some(failure.kind),
            other => panic!("{other:?}"),
        }
    };
    for plugin in [&many, &few] {
        runtime.check(plugin).await.unwrap();
    }
    // Until a process of each thread waits for the next payload.
    for _ in 0..50 {
        assert_eq!(run(&many).await, None);
    }
    for _ in 0..5 {
        assert_eq!(run(&few).await, Some(Limit));
    }
    assert_eq!((run(&few).await, run(&many).await), (Some(Quarantined), None));
    let quarantines = |name| {
        let listed = runtime.plugins().into_iter().find(|plugin| plugin.name == name);
        listed.unwrap().quarantines.len()
    };
    assert_eq!((quarantines("few"), quarantines("many")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_remembered_with_its_payload_its_words_and_its_place() {
    let (scene, id) = (Scene::of(guests::BREAKS_ON_DEMAND), PayloadId::generate());
    scene.run_with("bad", 0, id).await.unwrap_err();
    scene.run("refused").await.unwrap_err();
    let failures = scene.runtime.failures(&Scene::name());
    println!("{failures:#?}");
    let [refused, trap] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!((refused.kind, refused.message.as_str()), (PluginFailureKind::Refused, "not this one"));
    assert!(refused.frames.is_empty());
    assert_eq!((trap.kind, trap.export.as_str(), trap.payload_id), (PluginFailureKind::Trap, "keep", id));
    assert!(trap.message.contains("breaks_on_demand.rs:36:") && trap.printed.contains("it goes wrong"));
    // The guests of tests have the names of functions and no lines.
    assert_eq!(trap.frames[..2], ["breaks_on_demand::inner", "breaks_on_demand::outer"]);
    let count = scene.info().failures;
    assert_eq!((count.count, count.last_at), (2, Some("2026-07-01T09:00:00Z".parse().unwrap())));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_outlive_the_snapshot() {
    let scene = Scene::of(guests::BREAKS_ON_DEMAND);
    scene.runtime.check(&Scene::used(0)).await.unwrap();
    scene.run("bad").await.unwrap_err();
    let trap = scene.runtime.failures(&Scene::name()).remove(0);
    assert!(!trap.is_per_instance);
    assert_eq!(trap.frames[..2], ["breaks_on_demand::inner", "breaks_on_demand::outer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_not_there_fails_under_its_name() {
    let scene = Scene::of(guests::KEEPS_EVEN);
    let missing: PluginUse = serde_json::from_value(json!({"name": "keeps-od"})).unwrap();
    scene.runtime.run(std::slice::from_ref(&missing), payload("good")).await;
    assert_eq!(scene.runtime.failures(&missing.name)[0].kind, PluginFailureKind::Missing);
    assert_eq!(scene.runtime.readiness(&missing), Readiness::Unready);
}

/// A host with this guest as `picky`, and a rule that uses it.
async fn host_with(component: &str, folder: &Path, policy: &str) -> HostProcess {
    let plugins = folder.join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(component, plugins.join("picky.wasm")).unwrap();
    fs::write(folder.join("policy.toml"), policy).unwrap();
    let mut settings = HostSettings::on(&folder.join("data"));
    settings.plugins = Some(plugins);
    settings.arguments = vec!["--plugin-policy".to_owned(), folder.join("policy.toml").display().to_string()];
    let host = HostProcess::start(&settings);
    let receiver = recording_receiver(Arrivals::default()).await;
    host.apply(&format!(
        "[[rules]]\nid = \"{RULE}\"\ndisplay_name = \"picky\"\nsampling_rate = 1.0\nrelay_secret = \"relay\"\n\
         [[rules.webhooks]]\nid = \"w\"\nurl = \"{receiver}/hook\"\nplugins = [{{ name = \"picky\" }}]\n"
    ));
    host
}

async fn relay(host: &HostProcess, names: &[&str]) {
    for name in names {
        let payload = String::from_utf8(payload(name).to_vec()).unwrap();
        assert_eq!(host.relay(RULE, "relay", &payload).await.status(), 202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_policy_says_so_a_host_lets_go_on_what_a_quarantine_held() {
    let folder = tempfile::tempdir().unwrap();
    let host = host_with(guests::BREAKS_ON_DEMAND, folder.path(), "[plugins.picky]\nrelease_held = true").await;
    let of_quarantine = |all: &[Value]| all.iter().filter(|one| one["failure"] == "quarantined").count();
    // A machine that is busy enough lets the pause pass before the good ones come: once more then.
    let begun = std::time::Instant::now();
    while of_quarantine(&host.deliveries("&plugin=picky").await) == 0 {
        assert!(begun.elapsed() < PATIENCE, "{}", host.log());
        relay(&host, &["bad", "bad", "bad", "bad", "bad"]).await;
        // None of these is to come into the quarantine: as a probe each would double its pause.
        host.until_settled().await;
        relay(&host, &["good", "good", "good"]).await;
        host.until_settled().await;
    }
    let is_let_go = |answer: &Value| of_quarantine(answer["deliveries"].as_array().unwrap()) == 0;
    host.until("/api/v1/deliveries?limit=500&state=held&plugin=picky", is_let_go).await;
    host.until_settled().await;
    let all = host.deliveries("").await;
    let went_on: Vec<_> = all.iter().filter(|one| one["replay_of"].is_string()).map(|one| &one["state"]).collect();
    assert!(!went_on.is_empty() && went_on.iter().all(|state| *state == "delivered" || *state == "held"), "{all:#?}");
    assert!(went_on.contains(&&json!("delivered")), "{all:#?}");
    assert!(host.cli_ok(&["deliveries", "list", "--plugin", "picky", "--state", "cancelled"]).contains("replayed as"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_failed_and_replays_it_all_once_the_plugin_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let host = host_with(guests::BREAKS_ON_DEMAND, folder.path(), "").await;
    relay(&host, &["bad", "refused", "bad"]).await;
    let held = "/api/v1/deliveries?state=held&plugin=picky";
    let answer = host.until(held, |answer| answer["deliveries"].as_array().unwrap().len() == 3).await;
    let mut kinds: Vec<_> = answer["deliveries"].as_array().unwrap().iter().map(|one| one["failure"].clone()).collect();
    kinds.sort_by_key(Value::to_string);
    assert_eq!(kinds, ["refused", "trap", "trap"]);

    let failures = host.cli_ok(&["plugin", "failures", "picky"]);
    println!("{failures}");
    assert_eq!(failures.matches("trap in `keep`, payload ").count(), 2, "{failures}");
    assert!(failures.contains("in breaks_on_demand::inner\n"), "{failures}");
    let as_json: Value = serde_json::from_str(&host.cli_ok(&["plugin", "failures", "picky", "--json"])).unwrap();
    assert_eq!(as_json["failures"].as_array().unwrap().len(), 3);
    let listed = host.cli_ok(&["plugin", "list"]);
    println!("{listed}");
    assert!(listed.lines().any(|line| line.starts_with("picky") && line.contains("3, last 20")), "{listed}");
    let unknown = host.cli(&["plugin", "failures", "pick"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean `picky`?"), "{unknown:?}");

    let replay = |more: &[&str]| {
        let said = host.cli_ok(&[&["deliveries", "replay", "--plugin", "picky"], more].concat());
        println!("{said}");
        said
    };
    assert_eq!(host.cli_ok(&["deliveries", "list", "--plugin", "picky"]).lines().count(), 4);
    assert!(replay(&["--dry-run"]).starts_with("3 deliveries would be replayed\n"));
    let elsewhere = "9d1c9a7e-0000-4c38-9d5e-0d7a3c1f9b10";
    assert_eq!(replay(&["--rule", elsewhere, "--dry-run"]), "0 deliveries would be replayed\n");
    assert!(replay(&[]).starts_with("replayed 3 deliveries: 0 pending, 3 held again\n"));

    let hash = |answer: &Value| {
        let found = answer["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == "picky").unwrap();
        found["hash"].clone()
    };
    let before = hash(&host.get("/api/v1/plugins").await);
    fs::copy(guests::KEEPS_EVEN, folder.path().join("plugins/picky.wasm")).unwrap();
    host.until("/api/v1/plugins", |answer| hash(answer) != before).await;
    assert_eq!(replay(&["--rule", RULE]), "replayed 3 deliveries: 3 pending\n");
    assert_eq!(replay(&[]), "replayed 0 deliveries: 0 pending\n");
    host.until_settled().await;
    let delivered = host.deliveries("&state=delivered").await;
    assert_eq!(delivered.len(), 3);
}
