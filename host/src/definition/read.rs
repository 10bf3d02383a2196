//! From JSON to definitions: every key is known or refused, every value has its kind and its bounds.

use std::collections::HashSet;

use serde_json::Value;

use crate::definition::object::Object;
use crate::definition::source::{SOURCE_KEYS, source};
use crate::definition::webhook::webhooks;
use crate::definition::{Problem, Problems, RuleDefinition};
use crate::limits;
use crate::model::secret::Secret;

const RULE_KEYS: &[&str] = &["id", "display_name", "is_enabled", "sampling_rate", "relay_secret", "webhooks"];

/// What answers carry and nobody sets; taken back without a word.
const READ_ONLY_KEYS: &[&str] = &[
    "backfill_completed_at",
    "backfill_error",
    "backfill_id",
    "backfill_progress",
    "backfill_status",
    "corrections_dataset_id",
    "created_at",
    "dataset_name",
    "evaluator_version",
    "relay_path",
    "spend_usd",
    "tenant_id",
    "trace_count",
    "updated_at",
];

/// LangSmith's rule fields that runhook does not act on (LangSmith OpenAPI, `RunRulesCreateSchema`). Absent, null,
/// false and empty mean the same there, and are taken; anything else would be a promise that is not kept.
const LANGSMITH_KEYS: &[&str] = &[
    "add_to_annotation_queue_id",
    "add_to_dataset_id",
    "add_to_dataset_prefer_correction",
    "alerts",
    "code_evaluators",
    "create_alignment_queue",
    "dataset_id",
    "evaluator_id",
    "evaluators",
    "extend_annotation_queue_trace_retention",
    "extend_dataset_trace_retention",
    "extend_evaluator_trace_retention",
    "extend_only",
    "extend_webhook_trace_retention",
    "group_by",
    "is_managed_evaluator",
    "is_tracing_disabled",
    "num_few_shot_examples",
    "spend_limit",
    "thread_filter",
    "transient",
    "use_corrections_dataset",
];

/// Longest display name, in characters.
const NAME_CHARS_MAX: usize = 256;
/// Longest secret, header value or URL, in bytes.
const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Reads `{"rules": [...]}`; also what answers are: an array of rules, or one rule.
///
/// # Errors
/// Everything that is wrong in it.
pub fn read_document(document: &Value) -> Result<Vec<RuleDefinition>, Problems> {
    let mut problems = Problems::new();
    let elements = elements(document, &mut problems);
    let rules: Vec<_> = elements.into_iter().filter_map(|(at, value)| rule(value, &at, &mut problems)).collect();
    if rules.len() > limits::RULES_MAX {
        problems.push(problem("rules", &format!("are {}; at most {} can be kept", rules.len(), limits::RULES_MAX)));
    }
    twins(rules.iter().map(|rule| rule.display_name.as_str()), "rules", "display_name", &mut problems);
    twins(rules.iter().filter_map(|rule| rule.id).map(|id| id.to_string()), "rules", "id", &mut problems);
    if problems.is_empty() { Ok(rules) } else { Err(problems) }
}

/// The rules of a document with their places.
fn elements<'a>(document: &'a Value, problems: &mut Problems) -> Vec<(String, &'a Value)> {
    if let Value::Array(rules) = document {
        return rules.iter().enumerate().map(|(index, rule)| (format!("rules[{index}]"), rule)).collect();
    }
    let Some(object) = Object::new(document, "", problems) else { return Vec::new() };
    if object.get("rules").is_none() && object.get("display_name").is_some() {
        return vec![("rules[0]".to_owned(), document)];
    }
    object.only(&["rules"], problems);
    if object.get("rules").is_none() {
        problems.push(problem("rules", "is missing; a file of rules has an array `rules` (`[[rules]]` in TOML)"));
    }
    object.array("rules", problems)
}

/// Reads one rule.
///
/// # Errors
/// Everything that is wrong in it.
pub fn read_rule(value: &Value) -> Result<RuleDefinition, Problems> {
    let mut problems = Problems::new();
    let rule = rule(value, "", &mut problems);
    rule.filter(|_| problems.is_empty()).ok_or(problems)
}

fn rule(value: &Value, at: &str, problems: &mut Problems) -> Option<RuleDefinition> {
    let object = Object::new(value, at, problems)?;
    object.only(&[RULE_KEYS, SOURCE_KEYS, READ_ONLY_KEYS, LANGSMITH_KEYS].concat(), problems);
    for key in LANGSMITH_KEYS {
        if object.get(key).is_some_and(|value| !is_nothing(value)) {
            problems.push(problem(&object.place(key), "is LangSmith's; runhook does not act on it, so remove it"));
        }
    }
    let id = object.string("id", problems).and_then(|text| {
        let parsed = text.parse();
        if parsed.is_err() {
            problems.push(problem(&object.place("id"), "is no UUID; leave it out to have one made"));
        }
        parsed.ok()
    });
    let display_name = display_name(&object, problems);
    let sampling_rate = sampling_rate(&object, problems);
    let relay_secret = object.string("relay_secret", problems).and_then(|secret| {
        let place = object.place("relay_secret");
        if secret.is_empty() {
            problems.push(problem(&place, "is empty, which protects nothing; leave it out to close the relay door"));
        }
        bounded(secret, &place, problems)
    });
    let is_enabled = object.boolean("is_enabled", problems).unwrap_or(true);
    let source = source(&object, problems);
    let webhooks = webhooks(&object, problems);
    Some(RuleDefinition {
        id,
        display_name: display_name?,
        is_enabled,
        sampling_rate: sampling_rate?,
        source,
        relay_secret,
        webhooks,
    })
}

/// Null, false and empty: what LangSmith's clients send for "not used".
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Bool(is_used) => !is_used,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Null => true,
        Value::Number(_) => false,
    }
}

fn display_name(object: &Object<'_>, problems: &mut Problems) -> Option<String> {
    let place = object.place("display_name");
    if object.get("display_name").is_none() {
        problems.push(problem(&place, "is missing; give the rule a name that no other rule has"));
        return None;
    }
    let name = object.string("display_name", problems)?;
    let is_valid =
        !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX && !name.contains(char::is_control);
    if !is_valid {
        problems.push(problem(&place, &format!("needs 1 to {NAME_CHARS_MAX} characters, without control characters")));
    }
    Some(name.to_owned())
}

fn sampling_rate(object: &Object<'_>, problems: &mut Problems) -> Option<f64> {
    let place = object.place("sampling_rate");
    if object.get("sampling_rate").is_none() {
        problems.push(problem(&place, "is missing; give the share of the runs that is sent, 1.0 for all"));
        return None;
    }
    let rate = object.number("sampling_rate", problems)?;
    if !(0.0..=1.0).contains(&rate) {
        problems.push(problem(&place, &format!("is {rate}; it goes from 0.0 to 1.0")));
    }
    Some(rate)
}

pub(super) fn bounded(text: &str, at: &str, problems: &mut Problems) -> Option<Secret> {
    if text.len() > VALUE_BYTES_MAX {
        problems.push(problem(at, &format!("has {} bytes; at most {VALUE_BYTES_MAX} are kept", text.len())));
        return None;
    }
    Some(Secret::new(text))
}

/// Notes what stands more than once.
fn twins<T: AsRef<str>>(values: impl Iterator<Item = T>, at: &str, key: &str, problems: &mut Problems) {
    let mut seen = HashSet::new();
    for value in values {
        if !seen.insert(value.as_ref().to_owned()) {
            problems.push(problem(at, &format!("more than one has the {key} `{}`", value.as_ref())));
        }
    }
}

pub(super) fn problem(at: &str, problem: &str) -> Problem {
    Problem { at: at.to_owned(), problem: problem.to_owned() }
}
