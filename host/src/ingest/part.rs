//! One part of a multipart body, decoded on its own.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::feedback;
use super::head::{HEAD_BYTES_MAX, Head};
use super::name::{PartName, shortened};
use super::run_fields::{self, Field};
use super::splitter::Piece;
use super::{IngestLimits, RefusedPart, json};
use crate::model::ids::RunId;
use crate::model::run::{Attachment, FeedbackWrite, Layer};

/// What a part brings.
#[derive(Debug)]
pub(super) enum Part {
    Run {
        layer: Layer,
        id: RunId,
        fields: MainFields,
    },
    /// A field of its own; no value where that is null.
    Field {
        layer: Layer,
        id: RunId,
        field: Field,
        json: Option<Bytes>,
    },
    Attachment(Attachment),
    Feedback(FeedbackWrite),
    Refused(RefusedPart),
}

/// The fields of a run's main part.
#[derive(Debug, Default)]
pub(super) struct MainFields {
    /// `"key":value` behind each other, without those that may come apart.
    pub(super) members: Vec<u8>,
    /// Those that may come apart and did not (Python SDKs 0.1 to 0.4: `extra` and `error`).
    pub(super) inlined: Vec<(Field, Bytes)>,
}

/// Longest piece that can be a part within the limits.
pub(super) fn piece_bytes_max(limits: &IngestLimits) -> usize {
    HEAD_BYTES_MAX + limits.json_part_bytes_max.max(limits.attachment_bytes_max)
}

/// Decodes a part, the `number`th of its body.
pub(super) fn read(piece: Piece, number: usize, limits: &IngestLimits) -> Part {
    let (head, content) = match piece {
        Piece::Whole(bytes) => match Head::split(&bytes) {
            Some((head, content)) => (head, Ok(content)),
            None => (Head::parse(beginning(&bytes)), Err("no blank line ends its header lines".to_owned())),
        },
        Piece::TooLong(bytes) => (Head::parse(beginning(&bytes)), Err(too_long(piece_bytes_max(limits)))),
    };
    let part = content.and_then(|content| named(&head, content, limits));
    part.unwrap_or_else(|reason| {
        let name = head.name.as_deref().map_or_else(|| format!("part[{number}]"), shortened);
        Part::Refused(RefusedPart { name, reason })
    })
}

fn beginning(bytes: &Bytes) -> &[u8] {
    bytes.get(..HEAD_BYTES_MAX).unwrap_or(bytes)
}

fn named(head: &Head, content: Bytes, limits: &IngestLimits) -> Result<Part, String> {
    let name = head.name.as_deref().ok_or("it has no name (`Content-Disposition: form-data; name=\"…\"`)")?;
    let name = PartName::parse(name)?;
    if head.is_encoded {
        return Err("it is compressed on its own; compress the whole body".to_owned());
    }
    let is_file = matches!(name, PartName::Attachment { .. });
    let bytes_max = if is_file { limits.attachment_bytes_max } else { limits.json_part_bytes_max };
    if content.len() > bytes_max {
        return Err(too_long(bytes_max));
    }
    match name {
        PartName::Run { layer, id } => Ok(Part::Run { layer, id, fields: main_fields(&content, id)? }),
        PartName::Field { layer, id, field } => {
            Ok(Part::Field { layer, id, field, json: field_json(field, &content)? })
        }
        PartName::Attachment { run, name } => {
            Ok(Part::Attachment(Attachment { run, name, media_type: head.media_type(), bytes: content }))
        }
        PartName::Feedback { id } => Ok(Part::Feedback(feedback::read(&content, Some(id))?)),
    }
}

fn too_long(bytes_max: usize) -> String {
    format!("it is larger than {bytes_max} bytes")
}

fn main_fields(content: &Bytes, id: RunId) -> Result<MainFields, String> {
    let run = run_fields::read(content, Some(id))?;
    let mut fields = MainFields { members: Vec::with_capacity(content.len()), inlined: Vec::new() };
    for entry in &run.entries {
        match Field::named(&entry.key) {
            Some(field) => fields.inlined.push((field, Bytes::copy_from_slice(entry.json.as_bytes()))),
            None => entry.write(&mut fields.members),
        }
    }
    Ok(fields)
}

fn field_json(field: Field, content: &Bytes) -> Result<Option<Bytes>, String> {
    let value: &RawValue = json::value(content, json::LEVELS_MAX - 1)?;
    if json::is_null(value) {
        return Ok(None);
    }
    if field == Field::Error && !json::is_string(value) {
        return Ok(Some(run_fields::error_text(value.get().into()).into_owned().into()));
    }
    Ok(Some(content.slice_ref(value.get().as_bytes())))
}
