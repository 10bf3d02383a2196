//! OFFLOAD: inputs and outputs of runs that were modified long ago go to the object store, so that the database stays
//! small.
//!
//! Takes no input: it is ticked, and asks the store for one bounded batch after the other until nothing is left. Blobs
//! before rows: those of a batch are put, then the store swaps the layers of all runs that are as they were read; one
//! that changed meanwhile comes again once it is old enough. A crash between leaves blobs that no row names, which is
//! harmless. What the object store does not take stays where it is and comes again at a later tick.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tracing::{error, info, warn};

use crate::blobs::{BlobError, Blobs};
use crate::clock::{Clock, after};
use crate::layers;
use crate::limits::{self, OFFLOADED_BYTES_MIN};
use crate::model::Timestamp;
use crate::references::{MoveError, Mover};
use crate::shutdown::Shutdown;
use crate::store::offload::{Behind, OffloadQuery, OffloadedRun, OldRun};
use crate::store::{self, Store};

/// The stage that offloads.
pub struct Offload {
    store: Arc<dyn Store>,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    age: Duration,
}

/// One look for what is to be moved.
#[derive(Default)]
struct Look {
    /// The last run that was looked at; none where the look has come to the end, or not begun.
    behind: Option<Behind>,
    /// Runs that were moved.
    runs: usize,
    /// By how much their rows are smaller, in bytes.
    bytes: usize,
    /// Runs that the object store did not take.
    refused: usize,
    /// Why, of one of them.
    refusal: Option<BlobError>,
}

/// A run whose blobs are durable.
struct Moved {
    run: OffloadedRun,
    /// By how much its row gets smaller.
    bytes: usize,
}

impl Offload {
    /// The stage, at rest until [`Offload::run`]. `age` is how long ago a run was modified last when it is offloaded.
    pub fn new(store: Arc<dyn Store>, blobs: Blobs, clock: Arc<dyn Clock>, age: Duration) -> Self {
        Self { store, blobs, clock, age }
    }

    /// Works until shutdown is requested. What fails is tried again at a later tick.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut behind = None;
        while !shutdown.is_requested() {
            behind = self.look(behind, &shutdown).await;
            let tick = self.clock.sleep_until(after(self.clock.now(), limits::OFFLOAD_TICK));
            tokio::select! {
                () = tick => {}
                () = shutdown.requested() => {}
            }
        }
    }

    /// Where the next look has to begin: at the first run, or behind the batch at which this one broke off, so that
    /// runs which nobody can move hold up no others.
    async fn look(&self, behind: Option<Behind>, shutdown: &Shutdown) -> Option<Behind> {
        let mut look = Look { behind, ..Look::default() };
        let result = self.go_through(&mut look, shutdown).await;
        if look.runs > 0 {
            info!(runs = look.runs, bytes = look.bytes, "moved old inputs and outputs to the object store");
        }
        if let Some(error) = look.refusal {
            warn!(runs = look.refused, %error, "cannot move old inputs and outputs; trying again");
        }
        if let Err(error) = result {
            warn!(%error, "cannot offload runs; trying again");
        }
        look.behind
    }

    /// Batch after batch; others have their turn between. Breaks off where nothing of a batch can be moved.
    async fn go_through(&self, look: &mut Look, shutdown: &Shutdown) -> store::Result<()> {
        let before = self.clock.now().checked_sub(self.age).unwrap_or(Timestamp::MIN);
        while !shutdown.is_requested() {
            let runs = self.store.runs_to_offload(OffloadQuery::batch(before, look.behind)).await?;
            look.behind = runs.last().map(OldRun::place);
            if runs.is_empty() {
                break;
            }
            let moved = tokio::select! {
                moved = self.move_all(runs, look) => moved,
                () = shutdown.requested() => break,
            };
            if moved.is_empty() {
                break;
            }
            self.swap(moved, look).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Those of the runs whose blobs are durable then.
    async fn move_all(&self, runs: Vec<OldRun>, look: &mut Look) -> Vec<Moved> {
        let results = stream::iter(runs).map(|run| self.move_one(run)).buffered(limits::OFFLOAD_PUTS_MAX);
        let results: Vec<_> = results.collect().await;
        let mut moved = Vec::new();
        for result in results {
            match result {
                Ok(run) => moved.push(run),
                Err(error) => {
                    look.refused += 1;
                    look.refusal = Some(error);
                }
            }
        }
        moved
    }

    /// A run that cannot be read has nothing to move, now or later.
    async fn move_one(&self, run: OldRun) -> Result<Moved, BlobError> {
        let [post, patch] = match self.layers(&run).await {
            Ok(layers) => layers,
            Err(MoveError::Blob(error)) => return Err(error),
            Err(MoveError::Layer(error)) => {
                error!(run = %run.id, %error, "a stored run cannot be read");
                [None, None]
            }
        };
        let bytes = saved(run.post.as_ref(), post.as_ref()) + saved(run.patch.as_ref(), patch.as_ref());
        Ok(Moved { run: OffloadedRun { number: run.number, changed: run.changed, post, patch }, bytes })
    }

    async fn layers(&self, run: &OldRun) -> Result<[Option<Bytes>; 2], MoveError> {
        let mover = Mover { blobs: &self.blobs, now: self.clock.now() };
        let mut layers = [None, None];
        for (layer, stored) in layers.iter_mut().zip([&run.post, &run.patch]) {
            if let Some(stored) = stored {
                *layer = mover.half(run.id, stored, moves).await?;
            }
        }
        Ok(layers)
    }

    async fn swap(&self, moved: Vec<Moved>, look: &mut Look) -> store::Result<()> {
        let (runs, bytes): (Vec<_>, Vec<_>) = moved.into_iter().map(|moved| (moved.run, moved.bytes)).unzip();
        let swapped = self.store.offload(runs).await?;
        let bytes = bytes.into_iter().zip(swapped).filter(|(bytes, is_swapped)| *is_swapped && *bytes > 0);
        for (bytes, _) in bytes {
            look.runs += 1;
            look.bytes += bytes;
        }
        Ok(())
    }
}

/// What is large enough, and is no reference already.
fn moves(value: &str) -> bool {
    value.len() >= OFFLOADED_BYTES_MIN && layers::blob(value).is_none()
}

/// What a usage that is a value's largest part leaves of it may be more than it was.
fn saved(before: Option<&Bytes>, now: Option<&Bytes>) -> usize {
    before.zip(now).map_or(0, |(before, now)| before.len().saturating_sub(now.len()))
}
