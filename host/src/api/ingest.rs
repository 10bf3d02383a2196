//! What tracing clients post: runs in three forms, feedback, OpenTelemetry spans; and what they ask first.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::api::answer::ApiError;
use crate::api::relay::{encoding, ingest_status};
use crate::api::{Api, Doors, feedback};
use crate::definition::Problem;
use crate::ingest::otlp;
use crate::intake::{Content, Ingested};
use crate::limits;
use crate::model::ids::RunId;
use crate::model::run::Layer;

/// The oldest LangSmith whose API the newest SDKs ask for without a warning: they compare versions.
const LANGSMITH_VERSION: &str = "0.16.0";

/// Problems that an answer names; the rest is counted.
const PROBLEMS_SHOWN_MAX: usize = 100;

/// `GET /info`. Clients fail where a key of `batch_ingest_config` is missing.
pub(super) async fn info() -> Json<Value> {
    Json(json!({
        "version": LANGSMITH_VERSION,
        "runhook_version": env!("CARGO_PKG_VERSION"),
        "instance_flags": {
            "zstd_compression_enabled": true,
            "gzip_body_enabled": true,
            "dataset_examples_multipart_enabled": true,
        },
        "batch_ingest_config": {
            "use_multipart_endpoint": true,
            "size_limit": 100,
            "size_limit_bytes": limits::INGEST_ANNOUNCED_BYTES,
            "scale_up_qsize_trigger": 1000,
            "scale_up_nthreads_limit": 16,
            "scale_down_nempty_trigger": 4,
        },
    }))
}

/// `POST /runs/multipart`
pub(super) async fn multipart(State(api): Doors, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    answer(&ingest(&api, Content::Multipart(content_type.to_owned()), &headers, body).await?)
}

/// `POST /runs/batch`
pub(super) async fn batch(State(api): Doors, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    answer(&ingest(&api, Content::Batch, &headers, body).await?)
}

/// `POST /runs`
pub(super) async fn create(State(api): Doors, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    answer(&ingest(&api, Content::Run(Layer::Post, None), &headers, body).await?)
}

/// `PATCH /runs/{id}`
pub(super) async fn patch(
    State(api): Doors,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let id: RunId = id.parse().map_err(|_| ApiError::not_found("the path is not /runs/ and the id of a run"))?;
    answer(&ingest(&api, Content::Run(Layer::Patch, Some(id)), &headers, body).await?)
}

/// `POST /feedback`: the feedback as it is stored.
pub(super) async fn give_feedback(State(api): Doors, headers: HeaderMap, body: Body) -> feedback::Answer {
    let batch = ingest(&api, Content::Feedback, &headers, body).await?;
    let id = batch.feedback.first().copied();
    let id = id.ok_or_else(|| ApiError::bad_request("there is no feedback in the body"))?;
    feedback::find(&api, id).await
}

async fn ingest(api: &Api, content: Content, headers: &HeaderMap, body: Body) -> Result<Ingested, ApiError> {
    Ok(api.intake.ingest(content, encoding(headers)?, body.into_data_stream()).await?)
}

/// 202 where all was taken. Else the error tells what was not; the rest is stored all the same.
fn answer(batch: &Ingested) -> Result<Response, ApiError> {
    let refused = batch.refused.iter().map(|part| Problem { at: part.name.clone(), problem: part.reason.clone() });
    let broken_off = batch.broken_off.as_ref();
    let broken_off_at = broken_off.map(|error| Problem { at: "body".to_owned(), problem: error.to_string() });
    let all: Vec<_> = refused.chain(broken_off_at).collect();
    if all.is_empty() {
        return Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response());
    }
    let status = broken_off.map_or(StatusCode::UNPROCESSABLE_ENTITY, ingest_status);
    let mut shown: Vec<_> = all.iter().take(PROBLEMS_SHOWN_MAX).cloned().collect();
    let more = all.len() - shown.len();
    let named = if more > 0 { format!("and {more} more; ") } else { String::new() };
    let problem = format!("{named}what else was in the request is stored ({} writes)", batch.taken);
    shown.push(Problem { at: String::new(), problem });
    Err(ApiError::with_problems(status, shown))
}

/// `POST /otel/v1/traces`. The answer is OTLP's own, errors included.
pub(super) async fn spans(State(api): Doors, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(format) = otlp::Encoding::of_content_type(text("content-type").unwrap_or_default()) else {
        let detail = "spans come as application/x-protobuf or application/json";
        return ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).into_response();
    };
    let project = text("langsmith-project").map(str::to_owned);
    let taken = match encoding(&head.headers) {
        Ok(encoding) => {
            api.intake.spans(format, project, encoding, body.into_data_stream()).await.map_err(ApiError::from)
        }
        Err(error) => Err(error),
    };
    match taken {
        Ok(rejected) => otlp_answer(StatusCode::OK, format, otlp::response(format, &rejected)),
        Err(error) => {
            let mut answer = otlp_answer(error.status(), format, otlp::failure(format, error.detail()));
            error.add_headers(&mut answer);
            answer
        }
    }
}

fn otlp_answer(status: StatusCode, format: otlp::Encoding, body: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_static(format.content_type());
    (status, [(CONTENT_TYPE, content_type)], body).into_response()
}
