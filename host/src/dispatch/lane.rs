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
}

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

    /// An attempt begins.
    pub(super) fn begin(&mut self, pace: &Pace, now: Timestamp) {
        self.follow(pace);
        self.in_flight += 1;
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
    }

    /// An attempt has ended.
    pub(super) fn end(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub(super) fn report(&mut self, verdict: Verdict, now: Timestamp) {
        self.breaker.report(verdict, now);
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

    /// Whether nothing would be lost if it were forgotten.
    pub(super) fn is_as_new(&self, now: Timestamp) -> bool {
        let is_full = |bucket: Bucket| Bucket::full(bucket.rate_per_second()).room(now) == bucket.room(now);
        self.in_flight == 0 && self.breaker == Breaker::default() && self.bucket.is_none_or(is_full)
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
