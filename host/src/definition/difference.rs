//! What changes from one rule to another, in words that show no secret.

use std::collections::BTreeSet;

use serde_json::json;

use crate::definition::access::access_changes;
use crate::model::endpoint::Endpoint;
use crate::model::rule::{Rule, RunSource, Webhook};

/// Whether two rules mean the same; when they were written does not count.
pub fn is_same(before: &Rule, after: &Rule) -> bool {
    let before = Rule { created_at: after.created_at, updated_at: after.updated_at, ..before.clone() };
    before == *after
}

/// One line for each change.
pub fn changes(before: &Rule, after: &Rule) -> Vec<String> {
    let mut lines = Vec::new();
    if before.display_name != after.display_name {
        lines.push(format!("display_name: {:?} -> {:?}", before.display_name, after.display_name));
    }
    if before.is_enabled != after.is_enabled {
        lines.push(format!("is_enabled: {} -> {}", before.is_enabled, after.is_enabled));
    }
    if before.sampling_rate != after.sampling_rate {
        lines.push(format!("sampling_rate: {:?} -> {:?}", before.sampling_rate, after.sampling_rate));
    }
    lines.extend(source_changes(before.source.as_ref(), after.source.as_ref()));
    lines.extend(secret("relay_secret", before.relay_secret.as_ref(), after.relay_secret.as_ref()));
    for webhook in before.webhooks.iter().filter(|webhook| after.webhook(&webhook.id).is_none()) {
        lines.push(format!("webhooks.{}: removed, {}", webhook.id, webhook.endpoint.url));
    }
    for webhook in &after.webhooks {
        match before.webhook(&webhook.id) {
            Some(old) => lines.extend(webhook_changes(old, webhook)),
            None => lines.push(format!("webhooks.{}: added, {}", webhook.id, webhook.endpoint.url)),
        }
    }
    let order = |rule: &Rule| rule.webhooks.iter().map(|webhook| webhook.id.clone()).collect::<Vec<_>>();
    if lines.is_empty() && order(before) != order(after) {
        lines.push("webhooks: in another order".to_owned());
    }
    lines
}

/// One line for each key of the source; what is not there is shown as `null`.
fn source_changes(before: Option<&RunSource>, after: Option<&RunSource>) -> Vec<String> {
    let shown = |source: Option<&RunSource>| {
        let text = |text: &Option<String>| serde_json::json!(text).to_string();
        let filter = |pick: fn(&RunSource) -> &Option<String>| source.map_or("null".to_owned(), |it| text(pick(it)));
        let plain = |pick: fn(&RunSource) -> String| source.map_or("null".to_owned(), pick);
        [
            ("session_name", plain(|it| format!("{:?}", it.project.name))),
            ("filter", filter(|it| &it.filter)),
            ("trace_filter", filter(|it| &it.trace_filter)),
            ("tree_filter", filter(|it| &it.tree_filter)),
            ("window_seconds", plain(|it| it.window_seconds.to_string())),
            ("backfill_from", plain(|it| it.backfill_from.map_or("null".to_owned(), |time| time.to_string()))),
            ("include_extended_stats", plain(|it| it.include_extended_stats.to_string())),
        ]
    };
    let pairs = shown(before).into_iter().zip(shown(after));
    pairs.filter(|(old, new)| old != new).map(|((key, old), (_, new))| format!("{key}: {old} -> {new}")).collect()
}

fn webhook_changes(before: &Webhook, after: &Webhook) -> Vec<String> {
    let at = format!("webhooks.{}", after.id);
    let mut lines = Vec::new();
    let (old, new) = (&before.endpoint, &after.endpoint);
    if old.url != new.url {
        let (shown_before, shown_after) = (old.url.to_string(), new.url.to_string());
        let is_visible = shown_before != shown_after;
        let change = if is_visible {
            format!("{shown_before} -> {shown_after}")
        } else {
            "changed where it is masked".to_owned()
        };
        lines.push(format!("{at}.url: {change}"));
    }
    let names: BTreeSet<_> = old.headers.keys().chain(new.headers.keys()).collect();
    for name in names {
        lines.extend(secret(&format!("{at}.headers.{name}"), old.headers.get(name), new.headers.get(name)));
    }
    lines.extend(terms_changes(&at, old, new));
    lines.extend(access_changes(&at, &old.access, &new.access));
    if before.plugins != after.plugins {
        let shown = |webhook: &Webhook| serde_json::to_string(&webhook.plugins).unwrap_or_default();
        lines.push(format!("{at}.plugins: {} -> {}", shown(before), shown(after)));
    }
    lines
}

/// One line for each key of the terms; what is not there is shown as `null`.
fn terms_changes(at: &str, before: &Endpoint, after: &Endpoint) -> Vec<String> {
    let shown = |endpoint: &Endpoint| {
        let (retry, pace) = (&endpoint.retry, &endpoint.pace);
        [
            ("profile", json!(retry.profile)),
            ("timeout_seconds", json!(retry.timeout_seconds)),
            ("attempts", json!(retry.attempts)),
            ("backoff_seconds", json!(retry.backoff_seconds)),
            ("concurrency", json!(pace.concurrency)),
            ("rate_per_second", json!(pace.rate_per_second)),
            ("ordered", json!(pace.is_ordered)),
        ]
    };
    let pairs = shown(before).into_iter().zip(shown(after));
    let mut lines: Vec<_> = pairs
        .filter(|((_, old), (_, new))| old != new)
        .map(|((key, old), (_, new))| format!("{at}.{key}: {old} -> {new}"))
        .collect();
    let (old, new) = (&before.signing_secrets, &after.signing_secrets);
    if old != new {
        lines.push(format!("{at}.signing_secrets: {} -> {}, changed", old.len(), new.len()));
    }
    lines
}

pub(super) fn secret<T: PartialEq>(at: &str, before: Option<&T>, after: Option<&T>) -> Option<String> {
    let change = match (before, after) {
        (None, Some(_)) => "added",
        (Some(_), None) => "removed",
        (Some(before), Some(after)) if before != after => "changed",
        _ => return None,
    };
    Some(format!("{at}: {change}"))
}
