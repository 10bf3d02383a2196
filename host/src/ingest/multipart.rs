//! The multipart body: `POST /runs/multipart`.

use std::pin::pin;

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::gathering::Gathering;
use super::head::HEAD_BYTES_MAX;
use super::name::shortened;
use super::parameters::{main_value, parameter};
use super::part::{self, Part};
use super::splitter::{Piece, Splitter};
use super::{Batch, IngestError, IngestLimits};
use crate::aside::aside_if_large;
use crate::intake::BodyError;

/// Longest boundary (RFC 2046, section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// Decodes a multipart body from its decompressed chunks. How slow they come is the caller's to bound.
///
/// # Errors
/// Where the content type is wrong. All later errors are in [`Batch::broken_off`], beside what was complete before them.
pub async fn multipart<S>(content_type: &str, body: S, limits: IngestLimits) -> Result<Batch, IngestError>
where
    S: Stream<Item = Result<Bytes, BodyError>>,
{
    let splitter = Splitter::new(&boundary(content_type)?, part::piece_bytes_max(&limits), HEAD_BYTES_MAX);
    let mut gathering = Gathering::default();
    let broken_off = gather(body, splitter, limits, &mut gathering).await.err();
    Ok(gathering.finish(broken_off))
}

/// Reads to the body's end, also behind its closing delimiter: the connection is used again only then.
async fn gather<S>(
    body: S,
    mut splitter: Splitter,
    limits: IngestLimits,
    gathering: &mut Gathering,
) -> Result<(), IngestError>
where
    S: Stream<Item = Result<Bytes, BodyError>>,
{
    let (mut body, mut parts) = (pin!(body), 0);
    while let Some(chunk) = body.next().await {
        splitter.push(&chunk?);
        while let Some(piece) = splitter.next_piece() {
            if parts == limits.parts_max {
                return Err(IngestError::TooManyParts(limits.parts_max));
            }
            gathering.put(read(piece, parts, limits).await);
            parts += 1;
        }
    }
    if splitter.is_closed() { Ok(()) } else { Err(IngestError::CutShort { parts }) }
}

async fn read(piece: Piece, number: usize, limits: IngestLimits) -> Part {
    match piece {
        Piece::Whole(bytes) => {
            aside_if_large(bytes.len(), move || part::read(Piece::Whole(bytes), number, &limits)).await
        }
        piece => part::read(piece, number, &limits),
    }
}

pub(super) fn boundary(content_type: &str) -> Result<String, IngestError> {
    if !main_value(content_type).eq_ignore_ascii_case("multipart/form-data") {
        return Err(IngestError::NotMultipart(shortened(content_type)));
    }
    let boundary = parameter(content_type, "boundary").unwrap_or_default();
    if (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()) {
        return Ok(boundary.into_owned());
    }
    Err(IngestError::NoBoundary(shortened(content_type)))
}
