//! Whole requests: what a real exporter sent, both encodings side by side, bounds, and bytes that are no request.

mod encode;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use self::encode::{attribute, bytes, fixed64, list_value, number, request, span, span_of, text};
use super::*;

/// What opentelemetry-sdk for Python sent for `sdk/otel_genai.py`, in protobuf.
const CAPTURE: &[u8] = include_bytes!("../../../../tests/captures/otlp/python.bin");
/// What OpenTelemetry for JavaScript sent for `sdk/otel_genai.mjs`, in JSON.
const JAVASCRIPT: &[u8] = include_bytes!("../../../../tests/captures/otlp/javascript.json");
/// What LangSmith's SDK for Python sent in its OpenTelemetry mode for `sdk/langsmith_otel.py`, in protobuf.
const LANGSMITH: &[u8] = include_bytes!("../../../../tests/captures/otlp/langsmith.bin");

fn read(encoding: Encoding, body: &[u8]) -> (Vec<Json>, Vec<RejectedSpan>) {
    let traces = traces(encoding, body, Some("shop")).unwrap();
    let documents = traces.runs.iter().map(|run| {
        let document: Json = serde_json::from_slice(&run.document).unwrap();
        assert_eq!(document["id"], run.id.to_string());
        document
    });
    (documents.collect(), traces.rejected)
}

fn read_json(spans: Json) -> (Vec<Json>, Vec<RejectedSpan>) {
    let body = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]});
    read(Encoding::Json, body.to_string().as_bytes())
}

fn minimal() -> Json {
    json!({
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174", "name": "n",
        "startTimeUnixNano": "1544712660000000000",
    })
}

#[test]
fn a_real_exporter_s_trace_is_a_tree_of_runs() {
    let (documents, rejected) = read(Encoding::Protobuf, CAPTURE);
    assert_eq!(rejected, []);
    let [call, tool, chain] = documents.as_slice() else { panic!("{} spans", documents.len()) };
    assert_eq!(chain["inputs"], json!({"question": "Do you have a red one?"}));
    assert_eq!(chain["outputs"], json!({"output": "I cannot tell."}));
    assert_eq!([&chain["run_type"], &chain["session_name"]], ["chain", "shop"]);
    assert!(chain.get("parent_run_id").is_none());
    for child in [call, tool] {
        assert_eq!(child["parent_run_id"], chain["id"]);
        assert_eq!(child["trace_id"], chain["trace_id"]);
        let order = child["dotted_order"].as_str().unwrap();
        assert!(order.starts_with(&format!("{}.", chain["dotted_order"].as_str().unwrap())));
        assert!(order.ends_with(child["id"].as_str().unwrap()));
        assert_eq!(child["extra"]["metadata"]["service.name"], "shop-assistant");
    }
}

#[test]
fn a_real_model_call_has_all_its_parts() {
    let call = &read(Encoding::Protobuf, CAPTURE).0[0];
    assert_eq!([&call["name"], &call["run_type"]], ["chat gpt-4.1-mini", "llm"]);
    let question = json!({"role": "user", "content": "Do you have a red one? \u{2602}"});
    assert_eq!(call["inputs"]["messages"], json!([{"role": "system", "content": "You sell umbrellas."}, question]));
    let tool_call = json!({"id": "call_7", "name": "stock", "arguments": "{\"colour\":\"red\"}"});
    assert_eq!(call["outputs"]["messages"], json!([{"role": "assistant", "tool_calls": [tool_call]}]));
    assert_eq!(call["tags"], json!(["shop", "umbrella"]));
    assert_eq!(call["events"][0]["kwargs"], json!({"token": "st"}));
    let params = json!({"model": "gpt-4.1-mini", "temperature": 0.2, "max_tokens": 200, "stop": ["END"]});
    assert_eq!(call["extra"]["invocation_params"], params);
    let metadata = &call["extra"]["metadata"];
    let usage = json!({
        "input_tokens": 41, "output_tokens": 17, "total_tokens": 58, "input_token_details": {"cache_read": 8},
    });
    assert_eq!(metadata["usage_metadata"], usage);
    assert_eq!([&metadata["ls_provider"], &metadata["ls_model_name"]], ["openai", "gpt-4.1-mini"]);
    assert_eq!([&metadata["customer"], &metadata["shop.shelf"]], [&json!("c-77"), &json!(12)]);
    assert_eq!(metadata["gen_ai.response.finish_reasons"], json!(["tool_calls"]));
    assert_eq!(
        [&call["extra"]["runtime"]["sdk"], &call["extra"]["runtime"]["library"]],
        ["opentelemetry", "shop.assistant"]
    );
}

#[test]
fn a_real_exception_is_a_tool_s_error() {
    let tool = &read(Encoding::Protobuf, CAPTURE).0[1];
    assert_eq!([&tool["name"], &tool["run_type"]], ["execute_tool stock", "tool"]);
    assert_eq!(tool["inputs"], json!({"colour": "red"}));
    let error = tool["error"].as_str().unwrap();
    assert!(error.starts_with("no stock list for umbrellas\n\nStacktrace:\nTraceback "), "{error}");
    assert_eq!(tool["extra"]["invocation_params"], json!({"tool_name": "stock"}));
}

#[test]
fn a_real_json_exporter_s_trace_is_read() {
    let (documents, rejected) = read(Encoding::Json, JAVASCRIPT);
    assert_eq!(rejected, []);
    let [call, chain] = documents.as_slice() else { panic!("{} spans", documents.len()) };
    assert_eq!([&chain["run_type"], &call["run_type"]], ["chain", "llm"]);
    assert_eq!(call["parent_run_id"], chain["id"]);
    let said = |role: &str, content: &str| json!([{"role": role, "parts": [{"type": "text", "content": content}]}]);
    assert_eq!(call["inputs"], json!({"messages": said("user", "Hi")}));
    assert_eq!(call["outputs"], json!({"messages": said("assistant", "Ho")}));
    assert!(call["error"].as_str().unwrap().starts_with("rate limited\n\nStacktrace:\nError: rate limited\n"));
    let metadata = &call["extra"]["metadata"];
    assert_eq!(metadata["usage_metadata"], json!({"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}));
    assert_eq!([&metadata["shop.flags"], &metadata["service.name"]], [&json!([true, false]), &json!("shop-js")]);
    assert_eq!(call["extra"]["invocation_params"], json!({"model": "m", "temperature": 0.7}));
}

#[test]
fn langsmith_s_own_sdk_gets_back_what_was_traced() {
    let (documents, rejected) = read(Encoding::Protobuf, LANGSMITH);
    assert_eq!(rejected, []);
    let named = |name: &str| documents.iter().find(|document| document["name"] == name).unwrap();
    let (chain, call, stock) = (named("answer"), named("call"), named("stock"));
    assert_eq!([&chain["run_type"], &call["run_type"], &stock["run_type"]], ["chain", "llm", "tool"]);
    assert_eq!([&call["parent_run_id"], &stock["parent_run_id"]], [&chain["id"], &chain["id"]]);
    assert_eq!(chain["inputs"], json!({"question": "Hi"}));
    assert_eq!(chain["outputs"], json!({"output": "Ho"}));
    assert_eq!(call["inputs"], json!({"messages": [{"role": "user", "content": "Hi"}], "temperature": 0.2}));
    assert_eq!(call["outputs"]["content"], "Ho");
    assert_eq!(call["tags"], json!(["a", "b"]));
    let metadata = &call["extra"]["metadata"];
    let details = json!({"cache_read": 2});
    let usage = json!({"input_tokens": 5, "output_tokens": 6, "total_tokens": 11, "input_token_details": details});
    assert_eq!(metadata["usage_metadata"], usage);
    assert_eq!([&metadata["ls_provider"], &metadata["ls_model_name"], &metadata["customer"]], ["openai", "m", "c-77"]);
    let error = stock["error"].as_str().unwrap();
    assert!(error.starts_with("ValueError('no stock list')\n\nTraceback") && !error.contains("Stacktrace:"), "{error}");
}

#[test]
fn json_obeys_its_rules() {
    let (documents, rejected) = read_json(json!([{
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174", "parentSpanId": "eee19b7ec3c1b173",
        "name": "I'm a server span", "kind": 2, "flags": 257, "traceState": "", "from the future": [{}],
        "startTimeUnixNano": "1544712660123456789", "endTimeUnixNano": 1_544_712_661_000_000_000_u64,
        "attributes": [
            {"key": "s", "value": {"stringValue": "\u{2602}\n"}},
            {"key": "i", "value": {"intValue": "9007199254740993"}},
            {"key": "j", "value": {"intValue": 7}},
            {"key": "d", "value": {"doubleValue": 0.5}},
            {"key": "nan", "value": {"doubleValue": "NaN"}},
            {"key": "b", "value": {"boolValue": false}},
            {"key": "bytes", "value": {"bytesValue": "aGk="}},
            {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}, {}]}}},
            {"key": "map", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"arrayValue": {}}}]}}},
            {"key": "none", "value": {}},
            {"key": "without"},
        ],
        "events": [{"timeUnixNano": "1544712660200000000", "name": "e", "attributes": null}],
        "status": {"code": 2, "message": "broken"},
    }]));
    assert_eq!(rejected, []);
    let run = &documents[0];
    assert_eq!(run["id"], "00000000-0000-0000-eee1-9b7ec3c1b174");
    assert_eq!(run["trace_id"], "5b8efff7-9803-8103-d269-b633813fc60c");
    assert_eq!(run["parent_run_id"], "00000000-0000-0000-eee1-9b7ec3c1b173");
    assert!(run.get("dotted_order").is_none());
    assert_eq!([&run["start_time"], &run["end_time"]], ["2018-12-13T14:51:00.123456Z", "2018-12-13T14:51:01.000000Z"]);
    assert_eq!(run["error"], "broken");
    assert_eq!(run["events"], json!([{"name": "e", "time": "2018-12-13T14:51:00.200000Z"}]));
    let mut metadata = run["extra"]["metadata"].clone();
    metadata.as_object_mut().unwrap().retain(|key, _| !key.starts_with("OTEL"));
    let expected = json!({
        "s": "\u{2602}\n", "i": 9_007_199_254_740_993_i64, "j": 7, "d": 0.5, "nan": "NaN", "b": false, "bytes": "aGk=",
        "list": ["a", 1, null], "map": {"k": []}, "none": null, "without": null,
    });
    assert_eq!(metadata, expected);
}

#[test]
fn both_encodings_make_the_same_run() {
    let attributes = json!([
        {"key": "a", "value": {"arrayValue": {"values": [{"intValue": "-3"}, {"doubleValue": 0.25}, {"boolValue": true}]}}},
        {"key": "b", "value": {"kvlistValue": {"values": [{"key": "k", "value": {"bytesValue": "AP8="}}]}}},
        {"key": "c", "value": {"stringValue": "x"}},
    ]);
    let text_span = json!({
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "parentSpanId": "eee19b7ec3c1b173",
        "name": "n", "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
        "attributes": attributes, "status": {"code": 2, "message": "m"},
        "events": [{"timeUnixNano": "1544712660500000000", "name": "e", "attributes": [attributes[2]]}],
    });
    let resource = json!({"attributes": [attributes[2]]});
    let scope = json!({"name": "lib", "version": "1", "attributes": [attributes[1]]});
    let request =
        json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [text_span]}]}]});
    let binary = encode::of_json(&request);
    let json = traces(Encoding::Json, request.to_string().as_bytes(), None).unwrap();
    assert_eq!(json.runs.len(), 1);
    assert_eq!(traces(Encoding::Protobuf, &binary, None).unwrap(), json);
}

#[test]
fn an_empty_request_is_a_success() {
    for (encoding, body) in [
        (Encoding::Protobuf, &b""[..]),
        (Encoding::Json, b"{}"),
        (Encoding::Json, br#"{"resourceSpans":null}"#),
        (Encoding::Json, br#"{"resourceSpans":[{"resource":null,"scopeSpans":[{"scope":null,"spans":null}]}]}"#),
    ] {
        assert_eq!(traces(encoding, body, None).unwrap(), Traces::default());
    }
}

#[test]
fn a_body_that_is_none_is_refused_with_its_place() {
    let cut = traces(Encoding::Protobuf, &CAPTURE[..CAPTURE.len() - 1], None).unwrap_err();
    assert!(cut.to_string().contains("longer than what is left at byte 3"), "{cut}");
    for body in ["", "[]", "null ", "{\"resourceSpans\":{}}", "{\"resourceSpans\":[1]}", "{} {}", "\u{feff}{}"] {
        assert!(matches!(traces(Encoding::Json, body.as_bytes(), None), Err(OtlpError::Json(_))), "{body}");
    }
    assert!(matches!(traces(Encoding::Json, b"\xff", None), Err(OtlpError::Json(_))));
}

#[test]
fn a_wrong_span_is_rejected_alone() {
    let wrong = |key: &str, value: Json| {
        let mut span = minimal();
        span[key] = value;
        span
    };
    let spans = json!([
        wrong("traceId", json!("W47/95gDgQPSabYzgT/GDA==")),
        wrong("spanId", json!("0000000000000000")),
        wrong("spanId", Json::Null),
        wrong("parentSpanId", json!("eee19b7")),
        wrong("startTimeUnixNano", json!("0")),
        wrong("name", json!(7)),
        minimal(),
    ]);
    let (documents, rejected) = read_json(spans);
    assert_eq!(documents.len(), 1);
    let reasons: Vec<_> = rejected.iter().map(|span| span.reason.as_str()).collect();
    assert_eq!(reasons[0], "its trace id needs 16 bytes, in JSON 32 hex digits; it has 24");
    assert_eq!(reasons[1], "its span id is all zeros");
    assert_eq!(reasons[2], "its span id needs 8 bytes, in JSON 16 hex digits; it has 0");
    assert_eq!(reasons[3], "its parent span id needs 8 bytes, in JSON 16 hex digits; it has 7");
    assert_eq!(reasons[4], "it has neither a start nor an end");
    assert_eq!([rejected[4].span.as_str(), rejected[5].span.as_str()], ["n", "span 5"]);
}

#[test]
fn a_parent_id_of_zeros_is_no_parent() {
    let mut span = minimal();
    span["parentSpanId"] = json!("0000000000000000");
    let (documents, _) = read_json(json!([span]));
    assert!(documents[0].get("parent_run_id").is_none());
    assert!(documents[0].get("dotted_order").is_some());
}

#[test]
fn protobuf_in_any_order_and_with_unknown_fields_is_read() {
    let resource = bytes(1, &attribute(1, "service.name", &text(1, "late")));
    let spans = bytes(2, &bytes(2, &[number(99, 5), span("n", &[]), fixed64(98, 1)].concat()));
    let (documents, _) = read(Encoding::Protobuf, &bytes(1, &[spans, resource, bytes(3, b"url")].concat()));
    assert_eq!(documents[0]["extra"]["metadata"]["service.name"], "late");
}

#[test]
fn text_that_is_cut_within_a_character_costs_no_span() {
    let (documents, _) = read(Encoding::Protobuf, &request(&[span("n", &attribute(9, "k", &bytes(1, b"ab\xe2\x98")))]));
    assert_eq!(documents[0]["extra"]["metadata"]["k"], "ab\u{fffd}");
}

#[test]
fn too_many_values_reject_the_span() {
    let attributes = |count: usize| attribute(9, "k", &list_value(&vec![&b""[..]; count]));
    let spans = [span("full", &attributes(VALUES_MAX - 1)), span("over", &attributes(VALUES_MAX))];
    let (documents, rejected) = read(Encoding::Protobuf, &request(&spans));
    assert_eq!(documents[0]["name"], "full");
    assert_eq!(rejected[0].reason, "its attributes hold more than 20000 values");
    let events = vec![bytes(11, b""); VALUES_MAX + 1].concat();
    let (_, rejected) = read(Encoding::Protobuf, &request(&[span("events", &events)]));
    assert_eq!(rejected.len(), 1);
    let pairs = vec![json!({"key": "k"}); VALUES_MAX + 1];
    let mut over = minimal();
    over["attributes"] = json!(pairs);
    let (documents, rejected) = read_json(json!([over, minimal()]));
    assert_eq!((documents.len(), rejected[0].reason.as_str()), (1, "its attributes hold more than 20000 values"));
}

#[test]
fn too_deep_values_reject_the_span_and_overflow_no_stack() {
    let nested = |levels: usize| (0..levels).fold(text(1, "x"), |value, _| list_value(&[&value]));
    let spans = [
        span("full", &attribute(9, "k", &nested(NESTING_MAX))),
        span("over", &attribute(9, "k", &nested(NESTING_MAX + 1))),
        span("far over", &attribute(9, "k", &nested(20_000))),
    ];
    let (documents, rejected) = read(Encoding::Protobuf, &request(&spans));
    assert_eq!(documents[0]["name"], "full");
    assert_eq!(rejected.len(), 2);
    assert_eq!(rejected[1].reason, "its attributes nest more than 24 levels deep");
    for levels in [NESTING_MAX + 1, 100_000] {
        let list = r#"{"arrayValue":{"values":["#.repeat(levels) + &"]}}".repeat(levels);
        let mut over = minimal().to_string();
        over.truncate(over.len() - 1);
        over.push_str(&format!(r#","attributes":[{{"key":"k","value":{list}}}]}}"#));
        let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{over}]}}]}}]}}"#);
        let (documents, rejected) = read(Encoding::Json, body.as_bytes());
        assert_eq!((documents.len(), rejected.len()), (0, 1));
    }
}

#[test]
fn too_many_spans_refuse_the_request() {
    let spans = |count: usize| bytes(1, &bytes(2, &[0x12, 0].repeat(count)));
    assert_eq!(traces(Encoding::Protobuf, &spans(SPANS_MAX), None).unwrap().rejected.len(), SPANS_MAX);
    assert_eq!(traces(Encoding::Protobuf, &spans(SPANS_MAX + 1), None), Err(OtlpError::TooManySpans));
    let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}{{}}]}}]}}]}}"#, "{},".repeat(SPANS_MAX));
    assert_eq!(traces(Encoding::Json, text.as_bytes(), None), Err(OtlpError::TooManySpans));
}

#[test]
fn a_resource_beyond_bounds_refuses_the_request() {
    let resource = bytes(1, &attribute(1, "k", &list_value(&vec![&b""[..]; VALUES_MAX])));
    let refused = traces(Encoding::Protobuf, &bytes(1, &resource), None).unwrap_err();
    assert_eq!(refused.to_string(), "the attributes of a resource hold more than 20000 values");
}

#[test]
fn a_large_resource_is_not_copied_without_end() {
    let resource = bytes(1, &attribute(1, "k", &text(1, &"x".repeat(DOCUMENTS_BYTES_MAX / 10))));
    let spans: Vec<u8> = (1..=12).flat_map(|id| bytes(2, &span_of(id, "n", &[]))).collect();
    let read = traces(Encoding::Protobuf, &bytes(1, &[resource, bytes(2, &spans)].concat()), None).unwrap();
    assert_eq!((read.runs.len(), read.rejected.len()), (9, 3));
    assert!(read.rejected[0].reason.contains("send fewer"));
}

#[test]
fn content_types_name_encodings() {
    assert_eq!(Encoding::of_content_type("application/x-protobuf"), Some(Encoding::Protobuf));
    assert_eq!(Encoding::of_content_type("Application/JSON; charset=utf-8"), Some(Encoding::Json));
    assert_eq!(Encoding::of_content_type("application/grpc"), None);
    assert_eq!(Encoding::of_content_type(""), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = traces(Encoding::Protobuf, &body, None);
        let _ = traces(Encoding::Json, &body, None);
    }

    #[test]
    fn a_real_request_with_bytes_changed_is_read_or_refused(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
        len in 0..4_000_usize,
        (encoding, capture) in proptest::sample::select(vec![
            (Encoding::Protobuf, CAPTURE), (Encoding::Protobuf, LANGSMITH), (Encoding::Json, JAVASCRIPT),
        ]),
    ) {
        let mut body = capture.to_vec();
        for (at, byte) in changes {
            *at.get_mut(&mut body) = byte;
        }
        body.truncate(len);
        for run in traces(encoding, &body, None).unwrap_or_default().runs {
            prop_assert!(serde_json::from_slice::<Json>(&run.document).is_ok());
        }
    }

    #[test]
    fn what_is_written_in_protobuf_is_read_back(
        name in "\\PC{1,20}",
        attributes in proptest::collection::btree_map("x\\.[a-z]{1,8}", "\\PC{0,20}", 0..8),
        span_id in 1_u64..,
    ) {
        let pairs: Vec<u8> = attributes.iter().flat_map(|(key, value)| attribute(9, key, &text(1, value))).collect();
        let (documents, _) = read(Encoding::Protobuf, &request(&[span_of(span_id, &name, &pairs)]));
        prop_assert_eq!(documents[0]["name"].as_str(), Some(name.as_str()));
        prop_assert_eq!(documents[0]["id"].as_str().unwrap().replace('-', ""), format!("{span_id:032x}"));
        for (key, value) in attributes {
            prop_assert_eq!(documents[0]["extra"]["metadata"][&key].as_str(), Some(value.as_str()));
        }
    }
}
