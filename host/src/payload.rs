//! Runs as JSON: the webhook document of a rule's window in LangSmith's documented shape, and runs for the read API.
//! Pure.
//!
//! What a client sent as JSON (`inputs`, `outputs`, `extra`, …) is spliced in as it stands. The documented sample is the
//! law for keys, their order and their formats (docs.langchain.com/langsmith/webhooks); what runhook adds stands behind.
//! Knows nothing of stores, rules or requests.

mod field;
mod json;
mod link;
mod shape;
mod stats;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use url::Url;
use uuid::Uuid;

use crate::model::Timestamp;
use crate::model::ids::RuleId;
use crate::model::run::{Feedback, Run};

use field::{Field, View};
use stats::{Stats, StatsShape};

/// The execution of a rule that a payload tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The rule.
    pub rule: RuleId,
    /// From when on runs were looked for.
    pub start: Timestamp,
    /// Until when.
    pub end: Timestamp,
    /// From 1: which part of an execution with more runs than one payload holds.
    pub part: u32,
}

/// Whose runs they are and where they are shown.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The workspace.
    pub tenant: Uuid,
    /// Where people reach runhook, a path included where it has one; without a query.
    pub public_url: &'a Url,
}

/// Where fields of a run are fetched that are not inline: JSON texts in the shape of `RunSchema`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Urls<'a> {
    /// `{"ROOT": {"presigned_url": …, "s3_url": …}}`
    pub inputs: Option<&'a str>,
    /// The same.
    pub outputs: Option<&'a str>,
    /// `{"attachment.<name>": {"presigned_url": …, …}, "events": …}`
    pub others: Option<&'a str>,
}

/// A run, what is said about it, and where the rest of it is.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    /// The run.
    pub run: &'a Run,
    /// In the order in which comments are to appear.
    pub feedback: &'a [Feedback],
    /// None by default.
    pub urls: Urls<'a>,
}

/// Room for a run's keys and short values, in bytes.
const RUN_BYTES: usize = 1600;

/// The webhook document of a window and the runs that a rule matched in it, in their order.
///
/// `{"rule_id", "start_time", "end_time", "runs": […], "feedback_stats": {…}}`, then `"part"` from the second part on.
/// `feedback_stats` at the top is over all runs; a run has its own, null where nobody said anything.
pub fn payload(window: &Window, runs: &[Matched<'_>], origin: &Origin<'_>, has_extended_stats: bool) -> Bytes {
    let stats = if has_extended_stats { StatsShape::Extended } else { StatsShape::V1 };
    let mut out = String::with_capacity(RUN_BYTES + runs.iter().map(size).sum::<usize>());
    out.push_str("{\"rule_id\":");
    json::uuid(&mut out, window.rule.0);
    out.push_str(",\"start_time\":");
    json::zoned(&mut out, window.start);
    out.push_str(",\"end_time\":");
    json::zoned(&mut out, window.end);
    out.push_str(",\"runs\":");
    json::list(&mut out, '[', ']', runs, |out, matched| write(out, matched, origin, stats, shape::WEBHOOK.iter()));
    out.push_str(",\"feedback_stats\":");
    Stats::of(runs.iter().flat_map(|matched| matched.feedback)).write(&mut out, stats);
    if window.part > 1 {
        out.push_str(",\"part\":");
        json::integer(&mut out, window.part.into());
    }
    out.push('}');
    out.into()
}

/// A run for `GET /runs/{id}` and `POST /runs/query`: LangSmith's `RunSchema`. Times are naive and mean UTC, costs are
/// decimal strings. With `select` only those fields, and those without which no SDK takes a run; names that mean
/// nothing are passed over.
pub fn run_v1(matched: &Matched<'_>, origin: &Origin<'_>, select: Option<&[String]>) -> String {
    let is_chosen = |name: &str| shape::V1_ALWAYS.contains(&name) || is_selected(select, name);
    selected(matched, origin, StatsShape::V1, shape::V1, is_chosen)
}

/// A run for `POST /api/v2/runs/query`: zoned times, costs as numbers, enums in capitals. `select` takes names in
/// capitals, as that API has them, or in small letters; the id is always there.
pub fn run_v2(matched: &Matched<'_>, origin: &Origin<'_>, select: Option<&[String]>) -> String {
    let is_chosen = |name: &str| name == "id" || is_selected(select, name);
    selected(matched, origin, StatsShape::V2, shape::V2, is_chosen)
}

fn is_selected(select: Option<&[String]>, name: &str) -> bool {
    select.is_none_or(|names| names.iter().any(|chosen| chosen.eq_ignore_ascii_case(name)))
}

fn selected(
    matched: &Matched<'_>,
    origin: &Origin<'_>,
    stats: StatsShape,
    fields: &[Field],
    is_chosen: impl Fn(&str) -> bool,
) -> String {
    let mut out = String::with_capacity(size(matched));
    write(&mut out, matched, origin, stats, fields.iter().filter(|(name, _)| is_chosen(name)));
    out
}

fn write<'f>(
    out: &mut String,
    matched: &Matched<'_>,
    origin: &Origin<'_>,
    shape: StatsShape,
    fields: impl Iterator<Item = &'f Field>,
) {
    let stats = Stats::of(matched.feedback);
    let view = View { run: matched.run, urls: matched.urls, origin, stats: &stats, shape };
    json::list(out, '{', '}', fields, |out, (name, write)| {
        json::key(out, name);
        write(out, &view);
    });
}

/// About how many bytes a run takes.
fn size(matched: &Matched<'_>) -> usize {
    let run = matched.run;
    let values = [&run.inputs, &run.outputs, &run.extra, &run.events, &run.serialized];
    let error = run.error.as_deref().map_or(0, str::len);
    RUN_BYTES + error + values.into_iter().flatten().map(|value| value.len()).sum::<usize>()
}
