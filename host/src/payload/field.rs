//! Each field of a run once: its name and how it is written. Which of them stand where is told by the shapes.

use uuid::Uuid;

use crate::document::{self, Fields};
use crate::layers;
use crate::model::run::{Run, Status};

use super::json;
use super::link;
use super::stats::{Stats, StatsShape};
use super::{Origin, Urls};

/// A run as it is written.
pub(super) struct View<'a> {
    pub(super) run: &'a Run,
    pub(super) urls: Urls<'a>,
    pub(super) origin: &'a Origin<'a>,
    pub(super) stats: &'a Stats<'a>,
    pub(super) shape: StatsShape,
}

/// A name and what writes the value.
pub(super) type Field = (&'static str, fn(&mut String, &View<'_>));

// What is the same in every shape.
pub(super) const ID: Field = ("id", |out, view| json::uuid(out, view.run.id.0));
pub(super) const NAME: Field = ("name", |out, view| json::string(out, &view.run.name));
pub(super) const TRACE_ID: Field = ("trace_id", |out, view| json::uuid(out, view.run.trace.0));
pub(super) const DOTTED_ORDER: Field = ("dotted_order", |out, view| json::string(out, &view.run.dotted_order));
pub(super) const IS_ROOT: Field = ("is_root", |out, view| json::boolean(out, view.run.is_root()));
pub(super) const TENANT_ID: Field = ("tenant_id", |out, view| json::uuid(out, view.origin.tenant));
pub(super) const PARENT_RUN_ID: Field =
    ("parent_run_id", |out, view| json::or_null(out, view.run.parent, |out, id| json::uuid(out, id.0)));
pub(super) const PARENT_RUN_IDS: Field =
    ("parent_run_ids", |out, view| json::list(out, '[', ']', ancestors(view.run), json::uuid));
pub(super) const TOTAL_TOKENS: Field = ("total_tokens", |out, view| json::integer(out, view.run.tokens.total));
pub(super) const COMPLETION_TOKENS: Field =
    ("completion_tokens", |out, view| json::integer(out, view.run.tokens.completion));
pub(super) const PROMPT_TOKENS: Field = ("prompt_tokens", |out, view| json::integer(out, view.run.tokens.prompt));
pub(super) const APP_PATH: Field = ("app_path", link::app_path);
pub(super) const TRACE_URL: Field = ("trace_url", link::trace_url);
pub(super) const LAST_QUEUED_AT: Field = ("last_queued_at", null);
pub(super) const INPUTS: Field = ("inputs", |out, view| json::raw(out, view.run.inputs.as_deref()));
pub(super) const OUTPUTS: Field = ("outputs", |out, view| json::raw(out, view.run.outputs.as_deref()));
pub(super) const EXTRA: Field = ("extra", |out, view| json::raw(out, view.run.extra.as_deref()));
pub(super) const EVENTS: Field = ("events", |out, view| json::raw(out, view.run.events.as_deref()));
pub(super) const ERROR: Field = ("error", |out, view| json::or_null(out, view.run.error.as_deref(), json::string));
pub(super) const TAGS: Field =
    ("tags", |out, view| json::list(out, '[', ']', &view.run.tags, |out, tag| json::string(out, tag)));
pub(super) const REFERENCE_EXAMPLE_ID: Field =
    ("reference_example_id", |out, view| json::or_null(out, view.run.reference_example, json::uuid));
pub(super) const THREAD_ID: Field =
    ("thread_id", |out, view| json::or_null(out, layers::thread_id(view.run), |out, id| json::string(out, &id)));
/// Null where nobody said anything.
pub(super) const FEEDBACK_STATS: Field = ("feedback_stats", |out, view| {
    json::or_null(out, Some(view.stats).filter(|stats| !stats.is_empty()), |out, stats| stats.write(out, view.shape));
});

// As the webhook and the first API have it.
pub(super) const STATUS: Field = ("status", |out, view| json::string(out, status(view.run.status)));
pub(super) const RUN_TYPE: Field = ("run_type", |out, view| json::string(out, &view.run.run_type));
pub(super) const SESSION_ID: Field = ("session_id", |out, view| json::uuid(out, view.run.project.0));
pub(super) const START_TIME: Field = ("start_time", |out, view| json::naive(out, view.run.start_time));
pub(super) const END_TIME: Field = ("end_time", |out, view| json::or_null(out, view.run.end_time, json::naive));
pub(super) const FIRST_TOKEN_TIME: Field =
    ("first_token_time", |out, view| json::or_null(out, view.run.first_token_time, json::naive));
pub(super) const MODIFIED_AT: Field = ("modified_at", |out, view| json::naive(out, view.run.modified_at));
pub(super) const CHILD_RUN_IDS: Field = ("child_run_ids", null);
pub(super) const DIRECT_CHILD_RUN_IDS: Field = ("direct_child_run_ids", null);
pub(super) const TOTAL_COST: Field =
    ("total_cost", |out, view| json::or_null(out, view.run.costs.total.as_deref(), json::string));
pub(super) const COMPLETION_COST: Field =
    ("completion_cost", |out, view| json::or_null(out, view.run.costs.completion.as_deref(), json::string));
pub(super) const PROMPT_COST: Field =
    ("prompt_cost", |out, view| json::or_null(out, view.run.costs.prompt.as_deref(), json::string));
pub(super) const IN_DATASET: Field = ("in_dataset", no);
pub(super) const INPUTS_S3_URLS: Field = ("inputs_s3_urls", |out, view| json::raw(out, view.urls.inputs));
pub(super) const OUTPUTS_S3_URLS: Field = ("outputs_s3_urls", |out, view| json::raw(out, view.urls.outputs));
pub(super) const S3_URLS: Field = ("s3_urls", |out, view| json::raw(out, view.urls.others));
pub(super) const SERIALIZED: Field = ("serialized", |out, view| json::raw(out, view.run.serialized.as_deref()));
pub(super) const SHARE_TOKEN: Field = ("share_token", null);

// As the second API has it (SDK 0.15, `types/run.py`).
pub(super) const STATUS_V2: Field =
    ("status", |out, view| json::string(out, &status(view.run.status).to_ascii_uppercase()));
pub(super) const RUN_TYPE_V2: Field =
    ("run_type", |out, view| json::string(out, &view.run.run_type.to_ascii_uppercase()));
pub(super) const PROJECT_ID: Field = ("project_id", SESSION_ID.1);
pub(super) const START_TIME_V2: Field = ("start_time", |out, view| json::zoned(out, view.run.start_time));
pub(super) const END_TIME_V2: Field = ("end_time", |out, view| json::or_null(out, view.run.end_time, json::zoned));
pub(super) const FIRST_TOKEN_TIME_V2: Field =
    ("first_token_time", |out, view| json::or_null(out, view.run.first_token_time, json::zoned));
pub(super) const LATENCY_SECONDS: Field =
    ("latency_seconds", |out, view| json::or_null(out, latency_seconds(view.run), json::float));
pub(super) const TOTAL_COST_V2: Field = ("total_cost", |out, view| amount(out, view.run.costs.total.as_deref()));
pub(super) const COMPLETION_COST_V2: Field =
    ("completion_cost", |out, view| amount(out, view.run.costs.completion.as_deref()));
pub(super) const PROMPT_COST_V2: Field = ("prompt_cost", |out, view| amount(out, view.run.costs.prompt.as_deref()));
pub(super) const IS_IN_DATASET: Field = ("is_in_dataset", no);
pub(super) const MANIFEST: Field = ("manifest", SERIALIZED.1);
pub(super) const METADATA: Field = ("metadata", |out, view| {
    json::raw(out, view.run.extra.as_deref().and_then(|extra| document::member(extra, "metadata")));
});
/// From a name to where it is fetched.
pub(super) const ATTACHMENTS: Field = ("attachments", |out, view| {
    json::list(out, '{', '}', attachments(view.urls.others), |out, (name, url)| {
        json::string(out, &name);
        out.push(':');
        out.push_str(url);
    });
});

fn null(out: &mut String, _: &View<'_>) {
    json::raw(out, None);
}

fn no(out: &mut String, _: &View<'_>) {
    json::boolean(out, false);
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::Success => "success",
        Status::Error => "error",
    }
}

/// Root first. A child that sent no `dotted_order` has at least those that it names.
fn ancestors(run: &Run) -> impl Iterator<Item = Uuid> {
    let mut placed = layers::ancestors(&run.dotted_order).peekable();
    let named = run.parent.filter(|_| placed.peek().is_none()).map(|parent| {
        let root = Some(run.trace).filter(|root| ![parent, run.id].contains(root));
        root.into_iter().chain([parent])
    });
    placed.chain(named.into_iter().flatten()).map(|id| id.0)
}

/// Never below zero: JavaScript's end has milliseconds and can lie before a start that has microseconds.
fn latency_seconds(run: &Run) -> Option<f64> {
    Some(run.end_time?.duration_since(run.start_time).as_secs_f64().max(0.0))
}

fn amount(out: &mut String, decimal: Option<&str>) {
    json::or_null(out, decimal.and_then(|text| text.parse().ok()), json::float);
}

/// Names, and URLs as JSON strings.
fn attachments(urls: Option<&str>) -> impl Iterator<Item = (String, &str)> {
    let fields = urls.and_then(Fields::of).into_iter().flatten();
    fields.filter_map(|field| {
        let name = field.key.strip_prefix("attachment.")?.to_owned();
        Some((name, document::member(field.value, "presigned_url")?))
    })
}
