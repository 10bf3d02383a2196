//! Span events: messages that were said, which become inputs and outputs, and all others, which stay events.
//!
//! `gen_ai.system.message` and `gen_ai.user.message` are inputs. `gen_ai.assistant.message`, `gen_ai.tool.message` and
//! `gen_ai.choice` are outputs, as LangSmith has them. `gen_ai.content.prompt` and `gen_ai.content.completion` hold all
//! of the inputs and outputs and go before single messages.

use std::borrow::Cow;

use super::family::tree;
use super::payload::wrapped;
use crate::ingest::otlp::embedded::members;
use crate::ingest::otlp::span::Event;
use crate::ingest::otlp::time::iso;
use crate::ingest::otlp::value::{Object, Value, object};

/// What events say.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    pub(super) inputs: Option<Value<'a>>,
    pub(super) outputs: Option<Value<'a>>,
    /// The others, as runs have them: `name`, `time`, `kwargs`.
    pub(super) events: Vec<Value<'a>>,
}

pub(super) fn split(events: Vec<Event<'_>>) -> Said<'_> {
    let mut said = Said::default();
    let (mut asked, mut answered, mut choices) = (Vec::new(), Vec::new(), Vec::new());
    for mut event in events {
        match event.name.as_ref() {
            "gen_ai.system.message" => asked.push(message(event.attributes, "system")),
            "gen_ai.user.message" => asked.push(message(event.attributes, "user")),
            "gen_ai.assistant.message" => answered.push(message(event.attributes, "assistant")),
            "gen_ai.tool.message" => answered.push(tool_message(event.attributes)),
            "gen_ai.choice" => choices.push(content(event.attributes)),
            "gen_ai.content.prompt" => said.inputs = whole(&mut event, "gen_ai.prompt", "input").or(said.inputs),
            "gen_ai.content.completion" => {
                said.outputs = whole(&mut event, "gen_ai.completion", "output").or(said.outputs);
            }
            _ => said.events.push(kept(event)),
        }
    }
    said.inputs = said.inputs.or_else(|| object_of([("messages", asked)]));
    said.outputs = said.outputs.or_else(|| object_of([("messages", answered), ("choices", choices)]));
    said
}

fn object_of<'a, const N: usize>(lists: [(&'static str, Vec<Value<'a>>); N]) -> Option<Value<'a>> {
    let lists = lists.map(|(key, list)| (key, (!list.is_empty()).then_some(Value::List(list))));
    Some(object(lists)).filter(|object| !object.is_empty())
}

fn whole<'a>(event: &mut Event<'a>, attribute: &str, key: &'static str) -> Option<Value<'a>> {
    event.attributes.remove(attribute).filter(|value| !value.is_empty()).map(|value| wrapped(value, key))
}

/// `gen_ai.event.content`, which holds it all as JSON; else what the attributes make.
fn content(mut attributes: Object<'_>) -> Value<'_> {
    if let Some(members) = attributes.get("gen_ai.event.content").and_then(members) {
        return Value::Object(members);
    }
    for provider in ["gen_ai.system", "gen_ai.provider.name"] {
        attributes.remove(provider);
    }
    tree(attributes).unwrap_or(Value::Object(Object::new()))
}

/// With the role that the event's name tells where it says none.
fn message<'a>(attributes: Object<'a>, role: &'static str) -> Value<'a> {
    let mut message = content(attributes);
    if let Value::Object(members) = &mut message {
        members.entry(Cow::Borrowed("role")).or_insert(Value::text(role));
    }
    message
}

/// With `id` as `tool_call_id`.
fn tool_message(attributes: Object<'_>) -> Value<'_> {
    let mut message = message(attributes, "tool");
    if let Value::Object(members) = &mut message
        && let Some(id) = members.remove("id")
    {
        members.entry(Cow::Borrowed("tool_call_id")).or_insert(id);
    }
    message
}

fn kept(event: Event<'_>) -> Value<'_> {
    let kwargs = Some(Value::Object(event.attributes)).filter(|kwargs| !kwargs.is_empty());
    let time = iso(event.nanos).map(Value::text);
    object([("name", Some(Value::Text(event.name))), ("time", time), ("kwargs", kwargs)])
}
