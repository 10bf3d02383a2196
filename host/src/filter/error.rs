//! What is wrong with a filter, where, and what would be right. Knows nothing of what filters mean.

use std::fmt::Display;

/// How much of a line is shown, in characters.
const SHOWN_CHARS_MAX: usize = 100;
/// How much of it may stand before the place, in characters.
const BEFORE_CHARS_MAX: usize = 60;

/// How much of a word is quoted, in characters.
const WORD_CHARS_MAX: usize = 50;

/// A filter that cannot be used. Shown as three lines: what and where, the line of the filter, a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {})\n{excerpt}", at + 1)]
pub struct FilterError {
    /// Where, in characters from the start of the filter; the first is 0 (and shown as 1).
    pub at: usize,
    /// What is wrong and, after a semicolon, what would be right.
    pub message: String,
    excerpt: String,
}

/// A word of the filter as messages quote it.
pub(super) fn shown(word: &str) -> String {
    let mut chars = word.chars();
    let start: String = chars.by_ref().take(WORD_CHARS_MAX).collect();
    format!("{}{}", start.escape_debug(), cut_mark(chars.next().is_some()))
}

/// A problem before it is set against the text.
#[derive(Debug)]
pub(super) struct Fault {
    /// In bytes from the start.
    at: usize,
    message: String,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    /// Adds what would be right.
    pub(super) fn hint(self, hint: impl Display) -> Self {
        Self { message: format!("{}; {hint}", self.message), ..self }
    }

    /// Sets it against the filter's text.
    pub(super) fn locate(self, source: &str) -> FilterError {
        let before = source.get(..self.at).unwrap_or(source);
        let at = before.chars().count();
        FilterError { at, message: self.message, excerpt: excerpt(source, before) }
    }
}

/// The line that `before` ends in, and a caret under the character that follows.
fn excerpt(source: &str, before: &str) -> String {
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = source.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    let skipped = column.saturating_sub(BEFORE_CHARS_MAX);
    let shown = line.chars().skip(skipped).take(SHOWN_CHARS_MAX).map(|char| if char.is_control() { ' ' } else { char });
    let (open, close) = (cut_mark(skipped > 0), cut_mark(line.chars().count() > skipped + SHOWN_CHARS_MAX));
    let caret = " ".repeat(open.chars().count() + column - skipped);
    format!("  {open}{}{close}\n  {caret}^", shown.collect::<String>())
}

fn cut_mark(is_cut: bool) -> &'static str {
    if is_cut { "…" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lines_show_what_where_and_the_place() {
        let error =
            Fault::new(7, "there is no field `naem`").hint("did you mean `name`?").locate(r#"and(eq(naem, "x"))"#);
        assert_eq!(
            error.to_string(),
            "there is no field `naem`; did you mean `name`? (at character 8)\n  and(eq(naem, \"x\"))\n         ^"
        );
        assert_eq!(error.at, 7);
    }

    #[test]
    fn only_the_line_is_shown_and_places_count_characters() {
        let source = "and(\n\teq(name, 'é'),\n  oops)";
        let at = source.find("oops").unwrap();
        let error = Fault::new(at, "what").locate(source);
        assert_eq!(error.to_string(), "what (at character 24)\n    oops)\n    ^");
        let error = Fault::new(source.find('é').unwrap(), "what").locate(source);
        assert_eq!(error.to_string(), "what (at character 17)\n   eq(name, 'é'),\n             ^");
    }

    #[test]
    fn of_a_long_line_the_surroundings_are_shown() {
        let source = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let shown = Fault::new(500, "what").locate(&source).to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[1].chars().count(), 2 + SHOWN_CHARS_MAX + 2);
        assert_eq!(lines[1].chars().nth(lines[2].chars().count() - 1), Some('X'));
    }

    #[test]
    fn the_end_of_the_filter_is_a_place() {
        assert_eq!(Fault::new(3, "stops").locate("eq(").to_string(), "stops (at character 4)\n  eq(\n     ^");
        assert_eq!(Fault::new(0, "empty").locate("").to_string(), "empty (at character 1)\n  \n  ^");
    }
}
