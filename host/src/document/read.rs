//! One pass over a payload: its members, its runs and their fields, within bounds. What is wrong is told by its place.

use std::ops::Range;

use super::error::DocumentError;
use super::frame::check_shape;
use super::scan::{Fault, Item, Scanner};
use super::string;

/// Runs of a payload at most. Each costs more than a hundred bytes beside its text, which for tiny runs would be fifty
/// times the payload; a large payload has some hundreds.
pub const RUNS_MAX: usize = 50_000;

/// Fields of all runs and members beside them, together at most: some 40 bytes each, and enough for forty of every run.
pub const FIELDS_MAX: usize = 2_000_000;

/// What [`FIELDS_MAX`] counts, in errors.
pub(super) const FIELDS: &str = "fields of runs and members beside them";

/// The elements of the last `runs`: where each stands and which part of the fields is its.
#[derive(Default)]
pub(super) struct Elements {
    pub(super) places: Vec<(Range<usize>, Range<usize>)>,
    pub(super) fields: Vec<Item>,
}

/// How many runs and fields there are, also beyond what is kept of them.
#[derive(Default)]
struct Counts {
    runs: usize,
    fields: usize,
}

impl Counts {
    /// Counts a run; false where it is beyond the bound.
    fn run(&mut self) -> bool {
        self.runs += 1;
        self.runs <= RUNS_MAX
    }

    /// Counts a field or a member; false where it is beyond the bound.
    fn field(&mut self) -> bool {
        self.fields += 1;
        self.fields <= FIELDS_MAX
    }

    fn check(&self) -> Result<(), DocumentError> {
        let within = |what, count, max| {
            if count > max { Err(DocumentError::TooMany { what, count, max }) } else { Ok(()) }
        };
        within("runs", self.runs, RUNS_MAX)?;
        within(FIELDS, self.fields, FIELDS_MAX)
    }
}

/// A payload's members, and its runs with their fields.
pub(super) fn read_members(text: &str) -> Result<(Vec<Item>, Elements), DocumentError> {
    let mut counts = Counts::default();
    let (members, elements) = scan_members(text, &mut counts).map_err(|fault| fault_in(text, fault))?;
    counts.check()?;
    check_shape(text.as_bytes(), &members)?;
    Ok((members, elements))
}

/// One pass over the document: its members and, on the way, the runs and their fields. A document that is no object has
/// no members. What is beyond the bounds is read and not kept.
fn scan_members(text: &str, counts: &mut Counts) -> Result<(Vec<Item>, Elements), Fault> {
    let mut scanner = Scanner::new(text.as_bytes(), 0);
    let (mut members, mut elements) = (Vec::new(), Elements::default());
    scanner.space();
    if scanner.peek() == b'{' {
        scanner.open();
        let mut is_first = true;
        while let Some(key) = scanner.member(is_first)? {
            is_first = false;
            let start = scanner.at();
            if scanner.peek() == b'[' && string::key_is(text.as_bytes(), key, "runs") {
                elements = scan_runs(&mut scanner, counts)?;
            } else {
                scanner.value()?;
            }
            if counts.field() {
                members.push(Item { key: Some(key), value: start..scanner.at() });
            }
        }
    } else {
        scanner.value()?;
    }
    scanner.end()?;
    Ok((members, elements))
}

fn scan_runs(scanner: &mut Scanner<'_>, counts: &mut Counts) -> Result<Elements, Fault> {
    let mut elements = Elements::default();
    scanner.open();
    let mut is_first = true;
    while scanner.element(is_first)? {
        is_first = false;
        let (start, first_field) = (scanner.at(), elements.fields.len());
        if scanner.peek() == b'{' {
            scan_fields(scanner, &mut elements.fields, counts)?;
        } else {
            scanner.value()?;
        }
        if counts.run() {
            elements.places.push((start..scanner.at(), first_field..elements.fields.len()));
        }
    }
    Ok(elements)
}

fn scan_fields(scanner: &mut Scanner<'_>, fields: &mut Vec<Item>, counts: &mut Counts) -> Result<(), Fault> {
    scanner.open();
    let mut is_first = true;
    while let Some(key) = scanner.member(is_first)? {
        is_first = false;
        let value = scanner.value()?;
        if counts.field() {
            fields.push(Item { key: Some(key), value });
        }
    }
    Ok(())
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, DocumentError> {
    std::str::from_utf8(bytes).map_err(|_| not_utf8(bytes))
}

/// Where bytes stop to be UTF-8.
pub(super) fn not_utf8(bytes: &[u8]) -> DocumentError {
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    fault_in(valid, Fault { at: valid.len(), message: "the text is not UTF-8" })
}

/// Puts a fault into words: line and column, both from 1, the column in characters.
pub(super) fn fault_in(text: &str, fault: Fault) -> DocumentError {
    let before = &text.as_bytes()[..fault.at.min(text.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    DocumentError::Syntax {
        line: memchr::memchr_iter(b'\n', before).count() + 1,
        column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
        message: fault.message,
    }
}
