//! Slots: the right to have an attempt in flight. How many there are is bounded in all and per endpoint: by number, by the
//! bytes of large bodies in memory, and at an endpoint by its pace and its circuit breaker. Small bodies are bounded by
//! number alone: they need no bytes.
//!
//! An endpoint for which older deliveries wait in the store gives no slot to fresh ones: they would overtake for ever.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::dispatch::breaker::{Breaker, Verdict};
use crate::dispatch::lane::{Era, Lane};
use crate::limits::SMALL_BODY_BYTES_MAX;
use crate::model::Timestamp;
use crate::model::endpoint::EndpointUrl;
use crate::model::ids::EndpointId;
use crate::model::pace::Pace;
use crate::store::Share;

pub(super) struct Slots {
    shared: Arc<Shared>,
}

/// How much may be in flight.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Attempts at one endpoint that has no bound of its own.
    pub(super) per_endpoint: usize,
    /// Attempts in all.
    pub(super) attempts: usize,
    /// Bytes of their large bodies; one that is larger alone is let through alone.
    pub(super) bytes: usize,
    /// The same at one endpoint.
    pub(super) bytes_per_endpoint: usize,
}

struct Shared {
    bounds: Bounds,
    counts: Mutex<Counts>,
    /// Told when a slot is freed that somebody waits for.
    freed: Arc<Notify>,
    all_free: Notify,
}

#[derive(Default)]
struct Counts {
    lanes: HashMap<EndpointId, Lane>,
    total: usize,
    /// Of large bodies.
    bytes: usize,
    /// Endpoints that had no free slot when one was asked for.
    crowded: HashSet<EndpointId>,
    /// Something that is due had to stay because of what all endpoints share.
    is_short: bool,
    /// The store is asked for what is due: an endpoint with a bound of its own gives no other slots meanwhile.
    is_claiming: bool,
}

/// The right to have one attempt in flight; given back on drop.
pub struct Slot {
    endpoint: EndpointId,
    era: Era,
    /// Of a large body.
    bytes: usize,
    shared: Arc<Shared>,
}

impl Slots {
    pub(super) fn new(bounds: Bounds, freed: Arc<Notify>) -> Self {
        let shared = Shared { bounds, counts: Mutex::default(), freed, all_free: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn try_reserve(&self, endpoint: &EndpointId, pace: &Pace, bytes: usize, now: Timestamp) -> Option<Slot> {
        let (bounds, bytes) = (self.shared.bounds, if_large(bytes));
        let mut counts = self.shared.counts();
        let is_held = counts.is_claiming && pace.is_bounded();
        let is_full = counts.total >= bounds.attempts || counts.is_too_much(endpoint, bytes, bounds) || is_held;
        if is_full || counts.room(endpoint, pace, bounds, now) == 0 {
            counts.crowded.insert(endpoint.clone());
            return None;
        }
        if counts.crowded.contains(endpoint) {
            return None;
        }
        Some(self.add(&mut counts, endpoint, pace, bytes, now))
    }

    /// A slot for what the store has counted already. Slots that fan-out took while the store was asked come on top, for as
    /// long as these attempts last; but never at an endpoint with a bound of its own.
    pub(super) fn take(&self, endpoint: &EndpointId, pace: &Pace, bytes: usize, now: Timestamp) -> Slot {
        self.add(&mut self.shared.counts(), endpoint, pace, if_large(bytes), now)
    }

    fn add(&self, counts: &mut Counts, endpoint: &EndpointId, pace: &Pace, bytes: usize, now: Timestamp) -> Slot {
        let era = match counts.lanes.get_mut(endpoint) {
            Some(lane) => lane.begin(pace, bytes, now),
            None => counts.lanes.entry(endpoint.clone()).or_default().begin(pace, bytes, now),
        };
        counts.total += 1;
        counts.bytes += bytes;
        Slot { endpoint: endpoint.clone(), era, bytes, shared: self.shared.clone() }
    }

    /// What more the endpoint may have, for which something is due. Where it may have nothing, the end of an attempt is a
    /// nudge from now on.
    pub(super) fn room(&self, endpoint: &EndpointId, pace: &Pace, now: Timestamp) -> Share {
        let bounds = self.shared.bounds;
        let mut counts = self.shared.counts();
        let claims = counts.room(endpoint, pace, bounds, now);
        if claims == 0 {
            counts.crowded.insert(endpoint.clone());
        }
        let bytes = counts.lanes.get(endpoint).map_or(bounds.bytes_per_endpoint, |lane| lane.free_bytes(bounds));
        Share { claims, bytes }
    }

    /// How many more attempts there may be, and how many more bytes their large bodies may have. Where there are none of
    /// either, the end of any attempt is a nudge from now on.
    pub(super) fn free_or_short(&self) -> (usize, usize) {
        let mut counts = self.shared.counts();
        counts.is_short |= counts.has_no_room(self.shared.bounds);
        counts.free(self.shared.bounds)
    }

    /// Whether the store is being asked for what is due.
    pub(super) fn set_claiming(&self, is_claiming: bool) {
        self.shared.counts().is_claiming = is_claiming;
    }

    /// After a round of claims: whether something that is due had to stay. Endpoints that have free slots now, or all
    /// where nothing stayed, take fresh deliveries again. Endpoints that are no longer there are forgotten, and of those
    /// that have another URL what was heard of the one before. When the first of the endpoints that are closed opens by
    /// itself.
    pub(super) fn settle<'a>(
        &self,
        is_behind: bool,
        url: impl Fn(&EndpointId) -> Option<&'a EndpointUrl>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let bounds = self.shared.bounds;
        let mut counts = self.shared.counts();
        counts.is_short = is_behind && counts.has_no_room(bounds);
        let Counts { lanes, crowded, .. } = &mut *counts;
        let mut moved = None;
        for (endpoint, lane) in lanes.iter_mut().filter(|(_, lane)| !lane.is_well()) {
            if url(endpoint).is_some_and(|url| lane.has_moved_to(url)) {
                moved = Some(now);
            }
        }
        let is_full = |lane: &mut Lane| lane.room_as_known(bounds, now) == 0;
        crowded.retain(|endpoint| is_behind && lanes.get_mut(endpoint).is_some_and(is_full));
        lanes.retain(|endpoint, lane| !lane.is_as_new(now) && (!lane.is_idle() || url(endpoint).is_some()));
        moved.or_else(|| lanes.values().filter_map(|lane| lane.opens_at(now)).min())
    }

    /// The era of what begins without a slot.
    pub(super) fn era(&self, endpoint: &EndpointId) -> Era {
        self.shared.counts().lanes.get(endpoint).map(Lane::era).unwrap_or_default()
    }

    /// Takes note of what such an attempt, which went to the URL, says of its endpoint; whether that has opened it.
    pub(super) fn report(
        &self,
        endpoint: &EndpointId,
        era: Era,
        verdict: Verdict,
        url: &EndpointUrl,
        now: Timestamp,
    ) -> bool {
        self.shared.counts().report(endpoint, era, verdict, url, now)
    }

    /// Where the breakers stand that do not simply admit, and the attempts that are in flight.
    pub(super) fn state(&self, endpoint: &EndpointId) -> (Breaker, usize) {
        self.shared.counts().lanes.get(endpoint).map(Lane::state).unwrap_or_default()
    }

    pub(super) async fn all_free(&self) {
        loop {
            let changed = self.shared.all_free.notified();
            if self.shared.counts().total == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Counts {
    /// Attempts, and bytes of large bodies.
    fn free(&self, bounds: Bounds) -> (usize, usize) {
        (bounds.attempts.saturating_sub(self.total), bounds.bytes.saturating_sub(self.bytes))
    }

    fn has_no_room(&self, bounds: Bounds) -> bool {
        let (attempts, bytes) = self.free(bounds);
        attempts == 0 || bytes == 0
    }

    fn is_too_much(&self, endpoint: &EndpointId, bytes: usize, bounds: Bounds) -> bool {
        let at_endpoint =
            self.lanes.get(endpoint).map_or(0, |lane| bounds.bytes_per_endpoint - lane.free_bytes(bounds));
        let is_beyond = |used: usize, max: usize| used > 0 && used + bytes > max;
        bytes > 0 && (is_beyond(self.bytes, bounds.bytes) || is_beyond(at_endpoint, bounds.bytes_per_endpoint))
    }

    fn room(&mut self, endpoint: &EndpointId, pace: &Pace, bounds: Bounds, now: Timestamp) -> usize {
        match self.lanes.get_mut(endpoint) {
            Some(lane) => lane.room(pace, bounds, now),
            None => Lane::default().room(pace, bounds, now),
        }
    }

    /// Whether that has opened the endpoint.
    fn report(&mut self, endpoint: &EndpointId, era: Era, verdict: Verdict, url: &EndpointUrl, now: Timestamp) -> bool {
        let Some(lane) = self.lanes.get_mut(endpoint) else { return false };
        let was_open = lane.is_admitting();
        lane.report(era, verdict, url, now);
        !was_open && lane.is_admitting()
    }
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Takes note of what the attempt, which went to the URL, says of its endpoint; whether that has opened it.
    pub(super) fn report(&self, verdict: Verdict, url: &EndpointUrl, now: Timestamp) -> bool {
        self.shared.counts().report(&self.endpoint, self.era, verdict, url, now)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.shared.counts();
        counts.total -= 1;
        counts.bytes -= self.bytes;
        if let Some(lane) = counts.lanes.get_mut(&self.endpoint) {
            lane.end(self.bytes);
        }
        if counts.is_short || counts.crowded.contains(&self.endpoint) {
            self.shared.freed.notify_one();
        }
        if counts.total == 0 {
            self.shared.all_free.notify_waiters();
        }
    }
}

/// A large body's bytes; a small one counts for none.
fn if_large(bytes: usize) -> usize {
    if bytes > SMALL_BODY_BYTES_MAX { bytes } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::model::ids::{RuleId, WebhookId};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const LARGE: usize = SMALL_BODY_BYTES_MAX + 1;
    const BOUNDS: Bounds = Bounds { per_endpoint: 2, attempts: 3, bytes: 3 * LARGE, bytes_per_endpoint: 2 * LARGE };

    impl Slots {
        fn reserved(&self, endpoint: &EndpointId, bytes: usize) -> Option<Slot> {
            self.try_reserve(endpoint, &Pace::default(), bytes, NOW)
        }
    }

    fn endpoint(name: &str) -> EndpointId {
        EndpointId { rule: RuleId(uuid::Uuid::nil()), webhook: WebhookId(name.to_owned()) }
    }

    fn url() -> &'static EndpointUrl {
        static URL: OnceLock<EndpointUrl> = OnceLock::new();
        URL.get_or_init(|| EndpointUrl::parse("https://a.example/").unwrap())
    }

    fn all(_: &EndpointId) -> Option<&'static EndpointUrl> {
        Some(url())
    }

    fn none(_: &EndpointId) -> Option<&'static EndpointUrl> {
        None
    }

    fn slots() -> Slots {
        Slots::new(BOUNDS, Arc::new(Notify::new()))
    }

    #[test]
    fn large_bodies_have_room_together_and_one_that_is_larger_has_it_alone() {
        let slots = slots();
        let large = slots.reserved(&endpoint("a"), 10 * LARGE).expect("it is alone");
        assert_eq!(slots.free_or_short(), (2, 0));
        assert!(slots.reserved(&endpoint("b"), LARGE).is_none());
        drop(large);
        slots.settle(false, all, NOW);
        let _two = [slots.reserved(&endpoint("b"), LARGE), slots.reserved(&endpoint("c"), LARGE)].map(Option::unwrap);
        assert_eq!(slots.free_or_short(), (1, LARGE));
    }

    #[test]
    fn an_endpoint_has_a_share_of_the_bytes_and_small_bodies_wait_for_none() {
        let slots = slots();
        let _first = slots.reserved(&endpoint("a"), LARGE).expect("it is free");
        assert!(slots.reserved(&endpoint("a"), 2 * LARGE).is_none());
        let _second = slots.reserved(&endpoint("b"), 2 * LARGE).expect("it has a share of its own");
        assert_eq!(slots.free_or_short(), (1, 0));
        assert_eq!(
            slots.room(&endpoint("c"), &Pace::default(), NOW),
            Share { claims: 2, bytes: BOUNDS.bytes_per_endpoint }
        );
        let _third = slots.reserved(&endpoint("c"), SMALL_BODY_BYTES_MAX).expect("it is small");
    }

    #[test]
    fn the_end_of_any_is_a_nudge_where_large_bodies_had_no_room() {
        let freed = Arc::new(Notify::new());
        let slots = Slots::new(BOUNDS, freed.clone());
        let (large, small) = (slots.reserved(&endpoint("a"), 10 * LARGE), slots.reserved(&endpoint("b"), 1));
        slots.settle(true, all, NOW);
        drop(small);
        assert!(futures::FutureExt::now_or_never(freed.notified()).is_some());
        drop(large);
    }

    #[test]
    fn an_endpoint_that_was_given_another_url_is_open_at_once() {
        let (slots, id) = (slots(), endpoint("a"));
        let other = EndpointUrl::parse("https://b.example/").unwrap();
        let paused = slots.reserved(&id, 1).expect("it is free");
        paused.report(Verdict::Throttled(std::time::Duration::from_secs(5)), url(), NOW);
        drop(paused);
        assert!(slots.settle(true, all, NOW) > Some(NOW));
        assert!(slots.reserved(&id, 1).is_none());
        assert_eq!(slots.settle(true, |_| Some(&other), NOW), Some(NOW));
        assert!(slots.reserved(&id, 1).is_some());
    }

    #[test]
    fn a_slot_that_ends_between_two_looks_is_a_nudge_where_one_was_asked_for() {
        let freed = Arc::new(Notify::new());
        let slots = Slots::new(Bounds { per_endpoint: 1, attempts: 2, ..BOUNDS }, freed.clone());
        let is_nudged = || futures::FutureExt::now_or_never(freed.notified()).is_some();
        let (first, other) = (slots.reserved(&endpoint("a"), 1), slots.reserved(&endpoint("b"), 1));
        assert_eq!(slots.room(&endpoint("a"), &Pace::default(), NOW).claims, 0);
        drop(first);
        assert!(is_nudged(), "something is due for it");
        slots.settle(true, all, NOW);
        drop(other);
        assert!(!is_nudged(), "nothing is due for it");
        let all = [slots.reserved(&endpoint("a"), 1), slots.reserved(&endpoint("b"), 1)];
        assert_eq!(slots.free_or_short().0, 0);
        drop(all);
        assert!(is_nudged(), "there was no room for anything");
    }

    #[test]
    fn an_endpoint_uses_up_its_own_slots_only() {
        let slots = slots();
        let taken = [slots.reserved(&endpoint("a"), 1), slots.reserved(&endpoint("a"), 1)];
        assert!(taken.iter().all(Option::is_some));
        assert!(slots.reserved(&endpoint("a"), 1).is_none());
        assert!(slots.reserved(&endpoint("b"), 1).is_some());
        assert_eq!(slots.free_or_short().0, 1);
    }

    #[test]
    fn a_crowded_endpoint_takes_nothing_fresh_until_what_waited_is_claimed() {
        let slots = slots();
        let taken = [slots.reserved(&endpoint("a"), 1), slots.reserved(&endpoint("a"), 1)];
        assert!(slots.reserved(&endpoint("a"), 1).is_none());
        drop(taken);
        assert!(slots.reserved(&endpoint("a"), 1).is_none());
        slots.settle(false, all, NOW);
        assert!(slots.reserved(&endpoint("a"), 1).is_some());
    }

    #[tokio::test]
    async fn a_freed_slot_that_somebody_waits_for_is_a_nudge() {
        let freed = Arc::new(Notify::new());
        let slots = Slots::new(Bounds { per_endpoint: 1, attempts: 1, ..BOUNDS }, freed.clone());
        let slot = slots.take(&endpoint("a"), &Pace::default(), 1, NOW);
        slots.settle(true, all, NOW);
        drop(slot);
        freed.notified().await;
        slots.all_free().await;
    }

    #[test]
    fn a_bound_of_its_own_is_kept_also_while_the_store_is_asked() {
        let (slots, id) = (slots(), endpoint("a"));
        let pace = Pace { concurrency: Some(1), ..Pace::default() };
        slots.set_claiming(true);
        assert!(slots.try_reserve(&id, &pace, 1, NOW).is_none());
        assert!(slots.reserved(&endpoint("b"), 1).is_some());
        let _claimed = slots.take(&id, &pace, 1, NOW);
        slots.set_claiming(false);
        slots.settle(false, all, NOW);
        assert_eq!(slots.room(&id, &pace, NOW).claims, 0);
        assert!(slots.try_reserve(&id, &pace, 1, NOW).is_none());
    }

    #[test]
    fn an_endpoint_that_is_no_longer_there_is_forgotten_when_its_last_attempt_has_ended() {
        let slots = slots();
        let in_flight = slots.reserved(&endpoint("a"), 1).expect("it is free");
        in_flight.report(Verdict::Ailing, url(), NOW);
        let is_known = || slots.shared.counts().lanes.contains_key(&endpoint("a"));
        assert_eq!(slots.settle(false, none, NOW), None);
        assert!(is_known());
        drop(in_flight);
        slots.settle(false, all, NOW);
        assert!(is_known(), "it failed last");
        slots.settle(false, none, NOW);
        assert!(!is_known());
    }

    #[test]
    fn what_time_alone_has_closed_says_when_it_opens() {
        let slots = slots();
        let pace = Pace { rate_per_second: Some(1.0), ..Pace::default() };
        drop(slots.try_reserve(&endpoint("a"), &pace, 1, NOW));
        let paused = slots.reserved(&endpoint("b"), 1).expect("it is free");
        paused.report(Verdict::Throttled(std::time::Duration::from_secs(5)), url(), NOW);
        drop(paused);
        let in_seconds = |seconds| crate::clock::after(NOW, std::time::Duration::from_secs(seconds));
        assert_eq!(slots.settle(true, all, NOW), Some(in_seconds(1)));
        assert!(slots.try_reserve(&endpoint("a"), &pace, 1, NOW).is_none());
        assert!(slots.reserved(&endpoint("b"), 1).is_none());
        assert_eq!(slots.settle(true, all, in_seconds(1)), Some(in_seconds(5)));
        assert!(slots.try_reserve(&endpoint("a"), &pace, 1, in_seconds(1)).is_some());
        assert_eq!(slots.settle(true, all, in_seconds(5)), None);
        assert!(slots.try_reserve(&endpoint("b"), &Pace::default(), 1, in_seconds(5)).is_some());
    }
}
