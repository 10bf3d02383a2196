//! HTTP: the relay door and the doors of tracing clients, and the API of runs, rules, deliveries, plugins and keys.
//!
//! Translates between HTTP and the engine, and decides nothing. Query strings are never logged: they carry secrets.

mod answer;
mod blobs;
mod body;
mod datasets;
mod deliveries;
mod endpoints;
mod examples;
mod feedback;
mod ingest;
mod key;
mod keys;
mod listener;
mod plugins;
mod query;
mod relay;
mod rule_logs;
mod rule_shape;
mod rules;
mod run_search;
mod runs;
mod scope;
mod sessions;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;
use tracing::debug;
use url::Url;

use crate::access::{Access, Denied};
use crate::api::answer::ApiError;
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::dispatch::Dispatch;
use crate::fanout::Fanout;
use crate::intake::Intake;
use crate::matching::Matching;
use crate::model::ids::WorkspaceId;
use crate::model::secret::Secret;
use crate::plugin::PluginRuntime;
use crate::reading::Reading;
use crate::rotation::Rotation;
use crate::rulebook::RuleBook;
use crate::shutdown::Shutdown;
use crate::store::Store;

pub use key::{KEY_FILE, load_or_make};
pub use listener::{ListenError, Listener, TlsFiles};

/// What the doors lead to.
pub struct Api {
    /// Deliveries.
    pub store: Arc<dyn Store>,
    /// Rules.
    pub rulebook: Arc<RuleBook>,
    /// Plugins, and whether they take a configuration.
    pub plugins: Arc<dyn PluginRuntime>,
    /// The doors.
    pub intake: Intake,
    /// Runs.
    pub reading: Reading,
    /// What of runs is too large for a row.
    pub blobs: Blobs,
    /// Ends windows before their time.
    pub matching: Matching,
    /// Replays and probes.
    pub fanout: Fanout,
    /// How endpoints stand.
    pub dispatch: Dispatch,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What `x-api-key` may be, and what it allows.
    pub access: Arc<Access>,
    /// Of the secret key.
    pub rotation: Rotation,
    /// LangSmith's tenant.
    pub workspace: WorkspaceId,
    /// What links begin with.
    pub public_url: Url,
}

type Doors = State<Arc<Api>>;

/// Serves until shutdown is requested; requests under way are finished within the grace period.
pub async fn serve(listener: Listener, api: Api, shutdown: Shutdown) {
    listener.serve(router(api), shutdown).await;
}

fn router(api: Api) -> Router {
    let api = Arc::new(api);
    let keyed = Router::new()
        .route("/api/v1/runs/rules", get(rules::list).post(rules::create))
        .route("/api/v1/runs/rules/apply", post(rules::apply))
        .route("/api/v1/runs/rules/validate", post(rules::validate))
        .route("/api/v1/runs/rules/trigger", post(rules::trigger_many))
        .route("/api/v1/runs/rules/{id}/trigger", post(rules::trigger))
        .route("/api/v1/runs/rules/{id}/logs", get(rule_logs::list))
        .route("/api/v1/runs/rules/{id}/last_applied", get(rule_logs::last_applied))
        .route("/api/v2/runs/rules", get(rules::list_v2))
        .route("/api/v1/runs/rules/{id}", get(rules::show).patch(rules::patch).delete(rules::delete))
        .route("/api/v1/deliveries", get(deliveries::list))
        .route("/api/v1/deliveries/{id}", get(deliveries::show))
        .route("/api/v1/deliveries/{id}/replay", post(deliveries::replay))
        .route("/api/v1/ledger", get(deliveries::ledger))
        .route("/api/v1/endpoints", get(endpoints::list))
        .route("/api/v1/endpoints/{rule}/{webhook}", get(endpoints::show))
        .route("/api/v1/endpoints/{rule}/{webhook}/disable", post(endpoints::disable))
        .route("/api/v1/endpoints/{rule}/{webhook}/enable", post(endpoints::enable))
        .route("/api/v1/endpoints/{rule}/{webhook}/probe", post(endpoints::probe))
        .route("/api/v1/plugins", get(plugins::list))
        .route("/api/v1/plugins/{name}/failures", get(plugins::failures))
        .route("/api/v1/keys", get(keys::list).post(keys::create))
        .route("/api/v1/keys/rotate", post(keys::rotate))
        .route("/api/v1/keys/{id}", delete(keys::revoke))
        .route("/api/v2/runs/query", post(runs::query_v2))
        .route("/api/v2/runs/{id}", get(runs::read_v2))
        .route("/v1/platform/datasets/{id}/examples", post(examples::upload).patch(examples::upload_changes))
        .merge(langsmith())
        .nest("/api/v1", langsmith())
        .route_layer(middleware::from_fn_with_state(api.clone(), require_key));
    Router::new()
        .merge(keyed)
        .route("/relay/{rule}", post(relay::accept))
        .route("/health", get(health))
        .route("/blobs/{*key}", get(blobs::serve))
        .route("/info", get(ingest::info))
        .route("/api/v1/info", get(ingest::info))
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(log))
        .with_state(api)
}

/// What LangSmith's clients append to their endpoint, whether that ends in `/api/v1` or not.
fn langsmith() -> Router<Arc<Api>> {
    Router::new()
        .route("/runs", post(ingest::create))
        .route("/runs/batch", post(ingest::batch))
        .route("/runs/multipart", post(ingest::multipart))
        .route("/runs/query", post(runs::query))
        .route("/runs/query/validate", post(runs::validate))
        .route("/runs/{id}", get(runs::read).patch(ingest::patch))
        .route("/feedback", get(feedback::list).post(ingest::give_feedback))
        .route("/feedback/{id}", get(feedback::read).patch(feedback::patch).delete(feedback::delete))
        .route("/sessions", get(sessions::list).post(sessions::create))
        .route("/sessions/{id}", get(sessions::read))
        .route("/datasets", get(datasets::list).post(datasets::create))
        .route("/datasets/{id}", get(datasets::show).delete(datasets::delete))
        .route("/examples", get(examples::list).post(examples::create))
        .route("/examples/bulk", post(examples::create_all))
        .route("/examples/{id}", get(examples::show).patch(examples::patch).delete(examples::delete))
        .route("/platform/datasets/{id}/examples", post(examples::upload).patch(examples::upload_changes))
        .route("/otel/v1/traces", post(ingest::spans))
        // They bound their bodies themselves, while they read them.
        .layer(DefaultBodyLimit::disable())
}

async fn require_key(State(api): Doors, request: Request, next: Next) -> Response {
    let given = request.headers().get("x-api-key").and_then(|key| key.to_str().ok()).map(Secret::new);
    let Some(given) = given else {
        let detail = "the header `x-api-key` is missing; the key is in the file `api-key` of the data directory, and \
                      `runhook keys new` makes others";
        return ApiError::unauthorized(detail).into_response();
    };
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    match api.access.check(&given, scope::needed(request.method(), route)) {
        Ok(()) => next.run(request).await,
        Err(denied) => ApiError::from(denied).into_response(),
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown | Denied::Expired { .. } => Self::unauthorized(denied.to_string()),
            Denied::Lacking { .. } => Self::new(StatusCode::FORBIDDEN, denied.to_string()),
        }
    }
}

/// Method, path and status; the query is not even looked at.
async fn log(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    debug!(%method, path, status = response.status().as_u16(), "request");
    response
}

async fn health() -> impl IntoResponse {
    Json(json!({"status": "ok"}))
}

async fn nowhere(request: Request) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", request.uri().path()))
}

async fn wrong_method(request: Request) -> ApiError {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
