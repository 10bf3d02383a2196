//! The real LangSmith SDKs trace into the spawned host; rules turn the runs into payloads, which are checked field by
//! field. The OpenTelemetry SDK does the same with a GenAI trace.

use std::collections::HashSet;
use std::path::Path;

use runhook::model::Timestamp;
use serde_json::{Value, json};

use crate::host_process::{HostProcess, HostSettings, client};
use crate::support::payloads::{Payloads, runs};
use crate::support::peers::{Peer, javascript, old_python, python_scripts, python_with};

/// A host with one rule for all runs of a project, and one for what gets a correction.
struct Scene {
    host: HostProcess,
    all: Payloads,
    corrected: Payloads,
    _folder: tempfile::TempDir,
}

const PROJECT: &str = "traced by an SDK";

impl Scene {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = HostProcess::start(&HostSettings::on(&folder.path().join("data")));
        let ((all_url, all), (corrected_url, corrected)) = (Payloads::serve().await, Payloads::serve().await);
        host.apply(&format!(
            r#"
            [[rules]]
            display_name = "all"
            sampling_rate = 1.0
            session_name = "{PROJECT}"
            window_seconds = 1
            webhooks = [{{ url = "{all_url}" }}]

            [[rules]]
            display_name = "corrected"
            sampling_rate = 1.0
            session_name = "{PROJECT}"
            filter = 'and(eq(feedback_key, "correctness"), lt(feedback_score, 0.5))'
            window_seconds = 1
            webhooks = [{{ url = "{corrected_url}" }}]
            "#
        ));
        Self { host, all, corrected, _folder: folder }
    }

    fn peer<'a>(&'a self, root: &'a str) -> Peer<'a> {
        Peer { host: &self.host, root, project: PROJECT }
    }

    /// Runs a tracing script and checks what its runs became.
    async fn trace(&self, root: &str, folder: &Path, command: &[&str]) -> Value {
        let traced = self.peer(root).run(folder, command, &Value::Null).await;
        let expected = traced["runs"].as_array().unwrap();
        let payloads = self.all.until_runs(expected.len()).await;
        let runs = runs(&payloads);
        assert_eq!(runs.len(), expected.len(), "a run came twice");
        for run in expected {
            let sent = runs.iter().find(|sent| sent["id"] == run["id"]).expect("every run arrives");
            self.check(run, sent).await;
        }
        payloads.iter().for_each(check_window);
        self.check_corrected(&traced).await;
        traced
    }

    async fn check(&self, traced: &Value, sent: &Value) {
        for key in ["name", "run_type", "trace_id", "dotted_order", "status", "tags"] {
            assert_eq!(sent[key], traced[key], "{key} of {sent:#}");
        }
        assert_eq!(sent["parent_run_id"], traced["parent_run_id"], "{sent:#}");
        assert_eq!(sent["is_root"], traced["parent_run_id"].is_null(), "{sent:#}");
        assert_eq!(sent["inputs"], traced["inputs"], "{sent:#}");
        let is_empty = |value: &Value| value.is_null() || value == &json!({}) || value == &json!({"output": null});
        let is_same =
            sent["outputs"] == traced["outputs"] || (is_empty(&sent["outputs"]) && is_empty(&traced["outputs"]));
        assert!(is_same, "outputs of {sent:#}, traced {}", traced["outputs"]);
        assert_eq!(sent["error"].is_null(), traced["error"].is_null(), "{sent:#}");
        if let Some(error) = traced["error"].as_str() {
            assert_eq!(sent["error"], error);
        }
        for (key, value) in traced["metadata"].as_object().unwrap() {
            assert_eq!(&sent["extra"]["metadata"][key], value, "metadata.{key} of {sent:#}");
        }
        for key in ["start_time", "end_time"] {
            check_time(sent[key].as_str().unwrap(), traced[key].as_str().unwrap());
        }
        for (name, file) in traced["attachments"].as_object().unwrap() {
            let link = &sent["s3_urls"][format!("attachment.{name}")];
            assert_eq!(link["mime_type"], file[0], "{sent:#}");
            let answer = client().get(link["presigned_url"].as_str().unwrap()).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), file[1].as_str().unwrap());
        }
        assert!(sent["trace_url"].as_str().unwrap().starts_with(&self.host.url("/")), "{sent:#}");
    }

    /// The rule that waits for feedback sends the run once it is there, with its statistics.
    async fn check_corrected(&self, traced: &Value) {
        let payloads = self.corrected.until_runs(1).await;
        let run = runs(&payloads)[0];
        let feedback = &traced["feedback"][0];
        assert_eq!(run["id"], feedback["run_id"]);
        let stats = &run["feedback_stats"]["correctness"];
        assert_eq!((&stats["n"], &stats["avg"]), (&json!(1), &json!(0.25)), "{run:#}");
        assert_eq!(payloads[0]["feedback_stats"]["correctness"]["n"], 1);
    }
}

/// Run times are naive and mean UTC; JavaScript prints milliseconds.
fn check_time(sent: &str, traced: &str) {
    let parse = |text: &str| {
        let zoned = if text.ends_with('Z') || text.contains('+') { text.to_owned() } else { format!("{text}Z") };
        zoned.parse::<Timestamp>().unwrap()
    };
    assert!(!sent.contains('+') && !sent.ends_with('Z'), "{sent}");
    let apart = parse(sent).duration_since(parse(traced)).as_micros().abs();
    assert!(apart < 1_000, "{sent} and {traced}");
}

fn check_window(payload: &Value) {
    let time = |key: &str| {
        let text = payload[key].as_str().unwrap();
        assert!(text.ends_with("+00:00"), "{text}");
        text.parse::<Timestamp>().unwrap()
    };
    assert!(time("start_time") < time("end_time"));
    let keys: Vec<_> = payload.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["rule_id", "start_time", "end_time", "runs", "feedback_stats"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_python_sdk_traces_and_reads_back() {
    let Some(python) = python_with("langsmith") else { return };
    let scene = Scene::set().await;
    let traced = scene.trace("", &python_scripts(), &[&python, "trace.py"]).await;
    let read = scene.peer("").run(&python_scripts(), &[&python, "read.py"], &traced).await;
    check_read(&traced, &read);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_python_sdk_sends_runs_one_by_one_below_api_v1() {
    let Some(python) = python_with("langsmith") else { return };
    let scene = Scene::set().await;
    scene.trace("/api/v1", &python_scripts(), &[&python, "trace.py", "--single"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_sdk_of_2024_traces_and_reads_back() {
    let Some(python) = old_python() else { return };
    let scene = Scene::set().await;
    let traced = scene.trace("/api/v1", &python_scripts(), &[&python, "trace.py"]).await;
    scene.peer("").run(&python_scripts(), &[&python, "read.py"], &traced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_sdk_traces() {
    let Some(folder) = javascript() else { return };
    let scene = Scene::set().await;
    scene.trace("", &folder, &["node", "trace.mjs"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_made_listed_changed_and_deleted_as_at_langsmith() {
    let Some(python) = python_with("langsmith") else { return };
    let scene = Scene::set().await;
    let peer = Peer { project: "rules of an SDK", ..scene.peer("") };
    let command = [python.as_str(), "rules.py", "https://example.com/?secret=s"];
    let printed = peer.run(&python_scripts(), &command, &Value::Null).await;
    assert_eq!(printed["checks"][0]["valid"], true);
}

/// What `read.py` found by each way of asking.
fn check_read(traced: &Value, read: &Value) {
    let ids: Vec<_> = traced["runs"].as_array().unwrap().iter().map(|run| run["id"].clone()).collect();
    let [answer, generate, judge, search, broken] = &ids[..] else { panic!("five runs are traced") };
    let set = |ids: &[&Value]| ids.iter().map(|id| id.to_string()).collect::<HashSet<_>>();
    let listed = |way: &str| {
        let list = read["lists"][way].as_array().unwrap();
        list.iter().map(Value::to_string).collect::<HashSet<_>>()
    };
    assert_eq!(listed("all"), set(&[answer, generate, judge, search, broken]));
    assert_eq!(listed("roots"), set(&[answer, broken]));
    assert_eq!(listed("children"), set(&[generate, judge, search]));
    assert_eq!(listed("by parent"), set(&[generate, judge, search]));
    assert_eq!(listed("llm"), set(&[generate, judge]));
    assert_eq!(listed("filter llm"), set(&[generate, judge]));
    assert_eq!(listed("errors"), set(&[search, broken]));
    assert_eq!(listed("trace filter"), set(&[search]));
    assert_eq!(listed("tree filter"), set(&[answer]));
    assert_eq!(listed("filter thread"), set(&[answer, generate, judge, search]));
    assert_eq!(listed("filter tag"), set(&[broken]));
    assert_eq!(read["lists"]["limit 2"].as_array().unwrap().len(), 2);
    let pages = read["lists"]["pages of 2"].as_array().unwrap();
    let paged: Vec<_> = pages.iter().flat_map(|page| page.as_array().unwrap()).collect();
    assert_eq!(paged.len(), 5, "{pages:?}");
    assert_eq!(read["feedback"].as_array().unwrap().len(), 2);
    assert_eq!((&read["unknown run"], &read["unknown project"]), (&json!(true), &json!(true)));
    for (traced, read) in traced["runs"].as_array().unwrap().iter().zip(read["runs"].as_array().unwrap()) {
        for key in ["id", "name", "run_type", "inputs", "tags", "error", "attachments"] {
            assert_eq!(read[key], traced[key], "{key} of {read:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opentelemetry_exporter_triggers_a_rule() {
    let Some(python) = python_with("opentelemetry.sdk, opentelemetry.exporter.otlp.proto.http") else { return };
    let scene = Scene::set().await;
    // The script prints a trace id of 32 digits, which is JSON where it is quoted.
    let script = "import subprocess, sys, json; print(json.dumps(subprocess.check_output([sys.executable, 'otel_genai.py'], text=True).strip()))";
    let trace = scene.peer("").run(&python_scripts(), &[&python, "-c", script], &Value::Null).await;
    let payloads = scene.all.until_runs(3).await;
    let runs = runs(&payloads);
    let trace_id = uuid::Uuid::parse_str(trace.as_str().unwrap()).unwrap().to_string();
    assert!(runs.iter().all(|run| run["trace_id"] == *trace_id), "{runs:#?}");
    let of_type = |run_type: &str| *runs.iter().find(|run| run["run_type"] == run_type).unwrap();
    let (chain, llm, tool) = (of_type("chain"), of_type("llm"), of_type("tool"));
    assert_eq!(chain["is_root"], true);
    assert_eq!((&llm["parent_run_id"], &tool["parent_run_id"]), (&chain["id"], &chain["id"]));
    assert_eq!((&llm["prompt_tokens"], &llm["completion_tokens"]), (&json!(41), &json!(17)));
    assert_eq!(llm["extra"]["metadata"]["ls_provider"], "openai");
    assert_eq!(tool["status"], "error");
    assert!(tool["error"].as_str().unwrap().starts_with("no stock list for umbrellas"), "{tool:#}");
}
