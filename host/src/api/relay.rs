//! `POST /relay/{rule}?secret=…`: where finished payloads arrive, from LangSmith or from whoever posts the same JSON.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use url::form_urlencoded;

use crate::api::Doors;
use crate::api::answer::ApiError;
use crate::document::DocumentError;
use crate::ingest::IngestError;
use crate::intake::{Arrival, BodyError, Encoding, Refusal};
use crate::model::secret::Secret;

/// Either makes a repeat harmless; the first one that is there counts.
const IDEMPOTENCY_HEADERS: [&str; 2] = ["webhook-id", "idempotency-key"];

pub(super) async fn accept(
    State(api): Doors,
    Path(rule): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let rule = rule.parse().map_err(|_| ApiError::not_found("the path is not /relay/ and the id of a rule"))?;
    let arrival = Arrival {
        rule,
        secret: query.as_deref().and_then(secret),
        encoding: encoding(&headers)?,
        idempotency_key: idempotency_key(&headers)?,
    };
    let receipt = api.intake.accept(arrival, body.into_data_stream()).await?;
    let answer = json!({"id": receipt.id, "is_repeat": receipt.is_repeat});
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

fn secret(query: &str) -> Option<Secret> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == "secret").map(|(_, value)| Secret::new(value))
}

pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, ApiError> {
    let name = headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?"));
    name.parse::<Encoding>().map_err(|error| ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string()))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(name) = IDEMPOTENCY_HEADERS.into_iter().find(|name| headers.contains_key(*name)) else { return Ok(None) };
    match headers[name].to_str() {
        Ok(key) if !key.is_empty() => Ok(Some(key.to_owned())),
        _ => Err(ApiError::bad_request(format!("the header `{name}` needs 1 to 255 characters of ASCII"))),
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::NoDoor(_) => StatusCode::NOT_FOUND,
            Refusal::WrongSecret => StatusCode::UNAUTHORIZED,
            Refusal::KeyTooLong(_) | Refusal::Document(DocumentError::Syntax { .. }) | Refusal::Spans(_) => {
                StatusCode::BAD_REQUEST
            }
            Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::Document(DocumentError::TooMany { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Document(DocumentError::Shape) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Body(error) => body_status(error),
            Refusal::Runs(error) => ingest_status(error),
            Refusal::Conflict => StatusCode::CONFLICT,
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.to_string())
    }
}

/// The status of a body that could not be read.
fn body_status(error: &BodyError) -> StatusCode {
    match error {
        BodyError::Unreadable(_) => StatusCode::BAD_REQUEST,
        BodyError::PackedTooLarge(_) | BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Busy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The status of a body that is no body of runs, or breaks off.
pub(super) fn ingest_status(error: &IngestError) -> StatusCode {
    match error {
        IngestError::NotMultipart(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        IngestError::TooManyParts(_) => StatusCode::PAYLOAD_TOO_LARGE,
        IngestError::Body(error) => body_status(error),
        IngestError::NoBoundary(_) | IngestError::CutShort { .. } | IngestError::Document(_) => StatusCode::BAD_REQUEST,
    }
}
