//! `/api/v1/endpoints`: where deliveries go, how the receivers do, and a way to ask them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::answer::ApiError;
use crate::api::{Api, Doors};
use crate::dispatch::Breaker;
use crate::fanout::Probed;
use crate::limits;
use crate::model::attempt::{Attempt, Outcome};
use crate::model::ids::{EndpointId, RuleId, WebhookId};
use crate::store::endpoints::{Disabled, EndpointRecord};

type Answer = Result<Json<Value>, ApiError>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    rule_id: Option<String>,
    limit: Option<String>,
    offset: Option<String>,
}

/// `GET /api/v1/endpoints?rule_id=&limit=&offset=`, by rule and webhook.
pub(super) async fn list(State(api): Doors, page: Result<Query<Page>, QueryRejection>) -> Answer {
    let Query(page) = page.map_err(|_| ApiError::bad_request("the query takes rule_id, limit and offset"))?;
    let rule = page.rule_id.as_deref().map(str::parse::<RuleId>).transpose();
    let rule = rule.map_err(|_| ApiError::bad_request("`rule_id` is no UUID"))?;
    let limit = number(page.limit.as_deref(), "limit", limits::API_PAGE_MAX)?.unwrap_or(limits::API_PAGE_MAX).max(1);
    let offset = number(page.offset.as_deref(), "offset", usize::MAX)?.unwrap_or(0);
    let mut records = api.store.endpoints().await?;
    records.retain(|record| rule.is_none_or(|rule| record.id.rule == rule));
    let total = records.len();
    let mut shown = Vec::new();
    for record in records.into_iter().skip(offset).take(limit) {
        shown.push(show_record(&api, record).await?);
    }
    Ok(Json(json!({"endpoints": shown, "total": total})))
}

/// `GET /api/v1/endpoints/{rule}/{webhook}`.
pub(super) async fn show(State(api): Doors, Path(path): Path<(String, String)>) -> Answer {
    let id = endpoint_id(path)?;
    let record = api.store.endpoints().await?.into_iter().find(|record| record.id == id);
    let record = record.ok_or_else(|| nowhere(&id))?;
    Ok(Json(show_record(&api, record).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    reason: Option<String>,
}

/// `POST /api/v1/endpoints/{rule}/{webhook}/disable?reason=`.
pub(super) async fn disable(
    State(api): Doors,
    Path(path): Path<(String, String)>,
    reason: Result<Query<Reason>, QueryRejection>,
) -> Answer {
    let id = endpoint_id(path)?;
    let Query(Reason { reason }) = reason.map_err(|_| ApiError::bad_request("the query takes reason"))?;
    let mut cause = reason.unwrap_or_else(|| "an operator disabled it".to_owned());
    cause.truncate(cause.floor_char_boundary(limits::ERROR_TEXT_BYTES_MAX));
    let disabled = Disabled { at: api.clock.now(), cause };
    if !api.store.set_disabled(&id, Some(disabled)).await? {
        return Err(nowhere(&id));
    }
    show(State(api), Path((id.rule.to_string(), id.webhook.0))).await
}

/// `POST /api/v1/endpoints/{rule}/{webhook}/enable`: what waits is sent.
pub(super) async fn enable(State(api): Doors, Path(path): Path<(String, String)>) -> Answer {
    let id = endpoint_id(path)?;
    if !api.store.set_disabled(&id, None).await? {
        return Err(nowhere(&id));
    }
    api.dispatch.nudge();
    show(State(api), Path((id.rule.to_string(), id.webhook.0))).await
}

/// `POST /api/v1/endpoints/{rule}/{webhook}/probe`: sends a test, and says what came of it.
pub(super) async fn probe(State(api): Doors, Path(path): Path<(String, String)>) -> Answer {
    let id = endpoint_id(path)?;
    let probed = api.fanout.probe(&id).await.ok_or_else(|| nowhere(&id))?;
    Ok(Json(match probed {
        Probed::Sent { id, attempt } => {
            let is_delivered = attempt.outcome == Outcome::Delivered;
            json!({"id": id, "is_delivered": is_delivered, "attempt": attempt})
        }
        Probed::NotSent { state, cause } => json!({"is_delivered": false, "state": state, "cause": cause}),
    }))
}

async fn show_record(api: &Api, record: EndpointRecord) -> Result<Value, ApiError> {
    let EndpointRecord { id, disabled, pending, oldest_pending_at } = record;
    let attempts = api.store.last_attempts(&id, limits::HEALTH_DELIVERIES).await?;
    let snapshot = api.rulebook.snapshot();
    let webhook = snapshot.webhook(&id);
    let (breaker, in_flight) = api.dispatch.state(&id);
    let (state, until, cause) = match (disabled, breaker) {
        (Some(Disabled { at: _, cause }), _) => ("disabled", None, Some(cause)),
        (None, Breaker::Admitting { .. }) => ("admitting", None, None),
        (None, Breaker::Paused { until, .. }) if until > api.clock.now() => ("paused", Some(until), None),
        (None, Breaker::Paused { .. } | Breaker::Probing { .. }) => ("probing", None, None),
    };
    Ok(json!({
        "rule_id": id.rule,
        "rule": snapshot.rule(id.rule).map(|rule| &rule.display_name),
        "webhook_id": id.webhook,
        "url": webhook.map(|webhook| webhook.endpoint.url.to_string()),
        "state": state,
        "until": until,
        "cause": cause,
        "pending": pending,
        "oldest_pending_at": oldest_pending_at,
        "in_flight": in_flight,
        "last_attempt": attempts.first(),
        "recent": recent(&attempts),
    }))
}

/// Outcomes and latencies of the last attempts. Latencies are of those that were answered: what timed out would show
/// nothing but the timeout.
fn recent(attempts: &[Attempt]) -> Value {
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    for attempt in attempts {
        *outcomes.entry(attempt.outcome.as_str()).or_default() += 1;
    }
    let answered = attempts.iter().filter(|attempt| attempt.status.is_some());
    let mut latencies: Vec<u64> = answered.filter_map(|attempt| attempt.duration_ms).collect();
    latencies.sort_unstable();
    let percentile = |share: usize| latencies.get((latencies.len().saturating_sub(1)) * share / 100);
    json!({
        "attempts": attempts.len(),
        "outcomes": outcomes,
        "latency_ms": {"p50": percentile(50), "p90": percentile(90), "p99": percentile(99)},
    })
}

fn endpoint_id((rule, webhook): (String, String)) -> Result<EndpointId, ApiError> {
    let rule = rule.parse().map_err(|_| ApiError::not_found(format!("`{rule}` is no id of a rule")))?;
    Ok(EndpointId { rule, webhook: WebhookId(webhook) })
}

fn nowhere(id: &EndpointId) -> ApiError {
    ApiError::not_found(format!("there is no webhook `{}` of the rule {}", id.webhook, id.rule))
}

fn number(text: Option<&str>, name: &str, most: usize) -> Result<Option<usize>, ApiError> {
    let wrong = || ApiError::bad_request(format!("`{name}` is no number from 0 to {most}"));
    text.map(|text| text.parse().ok().filter(|number| *number <= most).ok_or_else(wrong)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn percentiles_are_of_what_was_answered() {
        let attempt = |number: u32, outcome, status, duration| Attempt {
            number,
            started_at: Timestamp::UNIX_EPOCH,
            duration_ms: Some(duration),
            outcome,
            status,
            error: None,
            address: None,
        };
        let mut attempts: Vec<_> =
            (1..=100).map(|ms| attempt(1, Outcome::Delivered, Some(200), u64::from(101_u32 - ms))).collect();
        attempts.push(attempt(1, Outcome::TimedOut, None, 5_000));
        let shown = recent(&attempts);
        assert_eq!(shown["attempts"], 101);
        assert_eq!(shown["outcomes"], json!({"delivered": 100, "timed_out": 1}));
        assert_eq!(shown["latency_ms"], json!({"p50": 50, "p90": 90, "p99": 99}));
        assert_eq!(recent(&[])["latency_ms"]["p50"], Value::Null);
    }
}
