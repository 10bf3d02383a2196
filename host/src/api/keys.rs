//! `/api/v1/keys`: API keys, and the rotation of the secret key.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::error;

use crate::access::{KeyError, NewKey};
use crate::api::answer::ApiError;
use crate::api::{Doors, query};
use crate::limits::API_KEY_NAME_CHARS_MAX;
use crate::model::api_key::{ApiKey, ApiKeyId, Scope};
use crate::rotation::RotationError;
use crate::secrets::SecretsError;

type Answer = Result<Json<Value>, ApiError>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: String,
    scopes: Vec<Scope>,
    expires_in_seconds: Option<u64>,
}

/// `POST /api/v1/keys` with `{"name", "scopes", "expires_in_seconds"}`: the only answer that has the key in it.
pub(super) async fn create(State(api): Doors, body: Body) -> Answer {
    let body = query::json(body).await?;
    let given: Given = serde_json::from_value(body).map_err(|error| ApiError::unprocessable("", &error.to_string()))?;
    let (key, text) = api.access.make(given.checked()?).await?;
    let mut shown = show(&key);
    shown["key"] = text.expose().into();
    Ok(Json(shown))
}

/// `GET /api/v1/keys`: without what one could use.
pub(super) async fn list(State(api): Doors) -> Json<Value> {
    Json(json!({"keys": api.access.keys().iter().map(show).collect::<Vec<_>>()}))
}

/// `DELETE /api/v1/keys/{id}`: no request begins with it once this is answered.
pub(super) async fn revoke(State(api): Doors, Path(id): Path<String>) -> Answer {
    let revoked = api.access.revoke(&ApiKeyId(id.clone())).await?;
    let key = revoked.ok_or_else(|| ApiError::not_found(format!("there is no API key {id}")))?;
    Ok(Json(show(&key)))
}

/// `POST /api/v1/keys/rotate`: answered when nothing is sealed with another key any more.
pub(super) async fn rotate(State(api): Doors) -> Answer {
    let rotated = api.rotation.rotate().await?;
    Ok(Json(json!({
        "key_id": rotated.key_id,
        "is_key_new": rotated.is_key_new,
        "secrets": rotated.secrets,
    })))
}

impl Given {
    fn checked(self) -> Result<NewKey, ApiError> {
        if self.name.trim().is_empty() || self.name.chars().count() > API_KEY_NAME_CHARS_MAX {
            return Err(ApiError::unprocessable("name", &format!("needs 1 to {API_KEY_NAME_CHARS_MAX} characters")));
        }
        if self.scopes.is_empty() {
            return Err(ApiError::unprocessable("scopes", "needs one of ingest, read, operate, admin at least"));
        }
        if self.expires_in_seconds == Some(0) {
            return Err(ApiError::unprocessable("expires_in_seconds", "needs one second at least"));
        }
        let lifetime = self.expires_in_seconds.map(Duration::from_secs);
        Ok(NewKey { name: self.name, scopes: self.scopes.into_iter().collect(), lifetime })
    }
}

fn show(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_on": key.last_used_at.map(|day| day.strftime("%F").to_string()),
    })
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::TooMany => Self::new(StatusCode::CONFLICT, error.to_string()),
            KeyError::Store(error) => error.into(),
        }
    }
}

impl From<RotationError> for ApiError {
    /// What an operator can do something about is told as it is: no text of these shows a key.
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Store(error) => error.into(),
            RotationError::UnderWay | RotationError::Keys(SecretsError::FromEnvironment) => {
                Self::new(StatusCode::CONFLICT, error.to_string())
            }
            RotationError::Keys(_) => {
                error!(%error, "cannot rotate the secret key");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
        }
    }
}
