use std::fs;
use std::path::{Path as FilePath, PathBuf};

use futures::TryStreamExt;
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::model::ids::RunId;

const DAY: Duration = Duration::from_hours(24);

fn now() -> Timestamp {
    Timestamp::now()
}

fn local(folder: &FilePath) -> BlobSettings {
    BlobSettings::Local(LocalSettings {
        folder: folder.to_owned(),
        public_url: "http://runhook.example:8484".parse().unwrap(),
        signing_key: SigningKey::new([1; 32]),
    })
}

fn open() -> (TempDir, Blobs) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(local(&folder.path().join("data/blobs"))).unwrap();
    (folder, blobs)
}

fn key_of(field: BlobField, media_type: &str, bytes: &[u8]) -> BlobKey {
    let run = RunId(Uuid::from_u128(2));
    BlobKey::of(&BlobOrigin { run, received_at: now(), field, media_type }, bytes)
}

fn image(bytes: &[u8]) -> BlobKey {
    key_of(BlobField::Attachment, "image/png", bytes)
}

fn file_of(folder: &TempDir, key: &BlobKey) -> PathBuf {
    folder.path().join("data/blobs").join(key.as_str())
}

/// All files below a folder.
fn files(folder: &FilePath) -> Vec<PathBuf> {
    let (folders, mut found): (Vec<_>, Vec<_>) =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).partition(|path| path.is_dir());
    found.extend(folders.iter().flat_map(|folder| files(folder)));
    found
}

#[tokio::test]
async fn what_was_put_is_got_until_it_is_deleted() {
    let (_folder, blobs) = open();
    let (key, other) = (image(b"pixels"), image(b"other"));
    blobs.put(&key, Bytes::from_static(b"pixels")).await.unwrap();
    blobs.put(&other, Bytes::from_static(b"other")).await.unwrap();
    assert_eq!(blobs.get(&key, 6).await.unwrap().unwrap(), "pixels");
    blobs.delete(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(blobs.get(&key, 6).await.unwrap(), None);
    assert_eq!(blobs.get(&other, 6).await.unwrap().unwrap(), "other");
}

#[tokio::test]
async fn blobs_are_there_after_a_restart() {
    let (folder, blobs) = open();
    let key = image(b"pixels");
    blobs.put(&key, Bytes::from_static(b"pixels")).await.unwrap();
    drop(blobs);
    let again = Blobs::open(local(&folder.path().join("data/blobs"))).unwrap();
    assert_eq!(again.get(&key, 6).await.unwrap().unwrap(), "pixels");
}

#[tokio::test]
async fn putting_the_same_again_is_no_error() {
    let (folder, blobs) = open();
    let key = image(b"pixels");
    for _ in 0..2 {
        blobs.put(&key, Bytes::from_static(b"pixels")).await.unwrap();
    }
    assert_eq!(files(folder.path()), [fs::canonicalize(folder.path()).unwrap().join("data/blobs").join(key.as_str())]);
}

#[tokio::test]
async fn deleting_what_is_not_there_is_no_error_and_deletes_the_rest() {
    let (folder, blobs) = open();
    let keys = [image(b"never put"), image(b"a"), image(b"b")];
    blobs.put(&keys[1], Bytes::from_static(b"a")).await.unwrap();
    blobs.put(&keys[2], Bytes::from_static(b"b")).await.unwrap();
    blobs.delete(&keys).await.unwrap();
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
    blobs.delete(&keys).await.unwrap();
    blobs.delete(&[]).await.unwrap();
}

fn received(received_at: Timestamp, bytes: &[u8]) -> BlobKey {
    let run = RunId(Uuid::from_u128(2));
    BlobKey::of(&BlobOrigin { run, received_at, field: BlobField::Inputs, media_type: "a/b" }, bytes)
}

#[tokio::test]
async fn blobs_go_by_their_day_batch_by_batch() {
    let (folder, blobs) = open();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(blobs.delete_before(now(), 2).await.unwrap(), 0);
    let old = [at("2026-06-30T00:00:00Z"), at("2026-06-30T23:59:59Z"), at("2026-07-01T12:00:00Z")];
    let kept = received(at("2026-07-02T00:00:00Z"), b"kept");
    let keys: Vec<_> = old.iter().map(|at| received(*at, at.to_string().as_bytes())).chain([kept.clone()]).collect();
    for key in &keys {
        blobs.put(key, Bytes::from_static(b"blob")).await.unwrap();
    }
    let foreign = folder.path().join("data/blobs/ttl_s/20260630/foreign");
    let unfinished = PathBuf::from(format!("{}#1", file_of(&folder, &keys[0]).display()));
    for file in [&foreign, &unfinished] {
        fs::write(file, b"").unwrap();
    }
    let day = at("2026-07-02T13:00:00Z");
    assert_eq!(blobs.delete_before(at("2026-07-01T23:00:00Z"), 1).await.unwrap(), 1);
    assert_eq!(blobs.delete_before(day, 1).await.unwrap(), 1);
    assert_eq!(blobs.delete_before(day, 5).await.unwrap(), 1);
    assert_eq!(blobs.delete_before(day, 5).await.unwrap(), 0);
    let left: Vec<_> = keys.iter().filter(|key| file_of(&folder, key).exists()).collect();
    assert_eq!(left, [&kept]);
    assert!(foreign.exists() && unfinished.exists(), "what has no key is not ours to delete");
}

#[tokio::test]
async fn a_folder_that_holds_nothing_any_more_is_swept() {
    let (folder, blobs) = open();
    let (key, other) = (image(b"a"), image(b"b"));
    blobs.put(&key, Bytes::from_static(b"a")).await.unwrap();
    blobs.put(&other, Bytes::from_static(b"b")).await.unwrap();
    blobs.delete(&[key]).await.unwrap();
    blobs.sweep(now()).await.unwrap();
    assert_eq!(blobs.get(&other, 1).await.unwrap().unwrap(), "b");
    blobs.delete(std::slice::from_ref(&other)).await.unwrap();
    blobs.sweep(now()).await.unwrap();
    assert_eq!(fs::read_dir(folder.path().join("data/blobs")).unwrap().count(), 0);
    blobs.put(&other, Bytes::from_static(b"b")).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_is_too_large_is_refused_and_can_be_read_in_pieces() {
    let (_folder, blobs) = open();
    let content = Bytes::from(vec![5; 100_000]);
    let key = image(&content);
    blobs.put(&key, content.clone()).await.unwrap();
    let error = blobs.get(&key, 99_999).await.unwrap_err();
    assert!(matches!(error, BlobError::TooLarge { bytes: 100_000, bytes_max: 99_999, .. }), "{error}");
    let read = blobs.read(&key).await.unwrap().unwrap();
    assert_eq!(read.size_bytes, 100_000);
    let pieces: Vec<Bytes> = read.into_stream().try_collect().await.unwrap();
    assert!(pieces.len() > 1, "it came at once");
    assert_eq!(pieces.concat(), content);
    assert!(blobs.read(&image(b"never put")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_write_that_a_crash_cut_short_is_never_seen_and_swept_after_a_day() {
    let (folder, blobs) = open();
    let key = image(b"pixels");
    blobs.put(&image(b"makes the folder"), Bytes::from_static(b"makes the folder")).await.unwrap();
    let half = PathBuf::from(format!("{}#1", file_of(&folder, &key).display()));
    fs::write(&half, b"pix").unwrap();
    assert_eq!(blobs.get(&key, 6).await.unwrap(), None);
    blobs.put(&key, Bytes::from_static(b"pixels")).await.unwrap();
    assert_eq!(blobs.get(&key, 6).await.unwrap().unwrap(), "pixels");

    assert_eq!(blobs.sweep(now()).await.unwrap(), 0);
    assert!(half.exists(), "a write that may be under way is swept");
    let tomorrow = now().checked_add(DAY + Duration::from_mins(1)).unwrap();
    assert_eq!(blobs.sweep(tomorrow).await.unwrap(), 1);
    assert!(!half.exists());
    assert_eq!(blobs.get(&key, 6).await.unwrap().unwrap(), "pixels");
    assert_eq!(files(folder.path()).len(), 2);
}

#[tokio::test]
async fn a_write_that_fails_leaves_nothing() {
    let (folder, blobs) = open();
    let key = image(b"pixels");
    // A folder in the file's place cannot be replaced by a file.
    fs::create_dir_all(file_of(&folder, &key).join("in the way")).unwrap();
    let error = blobs.put(&key, Bytes::from_static(b"pixels")).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot store the blob {key}: ")), "{error}");
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn puts_deletes_and_sweeps_do_not_disturb_each_other() {
    let (folder, blobs) = open();
    let rounds = (0..4_u8).map(|worker| {
        let blobs = blobs.clone();
        tokio::spawn(async move {
            for round in 0..250_u8 {
                let content = Bytes::from(vec![worker, round]);
                let key = image(&content);
                blobs.put(&key, content.clone()).await.unwrap();
                assert_eq!(blobs.get(&key, 2).await.unwrap().unwrap(), content);
                blobs.delete(&[key]).await.unwrap();
                blobs.sweep(now()).await.unwrap();
            }
        })
    });
    futures::future::try_join_all(rounds).await.unwrap();
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn nobody_else_may_look_into_the_folder() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, _blobs) = open();
    let mode = fs::metadata(folder.path().join("data/blobs")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn a_presigned_url_leads_to_its_blob() {
    let (_folder, blobs) = open();
    let key = key_of(BlobField::Inputs, "application/json", b"{}");
    blobs.put(&key, Bytes::from_static(b"{}")).await.unwrap();
    let url = blobs.presign(&key, DAY, now()).await.unwrap();
    let path = url.path().strip_prefix("/blobs/").unwrap();
    let found = blobs.verify(path, url.query(), now()).unwrap();
    assert_eq!(found.media_type(), "application/json");
    assert_eq!(blobs.get(&found, 2).await.unwrap().unwrap(), "{}");
    let late = now().checked_add(DAY + Duration::from_secs(2)).unwrap();
    assert_eq!(blobs.verify(path, url.query(), late), Err(Refused::Expired));
}

#[test]
fn a_public_url_that_cannot_be_extended_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for url in ["mailto:a@b", "ftp://host/", "http://host/?a=b", "http://host/#a"] {
        let public_url = url.parse().unwrap();
        let signing_key = SigningKey::new([1; 32]);
        let settings = LocalSettings { folder: folder.path().to_owned(), public_url, signing_key };
        let error = Blobs::open(BlobSettings::Local(settings)).unwrap_err();
        assert!(error.to_string().contains(url), "{error}");
    }
}

#[test]
fn a_folder_that_is_a_file_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Blobs::open(local(file.path())).unwrap_err();
    assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_bytes_come_back_as_they_were(bytes in any::<Vec<u8>>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (_folder, blobs) = open();
        let key = image(&bytes);
        runtime.block_on(blobs.put(&key, bytes.clone().into())).unwrap();
        prop_assert_eq!(runtime.block_on(blobs.get(&key, bytes.len())).unwrap().unwrap(), bytes);
    }
}
