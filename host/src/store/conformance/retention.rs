//! The half of the suite that is about forgetting.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{Scene, attempt};
use crate::clock::after;
use crate::limits;
use crate::model::attempt::Outcome;
use crate::model::delivery::{Claim, Fate, NewDelivery, Next, State, Still};
use crate::model::ids::{DeliveryId, PayloadId, RuleId, RunId};
use crate::model::rule::Rule;
use crate::model::run::{FeedbackWrite, Layer};
use crate::store::conformance::runs::{about, fresh, patch, post, write};
use crate::store::retention::Pruned;
use crate::store::runs::{
    Cursor, FeedbackQuery, LookAt, NewAttachment, NewRuns, Progress, RuleLogEntry, RuleLogQuery, RunQuery,
};
use crate::store::{Accepted, RuleChanges};

const LIMIT: usize = 500;

impl Scene {
    pub(super) fn pass_hours(&mut self, hours: u64) {
        self.now = self.in_seconds(hours * 3600);
    }

    async fn attach(&self, run: RunId) {
        let (name, blob, media_type) = ("a".to_owned(), "k".to_owned(), "text/plain".to_owned());
        let attachments = vec![NewAttachment { run, name, blob, media_type }];
        self.store.ingest(NewRuns { attachments, ..NewRuns::default() }, self.now).await.unwrap();
    }

    async fn run_ids(&self) -> Vec<RunId> {
        let query = RunQuery { is_ascending: true, ..RunQuery::default() };
        self.store.runs(query).await.unwrap().into_iter().map(|run| run.id).collect()
    }

    async fn prune_runs(&self, limit: usize) -> Pruned {
        self.store.prune_runs(self.now, limit).await.unwrap()
    }

    async fn prune_history(&self) -> Pruned {
        self.store.prune_history(self.now, LIMIT).await.unwrap()
    }

    async fn prune_leftovers(&self) -> Pruned {
        self.store.prune_leftovers(self.now, LIMIT).await.unwrap()
    }

    /// One delivery of a payload of its own.
    async fn deliver(&self, webhook: &str, fate: Fate) -> DeliveryId {
        let payload = self.accept("{}").await;
        let delivery = NewDelivery { fate, ..self.to_send(webhook, &payload.document) };
        let id = delivery.id;
        self.fan_out(&payload, vec![delivery], &[]).await;
        id
    }

    async fn claim_all(&self) -> Vec<Claim> {
        self.claim_at(self.now).await
    }

    async fn delivered(&self, claim: &Claim) {
        let attempt = attempt(claim.attempt, Outcome::Delivered, self.now);
        assert!(self.store.complete(claim, attempt, Next::Delivered).await.unwrap());
    }

    async fn is_there(&self, id: DeliveryId) -> bool {
        self.store.delivery(id).await.unwrap().is_some()
    }

    /// Has the scene's rule match this run, number and all.
    async fn take_match(&self, before: Cursor, run: i64) -> PayloadId {
        let payload = self.built(&before, vec![run]);
        let id = payload.id;
        let after = Cursor { window_start: payload.window.1, ..before.clone() };
        let step = Progress { before, after, payload: Some(payload), now: self.now };
        assert!(self.store.advance(step).await.unwrap());
        id
    }

    async fn rule_log(&self) -> Vec<RuleLogEntry> {
        let query = RuleLogQuery { rule: self.rule.id, since: None, until: None, limit: 10, offset: 0 };
        self.store.rule_log(query).await.unwrap()
    }

    async fn change(&self, put: Vec<Rule>, delete: Vec<RuleId>) {
        self.store.change_rules(RuleChanges { put, delete }, self.now).await.unwrap();
    }
}

pub(crate) async fn old_runs_go_with_all_that_is_about_them(mut scene: Scene) {
    let (old, young) = (fresh(), fresh());
    scene.ingest([post(old, "p"), patch(old)]).await;
    scene.attach(old).await;
    scene.pass_hours(1);
    scene.ingest([post(young, "p")]).await;
    for run in [old, old, young] {
        scene.say(about(run, 1)).await;
    }
    scene.attach(young).await;
    let expected = Pruned { runs: 1, feedback: 2, attachments: 1, ..Pruned::default() };
    assert_eq!(scene.prune_runs(LIMIT).await, expected);
    assert!(scene.prune_runs(LIMIT).await.is_nothing());
    let scene = scene.reopen().await;
    assert_eq!(scene.run_ids().await, [young]);
    let about_both = vec![old, young];
    assert_eq!(scene.store.feedback(about_both.clone()).await.unwrap().len(), 1);
    assert_eq!(scene.store.attachments(about_both).await.unwrap().len(), 1);
}

pub(crate) async fn a_batch_of_runs_is_bounded_in_rows_and_in_bytes(mut scene: Scene) {
    scene.ingest((0..5).map(|_| post(fresh(), "p"))).await;
    let talked_about = fresh();
    scene.pass_hours(1);
    scene.ingest([post(talked_about, "p")]).await;
    for score in 0..7 {
        scene.say(about(talked_about, score)).await;
    }
    scene.pass_hours(1);
    let mut batches = Vec::new();
    loop {
        let batch = scene.prune_runs(3).await;
        if batch.is_nothing() {
            break;
        }
        batches.push((batch.runs, batch.feedback));
    }
    assert_eq!(batches, [(3, 0), (2, 1), (0, 3), (0, 3), (1, 0)]);
    let large = json!({"session_name": "p", "inputs": "x".repeat(limits::PRUNE_BYTES_MAX / 3 * 2)});
    scene.ingest((0..2).map(|_| write(fresh(), Layer::Post, &large))).await;
    scene.pass_hours(1);
    assert_eq!([scene.prune_runs(3).await.runs, scene.prune_runs(3).await.runs], [1, 1]);
}

pub(crate) async fn what_is_about_a_run_that_never_came_goes_by_its_age(mut scene: Scene) {
    let (never, later) = (fresh(), fresh());
    let about_a_project = FeedbackWrite { run: None, ..about(never, 1) };
    for feedback in [about(never, 1), about(later, 1), about_a_project] {
        scene.say(feedback).await;
    }
    scene.attach(never).await;
    scene.attach(later).await;
    scene.pass_hours(1);
    scene.ingest([post(later, "p")]).await;
    scene.say(about(never, 2)).await;
    let expected = Pruned { feedback: 2, attachments: 1, ..Pruned::default() };
    assert_eq!(scene.prune_runs(LIMIT).await, expected);
    assert!(scene.prune_runs(LIMIT).await.is_nothing());
    let query = FeedbackQuery { limit: 10, ..FeedbackQuery::default() };
    let left = scene.store.feedback_page(query).await.unwrap();
    assert_eq!(left.iter().map(|feedback| feedback.run).collect::<Vec<_>>(), [Some(later), Some(never)]);
    assert_eq!(scene.store.attachments(vec![never, later]).await.unwrap().len(), 1);
}

pub(crate) async fn no_place_in_the_order_is_given_twice(mut scene: Scene) {
    let (first, second) = (fresh(), fresh());
    scene.ingest([post(first, "p")]).await;
    let before = scene.one_run(first).await;
    scene.pass_hours(1);
    assert_eq!(scene.prune_runs(LIMIT).await.runs, 1);
    scene.ingest([post(second, "p")]).await;
    let after = scene.one_run(second).await;
    assert!(after.changed > before.changed && after.number > before.number);
}

pub(crate) async fn history_goes_but_for_what_is_still_to_be_done(mut scene: Scene) {
    let sent = scene.queue(&["a", "b"]).await;
    for claim in scene.claim_all().await {
        scene.delivered(&claim).await;
    }
    let half_sent = scene.queue(&["a", "b"]).await;
    scene.delivered(&scene.claim_all().await[0]).await;
    let held = scene.deliver("a", Fate::Held("a plugin failed".to_owned().into())).await;
    let filtered = scene.deliver("a", Fate::Filtered).await;
    let waiting = scene.accept("{}").await;
    assert!(scene.prune_history().await.is_nothing(), "nothing is older than now");
    scene.pass_hours(1);
    let expected = Pruned { payloads: 3, deliveries: 4, ..Pruned::default() };
    assert_eq!(scene.prune_history().await, expected);
    assert!(scene.prune_history().await.is_nothing());
    let scene = scene.reopen().await;
    for id in [sent[0], sent[1], held, filtered] {
        assert!(!scene.is_there(id).await);
    }
    for id in half_sent {
        assert!(scene.store.replay_source(id).await.unwrap().is_some());
    }
    assert_eq!(scene.pending(10).await, [waiting.id]);
    let counts: Vec<_> =
        scene.store.ledger().await.unwrap().into_iter().map(|(_, state, count)| (state, count)).collect();
    assert_eq!(counts, [(State::Delivered, 1), (State::Pending, 1)]);
}

pub(crate) async fn what_happened_since_keeps_its_payload(mut scene: Scene) {
    let sent_late = scene.queue(&["a"]).await[0];
    let replayed = scene.deliver("b", Fate::Filtered).await;
    let start = scene.now;
    scene.pass_hours(2);
    scene.delivered(&scene.claim_all().await[0]).await;
    let source = scene.store.replay_source(replayed).await.unwrap().unwrap();
    let replay = scene.to_replay(replayed, Still::Any, "b", &source.payload.document);
    let replay = NewDelivery { fate: Fate::Filtered, ..replay };
    scene.fan_out(&source.payload, vec![replay.clone()], &[]).await;
    let after_start = after(start, Duration::from_hours(1));
    assert!(scene.store.prune_history(after_start, LIMIT).await.unwrap().is_nothing());
    assert!(scene.is_there(sent_late).await && scene.is_there(replayed).await);
    scene.pass_hours(1);
    assert_eq!(scene.prune_history().await.deliveries, 3);
    assert!(!scene.is_there(replay.id).await);
}

pub(crate) async fn a_run_is_not_matched_again_when_its_payload_goes(mut scene: Scene) {
    let before = scene.look_at("p").await;
    let id = fresh();
    scene.ingest([post(id, "p")]).await;
    let payload = scene.take_match(before, scene.one_run(id).await.number).await;
    assert_eq!(scene.rule_log().await.len(), 1);
    scene.pass_hours(1);
    assert!(scene.prune_history().await.is_nothing(), "it is not fanned out yet");
    let stored = scene.store.payload(payload).await.unwrap().unwrap();
    scene.fan_out(&stored, Vec::new(), &[]).await;
    assert_eq!(scene.prune_history().await.payloads, 1);
    // The next one may get the number of the one that is gone.
    let cursor = scene.store.cursor(scene.rule.id).await.unwrap().unwrap();
    let other = fresh();
    scene.ingest([post(other, "p")]).await;
    scene.take_match(cursor, scene.one_run(other).await.number).await;
    let logged: Vec<_> = scene.rule_log().await.into_iter().map(|entry| entry.run.id).collect();
    assert_eq!(logged, [other]);
    let all = LookAt::Changes { after: 0, until: i64::MAX };
    assert_eq!(scene.seen(all).await, [(id, true), (other, true)]);
    let expected = Pruned { runs: 1, matches: 1, ..Pruned::default() };
    assert_eq!(scene.prune_runs(LIMIT).await, expected);
    assert_eq!(scene.seen(all).await, [(other, true)]);
}

pub(crate) async fn a_run_that_goes_while_a_rule_looks_is_no_other_run(mut scene: Scene) {
    let before = scene.look_at("p").await;
    let (looked_at, next) = (fresh(), fresh());
    scene.ingest([post(looked_at, "p")]).await;
    let number = scene.one_run(looked_at).await.number;
    scene.pass_hours(1);
    assert_eq!(scene.prune_runs(LIMIT).await.runs, 1);
    scene.ingest([post(next, "p")]).await;
    scene.take_match(before, number).await;
    assert_eq!(scene.seen(LookAt::Changes { after: 0, until: i64::MAX }).await, [(next, false)]);
}

pub(crate) async fn leftovers_go_and_what_is_in_use_stays(mut scene: Scene) {
    let before = scene.look_at("p").await;
    let run = fresh();
    scene.ingest([post(run, "p")]).await;
    scene.take_match(before, scene.one_run(run).await.number).await;
    let kept = scene.deliver("b", Fate::Filtered).await;
    scene.accept_with_key("{}", "old", scene.now).await;
    scene.pass_hours(25);
    let (young, _) = scene.accept_with_key("{}", "young", scene.now).await;
    for payload in scene.pending(10).await {
        let payload = scene.store.payload(payload).await.unwrap().unwrap();
        scene.fan_out(&payload, Vec::new(), &[]).await;
    }
    // The accept above has removed the old key itself.
    assert!(scene.prune_leftovers().await.is_nothing());
    scene.change(Vec::new(), vec![scene.rule.id]).await;
    let expected = Pruned { matches: 1, endpoints: 1, ..Pruned::default() };
    assert_eq!(scene.prune_leftovers().await, expected);
    assert!(scene.is_there(kept).await);
    scene.change(vec![Rule { source: None, ..scene.rule.clone() }], Vec::new()).await;
    let again = scene.deliver("a", Fate::Filtered).await;
    assert!(scene.is_there(again).await);
    assert_eq!(scene.accept_with_key("{}", "young", scene.now).await.1, Accepted::Repeat(young));
    scene.pass_hours(24);
    assert_eq!(scene.prune_leftovers().await, Pruned { keys: 1, ..Pruned::default() });
}

pub(crate) async fn bodies_stay_while_something_names_them(mut scene: Scene) {
    let body = Bytes::from_static(br#"{"body": 1}"#);
    let payload = scene.accept(r#"{"runs": []}"#).await;
    let delivery = scene.to_send("a", &body);
    scene.fan_out(&payload, vec![delivery.clone()], &[]).await;
    let gone = scene.deliver("b", Fate::Filtered).await;
    for _ in 0..3 {
        scene.pass_hours(25);
        scene.prune_history().await;
        scene.store.prune_bodies(scene.now, LIMIT).await.unwrap();
        scene.accept("{}").await;
        scene = scene.reopen().await;
    }
    assert!(!scene.is_there(gone).await);
    let source = scene.store.replay_source(delivery.id).await.unwrap().unwrap();
    assert_eq!(source.payload.document, payload.document);
    let claims = scene.claim_all().await;
    assert_eq!(claims.into_iter().map(|claim| claim.body.bytes).collect::<Vec<_>>(), [body]);
    for payload in scene.pending(10).await {
        assert_eq!(scene.store.payload(payload).await.unwrap().unwrap().document, "{}");
    }
}
