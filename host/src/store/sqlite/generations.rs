//! Which projects were committed to since the store was opened: what spares rules their looks at nothing new.
//!
//! In memory alone, which is enough: all writes of the data directory go through this process.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits;
use crate::model::ids::ProjectId;

/// A number for each project, which grows with every commit that may have changed its runs.
#[derive(Default)]
pub(super) struct Generations(Mutex<Known>);

#[derive(Default)]
struct Known {
    of: HashMap<ProjectId, u64>,
    /// Of all that are not named.
    others: u64,
    last: u64,
}

impl Generations {
    pub(super) fn of(&self, project: ProjectId) -> u64 {
        let known = self.known();
        known.of.get(&project).copied().unwrap_or(known.others)
    }

    /// To be called behind the commit, also behind one that failed: a look at nothing new is harmless, and a place in
    /// the order of commits is given again after a failure, so that it could not stand for the number.
    pub(super) fn grow(&self, projects: &mut HashSet<ProjectId>) {
        if projects.is_empty() {
            return;
        }
        let mut known = self.known();
        known.last += 1;
        let last = known.last;
        if known.of.len() + projects.len() > limits::GENERATIONS_MAX {
            known.of.clear();
            known.others = last;
        }
        known.of.extend(projects.drain().map(|project| (project, last)));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grow(generations: &Generations, project: ProjectId) {
        generations.grow(&mut HashSet::from([project]));
    }

    #[test]
    fn only_what_was_committed_to_grows() {
        let generations = Generations::default();
        let (one, other) = (ProjectId::generate(), ProjectId::generate());
        let before = (generations.of(one), generations.of(other));
        grow(&generations, one);
        assert!(generations.of(one) > before.0);
        assert_eq!(generations.of(other), before.1);
    }

    #[test]
    fn what_is_forgotten_has_grown_and_grows_on() {
        let generations = Generations::default();
        let first = ProjectId::generate();
        grow(&generations, first);
        let named = generations.of(first);
        for _ in 0..limits::GENERATIONS_MAX {
            grow(&generations, ProjectId::generate());
        }
        let forgotten = generations.of(first);
        assert!(forgotten > named);
        grow(&generations, first);
        assert!(generations.of(first) > forgotten);
    }
}
