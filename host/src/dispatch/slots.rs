//! Slots: the right to have an attempt in flight. How many there are is bounded in all, by number and by the bytes of
//! bodies in memory, and per endpoint: by its pace and its circuit breaker.
//!
//! An endpoint for which older deliveries wait in the store gives no slot to fresh ones: they would overtake for ever.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::dispatch::breaker::{Breaker, Verdict};
use crate::dispatch::lane::{Era, Lane};
use crate::model::Timestamp;
use crate::model::ids::EndpointId;
use crate::model::pace::Pace;

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
    /// Bytes of their bodies; one that is larger alone is let through alone.
    pub(super) bytes: usize,
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
    bytes: usize,
    shared: Arc<Shared>,
}

impl Slots {
    pub(super) fn new(bounds: Bounds, freed: Arc<Notify>) -> Self {
        let shared = Shared { bounds, counts: Mutex::default(), freed, all_free: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn try_reserve(&self, endpoint: &EndpointId, pace: &Pace, bytes: usize, now: Timestamp) -> Option<Slot> {
        let bounds = self.shared.bounds;
        let mut counts = self.shared.counts();
        let is_too_much = counts.total > 0 && counts.bytes + bytes > bounds.bytes;
        let is_held = counts.is_claiming && pace.is_bounded();
        let is_full = counts.total >= bounds.attempts || is_too_much || is_held;
        if is_full || counts.room(endpoint, pace, bounds.per_endpoint, now) == 0 {
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
        self.add(&mut self.shared.counts(), endpoint, pace, bytes, now)
    }

    fn add(&self, counts: &mut Counts, endpoint: &EndpointId, pace: &Pace, bytes: usize, now: Timestamp) -> Slot {
        let era = match counts.lanes.get_mut(endpoint) {
            Some(lane) => lane.begin(pace, now),
            None => counts.lanes.entry(endpoint.clone()).or_default().begin(pace, now),
        };
        counts.total += 1;
        counts.bytes += bytes;
        Slot { endpoint: endpoint.clone(), era, bytes, shared: self.shared.clone() }
    }

    /// How many more attempts the endpoint may have, for which something is due. Where there are none, the end of one is a
    /// nudge from now on.
    pub(super) fn room(&self, endpoint: &EndpointId, pace: &Pace, now: Timestamp) -> usize {
        let mut counts = self.shared.counts();
        let room = counts.room(endpoint, pace, self.shared.bounds.per_endpoint, now);
        if room == 0 {
            counts.crowded.insert(endpoint.clone());
        }
        room
    }

    /// How many more attempts there may be; none while their bodies have no room. Where there are none, the end of any is
    /// a nudge from now on.
    pub(super) fn free_or_short(&self) -> usize {
        let mut counts = self.shared.counts();
        let free = counts.free(self.shared.bounds);
        counts.is_short |= free == 0;
        free
    }

    /// How many more bytes their bodies may have.
    pub(super) fn free_bytes(&self) -> usize {
        self.shared.bounds.bytes.saturating_sub(self.shared.counts().bytes)
    }

    /// Whether the store is being asked for what is due.
    pub(super) fn set_claiming(&self, is_claiming: bool) {
        self.shared.counts().is_claiming = is_claiming;
    }

    /// After a round of claims: whether something that is due had to stay. Endpoints that have free slots now, or all
    /// where nothing stayed, take fresh deliveries again. Endpoints that are no longer there are forgotten. When the first
    /// of the endpoints that time alone has closed opens.
    pub(super) fn settle(
        &self,
        is_behind: bool,
        is_there: impl Fn(&EndpointId) -> bool,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let per_endpoint = self.shared.bounds.per_endpoint;
        let mut counts = self.shared.counts();
        counts.is_short = is_behind && counts.free(self.shared.bounds) == 0;
        let Counts { lanes, crowded, .. } = &mut *counts;
        let is_full = |lane: &mut Lane| lane.room_as_known(per_endpoint, now) == 0;
        crowded.retain(|endpoint| is_behind && lanes.get_mut(endpoint).is_some_and(is_full));
        lanes.retain(|endpoint, lane| !lane.is_as_new(now) && (!lane.is_idle() || is_there(endpoint)));
        lanes.values().filter_map(|lane| lane.opens_at(now)).min()
    }

    /// The era of what begins without a slot.
    pub(super) fn era(&self, endpoint: &EndpointId) -> Era {
        self.shared.counts().lanes.get(endpoint).map(Lane::era).unwrap_or_default()
    }

    /// Takes note of what such an attempt says of its endpoint.
    pub(super) fn report(&self, endpoint: &EndpointId, era: Era, verdict: Verdict, now: Timestamp) {
        self.shared.counts().report(endpoint, era, verdict, now);
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
    fn free(&self, bounds: Bounds) -> usize {
        let has_room = self.total == 0 || self.bytes < bounds.bytes;
        if has_room { bounds.attempts.saturating_sub(self.total) } else { 0 }
    }

    fn room(&mut self, endpoint: &EndpointId, pace: &Pace, others: usize, now: Timestamp) -> usize {
        match self.lanes.get_mut(endpoint) {
            Some(lane) => lane.room(pace, others, now),
            None => Lane::default().room(pace, others, now),
        }
    }

    /// Whether that has opened the endpoint.
    fn report(&mut self, endpoint: &EndpointId, era: Era, verdict: Verdict, now: Timestamp) -> bool {
        let Some(lane) = self.lanes.get_mut(endpoint) else { return false };
        let was_open = lane.is_admitting();
        lane.report(era, verdict, now);
        !was_open && lane.is_admitting()
    }
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Takes note of what the attempt says of its endpoint; whether that has opened it.
    pub(super) fn report(&self, verdict: Verdict, now: Timestamp) -> bool {
        self.shared.counts().report(&self.endpoint, self.era, verdict, now)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.shared.counts();
        counts.total -= 1;
        counts.bytes -= self.bytes;
        if let Some(lane) = counts.lanes.get_mut(&self.endpoint) {
            lane.end();
        }
        if counts.is_short || counts.crowded.contains(&self.endpoint) {
            self.shared.freed.notify_one();
        }
        if counts.total == 0 {
            self.shared.all_free.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{RuleId, WebhookId};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    impl Slots {
        fn reserved(&self, endpoint: &EndpointId, bytes: usize) -> Option<Slot> {
            self.try_reserve(endpoint, &Pace::default(), bytes, NOW)
        }
    }

    fn endpoint(name: &str) -> EndpointId {
        EndpointId { rule: RuleId(uuid::Uuid::nil()), webhook: WebhookId(name.to_owned()) }
    }

    fn all(_: &EndpointId) -> bool {
        true
    }

    fn slots() -> Slots {
        Slots::new(Bounds { per_endpoint: 2, attempts: 3, bytes: 100 }, Arc::new(Notify::new()))
    }

    #[test]
    fn bodies_have_room_together_and_a_larger_one_has_it_alone() {
        let slots = slots();
        let large = slots.reserved(&endpoint("a"), 1_000).expect("it is alone");
        assert_eq!((slots.free_or_short(), slots.free_bytes()), (0, 0));
        assert!(slots.reserved(&endpoint("b"), 1).is_none());
        drop(large);
        slots.settle(false, all, NOW);
        let _small = slots.reserved(&endpoint("b"), 60).expect("there is room");
        assert!(slots.reserved(&endpoint("c"), 60).is_none());
        assert_eq!((slots.free_or_short(), slots.free_bytes()), (2, 40));
    }

    #[test]
    fn a_slot_that_ends_between_two_looks_is_a_nudge_where_one_was_asked_for() {
        let freed = Arc::new(Notify::new());
        let slots = Slots::new(Bounds { per_endpoint: 1, attempts: 2, bytes: 100 }, freed.clone());
        let is_nudged = || futures::FutureExt::now_or_never(freed.notified()).is_some();
        let (first, other) = (slots.reserved(&endpoint("a"), 1), slots.reserved(&endpoint("b"), 1));
        assert_eq!(slots.room(&endpoint("a"), &Pace::default(), NOW), 0);
        drop(first);
        assert!(is_nudged(), "something is due for it");
        slots.settle(true, all, NOW);
        drop(other);
        assert!(!is_nudged(), "nothing is due for it");
        let all = [slots.reserved(&endpoint("a"), 1), slots.reserved(&endpoint("b"), 1)];
        assert_eq!(slots.free_or_short(), 0);
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
        assert_eq!(slots.free_or_short(), 1);
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
        let slots = Slots::new(Bounds { per_endpoint: 1, attempts: 1, bytes: 100 }, freed.clone());
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
        assert_eq!(slots.room(&id, &pace, NOW), 0);
        assert!(slots.try_reserve(&id, &pace, 1, NOW).is_none());
    }

    #[test]
    fn an_endpoint_that_is_no_longer_there_is_forgotten_when_its_last_attempt_has_ended() {
        let slots = slots();
        let in_flight = slots.reserved(&endpoint("a"), 1).expect("it is free");
        in_flight.report(Verdict::Ailing, NOW);
        let is_known = || slots.shared.counts().lanes.contains_key(&endpoint("a"));
        assert_eq!(slots.settle(false, |_| false, NOW), None);
        assert!(is_known());
        drop(in_flight);
        slots.settle(false, all, NOW);
        assert!(is_known(), "it failed last");
        slots.settle(false, |_| false, NOW);
        assert!(!is_known());
    }

    #[test]
    fn what_time_alone_has_closed_says_when_it_opens() {
        let slots = slots();
        let pace = Pace { rate_per_second: Some(1.0), ..Pace::default() };
        drop(slots.try_reserve(&endpoint("a"), &pace, 1, NOW));
        let paused = slots.reserved(&endpoint("b"), 1).expect("it is free");
        paused.report(Verdict::Throttled(std::time::Duration::from_secs(5)), NOW);
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
