//! Blobs in a bucket: a real S3 server keeps them, and refuses URLs that were altered or have expired.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::TryStreamExt;
use reqwest::StatusCode;
use runhook::blobs::{BlobField, BlobKey, BlobOrigin, BlobSettings, Blobs, S3Credentials, S3Settings};
use runhook::model::Timestamp;
use runhook::model::ids::RunId;
use runhook::model::secret::Secret;
use tempfile::TempDir;
use url::Url;

const PATIENCE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_hours(1);

/// s3s-fs, or none, said loudly; `RUNHOOK_TEST_NO_SKIP` makes that a failure.
fn s3_program() -> Option<String> {
    let program = std::env::var("RUNHOOK_TEST_S3").unwrap_or_else(|_| "s3s-fs".to_owned());
    let found = Command::new(&program).arg("--version").stdout(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(program);
    }
    assert!(std::env::var_os("RUNHOOK_TEST_NO_SKIP").is_none(), "{program} is no S3 server");
    eprintln!("SKIPPED: {program} is no S3 server; set RUNHOOK_TEST_S3 to the program s3s-fs");
    None
}

/// A server on loopback with one bucket.
struct S3 {
    child: Child,
    endpoint: Url,
    folder: TempDir,
}

impl S3 {
    fn start(program: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("runs")).unwrap();
        let mut child = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", "0", "--access-key", "AK", "--secret-key", "SK"])
            .arg(folder.path())
            .env("RUST_LOG", "s3s_fs=info")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines().map_while(Result::ok);
        let url = lines.find_map(|line| Some(format!("http://{}", line.split_once("running at http://")?.1)));
        let endpoint = url.expect("it says where it runs").parse().unwrap();
        // Whoever writes to a pipe that nobody reads stops.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, endpoint, folder }
    }

    fn blobs(&self, secret: &str) -> Blobs {
        let secret_access_key = Secret::new(secret);
        let settings = S3Settings {
            bucket: "runs".to_owned(),
            endpoint: Some(self.endpoint.clone()),
            region: "us-east-1".to_owned(),
            prefix: "runhook/blobs".to_owned(),
            credentials: Some(S3Credentials { access_key_id: "AK".to_owned(), secret_access_key }),
            allow_http: true,
            is_path_style: true,
        };
        Blobs::open(BlobSettings::S3(settings)).unwrap()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn key_of(media_type: &str, bytes: &[u8]) -> BlobKey {
    let (run, received_at) = (RunId::generate(), Timestamp::now());
    BlobKey::of(&BlobOrigin { run, received_at, field: BlobField::Attachment, media_type }, bytes)
}

/// A client that knows nothing of S3.
async fn fetch(url: &str) -> (StatusCode, String, Bytes) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = reqwest::get(url).await.unwrap();
    let media_type = answer.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    (answer.status(), media_type.unwrap_or_default(), answer.bytes().await.unwrap())
}

/// The URL with the first character of a part replaced by another of its kind.
fn altered(url: &Url, part: &str) -> String {
    let at = url.as_str().find(part).unwrap() + part.len();
    let other = if url.as_str()[at..].starts_with('1') { "2" } else { "1" };
    let mut text = url.to_string();
    text.replace_range(at..=at, other);
    text
}

#[tokio::test]
async fn a_bucket_keeps_gives_and_deletes_blobs() {
    let Some(program) = s3_program() else { return };
    let s3 = S3::start(&program);
    let blobs = s3.blobs("SK");
    let content = Bytes::from(vec![7; 300_000]);
    let key = key_of("image/svg+xml", &content);
    assert_eq!(blobs.get(&key, 1).await.unwrap(), None);
    blobs.put(&key, content.clone()).await.unwrap();
    assert!(s3.folder.path().join("runs/runhook/blobs").join(key.as_str()).is_file(), "it is not below the prefix");
    assert_eq!(blobs.get(&key, 300_000).await.unwrap().unwrap(), content);
    assert!(blobs.get(&key, 299_999).await.is_err());
    let read = blobs.read(&key).await.unwrap().unwrap();
    assert_eq!(read.size_bytes, 300_000);
    assert_eq!(read.into_stream().try_collect::<Vec<_>>().await.unwrap().concat(), content);
    blobs.delete(&[key_of("text/plain", b"never put"), key.clone()]).await.unwrap();
    assert_eq!(blobs.get(&key, 300_000).await.unwrap(), None);
}

#[tokio::test]
async fn blobs_of_a_bucket_go_by_their_day() {
    let Some(program) = s3_program() else { return };
    let s3 = S3::start(&program);
    let blobs = s3.blobs("SK");
    let of_day = |day: &str| {
        let (run, received_at) = (RunId::generate(), format!("{day}T12:00:00Z").parse().unwrap());
        BlobKey::of(&BlobOrigin { run, received_at, field: BlobField::Inputs, media_type: "a/b" }, b"x")
    };
    let keys = ["2026-06-30", "2026-06-30", "2026-07-01", "2026-07-02"].map(of_day);
    for key in &keys {
        blobs.put(key, Bytes::from_static(b"x")).await.unwrap();
    }
    let day = "2026-07-02T13:00:00Z".parse().unwrap();
    assert_eq!(blobs.delete_before(day, 2).await.unwrap(), 2);
    assert!(blobs.get(&keys[2], 1).await.unwrap().is_some());
    assert_eq!(blobs.delete_before(day, 2).await.unwrap(), 1);
    assert_eq!(blobs.delete_before(day, 2).await.unwrap(), 0);
    assert!(blobs.get(&keys[3], 1).await.unwrap().is_some());
}

#[tokio::test]
async fn a_presigned_url_gives_the_blob_to_a_plain_client() {
    let Some(program) = s3_program() else { return };
    let s3 = S3::start(&program);
    let blobs = s3.blobs("SK");
    let key = key_of("image/svg+xml", b"<svg/>");
    blobs.put(&key, Bytes::from_static(b"<svg/>")).await.unwrap();
    let url = blobs.presign(&key, HOUR, Timestamp::now()).await.unwrap();
    let expected = (StatusCode::OK, "image/svg+xml".to_owned(), Bytes::from_static(b"<svg/>"));
    assert_eq!(fetch(url.as_str()).await, expected);
}

#[tokio::test]
async fn an_altered_url_is_refused() {
    let Some(program) = s3_program() else { return };
    let s3 = S3::start(&program);
    let blobs = s3.blobs("SK");
    let key = key_of("text/plain", b"secret");
    blobs.put(&key, Bytes::from_static(b"secret")).await.unwrap();
    let url = blobs.presign(&key, HOUR, Timestamp::now()).await.unwrap();
    for part in ["X-Amz-Signature=", "X-Amz-Expires=", "/ttl_s/", ".attachment."] {
        let (status, _, body) = fetch(&altered(&url, part)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{part}: {body:?}");
    }
    let unsigned = url.as_str().split('?').next().unwrap();
    assert_eq!(fetch(unsigned).await.0, StatusCode::FORBIDDEN);
    let foreign = s3.blobs("another secret").presign(&key, HOUR, Timestamp::now()).await.unwrap();
    assert_eq!(fetch(foreign.as_str()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(fetch(url.as_str()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_url_stops_working_when_its_time_is_over() {
    let Some(program) = s3_program() else { return };
    let s3 = S3::start(&program);
    let blobs = s3.blobs("SK");
    let key = key_of("text/plain", b"fleeting");
    blobs.put(&key, Bytes::from_static(b"fleeting")).await.unwrap();
    let url = blobs.presign(&key, Duration::from_secs(2), Timestamp::now()).await.unwrap();
    // S3 counts whole seconds: it lives for one at least.
    assert_eq!(fetch(url.as_str()).await.0, StatusCode::OK);
    let began = Instant::now();
    let refused = loop {
        let (status, _, body) = fetch(url.as_str()).await;
        if status != StatusCode::OK {
            break (status, body);
        }
        assert!(began.elapsed() < PATIENCE, "it still works");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(refused.0, StatusCode::FORBIDDEN, "{:?}", refused.1);
    let fresh = blobs.presign(&key, HOUR, Timestamp::now()).await.unwrap();
    assert_eq!(fetch(fresh.as_str()).await.0, StatusCode::OK);
}

#[tokio::test]
async fn wrong_credentials_are_an_error_not_an_absent_blob() {
    let Some(program) = s3_program() else { return };
    let s3 = S3::start(&program);
    let blobs = s3.blobs("another secret");
    let key = key_of("text/plain", b"x");
    assert!(blobs.put(&key, Bytes::from_static(b"x")).await.is_err());
    assert!(blobs.get(&key, 1).await.is_err());
}
