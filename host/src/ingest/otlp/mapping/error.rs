//! The error's text.

use super::attributes::Attributes;
use crate::ingest::otlp::span::{Event, STATUS_ERROR, STATUS_OK};
use crate::ingest::otlp::value::Value;

/// What went wrong. The first that is there:
///
/// 1. The first event `exception`: its message, else its type, and its stack trace below, unless the message has lines
///    and is a part of the trace, as LangSmith's SDK has it: then it is a trace itself. The event stays among the run's
///    events, and so its type does.
/// 2. Of a span with status ERROR: the status message, else `error.type`, else a sentence that says so.
///
/// A span with status OK has no error: it recorded an exception that it got over.
pub(super) fn error(events: &[Event<'_>], code: i64, message: &str, attributes: &Attributes<'_>) -> Option<String> {
    if code == STATUS_OK {
        return None;
    }
    let exception = events.iter().find(|event| event.name == "exception").map(exception);
    exception.or_else(|| (code == STATUS_ERROR).then(|| of_status(message, attributes)))
}

fn exception(event: &Event<'_>) -> String {
    let text = |key: &str| event.attributes.get(key).and_then(Value::as_text);
    let message = text("exception.message").or_else(|| text("exception.type"));
    let is_trace = |message: &str, stack: &str| message.contains('\n') && stack.contains(message);
    match (message, text("exception.stacktrace")) {
        (Some(message), Some(stack)) if is_trace(message, stack) => message.to_owned(),
        (Some(message), Some(stack)) => format!("{message}\n\nStacktrace:\n{stack}"),
        (Some(message), None) => message.to_owned(),
        (None, Some(stack)) => format!("Stacktrace:\n{stack}"),
        (None, None) => "an exception without a message".to_owned(),
    }
}

fn of_status(message: &str, attributes: &Attributes<'_>) -> String {
    let text = if message.is_empty() { attributes.text("error.type") } else { Some(message) };
    text.unwrap_or("the span has status ERROR without a message").to_owned()
}
