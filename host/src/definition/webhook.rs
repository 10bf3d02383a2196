//! From JSON to a webhook's definition: where it sends, how, and through which chain.

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::definition::access::{ACCESS_KEYS, access};
use crate::definition::object::Object;
use crate::definition::read::{bounded, problem};
use crate::definition::terms::{TERMS_KEYS, pace, retry, signing_secrets};
use crate::definition::{Problems, WebhookDefinition};
use crate::limits;
use crate::model::endpoint::HOST_HEADERS;
use crate::model::ids::WebhookId;
use crate::model::plugin::{OnError, PluginName, PluginUse};
use crate::model::secret::Secret;
use crate::nearest::did_you_mean;

const WEBHOOK_KEYS: &[&str] = &["id", "url", "headers", "plugins"];
const PLUGIN_KEYS: &[&str] = &["name", "config", "on_error"];

/// Headers of one webhook.
const HEADERS_MAX: usize = 32;
/// Longest id of a webhook, in bytes.
const WEBHOOK_ID_BYTES_MAX: usize = 64;

pub(super) fn webhooks(rule: &Object<'_>, problems: &mut Problems) -> Vec<WebhookDefinition> {
    let elements = rule.array("webhooks", problems);
    if elements.len() > limits::WEBHOOKS_PER_RULE_MAX {
        let many = format!("are {}; a rule has at most {}", elements.len(), limits::WEBHOOKS_PER_RULE_MAX);
        problems.push(problem(&rule.place("webhooks"), &many));
    }
    elements.into_iter().filter_map(|(at, value)| webhook(value, &at, problems)).collect()
}

fn webhook(value: &Value, at: &str, problems: &mut Problems) -> Option<WebhookDefinition> {
    let object = Object::new(value, at, problems)?;
    object.only(&[WEBHOOK_KEYS, TERMS_KEYS, ACCESS_KEYS].concat(), problems);
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
    let (retry, pace) = (retry(&object, problems), pace(&object, problems));
    let signing_secrets = signing_secrets(&object, problems);
    let access = access(&object, problems);
    let plugins = plugins(&object, problems);
    Some(WebhookDefinition { id, url: url?, headers, retry, pace, signing_secrets, access, plugins })
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
