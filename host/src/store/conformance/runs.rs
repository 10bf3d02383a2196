//! The half of the suite that is about runs and cursors.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::layers;
use crate::limits;
use crate::model::Timestamp;
use crate::model::ids::{FeedbackId, PayloadId, RunId};
use crate::model::project::Project;
use crate::model::rule::{Rule, RunSource};
use crate::model::run::{FeedbackWrite, Layer, RunWrite};
use crate::store::conformance::Scene;
use crate::store::runs::{
    BuiltPayload, Closing, Cursor, Look, LookAt, NewAttachment, NewRun, NewRuns, Progress, RunQuery, StoredRun, Tree,
};

pub(super) fn write(id: RunId, layer: Layer, document: &Value) -> NewRun {
    let document = Bytes::from(document.to_string());
    let (post, patch) = match layer {
        Layer::Post => (Some(&document[..]), None),
        Layer::Patch => (None, Some(&document[..])),
    };
    NewRun { head: layers::head(post, patch).unwrap(), write: RunWrite { id, layer, document: document.clone() } }
}

pub(super) fn post(id: RunId, project: &str) -> NewRun {
    write(id, Layer::Post, &json!({"name": "n", "session_name": project, "start_time": "2026-07-01T09:00:00"}))
}

pub(super) fn patch(id: RunId) -> NewRun {
    write(id, Layer::Patch, &json!({"end_time": "2026-07-01T09:00:01", "outputs": {"a": 1}}))
}

pub(super) fn fresh() -> RunId {
    RunId(Uuid::now_v7())
}

pub(super) fn about(run: RunId, score: i32) -> FeedbackWrite {
    let document = Bytes::from(json!({"key": "thumbs", "score": score, "run_id": run}).to_string());
    FeedbackWrite { id: FeedbackId::generate(), run: Some(run), key: "thumbs".to_owned(), document }
}

impl Scene {
    pub(super) async fn ingest(&self, runs: impl IntoIterator<Item = NewRun>) {
        let batch = NewRuns { runs: runs.into_iter().collect(), ..NewRuns::default() };
        self.store.ingest(batch, self.now).await.unwrap();
    }

    pub(super) async fn say(&self, feedback: FeedbackWrite) {
        let batch = NewRuns { feedback: vec![feedback], ..NewRuns::default() };
        self.store.ingest(batch, self.now).await.unwrap();
    }

    pub(super) async fn one_run(&self, id: RunId) -> StoredRun {
        let query = RunQuery { ids: vec![id], limit: 2, ..RunQuery::default() };
        let mut found = self.store.runs(query).await.unwrap();
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    async fn project(&self, name: &str) -> Project {
        self.store.project_named(name, self.now).await.unwrap()
    }

    /// Has the scene's rule look at a project.
    pub(super) async fn look_at(&mut self, project: &str) -> Cursor {
        let source = RunSource {
            project: self.project(project).await,
            filter: None,
            trace_filter: None,
            tree_filter: None,
            window_seconds: 5,
            backfill_from: self.backfill_from,
            include_extended_stats: false,
        };
        self.rule.source = Some(source);
        self.put(vec![self.rule.clone()]).await;
        self.cursor().await
    }

    async fn cursor(&self) -> Cursor {
        self.store.cursor(self.rule.id).await.unwrap().unwrap()
    }

    /// Ids of the runs that the rule has to look at, with whether they are matched.
    pub(super) async fn seen(&self, at: LookAt) -> Vec<(RunId, bool)> {
        let look = Look { rule: self.rule.id, at, limit: 100, bytes_max: usize::MAX };
        let seen = self.store.look(look).await.unwrap();
        seen.into_iter().map(|seen| (seen.run.id, seen.is_matched)).collect()
    }

    pub(super) fn built(&self, cursor: &Cursor, runs: Vec<i64>) -> BuiltPayload {
        let end = cursor.window_start + std::time::Duration::from_secs(5);
        let document = Bytes::from_static(br#"{"runs": []}"#);
        BuiltPayload { id: PayloadId::generate(), document, window: (cursor.window_start, end), part: 1, runs }
    }
}

pub(crate) async fn the_layers_of_a_run_meet_in_any_order(scene: Scene) {
    let (first, second) = (fresh(), fresh());
    scene.ingest([post(first, "p"), patch(second)]).await;
    assert!(!scene.one_run(first).await.is_complete);
    let early = scene.one_run(second).await;
    assert_eq!((early.project, early.is_complete), (None, false));
    scene.ingest([patch(first)]).await;
    scene.ingest([post(second, "p")]).await;
    let project = scene.project("p").await.id;
    for id in [first, second] {
        let run = scene.one_run(id).await;
        assert!(run.is_complete && run.is_root);
        assert_eq!(run.project, Some(project));
        assert_eq!((run.post.is_some(), run.patch.is_some()), (true, true));
        assert_eq!(run.start_time.to_string(), "2026-07-01T09:00:00Z");
    }
}

pub(crate) async fn a_later_write_adds_to_its_layer(scene: Scene) {
    let id = fresh();
    scene.ingest([post(id, "p"), write(id, Layer::Post, &json!({"tags": ["x"], "name": "m"}))]).await;
    let post = scene.one_run(id).await.post.unwrap();
    let post: Value = serde_json::from_str(&post).unwrap();
    assert_eq!(post, json!({"name": "m", "session_name": "p", "start_time": "2026-07-01T09:00:00", "tags": ["x"]}));
}

pub(crate) async fn a_project_is_made_once_and_outlives_the_host(scene: Scene) {
    let made = scene.project("p").await;
    scene.ingest([post(fresh(), "p"), write(fresh(), Layer::Post, &json!({"name": "n"}))]).await;
    let workspace = scene.store.workspace().await.unwrap();
    let scene = scene.reopen().await;
    let names: Vec<_> = scene.store.projects().await.unwrap().into_iter().map(|project| project.name).collect();
    assert_eq!(names, ["default", "p"]);
    assert_eq!(scene.project("p").await, made);
    assert_eq!(scene.store.workspace().await.unwrap(), workspace);
}

pub(crate) async fn what_changes_moves_to_the_end_of_the_order(mut scene: Scene) {
    let ids = [fresh(), fresh(), fresh()];
    scene.look_at("p").await;
    scene.ingest(ids.map(|id| post(id, "p"))).await;
    scene.ingest([patch(ids[1])]).await;
    scene.say(about(ids[0], 1)).await;
    scene.say(about(fresh(), 1)).await;
    let project = scene.project("p").await.id;
    let until = scene.store.head(project).await.unwrap();
    let order = scene.seen(LookAt::Changes { after: 0, until }).await;
    assert_eq!(order, [(ids[2], false), (ids[1], false), (ids[0], false)]);
    assert_eq!(scene.store.head(scene.project("other").await.id).await.unwrap(), 0);
}

pub(crate) async fn the_generation_of_a_project_grows_with_its_runs(scene: Scene) {
    let project = scene.project("p").await.id;
    let mut last = scene.store.generation(project);
    let mut check = |what: &str| {
        let next = scene.store.generation(project);
        assert!(next.is_none() || next > last, "{what}");
        last = next;
    };
    let (run, said) = (fresh(), fresh());
    scene.ingest([post(run, "p")]).await;
    check("a run came");
    scene.ingest([patch(run)]).await;
    check("a run changed");
    let feedback = about(run, 1);
    scene.say(feedback.clone()).await;
    check("something was said");
    let fields = Bytes::from_static(br#"{"score":2}"#);
    assert!(scene.store.change_feedback(feedback.id, fields, scene.now).await.unwrap());
    check("it was said anew");
    assert!(scene.store.delete_feedback(feedback.id).await.unwrap());
    check("it was taken back");
    scene.ingest([post(said, "q")]).await;
    scene.ingest([write(said, Layer::Patch, &json!({"session_name": "p"}))]).await;
    check("a run moved here");
}

pub(crate) async fn feedback_is_replaced_by_its_id_and_can_be_taken_back(scene: Scene) {
    let run = fresh();
    let feedback = about(run, 0);
    scene.ingest([post(run, "p")]).await;
    scene.say(feedback.clone()).await;
    scene.say(FeedbackWrite { document: Bytes::from_static(br#"{"score": 1}"#), ..feedback.clone() }).await;
    let stored = scene.store.feedback(vec![run]).await.unwrap();
    let documents: Vec<Value> = stored.iter().map(|it| serde_json::from_str(&it.document).unwrap()).collect();
    assert_eq!(documents, [json!({"key": "thumbs", "run_id": run, "score": 1})]);
    assert!(scene.store.one_feedback(feedback.id).await.unwrap().is_some());
    let place = scene.one_run(run).await.changed;
    let fields = Bytes::from_static(br#"{"comment": "so"}"#);
    assert!(scene.store.change_feedback(feedback.id, fields.clone(), scene.now).await.unwrap());
    let changed = scene.store.one_feedback(feedback.id).await.unwrap().unwrap();
    let document: Value = serde_json::from_str(&changed.document).unwrap();
    assert_eq!(document, json!({"key": "thumbs", "run_id": run, "score": 1, "comment": "so"}));
    assert!(scene.one_run(run).await.changed > place);
    assert!(scene.store.delete_feedback(feedback.id).await.unwrap());
    assert!(!scene.store.delete_feedback(feedback.id).await.unwrap());
    assert!(!scene.store.change_feedback(feedback.id, fields, scene.now).await.unwrap());
    assert!(scene.store.feedback(vec![run]).await.unwrap().is_empty());
}

pub(crate) async fn a_file_is_kept_with_its_run_and_replaced_by_its_name(scene: Scene) {
    let run = fresh();
    let file = |name: &str, blob: &str| NewAttachment {
        run,
        name: name.to_owned(),
        blob: blob.to_owned(),
        media_type: "text/plain".to_owned(),
    };
    let attachments = vec![file("b", "1"), file("a", "2"), file("b", "3")];
    scene.store.ingest(NewRuns { attachments, ..NewRuns::default() }, scene.now).await.unwrap();
    let stored = scene.store.attachments(vec![fresh(), run]).await.unwrap();
    assert_eq!(stored, [file("a", "2"), file("b", "3")]);
}

pub(crate) async fn runs_come_in_pages_by_their_start(scene: Scene) {
    let at = |second: u32| json!({"session_name": "p", "start_time": format!("2026-07-01T09:00:{second:02}")});
    let ids: Vec<_> = (0..7).map(|_| fresh()).collect();
    scene.ingest((0..7).map(|n| write(ids[n as usize], Layer::Post, &at(n / 2)))).await;
    scene.ingest([post(fresh(), "other")]).await;
    let project = scene.project("p").await.id;
    for is_ascending in [false, true] {
        let mut query = RunQuery { projects: vec![project], is_ascending, limit: 3, ..RunQuery::default() };
        let mut all = Vec::new();
        loop {
            let page = scene.store.runs(query.clone()).await.unwrap();
            let Some(last) = page.last() else { break };
            query.after = Some((last.start_time, last.number));
            all.extend(page.into_iter().map(|run| run.id));
        }
        let mut expected = ids.clone();
        if !is_ascending {
            expected.reverse();
        }
        assert_eq!(all, expected);
    }
}

pub(crate) async fn a_new_rule_begins_where_the_order_stands(mut scene: Scene) {
    scene.ingest([post(fresh(), "p")]).await;
    let cursor = scene.look_at("p").await;
    assert_eq!(cursor.looked_at, scene.store.head(cursor.project).await.unwrap());
    assert_eq!((cursor.window_start, cursor.closing, cursor.backfill), (scene.now, None, None));
    let again = scene.look_at("p").await;
    assert_eq!(again, cursor);
    let elsewhere = scene.look_at("q").await;
    assert_eq!(elsewhere.project, scene.project("q").await.id);
    assert_eq!(elsewhere.looked_at, cursor.looked_at);
    scene.put(vec![Rule { source: None, ..scene.rule.clone() }]).await;
    assert!(scene.store.cursor(scene.rule.id).await.unwrap().is_none());
}

pub(crate) async fn a_backfill_acts_on_the_project_that_the_rule_was_made_with(mut scene: Scene) {
    scene.ingest([post(fresh(), "p"), post(fresh(), "q")]).await;
    let from = Timestamp::UNIX_EPOCH;
    scene.backfill_from = Some(from);
    let cursor = scene.look_at("p").await;
    assert_eq!((cursor.looked_at, cursor.backfill.unwrap().from), (0, from));
    assert!(cursor.backfill.unwrap().head >= 2);
    let elsewhere = scene.look_at("q").await;
    assert_eq!((elsewhere.looked_at, elsewhere.backfill), (cursor.backfill.unwrap().head, None));
}

pub(crate) async fn a_step_marks_its_runs_and_waits_for_fan_out(mut scene: Scene) {
    let before = scene.look_at("p").await;
    let ids = [fresh(), fresh()];
    scene.ingest(ids.map(|id| post(id, "p"))).await;
    let number = scene.one_run(ids[0]).await.number;
    let payload = scene.built(&before, vec![number]);
    let end = payload.window.1;
    let closing = Closing { end, head: before.looked_at + 2, parts: 1 };
    let after = Cursor { closing: Some(closing), ..before.clone() };
    let step =
        Progress { before: before.clone(), after: after.clone(), payload: Some(payload.clone()), now: scene.now };
    assert!(scene.store.advance(step.clone()).await.unwrap());
    assert!(!scene.store.advance(step).await.unwrap(), "the cursor is no longer as it was");
    let scene = scene.reopen().await;
    assert_eq!(scene.cursor().await, after);
    assert_eq!(scene.pending(10).await, [payload.id]);
    let stored = scene.store.payload(payload.id).await.unwrap().unwrap();
    assert_eq!((stored.rule, stored.document), (scene.rule.id, payload.document));
    let seen = scene.seen(LookAt::Changes { after: before.looked_at, until: i64::MAX }).await;
    assert_eq!(seen, [(ids[0], true), (ids[1], false)]);
    let finished = Cursor { looked_at: closing.head, window_start: end, closing: None, ..after.clone() };
    let step = Progress { before: after, after: finished.clone(), payload: None, now: scene.now };
    assert!(scene.store.advance(step).await.unwrap());
    assert_eq!(scene.cursor().await, finished);
}

pub(crate) async fn matches_of_a_deleted_rule_are_no_other_rules(mut scene: Scene) {
    let before = scene.look_at("p").await;
    let id = fresh();
    scene.ingest([post(id, "p")]).await;
    let payload = scene.built(&before, vec![scene.one_run(id).await.number]);
    let end = payload.window.1;
    let after = Cursor { window_start: end, ..before.clone() };
    let step = Progress { before, after, payload: Some(payload), now: scene.now };
    assert!(scene.store.advance(step).await.unwrap());
    let delete = crate::store::RuleChanges { put: Vec::new(), delete: vec![scene.rule.id] };
    scene.store.change_rules(delete, scene.now).await.unwrap();
    let again = scene.look_at("p").await;
    assert_eq!(again.window_start, end, "a rule that is made again opens no window twice");
    let seen = scene.seen(LookAt::Changes { after: 0, until: i64::MAX }).await;
    assert_eq!(seen, [(id, false)]);
}

pub(crate) async fn a_rule_that_looks_again_knows_what_it_has_sent(mut scene: Scene) {
    let before = scene.look_at("p").await;
    let id = fresh();
    scene.ingest([post(id, "p")]).await;
    let payload = scene.built(&before, vec![scene.one_run(id).await.number]);
    let after = Cursor { window_start: payload.window.1, ..before.clone() };
    let step = Progress { before, after, payload: Some(payload), now: scene.now };
    assert!(scene.store.advance(step).await.unwrap());
    scene.put(vec![Rule { source: None, ..scene.rule.clone() }]).await;
    assert!(scene.store.cursor(scene.rule.id).await.unwrap().is_none());
    scene.ingest([post(fresh(), "p")]).await;
    let again = scene.look_at("p").await;
    assert_eq!(again.looked_at, scene.store.head(again.project).await.unwrap());
    let seen = scene.seen(LookAt::Changes { after: 0, until: i64::MAX }).await;
    assert_eq!(seen[0], (id, true));
}

pub(crate) async fn feedback_that_moves_changes_both_runs(mut scene: Scene) {
    let (first, second) = (fresh(), fresh());
    scene.look_at("p").await;
    scene.ingest([post(first, "p"), post(second, "p")]).await;
    let feedback = about(first, 1);
    scene.say(feedback.clone()).await;
    let after = scene.store.head(scene.project("p").await.id).await.unwrap();
    scene.say(FeedbackWrite { run: Some(second), ..feedback.clone() }).await;
    let seen = scene.seen(LookAt::Changes { after, until: i64::MAX }).await;
    assert_eq!(seen.iter().map(|(run, _)| *run).collect::<HashSet<_>>(), HashSet::from([first, second]));
    scene.say(FeedbackWrite { run: None, ..feedback }).await;
    let stored = scene.store.feedback(vec![second]).await.unwrap();
    assert_eq!(stored.len(), 1);
}

pub(crate) async fn a_layer_that_would_grow_beyond_all_bounds_is_left_as_it_is(scene: Scene) {
    let id = fresh();
    let half = "x".repeat(limits::LAYER_BYTES_MAX / 2);
    let write = |key: &str| NewRuns {
        runs: vec![write(id, Layer::Post, &json!({key: half, "session_name": "p"}))],
        ..NewRuns::default()
    };
    assert!(scene.store.ingest(write("extra"), scene.now).await.unwrap().is_empty());
    assert_eq!(scene.store.ingest(write("events"), scene.now).await.unwrap(), [id]);
    let stored = scene.one_run(id).await;
    assert!(stored.bytes() <= limits::LAYER_BYTES_MAX);
}

pub(crate) async fn a_trace_is_looked_at_as_a_whole(mut scene: Scene) {
    scene.look_at("p").await;
    let (root, child) = (fresh(), fresh());
    let child_of = |parent: RunId| json!({"session_name": "p", "trace_id": parent, "parent_run_id": parent});
    scene.ingest([write(child, Layer::Post, &child_of(root)), post(root, "p"), post(fresh(), "p")]).await;
    let trace = scene.seen(LookAt::Trace { trace: root, after: 0 }).await;
    assert_eq!(trace, [(child, false), (root, false)]);
    let project = scene.project("p").await.id;
    let elsewhere = Tree { trace: root, project: scene.project("q").await.id };
    let tree = Tree { trace: root, project };
    let roots = scene.store.roots(vec![tree, elsewhere, Tree { trace: fresh(), project }]).await.unwrap();
    assert_eq!(roots.into_iter().map(|run| run.id).collect::<Vec<_>>(), [root]);
    let ids = |runs: Vec<StoredRun>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
    assert_eq!(ids(scene.store.tree(tree, 0).await.unwrap()), [child, root]);
    let child = scene.one_run(child).await.number;
    assert_eq!(ids(scene.store.tree(tree, child).await.unwrap()), [root]);
    assert!(scene.store.tree(elsewhere, 0).await.unwrap().is_empty());
    let before = scene.cursor().await;
    let payload = scene.built(&before, vec![child]);
    let after = Cursor { window_start: payload.window.1, ..before.clone() };
    let step = Progress { before, after, payload: Some(payload), now: scene.now };
    assert!(scene.store.advance(step).await.unwrap());
    let left = scene.seen(LookAt::Trace { trace: root, after: 0 }).await;
    assert_eq!(left, [(root, false)], "what is matched is left out");
    assert_eq!(scene.store.tree(tree, 0).await.unwrap().len(), 2, "a tree is asked with all its runs");
}
