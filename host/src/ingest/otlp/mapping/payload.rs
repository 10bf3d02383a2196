//! Inputs and outputs.

use super::attributes::Attributes;
use super::family::{messages, tree};
use crate::ingest::otlp::embedded::{parsed, parsed_object};
use crate::ingest::otlp::value::{Object, Value, object};

/// What went in. The first that is there:
///
/// 1. `gen_ai.input.messages` as `messages`, with `gen_ai.system_instructions` as `system_instructions`.
/// 2. What events say.
/// 3. `gen_ai.prompt.<n>.*`, then `llm.input_messages.<n>.*`, as `messages`.
/// 4. Of a retriever: `input.value`, then `gen_ai.retrieval.query.text`, as `query`.
/// 5. `gen_ai.tool.call.arguments`, `input.value`, `traceloop.entity.input`, `gen_ai.prompt`, `prompt`: an object, or text
///    that holds one, as it is; anything else as `input`.
pub(super) fn inputs<'a>(
    attributes: &mut Attributes<'a>,
    said: Option<Value<'a>>,
    run_type: &str,
) -> Option<Value<'a>> {
    const KEYS: [&str; 5] =
        ["gen_ai.tool.call.arguments", "input.value", "traceloop.entity.input", "gen_ai.prompt", "prompt"];
    input_messages(attributes)
        .or(said)
        .or_else(|| indexed(attributes, "gen_ai.prompt."))
        .or_else(|| indexed(attributes, "llm.input_messages."))
        .or_else(|| if run_type == "retriever" { query(attributes) } else { None })
        .or_else(|| attributes.take_first(&KEYS).map(|value| wrapped(value, "input")))
}

/// What came out. The first that is there:
///
/// 1. `gen_ai.output.messages` as `messages`.
/// 2. What events say.
/// 3. `retrieval.documents.<n>.document.*`, then `gen_ai.retrieval.documents`, as `documents`.
/// 4. `gen_ai.completion.<n>.*`, then `llm.output_messages.<n>.*`, as `messages`.
/// 5. `gen_ai.tool.call.result`, `output.value`, `traceloop.entity.output`, `gen_ai.completion`, `all_messages_events`: an
///    object, or text that holds one, as it is; anything else as `output`.
pub(super) fn outputs<'a>(attributes: &mut Attributes<'a>, said: Option<Value<'a>>) -> Option<Value<'a>> {
    const KEYS: [&str; 5] = [
        "gen_ai.tool.call.result",
        "output.value",
        "traceloop.entity.output",
        "gen_ai.completion",
        "all_messages_events",
    ];
    let whole = attributes.take("gen_ai.output.messages").map(|value| object([("messages", Some(parsed(value)))]));
    whole
        .or(said)
        .or_else(|| documents(attributes))
        .or_else(|| indexed(attributes, "gen_ai.completion."))
        .or_else(|| indexed(attributes, "llm.output_messages."))
        .or_else(|| attributes.take_first(&KEYS).map(|value| wrapped(value, "output")))
}

/// An object, or text that holds one, as it is; anything else under a key.
pub(super) fn wrapped<'a>(value: Value<'a>, key: &'static str) -> Value<'a> {
    parsed_object(value).unwrap_or_else(|other| object([(key, Some(parsed(other)))]))
}

fn input_messages<'a>(attributes: &mut Attributes<'a>) -> Option<Value<'a>> {
    let messages = parsed(attributes.take("gen_ai.input.messages")?);
    let instructions = attributes.take("gen_ai.system_instructions").map(parsed);
    Some(object([("messages", Some(messages)), ("system_instructions", instructions)]))
}

fn indexed<'a>(attributes: &mut Attributes<'a>, prefix: &str) -> Option<Value<'a>> {
    let messages = messages(attributes.take_indexed(prefix))?;
    Some(object([("messages", Some(messages))]))
}

fn query<'a>(attributes: &mut Attributes<'a>) -> Option<Value<'a>> {
    let query = attributes.take_first(&["input.value", "gen_ai.retrieval.query.text"])?;
    Some(wrapped(query, "query"))
}

fn documents<'a>(attributes: &mut Attributes<'a>) -> Option<Value<'a>> {
    let found = match tree(attributes.take_indexed("retrieval.documents.")) {
        Some(Value::List(documents)) => Value::List(documents.into_iter().map(document).collect()),
        Some(other) => other,
        None => parsed(attributes.take("gen_ai.retrieval.documents")?),
    };
    Some(object([("documents", Some(found))]))
}

/// As LangChain writes a document: `page_content`, `metadata`, `type`; what else is there (`id`, `score`) stays.
fn document(found: Value<'_>) -> Value<'_> {
    let Value::Object(mut members) = found else { return found };
    let Some(Value::Object(mut inner)) = members.remove("document") else { return Value::Object(members) };
    let page_content = inner.remove("content").unwrap_or(Value::text(""));
    let metadata = inner.remove("metadata").map_or(Value::Object(Object::new()), parsed);
    members.extend(inner);
    members.insert("page_content".into(), page_content);
    members.insert("metadata".into(), metadata);
    members.insert("type".into(), Value::text("Document"));
    Value::Object(members)
}
