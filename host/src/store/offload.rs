//! The part of the store's seam that lets old inputs and outputs go to the object store.
//!
//! The rules of [`crate::store`] hold. Whoever offloads reads a batch, puts the blobs, and swaps the layers for ones
//! that name them. Nothing else of a run changes by that, nor does it get a new place in the order of commits: no rule
//! looks again.

use async_trait::async_trait;
use bytes::Bytes;

use crate::limits;
use crate::model::Timestamp;
use crate::model::ids::RunId;
use crate::store::Result;

/// When a run was modified last, and its number: the order in which runs are offloaded.
pub type Behind = (Timestamp, i64);

/// Which runs to read, the one that was modified first in front.
#[derive(Clone, Debug)]
pub struct OffloadQuery {
    /// Modified last before this time.
    pub before: Timestamp,
    /// Only behind this one; from the first on where none.
    pub behind: Option<Behind>,
    /// At most so many.
    pub limit: usize,
    /// Bytes of their layers; the last one may pass it.
    pub bytes_max: usize,
}

impl OffloadQuery {
    /// One batch: at most [`limits::OFFLOAD_RUNS_MAX`] runs and [`limits::OFFLOAD_BYTES_MAX`].
    pub fn batch(before: Timestamp, behind: Option<Behind>) -> Self {
        Self { before, behind, limit: limits::OFFLOAD_RUNS_MAX, bytes_max: limits::OFFLOAD_BYTES_MAX }
    }
}

/// A run that may have something to move.
#[derive(Clone, Debug)]
pub struct OldRun {
    /// The store's own.
    pub number: i64,
    /// The client's.
    pub id: RunId,
    /// When it was stored last.
    pub modified_at: Timestamp,
    /// Its place in the order of commits.
    pub changed: i64,
    /// What was posted, as it is stored: whether it can be read is left to the caller.
    pub post: Option<Bytes>,
    /// What was patched, in the same way.
    pub patch: Option<Bytes>,
}

impl OldRun {
    /// Its place among those that are offloaded.
    pub fn place(&self) -> Behind {
        (self.modified_at, self.number)
    }
}

/// A run of which all that is to be moved is in the object store.
#[derive(Clone, Debug)]
pub struct OffloadedRun {
    /// The store's own.
    pub number: i64,
    /// The place that it had when it was read.
    pub changed: i64,
    /// What was posted from now on; as it is where none.
    pub post: Option<Bytes>,
    /// What was patched from now on; as it is where none.
    pub patch: Option<Bytes>,
}

/// Offloading. See [`crate::store`] for the rules that every method keeps.
#[async_trait]
pub trait OffloadStore: Send + Sync {
    /// Runs that were not offloaded since they were modified last. Those whose layers have fewer than
    /// [`limits::OFFLOADED_BYTES_MIN`] bytes may be left out.
    async fn runs_to_offload(&self, query: OffloadQuery) -> Result<Vec<OldRun>>;

    /// Swaps layers. In the order given, whether each was swapped: not where the run, or what is said about it, changed
    /// since it was read, nor where it is gone. One that was does not come again until it is modified.
    async fn offload(&self, runs: Vec<OffloadedRun>) -> Result<Vec<bool>>;
}
