//! `/runs`: runs as LangSmith's two APIs show them.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::api::answer::ApiError;
use crate::api::query::{self, Parameters};
use crate::api::run_search::{Wanted, first, second};
use crate::api::{Api, Doors};
use crate::definition::{Problem, Problems};
use crate::filter::Filter;
use crate::links::Links;
use crate::model::Timestamp;
use crate::model::ids::RunId;
use crate::payload::{self, Matched, Origin};
use crate::reading::{Page, Place};
use crate::selection::Found;

/// `GET /runs/{id}`
pub(super) async fn read(State(api): Doors, Path(id): Path<String>) -> Result<Response, ApiError> {
    let found = find(&api, &id).await?;
    Ok(json_text(api.write_run(&found, None, payload::run_v1).await?))
}

/// `GET /api/v2/runs/{id}?selects=…`
pub(super) async fn read_v2(
    State(api): Doors,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let found = find(&api, &id).await?;
    let selects = Parameters::parse(query.as_deref()).all("selects");
    Ok(json_text(api.write_run(&found, Some(&selects), payload::run_v2).await?))
}

async fn find(api: &Api, id: &str) -> Result<Found, ApiError> {
    let unknown = || ApiError::not_found(format!("there is no run {id}"));
    let parsed: RunId = id.parse().map_err(|_| unknown())?;
    api.reading.run(parsed).await?.ok_or_else(unknown)
}

/// `POST /runs/query` -> `{"runs": […], "cursors": {"next": …, "prev": null}}`
pub(super) async fn query(State(api): Doors, body: Body) -> Result<Response, ApiError> {
    let wanted = first::wanted(&query::json(body).await?)?;
    let (runs, next) = page(&api, &wanted, payload::run_v1).await?;
    Ok(json_text(format!(r#"{{"runs":[{runs}],"cursors":{{"next":{next},"prev":null}}}}"#)))
}

/// `POST /api/v2/runs/query` -> `{"items": […], "next_cursor": …}`
pub(super) async fn query_v2(State(api): Doors, body: Body) -> Result<Response, ApiError> {
    let wanted = second::wanted(&query::json(body).await?)?;
    let (runs, next) = page(&api, &wanted, payload::run_v2).await?;
    Ok(json_text(format!(r#"{{"items":[{runs}],"next_cursor":{next}}}"#)))
}

type Write = fn(&Matched<'_>, &Origin<'_>, Option<&[String]>) -> String;

/// The runs of a page, joined by commas, and the next cursor as JSON.
async fn page(api: &Api, wanted: &Wanted, write: Write) -> Result<(String, String), ApiError> {
    let Page { runs, next } = api.reading.page(&wanted.search).await?;
    let mut written = Vec::with_capacity(runs.len());
    for found in &runs {
        written.push(api.write_run(found, wanted.select.as_deref(), write).await?);
    }
    let next = next.map_or(Value::Null, |place| Value::from(cursor(place)));
    Ok((written.join(","), next.to_string()))
}

/// `POST /runs/query/validate` -> `{"valid", "errors": [{"field", "message"}]}`
pub(super) async fn validate(body: Body) -> Result<Json<Value>, ApiError> {
    let body = query::json(body).await?;
    let errors: Vec<_> = ["filter", "trace_filter", "tree_filter"]
        .into_iter()
        .filter_map(|key| {
            let error = Filter::parse(body[key].as_str()?).err()?;
            Some(json!({"field": key, "message": error.to_string()}))
        })
        .collect();
    Ok(Json(json!({"valid": errors.is_empty(), "errors": errors})))
}

impl Api {
    async fn write_run(&self, found: &Found, select: Option<&[String]>, write: Write) -> Result<String, ApiError> {
        let links = Links::of(found, &self.blobs, &*self.clock).await?;
        let origin = Origin { tenant: self.workspace.0, public_url: &self.public_url };
        let matched = Matched { run: &found.run, feedback: &found.feedback, urls: links.urls() };
        Ok(write(&matched, &origin, select))
    }
}

fn json_text(text: String) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// A place as text that clients only hand back.
fn cursor((start, number): Place) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}.{number}", start.as_microsecond()))
}

/// Reads a cursor that was given out here.
pub(super) fn place(cursor: &str) -> Result<Place, Problems> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (start, number) = text.split_once('.')?;
        Some((Timestamp::from_microsecond(start.parse().ok()?).ok()?, number.parse().ok()?))
    };
    let problem = "is none that was given out here; begin again without one".to_owned();
    read().ok_or_else(|| vec![Problem { at: "cursor".to_owned(), problem }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_its_place() {
        let at: Place = (Timestamp::from_microsecond(-5).unwrap(), 42);
        assert_eq!(place(&cursor(at)).unwrap(), at);
        assert!(place("eyJ4IjoxfQ").is_err());
    }
}
