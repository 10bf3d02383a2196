//! What a run used: tokens and costs. Each is taken whole from the first place that has any of it.
//!
//! The places are `outputs.usage_metadata`, `extra.metadata.usage_metadata` (both as the SDKs write them:
//! `input_tokens`, `output_tokens`, `total_tokens`, and `…_cost`), and the run's own fields (`prompt_tokens`, …).

use memchr::memmem;

use crate::document::{self, Fields};
use crate::model::run::{Costs, Tokens};

use super::decimal::decimal;
use super::known::RunFields;

/// Input, output and total of one thing.
type Triple<'a> = [Option<&'a str>; 3];

/// Reads them; `extra` is the merged one.
pub(super) fn usage(fields: &RunFields<'_>, extra: Option<&str>) -> (Tokens, Costs) {
    let metadata = extra.filter(mentions_usage).and_then(|extra| document::member(extra, "metadata"));
    let told =
        [fields.outputs.filter(mentions_usage), metadata].map(|place| place.map(of_metadata).unwrap_or_default());
    let own_tokens = [fields.prompt_tokens, fields.completion_tokens, fields.total_tokens];
    let own_costs = [fields.prompt_cost, fields.completion_cost, fields.total_cost];
    let places = [told[0], told[1], (own_tokens, own_costs)];
    let tokens = places.iter().find_map(|(tokens, _)| read_tokens(tokens));
    let costs = places.iter().find_map(|(_, costs)| read_costs(costs));
    (tokens.unwrap_or_default(), costs.unwrap_or_default())
}

/// A search that costs nothing spares most values a scan. A key with escapes is not found, and no SDK writes one.
fn mentions_usage(json: &&str) -> bool {
    memmem::find(json.as_bytes(), b"\"usage_metadata\"").is_some()
}

fn of_metadata(place: &str) -> (Triple<'_>, Triple<'_>) {
    let (mut tokens, mut costs) = Default::default();
    let usage = document::member(place, "usage_metadata").and_then(Fields::of);
    for field in usage.into_iter().flatten() {
        let slot: Option<&mut Option<_>> = slot(&mut tokens, &mut costs, &field.key);
        if let Some(slot) = slot {
            *slot = Some(field.value);
        }
    }
    (tokens, costs)
}

fn slot<'s, 'a>(tokens: &'s mut Triple<'a>, costs: &'s mut Triple<'a>, key: &str) -> Option<&'s mut Option<&'a str>> {
    match key {
        "input_tokens" => tokens.first_mut(),
        "output_tokens" => tokens.get_mut(1),
        "total_tokens" => tokens.last_mut(),
        "input_cost" => costs.first_mut(),
        "output_cost" => costs.get_mut(1),
        "total_cost" => costs.last_mut(),
        _ => None,
    }
}

/// None where nothing is said, or nothing that is a count.
fn read_tokens(given: &Triple<'_>) -> Option<Tokens> {
    let [prompt, completion, total] = given.map(|json| json.and_then(count));
    prompt.or(completion).or(total)?;
    let (prompt, completion) = (prompt.unwrap_or_default(), completion.unwrap_or_default());
    Some(Tokens { prompt, completion, total: total.unwrap_or_else(|| prompt.saturating_add(completion)) })
}

fn read_costs(given: &Triple<'_>) -> Option<Costs> {
    let [prompt, completion, total] = given.map(|json| json.and_then(decimal));
    let costs = Costs { prompt, completion, total };
    (costs != Costs::default()).then_some(costs)
}

/// A number of tokens; some clients send it as a float.
fn count(json: &str) -> Option<u64> {
    let whole = json.parse().ok();
    whole.or_else(|| {
        json.parse::<f64>().ok().filter(|float| *float >= 0.0 && float.is_finite()).map(|float| float as u64)
    })
}
