//! What may go to one endpoint at a moment: its attempts in flight, its rate and its circuit breaker. Pure.

use crate::dispatch::breaker::{Breaker, Verdict};
use crate::dispatch::bucket::Bucket;
use crate::model::Timestamp;
use crate::model::pace::Pace;

/// One endpoint's.
#[derive(Default)]
pub(super) struct Lane {
    in_flight: usize,
    /// As it was when it was asked last.
    pace: Pace,
    breaker: Breaker,
    bucket: Option<Bucket>,
    era: Era,
}

/// When an attempt was begun: how often its endpoint had been paused by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Era(u64);

impl Lane {
    /// How many more attempts may begin; `others` is how many an endpoint without a bound of its own has in flight.
    pub(super) fn room(&mut self, pace: &Pace, others: usize, now: Timestamp) -> usize {
        self.follow(pace);
        self.room_as_known(others, now)
    }

    /// The same by the pace that is known.
    pub(super) fn room_as_known(&mut self, others: usize, now: Timestamp) -> usize {
        let endpoints = self.breaker.room(self.pace.in_flight_max(others), now);
        let rate = self.bucket.map_or(usize::MAX, |bucket| bucket.room(now));
        endpoints.saturating_sub(self.in_flight).min(rate)
    }

    /// An attempt begins, in the era that it is.
    pub(super) fn begin(&mut self, pace: &Pace, now: Timestamp) -> Era {
        self.follow(pace);
        self.in_flight += 1;
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        self.era
    }

    /// An attempt has ended.
    pub(super) fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Takes note of how an attempt of that era ended: failures of before a pause say nothing of the time since.
    pub(super) fn report(&mut self, era: Era, verdict: Verdict, now: Timestamp) {
        if verdict == Verdict::Ailing && era != self.era {
            return;
        }
        let was_paused = self.is_paused();
        self.breaker.report(verdict, now);
        if self.is_paused() && !was_paused {
            self.era.0 += 1;
        }
    }

    pub(super) fn era(&self) -> Era {
        self.era
    }

    fn is_paused(&self) -> bool {
        matches!(self.breaker, Breaker::Paused { .. })
    }

    pub(super) fn is_admitting(&self) -> bool {
        matches!(self.breaker, Breaker::Admitting { .. })
    }

    /// Where its breaker stands, and how many attempts are in flight.
    pub(super) fn state(&self) -> (Breaker, usize) {
        (self.breaker, self.in_flight)
    }

    /// When it opens, where time alone has closed it.
    pub(super) fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let bucket = self.bucket.filter(|bucket| bucket.room(now) == 0).map(|bucket| bucket.opens_at(now));
        self.breaker.opens_at().max(bucket).filter(|time| *time > now)
    }

    /// Whether nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Whether nothing would be lost if it were forgotten.
    pub(super) fn is_as_new(&self, now: Timestamp) -> bool {
        let is_full = |bucket: Bucket| Bucket::full(bucket.rate_per_second()).room(now) == bucket.room(now);
        self.is_idle() && self.breaker == Breaker::default() && self.bucket.is_none_or(is_full)
    }

    /// A rule may have changed it.
    fn follow(&mut self, pace: &Pace) {
        if self.pace == *pace {
            return;
        }
        self.pace = *pace;
        let rate = self.bucket.as_ref().map(Bucket::rate_per_second);
        if rate != pace.rate_per_second {
            self.bucket = pace.rate_per_second.map(Bucket::full);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::after;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn later(seconds: u64) -> Timestamp {
        after(START, Duration::from_secs(seconds))
    }

    #[test]
    fn while_one_attempt_is_made_to_see_those_of_before_the_pause_do_not_fail_for_it() {
        let (mut lane, pace) = (Lane::default(), Pace::default());
        let early: Vec<_> = (0..30).map(|_| lane.begin(&pace, START)).collect();
        early.iter().take(15).for_each(|era| lane.report(*era, Verdict::Ailing, START));
        assert_eq!(lane.opens_at(START), Some(later(1)));
        early.iter().for_each(|_| lane.end());
        assert_eq!(lane.room(&pace, 32, later(1)), 1);
        let probe = lane.begin(&pace, later(1));
        early.iter().skip(15).for_each(|era| lane.report(*era, Verdict::Ailing, later(1)));
        assert_eq!(lane.state().0, Breaker::Probing { pauses: 1 });
        lane.report(probe, Verdict::Ailing, later(1));
        assert_eq!(lane.opens_at(later(1)), Some(later(3)));
    }

    #[test]
    fn an_attempt_of_before_the_pause_that_succeeds_opens_it() {
        let (mut lane, pace) = (Lane::default(), Pace::default());
        let early = lane.begin(&pace, START);
        (0..10).for_each(|_| lane.report(early, Verdict::Ailing, START));
        assert!(!lane.is_admitting());
        lane.report(early, Verdict::Healthy, START);
        assert!(lane.is_admitting());
    }
}
