//! The regular expressions.

use regex::{NoExpand, Regex, RegexSet};
use runhook_sdk::prelude::*;
use runhook_sdk::serde::de::{Deserializer, Error as _};

#[derive(Default)]
pub(crate) struct Patterns {
    each: Vec<Regex>,
    /// All at once, asked first: most strings match none. None where they are too large together.
    any: Option<RegexSet>,
}

impl Patterns {
    pub(crate) fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// The text without what they match; none where they match nothing.
    pub(crate) fn replace(&self, text: &str, replacement: &str) -> Option<String> {
        if self.any.as_ref().is_some_and(|any| !any.is_match(text)) {
            return None;
        }
        let mut clean = None;
        for pattern in &self.each {
            let current = clean.as_deref().unwrap_or(text);
            if pattern.is_match(current) {
                clean = Some(pattern.replace_all(current, NoExpand(replacement)).into_owned());
            }
        }
        clean
    }
}

pub(crate) fn compiled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Patterns, D::Error> {
    let compile = |pattern: &String| match Regex::new(pattern) {
        Ok(regex) if regex.is_match("") => Err(D::Error::custom(format_args!("`{pattern}` matches the empty text"))),
        other => other.map_err(D::Error::custom),
    };
    let patterns = Vec::<String>::deserialize(deserializer)?;
    let each = patterns.iter().map(compile).collect::<Result<_, _>>()?;
    Ok(Patterns { each, any: RegexSet::new(&patterns).ok() })
}
