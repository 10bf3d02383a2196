//! A rate limit: how many attempts may begin at a moment. Pure.
//!
//! The generic cell rate algorithm: one number says up to when attempts have been granted. Some may begin at once, a
//! tenth of a second's worth, since a timer cannot wake for each of a thousand.

use crate::model::Timestamp;

/// Attempts that may begin at once, in seconds of the rate.
const BURST_SECONDS: f64 = 0.1;
const MICROS_PER_SECOND: f64 = 1_000_000.0;
/// In microseconds: what was granted further ahead than could be, by so much, was granted before the clock was set back. Who
/// asks may have looked at the clock a moment ago.
const SET_BACK: i64 = 60 * 1_000_000;

/// The limit of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    rate_per_second: f64,
    /// Microseconds from one attempt to the next.
    interval: i64,
    /// Attempts that may begin at once.
    burst: i64,
    /// Microseconds since 1970.
    granted_until: i64,
}

impl Bucket {
    /// One from which nothing was taken. The rate is above zero.
    pub(super) fn full(rate_per_second: f64) -> Self {
        let interval = ((MICROS_PER_SECOND / rate_per_second) as i64).max(1);
        let burst = ((rate_per_second * BURST_SECONDS) as i64).max(1);
        Self { rate_per_second, interval, burst, granted_until: i64::MIN }
    }

    pub(super) fn rate_per_second(&self) -> f64 {
        self.rate_per_second
    }

    /// Attempts that may begin now.
    pub(super) fn room(&self, now: Timestamp) -> usize {
        let now = now.as_microsecond();
        let free = self.burst * self.interval - (self.granted(now) - now);
        usize::try_from(free / self.interval).unwrap_or(0)
    }

    /// One more begins now.
    pub(super) fn take(&mut self, now: Timestamp) {
        let now = now.as_microsecond();
        self.granted_until = self.granted(now) + self.interval;
    }

    /// When there is room for one.
    pub(super) fn opens_at(&self, now: Timestamp) -> Timestamp {
        let granted = self.granted(now.as_microsecond());
        Timestamp::from_microsecond(granted - (self.burst - 1) * self.interval).unwrap_or(Timestamp::MAX).max(now)
    }

    /// What a clock has granted that was set back since counts for nothing, or it would be closed until the clock is there
    /// again.
    fn granted(&self, now: i64) -> i64 {
        let most = now.saturating_add((self.burst + 1) * self.interval);
        if self.granted_until > most.saturating_add(SET_BACK) { now } else { self.granted_until.clamp(now, most) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::after;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn one_per_second_is_one_in_each_second() {
        let mut bucket = Bucket::full(1.0);
        for second in 0..5 {
            let now = after(START, Duration::from_secs(second));
            assert_eq!(bucket.room(now), 1);
            bucket.take(now);
            assert_eq!(bucket.room(now), 0);
            assert_eq!(bucket.opens_at(now), after(now, Duration::from_secs(1)));
        }
    }

    #[test]
    fn a_rate_below_one_waits_for_seconds() {
        let mut bucket = Bucket::full(0.1);
        bucket.take(START);
        assert_eq!(bucket.room(after(START, Duration::from_millis(9_999))), 0);
        assert_eq!(bucket.room(after(START, Duration::from_secs(10))), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_close_it() {
        let mut bucket = Bucket::full(1.0);
        bucket.take(after(START, Duration::from_hours(24)));
        assert_eq!((bucket.room(START), bucket.opens_at(START)), (1, START));
        bucket.take(START);
        assert_eq!((bucket.room(START), bucket.room(after(START, Duration::from_secs(1)))), (0, 1));
    }

    proptest! {
        /// Whoever takes all there is, as soon as it is there.
        #[test]
        fn no_second_sees_more_than_the_rate_and_a_tenth(rate in 0.2f64..2_000.0, steps in prop::collection::vec(0u64..300_000, 1..200)) {
            let (mut bucket, mut now, mut taken) = (Bucket::full(rate), START, Vec::new());
            for step in steps {
                now = after(now, Duration::from_micros(step));
                while bucket.room(now) > 0 {
                    bucket.take(now);
                    taken.push(now);
                }
                prop_assert!(bucket.opens_at(now) > now);
                prop_assert_eq!(bucket.room(bucket.opens_at(now)), 1);
            }
            let most = rate * 1.1 + 2.0;
            for (place, begin) in taken.iter().enumerate() {
                let end = after(*begin, Duration::from_secs(1));
                let within = taken[place..].iter().take_while(|time| **time < end).count();
                prop_assert!(within as f64 <= most, "{} in a second, of {}", within, rate);
            }
        }
    }
}
