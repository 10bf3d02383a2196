//! The body of `POST /runs/query` (LangSmith OpenAPI, `BodyParamsForRunSchema`).

use serde_json::Value;

use crate::api::answer::ApiError;
use crate::api::run_search::{Asked, Wanted, is_brief};
use crate::limits;
use crate::model::ids::ProjectId;
use crate::reading::RunSearch;
use crate::store::runs::RunQuery;

pub(in crate::api) fn wanted(body: &Value) -> Result<Wanted, ApiError> {
    let mut asked = Asked::of(body)?;
    let mut projects: Vec<ProjectId> = asked.ids("session");
    // `child_runs` of the Python SDK 0.15 says it so.
    projects.extend(asked.id::<ProjectId>("session_id"));
    let query = RunQuery {
        projects,
        ids: asked.ids("id"),
        trace: asked.id("trace"),
        is_root: asked.boolean("is_root"),
        start_min: asked.time("start_time"),
        start_max: asked.time("end_time"),
        is_ascending: asked.text("order").is_some_and(|order| order.eq_ignore_ascii_case("asc")),
        after: asked.place(),
        ..RunQuery::default()
    };
    let select = asked.texts("select");
    let search = RunSearch {
        query,
        selection: asked.selection(),
        parent: asked.id("parent_run"),
        run_type: asked.text("run_type").map(str::to_lowercase),
        has_error: asked.boolean("error"),
        reference_examples: asked.ids("reference_example"),
        is_brief: is_brief(select.as_deref()),
        limit: asked.number("limit", limits::RUNS_PER_PAGE_MAX).unwrap_or(100),
    };
    asked.end(Wanted { search, select })
}
