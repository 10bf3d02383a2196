//! The messages of `ExportTraceServiceRequest` in binary protobuf, field by field.
//!
//! Field numbers: opentelemetry-proto `trace/v1/trace.proto`, `common/v1/common.proto`, `resource/v1/resource.proto`.
//! Fields that are not read here (schema URLs, links, counts of what was dropped, flags, kind, trace state) are skipped,
//! and so are unknown ones. Knows nothing of runs.

mod value;

use self::value::{attribute_into, text};
use super::OtlpError;
use super::ids::{span_id, trace_id};
use super::span::{Event, Origin, Reading, Span};
use super::value::{Budget, Exceeded, Object};
use super::wire::{Content, Message};

/// Reads a request and hands over each span with what it comes from.
pub(super) fn read<'a>(
    body: &'a [u8],
    each: &mut impl FnMut(&Origin<'a>, Reading<Span<'a>>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    for field in Message::new(body).fields() {
        if let (1, Content::Bytes(resource_spans)) = field? {
            read_resource(resource_spans, each)?;
        }
    }
    Ok(())
}

/// `ResourceSpans`. The resource may stand behind the spans: it is looked for first.
fn read_resource<'a>(
    message: Message<'a>,
    each: &mut impl FnMut(&Origin<'a>, Reading<Span<'a>>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    let mut origin = Origin::default();
    for field in message.fields() {
        if let (1, Content::Bytes(resource)) = field? {
            origin.resource = owned_attributes("resource", resource, 1)?;
        }
    }
    for field in message.fields() {
        if let (2, Content::Bytes(scope_spans)) = field? {
            read_scope(scope_spans, &mut origin, each)?;
        }
    }
    Ok(())
}

/// `ScopeSpans`, likewise.
fn read_scope<'a>(
    message: Message<'a>,
    origin: &mut Origin<'a>,
    each: &mut impl FnMut(&Origin<'a>, Reading<Span<'a>>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    (origin.scope_name, origin.scope_version, origin.scope) = Default::default();
    for field in message.fields() {
        if let (1, Content::Bytes(scope)) = field? {
            scope_into(scope, origin)?;
        }
    }
    for field in message.fields() {
        if let (2, Content::Bytes(message)) = field? {
            each(origin, span(message).or_else(Broken::into_reading)?)?;
        }
    }
    Ok(())
}

/// `InstrumentationScope`.
fn scope_into<'a>(message: Message<'a>, origin: &mut Origin<'a>) -> Result<(), OtlpError> {
    for field in message.fields() {
        match field? {
            (1, Content::Bytes(name)) => origin.scope_name = text(name),
            (2, Content::Bytes(version)) => origin.scope_version = text(version),
            _ => {}
        }
    }
    origin.scope = owned_attributes("scope", message, 3)?;
    Ok(())
}

fn owned_attributes<'a>(owner: &'static str, message: Message<'a>, number: u64) -> Result<Object<'a>, OtlpError> {
    let (mut attributes, mut budget) = (Object::new(), Budget::new());
    for field in message.fields() {
        match field? {
            (found, Content::Bytes(pair)) if found == number => {
                attribute_into(pair, &mut attributes, &mut budget).map_err(|broken| broken.of_owner(owner))?;
            }
            _ => {}
        }
    }
    Ok(attributes)
}

/// What ends the reading of attributes: the body is broken, or they exceed a bound.
#[derive(Debug)]
enum Broken {
    Body(OtlpError),
    Bound(Exceeded),
}

impl Broken {
    fn into_reading<'a>(self) -> Result<Reading<Span<'a>>, OtlpError> {
        match self {
            Self::Body(error) => Err(error),
            Self::Bound(exceeded) => Ok(Err(exceeded.into())),
        }
    }

    fn of_owner(self, owner: &'static str) -> OtlpError {
        match self {
            Self::Body(error) => error,
            Self::Bound(exceeded) => OtlpError::Attributes { owner, problem: exceeded.problem() },
        }
    }
}

impl From<OtlpError> for Broken {
    fn from(error: OtlpError) -> Self {
        Self::Body(error)
    }
}

impl From<Exceeded> for Broken {
    fn from(exceeded: Exceeded) -> Self {
        Self::Bound(exceeded)
    }
}

/// `Span`. Its ids are judged when the name is known.
fn span(message: Message<'_>) -> Result<Reading<Span<'_>>, Broken> {
    let (mut span, mut budget) = (Span::default(), Budget::new());
    let (mut trace, mut own, mut parent): (&[u8], &[u8], &[u8]) = Default::default();
    for field in message.fields() {
        match field? {
            (1, Content::Bytes(id)) => trace = id.bytes,
            (2, Content::Bytes(id)) => own = id.bytes,
            (4, Content::Bytes(id)) => parent = id.bytes,
            (5, Content::Bytes(name)) => span.name = text(name),
            (7, Content::Fixed64(nanos)) => span.start_nanos = nanos,
            (8, Content::Fixed64(nanos)) => span.end_nanos = nanos,
            (9, Content::Bytes(pair)) => attribute_into(pair, &mut span.attributes, &mut budget)?,
            (11, Content::Bytes(message)) => span.events.push(event(message, &mut budget)?),
            (15, Content::Bytes(status)) => status_into(status, &mut span)?,
            _ => {}
        }
    }
    let name = span.name.clone();
    Ok(identified(span, trace, own, parent).map_err(|fault| fault.of(&name)))
}

fn identified<'a>(span: Span<'a>, trace: &[u8], own: &[u8], parent: &[u8]) -> Reading<Span<'a>> {
    let span_id_of = |id: &[u8], field| span_id(field, <[u8; 8]>::try_from(id).map(u64::from_be_bytes).ok(), id.len());
    Ok(Span {
        trace_id: trace_id(<[u8; 16]>::try_from(trace).map(u128::from_be_bytes).ok(), trace.len())?,
        span_id: span_id_of(own, "span id")?,
        parent_span_id: if parent.iter().all(|byte| *byte == 0) {
            None
        } else {
            Some(span_id_of(parent, "parent span id")?)
        },
        ..span
    })
}

/// `Status`.
fn status_into<'a>(message: Message<'a>, span: &mut Span<'a>) -> Result<(), OtlpError> {
    for field in message.fields() {
        match field? {
            (2, Content::Bytes(message)) => span.status_message = text(message),
            (3, Content::Varint(code)) => span.status_code = code.cast_signed(),
            _ => {}
        }
    }
    Ok(())
}

/// `Span.Event`; counts as a value, for that is what bounds how many there are.
fn event<'a>(message: Message<'a>, budget: &mut Budget) -> Result<Event<'a>, Broken> {
    budget.value()?;
    let mut event = Event::default();
    for field in message.fields() {
        match field? {
            (1, Content::Fixed64(nanos)) => event.nanos = nanos,
            (2, Content::Bytes(name)) => event.name = text(name),
            (3, Content::Bytes(pair)) => attribute_into(pair, &mut event.attributes, budget)?,
            _ => {}
        }
    }
    Ok(event)
}
