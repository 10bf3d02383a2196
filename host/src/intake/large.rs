//! What is too large for a row goes to the object store before the row that names it is written.
//!
//! A blob that no row comes to name, because a crash or a refusal came between, is harmless: it goes by its age.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::blobs::{BlobError, BlobField, BlobKey, BlobOrigin, Blobs};
use crate::document::{Field, Fields};
use crate::layers;
use crate::model::Timestamp;
use crate::model::run::{Attachment, RunWrite};
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
    pub(super) async fn documents(&self, writes: Vec<RunWrite>) -> Result<Vec<RunWrite>, BlobError> {
        let moved = stream::iter(writes).map(|write| self.document(write)).buffered(PUTS_MAX);
        moved.try_collect().await
    }

    async fn document(&self, write: RunWrite) -> Result<RunWrite, BlobError> {
        // Most documents are smaller than one of their fields may be.
        let has_mark = || memchr::memmem::find(&write.document, b"runhook:blob").is_some();
        if write.document.len() <= self.inline_bytes_max && !has_mark() {
            return Ok(write);
        }
        let mut fields = Vec::new();
        let mut is_moved = false;
        let text = std::str::from_utf8(&write.document).unwrap_or_default();
        for field in Fields::of(text).into_iter().flatten() {
            let source = self.field(&write, &field).await?;
            is_moved |= source.is_some();
            fields.push(source.unwrap_or_else(|| field.source.to_owned()));
        }
        if !is_moved {
            return Ok(write);
        }
        let document = Bytes::from(format!("{{{}}}", fields.join(",")));
        Ok(RunWrite { document, ..write })
    }

    /// The field with a reference in place of its value; none where it stays as it is.
    async fn field(&self, write: &RunWrite, field: &Field<'_>) -> Result<Option<String>, BlobError> {
        let part = match &*field.key {
            "inputs" => BlobField::Inputs,
            "outputs" => BlobField::Outputs,
            _ => return Ok(None),
        };
        // What looks like a reference was written by a client, and must not be taken for one.
        if field.value.len() <= self.inline_bytes_max && layers::blob(field.value).is_none() {
            return Ok(None);
        }
        let origin = BlobOrigin { run: write.id, received_at: self.now, field: part, media_type: "application/json" };
        let bytes = write.document.slice_ref(field.value.as_bytes());
        let key = BlobKey::of(&origin, &bytes);
        self.blobs.put(&key, bytes).await?;
        Ok(Some(format!(r#""{}":{}"#, field.key, layers::reference(key.as_str(), field.value))))
    }

    /// The files as rows name them. All of them are durable then.
    pub(super) async fn attachments(&self, files: Vec<Attachment>) -> Result<Vec<NewAttachment>, BlobError> {
        stream::iter(files).map(|file| self.attachment(file)).buffered(PUTS_MAX).try_collect().await
    }

    async fn attachment(&self, file: Attachment) -> Result<NewAttachment, BlobError> {
        let (run, received_at) = (file.run, self.now);
        let origin = BlobOrigin { run, received_at, field: BlobField::Attachment, media_type: &file.media_type };
        let key = BlobKey::of(&origin, &file.bytes);
        self.blobs.put(&key, file.bytes).await?;
        Ok(NewAttachment { run, name: file.name, blob: key.as_str().to_owned(), media_type: file.media_type })
    }
}
