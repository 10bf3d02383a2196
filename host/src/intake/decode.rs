//! A request's body, decompressed as it arrives, within a size and within what all requests together may hold.
//!
//! Knows nothing of what the bytes mean: the relay door reads them whole, the ingest door splits them on the way.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_compression::futures::bufread::{GzipDecoder, ZstdDecoder};
use bytes::Bytes;
use futures::io::AsyncRead;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// In what units memory is counted.
pub(super) const GRAIN_BYTES: usize = 64 * 1024;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// A `content-encoding` that is not spoken here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the content-encoding `{0}` is not supported: use gzip, zstd or none")]
pub struct UnknownEncoding(String);

impl FromStr for Encoding {
    type Err = UnknownEncoding;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(UnknownEncoding(text.to_owned())),
        }
    }
}

/// How large a body may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// As it arrives, where it is compressed. Without it, what decodes to nothing could go on for ever: empty gzip
    /// members, frames that zstd skips.
    pub packed_bytes_max: usize,
    /// Decoded.
    pub bytes_max: usize,
}

/// Why a body could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It broke off, or is not what its encoding says.
    #[error("the body cannot be read: {0}")]
    Unreadable(String),
    /// It is too large as it arrives.
    #[error("the body is larger than {0} bytes before decoding")]
    PackedTooLarge(usize),
    /// It is too large when decoded.
    #[error("the body is larger than {0} bytes after decoding")]
    TooLarge(usize),
    /// Our trouble: all requests together hold too much. To be tried again.
    #[error("too many bytes are held by other requests; send it again")]
    Busy,
}

impl From<io::Error> for BodyError {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(|error| Self::Unreadable(error.to_string()))
    }
}

/// The right to keep bytes in memory; given back when dropped.
#[derive(Debug)]
pub struct Memory {
    budget: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// None yet, of a budget counted in grains.
    fn none_of(budget: Arc<Semaphore>) -> Self {
        Self { budget, held: None }
    }

    /// Takes what is missing for that many bytes in all.
    fn hold(&mut self, bytes: usize) -> Result<(), BodyError> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(GRAIN_BYTES).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| BodyError::Busy)?;
        let permits = self.budget.clone().try_acquire_many_owned(missing).map_err(|_| BodyError::Busy)?;
        match &mut self.held {
            Some(held) => held.merge(permits),
            None => self.held = Some(permits),
        }
        Ok(())
    }
}

/// A body's decoded chunks, the last of which may be an error. Holds memory for all of them until it is dropped.
pub struct Decompressed<'a> {
    source: Source<'a>,
    limits: BodyLimits,
    bytes_before: usize,
    memory: Memory,
    is_ended: bool,
}

enum Source<'a> {
    Plain(BoxStream<'a, io::Result<Bytes>>),
    /// The decoder, and room to decode into.
    Packed(Pin<Box<dyn AsyncRead + Send + 'a>>, Vec<u8>),
}

impl<'a> Decompressed<'a> {
    /// Decodes a body on the way.
    pub fn new<S, E>(body: S, encoding: Encoding, limits: BodyLimits, budget: &Arc<Semaphore>) -> Self
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'a,
        E: std::error::Error + Send + Sync + 'static,
    {
        let body = body.map(|chunk| chunk.map_err(io::Error::other)).boxed();
        let memory = Memory::none_of(budget.clone());
        Self { source: Source::new(body, encoding, limits), limits, bytes_before: 0, memory, is_ended: false }
    }

    /// The memory it holds, for bytes that outlive it.
    pub fn into_memory(self) -> Memory {
        self.memory
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let chunk = match &mut self.source {
            Source::Plain(body) => ready!(body.poll_next_unpin(cx)).transpose()?,
            Source::Packed(decoder, room) => {
                // Memory is taken before it is filled: a small body that unpacks to a huge one stops here.
                self.memory.hold(self.bytes_before + 1)?;
                let read = ready!(decoder.as_mut().poll_read(cx, room))?;
                room.get(..read).filter(|decoded| !decoded.is_empty()).map(Bytes::copy_from_slice)
            }
        };
        self.bytes_before += chunk.as_ref().map_or(0, Bytes::len);
        if self.bytes_before > self.limits.bytes_max {
            return Poll::Ready(Err(BodyError::TooLarge(self.limits.bytes_max)));
        }
        self.memory.hold(self.bytes_before)?;
        Poll::Ready(Ok(chunk))
    }
}

impl<'a> Source<'a> {
    fn new(body: BoxStream<'a, io::Result<Bytes>>, encoding: Encoding, limits: BodyLimits) -> Self {
        let packed = |body| within(body, limits.packed_bytes_max).into_async_read();
        let decoder: Pin<Box<dyn AsyncRead + Send + 'a>> = match encoding {
            Encoding::Identity => return Self::Plain(body),
            Encoding::Gzip => {
                let mut decoder = GzipDecoder::new(packed(body));
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
            Encoding::Zstd => {
                let mut decoder = ZstdDecoder::new(packed(body));
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
        };
        Self::Packed(decoder, vec![0; GRAIN_BYTES])
    }
}

/// Ends with an error where more bytes come.
fn within<'a>(body: BoxStream<'a, io::Result<Bytes>>, bytes_max: usize) -> BoxStream<'a, io::Result<Bytes>> {
    let mut bytes = 0;
    body.map(move |chunk| {
        let chunk = chunk?;
        bytes += chunk.len();
        if bytes > bytes_max { Err(io::Error::other(BodyError::PackedTooLarge(bytes_max))) } else { Ok(chunk) }
    })
    .boxed()
}

impl Stream for Decompressed<'_> {
    type Item = Result<Bytes, BodyError>;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_ended {
            return Poll::Ready(None);
        }
        let chunk = ready!(this.poll_chunk(cx)).transpose();
        this.is_ended = !matches!(chunk, Some(Ok(_)));
        Poll::Ready(chunk)
    }
}

impl fmt::Debug for Decompressed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressed").field("limits", &self.limits).field("bytes_before", &self.bytes_before).finish()
    }
}

/// A body in memory, and the right to keep it there.
#[derive(Debug)]
pub(super) struct Decoded {
    /// The body.
    pub(super) bytes: Bytes,
    _memory: Memory,
}

/// Reads a body to its end.
///
/// # Errors
/// See [`BodyError`].
pub(super) async fn read<S, E>(
    body: S,
    encoding: Encoding,
    limits: BodyLimits,
    budget: &Arc<Semaphore>,
) -> Result<Decoded, BodyError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut body = Decompressed::new(body, encoding, limits, budget);
    let bytes = collect(&mut body).await?;
    Ok(Decoded { bytes, _memory: body.into_memory() })
}

/// All chunks in one; the body goes on holding the memory for them.
pub(super) async fn collect(body: &mut Decompressed<'_>) -> Result<Bytes, BodyError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use async_compression::futures::bufread::{GzipEncoder, ZstdEncoder};
    use futures::io::AsyncReadExt;
    use futures::stream;

    use super::*;

    fn budget(bytes: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(bytes / GRAIN_BYTES))
    }

    async fn read_from(chunks: &[Vec<u8>], encoding: Encoding, max: usize) -> Result<Decoded, BodyError> {
        let chunks = chunks.iter().map(|chunk| Ok::<_, Infallible>(Bytes::from(chunk.clone())));
        let limits = BodyLimits { packed_bytes_max: 2 << 20, bytes_max: max };
        read(stream::iter(chunks.collect::<Vec<_>>()), encoding, limits, &budget(1 << 30)).await
    }

    async fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzipEncoder::new(bytes).read_to_end(&mut packed).await.unwrap();
        packed
    }

    #[tokio::test]
    async fn plain_gzip_and_zstd_say_the_same() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut zstd = Vec::new();
        ZstdEncoder::new(text.as_slice()).read_to_end(&mut zstd).await.unwrap();
        for (packed, encoding) in
            [(text.clone(), Encoding::Identity), (gzip(&text).await, Encoding::Gzip), (zstd, Encoding::Zstd)]
        {
            let mut chunks: Vec<_> = packed.chunks(1000).map(<[u8]>::to_vec).collect();
            chunks.insert(1, Vec::new());
            assert_eq!(read_from(&chunks, encoding, text.len()).await.unwrap().bytes, text);
            let too_large = read_from(&chunks, encoding, text.len() - 1).await.unwrap_err();
            assert_eq!(too_large, BodyError::TooLarge(text.len() - 1));
        }
    }

    #[tokio::test]
    async fn a_bomb_stops_at_the_cap() {
        let bomb = gzip(&vec![0; 64 << 20]).await;
        assert!(bomb.len() < 100_000);
        assert!(matches!(read_from(&[bomb], Encoding::Gzip, 1 << 20).await, Err(BodyError::TooLarge(_))));
    }

    #[tokio::test]
    async fn what_decodes_to_nothing_stops_too() {
        let member = gzip(b"").await;
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
        for (packed, encoding) in [(member.as_slice(), Encoding::Gzip), (&skipped, Encoding::Zstd)] {
            let chunks = vec![packed.repeat(1000); 1000];
            let error = read_from(&chunks, encoding, 1 << 20).await.unwrap_err();
            assert_eq!(error, BodyError::PackedTooLarge(2 << 20), "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn a_cut_or_false_encoding_is_told() {
        let mut cut = gzip(&[7; 10_000]).await;
        cut.truncate(cut.len() - 5);
        for chunk in [cut, b"{}".to_vec()] {
            assert!(matches!(read_from(&[chunk], Encoding::Gzip, 1 << 20).await, Err(BodyError::Unreadable(_))));
        }
    }

    #[tokio::test]
    async fn what_comes_before_a_cut_is_handed_out() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut packed = gzip(&text).await;
        packed.truncate(packed.len() - 5);
        let limits = BodyLimits { packed_bytes_max: 2 << 20, bytes_max: 2 << 20 };
        let body = stream::iter([Ok::<_, Infallible>(Bytes::from(packed))]);
        let mut body = Decompressed::new(body, Encoding::Gzip, limits, &budget(1 << 30));
        let (mut bytes, mut errors) = (Vec::new(), Vec::new());
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(error) => errors.push(error),
            }
        }
        assert_eq!((bytes, errors.len()), (text, 1));
    }

    #[tokio::test]
    async fn what_all_requests_may_hold_is_given_back() {
        let budget = budget(4 * GRAIN_BYTES);
        let limits = BodyLimits { packed_bytes_max: 1 << 30, bytes_max: 1 << 30 };
        let body = |bytes: usize| stream::iter([Ok::<_, Infallible>(Bytes::from(vec![0; bytes]))]);
        let held = read(body(3 * GRAIN_BYTES), Encoding::Identity, limits, &budget).await.unwrap();
        let busy = read(body(2 * GRAIN_BYTES), Encoding::Identity, limits, &budget).await;
        assert_eq!(busy.unwrap_err(), BodyError::Busy);
        drop(held);
        assert!(read(body(2 * GRAIN_BYTES), Encoding::Identity, limits, &budget).await.is_ok());
        assert_eq!(budget.available_permits(), 4);
    }

    #[test]
    fn encodings_are_known_by_name() {
        assert_eq!(" GZIP ".parse(), Ok(Encoding::Gzip));
        assert_eq!("identity".parse(), Ok(Encoding::Identity));
        assert!("br".parse::<Encoding>().unwrap_err().to_string().contains("`br`"));
    }
}
