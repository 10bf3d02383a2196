//! The documents as a whole, and the laws of what is spliced and counted.

use std::collections::BTreeMap;

use bytestring::ByteString;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::model::ids::{FeedbackId, ProjectId, RunId};
use crate::model::run::{Costs, Status, Tokens};

const ROOT: &str = "01a20a1f-dd5f-7b15-9c4c-a1b7b77b3cf4";
const RUN: &str = "01a20a1f-dd6a-7b89-980c-b967e581e63f";

fn uuid(text: &str) -> Uuid {
    text.parse().unwrap()
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn tenant() -> Uuid {
    uuid("0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10")
}

fn url() -> Url {
    "https://runhook.example/base/".parse().unwrap()
}

fn window(part: u32) -> Window {
    Window {
        rule: RuleId(uuid("11111111-2222-4333-8444-555555555555")),
        start: instant("2026-11-23T20:36:00.120394Z"),
        end: instant("2026-11-23T20:37:00Z"),
        part,
    }
}

fn llm_run() -> Run {
    Run {
        id: RunId(uuid(RUN)),
        trace: RunId(uuid(ROOT)),
        parent: Some(RunId(uuid(ROOT))),
        project: ProjectId(uuid("6a3be6a2-9a8c-4fc8-b4c6-a8983b286cc5")),
        name: "say \"hi\"".to_owned(),
        run_type: "llm".to_owned(),
        dotted_order: format!("20261123T203630175445Z{ROOT}.20261123T203630186075Z{RUN}"),
        start_time: instant("2026-11-23T20:36:30.186075Z"),
        end_time: Some(instant("2026-11-23T20:36:31Z")),
        first_token_time: None,
        modified_at: instant("2026-11-23T20:36:32.000001Z"),
        status: Status::Error,
        error: Some("line 1\nline 2".to_owned()),
        tags: vec!["prod".to_owned(), "ü".to_owned()],
        tokens: Tokens { prompt: 5, completion: 2, total: 7 },
        costs: Costs { prompt: Some("0.0000015".to_owned()), completion: None, total: Some("0.25".to_owned()) },
        reference_example: None,
        inputs: Some(r#"{"q": [1.0, "\u0041"]}"#.into()),
        outputs: None,
        extra: Some(r#"{"metadata":{"thread_id":"t-1"}}"#.into()),
        events: Some("[]".into()),
        serialized: None,
        blobs: Default::default(),
    }
}

fn root_run() -> Run {
    let id = RunId(uuid(ROOT));
    let dotted_order = format!("20261123T203630175445Z{ROOT}");
    Run { id, parent: None, dotted_order, ..llm_run() }
}

fn said(key: &str, score: Option<f64>, value: Option<&str>, comment: Option<&str>) -> Feedback {
    Feedback {
        id: FeedbackId(uuid(RUN)),
        run: None,
        key: key.to_owned(),
        score,
        value: value.map(ByteString::from),
        comment: comment.map(str::to_owned),
        correction: None,
        source_type: Some("api".to_owned()),
        created_at: Timestamp::UNIX_EPOCH,
        modified_at: Timestamp::UNIX_EPOCH,
    }
}

fn matched<'a>(run: &'a Run, feedback: &'a [Feedback]) -> Matched<'a> {
    Matched { run, feedback, urls: Urls::default() }
}

fn built(window: &Window, runs: &[Matched<'_>], has_extended_stats: bool) -> String {
    let bytes = payload(window, runs, &Origin { tenant: tenant(), public_url: &url() }, has_extended_stats);
    String::from_utf8(bytes.into()).unwrap()
}

fn v1(matched: &Matched<'_>, select: Option<&[&str]>) -> Value {
    let select = select.map(|names| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    let text = run_v1(matched, &Origin { tenant: tenant(), public_url: &url() }, select.as_deref());
    serde_json::from_str(&text).unwrap()
}

fn v2(matched: &Matched<'_>, select: Option<&[&str]>) -> Value {
    let select = select.map(|names| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
    let text = run_v2(matched, &Origin { tenant: tenant(), public_url: &url() }, select.as_deref());
    serde_json::from_str(&text).unwrap()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_document_is_that_of_the_sample() {
    let (run, feedback) =
        (llm_run(), [said("thumbs", Some(1.0), None, Some("ok")), said("tone", None, Some("\"kind\""), None)]);
    let urls = Urls { outputs: Some(r#"{"ROOT": {"presigned_url": "https://s/x"}}"#), ..Urls::default() };
    let document = built(&window(1), &[Matched { run: &run, feedback: &feedback, urls }], false);
    let path = "/o/0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10/projects/p/6a3be6a2-9a8c-4fc8-b4c6-a8983b286cc5\
        /r/01a20a1f-dd6a-7b89-980c-b967e581e63f?trace_id=01a20a1f-dd5f-7b15-9c4c-a1b7b77b3cf4\
        &start_time=2026-11-23T20:36:30.186075";
    let stats = concat!(
        r#"{"thumbs":{"n":1,"avg":1.0,"show_feedback_arrow":false,"values":{}},"#,
        r#""tone":{"n":0,"avg":null,"show_feedback_arrow":false,"values":{"kind":1}}}"#
    );
    let expected = [
        r#"{"rule_id":"11111111-2222-4333-8444-555555555555","#,
        r#""start_time":"2026-11-23T20:36:00.120394+00:00","end_time":"2026-11-23T20:37:00.000000+00:00","#,
        r#""runs":[{"status":"error","is_root":false,"trace_id":"01a20a1f-dd5f-7b15-9c4c-a1b7b77b3cf4","#,
        r#""dotted_order":"20261123T203630175445Z01a20a1f-dd5f-7b15-9c4c-a1b7b77b3cf4"#,
        r#".20261123T203630186075Z01a20a1f-dd6a-7b89-980c-b967e581e63f","run_type":"llm","#,
        r#""modified_at":"2026-11-23T20:36:32.000001","tenant_id":"0b6a2c1e-5a51-4c38-9d5e-0d7a3c1f9b10","#,
        r#""session_id":"6a3be6a2-9a8c-4fc8-b4c6-a8983b286cc5","id":"01a20a1f-dd6a-7b89-980c-b967e581e63f","#,
        r#""name":"say \"hi\"","start_time":"2026-11-23T20:36:30.186075","end_time":"2026-11-23T20:36:31.000000","#,
        r#""parent_run_ids":["01a20a1f-dd5f-7b15-9c4c-a1b7b77b3cf4"],"child_run_ids":null,"direct_child_run_ids":null,"#,
        r#""total_tokens":7,"completion_tokens":2,"prompt_tokens":5,"#,
        r#""total_cost":"0.25","completion_cost":null,"prompt_cost":"0.0000015","first_token_time":null,"#,
        &format!(r#""app_path":"{path}","trace_url":"https://runhook.example/base{path}","#),
        r#""in_dataset":false,"last_queued_at":null,"inputs":{"q": [1.0, "\u0041"]},"inputs_s3_urls":null,"#,
        r#""outputs":null,"outputs_s3_urls":{"ROOT": {"presigned_url": "https://s/x"}},"#,
        r#""extra":{"metadata":{"thread_id":"t-1"}},"events":[],"#,
        &format!(r#""feedback_stats":{stats},"serialized":null,"share_token":null,"#),
        r#""parent_run_id":"01a20a1f-dd5f-7b15-9c4c-a1b7b77b3cf4","error":"line 1\nline 2","tags":["prod","ü"],"#,
        r#""reference_example_id":null,"thread_id":"t-1","s3_urls":null}],"#,
        &format!(r#""feedback_stats":{stats}}}"#),
    ];
    assert_eq!(document, expected.concat());
}

#[test]
fn parts_are_numbered_from_the_second_on() {
    let (first, second) = (built(&window(1), &[], false), built(&window(2), &[], false));
    assert!(first.ends_with(r#","runs":[],"feedback_stats":{}}"#), "{first}");
    assert!(second.ends_with(r#","runs":[],"feedback_stats":{},"part":2}"#), "{second}");
}

#[test]
fn a_root_has_no_ancestors_and_no_word_is_null() {
    let run = root_run();
    let document: Value = serde_json::from_str(&built(&window(1), &[matched(&run, &[])], false)).unwrap();
    let written = &document["runs"][0];
    assert_eq!((&written["is_root"], &written["parent_run_ids"]), (&json!(true), &json!([])));
    assert_eq!((&written["parent_run_id"], &written["feedback_stats"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_child_that_sent_no_place_has_the_ancestors_that_it_names() {
    let parent = uuid("01a20a20-0000-7000-8000-000000000001");
    let dotted_order = format!("20261123T203630186075Z{RUN}");
    let mut run = Run { parent: Some(RunId(parent)), dotted_order, ..llm_run() };
    assert_eq!(v1(&matched(&run, &[]), None)["parent_run_ids"], json!([ROOT, parent]));
    run.trace = run.id;
    assert_eq!(v1(&matched(&run, &[]), None)["parent_run_ids"], json!([parent]), "it is no ancestor of itself");
    run.trace = RunId(parent);
    assert_eq!(v1(&matched(&run, &[]), None)["parent_run_ids"], json!([parent]));
}

#[test]
fn extended_stats_have_more_members() {
    let feedback = [said("k", Some(1.0), None, Some("a")), said("k", Some(0.0), Some("[1]"), Some(""))];
    let document: Value = serde_json::from_str(&built(&window(1), &[matched(&llm_run(), &feedback)], true)).unwrap();
    let expected = json!({"n": 2, "avg": 0.5, "show_feedback_arrow": false, "values": {"[1]": 1}, "min": 0.0, "max": 1.0,
        "stdev": 0.5_f64.sqrt(), "errors": 0, "comments": ["a"], "sources": ["api"]});
    assert_eq!(document["runs"][0]["feedback_stats"]["k"].to_string(), expected.to_string());
    assert_eq!(document["feedback_stats"]["k"], expected);
}

#[test]
fn comments_are_a_sample() {
    let feedback: Vec<_> = (0..150).map(|number| said("k", None, None, Some(&number.to_string()))).collect();
    let stats = &v2(&matched(&llm_run(), &feedback), None)["feedback_stats"]["k"];
    let comments = stats["comments"].as_array().unwrap();
    assert_eq!((comments.len(), &comments[99]), (100, &json!("99")));
}

#[test]
fn the_second_api_counts_scores_before_labels() {
    let feedback =
        [said("k", Some(1.0), None, None), said("k", None, Some("\"a\""), None), said("k", None, Some("2"), None)];
    assert_eq!(v2(&matched(&llm_run(), &feedback), None)["feedback_stats"]["k"]["n"], 1);
    assert_eq!(v2(&matched(&llm_run(), &feedback[1..]), None)["feedback_stats"]["k"]["n"], 2);
}

#[test]
fn the_top_adds_up_all_runs() {
    let (one, other) =
        ([said("k", Some(1.0), None, None)], [said("k", Some(0.0), None, None), said("j", None, None, None)]);
    let (llm, root) = (llm_run(), root_run());
    let document = built(&window(1), &[matched(&llm, &one), matched(&root, &other)], false);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(keys(&document["feedback_stats"]), ["j", "k"]);
    assert_eq!(document["feedback_stats"]["k"]["n"], 2);
    assert_eq!(document["feedback_stats"]["k"]["avg"], 0.5);
    assert_eq!(document["runs"][0]["feedback_stats"]["k"]["avg"], 1.0);
}

#[test]
fn the_first_api_has_what_its_schema_requires_and_what_was_selected() {
    let run = llm_run();
    let selected = v1(&matched(&run, &[]), Some(&["inputs", "nothing", "total_cost"]));
    let always = [
        "id",
        "name",
        "run_type",
        "status",
        "trace_id",
        "dotted_order",
        "session_id",
        "start_time",
        "inputs",
        "total_cost",
        "app_path",
    ];
    assert_eq!(keys(&selected), always);
    assert_eq!(selected["total_cost"], "0.25");
    let all = v1(&matched(&run, &[]), None);
    assert_eq!((&all["start_time"], &all["status"]), (&json!("2026-11-23T20:36:30.186075"), &json!("error")));
    for absent in ["is_root", "tenant_id", "modified_at", "trace_url"] {
        assert_eq!(all.get(absent), None, "RunSchema has no `{absent}`");
    }
}

#[test]
fn the_first_api_has_every_field_that_the_python_client_selects() {
    let names = [
        "app_path",
        "completion_cost",
        "completion_tokens",
        "dotted_order",
        "end_time",
        "error",
        "events",
        "extra",
        "feedback_stats",
        "first_token_time",
        "id",
        "inputs",
        "name",
        "outputs",
        "parent_run_id",
        "parent_run_ids",
        "prompt_cost",
        "prompt_tokens",
        "reference_example_id",
        "run_type",
        "s3_urls",
        "session_id",
        "start_time",
        "status",
        "tags",
        "total_cost",
        "total_tokens",
        "trace_id",
    ];
    let run = llm_run();
    let mut given = v1(&matched(&run, &[]), Some(&names));
    assert_eq!(given.as_object_mut().unwrap().len(), names.len());
}

#[test]
fn the_second_api_has_its_own_formats() {
    let run = llm_run();
    let urls = Urls {
        others: Some(r#"{"attachment.pic":{"presigned_url":"https://s/pic"},"events":{"presigned_url":"x"}}"#),
        ..Urls::default()
    };
    let feedback = [said("tone", None, Some("\"kind\""), None), said("tone", None, Some("\"kind\""), None)];
    let written = v2(&Matched { run: &run, feedback: &feedback, urls }, None);
    assert_eq!((&written["status"], &written["run_type"]), (&json!("ERROR"), &json!("LLM")));
    assert_eq!(written["start_time"], "2026-11-23T20:36:30.186075+00:00");
    assert_eq!(written["end_time"], "2026-11-23T20:36:31.000000+00:00");
    assert_eq!(written["latency_seconds"], 0.813925);
    assert_eq!((&written["total_cost"], &written["prompt_cost"]), (&json!(0.25), &json!(1.5e-6)));
    assert_eq!(written["project_id"], run.project.to_string());
    assert_eq!((&written["is_in_dataset"], &written["metadata"]), (&json!(false), &json!({"thread_id": "t-1"})));
    assert_eq!(written["attachments"], json!({"pic": "https://s/pic"}));
    let stats = json!({"n": 2, "avg": null, "min": null, "max": null, "stdev": null, "errors": 0, "comments": [],
        "sources": ["api"], "values": {"kind": 2}, "contains_thread_feedback": false});
    assert_eq!(written["feedback_stats"]["tone"].to_string(), stats.to_string());
    for absent in ["session_id", "in_dataset", "serialized"] {
        assert_eq!(written.get(absent), None, "`{absent}` has another name there");
    }
}

#[test]
fn the_second_api_selects_by_names_in_capitals() {
    let run = llm_run();
    assert_eq!(keys(&v2(&matched(&run, &[]), Some(&["TOTAL_TOKENS", "name"]))), ["id", "name", "total_tokens"]);
}

#[test]
fn an_end_before_the_start_is_no_negative_latency() {
    let run = Run { end_time: Some(instant("2026-11-23T20:36:30.186Z")), ..llm_run() };
    assert_eq!(v2(&matched(&run, &[]), None)["latency_seconds"], 0.0);
}

/// What a reader sees of a document, values as they stand.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    runs: Vec<SeenRun<'a>>,
}

#[derive(Deserialize)]
struct SeenRun<'a> {
    name: String,
    error: Option<String>,
    tags: Vec<String>,
    #[serde(borrow)]
    inputs: Option<&'a RawValue>,
    #[serde(borrow)]
    extra: Option<&'a RawValue>,
}

/// JSON text as nobody would write it anew.
fn raw_json() -> impl Strategy<Value = String> {
    let text = any::<String>().prop_map(|text| json!(text).to_string());
    let leaf = prop_oneof![text, Just("1.00e+2".to_owned()), Just(r#"{ "a" :[ ] }"#.to_owned())];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(|items| format!("{{\"k\": [{}\n]}}", items.join(" ,")))
    })
}

fn feedback() -> impl Strategy<Value = Vec<Feedback>> {
    let value = prop::option::of(prop_oneof![Just("\"good\""), Just("\"\\u0067ood\""), Just("7")]);
    let one =
        ("[ab\"]", prop::option::of(-1e3..1e3), value).prop_map(|(key, score, value)| said(&key, score, value, None));
    prop::collection::vec(one, 0..8)
}

proptest! {
    #[test]
    fn what_came_as_json_is_spliced_as_it_stands(
        values in prop::collection::vec((raw_json(), raw_json(), any::<String>(), any::<bool>()), 0..4),
    ) {
        let runs: Vec<Run> = values.iter().map(|(inputs, extra, text, is_there)| Run {
            inputs: is_there.then(|| inputs.as_str().into()),
            extra: Some(extra.as_str().into()),
            name: text.clone(),
            error: is_there.then(|| text.clone()),
            tags: vec![text.clone()],
            ..llm_run()
        }).collect();
        let document = built(&window(1), &runs.iter().map(|run| matched(run, &[])).collect::<Vec<_>>(), false);
        let seen: Seen<'_> = serde_json::from_str(&document).unwrap();
        prop_assert_eq!(seen.runs.len(), runs.len());
        for (seen, run) in seen.runs.iter().zip(&runs) {
            prop_assert_eq!(seen.inputs.map(RawValue::get), run.inputs.as_deref());
            prop_assert_eq!(seen.extra.map(RawValue::get), run.extra.as_deref());
            prop_assert_eq!((&seen.name, &seen.error, &seen.tags), (&run.name, &run.error, &run.tags));
        }
    }

    #[test]
    fn stats_are_what_counting_by_hand_gives(of_runs in prop::collection::vec(feedback(), 0..4)) {
        let run = llm_run();
        let runs: Vec<_> = of_runs.iter().map(|feedback| matched(&run, feedback)).collect();
        let document: Value = serde_json::from_str(&built(&window(1), &runs, true)).unwrap();
        check_stats(&document["feedback_stats"], of_runs.concat().as_slice())?;
        for (index, feedback) in of_runs.iter().enumerate() {
            let stats = &document["runs"][index]["feedback_stats"];
            prop_assert_eq!(stats.is_null(), feedback.is_empty());
            if !feedback.is_empty() {
                check_stats(stats, feedback)?;
            }
        }
    }
}

fn check_stats(stats: &Value, feedback: &[Feedback]) -> Result<(), TestCaseError> {
    let mut by_key = BTreeMap::<&str, Vec<&Feedback>>::new();
    for one in feedback {
        by_key.entry(&one.key).or_default().push(one);
    }
    prop_assert_eq!(keys(stats), by_key.keys().copied().collect::<Vec<_>>());
    for (key, all) in by_key {
        let (stat, mut scores) = (&stats[key], all.iter().filter_map(|one| one.score).collect::<Vec<_>>());
        let n = scores.len() as f64;
        prop_assert_eq!(stat["n"].as_u64(), Some(scores.len() as u64));
        check_number(&stat["avg"], (n > 0.0).then(|| scores.iter().sum::<f64>() / n))?;
        let pairs: f64 = scores.iter().flat_map(|a| scores.iter().map(move |b| (a - b).powi(2))).sum();
        check_number(&stat["stdev"], (n > 1.0).then(|| (pairs / (2.0 * n * (n - 1.0))).sqrt()))?;
        scores.sort_by(f64::total_cmp);
        check_number(&stat["min"], scores.first().copied())?;
        check_number(&stat["max"], scores.last().copied())?;
        let labels = all.iter().filter_map(|one| one.value.as_deref()).map(label_of).collect::<Vec<_>>();
        for label in ["good", "7"] {
            let count = labels.iter().filter(|given| *given == label).count();
            prop_assert_eq!(stat["values"][label].as_u64().unwrap_or_default(), count as u64);
        }
    }
    Ok(())
}

/// The reader's floats are not exact to the last digit.
fn check_number(json: &Value, expected: Option<f64>) -> Result<(), TestCaseError> {
    prop_assert_eq!(json.is_null(), expected.is_none());
    let distance = json.as_f64().unwrap_or_default() - expected.unwrap_or_default();
    prop_assert!(distance.abs() < 1e-9, "{} is off by {}", json, distance);
    Ok(())
}

fn label_of(value: &str) -> String {
    serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_owned())
}
