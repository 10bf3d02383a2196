//! A guest's stdout or stderr: the end of what it writes, kept for the log and for panic messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// What a guest may write at once.
const WRITE_BYTES_MAX: usize = 16 * 1024;

/// What is left of an output; clones share it.
#[derive(Clone)]
pub(in crate::plugin) struct OutputRing {
    kept: Arc<Mutex<VecDeque<u8>>>,
    bytes_max: usize,
}

impl OutputRing {
    /// Keeps the last so many bytes.
    pub(in crate::plugin) fn of(bytes_max: usize) -> Self {
        Self { kept: Arc::default(), bytes_max }
    }

    fn push(&self, bytes: &[u8]) {
        let mut ring = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = &bytes[bytes.len().saturating_sub(self.bytes_max)..];
        let excess = (ring.len() + tail.len()).saturating_sub(self.bytes_max);
        ring.drain(..excess);
        ring.extend(tail);
    }

    /// The text, control characters but line ends escaped: it goes to terminals.
    pub(in crate::plugin) fn text(&self) -> String {
        let mut ring = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        printable(&String::from_utf8_lossy(ring.make_contiguous()))
    }
}

/// The text with control characters but line ends and tabs escaped.
pub(crate) fn printable(text: &str) -> String {
    let is_plain = |character: char| !character.is_control() || character == '\n' || character == '\t';
    let escape = |character: char| {
        if is_plain(character) { character.to_string() } else { character.escape_default().to_string() }
    };
    if text.chars().all(is_plain) { text.to_owned() } else { text.chars().map(escape).collect() }
}

/// As [`printable`], line ends escaped too: a line of the log that a guest cannot make look like two.
pub(in crate::plugin) fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

impl IsTerminal for OutputRing {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for OutputRing {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only the stream above is linked.
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for OutputRing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait::async_trait]
impl Pollable for OutputRing {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_flood_is_kept() {
        let ring = OutputRing::of(1000);
        for number in 0..100_000 {
            ring.push(format!("{number}\n").as_bytes());
        }
        assert!(ring.text().ends_with("99998\n99999\n"));
        assert!(ring.text().len() <= 1000);
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let ring = OutputRing::of(1000);
        ring.push(b"a\x1b[31mb\x07\nc\xff");
        assert_eq!(ring.text(), "a\\u{1b}[31mb\\u{7}\nc\u{fffd}");
    }

    #[test]
    fn a_log_line_stays_one() {
        assert_eq!(one_line("a\r\nERROR forged\tb"), "a\\r\\nERROR forged\tb");
    }
}
