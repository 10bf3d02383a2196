//! One window of one rule: its end is set, the changes up to its head are looked at page by page, and each payload that
//! comes of it is stored in a step of its own.
//!
//! While a page is worked on, the stored cursor stays before it: after a crash the page is looked at again, and the runs
//! that are in a payload already are passed over.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use jiff::ToSpan;

use crate::aside::aside;
use crate::limits;
use crate::links::Links;
use crate::matching::candidates::{Candidates, Memory};
use crate::matching::criteria::Criteria;
use crate::matching::traces::Traces;
use crate::matching::{Stage, StepError};
use crate::model::Timestamp;
use crate::model::ids::PayloadId;
use crate::model::payload::PendingPayload;
use crate::payload::{self, Matched, Origin, Window};
use crate::selection::Found;
use crate::shutdown::Shutdown;
use crate::store::runs::{BuiltPayload, Closing, Cursor, Look, LookAt, Progress};

/// What became of a window, with the cursor as it is stored after; the start of its window may be ahead where nothing was
/// there to look at.
pub(super) enum Worked {
    /// All was looked at that was there when the work began.
    All { cursor: Cursor, traces: Traces },
    /// There may be more.
    Some(Cursor),
}

/// Works off the window that ends now, or the one that a crash or a stop left half done.
pub(super) async fn work_off(
    stage: &Stage,
    criteria: &Criteria,
    found: Cursor,
    traces: Traces,
    shutdown: &Shutdown,
) -> Result<Worked, StepError> {
    // Behind the head of one that was left half done there may be more.
    let is_fresh = found.closing.is_none();
    let closing = match found.closing {
        Some(closing) => closing,
        None => {
            let turn = stage.turns.acquire().await;
            let head = stage.parts.store.head(found.project).await?;
            drop(turn);
            let end = end(found.window_start, stage.parts.clock.now());
            if head <= found.looked_at {
                return Ok(Worked::All { cursor: Cursor { window_start: end, ..found }, traces });
            }
            Closing { end, head, parts: 0 }
        }
    };
    let gathered = Gathered { stage, runs: Vec::new(), bytes: 0 };
    let mut steps =
        Steps { stage, criteria, done: found.looked_at, stored: found, closing, gathered, taken: HashSet::new() };
    let mut memory = Memory { traces, ..Memory::default() };
    while steps.page(&mut memory, shutdown).await? {}
    let cursor = steps.stored;
    let is_all = is_fresh && cursor.closing.is_none() && cursor.looked_at >= closing.head;
    Ok(if is_all { Worked::All { cursor, traces: memory.traces } } else { Worked::Some(cursor) })
}

/// The end of a window that ends now: it is never empty and never ends before it starts, even where the clock was set
/// back.
pub(super) fn end(start: Timestamp, now: Timestamp) -> Timestamp {
    now.max(start.checked_add(1.microsecond()).unwrap_or(Timestamp::MAX))
}

/// Runs that matched and are not yet in a payload. What they hold of the memory is counted over all rules.
struct Gathered<'a> {
    stage: &'a Stage,
    runs: Vec<Found>,
    bytes: usize,
}

impl Gathered<'_> {
    fn push(&mut self, found: Found) {
        self.bytes += found.bytes;
        self.stage.gathered_bytes.fetch_add(found.bytes, Ordering::Relaxed);
        self.runs.push(found);
    }

    /// Whether a payload is to be made of them now: they are many, they are large, or all rules together hold much.
    fn is_full(&self, runs_max: usize) -> bool {
        let over_all = self.stage.gathered_bytes.load(Ordering::Relaxed);
        self.runs.len() >= runs_max
            || self.bytes >= limits::BUILT_PAYLOAD_BYTES_MAX
            || (!self.runs.is_empty() && over_all >= limits::GATHERED_BYTES_MAX)
    }

    fn take(&mut self) -> Vec<Found> {
        self.stage.gathered_bytes.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        std::mem::take(&mut self.runs)
    }
}

impl Drop for Gathered<'_> {
    fn drop(&mut self) {
        self.take();
    }
}

struct Steps<'a> {
    stage: &'a Stage,
    criteria: &'a Criteria,
    /// The cursor as it is stored.
    stored: Cursor,
    closing: Closing,
    /// Place of the last change of the pages that are done.
    done: i64,
    gathered: Gathered<'a>,
    /// Numbers of what this page found, and of what was gathered before it: a run may come by itself and with its trace.
    taken: HashSet<i64>,
}

impl Steps<'_> {
    /// Looks at one page of changes; false when the window is worked off, the cursor is no longer ours, or the host is
    /// to stop: what is not stored then is looked at again.
    async fn page(&mut self, memory: &mut Memory, shutdown: &Shutdown) -> Result<bool, StepError> {
        let look = Look {
            rule: self.stored.rule,
            at: LookAt::Changes { after: self.done, until: self.closing.head },
            limit: self.criteria.pace.look_runs_max,
            bytes_max: limits::LOOK_BYTES_MAX,
        };
        let turn = self.stage.turns.acquire().await;
        let rows = self.stage.parts.store.look(look).await?;
        drop(turn);
        let Some(last) = rows.last().map(|row| row.run.changed) else {
            self.finish().await?;
            return Ok(false);
        };
        self.taken = self.gathered.runs.iter().map(|found| found.number).collect();
        let mut candidates = Candidates::of(self.criteria, rows);
        while let Some(found) = self.next(&mut candidates, memory).await? {
            if shutdown.is_requested() {
                return Ok(false);
            }
            for found in found {
                if !self.taken.insert(found.number) {
                    continue;
                }
                self.gathered.push(found);
                if self.is_full() && !self.store_part().await? {
                    return Ok(false);
                }
            }
        }
        self.done = last;
        self.keep_pace().await
    }

    /// A piece of work; rules take turns at them, so that none holds up the others for long.
    async fn next(&self, candidates: &mut Candidates, memory: &mut Memory) -> Result<Option<Vec<Found>>, StepError> {
        let _turn = self.stage.turns.acquire().await;
        Ok(candidates.next(&*self.stage.parts.store, self.criteria, &self.stored, memory).await?)
    }

    fn is_full(&self) -> bool {
        self.gathered.is_full(self.criteria.pace.runs_per_payload_max)
    }

    /// Stores a part of the window and leaves the window open.
    async fn store_part(&mut self) -> Result<bool, StepError> {
        let closing = Closing { parts: self.closing.parts + 1, ..self.closing };
        let after = Cursor { looked_at: self.done, closing: Some(closing), ..self.stored.clone() };
        self.step(after).await
    }

    /// Changes that nothing came of are written down now and then, so that a crash does not repeat a long look.
    async fn keep_pace(&mut self) -> Result<bool, StepError> {
        if self.is_full() {
            return self.store_part().await;
        }
        if !self.gathered.runs.is_empty() || self.done - self.stored.looked_at < self.criteria.pace.looked_at_step {
            return Ok(true);
        }
        let after = Cursor { looked_at: self.done, closing: Some(self.closing), ..self.stored.clone() };
        self.step(after).await
    }

    /// Stores what is left of the window, and with it that the next one begins where this one ends.
    async fn finish(&mut self) -> Result<bool, StepError> {
        let Closing { end, head, .. } = self.closing;
        let after = Cursor { looked_at: head, window_start: end, closing: None, ..self.stored.clone() };
        self.step(after).await
    }

    /// One transaction: the payload of what is gathered, and the cursor. False where the cursor is no longer ours.
    async fn step(&mut self, after: Cursor) -> Result<bool, StepError> {
        let now = self.stage.parts.clock.now();
        let payload = self.payload().await?;
        let pending = payload.as_ref().map(|payload| PendingPayload {
            id: payload.id,
            rule: self.stored.rule,
            accepted_at: now,
            document: payload.document.clone(),
            is_built: true,
        });
        let before = self.stored.clone();
        let is_stored = self.stage.parts.store.advance(Progress { before, after: after.clone(), payload, now }).await?;
        if is_stored {
            self.closing.parts = after.closing.map_or(0, |closing| closing.parts);
            self.stored = after;
            pending.into_iter().for_each(|pending| (self.stage.parts.offer)(pending));
        }
        Ok(is_stored)
    }

    /// The payload of what is gathered; nothing is gathered any more then.
    async fn payload(&mut self) -> Result<Option<BuiltPayload>, StepError> {
        let gathered = self.gathered.take();
        if gathered.is_empty() {
            return Ok(None);
        }
        let mut links = Vec::with_capacity(gathered.len());
        for found in &gathered {
            links.push(Links::of(found, &self.stage.parts.blobs, &*self.stage.parts.clock).await?);
        }
        let (start, end, part) = (self.stored.window_start, self.closing.end, self.closing.parts + 1);
        let window = Window { rule: self.stored.rule, start, end, part };
        let runs = gathered.iter().map(|found| found.number).collect();
        let (tenant, public_url) = (self.stage.parts.workspace.0, self.stage.parts.public_url.clone());
        let has_extended_stats = self.criteria.has_extended_stats;
        let build = move || {
            let origin = Origin { tenant, public_url: &public_url };
            let matched: Vec<_> = gathered.iter().zip(&links).map(matched).collect();
            payload::payload(&window, &matched, &origin, has_extended_stats)
        };
        let document = aside(build).await;
        Ok(Some(BuiltPayload { id: PayloadId::generate(), document, window: (start, end), part, runs }))
    }
}

fn matched<'a>((found, links): (&'a Found, &'a Links)) -> Matched<'a> {
    Matched { run: &found.run, feedback: &found.feedback, urls: links.urls() }
}
