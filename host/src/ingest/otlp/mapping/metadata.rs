//! `extra.metadata`, and tags.

use super::attributes::Attributes;
use crate::ingest::otlp::embedded::members;
use crate::ingest::otlp::span::Origin;
use crate::ingest::otlp::value::{Object, Value};

/// Everything that is said of a run beside its other fields. Where a key comes twice, what comes first here holds:
///
/// 1. `OTEL_TRACE_ID`, `OTEL_SPAN_ID`: the ids in hex; `usage_metadata`.
/// 2. `langsmith.metadata.*` without the prefix.
/// 3. Members of `metadata`, an object or text that holds one.
/// 4. `traceloop.association.properties.*` without the prefix.
/// 5. `ls_provider`: `gen_ai.provider.name`, else `gen_ai.system`, `llm.provider`, `llm.system`. `ls_model_name`: see
///    [`model`]. `thread_id`: `gen_ai.conversation.id`, else `session.id`; not taken.
/// 6. All attributes that nothing else has taken, by their own names.
/// 7. `otel.scope.name`, `otel.scope.version`, the scope's attributes.
/// 8. The resource's attributes: `service.name` and so on.
pub(super) fn metadata<'a>(
    mut attributes: Attributes<'a>,
    origin: &Origin<'a>,
    (trace_id, span_id): (u128, u64),
    usage: Option<Value<'a>>,
    model: Option<String>,
) -> Object<'a> {
    let own = attributes.take_family("langsmith.metadata.");
    let bag = attributes.get("metadata").and_then(members).unwrap_or_default();
    if !bag.is_empty() {
        attributes.take("metadata");
    }
    let association = attributes.take_family("traceloop.association.properties.");
    let derived = derived(&mut attributes, model);
    // From the last to the first, each over what is there.
    let mut metadata = origin.resource.clone();
    metadata.extend(scope(origin));
    metadata.extend(attributes.into_rest());
    metadata.extend(derived);
    metadata.extend(association);
    metadata.extend(bag);
    metadata.extend(own);
    metadata.extend(usage.map(|usage| ("usage_metadata".into(), usage)));
    metadata.insert("OTEL_TRACE_ID".into(), Value::text(format!("{trace_id:032x}")));
    metadata.insert("OTEL_SPAN_ID".into(), Value::text(format!("{span_id:016x}")));
    metadata
}

/// The model's name: `gen_ai.request.model`, else `gen_ai.response.model`, else `llm.model_name`.
pub(super) fn model(attributes: &Attributes<'_>) -> Option<String> {
    let keys = ["gen_ai.request.model", "gen_ai.response.model", "llm.model_name"];
    keys.iter().find_map(|key| attributes.text(key)).map(str::to_owned)
}

/// `langsmith.span.tags`, text with commas or a list, then OpenInference's `tag.tags`.
pub(super) fn tags(attributes: &mut Attributes<'_>) -> Vec<String> {
    let given = ["langsmith.span.tags", "tag.tags"].into_iter().filter_map(|key| attributes.take(key));
    let tags: Vec<String> = given.flat_map(tags_of).collect();
    tags.into_iter().map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect()
}

fn tags_of(value: Value<'_>) -> Vec<String> {
    match value {
        Value::Text(text) => text.split(',').map(str::to_owned).collect(),
        Value::List(values) => values.iter().filter_map(Value::as_text).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn derived<'a>(attributes: &mut Attributes<'a>, model: Option<String>) -> Object<'a> {
    let providers = ["gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"];
    let thread = attributes.get("gen_ai.conversation.id").or_else(|| attributes.get("session.id")).cloned();
    let pairs = [
        ("ls_provider", attributes.take_first(&providers)),
        ("ls_model_name", model.map(Value::text)),
        ("thread_id", thread),
    ];
    pairs.into_iter().filter_map(|(key, value)| Some((key.into(), value?))).collect()
}

fn scope<'a>(origin: &Origin<'a>) -> Object<'a> {
    let mut scope = origin.scope.clone();
    let named = [("otel.scope.name", &origin.scope_name), ("otel.scope.version", &origin.scope_version)];
    for (key, text) in named.into_iter().filter(|(_, text)| !text.is_empty()) {
        scope.insert(key.into(), Value::Text(text.clone()));
    }
    scope
}
