use uuid::Uuid;

use super::super::{BlobField, BlobOrigin, BlobSettings, Blobs, Refused, S3Credentials};
use super::*;
use crate::model::Timestamp;
use crate::model::ids::RunId;
use crate::model::secret::Secret;

const DAY: Duration = Duration::from_hours(24);

fn now() -> Timestamp {
    Timestamp::now()
}

fn image() -> BlobKey {
    let run = RunId(Uuid::from_u128(2));
    let origin = BlobOrigin { run, received_at: now(), field: BlobField::Attachment, media_type: "image/png" };
    BlobKey::of(&origin, b"")
}

fn bucket(endpoint: Option<&str>) -> S3Settings {
    S3Settings {
        bucket: "runs".to_owned(),
        endpoint: endpoint.map(|url| url.parse().unwrap()),
        region: "eu-central-1".to_owned(),
        prefix: "runhook/blobs".to_owned(),
        credentials: Some(S3Credentials { access_key_id: "AK".to_owned(), secret_access_key: Secret::new("hush") }),
        allow_http: false,
        is_path_style: false,
    }
}

async fn presigned(settings: S3Settings) -> Url {
    let blobs = Blobs::open(BlobSettings::S3(settings)).unwrap();
    blobs.presign(&image(), DAY, now()).await.unwrap()
}

#[tokio::test]
async fn urls_of_a_bucket_have_its_style_endpoint_and_prefix() {
    let key = image();
    let aws = presigned(bucket(None)).await;
    assert_eq!(aws.host_str(), Some("runs.s3.eu-central-1.amazonaws.com"));
    assert_eq!(aws.path(), format!("/runhook/blobs/{key}"));
    let named = presigned(bucket(Some("https://s3.example:9000"))).await;
    assert_eq!((named.host_str(), named.port()), (Some("runs.s3.example"), Some(9000)));
    assert_eq!(named.path(), format!("/runhook/blobs/{key}"));
    let by_path = S3Settings { is_path_style: true, ..bucket(Some("https://10.0.0.1/")) };
    assert_eq!(presigned(by_path).await.path(), format!("/runs/runhook/blobs/{key}"));
}

#[test]
fn an_endpoint_that_does_not_fit_is_refused() {
    let by_http = bucket(Some("http://s3.example"));
    let by_address = bucket(Some("https://10.0.0.1"));
    let strange = S3Settings { allow_http: true, ..bucket(Some("ftp://s3.example")) };
    for settings in [by_http, by_address, strange] {
        let result = Blobs::open(BlobSettings::S3(settings.clone()));
        assert!(matches!(result, Err(BlobError::Settings(_))), "{settings:?}: {result:?}");
    }
}

#[tokio::test]
async fn a_url_of_a_bucket_lives_for_seven_days_at_most() {
    let blobs = Blobs::open(BlobSettings::S3(bucket(None))).unwrap();
    let url = blobs.presign(&image(), 7 * DAY, now()).await.unwrap();
    assert!(url.query().unwrap().contains("X-Amz-Expires=604800&"), "{url}");
    let error = blobs.presign(&image(), 7 * DAY + Duration::from_nanos(1), now()).await.unwrap_err();
    assert!(matches!(error, BlobError::Lifetime { seconds: 604_801 }), "{error}");
}

#[tokio::test]
async fn runhook_serves_nothing_of_a_bucket() {
    let blobs = Blobs::open(BlobSettings::S3(bucket(None))).unwrap();
    let url = presigned(bucket(None)).await;
    assert_eq!(blobs.verify(image().as_str(), url.query(), now()), Err(Refused::Elsewhere));
}

#[test]
fn no_secret_is_shown() {
    let settings = BlobSettings::S3(bucket(None));
    assert!(!format!("{settings:?}").contains("hush"));
    assert!(!format!("{:?}", Blobs::open(settings).unwrap()).contains("hush"));
}
