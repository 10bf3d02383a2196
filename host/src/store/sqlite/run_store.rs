//! The half of the seam that is about runs, each method handed to the writer or to a reader.

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::Timestamp;
use crate::model::ids::{FeedbackId, ProjectId, RuleId, RunId, WorkspaceId};
use crate::model::project::Project;
use crate::store::Result;
use crate::store::runs::{
    Cursor, FeedbackQuery, Look, NewAttachment, NewRuns, Progress, RuleLogEntry, RuleLogQuery, RunQuery, RunStore,
    Seen, StoredFeedback, StoredRun, Tree,
};
use crate::store::sqlite::writer::Group;
use crate::store::sqlite::{SqliteStore, cursors, ingest, projects, runs};

#[async_trait]
impl RunStore for SqliteStore {
    async fn workspace(&self) -> Result<WorkspaceId> {
        self.writer.submit("reading the workspace", 0, |group| projects::workspace(group)).await
    }

    async fn ingest(&self, batch: NewRuns, now: Timestamp) -> Result<Vec<RunId>> {
        let size = batch.bytes();
        self.writer.try_submit("accepting runs", size, move |group| ingest::ingest(group, &batch, now)).await
    }

    async fn project_named(&self, name: &str, now: Timestamp) -> Result<Project> {
        let name = name.to_owned();
        let named = move |group: &mut Group<'_>| Ok(projects::named(group, &name, now)?.project);
        self.writer.submit("making a project", 0, named).await
    }

    async fn add_project(&self, project: Project) -> Result<Project> {
        self.writer.submit("making a project", 0, move |group| projects::add(group, &project)).await
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        self.read("reading projects", |_, connection| projects::all(connection)).await
    }

    async fn runs(&self, query: RunQuery) -> Result<Vec<StoredRun>> {
        self.read("reading runs", move |_, connection| runs::runs(connection, query)).await
    }

    async fn feedback(&self, of: Vec<RunId>) -> Result<Vec<StoredFeedback>> {
        self.read("reading feedback", move |_, connection| runs::feedback(connection, &of)).await
    }

    async fn attachments(&self, of: Vec<RunId>) -> Result<Vec<NewAttachment>> {
        self.read("reading attachments", move |_, connection| runs::attachments(connection, &of)).await
    }

    async fn feedback_page(&self, query: FeedbackQuery) -> Result<Vec<StoredFeedback>> {
        self.read("reading feedback", move |_, connection| runs::feedback_page(connection, query)).await
    }

    async fn one_feedback(&self, id: FeedbackId) -> Result<Option<StoredFeedback>> {
        self.read("reading feedback", move |_, connection| runs::one_feedback(connection, id)).await
    }

    async fn change_feedback(&self, id: FeedbackId, fields: Bytes, now: Timestamp) -> Result<bool> {
        let change = move |group: &mut Group<'_>| ingest::change_feedback(group, id, &fields, now);
        self.writer.submit("changing feedback", 0, change).await
    }

    async fn delete_feedback(&self, id: FeedbackId) -> Result<bool> {
        self.writer.submit("deleting feedback", 0, move |group| ingest::delete_feedback(group, id)).await
    }

    async fn cursor(&self, rule: RuleId) -> Result<Option<Cursor>> {
        self.read("reading a cursor", move |_, connection| cursors::cursor(connection, rule)).await
    }

    async fn head(&self, project: ProjectId) -> Result<i64> {
        self.read("looking for changes", move |_, connection| runs::head(connection, project)).await
    }

    fn generation(&self, project: ProjectId) -> Option<u64> {
        Some(self.writer.generations().of(project))
    }

    async fn look(&self, look: Look) -> Result<Vec<Seen>> {
        self.read("looking at runs", move |_, connection| runs::look(connection, &look)).await
    }

    async fn roots(&self, trees: Vec<Tree>) -> Result<Vec<StoredRun>> {
        self.read("looking at root runs", move |_, connection| runs::roots(connection, &trees)).await
    }

    async fn tree(&self, tree: Tree, after: i64) -> Result<Vec<StoredRun>> {
        self.read("looking at a trace", move |_, connection| runs::tree(connection, tree, after)).await
    }

    async fn rule_log(&self, query: RuleLogQuery) -> Result<Vec<RuleLogEntry>> {
        self.read("reading a rule's log", move |_, connection| runs::rule_log(connection, &query)).await
    }

    async fn advance(&self, progress: Progress) -> Result<bool> {
        let size = progress.payload.as_ref().map_or(0, |payload| payload.document.len());
        self.writer.submit("storing a window", size, move |group| cursors::advance(group, &progress)).await
    }
}
