//! JSON pointers (RFC 6901), taken apart token by token without an allocation. Knows nothing of documents.

use std::borrow::Cow;

use super::error::EditError;

/// Tokens of a pointer at most: finding and editing recurse once for each, on a guest's word.
pub(super) const TOKENS_MAX: usize = 64;

/// Bytes of a pointer at most: errors repeat it.
pub(super) const BYTES_MAX: usize = 4096;

/// Bytes of a text that is no pointer which its error repeats.
const ECHOED_BYTES_MAX: usize = 256;

/// What is left of a pointer after some tokens were taken from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointer<'a> {
    full: &'a str,
    at: usize,
}

impl<'a> Pointer<'a> {
    /// None where the text is no pointer, or one beyond the bounds.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let is_rooted = text.is_empty() || text.starts_with('/');
        let is_within = text.len() <= BYTES_MAX && memchr::memchr_iter(b'/', text.as_bytes()).count() <= TOKENS_MAX;
        let is_escaped = || text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        (is_rooted && is_within && is_escaped()).then_some(Self::ours(text))
    }

    /// A pointer that no guest wrote: well-formed, and of few tokens.
    pub(super) fn ours(text: &'a str) -> Self {
        Self { full: text, at: 0 }
    }

    /// As [`Pointer::parse`], for edits.
    pub(super) fn parse_for_edit(text: &'a str) -> Result<Self, EditError> {
        Self::parse(text).ok_or_else(|| {
            let echoed = &text[..text.floor_char_boundary(ECHOED_BYTES_MAX)];
            EditError::Pointer { pointer: echoed.to_owned() }
        })
    }

    /// Whether all tokens were taken.
    pub(super) fn is_empty(self) -> bool {
        self.at == self.full.len()
    }

    /// The next token, unescaped, and the pointer behind it.
    pub(super) fn split_first(self) -> Option<(Cow<'a, str>, Self)> {
        let token = self.full[self.at..].strip_prefix('/')?;
        let len = memchr::memchr(b'/', token.as_bytes()).unwrap_or(token.len());
        Some((unescape(&token[..len]), Self { full: self.full, at: self.at + 1 + len }))
    }

    /// The whole pointer as it was given.
    pub(super) fn full(self) -> String {
        self.full.to_owned()
    }

    /// The part whose tokens were taken.
    pub(super) fn part(self) -> String {
        self.full[..self.at].to_owned()
    }
}

fn unescape(token: &str) -> Cow<'_, str> {
    if token.contains('~') { Cow::Owned(token.replace("~1", "/").replace("~0", "~")) } else { Cow::Borrowed(token) }
}

/// An array's index: digits without leading zeros.
pub(super) fn array_index(token: &str) -> Option<usize> {
    let is_canonical = token == "0" || !token.starts_with('0');
    let is_digits = token.bytes().all(|byte| byte.is_ascii_digit());
    if is_canonical && is_digits { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Option<Vec<String>> {
        let mut pointer = Pointer::parse(text)?;
        let mut tokens = Vec::new();
        while let Some((token, rest)) = pointer.split_first() {
            tokens.push(token.into_owned());
            pointer = rest;
        }
        Some(tokens)
    }

    #[test]
    fn tokens_are_unescaped_in_the_order_of_the_rfc() {
        assert_eq!(tokens("").unwrap(), Vec::<String>::new());
        assert_eq!(tokens("/").unwrap(), [""]);
        assert_eq!(tokens("/a~1b/m~0n/~01//").unwrap(), ["a/b", "m~n", "~1", "", ""]);
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for text in ["a", "a/b", "#/a", "/~", "/~2", "/a~/b"] {
            assert!(Pointer::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_pointer_is_bounded_in_tokens_and_in_bytes() {
        assert_eq!(tokens(&"/a".repeat(TOKENS_MAX)).unwrap().len(), TOKENS_MAX);
        assert!(Pointer::parse(&"/a".repeat(TOKENS_MAX + 1)).is_none());
        assert!(Pointer::parse(&format!("/{}", "a".repeat(BYTES_MAX - 1))).is_some());
        let long = format!("/{}", "ä".repeat(BYTES_MAX));
        let error = Pointer::parse_for_edit(&long).unwrap_err().to_string();
        assert!(error.contains("at most 64 tokens and 4096 bytes") && error.len() < 1024, "{error}");
    }

    #[test]
    fn an_index_has_no_leading_zero_and_no_sign() {
        assert_eq!(array_index("0"), Some(0));
        assert_eq!(array_index("10"), Some(10));
        for token in ["", "00", "01", "-", "-1", "+1", "1e0", " 1", "99999999999999999999999", "١"] {
            assert_eq!(array_index(token), None, "{token}");
        }
    }
}
