//! From JSON to definitions: every key is known or refused, every value has its kind and its bounds.

use std::collections::HashSet;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::definition::object::Object;
use crate::definition::source::{SOURCE_KEYS, source};
use crate::definition::{Problem, Problems, RuleDefinition, WebhookDefinition};
use crate::limits;
use crate::model::endpoint::{HOST_HEADERS, Profile};
use crate::model::ids::WebhookId;
use crate::model::plugin::{OnError, PluginName, PluginUse};
use crate::model::secret::Secret;
use crate::nearest::did_you_mean;

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

const WEBHOOK_KEYS: &[&str] = &["id", "url", "headers", "profile", "plugins"];
const PLUGIN_KEYS: &[&str] = &["name", "config", "on_error"];

/// Longest display name, in characters.
const NAME_CHARS_MAX: usize = 256;
/// Longest secret, header value or URL, in bytes.
const VALUE_BYTES_MAX: usize = 8 * 1024;
/// Headers of one webhook.
const HEADERS_MAX: usize = 32;
/// Longest id of a webhook, in bytes.
const WEBHOOK_ID_BYTES_MAX: usize = 64;

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

fn webhooks(rule: &Object<'_>, problems: &mut Problems) -> Vec<WebhookDefinition> {
    let elements = rule.array("webhooks", problems);
    if elements.len() > limits::WEBHOOKS_PER_RULE_MAX {
        let many = format!("are {}; a rule has at most {}", elements.len(), limits::WEBHOOKS_PER_RULE_MAX);
        problems.push(problem(&rule.place("webhooks"), &many));
    }
    elements.into_iter().filter_map(|(at, value)| webhook(value, &at, problems)).collect()
}

fn webhook(value: &Value, at: &str, problems: &mut Problems) -> Option<WebhookDefinition> {
    let object = Object::new(value, at, problems)?;
    object.only(WEBHOOK_KEYS, problems);
    let id = object.string("id", problems).map(|id| {
        let is_valid = (1..=WEBHOOK_ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_valid {
            let rule = format!("needs 1 to {WEBHOOK_ID_BYTES_MAX} letters, digits, `-`, `_` and `.`");
            problems.push(problem(&object.place("id"), &rule));
        }
        WebhookId(id.to_owned())
    });
    if object.get("url").is_none() {
        problems.push(problem(&object.place("url"), "is missing; give the receiver's URL"));
    }
    let url = object.string("url", problems).and_then(|url| bounded(url, &object.place("url"), problems));
    let headers = headers(&object, problems);
    let profile = profile(&object, problems);
    let plugins = plugins(&object, problems);
    Some(WebhookDefinition { id, url: url?, headers, profile, plugins })
}

fn headers(webhook: &Object<'_>, problems: &mut Problems) -> Vec<(String, Secret)> {
    let place = webhook.place("headers");
    let given = webhook.object("headers", problems);
    let mut headers: Vec<(String, Secret)> = Vec::new();
    for (name, value) in given.into_iter().flatten() {
        let at = format!("{place}.{name}");
        let Ok(parsed) = HeaderName::try_from(name.as_str()) else {
            problems.push(problem(&at, "cannot be the name of a header"));
            continue;
        };
        let Some(text) = value.as_str() else {
            problems.push(problem(&at, "needs a string"));
            continue;
        };
        if HOST_HEADERS.contains(&parsed.as_str()) {
            problems.push(problem(&at, "belongs to the host and cannot be set"));
        }
        if HeaderValue::try_from(text).is_err() {
            problems.push(problem(&at, "has characters that a header cannot have"));
        }
        if headers.iter().any(|(other, _)| other == parsed.as_str()) {
            problems.push(problem(&at, "is there twice; capitals make no difference"));
        }
        headers.extend(bounded(text, &at, problems).map(|value| (parsed.as_str().to_owned(), value)));
    }
    if headers.len() > HEADERS_MAX {
        problems.push(problem(&place, &format!("are {}; a webhook has at most {HEADERS_MAX}", headers.len())));
    }
    headers
}

fn profile(webhook: &Object<'_>, problems: &mut Problems) -> Profile {
    let Some(name) = webhook.string("profile", problems) else { return Profile::default() };
    match name {
        "langsmith" => Profile::Langsmith,
        other => {
            let hint = did_you_mean(other, ["langsmith"]);
            problems.push(problem(&webhook.place("profile"), &format!("there is no profile `{other}`{hint}")));
            Profile::default()
        }
    }
}

fn plugins(webhook: &Object<'_>, problems: &mut Problems) -> Vec<PluginUse> {
    let elements = webhook.array("plugins", problems);
    if elements.len() > limits::PLUGINS_PER_CHAIN_MAX {
        let many = format!("are {}; a chain has at most {}", elements.len(), limits::PLUGINS_PER_CHAIN_MAX);
        problems.push(problem(&webhook.place("plugins"), &many));
    }
    elements.into_iter().filter_map(|(at, value)| plugin(value, &at, problems)).collect()
}

fn plugin(value: &Value, at: &str, problems: &mut Problems) -> Option<PluginUse> {
    let object = Object::new(value, at, problems)?;
    object.only(PLUGIN_KEYS, problems);
    if object.get("name").is_none() {
        problems.push(problem(&object.place("name"), "is missing; name a plugin (`runhook plugin list`)"));
    }
    let config = object.object("config", problems).cloned().unwrap_or_default();
    let on_error = match object.string("on_error", problems) {
        None | Some("hold") => OnError::Hold,
        Some("skip") => OnError::Skip,
        Some("drop") => OnError::Drop,
        Some(other) => {
            let hint = did_you_mean(other, ["hold", "skip", "drop"]);
            problems.push(problem(&object.place("on_error"), &format!("`{other}` is none of hold, skip, drop{hint}")));
            OnError::Hold
        }
    };
    let name = object.string("name", problems)?.parse::<PluginName>();
    match name {
        Ok(name) => Some(PluginUse { name, config: Value::Object(config), on_error }),
        Err(error) => {
            problems.push(problem(&object.place("name"), &error.to_string()));
            None
        }
    }
}

fn bounded(text: &str, at: &str, problems: &mut Problems) -> Option<Secret> {
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
