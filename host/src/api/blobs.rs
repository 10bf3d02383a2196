//! `GET /blobs/{key}?expires=…&signature=…`: blobs of the local folder, for whoever has a link.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode, Uri};
use tracing::error;

use crate::api::Doors;
use crate::api::answer::ApiError;

/// What links lead to.
pub(super) const PATH: &str = "/blobs/";

/// Clients chose type and content: no browser may take it for more than a file.
pub(super) async fn serve(State(api): Doors, uri: Uri) -> Result<Response, ApiError> {
    let path = uri.path().strip_prefix(PATH).unwrap_or_default();
    let verified = api.blobs.verify(path, uri.query(), api.clock.now());
    let key = verified.map_err(|refused| ApiError::new(StatusCode::FORBIDDEN, refused.to_string()))?;
    let found = api.blobs.read(&key).await.map_err(|cause| {
        error!(%key, error = %cause, "cannot read a blob");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the blob cannot be read right now; try again")
    })?;
    let content = found.ok_or_else(|| ApiError::not_found("the blob is gone: it was kept for its time"))?;
    let media_type = HeaderValue::from_str(&key.media_type());
    let headers = [
        (CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static("application/octet-stream"))),
        (CONTENT_LENGTH, HeaderValue::from(content.size_bytes)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CONTENT_DISPOSITION, HeaderValue::from_static("attachment")),
    ];
    Ok((headers, Body::from_stream(content.into_stream())).into_response())
}
