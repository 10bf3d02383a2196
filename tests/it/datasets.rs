//! Datasets and examples through the doors, at both roots, and as an unmodified SDK uses them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::host_process::{HostProcess, HostSettings, client};

const ROOTS: [&str; 2] = ["", "/api/v1"];

/// The host and the folder that it lives in.
struct Scene {
    host: HostProcess,
    folder: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = HostProcess::start(&HostSettings::on(&folder.path().join("data")));
        Self { host, folder }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<reqwest::Body>, kind: &str) -> (StatusCode, String) {
        let request = client().request(method.parse().unwrap(), self.host.url(path));
        let request = request.header("x-api-key", self.host.api_key()).header("content-type", kind).body(body);
        let answer = request.send().await.unwrap();
        (StatusCode::from_u16(answer.status().as_u16()).unwrap(), answer.text().await.unwrap())
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> (StatusCode, Value) {
        let (status, text) = self.send(method, path, body.to_owned(), "application/json").await;
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}")))
    }

    /// The same, for a call that has to succeed.
    async fn ok(&self, method: &str, path: &str, body: &str) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    async fn refused(&self, method: &str, path: &str, body: &str, expected: StatusCode) -> String {
        let (status, answer) = self.call(method, path, body).await;
        assert_eq!(status, expected, "{method} {path} {body}: {answer}");
        answer["detail"].as_str().unwrap().to_owned()
    }

    async fn dataset(&self, name: &str) -> String {
        let dataset = self.ok("POST", "/datasets", &json!({"name": name}).to_string()).await;
        dataset["id"].as_str().unwrap().to_owned()
    }

    /// A form as JavaScript writes it.
    async fn form(&self, method: &str, path: &str, parts: &[(String, &str)]) -> (StatusCode, Value) {
        let mut body = String::new();
        for (name, content) in parts {
            body += &format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"blob\"\r\n");
            body += &format!("Content-Type: application/json\r\n\r\n{content}\r\n");
        }
        body += "--line--\r\n";
        let (status, text) = self.send(method, path, body, "multipart/form-data; boundary=line").await;
        (status, serde_json::from_str(&text).unwrap())
    }
}

fn platform(dataset: &str) -> [String; 2] {
    ["/v1", "/api/v1"].map(|root| format!("{root}/platform/datasets/{dataset}/examples"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_lives_at_both_roots_and_survives_a_crash() {
    let mut scene = Scene::start();
    let given = r#"{"name":"d","extra":{"metadata":{"b": 1.0,"a":"\u0041"},"source":"sdk"},"unknown":{"x":[]}}"#;
    let made = scene.ok("POST", "/api/v1/datasets", given).await;
    let id = made["id"].as_str().unwrap();
    for key in ["tenant_id", "created_at", "modified_at"] {
        assert!(made[key].is_string(), "{key}: {made}");
    }
    assert_eq!(
        (&made["data_type"], &made["session_count"], &made["example_count"]),
        (&json!("kv"), &json!(0), &json!(0))
    );
    scene.host.kill();
    scene.host = HostProcess::start(&HostSettings::on(&scene.folder.path().join("data")));
    for root in ROOTS {
        assert_eq!(scene.ok("GET", &format!("{root}/datasets/{id}?limit=1"), "").await, made);
        assert_eq!(scene.ok("GET", &format!("{root}/datasets?limit=1&name=d&unknown=True"), "").await, json!([made]));
        assert_eq!(scene.ok("GET", &format!("{root}/datasets?name=e"), "").await, json!([]));
        let detail = scene.refused("POST", &format!("{root}/datasets"), r#"{"name":"d"}"#, StatusCode::CONFLICT).await;
        assert!(detail.contains(id), "{detail}");
    }
    let (_, text) = scene.send("GET", "/datasets", "", "application/json").await;
    assert!(text.contains(r#""metadata":{"b": 1.0,"a":"\u0041"}"#), "{text}");
    scene.ok("DELETE", &format!("/datasets/{id}"), "").await;
    scene.refused("GET", &format!("/datasets/{id}"), "", StatusCode::NOT_FOUND).await;
    scene.refused("DELETE", &format!("/datasets/{id}"), "", StatusCode::NOT_FOUND).await;
    let bare = client().get(scene.host.url("/datasets")).send().await.unwrap();
    assert_eq!(bare.status().as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_are_kept_as_they_came() {
    let scene = Scene::start();
    let (dataset, run) = (scene.dataset("d").await, Uuid::now_v7());
    let given = format!(
        r#"{{"dataset_id":"{dataset}","inputs":{{"b": 1.0, "a":"\u0041"}},"outputs":null,"split":"x",
            "metadata":{{"k" : 1e2}},"source_run_id":"{run}","use_source_run_io":false,"created_at":"2026-07-01T09:00:00"}}"#
    );
    let (status, text) = scene.send("POST", "/examples", given, "application/json").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    for kept in [r#""inputs":{"b": 1.0, "a":"\u0041"}"#, r#""metadata":{"k" : 1e2,"dataset_split":["x"]}"#] {
        assert!(text.contains(kept), "{text}");
    }
    let made: Value = serde_json::from_str(&text).unwrap();
    let id = made["id"].as_str().unwrap();
    assert_eq!((&made["outputs"], &made["source_run_id"]), (&Value::Null, &json!(run)));
    assert_eq!(made["created_at"], "2026-07-01T09:00:00Z");
    assert!(made["name"].is_string() && made.get("attachments").is_none());
    for root in ROOTS {
        let (_, again) = scene.send("GET", &format!("{root}/examples/{id}"), "", "application/json").await;
        assert_eq!(again, text);
        let listed =
            scene.ok("GET", &format!("{root}/examples?offset=0&inline_s3_urls=True&dataset={dataset}"), "").await;
        assert_eq!(listed, json!([made]));
    }
    let changed = scene.ok("PATCH", &format!("/examples/{id}"), r#"{"inputs":null,"outputs":{"o":1}}"#).await;
    assert_eq!((&changed["inputs"], &changed["outputs"]), (&made["inputs"], &json!({"o": 1})));
    assert_eq!(changed["metadata"], made["metadata"]);
    scene.ok("DELETE", &format!("/examples/{id}"), "").await;
    for method in ["GET", "PATCH", "DELETE"] {
        scene.refused(method, &format!("/examples/{id}"), "{}", StatusCode::NOT_FOUND).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_taken_whole_or_not_at_all() {
    let scene = Scene::start();
    let (dataset, taken) = (scene.dataset("d").await, Uuid::now_v7());
    let one = |id: Uuid| json!({"id": id, "dataset_id": dataset, "inputs": {"n": 1}});
    let made =
        scene.ok("POST", "/api/v1/examples/bulk", &json!([one(taken), {"dataset_id": dataset}]).to_string()).await;
    assert_eq!((&made[0]["id"], &made[1]["inputs"]), (&json!(taken), &json!({})));
    let again = json!([one(Uuid::now_v7()), one(taken)]).to_string();
    let detail = scene.refused("POST", "/examples/bulk", &again, StatusCode::CONFLICT).await;
    assert!(detail.contains(&taken.to_string()), "{detail}");
    scene.refused("POST", "/examples", &one(taken).to_string(), StatusCode::CONFLICT).await;
    let lost = json!({"dataset_id": Uuid::now_v7()}).to_string();
    scene.refused("POST", "/examples", &lost, StatusCode::NOT_FOUND).await;
    let wrong = json!([one(Uuid::now_v7()), {"dataset_id": dataset, "inputs": []}]).to_string();
    let detail = scene.refused("POST", "/examples/bulk", &wrong, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(detail.starts_with("body[1].inputs: "), "{detail}");
    assert_eq!(scene.ok("GET", "/examples", "").await.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_are_taken_at_both_real_urls() {
    let scene = Scene::start();
    let dataset = scene.dataset("d").await;
    for path in platform(&dataset) {
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        let parts = [
            (first.to_string(), r#"{"metadata":{"k":1},"split":"x","use_source_run_io":false}"#),
            (format!("{first}.inputs"), r#"{"q": 1.0}"#),
            (format!("{first}.outputs"), r#"{"a":1}"#),
            (second.to_string(), "{}"),
            (format!("{second}.inputs"), r#"{"q":2}"#),
        ];
        let (status, answer) = scene.form("POST", &path, &parts).await;
        assert_eq!((status, &answer["count"]), (StatusCode::CREATED, &json!(2)), "{answer}");
        assert_eq!(answer["example_ids"], json!([first, second]));
        assert_eq!(scene.form("POST", &path, &parts[3..]).await.0, StatusCode::CONFLICT);
        let change = [(first.to_string(), "{}"), (format!("{first}.outputs"), r#"{"a":2}"#)];
        let (status, answer) = scene.form("PATCH", &path, &change).await;
        assert_eq!((status, &answer["count"]), (StatusCode::OK, &json!(1)), "{answer}");
        let read = scene.ok("GET", &format!("/examples/{first}"), "").await;
        assert_eq!((&read["inputs"], &read["outputs"]), (&json!({"q": 1.0}), &json!({"a": 2})));
        assert_eq!(read["metadata"], json!({"k": 1, "dataset_split": ["x"]}));
        let elsewhere = path.replace(&dataset, &scene.dataset(&path).await);
        assert_eq!(scene.form("PATCH", &elsewhere, &change).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done_is_refused_by_its_name() {
    let scene = Scene::start();
    let (dataset, id) = (scene.dataset("d").await, Uuid::now_v7());
    let [path, _] = platform(&dataset);
    let file = [(id.to_string(), "{}"), (format!("{id}.attachment.map"), "png")];
    let (status, answer) = scene.form("POST", &path, &file).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer["detail"].as_str().unwrap().contains(".attachment.map: "), "{answer}");
    let (status, _) = scene.call("POST", &path, "{}").await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for query in ["filter=exists(metadata,\"k\")", "as_of=2026-07-01T09:00:00", "limit=101", "limit=0", "dataset=x"] {
        let detail = scene.refused("GET", &format!("/examples?{query}"), "", StatusCode::UNPROCESSABLE_ENTITY).await;
        assert!(detail.starts_with(query.split('=').next().unwrap()), "{query}: {detail}");
    }
    scene.ok("GET", "/examples?as_of=latest", "").await;
    for (body, expected) in [
        (r#"{"name":"#, StatusCode::BAD_REQUEST),
        (r#"{"name":""}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name":"e","data_type":"csv"}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (r#"{"name":"e","transformations":[{}]}"#, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        scene.call("POST", "/datasets", body).await;
        scene.refused("POST", "/datasets", body, expected).await;
    }
    let source = json!({"dataset_id": dataset, "source_run_id": id, "use_source_run_io": true}).to_string();
    let detail = scene.refused("POST", "/examples", &source, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(detail.contains("use_source_run_io"), "{detail}");
    let large = json!({"dataset_id": dataset, "inputs": {"q": "x".repeat(33 * 1024 * 1024)}}).to_string();
    scene.refused("POST", "/examples", &large, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!(scene.ok("GET", "/examples", "").await, json!([]));
}

/// A Python that has the SDK, or none, said loudly; `RUNHOOK_TEST_NO_SKIP` makes that a failure.
fn python_with_sdk() -> Option<String> {
    let python = std::env::var("RUNHOOK_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import langsmith"]).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    assert!(std::env::var_os("RUNHOOK_TEST_NO_SKIP").is_none(), "{python} cannot import langsmith");
    eprintln!("SKIPPED: {python} cannot import langsmith; set RUNHOOK_TEST_PYTHON to one that can");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_keeps_a_dataset() {
    let Some(python) = python_with_sdk() else { return };
    let scene = Scene::start();
    for root in ROOTS {
        let output = Command::new(&python)
            .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/sdk/python/datasets.py"))
            .env("LANGSMITH_ENDPOINT", scene.host.url(root))
            .env("LANGSMITH_API_KEY", scene.host.api_key())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .expect("python starts");
        let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{errors}");
        let read: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{errors}"));
        let inputs = json!({"question": "Where is Zürich? 🗺", "scores": [1, 0.5, null], "nested": {"a": {}}});
        let metadata = json!({"origin": "test", "dataset_split": ["train"]});
        assert_eq!((&read["example"]["inputs"], &read["example"]["metadata"]), (&inputs, &metadata));
        let last = &read["changed"][1];
        assert_eq!(last["metadata"], json!({"origin": "changed", "dataset_split": ["hard"]}));
        assert_eq!(last["outputs"], json!({"answer": "In the north of Switzerland."}));
        assert_ne!(last["modified_at"], read["example"]["modified_at"]);
        assert_eq!(last["created_at"], read["example"]["created_at"]);
    }
}
