//! Edits of valid JSON text as splices: only what is replaced is written anew. Of duplicate keys all are edited.

use std::borrow::Cow;
use std::ops::Range;

use super::error::{DocumentError, EditError};
use super::find;
use super::pointer::{Pointer, array_index};
use super::read::fault_in;
use super::scan::{Fault, Item, Items, Scanner};
use super::string::quote;

/// Bytes that one `set` may add at several duplicate keys together: a small value must not multiply without bound.
pub(super) const TWINS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A piece of text and what stands there instead.
#[derive(Debug)]
struct Splice<'a> {
    place: Range<usize>,
    with: Cow<'a, str>,
}

/// What one `set` writes, and where so far.
struct Setting<'a> {
    value: &'a str,
    splices: Vec<Splice<'a>>,
    added: usize,
}

impl<'a> Setting<'a> {
    /// Adds a splice of so many bytes, which is made only where it is within the bound.
    fn add(
        &mut self,
        pointer: Pointer<'_>,
        bytes: usize,
        splice: impl FnOnce(&'a str) -> Splice<'a>,
    ) -> Result<(), EditError> {
        self.added = self.added.saturating_add(bytes);
        if self.added > TWINS_BYTES_MAX && !self.splices.is_empty() {
            return Err(EditError::Twins { pointer: pointer.full() });
        }
        self.splices.push(splice(self.value));
        Ok(())
    }
}

/// A value of valid JSON text whose items are known already, so that an edit need not look for them again.
#[derive(Debug)]
pub(super) struct Known<'a> {
    text: &'a str,
    place: Range<usize>,
    items: Cow<'a, [Item]>,
}

impl<'a> Known<'a> {
    /// Looks for the items of the outermost value.
    pub(super) fn of(text: &'a str) -> Self {
        let place = root(text);
        Self { text, items: Items::new(text.as_bytes(), place.start).collect(), place }
    }

    /// An object and its members.
    pub(super) fn object(text: &'a str, place: Range<usize>, members: &'a [Item]) -> Self {
        Self { text, place, items: Cow::Borrowed(members) }
    }

    /// The value's text.
    pub(super) fn text(&self) -> &'a str {
        &self.text[self.place.clone()]
    }

    /// Whether it has a member of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        find::member(self.text.as_bytes(), &self.items, name).is_some()
    }
}

/// The value's text with what stands at the pointer replaced or added.
pub(super) fn set(known: &Known<'_>, pointer: Pointer<'_>, value: &str) -> Result<String, EditError> {
    if pointer.is_empty() {
        return Ok(value.to_owned());
    }
    let mut setting = Setting { value, splices: Vec::new(), added: 0 };
    set_among(known.text, known.place.clone(), &known.items, pointer, &mut setting)?;
    Ok(apply(known, &setting.splices))
}

/// The value's text without what stands at the pointer; none where nothing does, or where the pointer is empty.
pub(super) fn remove(known: &Known<'_>, pointer: Pointer<'_>) -> Option<String> {
    let mut splices = Vec::new();
    remove_among(known.text, known.place.clone(), &known.items, pointer, &mut splices);
    (!splices.is_empty()).then(|| apply(known, &splices))
}

/// Checks that a value is JSON, and takes the white space around it away.
pub(super) fn value(json: &str) -> Result<&str, EditError> {
    Ok(&json[value_place(json)?])
}

/// Checks that a text is one JSON value; its place.
pub(super) fn value_place(json: &str) -> Result<Range<usize>, DocumentError> {
    let mut scanner = Scanner::new(json.as_bytes(), 0);
    scanner.space();
    let read = |mut scanner: Scanner<'_>| -> Result<Range<usize>, Fault> {
        let place = scanner.value()?;
        scanner.end()?;
        Ok(place)
    };
    read(scanner).map_err(|fault| fault_in(json, fault))
}

/// The place of the outermost value of valid JSON text.
fn root(text: &str) -> Range<usize> {
    let trimmed = text.trim_ascii_start();
    text.len() - trimmed.len()..text.trim_ascii_end().len()
}

fn set_in(text: &str, place: Range<usize>, pointer: Pointer<'_>, setting: &mut Setting<'_>) -> Result<(), EditError> {
    if pointer.is_empty() {
        return setting.add(pointer, setting.value.len(), |value| Splice { place, with: Cow::Borrowed(value) });
    }
    let items: Vec<Item> = Items::new(text.as_bytes(), place.start).collect();
    set_among(text, place, &items, pointer, setting)
}

/// Below a container whose items are known.
fn set_among(
    text: &str,
    place: Range<usize>,
    items: &[Item],
    pointer: Pointer<'_>,
    setting: &mut Setting<'_>,
) -> Result<(), EditError> {
    let Some((token, rest)) = pointer.split_first() else { return Ok(()) };
    let is_last = rest.is_empty();
    match text.as_bytes()[place.start] {
        b'{' => set_member(text, place, items, (pointer, &token, rest), setting),
        b'[' if is_last && token == "-" => {
            setting.add(pointer, setting.value.len(), |value| appended(place, items, value.to_owned()))
        }
        b'[' => match array_index(&token).and_then(|index| items.get(index)) {
            Some(item) => set_in(text, item.value.clone(), rest, setting),
            None => Err(EditError::Index { pointer: pointer.full(), part: pointer.part(), len: items.len() }),
        },
        _ => Err(EditError::Scalar { pointer: pointer.full(), part: pointer.part() }),
    }
}

fn set_member(
    text: &str,
    place: Range<usize>,
    items: &[Item],
    (pointer, token, rest): (Pointer<'_>, &str, Pointer<'_>),
    setting: &mut Setting<'_>,
) -> Result<(), EditError> {
    let mut named = items.iter().filter(|item| find::is_named(text.as_bytes(), item, token)).peekable();
    if named.peek().is_none() && rest.is_empty() {
        let key = quote(token);
        let bytes = key.len() + setting.value.len();
        return setting.add(pointer, bytes, |value| appended(place, items, format!("{key}:{value}")));
    }
    if named.peek().is_none() {
        return Err(EditError::Missing { pointer: pointer.full(), part: rest.part() });
    }
    // One of several twins may be of another shape: what can be set is set, and nothing only where none can.
    let (mut is_done, mut failed) = (false, None);
    for item in named {
        match set_in(text, item.value.clone(), rest, setting) {
            Ok(()) => is_done = true,
            Err(error @ EditError::Twins { .. }) => return Err(error),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.filter(|_| !is_done).map_or(Ok(()), Err)
}

/// What is added behind the last item of a container.
fn appended<'a>(container: Range<usize>, items: &[Item], with: String) -> Splice<'a> {
    match items.last() {
        Some(last) => Splice { place: last.value.end..last.value.end, with: format!(",{with}").into() },
        None => Splice { place: container.start + 1..container.end - 1, with: with.into() },
    }
}

fn remove_in(text: &str, place: Range<usize>, pointer: Pointer<'_>, splices: &mut Vec<Splice<'_>>) {
    let items: Vec<Item> = Items::new(text.as_bytes(), place.start).collect();
    remove_among(text, place, &items, pointer, splices);
}

/// Below a container whose items are known.
fn remove_among(text: &str, place: Range<usize>, items: &[Item], pointer: Pointer<'_>, splices: &mut Vec<Splice<'_>>) {
    let Some((token, rest)) = pointer.split_first() else { return };
    let is_named: Vec<bool> = match text.as_bytes()[place.start] {
        b'{' => items.iter().map(|item| find::is_named(text.as_bytes(), item, &token)).collect(),
        b'[' => {
            let named = array_index(&token);
            (0..items.len()).map(|index| named == Some(index)).collect()
        }
        _ => return,
    };
    if rest.is_empty() {
        cut(items, &is_named, splices);
    } else {
        let named = items.iter().zip(&is_named).filter(|(_, is_named)| **is_named);
        named.for_each(|(item, _)| remove_in(text, item.value.clone(), rest, splices));
    }
}

/// Takes items out of a container with the commas that were theirs.
fn cut(items: &[Item], is_cut: &[bool], splices: &mut Vec<Splice<'_>>) {
    let first_kept = is_cut.iter().position(|is_cut| !is_cut).unwrap_or(items.len());
    for (index, item) in items.iter().enumerate().filter(|(index, _)| is_cut[*index]) {
        let place = if index > first_kept {
            items[index - 1].value.end..item.value.end
        } else {
            item.start()..items.get(index + 1).map_or(item.value.end, Item::start)
        };
        splices.push(Splice { place, with: Cow::Borrowed("") });
    }
}

/// Applies splices, which stand in the order of the text and do not overlap.
fn apply(known: &Known<'_>, splices: &[Splice<'_>]) -> String {
    let added: usize = splices.iter().map(|splice| splice.with.len()).sum();
    let mut edited = String::with_capacity(known.place.len() + added);
    let mut end = known.place.start;
    for splice in splices {
        edited.push_str(&known.text[end..splice.place.start]);
        edited.push_str(&splice.with);
        end = splice.place.end;
    }
    edited.push_str(&known.text[end..known.place.end]);
    edited
}

impl From<DocumentError> for EditError {
    fn from(error: DocumentError) -> Self {
        Self::Value(error)
    }
}
