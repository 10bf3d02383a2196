//! A run of a document: source text or text of its own, with its fields. Knows nothing of what stands beside runs.

use std::ops::Range;

use super::edit::{self, Known};
use super::error::EditError;
use super::pointer::Pointer;
use super::read::{FIELDS, FIELDS_MAX, RUNS_MAX};
use super::scan::{Item, Items};

/// One run as it stands.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) text: RunText,
    /// What stands between this run and the one before, in the source.
    pub(super) gap: Option<Range<usize>>,
    pub(super) is_dropped: bool,
}

/// Where a run's text is.
#[derive(Clone, Debug)]
pub(super) enum RunText {
    /// In the source; its fields are this part of the document's.
    Source { place: Range<usize>, fields: Range<usize> },
    /// Edited; the fields are those of this text.
    Own { text: String, fields: Vec<Item> },
}

impl Run {
    /// A run that is no source text, of so many fields at most.
    pub(super) fn own(json: &str, fields_max: usize) -> Result<Self, EditError> {
        let text = RunText::Own { text: json.to_owned(), fields: fields_within(json, fields_max)? };
        Ok(Self { text, gap: None, is_dropped: false })
    }

    /// Fields that are kept for this run alone.
    pub(super) fn own_fields(&self) -> usize {
        match &self.text {
            RunText::Source { .. } => 0,
            RunText::Own { fields, .. } => fields.len(),
        }
    }
}

/// The runs of an array that is no source text.
pub(super) fn own_runs(array: &str) -> Result<Vec<Run>, EditError> {
    let (mut runs, mut room) = (Vec::new(), FIELDS_MAX);
    for item in Items::new(array.as_bytes(), 0) {
        if runs.len() == RUNS_MAX {
            return Err(EditError::TooMany { what: "runs", max: RUNS_MAX });
        }
        let run = Run::own(&array[item.value], room)?;
        room -= run.own_fields();
        runs.push(run);
    }
    Ok(runs)
}

/// The fields of a run's text, refused where there are more.
pub(super) fn fields_within(text: &str, max: usize) -> Result<Vec<Item>, EditError> {
    let is_object = text.starts_with('{');
    let fields: Vec<_> = Items::new(text.as_bytes(), 0).take(if is_object { max + 1 } else { 0 }).collect();
    if fields.len() > max { Err(EditError::TooMany { what: FIELDS, max: FIELDS_MAX }) } else { Ok(fields) }
}

/// The edited text of a run without what else carries the field that a pointer leads into; none where nothing else
/// does. Only what the run had before can be such a twin.
pub(super) fn without_twins(run: &Known<'_>, edited: &str, pointer: Pointer<'_>) -> Option<String> {
    let (field, _) = pointer.split_first()?;
    let mut twins = vec![("s3_urls".to_owned(), format!("/s3_urls/{}", field.replace('~', "~0").replace('/', "~1")))];
    if field == "inputs" || field == "outputs" {
        let names = [format!("{field}_preview"), format!("{field}_s3_urls"), "messages".to_owned()];
        twins.extend(names.map(|name| (name.clone(), format!("/{name}"))));
    }
    let mut twinless: Option<String> = None;
    for (_, twin) in twins.iter().filter(|(name, _)| run.has(name)) {
        let text = Known::of(twinless.as_deref().unwrap_or(edited));
        let without = edit::remove(&text, Pointer::ours(twin));
        twinless = without.or(twinless);
    }
    twinless
}
