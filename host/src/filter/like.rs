//! SQL's wildcard patterns: `%` is any text, `_` any one character, a backslash takes either literally. Capitals count.
//!
//! The pieces between two `%` are looked for from left to right, each where it is found first. That is enough for patterns
//! of this kind and needs no going back, so the time is linear in the text.

use memchr::memmem;

use crate::filter::PATTERN_CHARS_MAX;

/// A pattern, cut at its `%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// At least one. The first stands at the text's start and the last at its end; either is empty beside a `%`.
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Before a `%` that the pattern starts with, after one that it ends with, between two. Taken by itself, since comparing
    /// with an empty text costs more than with a short one.
    Empty,
    Text(String),
    /// Has a `_`, which is none here.
    Mixed(Box<[Option<char>]>),
}

impl Pattern {
    /// None where it is longer than `PATTERN_CHARS_MAX`.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        if pattern.chars().count() > PATTERN_CHARS_MAX {
            return None;
        }
        let mut pieces = vec![Vec::new()];
        let mut chars = pattern.chars().peekable();
        while let Some(char) = chars.next() {
            let token = match char {
                '%' => {
                    pieces.push(Vec::new());
                    continue;
                }
                '_' => None,
                '\\' => Some(chars.next_if(|next| matches!(next, '%' | '_' | '\\')).unwrap_or('\\')),
                other => Some(other),
            };
            pieces.last_mut()?.push(token);
        }
        Some(Self { pieces: pieces.into_iter().map(Piece::new).collect() })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.ends_of(text).is_some()
    }

    fn ends_of(&self, text: &str) -> Option<()> {
        let (first, rest) = self.pieces.split_first()?;
        let text = first.after_start_of(text)?;
        let Some((last, middle)) = rest.split_last() else { return text.is_empty().then_some(()) };
        let mut text = last.before_end_of(text)?;
        for piece in middle {
            text = piece.after_first_in(text)?;
        }
        Some(())
    }
}

impl Piece {
    fn new(chars: Vec<Option<char>>) -> Self {
        match chars.iter().copied().collect::<Option<String>>() {
            Some(text) if text.is_empty() => Self::Empty,
            Some(text) => Self::Text(text),
            None => Self::Mixed(chars.into()),
        }
    }

    /// What of a text is left after it, if the text starts with it.
    fn after_start_of<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Empty => Some(text),
            Self::Text(piece) => text.strip_prefix(piece.as_str()),
            Self::Mixed(piece) => {
                let mut rest = text.chars();
                let is_there =
                    piece.iter().all(|wanted| rest.next().is_some_and(|char| wanted.is_none_or(|w| w == char)));
                is_there.then_some(rest.as_str())
            }
        }
    }

    /// What of a text is left before it, if the text ends with it.
    fn before_end_of<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Empty => Some(text),
            Self::Text(piece) => text.strip_suffix(piece.as_str()),
            Self::Mixed(piece) => {
                let (at, _) = text.char_indices().rev().nth(piece.len().checked_sub(1)?)?;
                let (before, end) = text.split_at_checked(at)?;
                self.after_start_of(end).map(|_| before)
            }
        }
    }

    /// What of a text is left after the first place where it stands.
    fn after_first_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Empty => Some(text),
            Self::Text(piece) => text.get(memmem::find(text.as_bytes(), piece.as_bytes())? + piece.len()..),
            Self::Mixed(_) => text.char_indices().find_map(|(at, _)| self.after_start_of(text.get(at..)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_like(text: &str, pattern: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn wildcards_stand_for_texts_and_characters() {
        let cases = [
            ("my-agent-2", "%agent%", true),
            ("agent", "%agent%", true),
            ("Agent", "%agent%", false),
            ("agent", "agent", true),
            ("agents", "agent", false),
            ("agents", "agent%", true),
            ("agents", "agent_", true),
            ("agent", "agent_", false),
            ("naïve", "na_ve", true),
            ("aXbXc", "a_b_c", true),
            ("abab", "%ab", true),
            ("aba", "ab%ba", false),
            ("abba", "ab%ba", true),
            ("x1y2z", "%_y_%", true),
            ("", "", true),
            ("", "%", true),
            ("x", "", false),
            ("a\nb", "a%b", true),
        ];
        for (text, pattern, expected) in cases {
            assert_eq!(is_like(text, pattern), expected, "{text} like {pattern}");
        }
    }

    #[test]
    fn a_backslash_takes_wildcards_literally() {
        assert!(is_like("50%", r"50\%") && !is_like("500", r"50\%"));
        assert!(is_like("a_b", r"a\_b") && !is_like("axb", r"a\_b"));
        assert!(is_like(r"a\b", r"a\\b") && is_like(r"a\b", r"a\b"));
    }

    #[test]
    fn hostile_patterns_on_a_long_text_come_to_an_end() {
        let text = "a".repeat(100_000);
        assert!(!is_like(&text, &format!("{}b", "a%".repeat(120))));
        assert!(!is_like(&text, &format!("%{}b%", "a_".repeat(120))));
        assert!(Pattern::new(&"a".repeat(PATTERN_CHARS_MAX + 1)).is_none());
    }

    /// The definition itself, with going back.
    fn is_like_by_definition(text: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|skipped| is_like_by_definition(&text[skipped..], rest)),
            Some(('_', rest)) => !text.is_empty() && is_like_by_definition(&text[1..], rest),
            Some((char, rest)) => text.first() == Some(char) && is_like_by_definition(&text[1..], rest),
        }
    }

    proptest! {
        #[test]
        fn patterns_match_what_the_definition_matches(text in "[abé]{0,8}", pattern in "[abé%_]{0,6}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(is_like(&text, &pattern), is_like_by_definition(&chars(&text), &chars(&pattern)));
        }
    }
}
