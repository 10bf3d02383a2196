//! A span as a run. Each part of a run has its module, which says what is mapped and what goes before what.
//!
//! Attributes are taken out of the span as they are mapped; what nobody took goes to `extra.metadata` under its own name.
//! So nothing is lost, a second spelling of something included. What is mapped with loss, as an operation's name to a run
//! type, is not taken. Knows neither encoding. Source: docs.langchain.com, "Trace with OpenTelemetry"; OpenTelemetry's
//! semantic conventions for GenAI.
//!
//! Not mapped: links, a span's kind and its trace state; attachments (`langsmith.attachments` stays metadata).

mod attributes;
mod error;
mod events;
mod family;
mod invocation;
mod kind;
mod metadata;
mod payload;
#[cfg(test)]
mod tests;
mod usage;

use std::borrow::Cow;

use serde::Serialize;
use uuid::Uuid;

use self::attributes::Attributes;
use self::events::Said;
use super::ids::{run_of_span, run_of_trace};
use super::span::{Fault, Origin, Reading, Span};
use super::time::iso;
use super::tree::{Draft, DraftParent, GIVEN_ORDER_BYTES_MAX};
use super::value::{Value, object};
use crate::model::ids::RunId;

/// A run's document but for its place in the tree; that is put in front.
#[derive(Serialize)]
struct Document<'a> {
    name: Cow<'a, str>,
    run_type: &'static str,
    start_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_example_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Value<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Value<'a>>,
    extra: Value<'a>,
}

/// Maps a span.
///
/// * `id`: `langsmith.span.id`, else the span id. `trace_id`: `langsmith.trace.id`, else the trace id.
/// * Parent: none where `langsmith.is_root` is true; else `langsmith.span.parent_id`, else the parent span id. A parent in
///   another process (a remote one) is a parent.
/// * `session_name`: `langsmith.trace.session_name`, else `project`. `session_id`: `langsmith.trace.session_id`.
/// * `reference_example_id`: `langsmith.reference_example_id`. Of all ids, what is no UUID stays metadata.
/// * Times: the span's; where it has no start, its end is the start too. Where it has no end, the run has none.
///
/// # Errors
/// A span without any time.
pub(super) fn draft<'a>(origin: &Origin<'a>, span: Span<'a>, project: Option<&str>) -> Reading<Draft> {
    let mut attributes = Attributes::new(span.attributes);
    let start_nanos = if span.start_nanos == 0 { span.end_nanos } else { span.start_nanos };
    let start_time = iso(start_nanos).ok_or_else(|| Fault::new("it has neither a start nor an end"))?;
    let id = attributes.take_uuid("langsmith.span.id").map_or_else(|| run_of_span(span.span_id), RunId);
    let trace = attributes.take_uuid("langsmith.trace.id").map_or_else(|| run_of_trace(span.trace_id), RunId);
    let parent = parent(&mut attributes, span.parent_span_id);
    let dotted_order = dotted_order(&mut attributes);
    let error = error::error(&span.events, span.status_code, &span.status_message, &attributes);
    let run_type = kind::run_type(&mut attributes);
    let Said { inputs, outputs, events } = events::split(span.events);
    let document = Document {
        name: name(&mut attributes, span.name),
        run_type,
        start_time,
        end_time: iso(span.end_nanos),
        session_name: attributes.take_text("langsmith.trace.session_name").or_else(|| project.map(str::to_owned)),
        session_id: attributes.take_uuid("langsmith.trace.session_id"),
        reference_example_id: attributes.take_uuid("langsmith.reference_example_id"),
        inputs: payload::inputs(&mut attributes, inputs, run_type),
        outputs: payload::outputs(&mut attributes, outputs),
        error,
        tags: metadata::tags(&mut attributes),
        events,
        extra: extra(attributes, origin, (span.trace_id, span.span_id)),
    };
    let document = serde_json::to_vec(&document).map_err(|error| Fault::new(error.to_string()))?;
    let span = (span.trace_id, span.span_id);
    Ok(Draft { id, trace, span, parent, start_nanos, dotted_order, document })
}

fn parent(attributes: &mut Attributes<'_>, parent_span_id: Option<u64>) -> DraftParent {
    if matches!(attributes.get("langsmith.is_root"), Some(Value::Bool(true))) {
        attributes.take("langsmith.is_root");
        return DraftParent::Root;
    }
    let run = attributes.take_uuid("langsmith.span.parent_id").map(|id| DraftParent::Run(RunId(id)));
    run.or(parent_span_id.map(DraftParent::Span)).unwrap_or(DraftParent::Root)
}

/// One that is too long stays metadata.
fn dotted_order(attributes: &mut Attributes<'_>) -> Option<String> {
    const KEY: &str = "langsmith.span.dotted_order";
    attributes.text(KEY).filter(|order| order.len() <= GIVEN_ORDER_BYTES_MAX)?;
    attributes.take_text(KEY)
}

/// `langsmith.trace.name`, else `traceloop.entity.name`, else of OpenInference's tools `tool.name`, else the span's name.
fn name<'a>(attributes: &mut Attributes<'a>, span_name: Cow<'a, str>) -> Cow<'a, str> {
    let is_tool = attributes.text("openinference.span.kind").is_some_and(|kind| kind.eq_ignore_ascii_case("tool"));
    let given = attributes.take_text("langsmith.trace.name").or_else(|| attributes.take_text("traceloop.entity.name"));
    let given = given.or_else(|| if is_tool { attributes.take_text("tool.name") } else { None });
    match given {
        Some(name) => Cow::Owned(name),
        None if span_name.is_empty() => Cow::Borrowed("unnamed"),
        None => span_name,
    }
}

/// `metadata`, `invocation_params` where there are some, and `runtime` as the SDKs have it, made of the resource's
/// `telemetry.sdk.*` and the instrumentation's name.
fn extra<'a>(mut attributes: Attributes<'a>, origin: &Origin<'a>, ids: (u128, u64)) -> Value<'a> {
    let usage = usage::usage(&mut attributes);
    let model = metadata::model(&attributes);
    let params = invocation::params(&mut attributes);
    let metadata = metadata::metadata(attributes, origin, ids, usage, model);
    let of_resource = |key: &str| origin.resource.get(key).filter(|value| !value.is_empty()).cloned();
    let library = (!origin.scope_name.is_empty()).then(|| Value::Text(origin.scope_name.clone()));
    let runtime = object([
        ("sdk", of_resource("telemetry.sdk.name")),
        ("sdk_version", of_resource("telemetry.sdk.version")),
        ("runtime", of_resource("telemetry.sdk.language")),
        ("library", library),
    ]);
    object([
        ("metadata", Some(Value::Object(metadata))),
        ("invocation_params", Some(Value::Object(params)).filter(|params| !params.is_empty())),
        ("runtime", Some(runtime).filter(|runtime| !runtime.is_empty())),
    ])
}
