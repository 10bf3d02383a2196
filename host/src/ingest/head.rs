//! A part's header lines: what it is called and of what kind it is.
//!
//! Its length (`Content-Length` in Python, `length=` behind the type in JavaScript) is not read: the boundary alone says
//! where a part ends, so a wrong length harms nothing.

use bytes::Bytes;
use memchr::memmem;

use super::parameters::{main_value, parameter};

/// How much of a part may be header lines.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What is kept where a part does not say.
const MEDIA_TYPE_UNKNOWN: &str = "application/octet-stream";

/// A part's head.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The `name` of its content disposition.
    pub(super) name: Option<String>,
    /// Its content type.
    pub(super) content_type: Option<String>,
    /// It is compressed on its own, which the API does not allow.
    pub(super) is_encoded: bool,
}

impl Head {
    /// Takes a part apart: its head and its content. None where no blank line ends the head.
    ///
    /// The part begins with the line break that ends the delimiter before it.
    pub(super) fn split(part: &Bytes) -> Option<(Self, Bytes)> {
        let searched = part.get(..HEAD_BYTES_MAX.min(part.len()))?;
        let end = memmem::find(searched, b"\r\n\r\n")?;
        Some((Self::parse(part.get(..end)?), part.slice(end + 4..)))
    }

    /// Reads header lines; what is no header line is passed over.
    pub(super) fn parse(lines: &[u8]) -> Self {
        let mut head = Self::default();
        for line in String::from_utf8_lossy(lines).lines() {
            if let Some((name, value)) = line.split_once(':') {
                head.put(name.trim(), value.trim());
            }
        }
        head
    }

    fn put(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("content-disposition") {
            self.name = parameter(value, "name").map(Into::into);
        } else if name.eq_ignore_ascii_case("content-type") {
            self.content_type = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("content-encoding") {
            self.is_encoded = !value.eq_ignore_ascii_case("identity");
        }
    }

    /// The media type without JavaScript's `length`.
    pub(super) fn media_type(&self) -> String {
        let Some(content_type) = self.content_type.as_deref().filter(|text| !main_value(text).is_empty()) else {
            return MEDIA_TYPE_UNKNOWN.to_owned();
        };
        let is_length = |parameter: &&str| parameter.trim_start().to_ascii_lowercase().starts_with("length=");
        let kept: Vec<_> = content_type.split(';').filter(|parameter| !is_length(parameter)).map(str::trim).collect();
        kept.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(part: &'static str) -> Option<(Head, Bytes)> {
        Head::split(&Bytes::from_static(part.as_bytes()))
    }

    #[test]
    fn both_length_styles_and_none_are_read() {
        for lines in [
            "Content-Type: image/png\r\nContent-Length: 3",
            "content-type:image/png; length=3",
            "CONTENT-TYPE: image/png",
        ] {
            let part = format!("\r\nContent-Disposition: form-data; name=\"a.b\"\r\n{lines}\r\n\r\n\r\n\r\n");
            let (head, content) = Head::split(&part.into()).unwrap();
            assert_eq!((head.name.as_deref(), head.media_type().as_str()), (Some("a.b"), "image/png"));
            assert_eq!(content, "\r\n\r\n");
        }
    }

    #[test]
    fn other_parameters_of_the_type_stay() {
        let (head, _) = split("\r\nContent-Type: text/plain; Length=3;charset=utf-8\r\n\r\n").unwrap();
        assert_eq!(head.media_type(), "text/plain; charset=utf-8");
        assert_eq!(split("\r\n\r\nx").unwrap().0.media_type(), "application/octet-stream");
    }

    #[test]
    fn garbage_is_passed_over() {
        let (head, content) = split("\r\n\u{0}:\r\n: :\nno header\r\nContent-Encoding: gzip\r\n\r\nx").unwrap();
        assert_eq!((head.name, head.is_encoded, content), (None, true, "x".into()));
        assert_eq!(split(""), None);
        assert_eq!(split("\r\nA: b\r\n"), None);
    }
}
