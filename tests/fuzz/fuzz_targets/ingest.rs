//! Any bytes as the body of a tracing client, by the door that the first byte says: no door may panic, and what it takes
//! is what the store expects.

#![no_main]

use bytes::Bytes;
use futures::stream;
use libfuzzer_sys::fuzz_target;
use runhook::ingest::otlp::{self, Encoding};
use runhook::ingest::{self, Batch, IngestLimits};
use runhook::layers;
use runhook::model::run::{Layer, RunWrite};
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().build().expect("a runtime");
}

fuzz_target!(|data: &[u8]| {
    let Some((door, body)) = data.split_first() else { return };
    let taken = match door % 6 {
        0 => multipart(body),
        1 => ingest::batch(body).unwrap_or_default(),
        2 => ingest::single(Layer::Post, None, Bytes::copy_from_slice(body)).unwrap_or_default(),
        3 => feedback(body),
        4 => spans(Encoding::Protobuf, body),
        _ => spans(Encoding::Json, body),
    };
    taken.runs.iter().for_each(check_run);
    for feedback in &taken.feedback {
        check_object(&feedback.document);
    }
});

/// In two chunks and in one: where the body is cut must not matter.
fn multipart(body: &[u8]) -> Batch {
    let read = |chunks: Vec<&[u8]>| {
        let chunks = stream::iter(chunks.into_iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))));
        let body = ingest::multipart("multipart/form-data; boundary=x", chunks, IngestLimits::default());
        RUNTIME.with(|runtime| runtime.block_on(body))
    };
    let whole = read(vec![body]);
    let (head, tail) = body.split_at(body.len() / 2);
    let cut = read(vec![head, tail]);
    match (whole, cut) {
        (Ok(whole), Ok(cut)) => {
            let without_fresh_ids = |batch: &Batch| (batch.runs.clone(), batch.attachments.clone());
            assert_eq!(without_fresh_ids(&whole), without_fresh_ids(&cut));
            whole
        }
        (Err(_), Err(_)) => Batch::default(),
        (whole, cut) => panic!("{whole:?} of the whole, {cut:?} of its halves"),
    }
}

fn feedback(body: &[u8]) -> Batch {
    let feedback = ingest::feedback(Bytes::copy_from_slice(body)).ok();
    Batch { feedback: feedback.into_iter().collect(), ..Batch::default() }
}

fn spans(encoding: Encoding, body: &[u8]) -> Batch {
    let runs = otlp::traces(encoding, body, None).map(|traces| traces.runs).unwrap_or_default();
    Batch { runs, ..Batch::default() }
}

/// A layer can be read, and adding it to itself changes nothing of its sense.
fn check_run(write: &RunWrite) {
    check_object(&write.document);
    let document = Some(&write.document[..]);
    let head = layers::head(document, None).expect("what the door takes is a layer");
    let twice = layers::add(document, &write.document).expect("what the door takes can be added to");
    assert_eq!(head, layers::head(Some(&twice), None).expect("a sum of layers is one"));
    let text = std::str::from_utf8(&write.document).expect("it is JSON").to_owned();
    let project = runhook::model::ids::ProjectId(uuid::Uuid::nil());
    let now = "2026-07-01T09:00:00Z".parse().expect("a time");
    layers::run(write.id, project, now, Some(&text.into()), None).expect("a layer makes a run");
}

fn check_object(document: &[u8]) {
    let text = std::str::from_utf8(document).expect("a stored document is UTF-8");
    let mut fields = runhook::document::Fields::of_object(text).expect("a stored document is an object");
    while let Some(field) = fields.read().expect("to its end") {
        assert_ne!(field.value, "null");
    }
}
