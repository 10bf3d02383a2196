//! `/api/v1/deliveries`, and the ledger that they add up to.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::answer::ApiError;
use crate::api::{Api, Doors};
use crate::fanout::{Replay, ReplayError, Replayed};
use crate::limits;
use crate::model::delivery::{Delivery, State as DeliveryState};
use crate::model::ids::{DeliveryId, EndpointId, WebhookId};
use crate::model::plugin::PluginName;
use crate::store::DeliveryQuery;

type Answer = Result<Json<Value>, ApiError>;

const PAGE_DEFAULT: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    state: Option<String>,
    rule_id: Option<String>,
    payload_id: Option<String>,
    webhook_id: Option<String>,
    plugin: Option<String>,
    since: Option<String>,
    until: Option<String>,
    cause: Option<String>,
    replayed: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

impl Filter {
    fn query(&self) -> Result<DeliveryQuery, ApiError> {
        let limit = match &self.limit {
            None => PAGE_DEFAULT,
            Some(text) => {
                let limit = text.parse().ok().filter(|limit| (1..=limits::DELIVERIES_PER_PAGE_MAX).contains(limit));
                let range = format!("`limit` goes from 1 to {}", limits::DELIVERIES_PER_PAGE_MAX);
                limit.ok_or_else(|| ApiError::bad_request(range))?
            }
        };
        let state = self.state.as_deref().map(str::parse::<DeliveryState>).transpose();
        let plugin = self.plugin.as_deref().map(str::parse::<PluginName>).transpose();
        Ok(DeliveryQuery {
            state: state.map_err(|error| ApiError::bad_request(error.to_string()))?,
            rule: id(self.rule_id.as_deref(), "rule_id")?,
            payload: id(self.payload_id.as_deref(), "payload_id")?,
            webhook: self.webhook_id.clone().map(WebhookId),
            plugin: plugin.map_err(|error| ApiError::bad_request(error.to_string()))?,
            since: parsed(self.since.as_deref(), "since", "a time such as 2026-07-01T09:00:00Z")?,
            until: parsed(self.until.as_deref(), "until", "a time such as 2026-07-01T09:00:00Z")?,
            cause: self.cause.clone(),
            is_replayed: parsed(self.replayed.as_deref(), "replayed", "true or false")?,
            before: id(self.before.as_deref(), "before")?,
            limit,
        })
    }
}

fn id<T: std::str::FromStr>(text: Option<&str>, name: &str) -> Result<Option<T>, ApiError> {
    parsed(text, name, "a UUID")
}

fn parsed<T: std::str::FromStr>(text: Option<&str>, name: &str, kind: &str) -> Result<Option<T>, ApiError> {
    text.map(str::parse).transpose().map_err(|_| ApiError::bad_request(format!("`{name}` is not {kind}")))
}

pub(super) async fn list(State(api): Doors, filter: Result<Query<Filter>, QueryRejection>) -> Answer {
    let words = "the query takes state, rule_id, webhook_id, payload_id, plugin, since, until, cause, replayed, before and limit";
    let Query(filter) = filter.map_err(|_| ApiError::bad_request(words))?;
    let deliveries = api.store.deliveries(filter.query()?).await?;
    let shown: Vec<_> = deliveries.iter().map(|delivery| Value::Object(show_delivery(&api, delivery))).collect();
    Ok(Json(json!({"deliveries": shown})))
}

pub(super) async fn show(State(api): Doors, Path(text): Path<String>) -> Answer {
    let id = delivery_id(&text)?;
    let record =
        api.store.delivery(id).await?.ok_or_else(|| ApiError::not_found(format!("there is no delivery {id}")))?;
    let mut shown = show_delivery(&api, &record.delivery);
    shown.insert("attempts".to_owned(), json!(record.attempts));
    Ok(Json(Value::Object(shown)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayOptions {
    #[serde(default)]
    only_held: bool,
    #[serde(default)]
    only_unreplayed: bool,
}

impl ReplayOptions {
    /// What is held was never replayed.
    fn which(&self) -> Replay {
        match (self.only_held, self.only_unreplayed) {
            (true, _) => Replay::Held,
            (false, true) => Replay::Unreplayed,
            (false, false) => Replay::Any,
        }
    }
}

pub(super) async fn replay(
    State(api): Doors,
    Path(text): Path<String>,
    options: Result<Query<ReplayOptions>, QueryRejection>,
) -> Answer {
    let id = delivery_id(&text)?;
    let words = "the query takes only_held and only_unreplayed, true or false";
    let Query(options) = options.map_err(|_| ApiError::bad_request(words))?;
    let replayed = api.fanout.replay(id, options.which()).await?;
    let shown = |new: Replayed| json!({"id": new.id, "replay_of": id, "state": new.state, "cause": new.cause});
    Ok(Json(replayed.map_or(Value::Null, shown)))
}

/// Deliveries per webhook and state, and payloads that are still to be fanned out: what was accepted adds up to these.
pub(super) async fn ledger(State(api): Doors) -> Answer {
    let waiting = api.store.pending_payloads(None, limits::LEDGER_WAITING_MAX).await?.len();
    let mut webhooks: BTreeMap<EndpointId, Map<String, Value>> = BTreeMap::new();
    for (endpoint, state, count) in api.store.ledger().await? {
        webhooks.entry(endpoint).or_default().insert(state.to_string(), count.into());
    }
    let shown = webhooks
        .into_iter()
        .map(|(endpoint, states)| json!({"rule_id": endpoint.rule, "webhook_id": endpoint.webhook, "states": states}));
    Ok(Json(json!({"payloads_waiting": waiting, "webhooks": shown.collect::<Vec<_>>()})))
}

fn delivery_id(text: &str) -> Result<DeliveryId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(format!("`{text}` is no id of a delivery")))
}

fn show_delivery(api: &Api, delivery: &Delivery) -> Map<String, Value> {
    let snapshot = api.rulebook.snapshot();
    let webhook = snapshot.webhook(&delivery.endpoint);
    let shown = json!({
        "id": delivery.id,
        "payload_id": delivery.payload,
        "rule_id": delivery.endpoint.rule,
        "webhook_id": delivery.endpoint.webhook,
        "url": webhook.map(|webhook| webhook.endpoint.url.to_string()),
        "state": delivery.state,
        "cause": delivery.cause,
        "plugin": delivery.plugin,
        "failure": delivery.failure,
        "created_at": delivery.created_at,
        "next_attempt_at": delivery.next_attempt_at,
        "attempt_count": delivery.attempts,
        "body_bytes": delivery.body_bytes,
        "replay_of": delivery.replay_of,
    });
    match shown {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::NotFound(_) => Self::not_found(error.to_string()),
            ReplayError::StillPending(_)
            | ReplayError::NotHeld(_)
            | ReplayError::AlreadyReplayed(_)
            | ReplayError::WebhookGone(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            ReplayError::Links(error) => error.into(),
            ReplayError::Store(error) => error.into(),
        }
    }
}
