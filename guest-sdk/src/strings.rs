//! Every string of a JSON text, without parsing the rest of it: for plugins that look for something anywhere.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserializer, Visitor};

/// Whether a string is a key of an object or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A key of an object.
    Key,
    /// A value.
    Value,
}

/// Offers every string of a JSON text, unescaped, and writes the text with the ones that the closure replaced. None
/// where it replaced none. What is not replaced stays byte for byte.
///
/// ```
/// use runhook_sdk::strings::{Place, rewrite};
///
/// let shout = |text: &str, place| (place == Place::Value).then(|| text.to_uppercase());
/// assert_eq!(rewrite(r#"{"a": ["caf\u00e9", 1.50]}"#, shout).as_deref(), Some(r#"{"a": ["CAFÉ", 1.50]}"#));
/// ```
pub fn rewrite(json: &str, edit: impl FnMut(&str, Place) -> Option<String>) -> Option<String> {
    rewrite_each(json, |from| next_string(json, from), edit)
}

/// As [`rewrite`], where little is looked for and rarely there: the closure `end_of_next` looks for it in the JSON as it
/// is written, and only the strings in which something may stand are unescaped and offered. These are the ones in which
/// it finds an end, and the ones with an escape or another character than ASCII, in which it is not asked.
///
/// `end_of_next(text, from)` tells where in `text` the first occurrence ends that begins at `from` or after it. What it
/// looks for has to be found also where other text stands before and after it, as it is by a regular expression without
/// `^` and `$`.
///
/// ```
/// use runhook_sdk::strings::rewrite_found;
///
/// let end_of_next = |text: &str, from| text[from..].find("sk-").map(|at| from + at + "sk-".len());
/// let hide = |text: &str, _| text.contains("sk-").then(|| "#".to_owned());
/// assert_eq!(rewrite_found(r#"["a", "sk-1"]"#, end_of_next, hide).as_deref(), Some(r##"["a", "#"]"##));
/// ```
pub fn rewrite_found(
    json: &str,
    mut end_of_next: impl FnMut(&str, usize) -> Option<usize>,
    edit: impl FnMut(&str, Place) -> Option<String>,
) -> Option<String> {
    let mut plain = 0..0;
    let next = |mut from: usize| loop {
        if plain.end <= from {
            plain = from..from + plain_length(&json.as_bytes()[from..]);
        }
        let end = end_of_next(&json[..plain.end], from);
        let at = end.or((plain.end < json.len()).then_some(plain.end))?;
        let mut token = next_string(json, from)?;
        while token.end <= at {
            token = next_string(json, token.end)?;
        }
        // It ends between strings: no string before this one has it.
        if end.is_some_and(|end| from < token.start && end <= token.start) {
            from = token.start;
            continue;
        }
        return Some(token);
    };
    rewrite_each(json, next, edit)
}

/// Offers the strings that `next` finds, from a place between strings on.
fn rewrite_each(
    json: &str,
    mut next: impl FnMut(usize) -> Option<Range<usize>>,
    mut edit: impl FnMut(&str, Place) -> Option<String>,
) -> Option<String> {
    let mut written: Option<String> = None;
    let (mut copied, mut from) = (0, 0);
    while let Some(token) = next(from) {
        from = token.end;
        let place = if json[token.end..].trim_start().starts_with(':') { Place::Key } else { Place::Value };
        let Some(new) = edit(&unescaped(&json[token.clone()]), place) else { continue };
        let written = written.get_or_insert_with(|| String::with_capacity(json.len() + new.len()));
        written.push_str(&json[copied..token.start]);
        written.push_str(&serde_json::Value::from(new).to_string());
        copied = token.end;
    }
    let mut written = written?;
    written.push_str(&json[copied..]);
    Some(written)
}

/// How long the text reads as it is written: all ASCII, no escapes.
fn plain_length(text: &[u8]) -> usize {
    let is_plain = |byte: &u8| byte.is_ascii() && *byte != b'\\';
    // No early end within a block, so that it is looked at in one go.
    let blocks = text.chunks_exact(64).take_while(|block| block.iter().fold(true, |all, byte| all & is_plain(byte)));
    let length = blocks.count() * 64;
    length + text[length..].iter().take_while(|byte| is_plain(byte)).count()
}

/// The next string with its quotes.
fn next_string(json: &str, from: usize) -> Option<Range<usize>> {
    let start = from + memchr::memchr(b'"', json.as_bytes().get(from..)?)?;
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', json.as_bytes().get(at..)?)?;
        match json.as_bytes()[at] {
            b'"' => return Some(start..at + 1),
            _ => at += 2,
        }
    }
}

/// What a string with its quotes says; half a surrogate pair reads as U+FFFD.
pub(crate) fn unescaped(token: &str) -> Cow<'_, str> {
    let inside = &token[1..token.len() - 1];
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        return Cow::Borrowed(inside);
    }
    let bytes = serde_json::Deserializer::from_str(token).deserialize_bytes(Bytes);
    bytes.map_or(Cow::Borrowed(inside), |bytes| Cow::Owned(without_half_pairs(bytes)))
}

/// Half a surrogate pair comes as three bytes that no UTF-8 has: 0xED, then 0xA0 or more.
fn without_half_pairs(mut bytes: Vec<u8>) -> String {
    for at in 0..bytes.len().saturating_sub(2) {
        if bytes[at] == 0xED && bytes[at + 1] >= 0xA0 {
            bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A string as bytes: the one way to read half a surrogate pair.
struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(bytes.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_offered_unescaped() {
        let mut seen = Vec::new();
        let json = r#"{"k\"ey" : "a\\", "b": ["\u0073k-\ud83d\ude00", "", 1, "half \ud83d."], "c":{}}"#;
        let unchanged = rewrite(json, |text, place| {
            seen.push((text.to_owned(), place));
            None
        });
        assert_eq!(unchanged, None);
        let (keys, values): (Vec<_>, Vec<_>) = seen.into_iter().partition(|(_, place)| *place == Place::Key);
        assert_eq!(keys.into_iter().map(|(text, _)| text).collect::<Vec<_>>(), ["k\"ey", "b", "c"]);
        let values: Vec<_> = values.into_iter().map(|(text, _)| text).collect();
        assert_eq!(values, ["a\\", "sk-😀", "", "half \u{fffd}."]);
    }

    #[test]
    fn what_is_not_replaced_stays_as_written() {
        let json = "{ \"a\" :\"\\u0041\",\n\"b\":1e2 , \"c\":\"x\"}";
        let written = rewrite(json, |text, _| (text == "x").then(|| "\"\n".to_owned()));
        assert_eq!(written.as_deref(), Some("{ \"a\" :\"\\u0041\",\n\"b\":1e2 , \"c\":\"\\\"\\n\"}"));
    }

    #[test]
    fn a_text_cut_short_does_no_harm() {
        for json in ["\"", "\"\\", "{\"a\": \"b", ""] {
            assert_eq!(rewrite(json, |_, _| Some(String::new())).is_some(), json.starts_with('{'), "{json}");
        }
    }
}
