//! The desk: payloads that are at hand. Nobody else works on one of them, and those that are in memory have a bound
//! together.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::FANOUT_QUEUE_BYTES_MAX;
use crate::model::ids::PayloadId;
use crate::model::payload::PendingPayload;

#[derive(Default)]
pub(super) struct Desk {
    /// Of the payloads that are in memory.
    bytes: AtomicUsize,
    marked: Mutex<HashSet<PayloadId>>,
}

/// A payload in memory that nobody else works on as long as this lives, however the work ends.
pub(super) struct AtHand {
    pub(super) payload: PendingPayload,
    pub(super) mark: Mark,
    pub(super) weight: Weight,
}

/// Nobody else works on the payload, whether or not it is in memory.
pub(super) struct Mark {
    pub(super) payload: PayloadId,
    desk: Arc<Desk>,
}

/// A payload's share of what is in memory.
pub(super) struct Weight {
    bytes: usize,
    desk: Arc<Desk>,
}

impl Desk {
    /// Takes a payload in hand; none where it already is.
    pub(super) fn take(self: &Arc<Self>, payload: PendingPayload) -> Option<AtHand> {
        let mark = self.mark(payload.id)?;
        Some(self.laid(mark, payload))
    }

    /// The same for one that is still to be read: whoever was at work on it until now may have finished it.
    pub(super) fn mark(self: &Arc<Self>, payload: PayloadId) -> Option<Mark> {
        let is_new = self.marked().insert(payload);
        is_new.then(|| Mark { payload, desk: self.clone() })
    }

    /// Once it was read.
    pub(super) fn laid(self: &Arc<Self>, mark: Mark, payload: PendingPayload) -> AtHand {
        let weight = self.weigh(&payload);
        AtHand { payload, mark, weight }
    }

    pub(super) fn weigh(self: &Arc<Self>, payload: &PendingPayload) -> Weight {
        let bytes = payload.document.len();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Weight { bytes, desk: self.clone() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < FANOUT_QUEUE_BYTES_MAX
    }

    fn marked(&self) -> MutexGuard<'_, HashSet<PayloadId>> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.desk.marked().remove(&self.payload);
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.desk.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
