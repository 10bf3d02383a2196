//! Endpoints that are not sent to, that are sent to in order, and how they did.

use super::{Scene, attempt, webhook};
use crate::model::attempt::Outcome;
use crate::model::delivery::{Next, State, Still};
use crate::model::ids::{DeliveryId, WebhookId};
use crate::model::pace::Pace;
use crate::model::payload::PendingPayload;
use crate::model::rule::{Rule, Webhook};
use crate::store::DeliveryQuery;
use crate::store::endpoints::{Disabled, EndpointRecord};

impl Scene {
    async fn record(&self, webhook: &str) -> EndpointRecord {
        let endpoints = self.store.endpoints().await.unwrap();
        endpoints.into_iter().find(|record| record.id == self.endpoint(webhook)).unwrap()
    }

    /// Has the webhook `a` sent to in order, or not.
    async fn order(&self, is_ordered: bool) {
        let mut ordered = webhook("a");
        ordered.endpoint.pace = Pace { is_ordered, ..Pace::default() };
        let webhooks: Vec<Webhook> = vec![ordered, webhook("b")];
        self.put(vec![Rule { webhooks, ..self.rule.clone() }]).await;
    }

    async fn fan_out_to_a(&self, payload: &PendingPayload) -> DeliveryId {
        let delivery = self.to_send("a", &payload.document);
        let id = delivery.id;
        assert!(self.fan_out(payload, vec![delivery], &[id]).await.is_empty(), "whose turn it is, claims tell");
        id
    }

    async fn claimed_at(&self, seconds: u64) -> Vec<DeliveryId> {
        self.claim_at(self.in_seconds(seconds)).await.into_iter().map(|claim| claim.delivery).collect()
    }
}

pub(crate) async fn an_endpoint_that_is_disabled_keeps_what_arrives_and_gets_no_claim(scene: Scene) {
    let before = scene.queue(&["a"]).await;
    let disabled = Disabled { at: scene.now, cause: "in words".to_owned() };
    assert!(scene.store.set_disabled(&scene.endpoint("a"), Some(disabled.clone())).await.unwrap());
    let again = Disabled { at: scene.in_seconds(9), cause: "other words".to_owned() };
    assert!(scene.store.set_disabled(&scene.endpoint("a"), Some(again)).await.unwrap());
    assert!(!scene.store.set_disabled(&scene.endpoint("c"), None).await.unwrap(), "there is none");
    let scene = scene.reopen().await;
    let payload = scene.accept("{}").await;
    let fresh = scene.to_send("a", &payload.document);
    let id = fresh.id;
    assert!(scene.fan_out(&payload, vec![fresh], &[id]).await.is_empty());
    assert!(scene.claimed_at(1).await.is_empty());
    assert_eq!(scene.waiting_at(scene.in_seconds(1)).await, (false, None));
    let record = scene.record("a").await;
    assert_eq!((record.disabled, record.pending), (Some(disabled), 2));
    assert_eq!(record.oldest_pending_at, Some(scene.now));
    assert_eq!(scene.record("b").await.disabled, None);
    assert!(scene.store.set_disabled(&scene.endpoint("a"), None).await.unwrap());
    assert_eq!(scene.claimed_at(1).await, [before[0], id]);
}

pub(crate) async fn an_endpoint_that_is_gone_is_disabled_with_its_cause(scene: Scene) {
    let ids = scene.queue(&["a"]).await;
    let claim = scene.claim_at(scene.now).await.remove(0);
    let mut gone = attempt(1, Outcome::ClientError, scene.now);
    gone.status = Some(410);
    assert!(scene.store.complete(&claim, gone, Next::Gone).await.unwrap());
    scene.queue(&["a"]).await;
    assert_eq!(scene.store.delivery(ids[0]).await.unwrap().unwrap().delivery.state, State::Failed);
    let record = scene.record("a").await;
    let disabled = record.disabled.unwrap();
    assert_eq!((disabled.at, record.pending), (scene.now, 1));
    assert!(disabled.cause.contains("410") && disabled.cause.contains(&ids[0].to_string()), "{}", disabled.cause);
    assert!(scene.claimed_at(1).await.is_empty());
}

pub(crate) async fn an_ordered_endpoint_gets_one_claim_at_a_time_in_the_order_of_payloads(scene: Scene) {
    scene.order(true).await;
    let (first, second, third) = (scene.accept("{}").await, scene.accept("{}").await, scene.accept("{}").await);
    let third = scene.fan_out_to_a(&third).await;
    assert!(scene.claimed_at(1).await.is_empty(), "earlier ones are still to be fanned out");
    assert_eq!(scene.waiting_at(scene.in_seconds(1)).await, (false, None));
    let first = scene.fan_out_to_a(&first).await;
    let claim = scene.claim_at(scene.now).await.remove(0);
    assert_eq!(claim.delivery, first);
    assert!(scene.claimed_at(1).await.is_empty(), "one at a time");
    scene.store.complete(&claim, attempt(1, Outcome::Delivered, scene.now), Next::Delivered).await.unwrap();
    assert!(scene.claimed_at(1).await.is_empty(), "the second is still to be fanned out");
    let second = scene.fan_out_to_a(&second).await;
    for expected in [second, third] {
        let claims = scene.claim_at(scene.in_seconds(1)).await;
        assert_eq!(claims.iter().map(|claim| claim.delivery).collect::<Vec<_>>(), [expected]);
        scene.store.complete(&claims[0], attempt(1, Outcome::ServerError, scene.now), Next::Failed).await.unwrap();
    }
}

pub(crate) async fn a_retry_at_an_ordered_endpoint_holds_up_what_follows(scene: Scene) {
    scene.order(true).await;
    let (first, second) = (scene.accept("{}").await, scene.accept("{}").await);
    let (first, _) = (scene.fan_out_to_a(&first).await, scene.fan_out_to_a(&second).await);
    let claim = scene.claim_at(scene.now).await.remove(0);
    let due = scene.in_seconds(60);
    scene.store.complete(&claim, attempt(1, Outcome::ServerError, scene.now), Next::RetryAt(due)).await.unwrap();
    assert!(scene.claimed_at(59).await.is_empty());
    assert_eq!(scene.waiting_at(scene.in_seconds(59)).await, (false, Some(due)));
    assert_eq!(scene.waiting_at(due).await, (true, None));
    assert_eq!(scene.claimed_at(60).await, [first]);
}

pub(crate) async fn an_endpoint_that_becomes_ordered_has_what_waits_in_order(scene: Scene) {
    let (first, second) = (scene.queue(&["a"]).await[0], scene.queue(&["a"]).await[0]);
    scene.order(true).await;
    assert_eq!(scene.claimed_at(1).await, [first]);
    scene.order(false).await;
    assert_eq!(scene.claimed_at(1).await, [second]);
}

pub(crate) async fn the_last_attempts_of_an_endpoint_come_newest_first(scene: Scene) {
    for seconds in 0..3 {
        scene.queue(&["a", "b"]).await;
        for claim in scene.claim_at(scene.in_seconds(seconds)).await {
            let outcome = if claim.endpoint == scene.endpoint("a") { Outcome::Delivered } else { Outcome::TimedOut };
            let attempt = attempt(1, outcome, scene.in_seconds(seconds));
            scene.store.complete(&claim, attempt, Next::Failed).await.unwrap();
        }
    }
    let attempts = scene.store.last_attempts(&scene.endpoint("a"), 2).await.unwrap();
    let seen: Vec<_> = attempts.iter().map(|attempt| (attempt.started_at, attempt.outcome)).collect();
    assert_eq!(seen, [2, 1].map(|seconds| (scene.in_seconds(seconds), Outcome::Delivered)));
}

pub(crate) async fn deliveries_are_listed_by_webhook_time_cause_and_whether_they_were_replayed(scene: Scene) {
    let ids = scene.queue(&["a", "b"]).await;
    for claim in scene.claim_at(scene.now).await {
        let outcome = if claim.endpoint == scene.endpoint("a") { Outcome::TimedOut } else { Outcome::ClientError };
        let attempt = attempt(1, outcome, scene.now);
        assert!(scene.store.complete(&claim, attempt, Next::Failed).await.unwrap());
    }
    let source = scene.store.replay_source(ids[0]).await.unwrap().unwrap();
    let replay = scene.to_replay(ids[0], Still::Any, "a", &source.payload.document);
    scene.fan_out(&source.payload, vec![replay.clone()], &[]).await;
    let listed = async |query: DeliveryQuery| -> Vec<DeliveryId> {
        let deliveries = scene.store.deliveries(DeliveryQuery { limit: 10, ..query }).await.unwrap();
        deliveries.into_iter().map(|delivery| delivery.id).collect()
    };
    let all = DeliveryQuery::default;
    assert_eq!(listed(DeliveryQuery { webhook: Some(WebhookId("a".to_owned())), ..all() }).await, [replay.id, ids[0]]);
    assert_eq!(listed(DeliveryQuery { cause: Some("client_error".to_owned()), ..all() }).await, [ids[1]]);
    assert_eq!(listed(DeliveryQuery { is_replayed: Some(true), ..all() }).await, [ids[0]]);
    assert_eq!(listed(DeliveryQuery { is_replayed: Some(false), ..all() }).await, [replay.id, ids[1]]);
    assert_eq!(listed(DeliveryQuery { since: Some(scene.now), ..all() }).await.len(), 3);
    assert_eq!(listed(DeliveryQuery { until: Some(scene.now), ..all() }).await, []);
}
