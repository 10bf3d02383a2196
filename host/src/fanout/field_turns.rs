//! Which payloads may hold fields that lie elsewhere. How many there are is bounded, and of one rule by half of that: one
//! rule whose server hangs leaves the other half to the rest. Payloads that hold no fields wait for none of this.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::model::ids::RuleId;

pub(super) struct FieldTurns {
    max: usize,
    turns: Mutex<Turns>,
}

#[derive(Default)]
struct Turns {
    taken: usize,
    /// Only rules that hold a turn or wait for one.
    rules: HashMap<RuleId, Line>,
    /// How many have ever waited.
    arrivals: u64,
}

/// One rule's.
#[derive(Default)]
struct Line {
    taken: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    arrival: u64,
    granted: oneshot::Sender<FieldTurn>,
}

/// The right to hold the fields of one payload; given back on drop.
pub(super) struct FieldTurn {
    rule: RuleId,
    all: Arc<FieldTurns>,
}

impl FieldTurns {
    /// So many at once, at least two.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, turns: Mutex::default() })
    }

    /// A turn, where there is one and nobody of the rule waits.
    pub(super) fn try_take(self: &Arc<Self>, rule: RuleId) -> Option<FieldTurn> {
        let is_free = self.turns().take_if_free(rule, self.max);
        is_free.then(|| self.turn(rule))
    }

    /// Waits for one: the rule that has the fewest comes first, then who has waited the longest.
    pub(super) async fn take(self: &Arc<Self>, rule: RuleId) -> FieldTurn {
        self.waited_for(rule, VecDeque::push_back).await
    }

    /// The same before all who wait of the rule.
    pub(super) async fn take_first(self: &Arc<Self>, rule: RuleId) -> FieldTurn {
        self.waited_for(rule, VecDeque::push_front).await
    }

    async fn waited_for(self: &Arc<Self>, rule: RuleId, join: fn(&mut VecDeque<Waiting>, Waiting)) -> FieldTurn {
        loop {
            let Some(granted) = self.wait(rule, join) else { return self.turn(rule) };
            if let Ok(turn) = granted.await {
                return turn;
            }
        }
    }

    /// How many of the rule wait.
    pub(super) fn waiting(&self, rule: RuleId) -> usize {
        self.turns().rules.get(&rule).map_or(0, |line| line.waiting.len())
    }

    /// Where to hear of a turn; none where it is taken already.
    fn wait(&self, rule: RuleId, join: fn(&mut VecDeque<Waiting>, Waiting)) -> Option<oneshot::Receiver<FieldTurn>> {
        let mut turns = self.turns();
        if turns.take_if_free(rule, self.max) {
            return None;
        }
        let (granted, hears) = oneshot::channel();
        turns.arrivals += 1;
        let arrival = turns.arrivals;
        join(&mut turns.rules.entry(rule).or_default().waiting, Waiting { arrival, granted });
        Some(hears)
    }

    fn turn(self: &Arc<Self>, rule: RuleId) -> FieldTurn {
        FieldTurn { rule, all: self.clone() }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    fn take_if_free(&mut self, rule: RuleId, max: usize) -> bool {
        let line = self.rules.get(&rule);
        let is_free = self.taken < max && line.is_none_or(|line| line.has_share(max) && line.waiting.is_empty());
        if is_free {
            self.taken += 1;
            self.rules.entry(rule).or_default().taken += 1;
        }
        is_free
    }

    fn give_back(&mut self, rule: RuleId) {
        self.taken -= 1;
        if let Some(line) = self.rules.get_mut(&rule) {
            line.taken -= 1;
        }
        self.forget_if_idle(rule);
    }

    fn forget_if_idle(&mut self, rule: RuleId) {
        if self.rules.get(&rule).is_some_and(|line| line.taken == 0 && line.waiting.is_empty()) {
            self.rules.remove(&rule);
        }
    }

    /// Takes a turn for whoever is next and waits still: after a stop they may all be gone.
    fn take_for_next(&mut self, max: usize) -> Option<(RuleId, Waiting)> {
        loop {
            let lines = self.rules.iter().filter(|(_, line)| line.has_share(max));
            let waiting = lines.filter_map(|(rule, line)| Some((line.taken, line.waiting.front()?.arrival, *rule)));
            let (_, _, rule) = waiting.min_by_key(|(taken, arrival, _)| (*taken, *arrival))?;
            let line = self.rules.get_mut(&rule)?;
            let next = line.waiting.pop_front()?;
            if next.granted.is_closed() {
                self.forget_if_idle(rule);
                continue;
            }
            line.taken += 1;
            self.taken += 1;
            return Some((rule, next));
        }
    }
}

impl Line {
    fn has_share(&self, max: usize) -> bool {
        self.taken < max / 2
    }
}

impl Drop for FieldTurn {
    fn drop(&mut self) {
        let next = {
            let mut turns = self.all.turns();
            turns.give_back(self.rule);
            turns.take_for_next(self.all.max)
        };
        if let Some((rule, next)) = next {
            // Who has just gone drops it, and the one behind has it.
            let _ = next.granted.send(self.all.turn(rule));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn rule(number: u128) -> RuleId {
        RuleId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn one_rule_has_half_and_the_others_the_rest() {
        let turns = FieldTurns::new(4);
        let taken: Vec<_> = (0..3).map(|_| turns.try_take(rule(1))).collect();
        assert_eq!(taken.iter().flatten().count(), 2);
        let others: Vec<_> = (2..5).map(|number| turns.try_take(rule(number))).collect();
        assert_eq!(others.iter().flatten().count(), 2);
        drop((taken, others));
        assert!(turns.turns().rules.is_empty() && turns.turns().taken == 0);
    }

    #[test]
    fn who_waits_has_what_is_given_back_and_the_rule_with_the_fewest_comes_first() {
        let turns = FieldTurns::new(2);
        let (first, second) = (turns.try_take(rule(1)), turns.try_take(rule(2)));
        let mut of_first = Box::pin(turns.take(rule(1)));
        let mut of_third = Box::pin(turns.take(rule(3)));
        assert!((&mut of_first).now_or_never().is_none() && (&mut of_third).now_or_never().is_none());
        assert_eq!((turns.waiting(rule(1)), turns.waiting(rule(3))), (1, 1));
        assert!(turns.try_take(rule(1)).is_none());
        drop(second);
        assert!((&mut of_first).now_or_never().is_none(), "it has its share");
        let third = of_third.now_or_never().unwrap();
        drop(first);
        drop(of_first.now_or_never().unwrap());
        drop(third);
        assert!(turns.turns().rules.is_empty() && turns.turns().taken == 0);
    }

    #[test]
    fn who_comes_first_waits_for_no_line() {
        let turns = FieldTurns::new(2);
        let taken = turns.try_take(rule(1));
        let mut line: Vec<_> = (0..3).map(|_| Box::pin(turns.take(rule(1)))).collect();
        assert!(line.iter_mut().all(|waits| waits.now_or_never().is_none()));
        let mut first = Box::pin(turns.take_first(rule(1)));
        assert!((&mut first).now_or_never().is_none());
        drop(taken);
        assert!(first.now_or_never().is_some());
        assert_eq!(turns.waiting(rule(1)), 2, "and it has gone on with the line");
    }

    #[test]
    fn who_no_longer_waits_does_not_keep_a_turn() {
        let turns = FieldTurns::new(2);
        let taken = turns.try_take(rule(1));
        // As many as would not go if each gave it to the next by itself.
        for _ in 0..100_000 {
            assert!(turns.take(rule(1)).now_or_never().is_none());
        }
        let mut behind = Box::pin(turns.take(rule(1)));
        assert!((&mut behind).now_or_never().is_none());
        drop(taken);
        assert!(behind.now_or_never().is_some());
        assert!(turns.turns().rules.is_empty() && turns.turns().taken == 0);
    }
}
