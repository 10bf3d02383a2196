//! What a model was called with: `extra.invocation_params`.

use std::borrow::Cow;

use super::attributes::Attributes;
use crate::ingest::otlp::embedded::{members, parsed};
use crate::ingest::otlp::value::Object;

/// Attributes outside `gen_ai.request.*`, and what they are called. Those that come first go before those that follow.
const NAMED: [(&str, &str); 9] = [
    // The model that answered is a parameter only where the one that was asked for is not told.
    ("gen_ai.response.model", "model"),
    ("llm.presence_penalty", "presence_penalty"),
    ("llm.frequency_penalty", "frequency_penalty"),
    ("llm.request.functions", "functions"),
    ("gen_ai.tool.name", "tool_name"),
    ("gen_ai.tool.definitions", "tools"),
    ("llm.tools", "tools"),
    ("tools", "tools"),
    ("tool_arguments", "tool_arguments"),
];

/// `gen_ai.request.*` without the prefix, `stop_sequences` as `stop`; then [`NAMED`]; then the members of
/// `llm.invocation_parameters`. What comes first holds; a later one of the same name stays metadata, or, as a member,
/// is left out where it says what is said already.
pub(super) fn params<'a>(attributes: &mut Attributes<'a>) -> Object<'a> {
    let mut params: Object<'a> = attributes.take_family("gen_ai.request.");
    if let Some(stop) = params.remove("stop_sequences") {
        params.insert(Cow::Borrowed("stop"), stop);
    }
    for (attribute, name) in NAMED {
        if !params.contains_key(name)
            && let Some(value) = attributes.take(attribute)
        {
            params.insert(Cow::Borrowed(name), parsed(value));
        }
    }
    let bag = attributes.get("llm.invocation_parameters").and_then(members);
    if let Some(bag) = bag {
        attributes.take("llm.invocation_parameters");
        for (name, value) in bag {
            params.entry(name).or_insert(value);
        }
    }
    params
}
