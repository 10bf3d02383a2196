use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::blobs::{BlobSettings, LocalSettings};
use crate::clock::ManualClock;
use crate::model::Timestamp;
use crate::model::rule::Rule;
use crate::model::secret::Secret;
use crate::secrets::KEY_FILE;
use crate::store::RuleChanges;
use crate::store::conformance::rule;
use crate::store::sqlite::{Bodies, SqliteStore};

/// More than one batch.
const RULES: usize = 2 * limits::RESEALED_RULES_MAX + 7;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// A host's parts that have to do with keys; opened again, it is a host that was killed and started.
struct Scene {
    folder: TempDir,
    keyring: Arc<Keyring>,
    store: Arc<dyn Store>,
    blobs: Blobs,
    clock: ManualClock,
    rotation: Rotation,
}

impl Scene {
    async fn set() -> Self {
        let scene = Self::open(tempfile::tempdir().unwrap());
        scene.put((0..RULES).map(|number| rule(&format!("{number:04}"), now())).collect()).await;
        scene
    }

    fn open(folder: TempDir) -> Self {
        let keyring = Arc::new(Keyring::load(folder.path(), None).unwrap());
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path(), keyring.clone()).unwrap());
        let settings = LocalSettings {
            folder: folder.path().join("blobs"),
            public_url: "http://localhost:8484".parse().unwrap(),
            signing_key: SigningKey::new(keyring.url_key()),
        };
        let blobs = Blobs::open(BlobSettings::Local(settings)).unwrap();
        let clock = ManualClock::at(now());
        let rotation = Rotation::new(keyring.clone(), store.clone(), blobs.clone(), Arc::new(clock.clone()));
        Self { folder, keyring, store, blobs, clock, rotation }
    }

    fn killed_and_started(self) -> Self {
        let Self { folder, store, rotation, .. } = self;
        drop(rotation);
        let weak = Arc::downgrade(&store);
        drop(store);
        assert!(weak.upgrade().is_none());
        Self::open(folder)
    }

    async fn put(&self, put: Vec<Rule>) {
        self.store.change_rules(RuleChanges { put, delete: Vec::new() }, now()).await.unwrap();
    }

    async fn rules(&self) -> Vec<Rule> {
        self.store.rules().await.unwrap()
    }

    /// A link, and whether it is honoured at that time.
    async fn link(&self) -> String {
        let key =
            "ttl_s/20261125/58627322-53c1-45a0-b271-1d71a7e98510.inputs.0123456789abcdef0123456789abcdef.image.png";
        let key = key.parse().unwrap();
        self.blobs.presign(&key, limits::LINK_LIFETIME, self.clock.now()).await.unwrap().into()
    }

    fn honours(&self, link: &str, at: Timestamp) -> bool {
        let (path, query) = link.split_once("/blobs/").unwrap().1.split_once('?').unwrap();
        self.blobs.verify(path, Some(query), at).is_ok()
    }

    /// Rotates to the end, and sees that all that was there is there, under the new key alone.
    async fn finishes(self, before: &[Rule], earlier: &str) {
        let rotated = self.rotation.rotate().await.unwrap();
        assert_eq!(rotated.key_id, self.keyring.current_id());
        assert!(!self.rotation.is_unfinished());
        let ids = key_ids(self.folder.path());
        assert!(ids.len() >= 5 * RULES && ids.iter().all(|id| *id == rotated.key_id), "{ids:?}");
        assert_ne!(rotated.key_id, earlier);
        let file = std::fs::read_to_string(self.folder.path().join(KEY_FILE)).unwrap();
        assert_eq!(file.lines().filter(|line| !line.starts_with("links")).count(), 1);
        let again = self.killed_and_started();
        assert!(!again.rotation.is_unfinished());
        assert_eq!(again.rules().await, before);
    }
}

/// The key ids of all sealed texts.
fn key_ids(data: &Path) -> Vec<String> {
    sealed_texts(data).iter().map(|text| text.split(':').nth(1).unwrap().to_owned()).collect()
}

/// All sealed texts of the database, as they are stored.
fn sealed_texts(data: &Path) -> Vec<String> {
    let database = Connection::open(data.join("runhook.db")).unwrap();
    let mut select = database.prepare("SELECT definition FROM rules").unwrap();
    let rows = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let definitions: Vec<String> = rows.map(Result::unwrap).collect();
    let texts = definitions.iter().flat_map(|definition| definition.split('"'));
    texts.filter(|text| text.starts_with("v1:") || text.starts_with("v2:")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_leaves_everything_under_the_new_key() {
    let scene = Scene::set().await;
    let (before, earlier) = (scene.rules().await, scene.keyring.current_id());
    let old_keyring = Keyring::load(scene.folder.path(), None).unwrap();
    let secrets = key_ids(scene.folder.path()).len() as u64;
    let rotated = scene.rotation.rotate().await.unwrap();
    assert_eq!((rotated.is_key_new, rotated.secrets), (true, secrets));
    assert!(key_ids(scene.folder.path()).iter().all(|id| *id == rotated.key_id));
    let sealed = scene.keyring.seal(&Secret::new("a"));
    assert!(old_keyring.open(&sealed).is_err());
    assert!(sealed_texts(scene.folder.path()).iter().all(|text| old_keyring.open(text).is_err()));
    // Each rotation makes a key of its own.
    scene.finishes(&before, &earlier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_at_any_step_rotates_to_the_end_after_its_start() {
    let batches = RULES.div_ceil(limits::RESEALED_RULES_MAX);
    for done in 0..=batches {
        let scene = Scene::set().await;
        let (before, earlier) = (scene.rules().await, scene.keyring.current_id());
        scene.keyring.begin_rotation().unwrap();
        let new = scene.keyring.current_id();
        let mut behind = None;
        for _ in 0..done {
            behind = scene.store.reseal(behind, limits::RESEALED_RULES_MAX).await.unwrap().last;
        }
        let scene = scene.killed_and_started();
        assert!(scene.rotation.is_unfinished());
        assert_eq!(scene.rules().await, before, "killed behind batch {done}");
        let ids = key_ids(scene.folder.path());
        let under_new = ids.iter().filter(|id| **id == new).count();
        assert_eq!(under_new, ids.len() / RULES * RULES.min(done * limits::RESEALED_RULES_MAX));
        scene.finishes(&before, &earlier).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_before_the_new_key_is_on_disk_has_the_old_one() {
    let scene = Scene::set().await;
    let (before, earlier) = (scene.rules().await, scene.keyring.current_id());
    // What a crash between writing and renaming leaves.
    std::fs::write(scene.folder.path().join("secret-key.new"), "half").unwrap();
    let scene = scene.killed_and_started();
    assert_eq!((scene.keyring.current_id(), scene.rotation.is_unfinished()), (earlier.clone(), false));
    scene.finishes(&before, &earlier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_change_during_a_rotation_are_all_there_under_the_new_key() {
    let scene = Scene::set().await;
    let earlier = scene.keyring.current_id();
    let changes = async {
        for number in 0..RULES {
            let mut changed = scene.rules().await.swap_remove(number);
            changed.relay_secret = Some(Secret::new(format!("changed {number}")));
            scene.put(vec![changed]).await;
        }
    };
    let rotations = async {
        for _ in 0..3 {
            scene.rotation.rotate().await.unwrap();
        }
    };
    tokio::join!(changes, rotations);
    let rules = scene.rules().await;
    for (number, rule) in rules.iter().enumerate() {
        assert_eq!(rule.relay_secret, Some(Secret::new(format!("changed {number}"))));
    }
    scene.finishes(&rules, &earlier).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_bodies_rotate_too_and_a_rotation_without_them_is_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Arc::new(Keyring::load(folder.path(), None).unwrap());
    let store = SqliteStore::open_with(folder.path(), keyring.clone(), Bodies::Sealed).unwrap();
    let key = || std::fs::read_to_string(folder.path().join("bodies/000001.key")).unwrap();
    assert!(key().contains(&keyring.current_id()));
    keyring.begin_rotation().unwrap();
    drop(store);
    let scene = Scene::open(folder);
    scene.rotation.rotate().await.unwrap();
    let again = scene.killed_and_started();
    let key = std::fs::read_to_string(again.folder.path().join("bodies/000001.key")).unwrap();
    assert!(key.contains(&again.keyring.current_id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rotation_at_once_is_refused() {
    let scene = Scene::set().await;
    let (one, two) = tokio::join!(scene.rotation.rotate(), scene.rotation.rotate());
    assert!(one.is_ok());
    assert!(matches!(two, Err(RotationError::UnderWay)));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_before_a_rotation_hold_until_they_expire_and_those_of_after_it_too() {
    let scene = Scene::set().await;
    let before = scene.link().await;
    scene.clock.advance(Duration::from_secs(60));
    scene.rotation.rotate().await.unwrap();
    let after_it = scene.link().await;
    let last_moment = after(now(), limits::LINK_LIFETIME);
    let scene = scene.killed_and_started();
    for link in [&before, &after_it] {
        assert!(scene.honours(link, last_moment));
    }
    assert!(!scene.honours(&before, after(last_moment, Duration::from_secs(2))));
    // A second rotation keeps the first one's links too.
    scene.rotation.rotate().await.unwrap();
    assert!(scene.honours(&before, last_moment) && scene.honours(&after_it, last_moment));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_key_signs_afterwards_ends_with_the_links_of_before() {
    let scene = Scene::set().await;
    let stolen = SigningKey::new(scene.keyring.url_key());
    scene.rotation.rotate().await.unwrap();
    let honest = scene.blobs.clone();
    let thief = Scene::open(tempfile::tempdir().unwrap());
    thief.blobs.sign_with(stolen.into());
    thief.clock.advance(limits::LINK_LIFETIME);
    let forged = thief.link().await;
    let (path, query) = forged.split_once("/blobs/").unwrap().1.split_once('?').unwrap();
    assert!(honest.verify(path, Some(query), after(now(), LINKS_HOLD)).is_err());
}
