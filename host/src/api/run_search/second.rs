//! The body of `POST /api/v2/runs/query` (Python SDK 0.15, generated client).

use serde_json::Value;

use crate::api::answer::ApiError;
use crate::api::run_search::{Asked, Wanted, is_brief};
use crate::limits;
use crate::reading::RunSearch;
use crate::store::runs::RunQuery;

/// Where no time is given, all runs are searched; LangSmith searches the last day.
pub(in crate::api) fn wanted(body: &Value) -> Result<Wanted, ApiError> {
    let mut asked = Asked::of(body)?;
    let query = RunQuery {
        projects: asked.ids("project_ids"),
        ids: asked.ids("ids"),
        trace: asked.id("trace_id"),
        is_root: asked.boolean("is_root"),
        start_min: asked.time("min_start_time"),
        start_max: asked.time("max_start_time"),
        after: asked.place(),
        ..RunQuery::default()
    };
    // Without a choice there is the id alone.
    let select = Some(asked.texts("selects").unwrap_or_default());
    let search = RunSearch {
        query,
        selection: asked.selection(),
        parent: None,
        run_type: asked.text("run_type").map(str::to_lowercase),
        has_error: asked.boolean("has_error"),
        reference_examples: asked.ids("reference_examples"),
        is_brief: is_brief(select.as_deref()),
        limit: asked.number("page_size", limits::RUNS_PER_PAGE_MAX).unwrap_or(100),
    };
    asked.end(Wanted { search, select })
}
