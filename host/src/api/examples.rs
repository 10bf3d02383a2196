//! `/examples` in LangSmith's shape: one by one and in bulk as JSON, and as multipart forms, which is all that JavaScript
//! sends. Files are not kept.

mod form;
mod given;
mod shown;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::answer::ApiError;
use crate::api::body;
use crate::api::datasets::{metadata, page, refuse};
use crate::api::query::Parameters;
use crate::api::{Api, Doors};
use crate::limits;
use crate::model::dataset::Example;
use crate::model::ids::{DatasetId, ExampleId};
use crate::store::datasets::{ExampleQuery, ExamplesWritten};
use given::GivenExample;
use shown::Shown;

/// Keys of a list that would narrow it and are not done here.
const UNSUPPORTED: &[&str] = &["filter", "full_text_contains"];

/// `GET /examples?dataset=…&id=…&splits=…&metadata={…}&limit=…&offset=…`, newest first.
pub(super) async fn list(State(api): Doors, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let parameters = Parameters::parse(query.as_deref());
    refuse(&parameters, UNSUPPORTED)?;
    refuse_versions(&parameters)?;
    let (limit, offset) = page(&parameters)?;
    let query = ExampleQuery {
        dataset: parameters.id("dataset")?,
        ids: parameters.ids("id")?,
        splits: parameters.all("splits"),
        metadata: metadata(&parameters)?,
        offset,
        limit,
        ..ExampleQuery::default()
    };
    let page = api.store.examples(query).await?;
    if page.is_cut {
        let (max, fitting) = (limits::EXAMPLES_PAGE_BYTES_MAX, page.examples.len());
        let problem = format!("the page would have more than {max} bytes; ask for {fitting} at most");
        return Err(ApiError::unprocessable("limit", &problem));
    }
    Ok(answer_all(&page.examples))
}

/// Only the latest state is kept.
fn refuse_versions(parameters: &Parameters) -> Result<(), ApiError> {
    let is_latest = parameters.first("as_of").is_none_or(|version| version == "latest");
    if is_latest { Ok(()) } else { Err(body::unsupported("as_of")) }
}

pub(super) async fn show(
    State(api): Doors,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    refuse_versions(&Parameters::parse(query.as_deref()))?;
    answer(&api, &id).await
}

pub(super) async fn create(State(api): Doors, given: Body) -> Result<Response, ApiError> {
    let text = body::text(given).await?;
    let example = GivenExample::read(&text, body::BODY)?.into_example(None, api.clock.now())?;
    write(&api, vec![example.clone()]).await?;
    Ok(Json(Shown::of(&example)).into_response())
}

pub(super) async fn create_all(State(api): Doors, given: Body) -> Result<Response, ApiError> {
    let text = body::text(given).await?;
    let given: Vec<&RawValue> = body::read(&text, body::BODY)?;
    let now = api.clock.now();
    let example = |(index, json): (usize, &&RawValue)| {
        GivenExample::read(json.get(), &format!("body[{index}]"))?.into_example(None, now)
    };
    let examples = given.iter().enumerate().map(example).collect::<Result<Vec<_>, _>>()?;
    write(&api, examples.clone()).await?;
    Ok(answer_all(&examples))
}

pub(super) async fn patch(State(api): Doors, Path(id): Path<String>, given: Body) -> Result<Response, ApiError> {
    let text = body::text(given).await?;
    let change = GivenExample::read(&text, body::BODY)?.into_change(parse(&id)?, None);
    written(api.store.change_examples(vec![change], api.clock.now()).await?)?;
    answer(&api, &id).await
}

pub(super) async fn delete(State(api): Doors, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    if !api.store.delete_example(parse(&id)?, api.clock.now()).await? {
        return Err(unknown(&id));
    }
    Ok(Json(json!({"id": id})))
}

/// Examples as a multipart form.
pub(super) async fn upload(
    State(api): Doors,
    Path(dataset): Path<String>,
    headers: HeaderMap,
    given: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (dataset, now) = (parse_dataset(&dataset)?, api.clock.now());
    let named = |(id, given): (ExampleId, GivenExample)| given.named(id).into_example(Some(dataset), now);
    let examples = form(&headers, given).await?.into_iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<_> = examples.iter().map(|example| example.id).collect();
    write(&api, examples).await?;
    Ok((StatusCode::CREATED, Json(json!({"count": ids.len(), "example_ids": ids, "as_of": now}))))
}

/// Changes of examples as a multipart form.
pub(super) async fn upload_changes(
    State(api): Doors,
    Path(dataset): Path<String>,
    headers: HeaderMap,
    given: Body,
) -> Result<Json<Value>, ApiError> {
    let (dataset, now) = (parse_dataset(&dataset)?, api.clock.now());
    let given = form(&headers, given).await?;
    let changes: Vec<_> = given.into_iter().map(|(id, given)| given.into_change(id, Some(dataset))).collect();
    let ids: Vec<_> = changes.iter().map(|change| change.id).collect();
    written(api.store.change_examples(changes, now).await?)?;
    Ok(Json(json!({"count": ids.len(), "example_ids": ids, "as_of": now})))
}

async fn form(headers: &HeaderMap, given: Body) -> Result<Vec<(ExampleId, GivenExample)>, ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    form::read(content_type, &body::bytes(given).await?)
}

async fn write(api: &Api, examples: Vec<Example>) -> Result<(), ApiError> {
    written(api.store.make_examples(examples).await?)
}

fn written(outcome: ExamplesWritten) -> Result<(), ApiError> {
    match outcome {
        ExamplesWritten::Done => Ok(()),
        ExamplesWritten::NoDataset(id) => Err(ApiError::not_found(format!("there is no dataset {id}"))),
        ExamplesWritten::Missing(id) => Err(ApiError::not_found(format!("there is no example {id} in that dataset"))),
        ExamplesWritten::Taken(id) => {
            let detail = format!("there is an example {id} already; change it with PATCH");
            Err(ApiError::new(StatusCode::CONFLICT, detail))
        }
    }
}

async fn answer(api: &Api, id: &str) -> Result<Response, ApiError> {
    let query = ExampleQuery { ids: vec![parse(id)?], ..ExampleQuery::default() };
    let found = api.store.examples(query).await?.examples.pop().ok_or_else(|| unknown(id))?;
    Ok(Json(Shown::of(&found)).into_response())
}

fn answer_all(examples: &[Example]) -> Response {
    Json(examples.iter().map(Shown::of).collect::<Vec<_>>()).into_response()
}

fn parse(id: &str) -> Result<ExampleId, ApiError> {
    id.parse().map_err(|_| unknown(id))
}

fn parse_dataset(id: &str) -> Result<DatasetId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found(format!("there is no dataset {id}")))
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no example {id}"))
}
