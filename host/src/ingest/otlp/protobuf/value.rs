//! Attributes in binary protobuf: `KeyValue` and `AnyValue` of `common/v1/common.proto`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Broken;
use crate::ingest::otlp::value::{Budget, Object, Value};
use crate::ingest::otlp::wire::{Content, Message};

/// `KeyValue`.
pub(super) fn attribute_into<'a>(
    message: Message<'a>,
    into: &mut Object<'a>,
    budget: &mut Budget,
) -> Result<(), Broken> {
    budget.value()?;
    let (mut key, mut found) = (Cow::Borrowed(""), Value::Null);
    for field in message.fields() {
        match field? {
            (1, Content::Bytes(bytes)) => key = text(bytes),
            (2, Content::Bytes(message)) => found = value(message, budget)?,
            _ => {}
        }
    }
    into.insert(key, found);
    Ok(())
}

/// `AnyValue`: of several fields of the oneof the last holds.
fn value<'a>(message: Message<'a>, budget: &mut Budget) -> Result<Value<'a>, Broken> {
    let mut found = Value::Null;
    for field in message.fields() {
        found = match field? {
            (1, Content::Bytes(bytes)) => Value::Text(text(bytes)),
            (2, Content::Varint(flag)) => Value::Bool(flag != 0),
            (3, Content::Varint(number)) => Value::Int(number.cast_signed()),
            (4, Content::Fixed64(bits)) => Value::Double(f64::from_bits(bits)),
            (5, Content::Bytes(message)) => budget.deeper(|budget| list(message, budget))?,
            (6, Content::Bytes(message)) => budget.deeper(|budget| map(message, budget))?,
            (7, Content::Bytes(bytes)) => Value::text(STANDARD.encode(bytes.bytes)),
            _ => found,
        };
    }
    Ok(found)
}

/// `ArrayValue`.
fn list<'a>(message: Message<'a>, budget: &mut Budget) -> Result<Value<'a>, Broken> {
    let mut values = Vec::new();
    for field in message.fields() {
        if let (1, Content::Bytes(message)) = field? {
            budget.value()?;
            values.push(value(message, budget)?);
        }
    }
    Ok(Value::List(values))
}

/// `KeyValueList`.
fn map<'a>(message: Message<'a>, budget: &mut Budget) -> Result<Value<'a>, Broken> {
    let mut object = Object::new();
    for field in message.fields() {
        if let (1, Content::Bytes(pair)) = field? {
            attribute_into(pair, &mut object, budget)?;
        }
    }
    Ok(Value::Object(object))
}

/// Exporters that shorten text by bytes can cut a character in two; that shall cost no span.
pub(super) fn text(message: Message<'_>) -> Cow<'_, str> {
    String::from_utf8_lossy(message.bytes)
}
