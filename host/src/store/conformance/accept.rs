//! Payloads at the door.

use bytes::Bytes;

use super::Scene;
use crate::model::Timestamp;
use crate::model::ids::PayloadId;
use crate::store::{Accepted, NewPayload};

impl Scene {
    pub(super) async fn accept_with_key(
        &self,
        document: &'static str,
        key: &str,
        at: Timestamp,
    ) -> (PayloadId, Accepted) {
        let id = PayloadId::generate();
        let payload = NewPayload {
            id,
            rule: self.rule.id,
            accepted_at: at,
            document: Bytes::from_static(document.as_bytes()),
            idempotency_key: Some(key.to_owned()),
        };
        (id, self.store.accept(payload).await.unwrap())
    }
}

pub(crate) async fn an_accepted_payload_waits_for_fan_out_also_after_a_restart(scene: Scene) {
    let payload = scene.accept(r#"{"runs":[]}"#).await;
    let scene = scene.reopen().await;
    assert_eq!(scene.pending(10).await, [payload.id]);
    let found = scene.store.payload(payload.id).await.unwrap().unwrap();
    assert_eq!(
        (found.document.clone(), found.rule, found.accepted_at),
        (payload.document, payload.rule, payload.accepted_at)
    );
    scene.fan_out(&found, Vec::new(), &[]).await;
    assert!(scene.pending(10).await.is_empty());
    assert!(scene.store.payload(payload.id).await.unwrap().is_none(), "it waits no longer");
}

pub(crate) async fn what_waits_for_fan_out_is_told_page_by_page(scene: Scene) {
    let ids = [scene.accept("{}").await.id, scene.accept("{}").await.id, scene.accept("{}").await.id];
    let [first, second, third] = ids.map(|id| (id, scene.rule.id));
    let page = async |behind| scene.store.pending_payloads(behind, 2).await.unwrap();
    assert_eq!(page(None).await, [first, second]);
    assert_eq!(page(Some(ids[1])).await, [third]);
    assert!(page(Some(ids[2])).await.is_empty());
    scene.fan_out(&scene.store.payload(ids[1]).await.unwrap().unwrap(), Vec::new(), &[]).await;
    assert_eq!(page(Some(ids[0])).await, [third]);
    assert_eq!(page(Some(ids[1])).await, [third], "also behind one that no longer waits");
    assert_eq!(page(Some(PayloadId::generate())).await, [first, third], "none of them is behind what is not there");
}

pub(crate) async fn a_repeated_key_gets_the_first_answer_and_another_body_a_conflict(scene: Scene) {
    let (first, accepted) = scene.accept_with_key("{}", "k", scene.now).await;
    assert_eq!(accepted, Accepted::New);
    assert_eq!(scene.accept_with_key("{}", "k", scene.in_seconds(60)).await.1, Accepted::Repeat(first));
    assert_eq!(scene.accept_with_key("{ }", "k", scene.in_seconds(60)).await.1, Accepted::Conflict);
    assert_eq!(scene.accept_with_key("{ }", "other", scene.now).await.1, Accepted::New);
    assert_eq!(scene.pending(10).await.len(), 2);
}

pub(crate) async fn a_key_is_forgotten_after_its_window(scene: Scene) {
    scene.accept_with_key("{}", "k", scene.now).await;
    let day = 24 * 3600;
    assert!(matches!(scene.accept_with_key("{}", "k", scene.in_seconds(day - 1)).await.1, Accepted::Repeat(_)));
    assert_eq!(scene.accept_with_key("{}", "k", scene.in_seconds(day)).await.1, Accepted::New);
}

pub(crate) async fn a_large_payload_comes_back_whole(scene: Scene) {
    let payload = scene.accept(&"x".repeat(20 * 1024 * 1024)).await;
    scene.fan_out(&payload, vec![scene.to_send("a", &payload.document)], &[]).await;
    assert_eq!(scene.claim_at(scene.now).await[0].body.bytes, payload.document);
}

pub(crate) async fn many_writers_lose_nothing(scene: Scene) {
    let payloads = futures::future::join_all((0..500).map(|number| {
        let scene = &scene;
        async move { scene.accept(&format!(r#"{{"n":{number}}}"#)).await }
    }))
    .await;
    let scene = scene.reopen().await;
    assert_eq!(scene.pending(1000).await.len(), 500);
    for payload in payloads.iter().step_by(50) {
        assert_eq!(scene.store.payload(payload.id).await.unwrap().unwrap().document, payload.document);
    }
}
