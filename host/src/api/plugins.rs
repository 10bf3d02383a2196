//! `/api/v1/plugins`: what a rule can name, and what could not be loaded.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::Doors;
use crate::api::answer::ApiError;

/// On a thread that may wait: built-in plugins are compiled when they are first looked at.
pub(super) async fn list(State(api): Doors) -> Result<Json<Value>, ApiError> {
    let listed = tokio::task::spawn_blocking(move || api.plugins.plugins()).await;
    let failed = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the plugins cannot be listed; the log says why");
    Ok(Json(json!({"plugins": listed.map_err(failed)?})))
}
