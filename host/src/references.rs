//! Inputs and outputs that go to the object store, and the references that take their places in a half of a run.
//!
//! Blobs before rows: what a half names is durable when it is handed back. A blob that no row comes to name, because a
//! crash or a refusal came between, is harmless: it goes by its age. Knows nothing of requests and of the store.

use bytes::Bytes;

use crate::aside::aside_if_large;
use crate::blobs::{BlobError, BlobField, BlobKey, BlobOrigin, Blobs};
use crate::layers::{self, LayerError};
use crate::model::Timestamp;
use crate::model::ids::RunId;

/// Moves values into the object store.
#[derive(Clone, Copy, Debug)]
pub struct Mover<'a> {
    /// Where they go.
    pub blobs: &'a Blobs,
    /// When they go; its day is in their keys, by which blobs are deleted.
    pub now: Timestamp,
}

/// Why nothing of a half was moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The half cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The object store did not take a value.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl Mover<'_> {
    /// The half with references in the places of those inputs and outputs that `moves` says yes to; none where it says
    /// yes to none.
    ///
    /// # Errors
    /// See [`MoveError`].
    pub async fn half(
        &self,
        run: RunId,
        half: &Bytes,
        moves: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Option<Bytes>, MoveError> {
        let (half, now) = (half.clone(), self.now);
        let split = aside_if_large(half.len(), move || split(run, &half, now, moves)).await?;
        for (key, value) in split.values {
            self.blobs.put(&key, value).await?;
        }
        Ok(split.half.map(Bytes::from))
    }
}

/// A half, with what has to be durable before it is stored.
struct Split {
    half: Option<String>,
    values: Vec<(BlobKey, Bytes)>,
}

fn split(run: RunId, half: &Bytes, now: Timestamp, moves: impl Fn(&str) -> bool) -> Result<Split, LayerError> {
    let text = std::str::from_utf8(half).map_err(|_| LayerError::Utf8)?;
    let mut values = Vec::new();
    let moved = layers::with_references(text, |name, value| {
        let field = field(name).filter(|_| moves(value))?;
        let origin = BlobOrigin { run, received_at: now, field, media_type: "application/json" };
        let key = BlobKey::of(&origin, value.as_bytes());
        values.push((key.clone(), half.slice_ref(value.as_bytes())));
        Some(key.to_string())
    })?;
    Ok(Split { half: moved, values })
}

fn field(name: &str) -> Option<BlobField> {
    match name {
        "inputs" => Some(BlobField::Inputs),
        "outputs" => Some(BlobField::Outputs),
        _ => None,
    }
}
