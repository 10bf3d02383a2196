//! What fan-out makes, replays included.

use bytes::Bytes;

use super::{Scene, attempt};
use crate::model::attempt::Outcome;
use crate::model::delivery::{Fate, NewDelivery, Next, State, Still};
use crate::model::payload::{Body, PendingPayload};

pub(crate) async fn a_repeated_fan_out_changes_nothing(scene: Scene) {
    let payload = scene.accept("{}").await;
    let first = scene.to_send("a", &payload.document);
    let again = scene.to_send("a", &payload.document);
    scene.fan_out(&payload, vec![first.clone()], &[]).await;
    assert!(scene.fan_out(&payload, vec![again.clone()], &[again.id]).await.is_empty());
    assert_eq!(scene.claim_at(scene.now).await.len(), 1);
    assert!(scene.store.delivery(again.id).await.unwrap().is_none());
}

pub(crate) async fn equal_bodies_come_back_whole(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[1]}"#).await;
    let other = Bytes::from_static(b"text");
    let mut rendered = scene.to_send("b", &other);
    let body = Body { content_type: "text/plain".into(), headers: vec![("x-a".into(), "1".into())], bytes: other };
    rendered.fate = Fate::Send(body.clone());
    scene.fan_out(&payload, vec![scene.to_send("a", &payload.document), rendered], &[]).await;
    let scene = scene.reopen().await;
    let mut claims = scene.claim_at(scene.now).await;
    claims.sort_by(|one, other| one.endpoint.cmp(&other.endpoint));
    let bodies: Vec<_> = claims.into_iter().map(|claim| claim.body).collect();
    assert_eq!(bodies, [Body::json(payload.document), body]);
}

pub(crate) async fn fan_out_claims_what_it_is_asked_to(scene: Scene) {
    let payload = scene.accept("{}").await;
    let (one, other) = (scene.to_send("a", &payload.document), scene.to_send("b", &payload.document));
    let claims = scene.fan_out(&payload, vec![one.clone(), other.clone()], &[one.id]).await;
    let claimed: Vec<_> = claims.iter().map(|claim| (claim.delivery, claim.attempt)).collect();
    assert_eq!(claimed, [(one.id, 1)]);
    let due: Vec<_> = scene.claim_at(scene.now).await.into_iter().map(|claim| claim.delivery).collect();
    assert_eq!(due, [other.id]);
}

pub(crate) async fn a_replay_makes_a_new_delivery_and_closes_the_held_one(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let held =
        NewDelivery { fate: Fate::Held("a plugin failed".to_owned().into()), ..scene.to_send("a", &payload.document) };
    scene.fan_out(&payload, vec![held.clone()], &[]).await;
    let source = scene.store.replay_source(held.id).await.unwrap().unwrap();
    assert_eq!(source.delivery.cause.as_deref(), Some("a plugin failed"));
    assert_eq!(source.payload.document, payload.document);
    for _ in 0..2 {
        let replay = scene.to_replay(held.id, Still::Any, "a", &payload.document);
        scene.fan_out(&source.payload, vec![replay.clone()], &[]).await;
        assert_eq!(scene.state(replay.id).await, State::Pending);
    }
    assert_eq!(scene.state(held.id).await, State::Cancelled);
}

pub(crate) async fn a_held_delivery_is_replayed_once_however_many_replay_it(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let held = NewDelivery { fate: Fate::Held("words".to_owned().into()), ..scene.to_send("a", &payload.document) };
    scene.fan_out(&payload, vec![held.clone()], &[]).await;
    assert_replayed_once(&scene, &payload, || scene.to_replay(held.id, Still::Held, "a", &payload.document)).await;
}

pub(crate) async fn what_is_replayed_because_nobody_has_is_replayed_once(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let failed = scene.to_send("a", &payload.document);
    scene.fan_out(&payload, vec![failed.clone()], &[]).await;
    let claim = scene.claim_at(scene.now).await.remove(0);
    scene.store.complete(&claim, attempt(1, Outcome::ServerError, scene.now), Next::Failed).await.unwrap();
    let replay = |still| scene.to_replay(failed.id, still, "a", &payload.document);
    assert_replayed_once(&scene, &payload, || replay(Still::Unreplayed)).await;
    let again = replay(Still::Any);
    scene.fan_out(&payload, vec![again.clone()], &[]).await;
    assert_eq!(scene.state(again.id).await, State::Pending, "who names it may replay it again");
}

async fn assert_replayed_once(scene: &Scene, payload: &PendingPayload, replay: impl Fn() -> NewDelivery) {
    let (first, second) = (replay(), replay());
    scene.fan_out(payload, vec![first.clone()], &[]).await;
    assert!(scene.fan_out(payload, vec![second.clone()], &[second.id]).await.is_empty());
    assert_eq!(scene.state(first.id).await, State::Pending);
    assert_eq!(scene.store.delivery(second.id).await.unwrap(), None);
}
