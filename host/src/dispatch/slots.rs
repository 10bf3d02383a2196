//! Slots: how many attempts are in flight, per endpoint and in all, and how many bytes their bodies hold in memory.
//!
//! An endpoint for which older deliveries wait in the store gives no slot to fresh ones: they would overtake for ever.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::ids::EndpointId;

pub(super) struct Slots {
    shared: Arc<Shared>,
}

/// How much may be in flight.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Attempts at one endpoint.
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
    in_flight: HashMap<EndpointId, usize>,
    total: usize,
    bytes: usize,
    /// Endpoints that had no free slot when one was asked for.
    crowded: HashSet<EndpointId>,
    is_behind: bool,
    /// Slots that were given back so far.
    freed: u64,
}

/// The right to have one attempt in flight; given back on drop.
pub struct Slot {
    endpoint: EndpointId,
    bytes: usize,
    shared: Arc<Shared>,
}

impl Slots {
    pub(super) fn new(bounds: Bounds, freed: Arc<Notify>) -> Self {
        let shared = Shared { bounds, counts: Mutex::default(), freed, all_free: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    pub(super) fn try_reserve(&self, endpoint: &EndpointId, bytes: usize) -> Option<Slot> {
        let bounds = self.shared.bounds;
        let mut counts = self.shared.counts();
        let used = counts.in_flight.get(endpoint).copied().unwrap_or(0);
        let is_too_much = counts.total > 0 && counts.bytes + bytes > bounds.bytes;
        let is_full = used >= bounds.per_endpoint || counts.total >= bounds.attempts || is_too_much;
        if is_full {
            counts.crowded.insert(endpoint.clone());
        }
        if is_full || counts.crowded.contains(endpoint) {
            return None;
        }
        Some(self.add(&mut counts, endpoint, bytes))
    }

    /// A slot for what the store has counted already. Slots that fan-out took while the store was asked come on top, for as
    /// long as these attempts last.
    pub(super) fn take(&self, endpoint: &EndpointId, bytes: usize) -> Slot {
        self.add(&mut self.shared.counts(), endpoint, bytes)
    }

    fn add(&self, counts: &mut Counts, endpoint: &EndpointId, bytes: usize) -> Slot {
        *counts.in_flight.entry(endpoint.clone()).or_default() += 1;
        counts.total += 1;
        counts.bytes += bytes;
        Slot { endpoint: endpoint.clone(), bytes, shared: self.shared.clone() }
    }

    /// How many more attempts there may be; none while their bodies have no room.
    pub(super) fn free(&self) -> usize {
        let counts = self.shared.counts();
        let has_room = counts.total == 0 || counts.bytes < self.shared.bounds.bytes;
        if has_room { self.shared.bounds.attempts.saturating_sub(counts.total) } else { 0 }
    }

    /// How many more bytes their bodies may have.
    pub(super) fn free_bytes(&self) -> usize {
        self.shared.bounds.bytes.saturating_sub(self.shared.counts().bytes)
    }

    /// How many slots were given back so far: whether one was, between two looks.
    pub(super) fn freed(&self) -> u64 {
        self.shared.counts().freed
    }

    pub(super) fn in_flight(&self) -> HashMap<EndpointId, usize> {
        self.shared.counts().in_flight.clone()
    }

    /// After a round of claims: whether something that is due had to stay. Endpoints that have free slots now, or all
    /// where nothing stayed, take fresh deliveries again.
    pub(super) fn set_behind(&self, is_behind: bool) {
        let mut counts = self.shared.counts();
        counts.is_behind = is_behind;
        let Counts { in_flight, crowded, .. } = &mut *counts;
        let per_endpoint = self.shared.bounds.per_endpoint;
        let is_full = |endpoint: &EndpointId| in_flight.get(endpoint).is_some_and(|used| *used >= per_endpoint);
        if is_behind {
            crowded.retain(|endpoint| is_full(endpoint));
            crowded.extend(in_flight.keys().filter(|endpoint| is_full(endpoint)).cloned());
        } else {
            crowded.clear();
        }
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

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.shared.counts();
        counts.total -= 1;
        counts.freed += 1;
        counts.bytes -= self.bytes;
        if let Some(used) = counts.in_flight.get_mut(&self.endpoint) {
            *used -= 1;
            if *used == 0 {
                counts.in_flight.remove(&self.endpoint);
            }
        }
        if counts.is_behind || counts.crowded.contains(&self.endpoint) {
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

    fn endpoint(name: &str) -> EndpointId {
        EndpointId { rule: RuleId(uuid::Uuid::nil()), webhook: WebhookId(name.to_owned()) }
    }

    fn slots() -> Slots {
        Slots::new(Bounds { per_endpoint: 2, attempts: 3, bytes: 100 }, Arc::new(Notify::new()))
    }

    #[test]
    fn bodies_have_room_together_and_a_larger_one_has_it_alone() {
        let slots = slots();
        let large = slots.try_reserve(&endpoint("a"), 1_000).expect("it is alone");
        assert_eq!((slots.free(), slots.free_bytes()), (0, 0));
        assert!(slots.try_reserve(&endpoint("b"), 1).is_none());
        drop(large);
        slots.set_behind(false);
        let _small = slots.try_reserve(&endpoint("b"), 60).expect("there is room");
        assert!(slots.try_reserve(&endpoint("c"), 60).is_none());
        assert_eq!((slots.free(), slots.free_bytes()), (2, 40));
    }

    #[test]
    fn a_slot_that_ends_while_nobody_is_behind_is_counted() {
        let slots = slots();
        let (first, second) = (slots.try_reserve(&endpoint("a"), 1), slots.take(&endpoint("a"), 1));
        assert_eq!(slots.freed(), 0);
        drop((first, second));
        assert_eq!(slots.freed(), 2);
    }

    #[test]
    fn an_endpoint_uses_up_its_own_slots_only() {
        let slots = slots();
        let taken = [slots.try_reserve(&endpoint("a"), 1), slots.try_reserve(&endpoint("a"), 1)];
        assert!(taken.iter().all(Option::is_some));
        assert!(slots.try_reserve(&endpoint("a"), 1).is_none());
        assert!(slots.try_reserve(&endpoint("b"), 1).is_some());
        assert_eq!(slots.free(), 1);
    }

    #[test]
    fn a_crowded_endpoint_takes_nothing_fresh_until_what_waited_is_claimed() {
        let slots = slots();
        let taken = [slots.try_reserve(&endpoint("a"), 1), slots.try_reserve(&endpoint("a"), 1)];
        assert!(slots.try_reserve(&endpoint("a"), 1).is_none());
        drop(taken);
        assert!(slots.try_reserve(&endpoint("a"), 1).is_none());
        slots.set_behind(false);
        assert!(slots.try_reserve(&endpoint("a"), 1).is_some());
    }

    #[tokio::test]
    async fn a_freed_slot_that_somebody_waits_for_is_a_nudge() {
        let freed = Arc::new(Notify::new());
        let slots = Slots::new(Bounds { per_endpoint: 1, attempts: 1, bytes: 100 }, freed.clone());
        let slot = slots.take(&endpoint("a"), 1);
        slots.set_behind(true);
        drop(slot);
        freed.notified().await;
        slots.all_free().await;
    }
}
