//! What is too large for a row goes to the object store before the row that names it is written.
//!
//! A blob that no row comes to name, because a crash or a refusal came between, is harmless: it goes by its age.

use futures::{StreamExt, TryStreamExt, stream};

use crate::aside::aside_if_large;
use crate::blobs::{BlobError, BlobField, BlobKey, BlobOrigin, Blobs};
use crate::layers;
use crate::model::Timestamp;
use crate::model::run::{Attachment, RunWrite};
use crate::references::{MoveError, Mover};
use crate::store::runs::NewAttachment;

/// Blobs that one request writes at once: each waits for the disk or the network.
const PUTS_MAX: usize = 8;

/// Moves inputs and outputs above the threshold out of the documents, and files out of the request.
pub(super) struct Large<'a> {
    pub(super) blobs: &'a Blobs,
    pub(super) now: Timestamp,
    /// Bytes of a field that stays in its row.
    pub(super) inline_bytes_max: usize,
}

impl Large<'_> {
    /// The writes as the rows have them. All that they name is durable then.
    pub(super) async fn documents(&self, writes: Vec<RunWrite>) -> Result<Vec<RunWrite>, MoveError> {
        let moved = stream::iter(writes).map(|write| self.document(write)).buffered(PUTS_MAX);
        moved.try_collect().await
    }

    async fn document(&self, write: RunWrite) -> Result<RunWrite, MoveError> {
        // Most documents are smaller than one of their fields may be.
        let has_mark = || memchr::memmem::find(&write.document, b"runhook:blob").is_some();
        if write.document.len() <= self.inline_bytes_max && !has_mark() {
            return Ok(write);
        }
        let mover = Mover { blobs: self.blobs, now: self.now };
        // What looks like a reference was written by a client, and must not be taken for one.
        let inline_bytes_max = self.inline_bytes_max;
        let moves = move |value: &str| value.len() > inline_bytes_max || layers::blob(value).is_some();
        let moved = mover.half(write.id, &write.document, moves).await?;
        let document = moved.unwrap_or(write.document);
        Ok(RunWrite { document, ..write })
    }

    /// The files as rows name them. All of them are durable then.
    pub(super) async fn attachments(&self, files: Vec<Attachment>) -> Result<Vec<NewAttachment>, BlobError> {
        stream::iter(files).map(|file| self.attachment(file)).buffered(PUTS_MAX).try_collect().await
    }

    async fn attachment(&self, file: Attachment) -> Result<NewAttachment, BlobError> {
        let received_at = self.now;
        let (key, file) = aside_if_large(file.bytes.len(), move || (key(&file, received_at), file)).await;
        self.blobs.put(&key, file.bytes).await?;
        Ok(NewAttachment { run: file.run, name: file.name, blob: key.to_string(), media_type: file.media_type })
    }
}

/// Reads all of the file.
fn key(file: &Attachment, received_at: Timestamp) -> BlobKey {
    let Attachment { run, media_type, bytes, .. } = file;
    BlobKey::of(&BlobOrigin { run: *run, received_at, field: BlobField::Attachment, media_type }, bytes)
}
