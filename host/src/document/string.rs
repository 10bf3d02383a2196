//! JSON strings: unescaping, quoting, and comparing keys unescaped. The text is known to be valid JSON.

use std::borrow::Cow;

use super::scan::Key;

/// The string's content; none where the text is no string. A surrogate without its other half becomes U+FFFD.
pub(super) fn unescape(json: &str) -> Option<Cow<'_, str>> {
    let content = json.strip_prefix('"')?.strip_suffix('"')?;
    let Some(first) = memchr::memchr(b'\\', content.as_bytes()) else { return Some(Cow::Borrowed(content)) };
    let mut plain = String::with_capacity(content.len());
    let (before, mut rest) = content.split_at(first);
    plain.push_str(before);
    while let Some(escape) = rest.strip_prefix('\\') {
        let (character, len) = escaped_char(escape);
        plain.push(character);
        let after = &escape[len..];
        let next = memchr::memchr(b'\\', after.as_bytes()).unwrap_or(after.len());
        plain.push_str(&after[..next]);
        rest = &after[next..];
    }
    Some(Cow::Owned(plain))
}

/// The character that an escape stands for, and the length of the escape without its backslash.
fn escaped_char(escape: &str) -> (char, usize) {
    match escape.as_bytes().first() {
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'u') => utf16_char(escape),
        Some(&byte) => (char::from(byte), 1),
        None => (char::REPLACEMENT_CHARACTER, 0),
    }
}

/// `uXXXX`, or `uXXXX\uXXXX` where the two are a pair of surrogates.
fn utf16_char(escape: &str) -> (char, usize) {
    let unit = |at: usize| escape.get(at..at + 4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
    let Some(first) = unit(1) else { return (char::REPLACEMENT_CHARACTER, escape.len()) };
    let second = if escape.get(5..7) == Some("\\u") { unit(7) } else { None };
    let pair = char::decode_utf16([first].into_iter().chain(second)).next();
    match pair {
        Some(Ok(character)) => (character, if character.len_utf16() == 2 { 11 } else { 5 }),
        _ => (char::REPLACEMENT_CHARACTER, 5),
    }
}

/// The text as a JSON string.
pub(super) fn quote(plain: &str) -> String {
    serde_json::Value::from(plain).to_string()
}

/// Whether a key of the text, unescaped, is this name.
#[inline]
pub(super) fn key_is(text: &[u8], key: Key, name: &str) -> bool {
    if !key.is_escaped {
        return key.end - key.start == name.len() + 2 && text[key.start + 1..key.end - 1] == *name.as_bytes();
    }
    let key = std::str::from_utf8(&text[key.start..key.end]).ok().and_then(unescape);
    key.is_some_and(|key| key == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_escape_is_resolved() {
        assert_eq!(unescape(r#""plain ü""#).unwrap(), "plain ü");
        assert_eq!(unescape(r#""\"\\\/\b\f\n\r\t\u0041\u00fc x\n""#).unwrap(), "\"\\/\u{8}\u{c}\n\r\tAü x\n");
        assert_eq!(unescape(r#""\ud83d\ude00!""#).unwrap(), "😀!");
        assert_eq!(unescape("12"), None);
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        assert_eq!(unescape(r#""\ud800""#).unwrap(), "\u{fffd}");
        assert_eq!(unescape(r#""\ude00x""#).unwrap(), "\u{fffd}x");
        assert_eq!(unescape(r#""\ud800\u0041""#).unwrap(), "\u{fffd}A");
        assert_eq!(unescape(r#""\ud800\ud83d\ude00""#).unwrap(), "\u{fffd}😀");
        assert_eq!(unescape(r#""\ud800\n""#).unwrap(), "\u{fffd}\n");
    }
}
