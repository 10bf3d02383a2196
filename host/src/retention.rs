//! RETENTION: what is past its time is forgotten, so that nothing grows without bound.
//!
//! Takes no input: it is ticked, and asks the store for one bounded batch after the other until nothing is left, so that
//! whoever accepts meanwhile waits for one batch at most. Blobs go by the day in their keys, later than all that names
//! them. A crash costs nothing: what is left is found at the next tick. Knows nothing of what rows mean.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use crate::blobs::{BlobError, Blobs};
use crate::clock::{Clock, after};
use crate::limits::{self, PRUNE_BLOBS_MAX, PRUNE_ROWS_MAX};
use crate::model::Timestamp;
use crate::shutdown::Shutdown;
use crate::store::retention::Pruned;
use crate::store::{self, Store};

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// Runs with their feedback and files, since they were received. A rule that looks later misses them; a rule's log
    /// shows what it matched until the run or the payload goes, whichever is first.
    pub runs: Duration,
    /// Payloads, deliveries and attempts, since something happened to the payload last. What is pending stays.
    pub history: Duration,
}

impl Default for Periods {
    /// [`limits::RUNS_KEPT`] and [`limits::HISTORY_KEPT`].
    fn default() -> Self {
        Self { runs: limits::RUNS_KEPT, history: limits::HISTORY_KEPT }
    }
}

impl Periods {
    /// A payload may be made of a run that is about to go, and replayed as long as it is kept itself: both periods, and
    /// as long as a link that was minted last is good; a day is cut off at its end, not where it began. What was
    /// offloaded counts from then, not from its receipt, and lives longer than it has to.
    fn blobs(&self) -> Duration {
        let rows = self.runs.saturating_add(self.history);
        rows.saturating_add(limits::LINK_LIFETIME).saturating_add(Duration::from_hours(24))
    }
}

/// The retention stage.
pub struct Retention {
    store: Arc<dyn Store>,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    periods: Periods,
}

impl Retention {
    /// The stage, at rest until [`Retention::run`].
    pub fn new(store: Arc<dyn Store>, blobs: Blobs, clock: Arc<dyn Clock>, periods: Periods) -> Self {
        Self { store, blobs, clock, periods }
    }

    /// Works until shutdown is requested. What fails is tried again at the next tick.
    pub async fn run(&self, shutdown: Shutdown) {
        let mut blobs_due = Timestamp::MIN;
        while !shutdown.is_requested() {
            self.prune_rows(&shutdown).await;
            let now = self.clock.now();
            // The clock may have been set back.
            if now >= blobs_due || blobs_due > after(now, limits::PRUNE_BLOBS_TICK) {
                // An object store that hangs must not hold up the stop; what is deleted stays so.
                tokio::select! {
                    () = self.prune_blobs(&shutdown, blobs_due == Timestamp::MIN) => {}
                    () = shutdown.requested() => {}
                }
                blobs_due = after(now, limits::PRUNE_BLOBS_TICK);
            }
            let tick = self.clock.sleep_until(after(self.clock.now(), limits::PRUNE_TICK));
            tokio::select! {
                () = tick => {}
                () = shutdown.requested() => {}
            }
        }
    }

    async fn prune_rows(&self, shutdown: &Shutdown) {
        let mut pruned = Pruned::default();
        let result = self.prune_kinds(shutdown, &mut pruned).await;
        if !pruned.is_nothing() {
            info!("removed what was past its time: {}", Counts(&pruned));
        }
        if let Err(error) = result {
            warn!(%error, "cannot remove what is past its time; trying again");
        }
    }

    async fn prune_kinds(&self, shutdown: &Shutdown, pruned: &mut Pruned) -> store::Result<()> {
        let (store, now) = (&self.store, self.clock.now());
        let (runs, history) = (before(now, self.periods.runs), before(now, self.periods.history));
        until_nothing(shutdown, pruned, || store.prune_runs(runs, PRUNE_ROWS_MAX)).await?;
        until_nothing(shutdown, pruned, || store.prune_history(history, PRUNE_ROWS_MAX)).await?;
        until_nothing(shutdown, pruned, || store.prune_leftovers(now, PRUNE_ROWS_MAX)).await?;
        until_nothing(shutdown, pruned, || store.prune_bodies(now, PRUNE_ROWS_MAX)).await
    }

    async fn prune_blobs(&self, shutdown: &Shutdown, is_first: bool) {
        match self.delete_blobs(shutdown, is_first).await {
            Ok(0) => {}
            Ok(blobs) => info!(blobs, "removed blobs that were past their time"),
            Err(error) => warn!(%error, "cannot remove blobs that are past their time; trying again"),
        }
    }

    async fn delete_blobs(&self, shutdown: &Shutdown, is_first: bool) -> Result<usize, BlobError> {
        let now = self.clock.now();
        let first_kept = before(now, self.periods.blobs());
        let mut deleted = 0;
        while !shutdown.is_requested() {
            let batch = self.blobs.delete_before(first_kept, PRUNE_BLOBS_MAX).await?;
            deleted += batch;
            if batch == 0 {
                break;
            }
        }
        // A day ends once a day: that is often enough to walk through all folders.
        if deleted > 0 || is_first {
            self.blobs.sweep(now).await?;
        }
        Ok(deleted)
    }
}

/// Batch after batch; others have their turn between.
async fn until_nothing<F: Future<Output = store::Result<Pruned>>>(
    shutdown: &Shutdown,
    pruned: &mut Pruned,
    prune: impl Fn() -> F,
) -> store::Result<()> {
    while !shutdown.is_requested() {
        let batch = prune().await?;
        if batch.is_nothing() {
            break;
        }
        *pruned += batch;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// `now - period`, at the beginning of time where it would pass that.
fn before(now: Timestamp, period: Duration) -> Timestamp {
    now.checked_sub(period).unwrap_or(Timestamp::MIN)
}

/// Only what there was of.
struct Counts<'a>(&'a Pruned);

impl fmt::Display for Counts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pruned { runs, feedback, attachments, matches, payloads, deliveries, keys, endpoints, body_bytes } = self.0;
        let rows = [
            (*runs, "runs"),
            (*feedback, "feedback"),
            (*attachments, "attachments"),
            (*matches, "matches"),
            (*payloads, "payloads"),
            (*deliveries, "deliveries"),
            (*keys, "idempotency keys"),
            (*endpoints, "removed webhooks"),
        ];
        let rows = rows.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
        let bodies = (*body_bytes > 0).then(|| format!("{body_bytes} bytes of bodies"));
        f.write_str(&rows.chain(bodies).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_only_what_there_was_of() {
        let pruned = Pruned { runs: 500, deliveries: 2, body_bytes: 7, ..Pruned::default() };
        assert_eq!(Counts(&pruned).to_string(), "500 runs, 2 deliveries, 7 bytes of bodies");
    }

    #[test]
    fn blobs_outlive_what_names_them_and_links_to_them() {
        let day = Duration::from_hours(24);
        assert_eq!(Periods::default().blobs(), 51 * day);
        let periods = Periods { runs: 90 * day, history: day };
        assert_eq!(periods.blobs(), 98 * day);
    }
}
