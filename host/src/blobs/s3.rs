//! Blobs in a bucket of S3. The HTTP client is the one the rest of runhook uses; TLS is rustls with ring.

#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{Attribute, Attributes, ClientOptions, ObjectStore, PutOptions, RetryConfig};
use url::Url;

use super::{BlobError, BlobKey, S3Settings};

/// Longest life of a URL: Signature Version 4 allows seven days.
pub(super) const LIFETIME_MAX: Duration = Duration::from_hours(7 * 24);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For bytes to move at all.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// For one request; large blobs over slow lines take their time.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(5);

const RETRIES_MAX: usize = 3;

/// From the first request on; a later failure is not retried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// The bucket.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    store: AmazonS3,
    pub(super) prefix: Path,
}

impl Bucket {
    /// Sets the client up; sends nothing.
    pub(super) fn open(settings: &S3Settings) -> Result<Self, BlobError> {
        let prefix = Path::parse(&settings.prefix).map_err(|error| BlobError::Settings(error.to_string()))?;
        // Another part of the process may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = with_credentials(settings)
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_allow_http(settings.allow_http)
            .with_virtual_hosted_style_request(!settings.is_path_style)
            .with_client_options(client(settings.allow_http))
            .with_retry(retries());
        let builder = match endpoint(settings)? {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder,
        };
        Ok(Self { store: builder.build().map_err(BlobError::Client)?, prefix })
    }

    pub(super) fn store(&self) -> &dyn ObjectStore {
        &self.store
    }

    /// S3 says yes only when the blob is durable.
    pub(super) async fn put(&self, path: &Path, media_type: String, bytes: Bytes) -> object_store::Result<()> {
        let attributes = Attributes::from_iter([(Attribute::ContentType, media_type)]);
        self.store.put_opts(path, bytes.into(), PutOptions { attributes, ..PutOptions::default() }).await.map(drop)
    }

    pub(super) async fn sign(&self, key: &BlobKey, expires_in: Duration) -> Result<Url, BlobError> {
        // S3 counts whole seconds.
        let seconds = expires_in.as_secs().saturating_add(u64::from(expires_in.subsec_nanos() > 0)).max(1);
        if seconds > LIFETIME_MAX.as_secs() {
            return Err(BlobError::Lifetime { seconds });
        }
        let path = key.path(&self.prefix);
        let signed = self.store.signed_url(http::Method::GET, &path, Duration::from_secs(seconds)).await;
        signed.map_err(|cause| BlobError::Storage { action: "sign a URL for", key: key.to_string(), cause })
    }
}

fn with_credentials(settings: &S3Settings) -> AmazonS3Builder {
    match &settings.credentials {
        Some(pair) => AmazonS3Builder::new()
            .with_access_key_id(&pair.access_key_id)
            .with_secret_access_key(pair.secret_access_key.expose()),
        None => AmazonS3Builder::from_env(),
    }
}

fn client(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
}

fn retries() -> RetryConfig {
    RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() }
}

/// With the bucket in the host's name where it belongs there, which the client leaves to us.
fn endpoint(settings: &S3Settings) -> Result<Option<String>, BlobError> {
    let Some(url) = &settings.endpoint else { return Ok(None) };
    let fits = matches!((url.scheme(), settings.allow_http), ("https", _) | ("http", true));
    let mut url = url.clone();
    let is_named = settings.is_path_style || add_label(&mut url, &settings.bucket);
    if fits && is_named {
        return Ok(Some(url.as_str().trim_end_matches('/').to_owned()));
    }
    Err(BlobError::Settings(format!(
        "cannot use the endpoint {url}: it is https:// or, where that is allowed, http://, and a bucket can be part of \
         the host's name only where that is no address"
    )))
}

fn add_label(url: &mut Url, bucket: &str) -> bool {
    let host = url.domain().map(|domain| format!("{bucket}.{domain}"));
    host.is_some_and(|host| url.set_host(Some(&host)).is_ok())
}
