//! A small multipart form that is in memory already, taken apart. What its parts mean is the caller's.

use bytes::Bytes;

use super::IngestError;
use super::head::{HEAD_BYTES_MAX, Head};
use super::multipart::boundary;
use super::splitter::{Piece, Splitter};

/// A part of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormPart {
    /// The `name` of its content disposition.
    pub name: String,
    /// What follows its header lines.
    pub content: Bytes,
}

/// The parts of a form in order.
///
/// # Errors
/// Where the content type is no multipart form, a part has no name, there are more parts than that, or the body ends
/// without its closing delimiter.
pub fn form(content_type: &str, body: &Bytes, parts_max: usize) -> Result<Vec<FormPart>, IngestError> {
    let mut splitter = Splitter::new(&boundary(content_type)?, body.len(), HEAD_BYTES_MAX);
    let mut parts = Vec::new();
    splitter.push(body);
    while let Some(piece) = splitter.next_piece() {
        if parts.len() == parts_max {
            return Err(IngestError::TooManyParts(parts_max));
        }
        parts.push(part(piece, parts.len())?);
    }
    if splitter.is_closed() { Ok(parts) } else { Err(IngestError::CutShort { parts: parts.len() }) }
}

fn part(piece: Piece, number: usize) -> Result<FormPart, IngestError> {
    let split = match &piece {
        Piece::Whole(bytes) => Head::split(bytes),
        Piece::TooLong(_) => None,
    };
    let wrong = |what| IngestError::Document(format!("part[{number}]: {what}"));
    let (head, content) = split.ok_or_else(|| wrong("no blank line ends its header lines"))?;
    if head.is_encoded {
        return Err(wrong("it is compressed on its own, which is not supported"));
    }
    let name = head.name.ok_or_else(|| wrong("it has no name (`Content-Disposition: form-data; name=\"…\"`)"))?;
    Ok(FormPart { name, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, parts_max: usize) -> Result<Vec<FormPart>, IngestError> {
        form("multipart/form-data; boundary=b", &Bytes::copy_from_slice(body.as_bytes()), parts_max)
    }

    #[test]
    fn parts_come_in_order_whatever_their_heads_say_besides() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Type: application/json\r\n\r\n{}\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"a.inputs\"; filename=\"blob\"\r\n\r\n1\r\n--b--\r\n";
        let parts = read(body, 2).unwrap();
        let seen: Vec<_> = parts.iter().map(|part| (part.name.as_str(), &part.content[..])).collect();
        assert_eq!(seen, [("a", &b"{}"[..]), ("a.inputs", &b"1"[..])]);
        assert_eq!(read(body, 1), Err(IngestError::TooManyParts(1)));
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let empty = Bytes::new();
        assert!(matches!(form("application/json", &empty, 1), Err(IngestError::NotMultipart(_))));
        assert!(matches!(form("multipart/form-data", &empty, 1), Err(IngestError::NoBoundary(_))));
        let head = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n";
        assert_eq!(read(&format!("{head}\r\n{{}}\r\n--b\r\n"), 9), Err(IngestError::CutShort { parts: 1 }));
        for body in [
            "--b\r\n\r\n{}\r\n--b--".to_owned(),
            format!("{head}\r\n--b--"),
            format!("{head}Content-Encoding: gzip\r\n\r\nx\r\n--b--"),
        ] {
            assert!(matches!(read(&body, 9), Err(IngestError::Document(_))), "{body}");
        }
    }
}
