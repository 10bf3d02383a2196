//! ACCEPT of runs: from a tracing client's request to durable runs.
//!
//! What is good in a request is stored, also where another part of it is bad or its end is missing: a client that hears
//! an error may drop all of it.

use bytes::Bytes;
use futures::Stream;
use tracing::error;

use crate::blobs::BlobError;
use crate::clock::after;
use crate::ingest::otlp::{self, RejectedSpan};
use crate::ingest::{self, Batch, IngestError, IngestLimits, RefusedPart};
use crate::intake::large::Large;
use crate::intake::{BodyError, BodyLimits, Decompressed, Encoding, Intake, Refusal, decode, in_its_place};
use crate::layers;
use crate::limits;
use crate::model::ids::{FeedbackId, RunId};
use crate::model::run::{Attachment, FeedbackWrite, Layer, RunWrite};
use crate::store::StoreError;
use crate::store::runs::{NewRun, NewRuns};

/// What a body of runs is.
#[derive(Clone, Debug)]
pub enum Content {
    /// `multipart/form-data`, with its content type.
    Multipart(String),
    /// `{"post": […], "patch": […]}`
    Batch,
    /// One run; its id where the path says it.
    Run(Layer, Option<RunId>),
    /// One piece of feedback.
    Feedback,
}

/// What became of a request. What was not refused is durable.
#[derive(Debug)]
pub struct Ingested {
    /// Ids of the feedback in it.
    pub feedback: Vec<FeedbackId>,
    /// Writes of runs, feedback and files that were taken.
    pub taken: usize,
    /// What was not taken, and why.
    pub refused: Vec<RefusedPart>,
    /// Why the rest of the body was not read.
    pub broken_off: Option<IngestError>,
}

const SIZES: BodyLimits =
    BodyLimits { packed_bytes_max: limits::INGEST_PACKED_BYTES_MAX, bytes_max: limits::INGEST_BYTES_MAX };

impl Intake {
    /// Takes runs, feedback and attachments: what comes back without being refused survives power loss.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing is stored then.
    pub async fn ingest<S, E>(&self, content: Content, encoding: Encoding, body: S) -> Result<Ingested, Refusal>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        // Holds its share of the memory until all is stored.
        let mut body = Decompressed::new(body, encoding, SIZES, &self.memory);
        let batch = self.in_time(read(content, &mut body)).await?;
        if let Some(IngestError::Body(BodyError::Busy)) = batch.broken_off {
            return Err(Refusal::Busy);
        }
        let Batch { runs, feedback, attachments, refused, broken_off } = batch;
        let taken = runs.len() + feedback.len() + attachments.len();
        let feedback_ids = feedback.iter().map(|feedback| feedback.id).collect();
        self.make_runs_durable(runs, feedback, attachments).await?;
        Ok(Ingested { feedback: feedback_ids, taken, refused, broken_off })
    }

    /// Takes the spans of an OpenTelemetry exporter; those that cannot be taken come back.
    ///
    /// # Errors
    /// See [`Refusal`]; nothing is stored then.
    pub async fn spans<S, E>(
        &self,
        format: otlp::Encoding,
        project: Option<String>,
        encoding: Encoding,
        body: S,
    ) -> Result<Vec<RejectedSpan>, Refusal>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        let body = self.in_time(async { Ok(decode::read(body, encoding, SIZES, &self.memory).await?) }).await?;
        let bytes = body.bytes.clone();
        let spans = in_its_place(bytes.len(), move || otlp::traces(format, &bytes, project.as_deref())).await?;
        self.make_runs_durable(spans.runs, Vec::new(), Vec::new()).await?;
        Ok(spans.rejected)
    }

    async fn in_time<T>(&self, read: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let timeout = self.clock.sleep_until(after(self.clock.now(), limits::REQUEST_READ_TIMEOUT));
        tokio::select! {
            read = read => read,
            () = timeout => Err(Refusal::TooSlow),
        }
    }

    async fn make_runs_durable(
        &self,
        writes: Vec<RunWrite>,
        feedback: Vec<FeedbackWrite>,
        files: Vec<Attachment>,
    ) -> Result<(), Refusal> {
        if writes.is_empty() && feedback.is_empty() && files.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let large = Large { blobs: &self.blobs, now, inline_bytes_max: self.bounds.inline_bytes_max };
        let moved = async { Ok((large.documents(writes).await?, large.attachments(files).await?)) };
        let (writes, attachments) = moved.await.map_err(turned_away::<BlobError>)?;
        let bytes = writes.iter().map(|write| write.document.len()).sum();
        let runs = in_its_place(bytes, move || writes.into_iter().filter_map(with_head).collect()).await;
        let timeout = self.clock.sleep_until(after(self.clock.now(), limits::ACCEPT_TIMEOUT));
        let stored = tokio::select! {
            stored = self.store.ingest(NewRuns { runs, feedback, attachments }, now) => stored,
            () = timeout => Err(StoreError::Busy),
        };
        stored.map_err(turned_away)
    }
}

/// Our trouble: the client is to send it again.
fn turned_away<E: std::fmt::Display>(error: E) -> Refusal {
    error!(%error, "runs were turned away");
    Refusal::Busy
}

async fn read(content: Content, body: &mut Decompressed<'_>) -> Result<Batch, Refusal> {
    if let Content::Multipart(content_type) = &content {
        return Ok(ingest::multipart(content_type, body, IngestLimits::default()).await?);
    }
    let document = decode::collect(body).await?;
    let bytes = document.len();
    let decode = move || match content {
        Content::Batch | Content::Multipart(_) => ingest::batch(&document),
        Content::Run(layer, id) => ingest::single(layer, id, document),
        Content::Feedback => ingest::feedback(document).map(|it| Batch { feedback: vec![it], ..Batch::default() }),
    };
    Ok(in_its_place(bytes, decode).await?)
}

/// What the store keeps in columns. A document that came through the decoder is a JSON object.
fn with_head(write: RunWrite) -> Option<NewRun> {
    let document = Some(&write.document[..]);
    let head = match write.layer {
        Layer::Post => layers::head(document, None),
        Layer::Patch => layers::head(None, document),
    };
    let head = head.inspect_err(|error| error!(run = %write.id, %error, "a decoded run cannot be read")).ok()?;
    Some(NewRun { write, head })
}
