use std::path::Path;

use super::*;
use crate::clock::ManualClock;
use crate::secrets::Keyring;
use crate::store::sqlite::SqliteStore;

struct Scene {
    folder: tempfile::TempDir,
    clock: ManualClock,
    access: Arc<Access>,
}

fn now() -> Timestamp {
    "2026-07-01T09:00:00Z".parse().unwrap()
}

async fn open(folder: &Path, clock: &ManualClock) -> Arc<Access> {
    let keyring = Arc::new(Keyring::load(folder, None).unwrap());
    let store = Arc::new(SqliteStore::open(folder, keyring).unwrap());
    Access::load(store, Arc::new(clock.clone()), Secret::new("rh_bootstrap")).await.unwrap()
}

impl Scene {
    async fn set() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::at(now()));
        let access = open(folder.path(), &clock).await;
        Self { folder, clock, access }
    }

    async fn make(&self, scopes: &[Scope], lifetime: Option<Duration>) -> (ApiKey, Secret) {
        let new = NewKey { name: "of a test".to_owned(), scopes: scopes.iter().copied().collect(), lifetime };
        self.access.make(new).await.unwrap()
    }

    /// Waits until the one write of a key's use is there.
    async fn until_noted(&self, id: &ApiKeyId) -> Timestamp {
        let noted = async {
            loop {
                let keys = self.access.store.api_keys().await.unwrap();
                match keys.into_iter().find(|key| key.id == *id).and_then(|key| key.last_used_at) {
                    Some(day) => return day,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), noted).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lets_in_what_its_scopes_allow_also_after_a_restart() {
    let scene = Scene::set().await;
    let (key, text) = scene.make(&[Scope::Ingest, Scope::Read], None).await;
    let (_, admin) = scene.make(&[Scope::Admin], None).await;
    let Scene { folder, clock, access } = scene;
    drop(access);
    let access = open(folder.path(), &clock).await;
    for needed in Scope::ALL {
        let checked = access.check(&text, needed);
        if matches!(needed, Scope::Ingest | Scope::Read) {
            assert_eq!(checked, Ok(()));
        } else {
            let denied = checked.unwrap_err().to_string();
            assert!(denied.contains(&key.id.0) && denied.contains("`ingest read`"), "{denied}");
            assert!(denied.contains(&format!("needs `{}`", needed.as_str())), "{denied}");
        }
        assert_eq!(access.check(&admin, needed), Ok(()));
        assert_eq!(access.check(&Secret::new("rh_bootstrap"), needed), Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_which_anything_is_changed_is_none() {
    let scene = Scene::set().await;
    let (_, text) = scene.make(&[Scope::Admin], None).await;
    let text = text.expose();
    for at in 0..text.len() {
        let mut changed = text.to_owned();
        changed.replace_range(at..=at, if &text[at..=at] == "0" { "1" } else { "0" });
        assert_eq!(scene.access.check(&Secret::new(changed), Scope::Read), Err(Denied::Unknown));
        assert_eq!(scene.access.check(&Secret::new(&text[..at]), Scope::Read), Err(Denied::Unknown));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_says_so_and_since_when() {
    let scene = Scene::set().await;
    let (key, text) = scene.make(&[Scope::Read], Some(Duration::from_secs(60))).await;
    scene.clock.advance(Duration::from_secs(59));
    assert_eq!(scene.access.check(&text, Scope::Read), Ok(()));
    scene.clock.advance(Duration::from_secs(1));
    let at = after(now(), Duration::from_secs(60));
    // Also where it would lack the scope: what to do about it comes first.
    for needed in [Scope::Read, Scope::Admin] {
        assert_eq!(scene.access.check(&text, needed), Err(Denied::Expired { id: key.id.clone(), at }));
    }
    // Who has the id alone learns nothing.
    let guess = Secret::new(format!("rh_{}_{}", key.id, "0".repeat(64)));
    assert_eq!(scene.access.check(&guess, Scope::Read), Err(Denied::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_none_at_once_and_after_a_restart() {
    let scene = Scene::set().await;
    let (key, text) = scene.make(&[Scope::Read], None).await;
    assert_eq!(scene.access.revoke(&key.id).await.unwrap(), Some(key.clone()));
    assert_eq!(scene.access.check(&text, Scope::Read), Err(Denied::Unknown));
    assert_eq!(scene.access.revoke(&key.id).await.unwrap(), None);
    let Scene { folder, clock, access } = scene;
    drop(access);
    let access = open(folder.path(), &clock).await;
    assert_eq!(access.check(&text, Scope::Read), Err(Denied::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_was_stored_and_not_heard_of_can_be_repeated() {
    let scene = Scene::set().await;
    let (key, text) = scene.make(&[Scope::Read], None).await;
    assert!(scene.access.store.delete_api_key(&key.id).await.unwrap());
    assert_eq!(scene.access.revoke(&key.id).await.unwrap(), Some(key));
    assert_eq!(scene.access.check(&text, Scope::Read), Err(Denied::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_of_the_last_use_is_kept_and_no_more_than_that() {
    let scene = Scene::set().await;
    let (key, text) = scene.make(&[Scope::Read], None).await;
    assert_eq!(scene.access.keys()[0].last_used_at, None);
    scene.access.check(&text, Scope::Read).unwrap();
    let today: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
    assert_eq!(scene.access.keys()[0].last_used_at, Some(today));
    assert_eq!(scene.until_noted(&key.id).await, today);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_not_without_bound() {
    let scene = Scene::set().await;
    let (first, _) = scene.make(&[Scope::Read], None).await;
    let others = (1..limits::API_KEYS_MAX).map(|number| ApiKey { id: ApiKeyId(number.to_string()), ..first.clone() });
    futures::future::try_join_all(others.map(|key| scene.access.store.add_api_key(key))).await.unwrap();
    let Scene { folder, clock, access } = scene;
    drop(access);
    let scene = Scene { access: open(folder.path(), &clock).await, folder, clock };
    let new = NewKey { name: "one too many".to_owned(), scopes: Scopes::default(), lifetime: None };
    assert!(matches!(scene.access.make(new).await, Err(KeyError::TooMany)));
    scene.access.revoke(&first.id).await.unwrap();
    let (_, text) = scene.make(&[Scope::Read], None).await;
    assert_eq!(scene.access.check(&text, Scope::Read), Ok(()));
}
