//! The circuit breaker of an endpoint: one that fails again and again is left alone for a while, then probed. Pure.
//!
//! ```text
//! admitting ──FAILURES in a row──▶ paused ──time──▶ probing ──success──▶ admitting
//!     ▲                              ▲  └──────────────┼──success of an earlier attempt──▶ admitting
//!     └──────────────────────────────┴────failure──────┘
//! ```
//!
//! A pause that the receiver has asked for no earlier attempt ends. What waits meanwhile stays pending and uses up none of
//! its attempts.

use std::time::Duration;

use crate::clock::after;
use crate::model::Timestamp;

/// Failures in a row that pause an endpoint: more than one delivery of the shortest profile makes alone.
const FAILURES: u32 = 10;
/// The first pause: a receiver that restarts is back soon.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, each being twice the one before: how late the recovery of a receiver is noticed.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// What an attempt says of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answers.
    Healthy,
    /// It cannot be reached, does not answer in time, or says itself that it fails.
    Ailing,
    /// It wants to be left alone for so long.
    Throttled(Duration),
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Attempts are made.
    Admitting {
        /// Failures in a row.
        failures: u32,
    },
    /// No attempt is made.
    Paused {
        /// From then on.
        since: Timestamp,
        /// Until then.
        until: Timestamp,
        /// Pauses in a row, this one included.
        pauses: u32,
        /// The receiver has asked for it.
        is_asked_for: bool,
    },
    /// One attempt at a time is made, to see.
    Probing {
        /// Pauses in a row before it.
        pauses: u32,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Admitting { failures: 0 }
    }
}

impl Breaker {
    /// How many attempts may be in flight at this time, if the endpoint could take so many.
    pub(super) fn room(&mut self, endpoints: usize, now: Timestamp) -> usize {
        // A pause that has not begun yet is from before the clock was set back. Who asks may have looked at the clock a
        // moment before it began.
        if let Self::Paused { since, until, pauses, .. } = *self
            && (until <= now || since > after(now, LONGEST_PAUSE))
        {
            *self = Self::Probing { pauses };
        }
        match self {
            Self::Admitting { .. } => endpoints,
            Self::Paused { .. } => 0,
            Self::Probing { .. } => endpoints.min(1),
        }
    }

    /// Takes note of how an attempt ended.
    pub(super) fn report(&mut self, verdict: Verdict, now: Timestamp) {
        *self = match (*self, verdict) {
            (_, Verdict::Healthy) => Self::default(),
            (Self::Paused { since, until, pauses, .. }, Verdict::Throttled(asked)) => {
                Self::Paused { since, until: until.max(after(now, asked)), pauses, is_asked_for: true }
            }
            (_, Verdict::Throttled(asked)) => {
                Self::Paused { since: now, until: after(now, asked), pauses: 1, is_asked_for: true }
            }
            (Self::Admitting { failures }, Verdict::Ailing) if failures + 1 < FAILURES => {
                Self::Admitting { failures: failures + 1 }
            }
            (Self::Admitting { .. }, Verdict::Ailing) => Self::paused(1, now),
            // It was begun before the pause.
            (paused @ Self::Paused { .. }, Verdict::Ailing) => paused,
            (Self::Probing { pauses }, Verdict::Ailing) => Self::paused(pauses.saturating_add(1), now),
        };
    }

    fn paused(pauses: u32, now: Timestamp) -> Self {
        let longer = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(pauses - 1));
        Self::Paused { since: now, until: after(now, longer.min(LONGEST_PAUSE)), pauses, is_asked_for: false }
    }

    /// Whether it is paused because the receiver wants to be left alone.
    pub(super) fn is_asked_for(&self) -> bool {
        matches!(self, Self::Paused { is_asked_for: true, .. })
    }

    /// When it admits again by itself, where it does not now.
    pub(super) fn opens_at(&self) -> Option<Timestamp> {
        if let Self::Paused { until, .. } = self { Some(*until) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn later(seconds: u64) -> Timestamp {
        after(START, Duration::from_secs(seconds))
    }

    fn tripped() -> Breaker {
        let mut breaker = Breaker::default();
        (0..FAILURES).for_each(|_| breaker.report(Verdict::Ailing, START));
        breaker
    }

    #[test]
    fn failures_in_a_row_pause_it_and_one_success_between_them_does_not() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            (1..FAILURES).for_each(|_| breaker.report(Verdict::Ailing, START));
            assert_eq!(breaker.room(32, START), 32);
            breaker.report(Verdict::Healthy, START);
        }
        assert_eq!(tripped().room(32, START), 0);
        assert_eq!(tripped().opens_at(), Some(later(1)));
    }

    #[test]
    fn after_a_pause_one_attempt_decides_and_pauses_grow_to_a_minute() {
        let (mut breaker, mut now) = (tripped(), 0);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breaker.room(32, later(now + pause - 1)), 0, "{pause}");
            now += pause;
            assert_eq!(breaker.room(32, later(now)), 1, "{pause}");
            breaker.report(Verdict::Ailing, later(now));
        }
        now += 60;
        assert_eq!(breaker.room(32, later(now)), 1);
        breaker.report(Verdict::Healthy, later(now));
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn what_was_begun_before_a_pause_does_not_make_it_longer_and_may_end_it() {
        let mut breaker = tripped();
        breaker.report(Verdict::Ailing, later(0));
        assert_eq!(breaker.opens_at(), Some(later(1)));
        breaker.report(Verdict::Healthy, later(0));
        assert_eq!(breaker.room(32, later(0)), 32);
    }

    #[test]
    fn a_receiver_that_asks_for_time_has_it_and_is_probed_then() {
        let mut breaker = Breaker::default();
        breaker.report(Verdict::Throttled(Duration::from_secs(90)), START);
        breaker.report(Verdict::Throttled(Duration::from_secs(30)), START);
        assert_eq!((breaker.room(32, later(89)), breaker.room(32, later(90))), (0, 1));
    }

    #[test]
    fn a_clock_that_is_set_back_ends_a_pause() {
        for ahead in [Duration::from_secs(90), Duration::from_hours(72)] {
            let mut breaker = Breaker::default();
            breaker.report(Verdict::Throttled(Duration::from_hours(24)), after(START, ahead));
            assert_eq!(breaker.room(32, START), 1, "{ahead:?}");
        }
    }

    proptest! {
        /// Whatever happens, an endpoint is asked again within the longest pause.
        #[test]
        fn no_endpoint_is_left_alone_for_longer_than_a_minute(steps in prop::collection::vec((any::<bool>(), 0u64..100), 0..200)) {
            let (mut breaker, mut now) = (Breaker::default(), 0);
            for (is_healthy, seconds) in steps {
                now += seconds;
                let admitted = breaker.room(32, later(now));
                if admitted == 0 {
                    prop_assert!(breaker.opens_at().unwrap() <= later(now + 60));
                    continue;
                }
                breaker.report(if is_healthy { Verdict::Healthy } else { Verdict::Ailing }, later(now));
            }
            prop_assert!(breaker.room(32, later(now + 60)) > 0);
        }
    }
}
