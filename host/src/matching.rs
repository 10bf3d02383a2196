//! FAN OUT, its first half: each rule looks at the runs that changed, window by window, and what matches becomes a
//! payload.
//!
//! Every rule has a task and a cursor of its own, so that no rule waits for another one. The cursor follows the order
//! of commits, never time; a window is a span of time only for who reads the payload. A window ends in one transaction
//! for each of its payloads, which also marks the runs in it: a crash repeats the look, and what is marked is passed
//! over. Takes no input: it is ticked, and nudged where somebody does not want to wait for the window to end. A window
//! of a project to which nothing was committed costs no read.

mod candidates;
mod criteria;
mod traces;
mod window;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::warn;
use url::Url;

use crate::blobs::{BlobError, Blobs};
use crate::clock::{Clock, after};
use crate::limits;
use crate::matching::criteria::{Criteria, Version};
use crate::matching::traces::Traces;
use crate::matching::window::Worked;
use crate::model::Timestamp;
use crate::model::ids::{RuleId, WorkspaceId};
use crate::model::payload::PendingPayload;
use crate::model::rule::Rule;
use crate::rulebook::RuleBook;
use crate::shutdown::Shutdown;
use crate::store::runs::Cursor;
use crate::store::{Store, StoreError};

/// Why a step of a window could not be made. It is made again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

/// Hands on a payload, without waiting.
pub type Offer = Arc<dyn Fn(PendingPayload) + Send + Sync>;

/// In what pieces a rule works off its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Runs in one payload.
    pub runs_per_payload_max: usize,
    /// Runs that are looked at in one go.
    pub look_runs_max: usize,
    /// Changes without a match after which it is written down how far the rule has looked.
    pub looked_at_step: i64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            runs_per_payload_max: limits::RUNS_PER_PAYLOAD_MAX,
            look_runs_max: limits::LOOK_RUNS_MAX,
            looked_at_step: limits::LOOKED_AT_STEP,
        }
    }
}

/// What matching works with.
pub struct Parts {
    /// Where runs come from and payloads go.
    pub store: Arc<dyn Store>,
    /// The rules as they are now.
    pub rulebook: Arc<RuleBook>,
    /// Takes over a payload that is stored. What it does not take is found in the store.
    pub offer: Offer,
    /// What of runs is too large for a payload.
    pub blobs: Blobs,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// LangSmith's tenant, as payloads name it.
    pub workspace: WorkspaceId,
    /// What links in payloads begin with.
    pub public_url: Url,
    /// In what pieces rules work.
    pub pace: Pace,
}

/// The handle of the matching stage; cheap to clone.
#[derive(Clone)]
pub struct Matching(Arc<Stage>);

struct Stage {
    parts: Parts,
    /// How each rule is woken, and whether it has a task.
    watched: Mutex<HashMap<RuleId, Watched>>,
    /// Looks at once, over all rules: each is short, and they take turns.
    turns: Semaphore,
    /// Bytes of runs that all rules together have gathered for payloads.
    gathered_bytes: AtomicUsize,
}

#[derive(Default)]
struct Watched {
    nudge: Arc<Notify>,
    has_task: bool,
}

impl Matching {
    /// The stage, at rest until [`Matching::run`].
    pub fn new(parts: Parts) -> Self {
        let turns = Semaphore::new(limits::LOOKS_MAX);
        Self(Arc::new(Stage { parts, watched: Mutex::default(), turns, gathered_bytes: AtomicUsize::new(0) }))
    }

    /// Ends the rule's window now. False where no such rule looks for runs.
    pub fn trigger(&self, rule: RuleId) -> bool {
        let is_looking = self.0.rule(rule).is_some();
        if is_looking {
            // A rule that has just been made keeps the nudge for its task.
            self.0.watched().entry(rule).or_default().nudge.notify_one();
        }
        is_looking
    }

    /// Works until shutdown is requested: gives each rule that looks for runs a task, which ends with the rule.
    pub async fn run(&self, shutdown: Shutdown) {
        let clock = &self.0.parts.clock;
        let mut tasks = JoinSet::new();
        while !shutdown.is_requested() {
            for (rule, nudge) in self.0.unwatched() {
                tasks.spawn(watch(self.0.clone(), rule, nudge, shutdown.clone()));
            }
            let tick = clock.sleep_until(after(clock.now(), limits::TICK));
            tokio::select! {
                () = tick => {}
                () = shutdown.requested() => {}
            }
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
    }
}

impl Stage {
    /// Rules that look for runs and have no task yet; they have one from now on.
    fn unwatched(&self) -> Vec<(RuleId, Arc<Notify>)> {
        let snapshot = self.parts.rulebook.snapshot();
        let mut watched = self.watched();
        let mut fresh = Vec::new();
        for rule in snapshot.rules().iter().filter(|rule| rule.source.is_some()) {
            let watch = watched.entry(rule.id).or_default();
            if !std::mem::replace(&mut watch.has_task, true) {
                fresh.push((rule.id, watch.nudge.clone()));
            }
        }
        fresh
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<RuleId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule(&self, id: RuleId) -> Option<Arc<Rule>> {
        self.parts.rulebook.snapshot().rule(id).filter(|rule| rule.source.is_some()).cloned()
    }
}

/// Forgets the rule when its task ends, however it ends.
struct Watch {
    stage: Arc<Stage>,
    rule: RuleId,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stage.watched().remove(&self.rule);
    }
}

/// The window that is open, as the rule's task knows it. What is lost of it costs a look, never a run.
struct Open {
    /// Windows without runs are not stored: what is stored may begin earlier.
    cursor: Cursor,
    /// The project's generation before the last look, where nothing was left to look at and the stored cursor is this
    /// one: as long as it stays the same, there is nothing to look at.
    generation: Option<u64>,
    /// What is known of traces whose changes were all looked at in their order, up to this cursor.
    traces: Traces,
}

impl Open {
    fn unsure(cursor: Cursor) -> Self {
        Self { cursor, generation: None, traces: Traces::default() }
    }

    fn is_quiet(&self, generation: Option<u64>) -> bool {
        self.generation.is_some() && self.generation == generation
    }
}

/// One rule's life: window after window, until it is gone.
async fn watch(stage: Arc<Stage>, id: RuleId, nudge: Arc<Notify>, shutdown: Shutdown) {
    let watch = Watch { stage: stage.clone(), rule: id };
    let mut version: Option<Version> = None;
    let mut open: Option<Open> = None;
    while let Some(rule) = stage.rule(id).filter(|_| !shutdown.is_requested()) {
        let current = match version.take().filter(|version| version.is_of(&rule)) {
            Some(current) => current,
            None => {
                // The stored cursor may be another one by now.
                open = open.map(|open| Open::unsure(open.cursor));
                Version::of(rule, stage.parts.pace)
            }
        };
        // A rule that is not understood rests until it is changed.
        if let Some(criteria) = &current.criteria {
            match stage.pass(id, criteria, open.take(), &shutdown).await {
                Ok(Some(next)) => open = Some(next),
                Ok(None) => break,
                Err(error) => warn!(rule = %id, %error, "cannot look at runs; trying again"),
            }
        }
        let wait = stage.parts.clock.sleep_until(stage.next_look(&current, open.as_ref()));
        version = Some(current);
        tokio::select! {
            () = wait => {}
            () = nudge.notified() => {}
            () = shutdown.requested() => {}
        }
    }
    drop(watch);
}

impl Stage {
    /// Closes the window that is due and works it off. None where the rule has no cursor any more.
    async fn pass(
        &self,
        rule: RuleId,
        criteria: &Criteria,
        open: Option<Open>,
        shutdown: &Shutdown,
    ) -> Result<Option<Open>, StepError> {
        // Asked before anything is read: what is committed from here on makes the next window look.
        let generation = self.parts.store.generation(criteria.project);
        let open = match open {
            Some(mut open) if open.is_quiet(generation) => {
                open.cursor.window_start = window::end(open.cursor.window_start, self.parts.clock.now());
                return Ok(Some(open));
            }
            open => open,
        };
        let turn = self.turns.acquire().await;
        let stored = self.parts.store.cursor(rule).await?;
        drop(turn);
        let Some(stored) = stored else { return Ok(None) };
        // The store knows of a change before the rules that are shown here do: the next pass will fit.
        if stored.project != criteria.project {
            return Ok(Some(Open::unsure(stored)));
        }
        let start = open.as_ref().map_or(stored.window_start, |open| open.cursor.window_start.max(stored.window_start));
        let is_closing = stored.closing.is_some();
        // Where the cursor was moved by another hand, changes between are unseen.
        let traces =
            open.filter(|open| !is_closing && open.cursor.looked_at == stored.looked_at).map(|open| open.traces);
        let cursor = if is_closing { stored } else { Cursor { window_start: start, ..stored } };
        let worked = window::work_off(self, criteria, cursor, traces.unwrap_or_default(), shutdown).await?;
        Ok(Some(match worked {
            Worked::All { cursor, traces } => Open { cursor, generation, traces },
            Worked::Some(cursor) => Open::unsure(cursor),
        }))
    }

    /// The end of the open window. Counted from now where the clock was set back, so that no rule sleeps for hours.
    fn next_look(&self, version: &Version, open: Option<&Open>) -> Timestamp {
        let now = self.parts.clock.now();
        let (Some(criteria), Some(open)) = (&version.criteria, open) else { return after(now, limits::TICK) };
        let length = Duration::from_secs(criteria.window_seconds.into());
        after(open.cursor.window_start.min(now), length)
    }
}
