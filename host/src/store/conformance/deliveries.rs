//! Deliveries as they are listed and counted.

use super::Scene;
use crate::model::delivery::{Fate, NewDelivery, State};
use crate::store::DeliveryQuery;

pub(crate) async fn the_ledger_adds_up(scene: Scene) {
    let payload = scene.accept("{}").await;
    let filtered = NewDelivery { fate: Fate::Filtered, ..scene.to_send("a", &payload.document) };
    let dropped =
        NewDelivery { fate: Fate::Dropped("cause".to_owned().into()), ..scene.to_send("b", &payload.document) };
    scene.fan_out(&payload, vec![filtered, dropped], &[]).await;
    scene.queue(&["a", "b"]).await;
    let expected = [
        (scene.endpoint("a"), State::Filtered, 1),
        (scene.endpoint("a"), State::Pending, 1),
        (scene.endpoint("b"), State::Dropped, 1),
        (scene.endpoint("b"), State::Pending, 1),
    ];
    assert_eq!(scene.store.ledger().await.unwrap(), expected);
}

pub(crate) async fn pages_list_every_delivery_once(scene: Scene) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.extend(scene.queue(&["a", "b"]).await);
    }
    let mut listed = Vec::new();
    loop {
        let query = DeliveryQuery { before: listed.last().copied(), limit: 3, ..DeliveryQuery::default() };
        let page = scene.store.deliveries(query).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page.iter().map(|delivery| delivery.id));
    }
    ids.reverse();
    assert_eq!(listed, ids);
    let held = DeliveryQuery { state: Some(State::Held), limit: 10, ..DeliveryQuery::default() };
    assert!(scene.store.deliveries(held).await.unwrap().is_empty());
    let of_rule = DeliveryQuery {
        state: Some(State::Pending),
        rule: Some(scene.rule.id),
        payload: Some(scene.store.delivery(ids[0]).await.unwrap().unwrap().delivery.payload),
        limit: 10,
        ..DeliveryQuery::default()
    };
    assert_eq!(scene.store.deliveries(of_rule).await.unwrap().len(), 2);
}
