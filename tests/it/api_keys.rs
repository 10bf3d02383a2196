//! API keys of the real binary: what each scope opens, and that a key ends when it is to end.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host_process::{HostProcess, HostSettings, client};

struct Scene {
    host: HostProcess,
    _folder: TempDir,
}

impl Scene {
    fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { host: HostProcess::start(&HostSettings::on(&folder.path().join("data"))), _folder: folder }
    }

    fn make(&self, scopes: &[&str]) -> String {
        let scopes = scopes.iter().flat_map(|scope| ["--scope", scope]);
        let arguments: Vec<_> = ["keys", "new", "of a test"].into_iter().chain(scopes).collect();
        self.host.cli_ok(&arguments).trim().to_owned()
    }

    /// Status and `detail` of the answer to a request with that key.
    async fn ask(&self, key: &str, method: &str, path: &str, body: &Value) -> (u16, String) {
        let request = client().request(method.parse().unwrap(), self.host.url(path)).header("x-api-key", key);
        let answer = request.json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let answer: Value = answer.json().await.unwrap_or_default();
        (status, answer["detail"].as_str().unwrap_or_default().to_owned())
    }
}

fn id_of(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

const RUN: &str = "018f0000-0000-7000-8000-000000000001";

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_opens_its_routes_and_no_others() {
    let scene = Scene::set();
    let run = json!({"post": [{
        "id": RUN, "name": "r", "run_type": "chain", "start_time": "2026-07-01T09:00:00Z", "session_name": "p",
        "trace_id": RUN, "dotted_order": format!("20260701T090000000000Z{RUN}"),
    }]});
    let rule = json!({"display_name": "r", "sampling_rate": 1.0, "webhooks": []});
    let rules = json!({"rules": []});
    let key = json!({"name": "k", "scopes": ["read"]});
    let routes = [
        ("ingest", "POST", "/runs/batch", &run),
        ("ingest", "POST", "/api/v1/runs/batch", &run),
        ("ingest", "POST", "/sessions?upsert=true", &json!({"name": "p"})),
        ("read", "GET", "/sessions", &Value::Null),
        ("read", "GET", "/api/v1/runs/rules", &Value::Null),
        ("read", "POST", "/runs/query", &json!({"id": [RUN]})),
        ("read", "POST", "/api/v2/runs/query", &json!({"ids": [RUN]})),
        ("read", "GET", "/api/v1/ledger", &Value::Null),
        ("operate", "POST", "/api/v1/runs/rules", &rule),
        ("operate", "POST", "/api/v1/runs/rules/apply", &rules),
        ("operate", "POST", "/api/v1/runs/rules/trigger", &json!({"rule_ids": []})),
        ("operate", "DELETE", &format!("/feedback/{RUN}"), &Value::Null),
        ("admin", "GET", "/api/v1/keys", &Value::Null),
        ("admin", "POST", "/api/v1/keys", &key),
        ("admin", "POST", "/api/v1/keys/rotate", &Value::Null),
    ];
    for scope in ["ingest", "read", "operate", "admin"] {
        let key = scene.make(&[scope]);
        for (needed, method, path, body) in routes {
            let (status, detail) = scene.ask(&key, method, path, body).await;
            if scope == needed || scope == "admin" {
                assert!(!matches!(status, 401 | 403), "{scope}: {method} {path}: {status} {detail}");
            } else {
                assert_eq!(status, 403, "{scope}: {method} {path}: {detail}");
                assert!(detail.contains(&format!("`{scope}`; this needs `{needed}`")), "{detail}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_two_scopes_traces_and_reads_and_changes_no_rule() {
    let scene = Scene::set();
    let key = scene.make(&["ingest", "read"]);
    assert!(key.starts_with("rh_") && key.len() == "rh_".len() + 12 + 1 + 64, "{key}");
    assert_eq!(scene.ask(&key, "POST", "/runs/batch", &json!({"post": []})).await.0, 202);
    assert_eq!(scene.ask(&key, "GET", "/api/v1/runs/rules", &Value::Null).await.0, 200);
    let listed = scene.host.cli_with(&key, &["rule", "list"]);
    assert!(listed.status.success());
    let refused = scene.host.cli_with(&key, &["keys", "list"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("needs `admin`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_at_once_and_after_a_restart() {
    let mut scene = Scene::set();
    let (kept, revoked) = (scene.make(&["read"]), scene.make(&["read"]));
    assert_eq!(scene.ask(&revoked, "GET", "/sessions", &Value::Null).await.0, 200);
    let said = scene.host.cli_ok(&["keys", "revoke", id_of(&revoked)]);
    assert!(said.contains(id_of(&revoked)) && said.contains("of a test"), "{said}");
    assert_eq!(scene.ask(&revoked, "GET", "/sessions", &Value::Null).await.0, 401);
    let again = scene.host.cli(&["keys", "revoke", id_of(&revoked)]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("there is no API key"));
    scene.host.kill();
    scene.host = HostProcess::start(&HostSettings::on(&scene.host.data));
    assert_eq!(scene.ask(&revoked, "GET", "/sessions", &Value::Null).await.0, 401);
    assert_eq!(scene.ask(&kept, "GET", "/sessions", &Value::Null).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_is_refused_in_words_of_its_own() {
    let scene = Scene::set();
    let admin = scene.host.api_key();
    let request = client().post(scene.host.url("/api/v1/keys")).header("x-api-key", &admin);
    let wanted = json!({"name": "short", "scopes": ["read"], "expires_in_seconds": 1});
    let made: Value = request.json(&wanted).send().await.unwrap().json().await.unwrap();
    let key = made["key"].as_str().unwrap();
    let deadline = std::time::Instant::now() + crate::support::waiting::PATIENCE;
    let mut turn = tokio::time::interval(std::time::Duration::from_millis(50));
    loop {
        turn.tick().await;
        let (status, detail) = scene.ask(key, "GET", "/sessions", &Value::Null).await;
        if status == 401 {
            assert!(detail.contains("has expired at"), "{detail}");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "it never expires");
    }
    let unknown = scene.ask("rh_000000000000_0", "GET", "/sessions", &Value::Null).await;
    assert!(unknown.0 == 401 && unknown.1.contains("no API key of this host"), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_without_what_one_could_use_and_kept_nowhere() {
    let scene = Scene::set();
    let key = scene.make(&["operate", "ingest"]);
    scene.ask(&key, "GET", "/sessions", &Value::Null).await;
    let table = scene.host.cli_ok(&["keys", "list"]);
    let json = scene.host.cli_ok(&["keys", "list", "--json"]);
    let listed: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(listed["keys"][0]["id"], id_of(&key));
    assert_eq!(listed["keys"][0]["scopes"], json!(["ingest", "operate"]));
    assert!(listed["keys"][0]["last_used_on"].as_str().is_some_and(|day| day.len() == 10), "{listed}");
    assert!(table.contains("ingest operate") && table.contains("of a test"), "{table}");
    let secret = key.rsplit_once('_').unwrap().1;
    let database = std::fs::read(scene.host.data.join("runhook.db-wal")).unwrap();
    for (place, bytes) in [("list", table.as_bytes()), ("json", json.as_bytes()), ("database", &database)] {
        assert!(bytes.windows(id_of(&key).len()).any(|window| window == id_of(&key).as_bytes()), "{place}");
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{place}");
    }
    assert!(!scene.host.log().contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_makes_no_sense_is_refused_with_the_place() {
    let scene = Scene::set();
    let admin = scene.host.api_key();
    let cases = [
        (json!({"name": " ", "scopes": ["read"]}), "name"),
        (json!({"name": "n".repeat(257), "scopes": ["read"]}), "name"),
        (json!({"name": "k", "scopes": []}), "scopes"),
        (json!({"name": "k", "scopes": ["all"]}), "all"),
        (json!({"name": "k", "scopes": ["read"], "expires_in_seconds": 0}), "expires_in_seconds"),
        (json!({"name": "k", "scopes": ["read"], "expires": "90d"}), "expires"),
    ];
    for (body, says) in cases {
        let (status, detail) = scene.ask(&admin, "POST", "/api/v1/keys", &body).await;
        assert!(status == 422 && detail.contains(says), "{body}: {status} {detail}");
    }
    let refused = scene.host.cli(&["keys", "new", "k", "--scope", "all"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`all` is no scope"));
}
