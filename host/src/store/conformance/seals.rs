//! Secrets under another key. A backend's keyring is the folder's, read when it is opened.

use std::time::Duration;

use serde_json::json;

use super::{Scene, rule};
use crate::clock::after;
use crate::limits;
use crate::model::rule::Rule;
use crate::model::secret::Secret;
use crate::secrets::Keyring;
use crate::store::{RuleChanges, Store};

impl Scene {
    fn keyring(&self) -> Keyring {
        Keyring::load(self.folder.path(), None).unwrap()
    }

    /// With a new key beside the one that all is sealed with.
    async fn with_a_new_key(self) -> Self {
        self.keyring().begin_rotation().unwrap();
        self.reopen().await
    }

    /// With the new key alone.
    async fn without_the_earlier_key(self) -> Self {
        self.keyring().end_rotation(self.now, self.now).unwrap();
        self.reopen().await
    }
}

async fn reseal_all(store: &dyn Store) -> u64 {
    let (mut secrets, mut behind) = (0, None);
    loop {
        let batch = store.reseal(behind, 2).await.unwrap();
        secrets += batch.secrets;
        if batch.last.is_none() {
            return secrets;
        }
        behind = batch.last;
    }
}

pub(crate) async fn secrets_come_under_the_current_key_batch_by_batch(scene: Scene) {
    scene.put((0..4).map(|number| rule(&number.to_string(), scene.now)).collect()).await;
    assert_eq!(reseal_all(&*scene.store).await, 0);
    let scene = scene.with_a_new_key().await;
    let rules = scene.store.rules().await.unwrap();
    let mut ids: Vec<_> = rules.iter().map(|rule| rule.id).collect();
    ids.sort();
    let (mut behind, mut batches) = (None, Vec::new());
    loop {
        let batch = scene.store.reseal(behind, 2).await.unwrap();
        let Some(last) = batch.last else { break };
        behind = Some(last);
        batches.push((batch.secrets, last));
    }
    // The relay secret, and two URLs and two headers at least.
    let of_one = batches[2].0;
    assert!(of_one >= 5, "{batches:?}");
    assert_eq!(batches, [(2 * of_one, ids[1]), (2 * of_one, ids[3]), (of_one, ids[4])]);
    assert_eq!(reseal_all(&*scene.store).await, 0, "the second pass finds nothing");
    assert_eq!(scene.without_the_earlier_key().await.store.rules().await.unwrap(), rules);
}

pub(crate) async fn long_rules_are_sealed_anew_in_smaller_batches(scene: Scene) {
    let long = |number: usize| {
        let mut rule = rule(&number.to_string(), scene.now);
        rule.webhooks[0].plugins[0].config = json!("x".repeat(limits::RESEALED_BYTES_MAX / 2));
        rule
    };
    scene.put((0..4).map(long).collect()).await;
    let scene = scene.with_a_new_key().await;
    let mut ids: Vec<_> = scene.store.rules().await.unwrap().iter().map(|rule| rule.id).collect();
    ids.sort();
    let first = scene.store.reseal(None, 10).await.unwrap().last.unwrap();
    assert!(ids[1..3].contains(&first), "two long ones, and perhaps the short one");
    assert_eq!(scene.store.reseal(Some(ids[2]), 10).await.unwrap().last, Some(ids[4]), "the last two");
}

pub(crate) async fn what_is_sealed_anew_is_otherwise_as_it_was(scene: Scene) {
    let looks_sealed = Rule {
        relay_secret: Some(Secret::new("v2:12345678:AAAA:\"AAAA")),
        display_name: "v1:12345678:AAAA".to_owned(),
        sampling_rate: 0.1 + 0.2,
        ..rule("any", scene.now)
    };
    scene.put(vec![looks_sealed]).await;
    let before = scene.store.rules().await.unwrap();
    let scene = scene.with_a_new_key().await;
    assert!(reseal_all(&*scene.store).await > 0);
    assert_eq!(scene.store.rules().await.unwrap(), before);
}

pub(crate) async fn rules_that_change_meanwhile_are_under_the_current_key(scene: Scene) {
    scene.put((0..9).map(|number| rule(&number.to_string(), scene.now)).collect()).await;
    let scene = scene.with_a_new_key().await;
    let later = after(scene.now, Duration::from_secs(1));
    let changed: Vec<_> = scene.store.rules().await.unwrap();
    let changed = changed.into_iter().map(|rule| Rule { relay_secret: Some(Secret::new("new")), ..rule });
    let changes = async {
        for put in changed {
            let made = rule(&format!("beside {}", put.display_name), scene.now);
            let changes = RuleChanges { put: vec![put, made], delete: Vec::new() };
            scene.store.change_rules(changes, later).await.unwrap();
        }
    };
    tokio::join!(changes, reseal_all(&*scene.store));
    let rules = scene.store.rules().await.unwrap();
    assert_eq!(rules.len(), 20);
    assert_eq!(scene.without_the_earlier_key().await.store.rules().await.unwrap(), rules);
}
