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
    /// Ready once as much time has passed as there is until then, whatever the clock is set to meanwhile.
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()>;
    /// Uniform in `0.0..1.0`.
    fn random(&self) -> f64;
}

/// `instant + duration`, at the end of time where it would pass that.
pub fn after(instant: Timestamp, duration: Duration) -> Timestamp {
    instant.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// How long it is until then; nothing where that is over.
fn between(now: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
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
        Box::pin(tokio::time::sleep(between(self.now(), until)))
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
    /// Time that has passed since it began to go, which no setting changes.
    passed: Duration,
    random: f64,
    sleepers: BinaryHeap<Sleeper>,
}

struct Sleeper {
    /// Of the time that passes.
    until: Duration,
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
        Self(Arc::new(Mutex::new(ManualTime { now, passed: Duration::ZERO, random: 0.5, sleepers: BinaryHeap::new() })))
    }

    /// Moves time on and wakes who waited for it.
    pub fn advance(&self, by: Duration) {
        let mut time = self.lock();
        time.now = after(time.now, by);
        time.passed = time.passed.saturating_add(by);
        while time.sleepers.peek().is_some_and(|sleeper| sleeper.until <= time.passed) {
            if let Some(sleeper) = time.sleepers.pop() {
                // A sleeper that was dropped no longer waits.
                let _ = sleeper.wake.send(());
            }
        }
    }

    /// Sets it, as an operator or a time server does. No time passes by that, and nobody is woken.
    pub fn set(&self, now: Timestamp) {
        self.lock().now = now;
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
        let until = time.passed.saturating_add(between(time.now, until));
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn who_sleeps_is_woken_by_time_that_passes_and_by_no_setting() {
        let (start, second) = (Timestamp::UNIX_EPOCH, Duration::from_secs(1));
        for set_to in [after(start, second * 3600), start - second * 3600] {
            let clock = ManualClock::at(start);
            let mut sleep = clock.sleep_until(after(start, second * 2));
            clock.set(set_to);
            clock.advance(second);
            assert!((&mut sleep).now_or_never().is_none());
            clock.advance(second);
            assert!(sleep.now_or_never().is_some());
            assert_eq!(clock.now(), after(set_to, second * 2));
        }
    }
}
