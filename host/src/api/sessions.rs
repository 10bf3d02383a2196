//! `/sessions`: projects, by LangSmith's name for them.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::answer::ApiError;
use crate::api::query::{self, Parameters};
use crate::api::{Api, Doors};
use crate::limits::PROJECT_NAME_CHARS_MAX;
use crate::model::ids::ProjectId;
use crate::model::project::Project;

type Answer = Result<Json<Value>, ApiError>;

/// `GET /sessions?name=…&name_contains=…&id=…&limit=…&offset=…`
pub(super) async fn list(State(api): Doors, RawQuery(query): RawQuery) -> Answer {
    let parameters = Parameters::parse(query.as_deref());
    let (limit, offset) = parameters.page()?;
    let ids: Vec<ProjectId> = parameters.ids("id")?;
    let (name, part) = (parameters.first("name"), parameters.first("name_contains").map(str::to_lowercase));
    let is_asked_for = |project: &Project| {
        (ids.is_empty() || ids.contains(&project.id))
            && name.is_none_or(|name| project.name == name)
            && part.as_ref().is_none_or(|part| project.name.to_lowercase().contains(part))
    };
    let projects = api.store.projects().await?;
    let page = projects.iter().filter(|project| is_asked_for(project)).skip(offset).take(limit);
    Ok(Json(page.map(|project| show(&api, project)).collect()))
}

pub(super) async fn read(State(api): Doors, Path(id): Path<String>) -> Answer {
    let found = api.store.projects().await?.into_iter().find(|project| project.id.to_string() == id);
    let project = found.ok_or_else(|| ApiError::not_found(format!("there is no project {id}")))?;
    Ok(Json(show(&api, &project)))
}

/// `POST /sessions?upsert=true`: 409 where the name is taken, unless it is an upsert.
pub(super) async fn create(State(api): Doors, RawQuery(query): RawQuery, body: Body) -> Answer {
    let body = query::json(body).await?;
    let name = body["name"].as_str().unwrap_or_default();
    if name.trim().is_empty() || name.chars().count() > PROJECT_NAME_CHARS_MAX {
        return Err(ApiError::unprocessable("name", &format!("needs 1 to {PROJECT_NAME_CHARS_MAX} characters")));
    }
    let id = body["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_else(ProjectId::generate);
    let wanted = Project { id, name: name.to_owned(), created_at: api.clock.now() };
    let project = api.store.add_project(wanted.clone()).await?;
    let is_upsert = Parameters::parse(query.as_deref()).is_set("upsert") && project.name == name;
    if project != wanted && !is_upsert {
        let detail = format!("there is a project `{}` with that name or id already", project.name);
        return Err(ApiError::new(StatusCode::CONFLICT, detail));
    }
    Ok(Json(show(&api, &project)))
}

fn show(api: &Api, project: &Project) -> Value {
    json!({
        "id": project.id,
        "tenant_id": api.workspace,
        "name": project.name,
        "start_time": project.created_at,
        "end_time": null,
        "description": null,
        "extra": null,
        "default_dataset_id": null,
        "reference_dataset_id": null,
    })
}
