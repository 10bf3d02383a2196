//! What fan-out makes, replays included.

use bytes::Bytes;

use super::Scene;
use crate::model::delivery::{Fate, NewDelivery, State};
use crate::model::payload::Body;

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
        let replay = NewDelivery { replay_of: Some(held.id), ..scene.to_send("a", &payload.document) };
        scene.fan_out(&source.payload, vec![replay.clone()], &[]).await;
        assert_eq!(scene.state(replay.id).await, State::Pending);
    }
    assert_eq!(scene.state(held.id).await, State::Cancelled);
}

pub(crate) async fn a_held_delivery_is_replayed_once_however_many_replay_it(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let held = NewDelivery { fate: Fate::Held("words".to_owned().into()), ..scene.to_send("a", &payload.document) };
    scene.fan_out(&payload, vec![held.clone()], &[]).await;
    let replay =
        || NewDelivery { replay_of: Some(held.id), only_if_held: true, ..scene.to_send("a", &payload.document) };
    let (first, second) = (replay(), replay());
    scene.fan_out(&payload, vec![first.clone()], &[]).await;
    assert!(scene.fan_out(&payload, vec![second.clone()], &[second.id]).await.is_empty());
    assert_eq!(scene.state(first.id).await, State::Pending);
    assert_eq!(scene.store.delivery(second.id).await.unwrap(), None);
}
