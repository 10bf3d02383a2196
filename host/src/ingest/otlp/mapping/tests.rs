//! One test a row of the mapping.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::ingest::otlp::span::{Event, STATUS_ERROR, STATUS_OK};
use crate::ingest::otlp::value::Object;

const TRACE_ID: u128 = 0xf6930737025ed3202125649be3e48b28;
const SPAN_ID: u64 = 0xe8744e43296272f5;

fn value(json: &Json) -> Value<'static> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Double(number.as_f64().unwrap()), Value::Int),
        Json::String(text) => Value::text(text.clone()),
        Json::Array(values) => Value::List(values.iter().map(value).collect()),
        Json::Object(_) => Value::Object(attributes(json)),
    }
}

fn attributes(json: &Json) -> Object<'static> {
    json.as_object().unwrap().iter().map(|(key, json)| (key.clone().into(), value(json))).collect()
}

fn span(given: Json) -> Span<'static> {
    Span {
        trace_id: TRACE_ID,
        span_id: SPAN_ID,
        name: "step".into(),
        start_nanos: 1_767_323_045_000_006_000,
        end_nanos: 1_767_323_046_000_006_000,
        attributes: attributes(&given),
        ..Span::default()
    }
}

fn event(name: &'static str, given: Json) -> Event<'static> {
    Event { nanos: 1_767_323_045_500_000_000, name: name.into(), attributes: attributes(&given) }
}

fn document(span: Span<'static>) -> Json {
    serde_json::from_slice(&draft(&Origin::default(), span, None).unwrap().document).unwrap()
}

fn mapped(given: Json) -> Json {
    document(span(given))
}

fn with_events(events: Vec<Event<'static>>) -> Json {
    document(Span { events, ..span(json!({})) })
}

#[test]
fn a_bare_span_is_a_chain_with_its_otel_ids() {
    let draft = draft(&Origin::default(), span(json!({})), None).unwrap();
    assert_eq!(draft.id.to_string(), "00000000-0000-0000-e874-4e43296272f5");
    assert_eq!(draft.trace.to_string(), "f6930737-025e-d320-2125-649be3e48b28");
    assert_eq!(draft.parent, DraftParent::Root);
    let expected = json!({
        "name": "step", "run_type": "chain",
        "start_time": "2026-01-02T03:04:05.000006Z", "end_time": "2026-01-02T03:04:06.000006Z",
        "extra": {"metadata": {
            "OTEL_TRACE_ID": "f6930737025ed3202125649be3e48b28", "OTEL_SPAN_ID": "e8744e43296272f5",
        }},
    });
    assert_eq!(serde_json::from_slice::<Json>(&draft.document).unwrap(), expected);
}

#[test]
fn langsmith_ids_go_before_otel_ids() {
    let id = "018f4a3e-0000-7000-8000-00000000000a";
    let given = json!({
        "langsmith.span.id": id, "langsmith.trace.id": id, "langsmith.span.parent_id": id,
        "langsmith.span.dotted_order": "20260102T030405000006Zx", "langsmith.trace.session_id": id,
        "langsmith.reference_example_id": id,
    });
    let draft = draft(&Origin::default(), Span { parent_span_id: Some(7), ..span(given) }, None).unwrap();
    assert_eq!([draft.id.to_string(), draft.trace.to_string()], [id, id]);
    assert_eq!(draft.parent, DraftParent::Run(id.parse().unwrap()));
    assert_eq!(draft.dotted_order.unwrap(), "20260102T030405000006Zx");
    let document: Json = serde_json::from_slice(&draft.document).unwrap();
    assert_eq!([&document["session_id"], &document["reference_example_id"]], [id, id]);
    assert_eq!(document["extra"]["metadata"].as_object().unwrap().len(), 2);
}

#[test]
fn a_dotted_order_that_is_too_long_stays_metadata() {
    let order = |len| draft(&Origin::default(), span(json!({"langsmith.span.dotted_order": "x".repeat(len)})), None);
    assert!(order(GIVEN_ORDER_BYTES_MAX).unwrap().dotted_order.is_some());
    let too_long = order(GIVEN_ORDER_BYTES_MAX + 1).unwrap();
    assert_eq!(too_long.dotted_order, None);
    assert!(String::from_utf8(too_long.document).unwrap().contains("langsmith.span.dotted_order"));
}

#[test]
fn an_id_that_is_none_stays_metadata() {
    let document = mapped(json!({"langsmith.span.id": "seven", "langsmith.reference_example_id": 3}));
    assert_eq!(document["extra"]["metadata"]["langsmith.span.id"], "seven");
    assert_eq!(document["extra"]["metadata"]["langsmith.reference_example_id"], 3);
}

#[test]
fn a_parent_is_a_parent_unless_the_span_says_that_it_is_a_root() {
    let parent =
        |given| draft(&Origin::default(), Span { parent_span_id: Some(7), ..span(given) }, None).unwrap().parent;
    assert_eq!(parent(json!({})), DraftParent::Span(7));
    assert_eq!(parent(json!({"langsmith.is_root": false})), DraftParent::Span(7));
    assert_eq!(parent(json!({"langsmith.is_root": true})), DraftParent::Root);
}

#[test]
fn the_run_type_is_named_by_the_first_that_knows_it() {
    let cases = [
        (json!({"langsmith.span.kind": "LLM", "gen_ai.tool.name": "t"}), "llm"),
        (json!({"langsmith.span.kind": "parser"}), "parser"),
        (json!({"langsmith.span.kind": "none such", "gen_ai.operation.name": "chat"}), "llm"),
        (json!({"gen_ai.tool.name": "t", "gen_ai.operation.name": "chat"}), "tool"),
        (json!({"gen_ai.operation.name": "completion", "openinference.span.kind": "CHAIN"}), "llm"),
        (json!({"gen_ai.operation.name": "text_completion"}), "llm"),
        (json!({"gen_ai.operation.name": "generate_content"}), "llm"),
        (json!({"gen_ai.operation.name": "embeddings"}), "embedding"),
        (json!({"gen_ai.operation.name": "execute_tool"}), "tool"),
        (json!({"gen_ai.operation.name": "retrieval"}), "retriever"),
        (json!({"gen_ai.operation.name": "invoke_agent", "llm.request.type": "chat"}), "chain"),
        (json!({"gen_ai.operation.name": "dance", "llm.request.type": "embedding"}), "embedding"),
        (json!({"llm.request.type": "chat", "traceloop.span.kind": "workflow"}), "llm"),
        (json!({"traceloop.llm.request.type": "completion"}), "llm"),
        (json!({"openinference.span.kind": "RETRIEVER", "traceloop.span.kind": "tool"}), "retriever"),
        (json!({"openinference.span.kind": "LLM", "llm.prompt_template.variables": "{}"}), "llm"),
        (json!({"openinference.span.kind": "AGENT"}), "chain"),
        (json!({"traceloop.span.kind": "tool"}), "tool"),
        (json!({"llm.prompt_template.variables": "{}"}), "prompt"),
        (json!({"retrieval.documents.0.document.content": "x"}), "retriever"),
        (json!({"http.request.method": "GET"}), "chain"),
    ];
    for (given, expected) in cases {
        assert_eq!(mapped(given.clone())["run_type"], expected, "{given}");
    }
}

#[test]
fn a_kind_that_is_mapped_with_loss_stays_metadata() {
    let document = mapped(json!({"gen_ai.operation.name": "chat", "langsmith.span.kind": "llm"}));
    assert_eq!(document["extra"]["metadata"]["gen_ai.operation.name"], "chat");
    assert_eq!(document["extra"]["metadata"]["langsmith.span.kind"], Json::Null);
}

#[test]
fn the_name_is_the_first_that_is_given() {
    let own = json!({"langsmith.trace.name": "a", "traceloop.entity.name": "b"});
    let tool = json!({"openinference.span.kind": "TOOL", "tool.name": "c"});
    let cases = [
        (own, "a"),
        (json!({"traceloop.entity.name": "b"}), "b"),
        (tool, "c"),
        (json!({"openinference.span.kind": "LLM", "tool.name": "c"}), "step"),
    ];
    for (given, expected) in cases {
        assert_eq!(mapped(given)["name"], expected);
    }
    assert_eq!(document(Span { name: "".into(), ..span(json!({})) })["name"], "unnamed");
}

#[test]
fn the_project_is_the_span_s_own_or_the_header_s() {
    let project = |given| {
        let draft = draft(&Origin::default(), span(given), Some("of the header")).unwrap();
        serde_json::from_slice::<Json>(&draft.document).unwrap()["session_name"].clone()
    };
    assert_eq!(project(json!({"langsmith.trace.session_name": "own"})), "own");
    assert_eq!(project(json!({})), "of the header");
    assert_eq!(mapped(json!({})).get("session_name"), None);
}

#[test]
fn tags_are_split_and_trimmed() {
    assert_eq!(mapped(json!({"langsmith.span.tags": " a, b,,c "}))["tags"], json!(["a", "b", "c"]));
    assert_eq!(mapped(json!({"langsmith.span.tags": ["a,b"], "tag.tags": ["c"]}))["tags"], json!(["a,b", "c"]));
}

#[test]
fn a_span_without_a_start_begins_at_its_end_and_one_without_both_is_none() {
    let document = document(Span { start_nanos: 0, ..span(json!({})) });
    assert_eq!(document["start_time"], document["end_time"]);
    let pending = draft(&Origin::default(), Span { end_nanos: 0, ..span(json!({})) }, None).unwrap();
    assert_eq!(serde_json::from_slice::<Json>(&pending.document).unwrap().get("end_time"), None);
    assert!(draft(&Origin::default(), Span { start_nanos: 0, end_nanos: 0, ..span(json!({})) }, None).is_err());
}

#[test]
fn indexed_prompts_and_completions_are_messages() {
    let document = mapped(json!({
        "gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be brief.",
        "gen_ai.prompt.1.message.role": "user", "gen_ai.prompt.1.message.content": "Hi",
        "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.finish_reason": "tool_calls",
        "gen_ai.completion.0.tool_calls.0.name": "stock", "gen_ai.completion.0.tool_calls.0.arguments": "{}",
    }));
    let asked = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]);
    assert_eq!(document["inputs"], json!({"messages": asked}));
    let call = json!({"name": "stock", "arguments": "{}"});
    let answered = json!([{"role": "assistant", "finish_reason": "tool_calls", "tool_calls": [call]}]);
    assert_eq!(document["outputs"], json!({"messages": answered}));
}

#[test]
fn openinference_messages_are_messages() {
    let document = mapped(json!({
        "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Hi",
        "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "Ho",
        "input.value": "raw",
    }));
    assert_eq!(document["inputs"], json!({"messages": [{"role": "user", "content": "Hi"}]}));
    assert_eq!(document["outputs"], json!({"messages": [{"role": "assistant", "content": "Ho"}]}));
    assert_eq!(document["extra"]["metadata"]["input.value"], "raw");
}

#[test]
fn genai_messages_are_taken_as_text_and_as_lists_and_go_first() {
    let messages = json!([{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]);
    for given in [messages.clone(), Json::String(messages.to_string())] {
        let document = mapped(json!({
            "gen_ai.input.messages": given, "gen_ai.output.messages": given, "gen_ai.prompt.0.content": "old",
            "gen_ai.system_instructions": r#"[{"type":"text"}]"#,
        }));
        assert_eq!(document["inputs"], json!({"messages": messages, "system_instructions": [{"type": "text"}]}));
        assert_eq!(document["outputs"], json!({"messages": messages}));
        assert_eq!(document["extra"]["metadata"]["gen_ai.prompt.0.content"], "old");
    }
}

#[test]
fn whole_values_are_objects_as_they_are_or_wrapped() {
    for (input, output) in [
        ("input.value", "output.value"),
        ("traceloop.entity.input", "traceloop.entity.output"),
        ("gen_ai.prompt", "gen_ai.completion"),
        ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
        ("prompt", "all_messages_events"),
    ] {
        let document = mapped(json!({input: r#"{"q": 1}"#, output: "plain"}));
        assert_eq!(document["inputs"], json!({"q": 1}), "{input}");
        assert_eq!(document["outputs"], json!({"output": "plain"}), "{output}");
        let document = mapped(json!({input: "[1]", output: {"a": [true]}}));
        assert_eq!(document["inputs"], json!({"input": [1]}), "{input}");
        assert_eq!(document["outputs"], json!({"a": [true]}), "{output}");
    }
}

#[test]
fn of_two_whole_values_the_second_stays_metadata() {
    let document = mapped(json!({"input.value": "a", "traceloop.entity.input": "b"}));
    assert_eq!(document["inputs"], json!({"input": "a"}));
    assert_eq!(document["extra"]["metadata"]["traceloop.entity.input"], "b");
}

#[test]
fn a_retriever_has_a_query_and_documents() {
    let document = mapped(json!({
        "openinference.span.kind": "RETRIEVER", "input.value": "umbrellas",
        "retrieval.documents.0.document.content": "red", "retrieval.documents.0.document.score": 0.5,
        "retrieval.documents.0.document.metadata": r#"{"shelf":12}"#,
        "retrieval.documents.1.document.content": "blue",
    }));
    assert_eq!(document["inputs"], json!({"query": "umbrellas"}));
    let first = json!({"page_content": "red", "metadata": {"shelf": 12}, "score": 0.5, "type": "Document"});
    let second = json!({"page_content": "blue", "metadata": {}, "type": "Document"});
    assert_eq!(document["outputs"], json!({"documents": [first, second]}));
}

#[test]
fn message_events_become_inputs_and_outputs() {
    let document = with_events(vec![
        event("gen_ai.system.message", json!({"content": "Be brief.", "gen_ai.system": "openai"})),
        event("gen_ai.user.message", json!({"gen_ai.event.content": r#"{"content":"Hi","role":"human"}"#})),
        event("gen_ai.assistant.message", json!({"content": "Wait"})),
        event("gen_ai.tool.message", json!({"content": "none", "id": "call_7"})),
        event(
            "gen_ai.choice",
            json!({
                "finish_reason": "stop", "message.content": "Ho", "message.role": "assistant",
                "tool_calls.0.id": "call_8", "tool_calls.0.function.name": "stock",
            }),
        ),
        event("new_token", json!({"token": "H"})),
    ]);
    let asked = json!([{"role": "system", "content": "Be brief."}, {"role": "human", "content": "Hi"}]);
    assert_eq!(document["inputs"], json!({"messages": asked}));
    let tool = json!({"role": "tool", "content": "none", "tool_call_id": "call_7"});
    assert_eq!(document["outputs"]["messages"], json!([{"role": "assistant", "content": "Wait"}, tool]));
    let message = json!({"role": "assistant", "content": "Ho"});
    let call = json!({"id": "call_8", "function": {"name": "stock"}});
    let choice = json!({"finish_reason": "stop", "message": message, "tool_calls": [call]});
    assert_eq!(document["outputs"]["choices"], json!([choice]));
    let token = json!({"name": "new_token", "time": "2026-01-02T03:04:05.500000Z", "kwargs": {"token": "H"}});
    assert_eq!(document["events"], json!([token]));
}

#[test]
fn content_events_hold_all_of_inputs_and_outputs() {
    let document = with_events(vec![
        event("gen_ai.user.message", json!({"content": "Hi"})),
        event("gen_ai.content.prompt", json!({"gen_ai.prompt": r#"{"q":1}"#})),
        event("gen_ai.content.completion", json!({"gen_ai.completion": "Ho"})),
    ]);
    assert_eq!(document["inputs"], json!({"q": 1}));
    assert_eq!(document["outputs"], json!({"output": "Ho"}));
    assert_eq!(document.get("events"), None);
}

#[test]
fn an_exception_is_the_error_and_stays_an_event() {
    let exception = json!({"exception.type": "E", "exception.message": "no stock", "exception.stacktrace": "at x"});
    let document = with_events(vec![event("exception", exception)]);
    assert_eq!(document["error"], "no stock\n\nStacktrace:\nat x");
    assert_eq!(document["events"][0]["kwargs"]["exception.type"], "E");
    let cases = [
        (json!({"exception.type": "E"}), "E"),
        (json!({"exception.stacktrace": "at x"}), "Stacktrace:\nat x"),
        (json!({}), "an exception without a message"),
        (json!({"exception.message": "E: a\nat x", "exception.stacktrace": "Exception: E: a\nat x"}), "E: a\nat x"),
    ];
    for (given, expected) in cases {
        assert_eq!(with_events(vec![event("exception", given)])["error"], expected);
    }
}

#[test]
fn a_status_is_an_error_where_it_says_so() {
    let with = |code, message: &'static str, given| {
        document(Span { status_code: code, status_message: message.into(), ..span(given) }).get("error").cloned()
    };
    assert_eq!(with(STATUS_ERROR, "timed out", json!({"error.type": "T"})).unwrap(), "timed out");
    assert_eq!(with(STATUS_ERROR, "", json!({"error.type": "T"})).unwrap(), "T");
    assert_eq!(with(STATUS_ERROR, "", json!({})).unwrap(), "the span has status ERROR without a message");
    assert_eq!(with(0, "fine", json!({"error.type": "T"})), None);
    let events = vec![event("exception", json!({"exception.message": "got over"}))];
    let document = document(Span { status_code: STATUS_OK, events, ..span(json!({})) });
    assert_eq!(document.get("error"), None);
    assert_eq!(document["events"][0]["name"], "exception");
}

#[test]
fn tokens_are_counted_in_every_spelling() {
    let usage = |given| mapped(given)["extra"]["metadata"]["usage_metadata"].clone();
    let expected = json!({"input_tokens": 41, "output_tokens": 17, "total_tokens": 58});
    for (input, output) in [
        ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
        ("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),
        ("llm.token_count.prompt", "llm.token_count.completion"),
        ("llm.usage.prompt_tokens", "llm.usage.completion_tokens"),
    ] {
        assert_eq!(usage(json!({input: 41, output: 17})), expected, "{input}");
        assert_eq!(usage(json!({input: 41.0, output: "17"})), expected, "{input}");
    }
    for total in ["gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"] {
        assert_eq!(usage(json!({total: 60})), json!({"total_tokens": 60}), "{total}");
    }
    assert_eq!(usage(json!({"gen_ai.usage.input_tokens": -1})), Json::Null);
    assert_eq!(mapped(json!({"gen_ai.usage.input_tokens": -1}))["extra"]["metadata"]["gen_ai.usage.input_tokens"], -1);
}

#[test]
fn a_second_spelling_of_a_count_stays_metadata() {
    let document = mapped(json!({"gen_ai.usage.input_tokens": 1, "gen_ai.usage.prompt_tokens": 2}));
    assert_eq!(document["extra"]["metadata"]["usage_metadata"]["input_tokens"], 1);
    assert_eq!(document["extra"]["metadata"]["gen_ai.usage.prompt_tokens"], 2);
}

#[test]
fn details_of_tokens_are_counted() {
    let usage = &mapped(json!({
        "gen_ai.usage.input_tokens": 9, "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.usage.cache_creation_input_tokens": 1, "gen_ai.usage.details.reasoning_tokens": 4,
        "llm.token_count.prompt_details.audio": 2, "gen_ai.usage.output_token_details": r#"{"reasoning":3,"text":5}"#,
    }))["extra"]["metadata"]["usage_metadata"];
    assert_eq!(usage["input_token_details"], json!({"cache_read": 8, "cache_creation": 1, "audio": 2}));
    assert_eq!(usage["output_token_details"], json!({"reasoning": 4, "text": 5}));
}

#[test]
fn langsmith_s_own_usage_goes_before_counts() {
    let own = json!({"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "total_cost": 0.1});
    for key in ["langsmith.usage_metadata", "langsmith.metadata.usage_metadata"] {
        let document = mapped(json!({key: own.to_string(), "gen_ai.usage.input_tokens": 7}));
        assert_eq!(document["extra"]["metadata"]["usage_metadata"], own);
        assert_eq!(document["extra"]["metadata"]["gen_ai.usage.input_tokens"], 7);
    }
}

#[test]
fn request_parameters_are_invocation_parameters() {
    let document = mapped(json!({
        "gen_ai.request.model": "m", "gen_ai.response.model": "m-2026", "gen_ai.request.temperature": 0.2,
        "gen_ai.request.top_p": 0.9, "gen_ai.request.max_tokens": 200, "gen_ai.request.stop_sequences": ["END"],
        "llm.invocation_parameters": r#"{"temperature":1,"n":2}"#, "llm.presence_penalty": 0.1,
        "llm.request.functions": r#"[{"name":"f"}]"#, "gen_ai.tool.name": "t", "tools": ["u"],
        "tool_arguments": r#"{"a":1}"#,
    }));
    let expected = json!({
        "model": "m", "temperature": 0.2, "top_p": 0.9, "max_tokens": 200, "stop": ["END"], "n": 2,
        "presence_penalty": 0.1, "functions": [{"name": "f"}], "tool_name": "t", "tools": ["u"],
        "tool_arguments": {"a": 1},
    });
    assert_eq!(document["extra"]["invocation_params"], expected);
    assert_eq!(document["extra"]["metadata"]["ls_model_name"], "m");
    assert_eq!(document["extra"]["metadata"]["gen_ai.response.model"], "m-2026");
    assert_eq!(mapped(json!({"gen_ai.response.model": "r"}))["extra"]["invocation_params"], json!({"model": "r"}));
}

#[test]
fn the_provider_has_four_names() {
    for key in ["gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"] {
        assert_eq!(mapped(json!({key: "openai"}))["extra"]["metadata"]["ls_provider"], "openai", "{key}");
    }
    let both = mapped(json!({"gen_ai.system": "old", "gen_ai.provider.name": "new"}));
    assert_eq!(both["extra"]["metadata"]["ls_provider"], "new");
    assert_eq!(both["extra"]["metadata"]["gen_ai.system"], "old");
    assert_eq!(mapped(json!({"llm.model_name": "m"}))["extra"]["metadata"]["ls_model_name"], "m");
}

#[test]
fn what_is_said_last_of_metadata_does_not_hold() {
    let given = json!({
        "langsmith.metadata.a": 1, "metadata": r#"{"a":2,"b":2}"#,
        "traceloop.association.properties.b": 3, "traceloop.association.properties.c": 3,
        "c": 4, "d": 4, "langsmith.metadata.ls_provider": "mine", "gen_ai.system": "theirs",
        "langsmith.metadata.OTEL_SPAN_ID": "forged", "gen_ai.conversation.id": "conv",
    });
    let origin = Origin {
        resource: attributes(&json!({"d": 5, "e": 5, "service.name": "shop", "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": "1.45", "telemetry.sdk.language": "python"})),
        scope_name: "lib".into(),
        scope_version: "2".into(),
        scope: attributes(&json!({"e": 6})),
    };
    let draft = draft(&origin, span(given), None).unwrap();
    let document: Json = serde_json::from_slice(&draft.document).unwrap();
    let metadata = &document["extra"]["metadata"];
    let found: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|key| metadata[key].as_i64().unwrap()).collect();
    assert_eq!(found, [1, 2, 3, 4, 6]);
    assert_eq!(metadata["ls_provider"], "mine");
    assert_eq!(metadata["OTEL_SPAN_ID"], "e8744e43296272f5");
    assert_eq!(metadata["service.name"], "shop");
    assert_eq!([&metadata["otel.scope.name"], &metadata["otel.scope.version"]], ["lib", "2"]);
    assert_eq!([&metadata["thread_id"], &metadata["gen_ai.conversation.id"]], ["conv", "conv"]);
    let runtime = json!({"sdk": "opentelemetry", "sdk_version": "1.45", "runtime": "python", "library": "lib"});
    assert_eq!(document["extra"]["runtime"], runtime);
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        // Exact in few digits: serde_json, which reads the document here, is not exact in the last one.
        any::<i32>().prop_map(|eighths| Json::from(f64::from(eighths) / 8.0)),
        ".{0,12}".prop_map(Json::from),
        Just(Json::from(r#"{"a":[{"b":"c"}],"role":null}"#)),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            proptest::collection::vec((".{0,6}", inner), 0..4)
                .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Keys that are mapped, with all that follows them.
fn known_key() -> impl Strategy<Value = String> {
    let source = concat!(
        include_str!("kind.rs"),
        include_str!("usage.rs"),
        include_str!("payload.rs"),
        include_str!("invocation.rs"),
        include_str!("metadata.rs"),
        include_str!("events.rs"),
        include_str!("../mapping.rs"),
    );
    let keys: Vec<_> = source.split('"').skip(1).step_by(2).filter(|key| key.contains('.')).collect();
    assert!(keys.len() > 60);
    (proptest::sample::select(keys), "(0|1\\.role|2\\.message\\.content)?")
        .prop_map(|(key, tail)| format!("{key}{tail}"))
}

proptest! {
    #[test]
    fn any_attributes_make_a_document_that_is_json(
        given in proptest::collection::vec((prop_oneof![known_key(), ".{0,9}"], any_json()), 0..24),
        name in ".{0,9}",
        of_event in proptest::sample::select(vec!["gen_ai.choice", "gen_ai.tool.message", "exception", "x"]),
    ) {
        let given = attributes(&Json::Object(given.into_iter().collect()));
        let events = vec![Event { nanos: 1, name: of_event.into(), attributes: given.clone() }];
        let span = Span { name: name.into(), events, attributes: given, ..span(json!({})) };
        let draft = draft(&Origin::default(), span, None).unwrap();
        let document: Json = serde_json::from_slice(&draft.document).unwrap();
        prop_assert!(document.as_object().unwrap().values().all(|field| !field.is_null()));
    }

    #[test]
    fn attributes_that_are_not_known_are_metadata_as_they_are(
        given in proptest::collection::btree_map("x\\.[a-z.]{1,9}", any_json(), 0..12),
    ) {
        let document = mapped(Json::Object(given.clone().into_iter().collect()));
        let metadata = document["extra"]["metadata"].as_object().unwrap();
        prop_assert_eq!(metadata.len(), given.len() + 2);
        for (key, expected) in given {
            prop_assert_eq!(metadata[&key].to_string(), written(&expected));
        }
    }
}

/// As a document has it: sorted keys.
fn written(json: &Json) -> String {
    serde_json::to_value(value(json)).unwrap().to_string()
}
