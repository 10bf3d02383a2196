//! Rules, and what a change of them does to what waits.

use super::{Scene, attempt, rule, webhook};
use crate::model::attempt::Outcome;
use crate::model::delivery::{Next, State};
use crate::model::rule::Rule;
use crate::store::{DeliveryQuery, RuleChanges};

pub(crate) async fn rules_come_back_as_they_were_put(scene: Scene) {
    let scene = scene.reopen().await;
    assert_eq!(scene.store.rules().await.unwrap(), std::slice::from_ref(&scene.rule));
}

pub(crate) async fn rules_may_swap_their_names(scene: Scene) {
    let mut other = rule("second", scene.now);
    scene.put(vec![other.clone()]).await;
    let mut first = scene.rule.clone();
    std::mem::swap(&mut first.display_name, &mut other.display_name);
    scene.put(vec![first, other.clone()]).await;
    let names: Vec<_> =
        scene.store.rules().await.unwrap().into_iter().map(|rule| (rule.display_name, rule.id)).collect();
    assert_eq!(names, [("first".to_owned(), other.id), ("second".to_owned(), scene.rule.id)]);
}

pub(crate) async fn a_removed_webhook_cancels_what_waits_for_it(scene: Scene) {
    let ids = scene.queue(&["a", "b"]).await;
    let in_flight = scene.claim_at(scene.now).await.into_iter().find(|claim| claim.delivery == ids[0]).unwrap();
    let mut smaller = scene.rule.clone();
    smaller.webhooks.remove(0);
    let changes = RuleChanges { put: vec![smaller], delete: Vec::new() };
    assert_eq!(scene.store.change_rules(changes, scene.now).await.unwrap().deliveries, 1);
    assert_eq!((scene.state(ids[0]).await, scene.state(ids[1]).await), (State::Cancelled, State::Pending));
    let late = attempt(1, Outcome::Delivered, scene.now);
    assert!(!scene.store.complete(&in_flight, late, Next::Delivered).await.unwrap());
    let record = scene.store.delivery(ids[0]).await.unwrap().unwrap();
    assert_eq!((record.delivery.state, record.attempts.len()), (State::Cancelled, 1));
    let deletion = RuleChanges { put: Vec::new(), delete: vec![scene.rule.id] };
    assert_eq!(scene.store.change_rules(deletion, scene.now).await.unwrap().deliveries, 1);
    assert_eq!(scene.state(ids[1]).await, State::Cancelled);
}

pub(crate) async fn a_delivery_to_a_removed_webhook_is_cancelled_at_once(scene: Scene) {
    let payload = scene.accept("{}").await;
    scene.put(vec![Rule { webhooks: vec![webhook("b")], ..scene.rule.clone() }]).await;
    let delivery = scene.to_send("a", &payload.document);
    assert!(scene.fan_out(&payload, vec![delivery.clone()], &[delivery.id]).await.is_empty());
    assert_eq!(scene.state(delivery.id).await, State::Cancelled);
}

pub(crate) async fn a_payload_that_waits_when_its_rule_goes_is_cancelled_visibly(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let changes = RuleChanges { put: Vec::new(), delete: vec![scene.rule.id] };
    assert_eq!(scene.store.change_rules(changes, scene.now).await.unwrap().deliveries, 2);
    assert!(scene.pending(10).await.is_empty());
    let query = DeliveryQuery { payload: Some(payload.id), limit: 10, ..DeliveryQuery::default() };
    let deliveries = scene.store.deliveries(query).await.unwrap();
    assert_eq!(deliveries.len(), 2);
    for delivery in deliveries {
        assert_eq!((delivery.state, delivery.cause.as_deref()), (State::Cancelled, Some("the rule was deleted")));
    }
}
