//! A rule as answers show it: LangSmith's shape with our additions, secrets masked. What is shown can be sent back.

use serde_json::{Map, Value, json};

use crate::definition::access::show_access;
use crate::model::endpoint::Endpoint;
use crate::model::rule::{Rule, Webhook};
use crate::model::secret::MASK;

/// The rule without a secret.
pub fn show(rule: &Rule) -> Value {
    let source = rule.source.as_ref();
    json!({
        "id": rule.id,
        "display_name": rule.display_name,
        "is_enabled": rule.is_enabled,
        "sampling_rate": rule.sampling_rate,
        "session_id": source.map(|source| source.project.id),
        "session_name": source.map(|source| &source.project.name),
        "filter": source.and_then(|source| source.filter.as_deref()),
        "trace_filter": source.and_then(|source| source.trace_filter.as_deref()),
        "tree_filter": source.and_then(|source| source.tree_filter.as_deref()),
        "window_seconds": source.map(|source| source.window_seconds),
        "backfill_from": source.and_then(|source| source.backfill_from),
        "include_extended_stats": source.is_some_and(|source| source.include_extended_stats),
        "relay_secret": rule.relay_secret.as_ref().map(|_| MASK),
        "relay_path": relay_path(rule),
        "webhooks": rule.webhooks.iter().map(webhook).collect::<Vec<_>>(),
        "created_at": rule.created_at,
        "updated_at": rule.updated_at,
    })
}

/// Where the rule's payloads arrive; `?secret=` has to be added. None where no secret opens the door.
pub(super) fn relay_path(rule: &Rule) -> Option<String> {
    rule.relay_secret.as_ref().map(|_| format!("/relay/{}", rule.id))
}

fn webhook(webhook: &Webhook) -> Value {
    let headers: Map<String, Value> =
        webhook.endpoint.headers.keys().map(|name| (name.clone(), Value::from(MASK))).collect();
    let Endpoint { retry, pace, signing_secrets, .. } = &webhook.endpoint;
    let mut shown = json!({
        "id": webhook.id,
        "url": webhook.endpoint.url.to_string(),
        "headers": headers,
        "profile": retry.profile,
        "timeout_seconds": retry.timeout_seconds,
        "attempts": retry.attempts,
        "backoff_seconds": retry.backoff_seconds,
        "concurrency": pace.concurrency,
        "rate_per_second": pace.rate_per_second,
        "ordered": pace.is_ordered,
        "signing_secrets": signing_secrets.iter().map(|_| MASK).collect::<Vec<_>>(),
        "plugins": webhook.plugins,
    });
    if let Value::Object(fields) = &mut shown {
        let access = show_access(&webhook.endpoint.access);
        fields.extend(access.map(|(key, value)| (key.to_owned(), value)));
    }
    shown
}
