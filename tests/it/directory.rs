//! The plugin directory of a running host: what is copied in takes effect, what is broken does not, and the host goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::host_process::{HostProcess, HostSettings};
use crate::ledger::Arrivals;
use crate::support::recording_receiver;

const RULE: &str = "9d1c9a7e-3333-4c38-9d5e-0d7a3c1f9b10";
const PAYLOAD: &str = r#"{"rule_id":"r","runs":[{"id":"1","name":"a","status":"error","total_tokens":2},{"id":"2","name":"b","status":"success","total_tokens":3}]}"#;

struct Scene {
    host: HostProcess,
    plugins: PathBuf,
    receiver: String,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn set() -> Self {
        Self::set_with(&[]).await
    }

    /// With these guests in the directory when the host starts.
    async fn set_with(guests: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plugins = folder.path().join("plugins");
        fs::create_dir(&plugins).unwrap();
        for guest in guests {
            fs::copy(guest, plugins.join(Path::new(guest).file_name().unwrap())).unwrap();
        }
        let receiver = recording_receiver(Arrivals::default()).await;
        let mut settings = HostSettings::on(&folder.path().join("data"));
        settings.plugins = Some(plugins.clone());
        Self { host: HostProcess::start(&settings), plugins, receiver, _folder: folder }
    }

    /// Copies as a careful tool does: under another name, then renamed.
    fn install(&self, component: &str, name: &str) {
        let hidden = self.plugins.join(format!(".{name}.part"));
        fs::copy(component, &hidden).unwrap();
        fs::rename(hidden, self.file(name)).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.plugins.join(format!("{name}.wasm"))
    }

    /// Waits until the plugin's entry in the list satisfies the claim.
    async fn until_plugin(&self, name: &str, claim: impl Fn(&Value) -> bool) -> Value {
        let entry = |answer: &Value| plugin(answer, name);
        let answer =
            self.host.until("/api/v1/plugins", |answer| entry(answer).is_some_and(|found| claim(&found))).await;
        entry(&answer).unwrap()
    }

    fn rule(&self, plugins: &str) -> String {
        format!(
            r#"
            [[rules]]
            id = "{RULE}"
            display_name = "directory"
            sampling_rate = 1.0
            relay_secret = "relay"
            [[rules.webhooks]]
            id = "w"
            url = "{}/hook"
            plugins = {plugins}
            "#,
            self.receiver
        )
    }

    /// Relays the payload and gives back its only delivery, settled.
    async fn relay(&self) -> Value {
        let answer = self.host.relay(RULE, "relay", PAYLOAD).await;
        assert_eq!(answer.status(), 202);
        let id = answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
        let is_settled = |answer: &Value| {
            answer["deliveries"].as_array().is_some_and(|all| all.len() == 1 && all[0]["state"] != "pending")
        };
        let answer = self.host.until(&format!("/api/v1/deliveries?payload_id={id}"), is_settled).await;
        answer["deliveries"][0].clone()
    }
}

fn plugin(answer: &Value, name: &str) -> Option<Value> {
    answer["plugins"].as_array()?.iter().find(|plugin| plugin["name"] == name).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_copied_in_takes_effect_within_seconds_and_leaves_with_its_file() {
    let scene = Scene::set().await;
    let copied = Instant::now();
    scene.install(runhook_test_guests::KEEPS_EVEN, "picky");
    let found = scene.until_plugin("picky", |plugin| plugin["error"].is_null() && plugin["hash"].is_string()).await;
    println!("active {} ms after the copy", copied.elapsed().as_millis());
    assert!(copied.elapsed() < Duration::from_secs(10));
    assert_eq!(found["stages"]["filter"], true);

    scene.host.apply(&scene.rule(r#"[{ name = "picky" }]"#));
    assert_eq!(scene.relay().await["state"], "delivered");

    fs::remove_file(scene.file("picky")).unwrap();
    scene.host.until("/api/v1/plugins", |answer| plugin(answer, "picky").is_none()).await;
    let held = scene.relay().await;
    assert_eq!(held["state"], "held");
    assert!(held["cause"].as_str().unwrap().contains("picky"), "{held:#}");

    // A held delivery goes on once its plugin is back and it is replayed.
    scene.install(runhook_test_guests::KEEPS_EVEN, "picky");
    scene.until_plugin("picky", |plugin| plugin["error"].is_null()).await;
    scene.host.cli_ok(&["deliveries", "replay", held["id"].as_str().unwrap()]);
    scene.host.until_settled().await;
    let all = scene.host.deliveries(&format!("&payload_id={}", held["payload_id"].as_str().unwrap())).await;
    let states: Vec<_> = all.iter().map(|delivery| delivery["state"].clone()).collect();
    assert_eq!(states, [json!("delivered"), json!("cancelled")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_copied_file_is_never_active_and_the_old_plugin_stays() {
    let scene = Scene::set().await;
    scene.install(runhook_test_guests::KEEPS_EVEN, "grows");
    let first = scene.until_plugin("grows", |plugin| plugin["hash"].is_string()).await;

    let whole = fs::read(runhook_test_guests::RENAMES).unwrap();
    fs::write(scene.file("grows"), &whole[..whole.len() / 2]).unwrap();
    let broken = scene.until_plugin("grows", |plugin| plugin["error"].is_string()).await;
    assert_eq!(broken["hash"], first["hash"], "the old component stays active");

    fs::write(scene.file("grows"), &whole).unwrap();
    let second =
        scene.until_plugin("grows", |plugin| plugin["error"].is_null() && plugin["hash"] != first["hash"]).await;
    assert_eq!(second["stages"]["transform"], true);
}

/// A guest, how a rule with it is answered or a payload through it ends, and what the error has to say.
struct Hostile {
    guest: &'static str,
    says: &'static [&'static str],
}

const HOSTILE: &[Hostile] = &[
    Hostile { guest: runhook_test_guests::ENDLESS_LOOP, says: &["endless-loop", "CPU"] },
    Hostile { guest: runhook_test_guests::MEMORY_BOMB, says: &["memory-bomb", "memory"] },
    Hostile { guest: runhook_test_guests::PANICS, says: &["panics", "panics.rs"] },
    Hostile { guest: runhook_test_guests::GIANT_OUTPUT, says: &["giant-output"] },
    Hostile { guest: runhook_test_guests::STACK_OVERFLOW, says: &["stack-overflow"] },
    Hostile { guest: runhook_test_guests::PROCESS_EXIT, says: &["process-exit"] },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_guest_holds_its_payload_with_the_cause_and_the_host_serves_on() {
    let scene = Scene::set_with(&HOSTILE.iter().map(|hostile| hostile.guest).collect::<Vec<_>>()).await;
    for hostile in HOSTILE {
        let name = Path::new(hostile.guest).file_stem().unwrap().to_string_lossy().replace('_', "-");
        scene.until_plugin(&name, |plugin| plugin["hash"].is_string()).await;
        scene.host.apply(&scene.rule(&format!(r#"[{{ name = "{name}" }}]"#)));
        let begun = Instant::now();
        let held = scene.relay().await;
        assert_eq!(held["state"], "held", "{name}: {held:#}");
        for words in hostile.says {
            assert!(held["cause"].as_str().unwrap().contains(words), "{name}: {words:?} is not in {held:#}");
        }
        println!("{name}: {} ms, {}", begun.elapsed().as_millis(), held["cause"]);
        scene.host.apply(&scene.rule(r#"[{ name = "errors-only" }]"#));
        assert_eq!(scene.relay().await["state"], "delivered", "the host goes on after {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_can_never_work_is_refused_with_its_reason() {
    let scene = Scene::set().await;
    let cases = [
        (runhook_test_guests::UNGRANTED_IMPORT, "opens-files", "wasi:filesystem"),
        (runhook_test_guests::CORE_MODULE, "core", "wasm32-wasip2"),
        (runhook_test_guests::TRUNCATED, "cut", ""),
    ];
    for (file, name, reason) in cases {
        scene.install(file, name);
        let refused = scene.until_plugin(name, |plugin| plugin["error"].is_string()).await;
        assert!(refused["error"].as_str().unwrap().contains(reason), "{refused:#}");
        assert!(refused["hash"].is_null(), "{refused:#}");
    }
    scene.host.apply(&scene.rule("[]"));
    assert_eq!(scene.relay().await["state"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_sees_no_payload_but_its_own() {
    let scene = Scene::set().await;
    scene.install(runhook_test_guests::COUNTS_CALLS, "counts");
    scene.until_plugin("counts", |plugin| plugin["hash"].is_string()).await;
    scene.host.apply(&scene.rule(r#"[{ name = "counts" }]"#));
    for _ in 0..20 {
        let delivery = scene.relay().await;
        assert_ne!(delivery["state"], "held", "{delivery:#}");
    }
}
