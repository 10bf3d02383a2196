//! The half of the store's seam that is about runs: what came in, what is read back, and how far each rule has looked.
//!
//! The rules of [`crate::store`] hold. Every run has a place in the order of commits, which is given anew whenever the
//! run or its feedback changes: what was committed later has a higher place, whatever the clock says.

use async_trait::async_trait;
use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

use crate::layers::{self, Head, LayerError};
use crate::limits;
use crate::model::Timestamp;
use crate::model::delivery::State;
use crate::model::ids::{FeedbackId, PayloadId, ProjectId, RuleId, RunId, WorkspaceId};
use crate::model::project::Project;
use crate::model::run::{Feedback, FeedbackWrite, Run, RunWrite};
use crate::store::Result;

/// A run's write with what is read of it.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// As the request brought it.
    pub write: RunWrite,
    /// Of this layer alone.
    pub head: Head,
}

/// A file of a run, which lies in the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttachment {
    /// The run, which may come later.
    pub run: RunId,
    /// Unique within the run; a later file of the same name replaces it.
    pub name: String,
    /// Key in the object store.
    pub blob: String,
    /// As the client gave it.
    pub media_type: String,
}

/// What one request brought.
#[derive(Clone, Debug, Default)]
pub struct NewRuns {
    /// In the order of the request.
    pub runs: Vec<NewRun>,
    /// In the order of the request.
    pub feedback: Vec<FeedbackWrite>,
    /// In the order of the request.
    pub attachments: Vec<NewAttachment>,
}

impl NewRuns {
    /// Size of what is written, in bytes.
    pub fn bytes(&self) -> usize {
        let runs = self.runs.iter().map(|run| run.write.document.len());
        runs.chain(self.feedback.iter().map(|feedback| feedback.document.len())).sum()
    }
}

/// A run as it is stored. The layers are JSON objects without nulls; at least one is there.
#[derive(Clone, Debug)]
pub struct StoredRun {
    /// The store's own, by which pages are counted.
    pub number: i64,
    /// The client's.
    pub id: RunId,
    /// None until the run says which.
    pub project: Option<ProjectId>,
    /// The trace's id.
    pub trace: RunId,
    /// Whether it has no parent.
    pub is_root: bool,
    /// Whether it has an end and a project.
    pub is_complete: bool,
    /// When it began; when it came where it does not say.
    pub start_time: Timestamp,
    /// When it was stored last.
    pub modified_at: Timestamp,
    /// Its place in the order of commits.
    pub changed: i64,
    /// What was posted.
    pub post: Option<ByteString>,
    /// What was patched.
    pub patch: Option<ByteString>,
}

impl StoredRun {
    /// The run as its layers make it.
    ///
    /// # Errors
    /// Where a layer is no JSON object, which nothing that came through the door is.
    pub fn to_run(&self) -> std::result::Result<Run, LayerError> {
        let project = self.project.unwrap_or(ProjectId(Uuid::nil()));
        layers::run(self.id, project, self.modified_at, self.post.as_ref(), self.patch.as_ref())
    }

    /// Size of its layers.
    pub fn bytes(&self) -> usize {
        [&self.post, &self.patch].into_iter().flatten().map(|layer| layer.len()).sum()
    }
}

/// A trace within a project: a run elsewhere with the same trace id is none of its business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tree {
    /// The trace.
    pub trace: RunId,
    /// The project.
    pub project: ProjectId,
}

impl Tree {
    /// The one that a run belongs to; none before the run says its project.
    pub fn of(run: &StoredRun) -> Option<Self> {
        Some(Self { trace: run.trace, project: run.project? })
    }
}

/// Feedback as it is stored.
#[derive(Clone, Debug)]
pub struct StoredFeedback {
    /// The client's.
    pub id: FeedbackId,
    /// None where it is about a project.
    pub run: Option<RunId>,
    /// When it was stored last.
    pub stored_at: Timestamp,
    /// A JSON object without nulls.
    pub document: ByteString,
}

impl StoredFeedback {
    /// The feedback as its document says it.
    ///
    /// # Errors
    /// Where the document is no JSON object, which nothing that came through the door is.
    pub fn to_feedback(&self) -> std::result::Result<Feedback, LayerError> {
        layers::feedback(self.id, &self.document, self.stored_at)
    }
}

/// Which runs to read, in the order of their start.
#[derive(Clone, Debug)]
pub struct RunQuery {
    /// Of one of these projects; of all where empty.
    pub projects: Vec<ProjectId>,
    /// Only these; all where empty.
    pub ids: Vec<RunId>,
    /// Only of this trace.
    pub trace: Option<RunId>,
    /// Only roots, or only others.
    pub is_root: Option<bool>,
    /// Began at this time or later.
    pub start_min: Option<Timestamp>,
    /// Began at this time or earlier.
    pub start_max: Option<Timestamp>,
    /// Oldest first; else newest first.
    pub is_ascending: bool,
    /// Only behind this one: start and number of the last of the page before.
    pub after: Option<(Timestamp, i64)>,
    /// At most so many.
    pub limit: usize,
    /// Bytes of their layers; the last one may pass it.
    pub bytes_max: usize,
}

impl Default for RunQuery {
    /// The newest runs of all projects.
    fn default() -> Self {
        Self {
            projects: Vec::new(),
            ids: Vec::new(),
            trace: None,
            is_root: None,
            start_min: None,
            start_max: None,
            is_ascending: false,
            after: None,
            limit: limits::LOOK_RUNS_MAX,
            bytes_max: limits::LOOK_BYTES_MAX,
        }
    }
}

/// Which feedback to list, oldest first.
#[derive(Clone, Debug, Default)]
pub struct FeedbackQuery {
    /// About one of these runs; about anything where empty.
    pub runs: Vec<RunId>,
    /// Under one of these keys; any where empty.
    pub keys: Vec<String>,
    /// Of one of these source types; any where empty.
    pub sources: Vec<String>,
    /// At most so many.
    pub limit: usize,
    /// Passed over.
    pub offset: usize,
}

/// Which runs a rule has to look at.
#[derive(Clone, Debug)]
pub struct Look {
    /// Whose matches count.
    pub rule: RuleId,
    /// What is looked at.
    pub at: LookAt,
    /// At most so many runs.
    pub limit: usize,
    /// Bytes of their layers; the last one may pass it.
    pub bytes_max: usize,
}

/// Where a rule looks for runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookAt {
    /// Runs of the rule's project that changed after the first place and not after the second one, in that order.
    Changes {
        /// Done already.
        after: i64,
        /// The head of the window.
        until: i64,
    },
    /// Runs of a trace that are not matched yet, by number.
    Trace {
        /// The trace.
        trace: RunId,
        /// Number of the last of the page before; 0 to begin.
        after: i64,
    },
}

/// A run that a rule looks at.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The run.
    pub run: StoredRun,
    /// Whether it is part of a payload of this rule already.
    pub is_matched: bool,
}

/// How far a rule has looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whose it is.
    pub rule: RuleId,
    /// Where it looks.
    pub project: ProjectId,
    /// Changes up to this place are done.
    pub looked_at: i64,
    /// Start of the window that is open: the end of the one before.
    pub window_start: Timestamp,
    /// The window that is being worked on, once a part of it is stored.
    pub closing: Option<Closing>,
    /// Runs from before the rule.
    pub backfill: Option<Backfill>,
}

/// A window whose end is set and whose parts are not all stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Its end.
    pub end: Timestamp,
    /// The last place that belongs to it.
    pub head: i64,
    /// Payloads of it that are stored.
    pub parts: u32,
}

/// Which runs from before the rule count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// Those that began at this time or later.
    pub from: Timestamp,
    /// The last place that was given when the rule was made.
    pub head: i64,
}

/// One step of a rule through its window.
#[derive(Clone, Debug)]
pub struct Progress {
    /// As the rule found it.
    pub before: Cursor,
    /// As it is from now on.
    pub after: Cursor,
    /// What the step found.
    pub payload: Option<BuiltPayload>,
    /// Now.
    pub now: Timestamp,
}

/// A payload that a rule made of runs.
#[derive(Clone, Debug)]
pub struct BuiltPayload {
    /// Fresh.
    pub id: PayloadId,
    /// The JSON document.
    pub document: Bytes,
    /// Start and end of the window.
    pub window: (Timestamp, Timestamp),
    /// From 1.
    pub part: u32,
    /// Numbers of the runs in it.
    pub runs: Vec<i64>,
}

/// Which entries of a rule's log to read, newest first.
#[derive(Clone, Debug)]
pub struct RuleLogQuery {
    /// Whose log.
    pub rule: RuleId,
    /// Of payloads that were built at this time or later.
    pub since: Option<Timestamp>,
    /// Of payloads that were built at this time or earlier.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
    /// Passed over.
    pub offset: usize,
}

/// A run that a rule matched, and what became of the payload that it is in.
#[derive(Clone, Debug)]
pub struct RuleLogEntry {
    /// The rule.
    pub rule: RuleId,
    /// The run as it is now.
    pub run: StoredRun,
    /// The payload.
    pub payload: PayloadId,
    /// Start and end of the window.
    pub window: (Timestamp, Timestamp),
    /// When the payload was built.
    pub applied_at: Timestamp,
    /// Of the payload's deliveries.
    pub states: Vec<State>,
}

/// Runs and cursors. See [`crate::store`] for the rules that every method keeps.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// The workspace that this store is.
    async fn workspace(&self) -> Result<WorkspaceId>;

    /// ACCEPT: makes runs, feedback and the names of files durable. A write of a layer that is there already adds its fields; projects are
    /// made by name; each run touched, also by feedback, gets a new place in the order of commits. Answers the runs that
    /// were left as they are, because a layer of theirs would go beyond [`crate::limits::LAYER_BYTES_MAX`].
    async fn ingest(&self, runs: NewRuns, now: Timestamp) -> Result<Vec<RunId>>;

    /// The project of that name, made where there is none.
    async fn project_named(&self, name: &str, now: Timestamp) -> Result<Project>;

    /// Adds a project, unless its name or its id is taken: then the one that has it.
    async fn add_project(&self, project: Project) -> Result<Project>;

    /// All projects, by name.
    async fn projects(&self) -> Result<Vec<Project>>;

    /// Runs in the order of their start.
    async fn runs(&self, query: RunQuery) -> Result<Vec<StoredRun>>;

    /// What is said about these runs, oldest first, at most [`crate::limits::FEEDBACK_PER_RUN_MAX`] about each.
    async fn feedback(&self, runs: Vec<RunId>) -> Result<Vec<StoredFeedback>>;

    /// Files of these runs, by run and name.
    async fn attachments(&self, runs: Vec<RunId>) -> Result<Vec<NewAttachment>>;

    /// Feedback by query, oldest first.
    async fn feedback_page(&self, query: FeedbackQuery) -> Result<Vec<StoredFeedback>>;

    /// Feedback by its own id.
    async fn one_feedback(&self, id: FeedbackId) -> Result<Option<StoredFeedback>>;

    /// Adds fields to feedback, in the place of those that it has; the run changes with it. False where it is not there.
    async fn change_feedback(&self, id: FeedbackId, fields: Bytes, now: Timestamp) -> Result<bool>;

    /// Takes feedback back; the run changes with it. False where it is not there.
    async fn delete_feedback(&self, id: FeedbackId) -> Result<bool>;

    /// How far a rule has looked; none for a rule without a project.
    async fn cursor(&self, rule: RuleId) -> Result<Option<Cursor>>;

    /// The highest place of a run of the project, 0 where there is none.
    async fn head(&self, project: ProjectId) -> Result<i64>;

    /// A number that grows with every commit that may have changed runs of the project; it costs no read. Where it is
    /// the same before a look and later, that look missed nothing: a commit becomes visible before the number grows.
    /// So the number may lag behind what is visible, which costs a look, but not the other way round. None where the
    /// backend cannot know, as one whose database other hosts write to as well: then only a look tells. Numbers of
    /// different openings of a store say nothing of each other.
    fn generation(&self, project: ProjectId) -> Option<u64>;

    /// What a rule has to look at next.
    async fn look(&self, look: Look) -> Result<Vec<Seen>>;

    /// The root runs of these traces; those that are not there yet are missing.
    async fn roots(&self, trees: Vec<Tree>) -> Result<Vec<StoredRun>>;

    /// Runs of a trace by number, behind the one with that number: a few, bounded by
    /// [`crate::limits::LOOK_RUNS_MAX`] and [`crate::limits::LOOK_BYTES_MAX`].
    async fn tree(&self, tree: Tree, after: i64) -> Result<Vec<StoredRun>>;

    /// What became of the runs that a rule matched, newest first; fewer than asked for where the runs are large.
    async fn rule_log(&self, query: RuleLogQuery) -> Result<Vec<RuleLogEntry>>;

    /// FAN OUT, its first half: stores what a step through a window found, as a payload that is still to be fanned out,
    /// and moves the cursor. False, with nothing written, where the cursor is no longer as the step found it.
    async fn advance(&self, progress: Progress) -> Result<bool>;
}
