//! The messages of `ExportTraceServiceRequest` in OTLP/JSON.
//!
//! Spans are kept as text until their turn comes, and counted before they are parsed. Where the encoding's rules leave
//! room, as with integers as numbers, all forms are taken. Unknown keys are skipped. Knows nothing of runs.
//! Source: opentelemetry-proto `docs/specification.md`, "JSON Protobuf Encoding".

mod message;
mod number;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::message::{
    EventText, ListText, OwnerText, PairText, RequestText, ResourceSpansText, ScopeSpansText, SpanText, ValueText,
};
use self::number::Int;
use super::embedded::shape;
use super::ids::{hex, span_id, trace_id};
use super::span::{Event, Fault, Origin, Reading, Span};
use super::value::{Budget, Exceeded, Object, Value};
use super::{OtlpError, VALUES_MAX};

/// JSON values of a span's text. An attribute is four, as [`shape`] counts: an object with a key and an object in it.
const TEXT_VALUES_MAX: usize = 5 * VALUES_MAX;

/// Reads a request and hands over each span with what it comes from.
pub(super) fn read<'a>(
    body: &'a [u8],
    each: &mut impl FnMut(&Origin<'a>, Reading<Span<'a>>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    let text = std::str::from_utf8(body).map_err(|error| OtlpError::Json(error.to_string()))?;
    let request: RequestText<'a> = parse(text)?;
    for resource_spans in request.resource_spans.into_iter().flatten() {
        read_resource(resource_spans.get(), each)?;
    }
    Ok(())
}

fn read_resource<'a>(
    text: &'a str,
    each: &mut impl FnMut(&Origin<'a>, Reading<Span<'a>>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    let message: ResourceSpansText<'a> = parse(text)?;
    let (_, resource) = owner("resource", message.resource)?;
    let mut origin = Origin { resource, ..Origin::default() };
    for scope_spans in message.scope_spans.into_iter().flatten() {
        let message: ScopeSpansText<'a> = parse(scope_spans.get())?;
        let (scope, attributes) = owner("scope", message.scope)?;
        origin.scope = attributes;
        origin.scope_name = scope.name.unwrap_or_default();
        origin.scope_version = scope.version.unwrap_or_default();
        for text in message.spans.into_iter().flatten() {
            each(&origin, span(text.get()))?;
        }
    }
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, OtlpError> {
    serde_json::from_str(text).map_err(|error| OtlpError::Json(error.to_string()))
}

/// A resource or a scope, and its attributes.
fn owner<'a>(owner: &'static str, raw: Option<&'a RawValue>) -> Result<(OwnerText<'a>, Object<'a>), OtlpError> {
    let of_owner = |exceeded: Exceeded| OtlpError::Attributes { owner, problem: exceeded.problem() };
    let text = raw.map_or("null", RawValue::get);
    if shape(text).values > TEXT_VALUES_MAX {
        return Err(of_owner(Exceeded::Values));
    }
    let mut found = parse::<Option<OwnerText<'a>>>(text)?.unwrap_or_default();
    let attributes = object(found.attributes.take(), &mut Budget::new()).map_err(of_owner)?;
    Ok((found, attributes))
}

fn span(text: &str) -> Reading<Span<'_>> {
    if shape(text).values > TEXT_VALUES_MAX {
        return Err(Exceeded::Values.into());
    }
    let message: SpanText<'_> = serde_json::from_str(text).map_err(|error| Fault::new(error.to_string()))?;
    let name = message.name.clone().unwrap_or_default();
    identified(message).map_err(|fault| fault.of(&name))
}

fn identified(message: SpanText<'_>) -> Reading<Span<'_>> {
    let budget = &mut Budget::new();
    let trace = message.trace_id.unwrap_or_default();
    let own = message.span_id.unwrap_or_default();
    let parent = message.parent_span_id.unwrap_or_default();
    let status = message.status;
    Ok(Span {
        trace_id: trace_id(hex(&trace, 32), trace.len())?,
        span_id: hex_span_id("span id", &own)?,
        parent_span_id: match parent.bytes().all(|digit| digit == b'0') {
            true => None,
            false => Some(hex_span_id("parent span id", &parent)?),
        },
        start_nanos: nanos(message.start_time_unix_nano),
        end_nanos: nanos(message.end_time_unix_nano),
        attributes: object(message.attributes, budget)?,
        events: message.events.into_iter().flatten().map(|it| event(it, budget)).collect::<Reading<_>>()?,
        status_code: status.as_ref().and_then(|status| status.code).map_or(0, |code| code.0 as i64),
        status_message: status.and_then(|status| status.message).unwrap_or_default(),
        name: message.name.unwrap_or_default(),
    })
}

fn hex_span_id(field: &str, digits: &str) -> Reading<u64> {
    span_id(field, hex(digits, 16).and_then(|id| u64::try_from(id).ok()), digits.len())
}

fn nanos(number: Option<Int>) -> u64 {
    number.and_then(|number| u64::try_from(number.0).ok()).unwrap_or_default()
}

fn event<'a>(message: EventText<'a>, budget: &mut Budget) -> Reading<Event<'a>> {
    budget.value()?;
    Ok(Event {
        nanos: nanos(message.time_unix_nano),
        name: message.name.unwrap_or_default(),
        attributes: object(message.attributes, budget)?,
    })
}

fn object<'a>(pairs: Option<Vec<PairText<'a>>>, budget: &mut Budget) -> Result<Object<'a>, Exceeded> {
    let mut object = Object::new();
    for pair in pairs.into_iter().flatten() {
        budget.value()?;
        let value = pair.value.map_or(Ok(Value::Null), |text| value(text, budget))?;
        object.insert(pair.key.unwrap_or_default(), value);
    }
    Ok(object)
}

fn value<'a>(text: ValueText<'a>, budget: &mut Budget) -> Result<Value<'a>, Exceeded> {
    if let Some(list) = text.array_value {
        return budget.deeper(|budget| values(list, budget));
    }
    if let Some(map) = text.kvlist_value {
        return budget.deeper(|budget| object(map.values, budget).map(Value::Object));
    }
    let scalar = text.string_value.or(text.bytes_value).map(Value::Text);
    let scalar = scalar.or(text.bool_value.map(Value::Bool)).or(text.double_value.map(Value::Double));
    let int = || text.int_value.map(|int| i64::try_from(int.0).map_or(Value::Double(int.0 as f64), Value::Int));
    Ok(scalar.or_else(int).unwrap_or(Value::Null))
}

fn values<'a>(list: ListText<'a>, budget: &mut Budget) -> Result<Value<'a>, Exceeded> {
    let mut values = Vec::new();
    for text in list.values.into_iter().flatten() {
        budget.value()?;
        values.push(value(text, budget)?);
    }
    Ok(Value::List(values))
}
