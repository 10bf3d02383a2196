//! JSON text: whether it is valid, how deep it goes, what stands in its strings and arrays. Nothing recurses here.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Levels of a run's document, the run itself the first. A payload puts two around it, and what reads payloads commonly
/// stops at 128.
pub(super) const LEVELS_MAX: usize = 124;

/// The value of a whole JSON text, checked to its last byte.
pub(super) fn value(text: &[u8], levels_max: usize) -> Result<&RawValue, String> {
    let value: &RawValue = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    check_levels(value.get(), levels_max)?;
    Ok(value)
}

/// Refuses valid JSON that is nested too deeply.
pub(super) fn check_levels(json: &str, levels_max: usize) -> Result<(), String> {
    // Counting all brackets is many times faster than following them, and settles most.
    if brackets(json) <= levels_max || levels(json) <= levels_max {
        return Ok(());
    }
    Err(format!("it is nested more than {levels_max} levels deep"))
}

/// How many brackets and braces open anywhere. Counted in bytes, a chunk at a time, which compilers make wide.
fn brackets(json: &str) -> usize {
    // `[` and `{` differ in this bit alone.
    let opens = |byte: &u8| u8::from(byte | 0x20 == b'{');
    let chunks = json.as_bytes().chunks(usize::from(u8::MAX));
    chunks.map(|chunk| usize::from(chunk.iter().map(opens).sum::<u8>())).sum()
}

/// The deepest level of valid JSON; zero without arrays and objects.
fn levels(json: &str) -> usize {
    let (mut rest, mut level, mut deepest) = (json.as_bytes(), 0_usize, 0);
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'[' | b'{' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            b'"' => rest = behind_string(rest),
            _ => {}
        }
    }
    deepest
}

/// What follows a string of which the opening quote is read.
fn behind_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        let is_end = rest.get(at) == Some(&b'"');
        rest = rest.get(at + if is_end { 1 } else { 2 }..).unwrap_or_default();
        if is_end {
            return rest;
        }
    }
    &[]
}

/// Whether a value is null.
pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Whether a value is a string.
pub(super) fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

/// The text of a string; none for other values. Where an escape is half a surrogate pair, the JSON text between the
/// quotes stands for it.
pub(super) fn text(json: &str) -> Option<Cow<'_, str>> {
    let within = json.strip_prefix('"')?.strip_suffix('"')?;
    if !within.contains('\\') {
        return Some(Cow::Borrowed(within));
    }
    Some(serde_json::from_str::<String>(json).map_or(Cow::Borrowed(within), Cow::Owned))
}

/// Calls with each element of an array, until one is refused. The text has to be valid JSON.
pub(super) fn each<'de>(array: &'de str, call: impl FnMut(&'de RawValue) -> Result<(), String>) -> Result<(), String> {
    serde_json::Deserializer::from_str(array).deserialize_seq(Each(call)).map_err(|error| error.to_string())
}

struct Each<F>(F);

impl<'de, F: FnMut(&'de RawValue) -> Result<(), String>> Visitor<'de> for Each<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element()? {
            (self.0)(element).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let cases: [&[u8]; 12] =
            [b"", b" ", b"{", b"{}x", b"{'a':1}", b"[1,]", b"NaN", b"01", b"\"\x01\"", b"\"\xff\"", b"\"\\x\"", b"nul"];
        for text in cases {
            assert!(value(text, 100).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_is_odd_json_is_taken_as_it_is() {
        for text in [r#""\u0000""#, r#""\ud800""#, "1e999999", "123456789012345678901234567890", " {\"a\" : 1}\n"] {
            assert_eq!(value(text.as_bytes(), 100).unwrap().get(), text.trim());
        }
    }

    #[test]
    fn a_million_levels_are_refused_without_recursion() {
        assert!(value(nested(1_000_000).as_bytes(), 100).unwrap_err().contains("100 levels"));
        assert!(value("[".repeat(1_000_000).as_bytes(), 100).is_err());
        assert!(value(nested(100).as_bytes(), 100).is_ok());
        assert!(value(nested(101).as_bytes(), 100).is_err());
    }

    #[test]
    fn brackets_in_strings_and_beside_each_other_are_no_levels() {
        let wide = format!(r#"["\\\"{}", {} []]"#, "[".repeat(500), "[[]],".repeat(500));
        assert_eq!(levels(&wide), 3);
        assert_eq!(brackets(&wide), wide.matches(['[', '{']).count());
        assert!(value(wide.as_bytes(), 3).is_ok());
        assert!(value(wide.as_bytes(), 2).is_err());
    }

    #[test]
    fn texts_are_unescaped_where_that_is_possible() {
        assert_eq!(text(r#""a""#).unwrap(), "a");
        assert_eq!(text(r#""\u0061\n""#).unwrap(), "a\n");
        assert_eq!(text(r#""\ud800""#).unwrap(), "\\ud800");
        assert_eq!(text("1"), None);
    }
}
