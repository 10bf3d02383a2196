//! Whole requests: as real SDKs sent them, in other orders, broken, hostile, and made at random.

mod broken;
mod captures;
mod plain_json;
mod property;
mod rules;

use std::convert::Infallible;
use std::sync::Arc;

use async_compression::futures::bufread::{GzipEncoder, ZstdEncoder};
use bytes::Bytes;
use futures::io::AsyncReadExt;
use futures::stream;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Batch, IngestLimits, multipart};
use crate::intake::{BodyLimits, Decompressed, Encoding};
use crate::model::run::RunWrite;

const ID: &str = "01a20a21-7cd8-7000-8000-02556ffdde73";
const OTHER_ID: &str = "01a20a21-7ceb-7000-8000-03795a883c23";
const CONTENT_TYPE: &str = "multipart/form-data; boundary=----LangSmithFormBoundaryx";
const DELIMITER: &str = "------LangSmithFormBoundaryx";

/// A body of parts with the given names and contents, closed.
fn body(parts: &[(&str, &str)]) -> Vec<u8> {
    let parts: String = parts.iter().map(|(name, content)| part(name, content)).collect();
    format!("{parts}{DELIMITER}--\r\n").into_bytes()
}

fn part(name: &str, content: &str) -> String {
    let head = format!("Content-Disposition: form-data; name=\"{name}\"\r\nContent-Type: application/json");
    format!("{DELIMITER}\r\n{head}\r\nContent-Length: {}\r\n\r\n{content}\r\n", content.len())
}

async fn decode(body: &[u8]) -> Batch {
    decode_chunks(CONTENT_TYPE, [body], Encoding::Identity, IngestLimits::default()).await
}

async fn decode_chunks<'a>(
    content_type: &str,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    encoding: Encoding,
    limits: IngestLimits,
) -> Batch {
    let chunks: Vec<_> = chunks.into_iter().map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk))).collect();
    let body_limits = BodyLimits { packed_bytes_max: 8 << 20, bytes_max: 32 << 20 };
    let body = Decompressed::new(stream::iter(chunks), encoding, body_limits, &Arc::new(Semaphore::new(1 << 12)));
    multipart(content_type, body, limits).await.unwrap()
}

async fn pack(bytes: &[u8], encoding: Encoding) -> Vec<u8> {
    let mut packed = Vec::new();
    match encoding {
        Encoding::Identity => packed.extend_from_slice(bytes),
        Encoding::Gzip => _ = GzipEncoder::new(bytes).read_to_end(&mut packed).await.unwrap(),
        Encoding::Zstd => _ = ZstdEncoder::new(bytes).read_to_end(&mut packed).await.unwrap(),
    }
    packed
}

fn json(run: &RunWrite) -> Value {
    serde_json::from_slice(&run.document).unwrap()
}

fn text(run: &RunWrite) -> &str {
    std::str::from_utf8(&run.document).unwrap()
}
