//! The payload as text: lazy reads by JSON pointer (RFC 6901), splice edits. Pure.
//!
//! The document stays the bytes that came in. One pass finds the runs and their fields; what nobody reads is never
//! looked at again, what nobody edits is written as it came. Keys are compared unescaped; of duplicate keys a read sees
//! the last, an edit acts on all. Editing or removing a run's `inputs` or `outputs` removes their twins too.
//!
//! Nesting is bounded by the size of the document alone: scanning keeps its own stack. What recurses is the way along a
//! pointer, and a pointer has few tokens.

mod edit;
mod error;
mod fields;
mod find;
mod frame;
mod linked;
mod pointer;
mod read;
mod run;
mod scan;
mod string;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use edit::Known;
pub use error::{DocumentError, EditError};
pub use fields::{Field, Fields, Syntax, elements, member, text};
use frame::{Frame, fields_of};
pub use linked::{FieldLink, LargeField, linked_value, within};
use pointer::{Pointer, array_index};
use read::{Elements, not_utf8, read_members, utf8};
pub use read::{FIELDS_MAX, RUNS_MAX};
use run::{Run, RunText, fields_within, own_runs, without_twins};
use scan::Item;

/// A payload that can be read and edited. Cheap to clone while little is edited.
#[derive(Clone, Debug)]
pub struct Document {
    source: ByteString,
    frame: Frame,
    /// Every run since the last time that all were replaced, so that a key keeps its meaning.
    runs: Vec<Run>,
    /// Key of the first of them; lower ones lead nowhere.
    first_key: usize,
    /// Fields of the runs that are text of their own.
    own_fields: usize,
    /// Fields of the runs that are still source text, one run behind the other.
    fields: Arc<[Item]>,
    /// White space between the array's brackets and its outermost runs, in the source.
    gaps: [Range<usize>; 2],
    is_changed: bool,
}

/// A run of the document; keeps its meaning when other runs are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunKey(pub usize);

/// Whether bytes are a payload: JSON, and an object in which `runs` or `threads` is an array. Keeps nothing.
///
/// # Errors
/// See [`DocumentError`].
pub fn check(bytes: &[u8]) -> Result<(), DocumentError> {
    let text = utf8(bytes)?;
    read_members(text).map(drop)
}

impl Document {
    /// Takes a payload over.
    ///
    /// # Errors
    /// See [`DocumentError`].
    pub fn parse(source: Bytes) -> Result<Self, DocumentError> {
        let source = ByteString::try_from(source.clone()).map_err(|_| not_utf8(&source))?;
        let text: &str = &source;
        let (members, elements) = read_members(text)?;
        let frame = Frame::of(text, members);
        // Where `runs` stands twice, only the elements of the last one are runs.
        let elements = if frame.runs.is_some() { elements } else { Elements::default() };
        let gaps = match (&frame.runs, elements.places.first(), elements.places.last()) {
            (Some(array), Some(first), Some(last)) => [array.start + 1..first.0.start, last.0.end..array.end - 1],
            (Some(array), _, _) => [array.start + 1..array.end - 1, 0..0],
            _ => [0..0, 0..0],
        };
        let mut before: Option<usize> = None;
        let mut runs = Vec::with_capacity(elements.places.len());
        for (place, fields) in elements.places {
            let gap = before.map(|end| end..place.start);
            before = Some(place.end);
            runs.push(Run { text: RunText::Source { place, fields }, gap, is_dropped: false });
        }
        let fields = elements.fields.into();
        Ok(Self { frame, runs, first_key: 0, own_fields: 0, fields, gaps, is_changed: false, source })
    }

    /// Number of runs that are left.
    pub fn len(&self) -> usize {
        self.runs.iter().filter(|run| !run.is_dropped).count()
    }

    /// Whether no run is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the document has an array of runs at all; one of a thread rule has `threads` only.
    pub fn has_runs(&self) -> bool {
        self.frame.runs.is_some()
    }

    /// The run at an index among those that are left.
    pub fn run(&self, index: usize) -> Option<RunKey> {
        self.runs().nth(index)
    }

    /// The runs that are left, in order.
    pub fn runs(&self) -> impl Iterator<Item = RunKey> {
        let keyed = self.runs.iter().enumerate().filter(|(_, run)| !run.is_dropped);
        keyed.map(|(index, _)| RunKey(self.first_key + index))
    }

    /// Takes a run out; false where it was out already.
    pub fn drop_run(&mut self, key: RunKey) -> bool {
        let Some(run) = self.left_mut(key) else { return false };
        run.is_dropped = true;
        self.touch();
        true
    }

    /// The JSON text at a pointer of a run, as it stands there.
    pub fn run_get(&self, key: RunKey, pointer: &str) -> Option<Cow<'_, str>> {
        let (text, place) = self.find_in_run(key, Pointer::parse(pointer)?)?;
        Some(Cow::Borrowed(&text[place]))
    }

    /// The string at a pointer of a run, unescaped.
    pub fn run_text(&self, key: RunKey, pointer: &str) -> Option<String> {
        let (text, place) = self.find_in_run(key, Pointer::parse(pointer)?)?;
        string::unescape(&text[place]).map(Cow::into_owned)
    }

    /// Replaces or adds the value at a pointer of a run, and removes its twins.
    ///
    /// # Errors
    /// See [`EditError`]; nothing is changed then.
    pub fn run_set(&mut self, key: RunKey, pointer: &str, json: &str) -> Result<(), EditError> {
        let value = edit::value(json)?;
        let parsed = Pointer::parse_for_edit(pointer)?;
        let run = self.known_run(key).ok_or(EditError::Dropped)?;
        let edited = edit::set(&run, parsed, value)?;
        let edited = without_twins(&run, &edited, parsed).unwrap_or(edited);
        let fields = fields_within(&edited, FIELDS_MAX.saturating_sub(self.own_fields))?;
        self.put_run(key, edited, fields);
        Ok(())
    }

    /// Removes the value at a pointer of a run, and its twins. False where there was nothing.
    pub fn run_remove(&mut self, key: RunKey, pointer: &str) -> bool {
        let Some(parsed) = Pointer::parse(pointer).filter(|pointer| !pointer.is_empty()) else { return false };
        let Some(run) = self.known_run(key) else { return false };
        let removed = edit::remove(&run, parsed);
        let twinless = without_twins(&run, removed.as_deref().unwrap_or(run.text()), parsed);
        let Some(edited) = twinless.or(removed) else { return false };
        let fields = fields_of(&edited);
        self.put_run(key, edited, fields);
        true
    }

    /// The JSON text at a pointer of the whole payload, edits included.
    pub fn get(&self, pointer: &str) -> Option<Cow<'_, str>> {
        let parsed = Pointer::parse(pointer)?;
        match self.route(parsed)? {
            Route::Whole => Some(self.to_text()),
            Route::Runs => Some(Cow::Owned(self.runs_text())),
            Route::Run(key, _) => self.run_get(key, &pointer[run_prefix(pointer)..]),
            Route::NewRun => None,
            Route::Frame => {
                let (token, rest) = parsed.split_first()?;
                let text = self.frame_text();
                let item = find::member(text.as_bytes(), &self.frame.members, &token)?;
                Some(Cow::Borrowed(&text[find::find(text.as_bytes(), item.value.clone(), rest)?]))
            }
        }
    }

    /// The string at a pointer of the whole payload, unescaped.
    pub fn text(&self, pointer: &str) -> Option<String> {
        string::unescape(&self.get(pointer)?).map(Cow::into_owned)
    }

    /// Replaces or adds the value at a pointer of the whole payload. `""` replaces it all, `/runs` all runs (the keys
    /// of the old ones lead nowhere then), `/runs/-` appends one.
    ///
    /// # Errors
    /// See [`EditError`]; nothing is changed then.
    pub fn set(&mut self, pointer: &str, json: &str) -> Result<(), EditError> {
        let value = edit::value(json)?;
        let parsed = Pointer::parse_for_edit(pointer)?;
        match self.route(parsed) {
            Some(Route::Whole) => self.replace(value),
            Some(Route::Runs) => self.replace_runs(value),
            Some(Route::Run(key, _)) => self.run_set(key, &pointer[run_prefix(pointer)..], value),
            Some(Route::NewRun) => self.add_run(value),
            Some(Route::Frame) => {
                let edited = edit::set(&Known::of(&self.own_frame()), parsed, value)?;
                let frame = Frame::own(edited);
                if !frame.is_payload() {
                    return Err(EditError::Shape);
                }
                self.put_frame(frame);
                Ok(())
            }
            None => Err(EditError::Index { pointer: parsed.full(), part: "/runs".to_owned(), len: self.len() }),
        }
    }

    /// Removes the value at a pointer of the whole payload. False where there was nothing, for `""`, and where no
    /// payload would be left.
    pub fn remove(&mut self, pointer: &str) -> bool {
        let Some(parsed) = Pointer::parse(pointer) else { return false };
        match self.route(parsed) {
            Some(Route::Run(key, true)) => self.drop_run(key),
            Some(Route::Run(key, false)) => self.run_remove(key, &pointer[run_prefix(pointer)..]),
            Some(Route::Runs | Route::Frame) => self.remove_of_frame(parsed),
            Some(Route::Whole | Route::NewRun) | None => false,
        }
    }

    /// Whether all that is left stands as it came in: at most, whole runs were taken out.
    pub fn is_left_as_it_came(&self) -> bool {
        let is_source = |run: &Run| matches!(run.text, RunText::Source { .. });
        self.frame.text.is_none() && self.first_key == 0 && self.left().all(is_source)
    }

    /// The document as it came in.
    pub fn source(&self) -> &[u8] {
        self.source.as_bytes()
    }

    /// Size in bytes as it came in.
    pub fn source_len(&self) -> usize {
        self.source.len()
    }

    /// Size in bytes as it would be written now.
    pub fn len_bytes(&self) -> usize {
        if self.is_changed { self.to_text().len() } else { self.source.len() }
    }

    /// The document as it stands; the very bytes that came in where nothing was changed.
    pub fn to_bytes(&self) -> Bytes {
        match self.to_text() {
            Cow::Borrowed(_) => self.source.as_bytes().clone(),
            Cow::Owned(text) => text.into(),
        }
    }

    fn to_text(&self) -> Cow<'_, str> {
        if !self.is_changed {
            return Cow::Borrowed(&self.source);
        }
        let frame = self.frame_text();
        let Some(array) = &self.frame.runs else { return Cow::Owned(frame.to_owned()) };
        let size: usize = self.left().map(|run| self.text_of(run).len() + 2).sum();
        let mut text = String::with_capacity(frame.len() + size);
        text.push_str(&frame[..array.start]);
        self.write_runs(&mut text);
        text.push_str(&frame[array.end..]);
        Cow::Owned(text)
    }

    fn runs_text(&self) -> String {
        let mut text = String::new();
        self.write_runs(&mut text);
        text
    }

    fn write_runs(&self, text: &mut String) {
        let source: &str = &self.source;
        text.push('[');
        let mut is_first = true;
        for run in self.left() {
            match &run.gap {
                _ if is_first => text.push_str(&source[self.gaps[0].clone()]),
                Some(gap) => text.push_str(&source[gap.clone()]),
                None => text.push(','),
            }
            is_first = false;
            text.push_str(self.text_of(run));
        }
        if !is_first {
            text.push_str(&source[self.gaps[1].clone()]);
        }
        text.push(']');
    }

    fn left(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| !run.is_dropped)
    }

    fn frame_text(&self) -> &str {
        self.frame.text.as_deref().unwrap_or(&self.source)
    }

    fn text_of<'a>(&'a self, run: &'a Run) -> &'a str {
        match &run.text {
            RunText::Source { place, .. } => &self.source[place.clone()],
            RunText::Own { text, .. } => text,
        }
    }

    /// The run of a key; none where it was dropped.
    fn left_at(&self, key: RunKey) -> Option<&Run> {
        self.runs.get(key.0.checked_sub(self.first_key)?).filter(|run| !run.is_dropped)
    }

    /// As [`Self::left_at`], to be changed.
    fn left_mut(&mut self, key: RunKey) -> Option<&mut Run> {
        self.runs.get_mut(key.0.checked_sub(self.first_key)?).filter(|run| !run.is_dropped)
    }

    /// A run, to be edited; none where it was dropped.
    fn known_run(&self, key: RunKey) -> Option<Known<'_>> {
        let run = self.left_at(key)?;
        let (text, place, fields) = self.place_of(run);
        let is_object = text.as_bytes().get(place.start) == Some(&b'{');
        Some(if is_object { Known::object(text, place, fields) } else { Known::of(&text[place]) })
    }

    /// The text that a run stands in, its place there, and its fields.
    fn place_of<'a>(&'a self, run: &'a Run) -> (&'a str, Range<usize>, &'a [Item]) {
        match &run.text {
            RunText::Source { place, fields } => (&self.source, place.clone(), &self.fields[fields.clone()]),
            RunText::Own { text, fields } => (text, 0..text.len(), fields),
        }
    }

    /// The text in which a pointer of a run leads somewhere, and where.
    fn find_in_run(&self, key: RunKey, pointer: Pointer<'_>) -> Option<(&str, Range<usize>)> {
        let run = self.left_at(key)?;
        let (text, whole, fields) = self.place_of(run);
        let is_object = text.as_bytes().get(whole.start) == Some(&b'{');
        let Some((token, rest)) = pointer.split_first().filter(|_| is_object) else {
            return Some((text, find::find(text.as_bytes(), whole, pointer)?));
        };
        let field = find::member(text.as_bytes(), fields, &token)?;
        Some((text, find::find(text.as_bytes(), field.value.clone(), rest)?))
    }

    fn put_run(&mut self, key: RunKey, text: String, fields: Vec<Item>) {
        let Some(run) = self.left_mut(key) else { return };
        let (before, after) = (run.own_fields(), fields.len());
        run.text = RunText::Own { text, fields };
        self.own_fields = self.own_fields - before + after;
        self.touch();
    }

    fn add_run(&mut self, json: &str) -> Result<(), EditError> {
        if self.len() >= RUNS_MAX {
            return Err(EditError::TooMany { what: "runs", max: RUNS_MAX });
        }
        let run = Run::own(json, FIELDS_MAX.saturating_sub(self.own_fields))?;
        self.own_fields += run.own_fields();
        self.runs.push(run);
        self.touch();
        Ok(())
    }

    fn replace_runs(&mut self, json: &str) -> Result<(), EditError> {
        if !json.starts_with('[') {
            return Err(EditError::Runs);
        }
        let runs = own_runs(json)?;
        let emptied = edit::set(&Known::of(&self.own_frame()), Pointer::ours("/runs"), "[]")?;
        self.put_frame(Frame::own(emptied));
        self.put_runs(runs);
        Ok(())
    }

    /// Puts other runs, none of them source text, in the place of all that were.
    fn put_runs(&mut self, runs: Vec<Run>) {
        self.first_key += self.runs.len();
        self.own_fields = runs.iter().map(Run::own_fields).sum();
        self.gaps = [0..0, 0..0];
        self.runs = runs;
    }

    fn replace(&mut self, json: &str) -> Result<(), EditError> {
        let new = Self::parse(Bytes::copy_from_slice(json.as_bytes())).map_err(|error| match error {
            DocumentError::TooMany { what, max, .. } => EditError::TooMany { what, max },
            _ => EditError::Shape,
        })?;
        let runs = own_runs(&new.runs_text())?;
        self.put_frame(Frame::own(new.own_frame()));
        self.put_runs(runs);
        Ok(())
    }

    /// Removes what stands beside the runs, or all of them.
    fn remove_of_frame(&mut self, pointer: Pointer<'_>) -> bool {
        let Some(edited) = edit::remove(&Known::of(&self.own_frame()), pointer) else { return false };
        let frame = Frame::own(edited);
        if !frame.is_payload() {
            return false;
        }
        if frame.runs.is_none() {
            self.put_runs(Vec::new());
        }
        self.put_frame(frame);
        true
    }

    /// The frame as text of its own, with an empty array for the runs.
    fn own_frame(&self) -> String {
        let text = self.frame_text();
        match (&self.frame.text, &self.frame.runs) {
            (None, Some(array)) => [&text[..array.start], "[]", &text[array.end..]].concat(),
            _ => text.to_owned(),
        }
    }

    fn put_frame(&mut self, frame: Frame) {
        self.frame = frame;
        self.is_changed = true;
    }

    /// Something is about to differ from the source. Where `runs` stands twice, the ones that nobody reads go: they
    /// could carry what is being removed.
    fn touch(&mut self) {
        self.is_changed = true;
        if self.frame.is_doubled {
            let without = edit::remove(&Known::of(&self.own_frame()), Pointer::ours("/runs")).unwrap_or_default();
            let emptied = edit::set(&Known::of(&without), Pointer::ours("/runs"), "[]").unwrap_or(without);
            self.put_frame(Frame::own(emptied));
        }
    }

    /// Where a pointer of the payload leads; none for an index of `runs` that is not there.
    fn route(&self, pointer: Pointer<'_>) -> Option<Route> {
        let Some((token, rest)) = pointer.split_first() else { return Some(Route::Whole) };
        if token != "runs" {
            return Some(Route::Frame);
        }
        let Some((index, rest)) = rest.split_first() else { return Some(Route::Runs) };
        if index == "-" && rest.is_empty() {
            return self.has_runs().then_some(Route::NewRun);
        }
        Some(Route::Run(self.run(array_index(&index)?)?, rest.is_empty()))
    }
}

/// Where a pointer of the payload leads.
enum Route {
    Whole,
    Runs,
    /// A run, and whether it is the run itself.
    Run(RunKey, bool),
    /// Behind the last run.
    NewRun,
    /// Anything but runs.
    Frame,
}

/// Length of `/runs/3` in a pointer that begins so.
fn run_prefix(pointer: &str) -> usize {
    pointer.match_indices('/').nth(2).map_or(pointer.len(), |(at, _)| at)
}
