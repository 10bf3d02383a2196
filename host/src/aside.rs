//! Work that takes a while goes aside, to a thread where it holds up no request.

/// Up to this size, work on bytes is done where they are: moving it costs more.
const IN_PLACE_BYTES_MAX: usize = 256 * 1024;

/// Works on a thread of its own. A panic goes on where the work was asked for.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Works where it is, or, where the bytes are many, aside.
pub async fn aside_if_large<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes <= IN_PLACE_BYTES_MAX { work() } else { aside(work).await }
}
