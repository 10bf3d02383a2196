//! The part of the store's seam that forgets: what is past its time, and what nothing names any more.
//!
//! The rules of [`crate::store`] hold. Each call removes one batch in one transaction, so that nobody who writes
//! meanwhile waits for long; the caller asks again until nothing was removed.

use std::ops::AddAssign;

use async_trait::async_trait;

use crate::model::Timestamp;
use crate::store::Result;

/// What was removed, in rows but for the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Runs.
    pub runs: usize,
    /// Feedback, of these runs or of none that is there.
    pub feedback: usize,
    /// Names of files, of these runs or of none that is there.
    pub attachments: usize,
    /// Marks of runs that a rule has matched.
    pub matches: usize,
    /// Payloads.
    pub payloads: usize,
    /// Their deliveries.
    pub deliveries: usize,
    /// Idempotency keys.
    pub keys: usize,
    /// Removed webhooks of which no delivery is left.
    pub endpoints: usize,
    /// Bytes of bodies that nothing named any more.
    pub body_bytes: u64,
}

impl Pruned {
    /// Whether nothing was removed.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Rows in all.
    pub fn rows(&self) -> usize {
        let of_runs = self.runs + self.feedback + self.attachments + self.matches;
        of_runs + self.payloads + self.deliveries + self.keys + self.endpoints
    }
}

impl AddAssign for Pruned {
    fn add_assign(&mut self, more: Self) {
        self.runs += more.runs;
        self.feedback += more.feedback;
        self.attachments += more.attachments;
        self.matches += more.matches;
        self.payloads += more.payloads;
        self.deliveries += more.deliveries;
        self.keys += more.keys;
        self.endpoints += more.endpoints;
        self.body_bytes += more.body_bytes;
    }
}

/// Removes batches of about `limit` rows: what belongs together may pass it by the marks of one run, or by the
/// deliveries of one payload. A batch of runs also ends at [`crate::limits::PRUNE_BYTES_MAX`].
#[async_trait]
pub trait RetentionStore: Send + Sync {
    /// Removes runs that were received before then, whether or not every rule has looked at them, with what is said
    /// about them, the names of their files and the marks of rules. Once they are gone: feedback and names of files
    /// that were stored before then and whose run is not there.
    async fn prune_runs(&self, before: Timestamp, limit: usize) -> Result<Pruned>;

    /// Removes payloads to which nothing happened since then, with their deliveries and attempts: accepted before, no
    /// delivery made and no attempt begun since. What is pending stays however old it is; what is held goes like all
    /// that has ended. The marks of their runs stay as long as these, so that no run is matched again.
    async fn prune_history(&self, before: Timestamp, limit: usize) -> Result<Pruned>;

    /// Removes what has no use any more: idempotency keys that are older than
    /// [`crate::limits::IDEMPOTENCY_WINDOW`], marks of rules that are gone, removed webhooks without a delivery.
    async fn prune_leftovers(&self, now: Timestamp, limit: usize) -> Result<Pruned>;

    /// Gives back the room of bodies that nothing names any more. A backend may wait until a whole file of them is free,
    /// or until the bodies are a day old. A crash leaves nothing behind that the next call does not find.
    async fn prune_bodies(&self, now: Timestamp, limit: usize) -> Result<Pruned>;
}
