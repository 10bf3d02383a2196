//! Words as `search` sees them: letters and digits without regard to capitals, two characters or more.

use std::collections::HashSet;

/// Shorter ones are not words.
const WORD_CHARS_MIN: usize = 2;

/// Too common to look for; they are dropped from what is searched.
const STOP_WORDS: &[&str] = &[
    "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of", "on",
    "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
];

/// The words of a search, in lower case; all of them must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words(Box<[String]>);

impl Words {
    /// None where nothing is left to look for.
    pub(super) fn new(search: &str) -> Option<Self> {
        let words: Box<[_]> = lower_words(search).filter(|word| !STOP_WORDS.contains(&word.as_str())).collect();
        (!words.is_empty()).then_some(Self(words))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn are_all_in(&self, text: &str) -> bool {
        self.0.iter().all(|wanted| words(text).any(|word| is_lower(word, wanted)))
    }

    /// Whether each of them is in one of some sets.
    pub(super) fn are_all_known<'s>(&self, sets: impl Iterator<Item = &'s HashSet<String>> + Clone) -> bool {
        self.0.iter().all(|wanted| sets.clone().any(|set| set.contains(wanted)))
    }
}

/// The words of a text, in lower case.
pub(super) fn lower_words(text: &str) -> impl Iterator<Item = String> {
    words(text).map(lower)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|char: char| !char.is_alphanumeric()).filter(|word| word.chars().nth(WORD_CHARS_MIN - 1).is_some())
}

/// Character by character, so that it is the same with and without a copy.
fn lower(word: &str) -> String {
    word.chars().flat_map(char::to_lowercase).collect()
}

fn is_lower(word: &str, wanted: &str) -> bool {
    word.chars().flat_map(char::to_lowercase).eq(wanted.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_must_be_there_in_any_order_and_case() {
        let words = Words::new("Refund the ORDER").unwrap();
        assert!(words.are_all_in("order 17: refund, please"));
        assert!(!words.are_all_in("orders and refunds"));
        assert_eq!(words, Words::new("refund order a").unwrap());
    }

    #[test]
    fn nothing_to_look_for_is_no_search() {
        assert!(Words::new("").is_none() && Words::new("a - the").is_none());
    }
}
