//! Reading what lies behind a URL that others wrote down: one GET, 200 or nothing, all of it or nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use url::Url;

use crate::limits::{FETCH_TIMEOUT, FETCHED_BYTES_MAX};
use crate::outbound::SendFailure;

/// Reads what lies behind a URL. A seam of its own beside [`crate::outbound::Sender`]: that one throws answers away.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The content, for which there has to be room in the allowance.
    ///
    /// # Errors
    /// See [`FetchFailure`].
    async fn fetch(&self, url: &Url, allowance: &Allowance) -> Result<Bytes, FetchFailure>;
}

/// Why there is no content. Messages never show the URL's path or query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    /// There was no answer.
    #[error(transparent)]
    Unanswered(#[from] SendFailure),
    /// Not a URL of the web.
    #[error("its link is neither http:// nor https://")]
    Scheme,
    /// Redirects are not followed, and links expire.
    #[error("the answer was {0}, not 200")]
    Status(StatusCode),
    /// A `content-encoding` that nobody asked for.
    #[error("it came in the encoding `{0}`, and none was asked for")]
    Encoded(String),
    /// No room in the allowance.
    #[error("the fields that plugins read of one payload have more than {} MiB", FETCHED_BYTES_MAX / 1024 / 1024)]
    TooLarge,
    /// The time was over.
    #[error("it was not there within {} s", FETCH_TIMEOUT.as_secs())]
    TimedOut,
    /// The connection broke within the content.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Bytes that several fetches may take together.
#[derive(Debug)]
pub struct Allowance(AtomicUsize);

impl Allowance {
    /// So many bytes.
    pub fn of(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    /// What one fetch takes; given back unless it is kept.
    pub fn share(&self) -> Share<'_> {
        Share { allowance: self, taken: 0 }
    }
}

/// What one fetch has taken of an [`Allowance`].
#[derive(Debug)]
pub struct Share<'a> {
    allowance: &'a Allowance,
    taken: usize,
}

impl Share<'_> {
    /// Takes so many bytes more; false where there are not as many.
    pub fn take(&mut self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        let is_taken = self.allowance.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        self.taken += if is_taken { bytes } else { 0 };
        is_taken
    }

    /// The content is held: its bytes are not given back.
    pub fn keep(mut self) {
        self.taken = 0;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.allowance.0.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_given_back() {
        let allowance = Allowance::of(10);
        let mut kept = allowance.share();
        assert!(kept.take(3) && kept.take(3));
        let mut lost = allowance.share();
        assert!(lost.take(4) && !lost.take(1));
        kept.keep();
        drop(lost);
        assert!(!allowance.share().take(5) && allowance.share().take(4));
    }
}
