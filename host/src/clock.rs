//! Injected time and randomness, so that tests and the simulation own both. Knows nothing of the engine.

use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::model::Timestamp;

/// Time and randomness as the engine sees them.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Ready when `now() >= until`.
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()>;
    /// Uniform in `0.0..1.0`.
    fn random(&self) -> f64;
}

/// `instant + duration`, at the end of time where it would pass that.
pub fn after(instant: Timestamp, duration: Duration) -> Timestamp {
    instant.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// The machine's clock and randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// To the microsecond, as the store keeps it: what is answered is what will be read.
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let left = Duration::try_from(until.duration_since(self.now())).unwrap_or(Duration::ZERO);
        Box::pin(tokio::time::sleep(left))
    }

    fn random(&self) -> f64 {
        rand::random()
    }
}

/// A clock that moves only when told to, with one fixed "random" number. For tests.
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<ManualTime>>);

struct ManualTime {
    now: Timestamp,
    random: f64,
    sleepers: BinaryHeap<Sleeper>,
}

struct Sleeper {
    until: Timestamp,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}
impl Eq for Sleeper {}
impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Sleeper {
    /// The earliest sleeper is the greatest: `BinaryHeap` pops the greatest.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.until.cmp(&self.until)
    }
}

impl ManualClock {
    /// A clock that stands at `now`; `random()` is 0.5 (no jitter) until set.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(ManualTime { now, random: 0.5, sleepers: BinaryHeap::new() })))
    }

    /// Moves time on and wakes who waited for it.
    pub fn advance(&self, by: Duration) {
        let mut time = self.lock();
        time.now = after(time.now, by);
        while time.sleepers.peek().is_some_and(|sleeper| sleeper.until <= time.now) {
            if let Some(sleeper) = time.sleepers.pop() {
                // A sleeper that was dropped no longer waits.
                let _ = sleeper.wake.send(());
            }
        }
    }

    /// What `random()` answers from now on, in `0.0..1.0`.
    pub fn set_random(&self, random: f64) {
        self.lock().random = random;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ManualTime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let mut time = self.lock();
        if until <= time.now {
            return Box::pin(async {});
        }
        let (wake, woken) = oneshot::channel();
        time.sleepers.push(Sleeper { until, wake });
        Box::pin(async move {
            // The clock itself is gone: nothing will ever be due again.
            if woken.await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn random(&self) -> f64 {
        self.lock().random
    }
}
