//! `/api/v1/plugins`: what a rule can name, what could not be loaded, and what has failed.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::Doors;
use crate::api::answer::ApiError;
use crate::model::plugin::PluginName;
use crate::nearest::did_you_mean;
use crate::plugin::PluginInfo;

/// On a thread that may wait: built-in plugins are compiled when they are first looked at.
pub(super) async fn list(State(api): Doors) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({"plugins": listed(State(api)).await?})))
}

/// The last failures, the newest first. Also of one whose file is gone, as long as there are any.
pub(super) async fn failures(State(api): Doors, Path(text): Path<String>) -> Result<Json<Value>, ApiError> {
    let name: PluginName = text.parse().map_err(|error| ApiError::not_found(format!("{error}")))?;
    let failures = api.plugins.failures(&name);
    if failures.is_empty() {
        let plugins = listed(State(api)).await?;
        if plugins.iter().all(|plugin| plugin.name != name.as_str()) {
            let near = did_you_mean(name.as_str(), plugins.iter().map(|plugin| plugin.name.as_str()));
            return Err(ApiError::not_found(format!("there is no plugin `{name}`{near}")));
        }
    }
    Ok(Json(json!({"plugin": name, "failures": failures})))
}

async fn listed(State(api): Doors) -> Result<Vec<PluginInfo>, ApiError> {
    let listed = tokio::task::spawn_blocking(move || api.plugins.plugins()).await;
    let failed = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the plugins cannot be listed; the log says why");
    listed.map_err(failed)
}
