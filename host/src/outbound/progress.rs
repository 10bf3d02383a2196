//! Whether a connection has taken the request, as told by the request's body.
//!
//! hyper asks a body whether it is empty at the moment a connection takes the request, before it writes the head, for
//! HTTP/1.1 and HTTP/2, fresh and reused connections alike, and never before. That tells "connected" exactly, and with
//! it whether anything was sent. (It is not enough to see when the body's bytes are asked for: on an HTTP/2 connection
//! whose window is full, or with an empty body, that is late or never.)

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Progress {
    is_sending: AtomicBool,
    sending: Notify,
}

impl Progress {
    /// Ready once a connection has taken the request.
    pub(super) async fn sending(&self) {
        while !self.is_sending() {
            self.sending.notified().await;
        }
    }

    pub(super) fn is_sending(&self) -> bool {
        self.is_sending.load(Ordering::Acquire)
    }

    /// Whether it had begun before.
    fn begin_sending(&self) -> bool {
        let had_begun = self.is_sending.swap(true, Ordering::AcqRel);
        if !had_begun {
            self.sending.notify_one();
        }
        had_begun
    }
}

/// A body that says when a connection takes it.
pub(super) struct WatchedBody {
    body: Full<Bytes>,
    progress: Arc<Progress>,
}

impl WatchedBody {
    pub(super) fn new(bytes: Bytes, progress: Arc<Progress>) -> Self {
        Self { body: Full::new(bytes), progress }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    /// Never empty at first: an empty body is announced by a `content-length` of 0 then.
    fn is_end_stream(&self) -> bool {
        self.progress.begin_sending() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
