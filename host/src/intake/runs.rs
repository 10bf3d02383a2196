//! ACCEPT of runs: from a tracing client's request to durable runs.
//!
//! What is good in a request is stored, also where another part of it is bad or its end is missing: a client that hears
//! an error may drop all of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use futures::Stream;
use tracing::error;

use crate::aside::aside_if_large;
use crate::clock::after;
use crate::ingest::otlp::{self, RejectedSpan};
use crate::ingest::{self, Batch, IngestError, IngestLimits, RefusedPart};
use crate::intake::large::Large;
use crate::intake::{BodyError, BodyLimits, Decompressed, Encoding, Intake, Refusal, decode};
use crate::layers::{self, LayerError};
use crate::limits;
use crate::model::Timestamp;
use crate::model::ids::{FeedbackId, RunId};
use crate::model::run::{Attachment, FeedbackWrite, Layer, RunWrite};
use crate::references::MoveError;
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
        let left = self.make_runs_durable(runs, feedback, attachments).await?;
        let mut refused = refused;
        refused.extend(left.into_iter().map(too_large));
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
        let spans = aside_if_large(bytes.len(), move || otlp::traces(format, &bytes, project.as_deref())).await?;
        let left = self.make_runs_durable(spans.runs, Vec::new(), Vec::new()).await?;
        let too_large = left.into_iter().map(too_large);
        let rejected = too_large.map(|part| RejectedSpan { span: part.name, reason: part.reason });
        Ok(spans.rejected.into_iter().chain(rejected).collect())
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
    ) -> Result<Vec<RunId>, Refusal> {
        if writes.is_empty() && feedback.is_empty() && files.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let large = Large { blobs: &self.blobs, now, inline_bytes_max: self.bounds.inline_bytes_max };
        let moved = async { Ok((large.documents(writes).await?, large.attachments(files).await?)) };
        let timeout = self.clock.sleep_until(after(now, limits::BLOBS_TIMEOUT));
        let (writes, attachments) = tokio::select! {
            moved = moved => moved.map_err(turned_away::<MoveError>)?,
            () = timeout => return Err(turned_away("the object store takes too long")),
        };
        let bytes = writes.iter().map(|write| write.document.len()).sum();
        let runs =
            aside_if_large(bytes, move || merged(writes)?.into_iter().map(with_head).collect::<Result<Vec<_>, _>>());
        let runs = runs.await.map_err(turned_away)?;
        let mut left = Vec::new();
        for piece in pieces(NewRuns { runs, feedback, attachments }) {
            left.extend(self.store_piece(piece, now).await?);
        }
        Ok(left)
    }

    async fn store_piece(&self, piece: NewRuns, now: Timestamp) -> Result<Vec<RunId>, Refusal> {
        let timeout = self.clock.sleep_until(after(self.clock.now(), limits::ACCEPT_TIMEOUT));
        let stored = tokio::select! {
            stored = self.store.ingest(piece, now) => stored,
            () = timeout => Err(StoreError::Busy),
        };
        stored.map_err(turned_away)
    }
}

fn too_large(run: RunId) -> RefusedPart {
    let reason = format!(
        "with what was sent of it before, the run would be larger than {} bytes without inputs and outputs",
        limits::LAYER_BYTES_MAX
    );
    RefusedPart { name: run.to_string(), reason }
}

/// One write for each layer of a run, however often the request comes back to it.
fn merged(writes: Vec<RunWrite>) -> Result<Vec<RunWrite>, LayerError> {
    let mut merged: Vec<RunWrite> = Vec::with_capacity(writes.len());
    let mut places = HashMap::new();
    for write in writes {
        match places.entry((write.id, write.layer)) {
            Entry::Occupied(place) => {
                let earlier: &mut RunWrite = &mut merged[*place.get()];
                earlier.document = layers::add(Some(&earlier.document), &write.document)?;
            }
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(write);
            }
        }
    }
    Ok(merged)
}

/// A large request in pieces, each durable by itself: a client that hears an error sends all of it again, which changes
/// nothing about what is there.
fn pieces(batch: NewRuns) -> Vec<NewRuns> {
    let mut pieces = vec![NewRuns { attachments: batch.attachments, ..NewRuns::default() }];
    let mut bytes = 0;
    for run in batch.runs {
        bytes += run.write.document.len();
        let is_full = pieces.last().is_none_or(|piece| piece.runs.len() >= limits::RUNS_PER_WRITE_MAX);
        if is_full || bytes > limits::RUNS_PER_WRITE_BYTES_MAX {
            bytes = run.write.document.len();
            pieces.push(NewRuns::default());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.runs.push(run);
        }
    }
    // Last, so that a run is there before what is said about it.
    let feedback = batch.feedback.chunks(limits::RUNS_PER_WRITE_MAX);
    pieces.extend(feedback.map(|feedback| NewRuns { feedback: feedback.to_vec(), ..NewRuns::default() }));
    pieces.retain(|piece| !piece.runs.is_empty() || !piece.feedback.is_empty() || !piece.attachments.is_empty());
    pieces
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
    Ok(aside_if_large(bytes, decode).await?)
}

/// What the store keeps in columns. A document that came through the decoder is a JSON object.
fn with_head(write: RunWrite) -> Result<NewRun, LayerError> {
    let document = Some(&write.document[..]);
    let head = match write.layer {
        Layer::Post => layers::head(document, None),
        Layer::Patch => layers::head(None, document),
    };
    Ok(NewRun { head: head?, write })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(bytes: usize) -> NewRun {
        let document = Bytes::from(vec![b' '; bytes]);
        let write = RunWrite { id: RunId(uuid::Uuid::now_v7()), layer: Layer::Post, document };
        NewRun { head: layers::Head::default(), write }
    }

    #[test]
    fn writes_of_one_layer_become_one() {
        let (id, other) = (RunId(uuid::Uuid::now_v7()), RunId(uuid::Uuid::now_v7()));
        let write =
            |id, layer, text: &'static str| RunWrite { id, layer, document: Bytes::from_static(text.as_bytes()) };
        let merged = merged(vec![
            write(id, Layer::Post, r#"{"a":1}"#),
            write(id, Layer::Patch, r#"{"a":2}"#),
            write(other, Layer::Post, r#"{"a":3}"#),
            write(id, Layer::Post, r#"{"a":4,"b":5}"#),
        ]);
        let texts: Vec<_> =
            merged.unwrap().into_iter().map(|it| String::from_utf8(it.document.to_vec()).unwrap()).collect();
        assert_eq!(texts, [r#"{"a":4,"b":5}"#, r#"{"a":2}"#, r#"{"a":3}"#]);
    }

    #[test]
    fn a_large_request_is_stored_in_pieces_that_lose_nothing() {
        let sizes = [10, limits::RUNS_PER_WRITE_BYTES_MAX, 10, 10];
        let runs: Vec<_> = sizes.into_iter().chain([1; 450]).map(run).collect();
        let (key, document) = ("k".to_owned(), Bytes::from_static(b"{}"));
        let feedback = vec![FeedbackWrite { id: FeedbackId::generate(), run: None, key, document }];
        let pieces = pieces(NewRuns { runs: runs.clone(), feedback, attachments: Vec::new() });
        let counts: Vec<_> = pieces.iter().map(|piece| (piece.runs.len(), piece.feedback.len())).collect();
        assert_eq!(counts, [(1, 0), (1, 0), (200, 0), (200, 0), (52, 0), (0, 1)]);
        let ids = |runs: &[NewRun]| runs.iter().map(|run| run.write.id).collect::<Vec<_>>();
        assert_eq!(pieces.iter().flat_map(|piece| ids(&piece.runs)).collect::<Vec<_>>(), ids(&runs));
        assert!(super::pieces(NewRuns::default()).is_empty());
    }
}
