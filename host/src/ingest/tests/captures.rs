//! Real requests of unmodified SDKs; the files lie in `captures/`.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::ingest::{batch, feedback, single, timestamp};
use crate::model::run::{FeedbackWrite, Layer};

/// A captured request: its head, and its body after decompression.
struct Capture {
    head: String,
    body: &'static [u8],
}

impl Capture {
    fn parse(file: &'static [u8]) -> Self {
        let mark = memchr::memmem::find(file, b"# raw body bytes=").unwrap();
        let body = mark + memchr::memmem::find(&file[mark..], b"\n\n").unwrap() + 2;
        Self { head: String::from_utf8(file[..mark].to_vec()).unwrap(), body: &file[body..] }
    }

    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).unwrap().1
    }
}

macro_rules! capture {
    ($name:literal) => {
        Capture::parse(include_bytes!(concat!("../../../../tests/captures/", $name, ".txt")))
    };
}

/// The parts as a plain reading of the text finds them: name, content type, content.
fn parts(capture: &Capture) -> Vec<(String, String, Vec<u8>)> {
    let boundary = capture.header("content-type").split_once("boundary=").unwrap().1;
    let latin: String = capture.body.iter().map(|byte| char::from(*byte)).collect();
    let delimiter = format!("--{boundary}");
    let pieces = latin.split(&delimiter);
    let parts = pieces.filter_map(|piece| {
        piece.strip_suffix("\r\n")?.split_once("\r\n\r\n").map(|(h, c)| (h.to_owned(), c.to_owned()))
    });
    parts
        .map(|(head, content)| {
            let name = head.split_once("name=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
            let media_type = head.split_once("Content-Type: ").unwrap().1;
            let media_type = media_type.split([';', '\r']).next().unwrap().to_owned();
            (name, media_type, content.chars().map(|char| char as u8).collect())
        })
        .collect()
}

fn without_nulls(mut value: Value) -> Value {
    value.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    value
}

/// Decodes in all encodings and in chunks of several sizes; the outcome is always the same.
async fn decoded(capture: &Capture) -> Batch {
    let mut batches = Vec::new();
    for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
        let packed = pack(capture.body, encoding).await;
        for size in [1, 7, 100, 1 << 20] {
            let content_type = capture.header("content-type");
            batches.push(decode_chunks(content_type, packed.chunks(size), encoding, IngestLimits::default()).await);
        }
    }
    assert!(batches.windows(2).all(|pair| pair[0] == pair[1]));
    batches.pop().unwrap()
}

/// Compares with the plain reading: nothing is missing, nothing is added.
fn check_against_parts(batch: &Batch, capture: &Capture) {
    let (mut runs, mut files, mut said) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (name, media_type, content) in parts(capture) {
        let mut pieces = name.splitn(3, '.');
        let (kind, id, rest) = (pieces.next().unwrap(), pieces.next().unwrap(), pieces.next());
        let json = || serde_json::from_slice::<Value>(&content).unwrap();
        match (kind, rest) {
            ("attachment", Some(name)) => files.push((id.to_owned(), name.to_owned(), media_type, content)),
            ("feedback", None) => said.push((id.to_owned(), without_nulls(json()))),
            (layer, None) => _ = runs.insert((layer.to_owned(), id.to_owned()), without_nulls(json())),
            (layer, Some(field)) => runs.get_mut(&(layer.to_owned(), id.to_owned())).unwrap()[field] = json(),
        }
    }
    let layer = |layer| if layer == Layer::Post { "post" } else { "patch" };
    let found = batch.runs.iter().map(|run| ((layer(run.layer).to_owned(), run.id.to_string()), json(run)));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), runs);
    assert_eq!(batch.runs.len(), runs.len());
    let found = batch.attachments.iter();
    let found =
        found.map(|file| (file.run.to_string(), file.name.clone(), file.media_type.clone(), file.bytes.to_vec()));
    assert_eq!(found.collect::<Vec<_>>(), files);
    let found =
        batch.feedback.iter().map(|said| (said.id.to_string(), serde_json::from_slice(&said.document).unwrap()));
    assert_eq!(found.collect::<Vec<_>>(), said);
    assert_eq!((batch.refused.as_slice(), &batch.broken_off), (&[][..], &None));
}

fn check_run(run: &RunWrite, layer: Layer, id: &str, expected: Value) {
    assert_eq!((run.layer, run.id.to_string().as_str()), (layer, id));
    let found = json(run);
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key} of {id}");
    }
    for key in ["start_time", "end_time"] {
        assert!(found.get(key).is_none_or(|time| timestamp(&time.to_string()).is_some()), "{key} of {id}");
    }
}

fn check_user_score(said: &FeedbackWrite, id: &str, run: &str) {
    assert_eq!((said.id.to_string().as_str(), said.key.as_str()), (id, "user_score"));
    assert_eq!(said.run.unwrap().to_string(), run);
    let document: Value = serde_json::from_slice(&said.document).unwrap();
    assert!(document["score"] == json!(0.1235) || document["score"] == json!(1));
    assert!(document.as_object().unwrap().values().all(|value| !value.is_null()));
}

#[tokio::test]
async fn python_zstd_brings_post_and_patch_a_file_and_feedback() {
    let capture = capture!("py-zstd-02-POST-runs_multipart");
    let batch = decoded(&capture).await;
    check_against_parts(&batch, &capture);
    let (root, llm, tool) = (
        "01a20a1f-dd5f-7b15-9c4c-a1b7b77b3cf4",
        "01a20a1f-dd6a-7b89-980c-b967e581e63f",
        "01a20a1f-dd6a-71a2-9445-302e4dfd6742",
    );
    let [root_post, llm_post, llm_patch, tool_post, tool_patch, root_patch] = &batch.runs[..] else { panic!() };
    check_run(
        root_post,
        Layer::Post,
        root,
        json!({
            "name": "root", "run_type": "chain", "tags": ["prod"], "session_name": "capture-demo", "inputs": {"q": "hello"},
            "outputs": {}, "events": [], "start_time": "2026-11-23T20:36:30.175445+00:00", "end_time": null,
        }),
    );
    check_run(
        llm_post,
        Layer::Post,
        llm,
        json!({"name": "fake-llm", "serialized": {"name": "fake-llm"}, "parent_run_id": root}),
    );
    check_run(
        llm_patch,
        Layer::Patch,
        llm,
        json!({"end_time": "2026-11-23T20:36:30.186329+00:00", "outputs": {
            "choices": [{"message": {"role": "assistant", "content": "hi"}}],
            "usage_metadata": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
        }}),
    );
    check_run(tool_post, Layer::Post, tool, json!({"inputs": {"x": 3}, "run_type": "tool"}));
    check_run(tool_patch, Layer::Patch, tool, json!({"outputs": {"output": null}}));
    assert!(json(tool_patch)["error"].as_str().unwrap().starts_with("ValueError('boom')\n\nTraceback"));
    check_run(root_patch, Layer::Patch, root, json!({"outputs": {"answer": "42"}, "trace_id": root}));
    assert!(!text(root_patch).contains("parent_run_id") && !text(root_patch).contains("session_id"));
    assert_eq!(batch.attachments[0].bytes, &b"\x89PNGfake"[..]);
    assert_eq!(batch.attachments[0].media_type, "image/png");
    check_user_score(&batch.feedback[0], "01a20a1f-dd6b-723d-bb68-69dc6c438287", root);
}

#[tokio::test]
async fn python_plain_brings_merged_posts() {
    let capture = capture!("py-ver-03-POST-runs_multipart");
    let batch = decoded(&capture).await;
    check_against_parts(&batch, &capture);
    let root = "01a20a20-56e3-76db-a6ad-08e82de160db";
    let [first, llm, tool] = &batch.runs[..] else { panic!() };
    check_run(
        first,
        Layer::Post,
        root,
        json!({
            "name": "root", "tags": ["prod"], "inputs": {"q": "hello"}, "outputs": {"answer": "42"},
            "start_time": "2026-11-23T20:37:01.283376+00:00", "end_time": "2026-11-23T20:37:01.289209+00:00",
        }),
    );
    check_run(llm, Layer::Post, "01a20a20-56e8-7994-9a50-9aa00d49a4bf", json!({"run_type": "llm"}));
    check_run(tool, Layer::Post, "01a20a20-56e8-7a16-906f-d9d6e0a3d0db", json!({"outputs": {"output": null}}));
    assert_eq!((batch.attachments[0].name.as_str(), batch.attachments[0].bytes.len()), ("pic", 8));
    check_user_score(&batch.feedback[0], "01a20a20-56e9-73b1-93a0-0f7b64b46a8b", root);
}

#[tokio::test]
async fn javascript_says_lengths_behind_the_type_and_ends_in_milliseconds() {
    let capture = capture!("js-gzip-02-POST-runs_multipart");
    let batch = decoded(&capture).await;
    check_against_parts(&batch, &capture);
    let [root_post, llm_post, llm_patch, root_patch] = &batch.runs[..] else { panic!() };
    check_run(
        root_post,
        Layer::Post,
        ID,
        json!({
            "name": "root", "inputs": {"input": "hello"}, "child_runs": [], "serialized": {}, "tags": ["prod"],
        }),
    );
    check_run(
        llm_post,
        Layer::Post,
        OTHER_ID,
        json!({"tags": [], "inputs": {"input": [{"role": "user", "content": "hello"}]}}),
    );
    check_run(llm_patch, Layer::Patch, OTHER_ID, json!({"end_time": 1795466296555_i64, "outputs": {"content": "hi"}}));
    check_run(root_patch, Layer::Patch, ID, json!({"end_time": 1795466296563_i64, "outputs": {"answer": "42"}}));

    let capture = capture!("js-gzip-04-POST-runs_multipart");
    let batch = decoded(&capture).await;
    check_against_parts(&batch, &capture);
    assert_eq!((batch.runs.len(), batch.attachments[0].bytes.as_ref()), (2, &[1, 2, 3][..]));
}

#[test]
fn batches_and_single_runs_say_the_same() {
    let capture = capture!("py-batch-03-POST-runs_batch");
    let decoded = batch(capture.body).unwrap();
    let sent: Value = serde_json::from_slice(capture.body).unwrap();
    let found: Vec<_> = decoded.runs.iter().map(json).collect();
    assert_eq!((Value::from(found), decoded.runs.len()), (sent["post"].clone(), 3));
    assert!(decoded.runs.iter().all(|run| run.layer == Layer::Post) && decoded.refused.is_empty());
    check_run(
        &decoded.runs[0],
        Layer::Post,
        "01a20a20-6292-71e0-9942-9b61bae4d311",
        json!({
            "name": "root", "inputs": {"q": "hello"}, "outputs": {"answer": "42"}, "tags": ["prod"],
        }),
    );

    for (capture, layer) in [
        (capture!("py-single-01-POST-runs"), Layer::Post),
        (capture!("py-single-03-POST-runs"), Layer::Post),
        (capture!("py-single-02-PATCH-runs_9c5ba4d2-2015-407d-ad3a-730762434625"), Layer::Patch),
        (capture!("py-single-05-PATCH-runs_58627322-53c1-45a0-b271-1d71a7e98510"), Layer::Patch),
    ] {
        let path = capture.head.split(' ').nth(1).unwrap();
        let in_path = path.strip_prefix("/runs/").map(|id| id.parse().unwrap());
        let decoded = single(layer, in_path, Bytes::from_static(capture.body)).unwrap();
        let sent: Value = serde_json::from_slice(capture.body).unwrap();
        let id = sent["id"].as_str().unwrap().to_owned();
        assert_eq!(json(&decoded.runs[0]), without_nulls(sent));
        check_run(&decoded.runs[0], layer, &id, json!({}));
    }
}

#[test]
fn feedback_on_its_own_is_read() {
    let python = feedback(Bytes::from_static(capture!("py-batch-02-POST-feedback").body)).unwrap();
    check_user_score(&python, "01a20a20-629a-70b5-9fa6-abf3ee79010b", "01a20a20-6292-71e0-9942-9b61bae4d311");
    let javascript = feedback(Bytes::from_static(capture!("js-gzip-03-POST-feedback").body)).unwrap();
    check_user_score(&javascript, "01a20a21-7e0f-7329-9a27-ca99f4ef2a5c", "01a20a21-7e0e-7000-8000-003375a3d3c9");
}
