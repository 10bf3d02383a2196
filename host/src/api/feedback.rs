//! `/feedback`: what is said about runs, as LangSmith shows it.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use serde_json::{Map, Value, json};

use crate::api::answer::ApiError;
use crate::api::query::{self, Parameters};
use crate::api::{Api, Doors};
use crate::model::ids::FeedbackId;
use crate::store::runs::{FeedbackQuery, StoredFeedback};

/// What a later call may say anew.
const CHANGEABLE: [&str; 4] = ["score", "value", "comment", "correction"];

pub(super) type Answer = Result<Json<Value>, ApiError>;

/// Keys that are always there, null where nothing is known.
const KEYS: [&str; 12] = [
    "run_id",
    "trace_id",
    "session_id",
    "score",
    "value",
    "comment",
    "correction",
    "feedback_group_id",
    "comparative_experiment_id",
    "feedback_source",
    "feedback_config",
    "extra",
];

/// `GET /feedback?run=…&run=…&key=…&source=…&limit=…&offset=…`; without a run, all of it, oldest first.
pub(super) async fn list(State(api): Doors, RawQuery(query): RawQuery) -> Answer {
    let parameters = Parameters::parse(query.as_deref());
    let (limit, offset) = parameters.page()?;
    let query = FeedbackQuery {
        runs: parameters.ids("run")?,
        keys: parameters.all("key"),
        // An SDK's enum may come by its full name, `FeedbackSourceType.API`.
        sources: parameters.all("source").iter().map(|source| query::last_word(source)).collect(),
        limit,
        offset,
    };
    let found = api.store.feedback_page(query).await?;
    Ok(Json(found.iter().map(show).collect()))
}

pub(super) async fn read(State(api): Doors, Path(id): Path<String>) -> Answer {
    find(&api, id.parse().map_err(|_| unknown(&id))?).await
}

pub(super) async fn find(api: &Api, id: FeedbackId) -> Answer {
    let found = api.store.one_feedback(id).await?;
    found.as_ref().map(show).map(Json).ok_or_else(|| unknown(&id.to_string()))
}

/// `PATCH /feedback/{id}`: what is given replaces what was said.
pub(super) async fn patch(State(api): Doors, Path(id): Path<String>, body: Body) -> Answer {
    let id: FeedbackId = id.parse().map_err(|_| unknown(&id))?;
    let Value::Object(mut changes) = query::json(body).await? else {
        return Err(ApiError::bad_request("the body is no JSON object"));
    };
    changes.retain(|key, value| CHANGEABLE.contains(&key.as_str()) && !value.is_null());
    changes.insert("modified_at".to_owned(), json!(api.clock.now()));
    let fields = Value::Object(changes).to_string().into();
    if !api.store.change_feedback(id, fields, api.clock.now()).await? {
        return Err(unknown(&id.to_string()));
    }
    find(&api, id).await
}

pub(super) async fn delete(State(api): Doors, Path(id): Path<String>) -> Answer {
    let id: FeedbackId = id.parse().map_err(|_| unknown(&id))?;
    if api.store.delete_feedback(id).await? { Ok(Json(json!({}))) } else { Err(unknown(&id.to_string())) }
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no feedback {id}"))
}

/// As LangSmith shows it: ids and times are there also where the client gave none.
fn show(stored: &StoredFeedback) -> Value {
    let mut fields: Map<String, Value> = serde_json::from_str(&stored.document).unwrap_or_default();
    fields.insert("id".to_owned(), json!(stored.id));
    if let Some(run) = stored.run {
        fields.insert("run_id".to_owned(), json!(run));
    }
    for key in KEYS {
        fields.entry(key).or_insert(Value::Null);
    }
    for key in ["created_at", "modified_at"] {
        fields.entry(key).or_insert_with(|| json!(stored.stored_at));
    }
    Value::Object(fields)
}
