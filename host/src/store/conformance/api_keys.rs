//! Keys of the API.

use std::time::Duration;

use super::Scene;
use crate::clock::after;
use crate::model::api_key::{ApiKey, ApiKeyId, Scope};

impl Scene {
    fn api_key(&self, id: &str, age: u64) -> ApiKey {
        ApiKey {
            id: ApiKeyId(id.to_owned()),
            name: format!("of {id}"),
            hash: [7; 32],
            scopes: [Scope::Read, Scope::Ingest].into_iter().collect(),
            created_at: after(self.now, Duration::from_secs(1_000 - age)),
            expires_at: None,
            last_used_at: None,
        }
    }

    async fn api_keys(&self) -> Vec<ApiKey> {
        self.store.api_keys().await.unwrap()
    }
}

pub(crate) async fn api_keys_come_back_as_they_were_made(scene: Scene) {
    let young = scene.api_key("a", 0);
    let old = ApiKey {
        expires_at: Some(after(scene.now, Duration::from_micros(1_234_567))),
        last_used_at: Some(scene.now),
        scopes: [Scope::Admin].into_iter().collect(),
        ..scene.api_key("b", 10)
    };
    for key in [&young, &old] {
        scene.store.add_api_key(key.clone()).await.unwrap();
    }
    assert_eq!(scene.api_keys().await, [old.clone(), young.clone()]);
    let again = scene.api_key("a", 500);
    assert!(scene.store.add_api_key(again).await.is_err(), "an id is there once");
    assert_eq!(scene.reopen().await.api_keys().await, [old, young]);
}

pub(crate) async fn a_key_that_is_gone_stays_gone(scene: Scene) {
    let (kept, gone) = (scene.api_key("a", 0), scene.api_key("b", 0));
    for key in [&kept, &gone] {
        scene.store.add_api_key(key.clone()).await.unwrap();
    }
    assert!(scene.store.delete_api_key(&gone.id).await.unwrap());
    assert!(!scene.store.delete_api_key(&gone.id).await.unwrap());
    assert_eq!(scene.reopen().await.api_keys().await, [kept]);
}

pub(crate) async fn the_use_of_a_key_is_noted_and_brings_none_back(scene: Scene) {
    let (key, gone) = (scene.api_key("a", 0), scene.api_key("b", 0));
    scene.store.add_api_key(key.clone()).await.unwrap();
    for used in [&key, &gone] {
        scene.store.note_api_key_use(&used.id, scene.now).await.unwrap();
    }
    let used = ApiKey { last_used_at: Some(scene.now), ..key };
    assert_eq!(scene.reopen().await.api_keys().await, [used]);
}
