//! Inputs and outputs that go to the object store, and the references that take their places in a half of a run.
//!
//! Blobs before rows: what a half names is durable when it is handed back. A blob that no row comes to name, because a
//! crash or a refusal came between, is harmless: it goes by its age. Knows nothing of requests and of the store.

use bytes::Bytes;

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
        moves: impl Fn(&str) -> bool,
    ) -> Result<Option<Bytes>, MoveError> {
        let text = std::str::from_utf8(half).map_err(|_| LayerError::Utf8)?;
        let mut values = Vec::new();
        let moved = layers::with_references(text, |name, value| {
            let field = field(name).filter(|_| moves(value))?;
            let origin = BlobOrigin { run, received_at: self.now, field, media_type: "application/json" };
            let key = BlobKey::of(&origin, value.as_bytes());
            values.push((key.clone(), half.slice_ref(value.as_bytes())));
            Some(key.to_string())
        })?;
        for (key, value) in values {
            self.blobs.put(&key, value).await?;
        }
        Ok(moved.map(Bytes::from))
    }
}

fn field(name: &str) -> Option<BlobField> {
    match name {
        "inputs" => Some(BlobField::Inputs),
        "outputs" => Some(BlobField::Outputs),
        _ => None,
    }
}
