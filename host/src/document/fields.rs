//! Objects, arrays and strings as they stand in a JSON text, one level at a time, for what is no payload.
//!
//! Nothing is parsed but what is asked for. Never recurses, so depth is bounded by the text's length alone.

use std::borrow::Cow;

use thiserror::Error;

use super::scan::{Fault, Items, Scanner};
use super::string;

/// Why a text is not one JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{message} at byte {at}")]
pub struct Syntax {
    /// From 0.
    pub at: usize,
    /// What is wrong there.
    pub message: &'static str,
}

impl From<Fault> for Syntax {
    fn from(fault: Fault) -> Self {
        Self { at: fault.at, message: fault.message }
    }
}

/// A member of an object.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    /// Unescaped.
    pub key: Cow<'a, str>,
    /// The value's JSON text.
    pub value: &'a str,
    /// Key, colon and value as they stand in the text.
    pub source: &'a str,
}

/// The members of a JSON object in order. As an iterator it ends at the first fault; [`Fields::read`] tells of it.
pub struct Fields<'a> {
    text: &'a str,
    scanner: Scanner<'a>,
    is_first: bool,
    is_done: bool,
}

impl<'a> Fields<'a> {
    /// None where the text does not begin with an object.
    pub fn of(text: &'a str) -> Option<Self> {
        let mut scanner = Scanner::new(text.as_bytes(), 0);
        scanner.space();
        if scanner.peek() != b'{' {
            return None;
        }
        scanner.open();
        Some(Self { text, scanner, is_first: true, is_done: false })
    }

    /// The members of a text that has to be an object and nothing else.
    ///
    /// # Errors
    /// Where it begins with no object. What comes later is told by [`Fields::read`].
    pub fn of_object(text: &'a str) -> Result<Self, Syntax> {
        Self::of(text).ok_or(Syntax { at: 0, message: "an object is needed" })
    }

    /// The next member; none at the end.
    ///
    /// # Errors
    /// Where the text is not JSON, or something follows the object.
    #[inline]
    pub fn read(&mut self) -> Result<Option<Field<'a>>, Syntax> {
        if self.is_done {
            return Ok(None);
        }
        let is_first = std::mem::replace(&mut self.is_first, false);
        let Some(key) = self.scanner.member(is_first)? else {
            self.is_done = true;
            self.scanner.end()?;
            return Ok(None);
        };
        let value = self.scanner.value()?;
        let quoted = &self.text[key.start..key.end];
        let plain = if key.is_escaped { string::unescape(quoted) } else { None };
        let plain = plain.unwrap_or(Cow::Borrowed(&self.text[key.start + 1..key.end - 1]));
        Ok(Some(Field { key: plain, source: &self.text[key.start..value.end], value: &self.text[value] }))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let read = self.read();
        self.is_done |= read.is_err();
        read.ok().flatten()
    }
}

/// The value of an object's member; none where the text is no object or has no such member.
pub fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    Fields::of(object)?.find(|field| field.key == key).map(|field| field.value)
}

/// The elements of a JSON array in order; none where the text is no array.
pub fn elements(array: &str) -> impl Iterator<Item = &str> {
    let items = array.starts_with('[').then(|| Items::new(array.as_bytes(), 0));
    items.into_iter().flatten().map(|item| &array[item.value])
}

/// A JSON string's content; none where the text is no string. A surrogate without its other half becomes U+FFFD.
pub fn text(json: &str) -> Option<Cow<'_, str>> {
    string::unescape(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_order_with_their_source() {
        let mut fields = Fields::of_object(r#" {"a" : [1, {"b":2}] , "\u0062":"x"} "#).unwrap();
        let first = fields.read().unwrap().unwrap();
        assert_eq!((&*first.key, first.value, first.source), ("a", r#"[1, {"b":2}]"#, r#""a" : [1, {"b":2}]"#));
        let second = fields.read().unwrap().unwrap();
        assert_eq!((&*second.key, second.value, second.source), ("b", r#""x""#, r#""\u0062":"x""#));
        assert!(fields.read().unwrap().is_none());
        assert!(fields.read().unwrap().is_none());
    }

    #[test]
    fn what_is_no_object_is_told() {
        assert!(Fields::of_object("[]").is_err());
        for text in [r#"{"a":1"#, r#"{"a":1}x"#, r#"{"a"}"#, r#"{"a":tru}"#] {
            let mut fields = Fields::of_object(text).unwrap();
            let fault = loop {
                match fields.read() {
                    Ok(Some(_)) => {}
                    other => break other,
                }
            };
            assert!(fault.is_err(), "{text}");
        }
    }

    #[test]
    fn elements_are_those_of_an_array_only() {
        assert_eq!(elements(r#"["a", 1, [2]]"#).collect::<Vec<_>>(), [r#""a""#, "1", "[2]"]);
        assert_eq!(elements(r#"{"a":1}"#).count(), 0);
    }
}
