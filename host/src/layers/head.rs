//! What the store keeps in columns: where a run belongs, when it was, whether it has ended.

use crate::document;
use crate::limits;
use crate::model::Timestamp;
use crate::model::ids::{ProjectId, RunId};
use crate::model::project::ProjectRef;

use super::known::RunFields;
use super::{LayerError, dotted_order, text, time, utf8, uuid};

/// Place and time of a run, as far as the halves at hand tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// `trace_id`, else the first id of `dotted_order`. See [`Head::trace_of`].
    pub trace: Option<RunId>,
    /// `parent_run_id`, else the last but one id of `dotted_order`.
    pub parent: Option<RunId>,
    /// The id where there are both.
    pub project: Option<ProjectRef>,
    /// As given.
    pub name: Option<String>,
    /// In lower case.
    pub run_type: Option<String>,
    /// `start_time`, else what `dotted_order` says.
    pub start_time: Option<Timestamp>,
    /// To the microsecond.
    pub end_time: Option<Timestamp>,
    /// It has an end, an error, or a status that says so: it is no longer pending.
    pub has_ended: bool,
}

impl Head {
    /// The trace of the run with an id. A run that names neither trace nor place is the root of its own, or belongs to
    /// its parent's.
    pub fn trace_of(&self, id: RunId) -> RunId {
        self.trace.or(self.parent).unwrap_or(id)
    }

    pub(super) fn of(fields: &RunFields<'_>) -> Self {
        let dotted = fields.dotted_order.and_then(document::text);
        let dotted = dotted.as_deref().unwrap_or_default();
        Self {
            trace: fields.trace_id.and_then(uuid).map(RunId).or_else(|| dotted_order::first(dotted)),
            parent: fields.parent_run_id.and_then(uuid).map(RunId).or_else(|| dotted_order::parent(dotted)),
            project: project(fields),
            name: fields.name.and_then(text),
            run_type: fields.run_type.and_then(text).map(|mut run_type| {
                run_type.make_ascii_lowercase();
                run_type
            }),
            start_time: fields.start_time.and_then(time::time).or_else(|| dotted_order::start_time(dotted)),
            end_time: fields.end_time.and_then(time::time),
            has_ended: has_error(fields) || fields.end_time.is_some() || says(fields, "success"),
        }
    }
}

/// Reads one or both halves.
///
/// # Errors
/// Where one of them is no JSON object.
pub fn head(post: Option<&[u8]>, patch: Option<&[u8]>) -> Result<Head, LayerError> {
    Ok(Head::of(&read(patch)?.or(read(post)?)))
}

fn read(half: Option<&[u8]>) -> Result<RunFields<'_>, LayerError> {
    match half {
        Some(half) => Ok(RunFields::read(utf8(half)?)?),
        None => Ok(RunFields::default()),
    }
}

/// Whether the run failed: an error that is not empty, or a status that says so. No SDK sends a status, but some other
/// clients do; it only counts where it says that the run is over, for a `pending` of the post would outlive the end.
pub(super) fn has_error(fields: &RunFields<'_>) -> bool {
    fields.error.is_some_and(|error| error != "\"\"") || says(fields, "error")
}

fn says(fields: &RunFields<'_>, status: &str) -> bool {
    fields.status.and_then(document::text).is_some_and(|given| given.eq_ignore_ascii_case(status))
}

fn project(fields: &RunFields<'_>) -> Option<ProjectRef> {
    let id = fields.session_id.and_then(uuid).map(|id| ProjectRef::Id(ProjectId(id)));
    id.or_else(|| fields.session_name.and_then(project_name).map(ProjectRef::Name))
}

/// A run is never refused for the name of its project: what is too long is cut, and what is blank is none.
fn project_name(json: &str) -> Option<String> {
    let mut name = text(json).filter(|name| !name.trim().is_empty())?;
    if let Some((end, _)) = name.char_indices().nth(limits::PROJECT_NAME_CHARS_MAX) {
        name.truncate(end);
    }
    Some(name)
}
