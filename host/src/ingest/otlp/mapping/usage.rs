//! Tokens.

use super::attributes::Attributes;
use crate::ingest::otlp::embedded::{members, parsed_object};
use crate::ingest::otlp::value::{Object, Value, object};

const INPUT: [&str; 4] =
    ["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens"];
const OUTPUT: [&str; 4] = [
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "llm.usage.completion_tokens",
];
const TOTAL: [&str; 3] = ["gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"];

/// What `input_token_details` counts, by its names.
const INPUT_DETAILS: [(&str, &[&str]); 3] = [
    (
        "cache_read",
        &[
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "llm.token_count.prompt_details.cache_read",
        ],
    ),
    (
        "cache_creation",
        &[
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "llm.token_count.prompt_details.cache_write",
        ],
    ),
    ("audio", &["gen_ai.usage.audio.input_tokens", "llm.token_count.prompt_details.audio"]),
];

/// What `output_token_details` counts.
const OUTPUT_DETAILS: [(&str, &[&str]); 2] = [
    (
        "reasoning",
        &[
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.details.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
        ],
    ),
    ("audio", &["gen_ai.usage.audio.output_tokens", "llm.token_count.completion_details.audio"]),
];

/// LangSmith's `usage_metadata`: `input_tokens`, `output_tokens`, `total_tokens`, `input_token_details`,
/// `output_token_details`. None where no tokens are told.
///
/// `langsmith.usage_metadata`, an object or text that holds one, goes before all, then `langsmith.metadata.usage_metadata`,
/// which is what LangSmith's own SDK sends. Else each count is the first spelling
/// that is a count; the total is the sum where none is given. Details are single counts, over those of
/// `gen_ai.usage.input_token_details` and `gen_ai.usage.output_token_details`.
pub(super) fn usage<'a>(attributes: &mut Attributes<'a>) -> Option<Value<'a>> {
    for own in ["langsmith.usage_metadata", "langsmith.metadata.usage_metadata"] {
        let usage = attributes.get(own).and_then(|value| parsed_object(value.clone()).ok());
        if usage.is_some() {
            attributes.take(own);
            return usage;
        }
    }
    let (input, output) = (attributes.take_count(&INPUT), attributes.take_count(&OUTPUT));
    let is_counted = input.is_some() || output.is_some();
    let sum = || is_counted.then(|| input.unwrap_or(0).saturating_add(output.unwrap_or(0)));
    let total = attributes.take_count(&TOTAL).or_else(sum);
    let usage = object([
        ("input_tokens", input.and_then(count)),
        ("output_tokens", output.and_then(count)),
        ("total_tokens", total.and_then(count)),
        ("input_token_details", details(attributes, "gen_ai.usage.input_token_details", &INPUT_DETAILS)),
        ("output_token_details", details(attributes, "gen_ai.usage.output_token_details", &OUTPUT_DETAILS)),
    ]);
    Some(usage).filter(|usage| !usage.is_empty())
}

fn details<'a>(attributes: &mut Attributes<'a>, whole: &str, counts: &[(&'static str, &[&str])]) -> Option<Value<'a>> {
    let mut details = attributes.get(whole).and_then(members).unwrap_or_default();
    if !details.is_empty() {
        attributes.take(whole);
    }
    let single = counts.iter().filter_map(|(name, keys)| Some((*name, attributes.take_count(keys).and_then(count)?)));
    let single: Object<'a> = single.map(|(name, count)| (name.into(), count)).collect();
    details.extend(single);
    (!details.is_empty()).then_some(Value::Object(details))
}

fn count<'a>(count: u64) -> Option<Value<'a>> {
    i64::try_from(count).ok().map(Value::Int)
}
