//! The regular expressions.

use regex::{NoExpand, Regex, RegexSet};
use runhook_sdk::prelude::*;
use runhook_sdk::serde::de::{Deserializer, Error as _};
use runhook_sdk::strings::{rewrite, rewrite_found};

use crate::ascii::AsciiSearch;

#[derive(Default)]
pub(crate) struct Patterns {
    each: Vec<Regex>,
    /// All at once, asked first: most strings match none. None where they are too large together.
    any: Option<RegexSet>,
    /// Where to look in the JSON as it is written. None where that finds less.
    ascii: Option<AsciiSearch>,
}

impl Patterns {
    pub(crate) fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// The JSON without what they match in its strings; none where they match nothing.
    pub(crate) fn replace(&self, json: &str, replacement: &str) -> Option<String> {
        let edit = |text: &str, _| self.replace_in(text, replacement);
        match &self.ascii {
            Some(ascii) => rewrite_found(json, |text, from| ascii.end_of_next(text, from), edit),
            None => rewrite(json, edit),
        }
    }

    fn replace_in(&self, text: &str, replacement: &str) -> Option<String> {
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
    // Where a text begins or ends is not seen with other text around it.
    let is_anchored = |pattern: &String| {
        regex_syntax::parse(pattern).is_ok_and(|parsed| parsed.properties().look_set().contains_anchor())
    };
    let ascii = if patterns.iter().any(is_anchored) { None } else { AsciiSearch::new(&patterns) };
    Ok(Patterns { each, any: RegexSet::new(&patterns).ok(), ascii })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use runhook_sdk::serde_json::json;

    use super::*;

    const PATTERNS: [&str; 17] = [
        "ab",
        "a+b",
        r"\bab\b",
        r"\Bb",
        "[^a]b",
        "a.*b",
        "(?i)AB",
        "^a",
        "b$",
        "(?m)^b",
        "é",
        r"\d{2,}",
        r"a\nb",
        r"[\w-]+@",
        "x{5}",
        "a ?x{2,6}b",
        "(a|x{7,})b",
    ];

    fn compiled_from(patterns: &[&str]) -> Patterns {
        compiled(&json!(patterns)).expect("patterns")
    }

    /// Something to find in one text or two of many, so that no other find hides that one is missed.
    fn texts() -> impl Strategy<Value = Vec<String>> {
        let filler = prop::collection::vec("[x ]{0,5}", 0..40);
        let texts = prop::collection::vec(
            ("[ab1@ -]{0,4}|a?x{4,8}b?|[abA1@\" \\\\\né{}:,-]{0,6}", any::<prop::sample::Index>()),
            1..3,
        );
        (filler, texts).prop_map(|(mut all, texts)| {
            for (text, at) in texts {
                all.insert(at.index(all.len() + 1), text);
            }
            all
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_found_as_it_is_written_is_what_is_in_the_strings(
            texts in texts(),
            chosen in prop::sample::subsequence(PATTERNS.to_vec(), 1..4),
        ) {
            let json = json!({"runs": texts, "b": {"b": 1}}).to_string();
            let patterns = compiled_from(&chosen);
            let found = patterns.replace(&json, "#");
            let without = Patterns { ascii: None, ..patterns };
            prop_assert_eq!(found, without.replace(&json, "#"));
        }
    }

    #[test]
    fn only_where_a_text_begins_or_ends_is_not_looked_for_as_it_is_written() {
        for pattern in PATTERNS {
            let is_anchored = ["^a", "b$", "(?m)^b"].contains(&pattern);
            assert_eq!(compiled_from(&[pattern]).ascii.is_none(), is_anchored, "{pattern}");
        }
    }

    #[test]
    fn without_a_table_all_is_found() {
        let greek = r"\p{Greek}+".to_owned();
        let many_states = format!("a{}c", "[ab]".repeat(14));
        for (pattern, text) in [(greek, "αβγ"), (many_states, "aaaaaaaaaaaaaaac")] {
            let patterns = compiled_from(&[&pattern]);
            assert!(patterns.ascii.is_none(), "{pattern}");
            assert_eq!(patterns.replace(&json!([text]).to_string(), "#").as_deref(), Some(r##"["#"]"##));
        }
    }
}
