//! `/datasets` in LangSmith's shape.

mod given;
mod shown;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::api::answer::ApiError;
use crate::api::query::Parameters;
use crate::api::{Api, Doors, body};
use crate::limits;
use crate::model::dataset::UnknownDataType;
use crate::model::ids::DatasetId;
use crate::store::datasets::{DatasetMade, DatasetQuery, StoredDataset};
use given::GivenDataset;
use shown::Shown;

/// Keys of a list that would narrow it and are not done here.
const UNSUPPORTED: &[&str] = &["tag_value_id"];

/// `GET /datasets?name=…&name_contains=…&id=…&data_type=…&metadata={…}&limit=…&offset=…`, newest first.
pub(super) async fn list(State(api): Doors, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let parameters = Parameters::parse(query.as_deref());
    refuse(&parameters, UNSUPPORTED)?;
    let (limit, offset) = page(&parameters)?;
    let data_types =
        parameters.all("data_type").iter().map(|text| text.parse()).collect::<Result<_, UnknownDataType>>();
    let query = DatasetQuery {
        ids: parameters.ids("id")?,
        name: parameters.first("name").map(Into::into),
        name_contains: parameters.first("name_contains").map(Into::into),
        data_types: data_types.map_err(|error| ApiError::unprocessable("data_type", &error.to_string()))?,
        metadata: metadata(&parameters)?,
        offset,
        limit,
    };
    let found = api.store.datasets(query).await?;
    let shown: Vec<_> = found.iter().map(|dataset| Shown::of(dataset, api.workspace)).collect();
    Ok(Json(shown).into_response())
}

pub(super) async fn show(State(api): Doors, Path(id): Path<String>) -> Result<Response, ApiError> {
    Ok(answer(&api, &find(&api, &id).await?))
}

pub(super) async fn create(State(api): Doors, given: Body) -> Result<Response, ApiError> {
    let text = body::text(given).await?;
    let dataset = body::read::<GivenDataset<'_>>(&text, body::BODY)?.into_dataset(api.clock.now())?;
    match api.store.make_dataset(dataset.clone()).await? {
        DatasetMade::Done => Ok(answer(&api, &StoredDataset { dataset, examples: 0 })),
        DatasetMade::Taken(by) => {
            let detail = format!("the dataset {by} has that id or the name `{}` already", dataset.name);
            Err(ApiError::new(StatusCode::CONFLICT, detail))
        }
    }
}

pub(super) async fn delete(State(api): Doors, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let found = find(&api, &id).await?;
    // Whoever deleted it in between did what was asked for.
    api.store.delete_dataset(found.dataset.id).await?;
    Ok(Json(json!({"id": found.dataset.id, "name": found.dataset.name, "deleted_examples": found.examples})))
}

fn answer(api: &Api, dataset: &StoredDataset) -> Response {
    Json(Shown::of(dataset, api.workspace)).into_response()
}

async fn find(api: &Api, id: &str) -> Result<StoredDataset, ApiError> {
    let unknown = || ApiError::not_found(format!("there is no dataset {id}"));
    let known: DatasetId = id.parse().map_err(|_| unknown())?;
    let query = DatasetQuery { ids: vec![known], ..DatasetQuery::default() };
    api.store.datasets(query).await?.pop().ok_or_else(unknown)
}

/// `limit` and `offset`, as LangSmith bounds them here.
pub(super) fn page(parameters: &Parameters) -> Result<(usize, usize), ApiError> {
    let (limit, offset) = parameters.page()?;
    if limit > limits::EXAMPLES_PER_PAGE_MAX {
        let range = format!("goes from 1 to {}", limits::EXAMPLES_PER_PAGE_MAX);
        return Err(ApiError::unprocessable("limit", &range));
    }
    Ok((limit, offset))
}

/// `metadata`: the members that are asked for.
pub(super) fn metadata(parameters: &Parameters) -> Result<Map<String, Value>, ApiError> {
    parameters.first("metadata").map_or(Ok(Map::new()), |json| body::read(json, "metadata"))
}

/// Refuses keys that would narrow the answer and do not: what would come is not what was asked for.
pub(super) fn refuse(parameters: &Parameters, keys: &[&str]) -> Result<(), ApiError> {
    let given = keys.iter().find(|key| parameters.first(key).is_some());
    given.map_or(Ok(()), |key| Err(body::unsupported(key)))
}
