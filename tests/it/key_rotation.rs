//! `runhook keys rotate` against the real binary: while it works, while it is killed, and with keys of the environment.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::host_process::{HostProcess, HostSettings, client};
use crate::support::waiting::PATIENCE;

const RULES: usize = 120;

/// Rules with three secrets each.
fn rules() -> Value {
    let rule = |number: usize| {
        json!({
            "display_name": format!("rule {number:03}"),
            "sampling_rate": 1.0,
            "relay_secret": format!("relay-{number}"),
            "webhooks": [{
                "id": "w",
                "url": format!("https://example.com/{number}?secret=q"),
                "headers": {"authorization": "Bearer t"},
            }],
        })
    };
    json!({"rules": (0..RULES).map(rule).collect::<Vec<_>>()})
}

async fn apply(host: &HostProcess) {
    let request = client().post(host.url("/api/v1/runs/rules/apply")).header("x-api-key", host.api_key());
    assert_eq!(request.json(&rules()).send().await.unwrap().status(), 200);
}

/// The rules as the API shows them, but for the time of their last change, which a host that has just made them knows
/// from before it was stored.
async fn shown(host: &HostProcess) -> Vec<Value> {
    let mut rules = host.get("/api/v1/runs/rules").await.as_array().unwrap().clone();
    rules.iter_mut().for_each(|rule| rule["updated_at"] = Value::Null);
    rules
}

/// Whether each rule takes payloads with its own secret.
async fn takes_payloads(host: &HostProcess) -> Vec<Value> {
    let rules = shown(host).await;
    for rule in &rules {
        let number: usize = rule["display_name"].as_str().unwrap()["rule ".len()..].parse().unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = host.relay(rule["id"].as_str().unwrap(), &format!("relay-{number}"), r#"{"runs":[]}"#).await;
            if answer.status() == 202 {
                break;
            }
            // A busy machine may make it wait too long.
            assert_eq!(answer.status(), 503, "rule {number}");
            assert!(Instant::now() < deadline, "rule {number} is never taken");
        }
    }
    rules
}

/// Ids of the keys that the stored secrets need, each once.
fn needed_keys(data: &Path) -> Vec<String> {
    let database = Connection::open(data.join("runhook.db")).unwrap();
    let mut select = database.prepare("SELECT definition FROM rules").unwrap();
    let rows = select.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    let definitions: Vec<String> = rows.collect();
    let texts = definitions.iter().flat_map(|definition| definition.split('"'));
    let sealed = texts.filter(|text| text.starts_with("v1:") || text.starts_with("v2:"));
    let mut ids: Vec<_> = sealed.map(|text| text.split(':').nth(1).unwrap().to_owned()).collect();
    ids.sort();
    ids.dedup();
    ids
}

fn key_lines(data: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(data.join("secret-key")).unwrap();
    text.lines().filter(|line| !line.starts_with("links")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_changes_the_key_of_every_secret_while_payloads_come_in() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HostSettings::on(&folder.path().join("data"));
    let mut host = HostProcess::start(&settings);
    apply(&host).await;
    let (old_lines, old_ids) = (key_lines(&host.data), needed_keys(&host.data));
    let before = takes_payloads(&host).await;
    let is_rotated = Arc::new(AtomicBool::new(false));
    let door = |rule: &Value| {
        let number: usize = rule["display_name"].as_str().unwrap()["rule ".len()..].parse().unwrap();
        host.url(&format!("/relay/{}?secret=relay-{number}", rule["id"].as_str().unwrap()))
    };
    let doors: Vec<String> = before.iter().map(door).collect();
    let sending = tokio::spawn({
        let is_rotated = is_rotated.clone();
        async move {
            let mut taken = 0;
            while !is_rotated.load(Ordering::SeqCst) {
                let answer = client().post(&doors[taken % doors.len()]).body(r#"{"runs":[]}"#).send().await.unwrap();
                // A busy machine may make it wait too long; no key is ever missing.
                assert!([202, 503].contains(&answer.status().as_u16()), "{}", answer.status());
                taken += usize::from(answer.status() == 202);
            }
            taken
        }
    });
    let said = tokio::task::block_in_place(|| host.cli_ok(&["keys", "rotate"]));
    is_rotated.store(true, Ordering::SeqCst);
    assert!(sending.await.unwrap() > 0, "nothing was taken meanwhile");
    assert!(said.contains(&format!("sealed {} secrets with the new key", 3 * RULES)), "{said}");
    let new_ids = needed_keys(&host.data);
    assert!(new_ids.len() == 1 && new_ids != old_ids && said.contains(&new_ids[0]), "{said}: {new_ids:?}");
    assert!(takes_payloads(&host).await == before, "what the API shows has changed");
    host.kill();

    // With the new key alone it starts, and with the old one it does not.
    let new_lines = key_lines(&host.data);
    assert!(new_lines.len() == 1 && new_lines != old_lines, "{}", new_lines.len());
    let host = HostProcess::start(&settings);
    assert!(takes_payloads(&host).await == before);
    drop(host);
    let mut with_old = HostSettings::on(&settings.data);
    with_old.environment.push(("RUNHOOK_SECRET_KEY".to_owned(), old_lines[0].clone()));
    let log = HostProcess::try_start(&with_old).err().expect("it does not start");
    assert!(log.contains("needs the key with the id"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_at_random_moments_of_rotations_loses_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let settings = HostSettings::on(&folder.path().join("data"));
    let mut host = HostProcess::start(&settings);
    apply(&host).await;
    let before = takes_payloads(&host).await;
    let mut unfinished = 0;
    for _ in 0..12 {
        let request = client().post(host.url("/api/v1/keys/rotate")).header("x-api-key", host.api_key());
        let moment = Duration::from_micros(rand::rng().random_range(0..15_000));
        // Nothing is waited for here but the moment itself.
        let _ = tokio::time::timeout(moment, request.send()).await;
        host.kill();
        unfinished += usize::from(key_lines(&host.data).len() > 1);
        host = HostProcess::start(&settings);
        assert!(shown(&host).await == before);
        assert_eq!(host.log().contains("finish the rotation"), key_lines(&host.data).len() > 1);
    }
    println!("{unfinished} of 12 rotations were cut short after their key was made");
    host.cli_ok(&["keys", "rotate"]);
    assert_eq!((needed_keys(&host.data).len(), key_lines(&host.data).len()), (1, 1));
    assert!(takes_payloads(&host).await == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_environment_are_rotated_by_who_starts_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = ("A".repeat(43), "B".repeat(42) + "A");
    let settings = |current: &str, earlier: Option<&str>| {
        let mut settings = HostSettings::on(&folder.path().join("data"));
        settings.environment.push(("RUNHOOK_SECRET_KEY".to_owned(), current.to_owned()));
        let earlier = earlier.map(|keys| ("RUNHOOK_EARLIER_SECRET_KEYS".to_owned(), keys.to_owned()));
        settings.environment.extend(earlier);
        settings
    };
    let host = HostProcess::start(&settings(&old, None));
    apply(&host).await;
    let before = takes_payloads(&host).await;
    let refused = host.cli(&["keys", "rotate"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("RUNHOOK_SECRET_KEY") && said.contains("RUNHOOK_EARLIER_SECRET_KEYS"), "{said}");
    drop(host);

    let host = HostProcess::start(&settings(&new, Some(&format!("{old}, "))));
    let said = host.cli_ok(&["keys", "rotate"]);
    assert!(said.contains(&format!("sealed {} secrets", 3 * RULES)) && said.contains("no earlier key"), "{said}");
    assert!(takes_payloads(&host).await == before);
    assert!(!host.data.join("secret-key").exists());
    drop(host);

    let host = HostProcess::start(&settings(&new, None));
    assert!(takes_payloads(&host).await == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_goes_on_where_who_asked_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(HostProcess::start(&HostSettings::on(&folder.path().join("data"))));
    apply(&host).await;
    let old = key_lines(&host.data);
    let request = client().post(host.url("/api/v1/keys/rotate")).header("x-api-key", host.api_key());
    let asked = tokio::spawn(request.send());
    let deadline = Instant::now() + PATIENCE;
    while key_lines(&host.data) == old {
        assert!(Instant::now() < deadline, "it never begins");
        tokio::task::yield_now().await;
    }
    asked.abort();
    while key_lines(&host.data).len() > 1 {
        assert!(Instant::now() < deadline, "it never ends:\n{}", host.log());
        tokio::task::yield_now().await;
    }
    assert_eq!(needed_keys(&host.data).len(), 1);
}
