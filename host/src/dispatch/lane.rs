//! What may go to one endpoint at a moment: its attempts in flight, the bytes of their large bodies, its rate and its
//! circuit breaker. Pure.

use crate::dispatch::breaker::{Breaker, Verdict};
use crate::dispatch::bucket::Bucket;
use crate::dispatch::slots::Bounds;
use crate::model::Timestamp;
use crate::model::endpoint::EndpointUrl;
use crate::model::pace::Pace;

/// One endpoint's.
#[derive(Default)]
pub(super) struct Lane {
    in_flight: usize,
    /// Of large bodies.
    bytes: usize,
    /// As it was when it was asked last.
    pace: Pace,
    breaker: Breaker,
    /// Where the attempt went that the breaker heard of last, unless all is well.
    ails_at: Option<EndpointUrl>,
    bucket: Option<Bucket>,
    era: Era,
}

/// When an attempt was begun: how often its endpoint had been paused by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Era(u64);

impl Lane {
    /// How many more attempts may begin: none while its large bodies have no room.
    pub(super) fn room(&mut self, pace: &Pace, bounds: Bounds, now: Timestamp) -> usize {
        self.follow(pace);
        self.room_as_known(bounds, now)
    }

    /// The same by the pace that is known.
    pub(super) fn room_as_known(&mut self, bounds: Bounds, now: Timestamp) -> usize {
        let endpoints = self.breaker.room(self.pace.in_flight_max(bounds.per_endpoint), now);
        let rate = self.bucket.map_or(usize::MAX, |bucket| bucket.room(now));
        if self.free_bytes(bounds) == 0 { 0 } else { endpoints.saturating_sub(self.in_flight).min(rate) }
    }

    /// How many more bytes its large bodies may have.
    pub(super) fn free_bytes(&self, bounds: Bounds) -> usize {
        bounds.bytes_per_endpoint.saturating_sub(self.bytes)
    }

    /// An attempt begins, with so many bytes of a large body, in the era that it is.
    pub(super) fn begin(&mut self, pace: &Pace, bytes: usize, now: Timestamp) -> Era {
        self.follow(pace);
        self.in_flight += 1;
        self.bytes += bytes;
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        self.era
    }

    /// An attempt has ended, with so many bytes of a large body.
    pub(super) fn end(&mut self, bytes: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Takes note of how an attempt of that era ended: failures of before a pause say nothing of the time since, and what
    /// the receiver has asked for no earlier success takes back.
    pub(super) fn report(&mut self, era: Era, verdict: Verdict, url: &EndpointUrl, now: Timestamp) {
        let is_stale = match verdict {
            Verdict::Ailing => true,
            Verdict::Healthy => self.breaker.is_asked_for(),
            Verdict::Throttled(_) => false,
        };
        if is_stale && era != self.era {
            return;
        }
        let was_paused = self.is_paused();
        self.breaker.report(verdict, now);
        self.ails_at = (self.breaker != Breaker::default()).then(|| url.clone());
        if self.is_paused() && !was_paused {
            self.era.0 += 1;
        }
    }

    /// A rule may have given it another URL: what was heard of the one before says nothing of that. Whether it was so.
    pub(super) fn has_moved_to(&mut self, url: &EndpointUrl) -> bool {
        let has_moved = self.ails_at.take_if(|ails_at| ails_at != url).is_some();
        if has_moved {
            self.breaker = Breaker::default();
        }
        has_moved
    }

    pub(super) fn era(&self) -> Era {
        self.era
    }

    /// Whether nothing bad was heard of it.
    pub(super) fn is_well(&self) -> bool {
        self.ails_at.is_none()
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
    const BOUNDS: Bounds = Bounds { per_endpoint: 32, attempts: 100, bytes: 200, bytes_per_endpoint: 100 };

    fn later(seconds: u64) -> Timestamp {
        after(START, Duration::from_secs(seconds))
    }

    fn url(path: &str) -> EndpointUrl {
        EndpointUrl::parse(&format!("https://a.example/{path}")).unwrap()
    }

    impl Lane {
        fn begun(&mut self) -> Era {
            self.begin(&Pace::default(), 0, START)
        }

        fn told(&mut self, era: Era, verdict: Verdict, now: Timestamp) {
            self.report(era, verdict, &url(""), now);
        }

        fn room_now(&mut self, now: Timestamp) -> usize {
            self.room(&Pace::default(), BOUNDS, now)
        }
    }

    #[test]
    fn while_one_attempt_is_made_to_see_those_of_before_the_pause_do_not_fail_for_it() {
        let mut lane = Lane::default();
        let early: Vec<_> = (0..30).map(|_| lane.begun()).collect();
        early.iter().take(15).for_each(|era| lane.told(*era, Verdict::Ailing, START));
        assert_eq!(lane.opens_at(START), Some(later(1)));
        early.iter().for_each(|_| lane.end(0));
        assert_eq!(lane.room_now(later(1)), 1);
        let probe = lane.begun();
        early.iter().skip(15).for_each(|era| lane.told(*era, Verdict::Ailing, later(1)));
        assert_eq!(lane.state().0, Breaker::Probing { pauses: 1 });
        lane.told(probe, Verdict::Ailing, later(1));
        assert_eq!(lane.opens_at(later(1)), Some(later(3)));
    }

    #[test]
    fn an_attempt_of_before_the_pause_that_succeeds_opens_it() {
        let mut lane = Lane::default();
        let early = lane.begun();
        (0..10).for_each(|_| lane.told(early, Verdict::Ailing, START));
        assert!(!lane.is_admitting());
        lane.told(early, Verdict::Healthy, START);
        assert!(lane.is_admitting());
    }

    #[test]
    fn a_pause_that_was_asked_for_no_earlier_success_ends_and_a_later_one_does() {
        let mut lane = Lane::default();
        let early = lane.begun();
        lane.told(early, Verdict::Throttled(Duration::from_secs(60)), START);
        lane.told(early, Verdict::Healthy, START);
        assert_eq!(lane.opens_at(START), Some(later(60)));
        let probe = lane.era();
        lane.told(probe, Verdict::Healthy, START);
        assert!(lane.is_admitting());
    }

    #[test]
    fn what_was_heard_of_one_url_says_nothing_of_the_next() {
        let mut lane = Lane::default();
        let era = lane.begun();
        lane.report(era, Verdict::Throttled(Duration::from_secs(60)), &url("old"), START);
        assert!(!lane.has_moved_to(&url("old")) && !lane.is_admitting());
        assert!(lane.has_moved_to(&url("new")) && lane.is_admitting());
        assert!(!lane.has_moved_to(&url("old")), "it is told once");
    }

    #[test]
    fn large_bodies_close_it_until_they_have_ended() {
        let mut lane = Lane::default();
        lane.begin(&Pace::default(), 99, START);
        assert_eq!((lane.room_now(START), lane.free_bytes(BOUNDS)), (31, 1));
        lane.begin(&Pace::default(), 500, START);
        assert_eq!((lane.room_now(START), lane.free_bytes(BOUNDS)), (0, 0));
        lane.end(500);
        assert_eq!(lane.room_now(START), 31);
    }
}
