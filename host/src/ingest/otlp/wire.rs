//! Protobuf's wire format: the fields of a message, one after the other, borrowed from the body.
//!
//! Read by hand, for a generated decoder cannot bound how many messages it makes of a body: an empty span is two bytes
//! on the wire and hundreds in memory. Knows no message. Source: protobuf.dev, "Encoding".

use super::OtlpError;

/// A field's number and content.
pub(super) type Field<'a> = (u64, Content<'a>);

/// A field's content, by wire type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Content<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Message<'a>),
}

/// The bytes of a message, a string or a byte field, and where they stand in the body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Message<'a> {
    pub(super) bytes: &'a [u8],
    at: usize,
}

impl<'a> Message<'a> {
    /// A whole body.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Its fields in the order of the wire. After an error there are no more.
    pub(super) fn fields(self) -> Fields<'a> {
        Fields { rest: self.bytes, end: self.at + self.bytes.len() }
    }
}

/// Iterates over fields.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    end: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, OtlpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Field<'a>, OtlpError> {
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Content::Varint(self.varint()?),
            1 => Content::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Content::Bytes(self.message()?),
            5 => Content::Fixed32(u32::from_le_bytes(self.array()?)),
            // 3 and 4 are groups, which proto3 does not have.
            _ => return Err(self.fault("there is an unknown wire type")),
        };
        Ok((tag >> 3, content))
    }

    fn varint(&mut self) -> Result<u64, OtlpError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.fault("a number has more than ten bytes"))
    }

    fn message(&mut self) -> Result<Message<'a>, OtlpError> {
        let len = self.varint()?;
        let at = self.at();
        let (bytes, rest) = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len))
            .ok_or_else(|| self.fault("a field is longer than what is left"))?;
        self.rest = rest;
        Ok(Message { bytes, at })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], OtlpError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(|| self.fault("a field is cut off"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn at(&self) -> usize {
        self.end - self.rest.len()
    }

    fn fault(&self, problem: &'static str) -> OtlpError {
        OtlpError::Protobuf { at: self.at(), problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Field<'_>>, OtlpError> {
        Message::new(bytes).fields().collect()
    }

    #[test]
    fn every_wire_type_is_read() {
        let bytes = [0x08, 0xac, 0x02, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, b'h', b'i', 0x25, 7, 0, 0, 0];
        let fields = all(&bytes).unwrap();
        assert_eq!(fields[0], (1, Content::Varint(300)));
        assert_eq!(fields[1], (2, Content::Fixed64(1)));
        assert_eq!(fields[2], (3, Content::Bytes(Message { bytes: b"hi", at: 14 })));
        assert_eq!(fields[3], (4, Content::Fixed32(7)));
    }

    #[test]
    fn what_is_cut_off_is_told_with_its_place() {
        for bytes in [&[0x08][..], &[0x08, 0x80], &[0x11, 1, 2], &[0x1a, 3, 1], &[0x25, 1], &[0x80; 12], &[0x0b]] {
            assert!(matches!(all(bytes), Err(OtlpError::Protobuf { at, .. }) if at <= bytes.len()), "{bytes:?}");
        }
    }

    #[test]
    fn a_length_beyond_every_address_is_no_overflow() {
        let bytes = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0];
        assert!(all(&bytes).unwrap_err().to_string().contains("at byte 11"));
    }
}
