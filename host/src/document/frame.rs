//! The frame: the document without what is between the brackets of `runs`. Knows nothing of a run's text.

use std::ops::Range;

use super::error::DocumentError;
use super::find;
use super::scan::{Item, Items};

/// The document without what is between the brackets of `runs`.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// None: the source itself.
    pub(super) text: Option<String>,
    pub(super) members: Vec<Item>,
    /// The array of runs, brackets included.
    pub(super) runs: Option<Range<usize>>,
    /// Whether `runs` stands twice, so that there are some that nobody reads.
    pub(super) is_doubled: bool,
}

impl Frame {
    /// One with a text of its own.
    pub(super) fn own(text: String) -> Self {
        let frame = Self::of(&text, fields_of(&text));
        Self { text: Some(text), ..frame }
    }

    /// The frame that stands in a text.
    pub(super) fn of(text: &str, members: Vec<Item>) -> Self {
        let runs = runs_array(text.as_bytes(), &members);
        let is_runs = |item: &&Item| find::is_named(text.as_bytes(), item, "runs");
        let is_doubled = runs.is_some() && members.iter().filter(is_runs).count() > 1;
        Self { text: None, members, runs, is_doubled }
    }

    /// Whether a frame of its own text has the shape of a payload.
    pub(super) fn is_payload(&self) -> bool {
        self.text.as_deref().is_some_and(|text| check_shape(text.as_bytes(), &self.members).is_ok())
    }
}

/// The members of an object's text; none where it is something else.
pub(super) fn fields_of(text: &str) -> Vec<Item> {
    let start = text.len() - text.trim_ascii_start().len();
    if text[start..].starts_with('{') { Items::new(text.as_bytes(), start).collect() } else { Vec::new() }
}

fn runs_array(text: &[u8], members: &[Item]) -> Option<Range<usize>> {
    let place = find::member(text, members, "runs")?.value.clone();
    (text[place.start] == b'[').then_some(place)
}

/// Whether members are those of a payload.
pub(super) fn check_shape(text: &[u8], members: &[Item]) -> Result<(), DocumentError> {
    let is_array = |name| find::member(text, members, name).is_some_and(|item| text[item.value.start] == b'[');
    if is_array("runs") || is_array("threads") { Ok(()) } else { Err(DocumentError::Shape) }
}
