//! Errors as the API answers them: `{"detail": text}`, as LangSmith does, and `problems` where there are several.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use tracing::error;

use crate::blobs::BlobError;
use crate::definition::{Problem, Problems};
use crate::store::StoreError;

/// A request that was not fulfilled.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    detail: String,
    problems: Problems,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), problems: Vec::new() }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// One thing that is wrong, with its place.
    pub(super) fn unprocessable(at: &str, problem: &str) -> Self {
        vec![Problem { at: at.to_owned(), problem: problem.to_owned() }].into()
    }

    /// Several things that are wrong, each with its place.
    pub(super) fn with_problems(status: StatusCode, problems: Problems) -> Self {
        let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Self { status, detail: texts.join("\n"), problems }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn problems(&self) -> &Problems {
        &self.problems
    }

    /// What the status asks for beside the body.
    pub(super) fn add_headers(&self, response: &mut Response) {
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }
}

impl From<Problems> for ApiError {
    fn from(problems: Problems) -> Self {
        Self::with_problems(StatusCode::UNPROCESSABLE_ENTITY, problems)
    }
}

impl From<StoreError> for ApiError {
    /// The store's own words stay in the log: who asks can do nothing with them.
    fn from(error: StoreError) -> Self {
        error!(%error, "the store failed a request");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the store cannot answer right now; try again")
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        error!(%error, "the object store failed a request");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the object store cannot answer right now; try again")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = match self.problems.as_slice() {
            [] => json!({"detail": self.detail}),
            problems => json!({"detail": self.detail, "problems": problems}),
        };
        let mut response = (self.status, Json(body)).into_response();
        self.add_headers(&mut response);
        response
    }
}
