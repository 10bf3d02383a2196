//! Splits a multipart body at its delimiters (RFC 2046, section 5.1.1), chunk by chunk.
//!
//! A delimiter is a line break, two hyphens and the boundary, then spaces and a line break, or two hyphens where it is the
//! last. The same letters followed by anything else are content. Holds one part at a time, and of a part that is too long
//! only its beginning. Knows nothing of header lines.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;

/// Spaces that may follow a boundary; more make it content.
const PADDING_BYTES_MAX: usize = 64;

/// What stands between two delimiters: header lines and content, the line break of the first delimiter before them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Whole(Bytes),
    /// The beginning of what was too long.
    TooLong(Bytes),
}

pub(super) struct Splitter {
    delimiter: Finder<'static>,
    bytes_max: usize,
    beginning_bytes: usize,
    buffer: BytesMut,
    /// So many bytes of the buffer are known to begin no delimiter.
    searched: usize,
    state: State,
}

enum State {
    /// Before the first delimiter.
    Preamble,
    Part,
    /// In a part of which only this beginning is kept.
    Overlong(Bytes),
    /// Behind the last delimiter.
    Closed,
}

/// What follows the letters of a delimiter.
#[derive(Clone, Copy)]
enum Behind {
    /// It is one, with so many bytes of padding.
    Next(usize),
    Close,
    Content,
    /// The bytes that would tell have not come.
    Unknown,
}

impl Splitter {
    /// Splits at a boundary. Pieces that are longer than `bytes_max` are cut to their first `beginning_bytes`.
    pub(super) fn new(boundary: &str, bytes_max: usize, beginning_bytes: usize) -> Self {
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // The first delimiter may open the body, without a line break before it.
        let buffer = BytesMut::from("\r\n");
        Self { delimiter, bytes_max, beginning_bytes, buffer, searched: 0, state: State::Preamble }
    }

    /// Takes the next bytes of the body.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        if !self.is_closed() {
            self.buffer.extend_from_slice(chunk);
        }
    }

    /// Whether the last delimiter was there.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// The next piece that is complete.
    pub(super) fn next_piece(&mut self) -> Option<Piece> {
        while !self.is_closed() {
            let Some((at, behind)) = self.find() else {
                self.shed();
                return None;
            };
            let before = self.take(at, behind);
            let next = if matches!(behind, Behind::Close) { State::Closed } else { State::Part };
            match std::mem::replace(&mut self.state, next) {
                State::Part => return Some(Piece::Whole(before)),
                State::Overlong(beginning) => return Some(Piece::TooLong(beginning)),
                State::Preamble | State::Closed => {}
            }
        }
        self.buffer = BytesMut::new();
        None
    }

    /// The next delimiter, from where the search stopped.
    fn find(&mut self) -> Option<(usize, Behind)> {
        let length = self.delimiter.needle().len();
        while let Some(hit) = self.delimiter.find(self.buffer.get(self.searched..)?) {
            self.searched += hit;
            match behind(self.buffer.get(self.searched + length..)?) {
                Behind::Unknown => return None,
                Behind::Content => self.searched += 1,
                found => return Some((self.searched, found)),
            }
        }
        self.searched = self.searched.max((self.buffer.len() + 1).saturating_sub(length));
        None
    }

    /// Takes what stands before a delimiter, and the delimiter up to its closing line break, which may begin the next.
    fn take(&mut self, at: usize, behind: Behind) -> Bytes {
        let before = self.buffer.split_to(at).freeze();
        let padding = if let Behind::Next(padding) = behind { padding } else { 0 };
        self.buffer.advance(self.delimiter.needle().len() + padding);
        self.searched = 0;
        before
    }

    /// Lets go of what is not to be kept.
    fn shed(&mut self) {
        if matches!(self.state, State::Part) && self.searched > self.bytes_max {
            let beginning = self.buffer.get(..self.beginning_bytes).unwrap_or(&self.buffer);
            self.state = State::Overlong(Bytes::copy_from_slice(beginning));
        }
        if !matches!(self.state, State::Part) {
            self.buffer.advance(self.searched);
            self.searched = 0;
        }
    }
}

fn behind(rest: &[u8]) -> Behind {
    let padding = rest.iter().take(PADDING_BYTES_MAX).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    match (padding, rest.get(padding), rest.get(padding + 1)) {
        (0, Some(b'-'), Some(b'-')) => Behind::Close,
        (0, Some(b'-'), None) => Behind::Unknown,
        (PADDING_BYTES_MAX.., _, _) => Behind::Content,
        (_, Some(b'\r'), Some(b'\n')) => Behind::Next(padding),
        (_, None, _) | (_, Some(b'\r'), None) => Behind::Unknown,
        _ => Behind::Content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a body that comes in chunks of that size, and whether it was closed.
    fn split(body: &str, chunk_bytes: usize, bytes_max: usize) -> (Vec<String>, bool) {
        let mut splitter = Splitter::new("b", bytes_max, 4);
        let mut pieces = Vec::new();
        for chunk in body.as_bytes().chunks(chunk_bytes) {
            splitter.push(chunk);
            while let Some(piece) = splitter.next_piece() {
                let (mark, bytes) = match piece {
                    Piece::Whole(bytes) => ("", bytes),
                    Piece::TooLong(bytes) => ("too long: ", bytes),
                };
                pieces.push(format!("{mark}{}", String::from_utf8_lossy(&bytes)));
            }
        }
        (pieces, splitter.is_closed())
    }

    #[test]
    fn delimiters_are_told_from_content_however_the_chunks_fall() {
        let cases: [(&str, &[&str], bool); 11] = [
            ("--b\r\nA: b\r\n\r\nx\r\n--b--\r\n", &["\r\nA: b\r\n\r\nx"], true),
            ("preamble\r\n--b \t\r\n1\r\n--b\r\n2\r\n--b--epilogue\r\n--b\r\n3\r\n--b", &["\r\n1", "\r\n2"], true),
            ("--b\r\n\r\n--b\r\n--b--", &["\r\n", ""], true),
            ("--b\r\n1\r\n--bb\r\n--b-\r\n--b -- \n--b\r\n--b--", &["\r\n1\r\n--bb\r\n--b-\r\n--b -- \n--b"], true),
            ("--b\r\n\r\r\n\r\r\n--b--", &["\r\n\r\r\n\r"], true),
            ("--b--", &[], true),
            ("", &[], false),
            ("no boundary --b--", &[], false),
            ("--b\r\n1\r\n--b\r\n2", &["\r\n1"], false),
            ("--b\r\n1\r\n--b\r", &[], false),
            ("--b\r\n1\r\n--b-", &[], false),
        ];
        for (body, pieces, is_closed) in cases {
            for chunk_bytes in 1..=body.len().max(1) {
                let expected = (pieces.iter().map(|&piece| piece.to_owned()).collect(), is_closed);
                assert_eq!(split(body, chunk_bytes, 100), expected, "{body:?} in chunks of {chunk_bytes}");
            }
        }
    }

    #[test]
    fn of_a_long_part_only_the_beginning_is_kept() {
        let body = format!("--b\r\n12{}\r\n--b\r\n3\r\n--b--", "x".repeat(1000));
        assert_eq!(split(&body, 7, 20), (vec!["too long: \r\n12".to_owned(), "\r\n3".to_owned()], true));
        let mut splitter = Splitter::new("b", 20, 4);
        for chunk in body.as_bytes().chunks(7) {
            splitter.push(chunk);
            while splitter.next_piece().is_some() {}
            assert!(splitter.buffer.len() < 40);
        }
    }

    #[test]
    fn padding_has_an_end() {
        let body = format!("--b\r\n1\r\n--b{}\r\n--b--", " ".repeat(1000));
        assert_eq!(split(&body, 1, 5000).0.len(), 1);
    }
}
