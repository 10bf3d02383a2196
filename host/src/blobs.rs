//! Blobs: inputs, outputs and attachments of runs that are too large to be rows or part of a payload, and URLs for them.
//!
//! They lie in a folder of this machine, whose URLs runhook signs and serves itself, or in a bucket of S3, which does
//! both. A blob is written once under a key that says what it is; who wrote the key down may replace a URL at any time.
//! This knows nothing of runs' documents, payloads and retention: who deletes has to know what still names a blob.

mod error;
mod expire;
mod key;
mod local;
mod s3;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, GetResult, ObjectStore, ObjectStoreExt};
use url::Url;

pub use error::BlobError;
pub use key::{BlobField, BlobKey, BlobOrigin, KeyError};
use local::BlobFolder;
use s3::Bucket;
pub use settings::{BlobSettings, LocalSettings, S3Credentials, S3Settings};
use sign::UrlSigner;
pub use sign::{Refused, SigningKey, SigningKeys};

use crate::model::Timestamp;

/// Where blobs are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs(Arc<Place>);

#[derive(Debug)]
enum Place {
    Local(BlobFolder, UrlSigner),
    S3(Bucket),
}

/// A blob that is being read.
pub struct BlobContent {
    /// Its size.
    pub size_bytes: u64,
    found: GetResult,
    key: BlobKey,
}

impl Blobs {
    /// Makes the folder, or sets the S3 client up. Nothing is sent.
    ///
    /// # Errors
    /// [`BlobError::Settings`], [`BlobError::Folder`] or [`BlobError::Client`].
    pub fn open(settings: BlobSettings) -> Result<Self, BlobError> {
        let place = match settings {
            BlobSettings::Local(settings) => {
                check_public_url(&settings.public_url)?;
                let folder = BlobFolder::open(&settings)?;
                Place::Local(folder, UrlSigner::new(settings.public_url, settings.signing_key))
            }
            BlobSettings::S3(settings) => Place::S3(Bucket::open(&settings)?),
        };
        Ok(Self(Arc::new(place)))
    }

    /// Stores a blob; durable when it returns. The same again is no error.
    ///
    /// # Errors
    /// [`BlobError::Storage`]. Parts of the blob are never seen under its key.
    pub async fn put(&self, key: &BlobKey, bytes: Bytes) -> Result<(), BlobError> {
        let path = self.path(key);
        let put = match &*self.0 {
            Place::Local(folder, _) => folder.put(&path, bytes).await,
            Place::S3(bucket) => bucket.put(&path, key.media_type(), bytes).await,
        };
        put.map_err(|cause| failed("store", key, cause))
    }

    /// The whole blob; none where there is none.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] beyond `bytes_max`, of which nothing is read; [`BlobError::Storage`].
    pub async fn get(&self, key: &BlobKey, bytes_max: usize) -> Result<Option<Bytes>, BlobError> {
        let Some(content) = self.read(key).await? else { return Ok(None) };
        let bytes = content.size_bytes;
        if usize::try_from(bytes).is_ok_and(|bytes| bytes <= bytes_max) {
            return content.into_bytes().await.map(Some);
        }
        Err(BlobError::TooLarge { key: key.clone(), bytes, bytes_max })
    }

    /// The blob piece by piece, of any size; none where there is none.
    ///
    /// # Errors
    /// [`BlobError::Storage`].
    pub async fn read(&self, key: &BlobKey) -> Result<Option<BlobContent>, BlobError> {
        let found = self.find(key).await?;
        Ok(found.map(|found| BlobContent { size_bytes: found.meta.size, found, key: key.clone() }))
    }

    /// Deletes blobs; one that is not there is no error. In a folder, one may come back when power is lost at once.
    ///
    /// # Errors
    /// [`BlobError::Storage`], the first of them; the other blobs are deleted all the same.
    pub async fn delete(&self, keys: &[BlobKey]) -> Result<(), BlobError> {
        let paths: Vec<_> = keys.iter().map(|key| Ok(self.path(key))).collect();
        let mut deleted = self.store().delete_stream(stream::iter(paths).boxed());
        let mut result = Ok(());
        while let Some(next) = deleted.next().await {
            match next {
                Ok(_) | Err(StoreError::NotFound { .. }) => {}
                Err(cause) => result = result.and(Err(cause)),
            }
        }
        result.map_err(|cause| BlobError::Storage { action: "delete", key: first_of(keys), cause })
    }

    /// A URL that gives the blob to whoever has it, by GET, for `expires_in`. The blob need not be there.
    ///
    /// S3 counts whole seconds from when it was signed by the system's clock, not from `now`, and allows seven days.
    ///
    /// # Errors
    /// [`BlobError::Lifetime`]; [`BlobError::Storage`] where the credentials cannot be had.
    pub async fn presign(&self, key: &BlobKey, expires_in: Duration, now: Timestamp) -> Result<Url, BlobError> {
        match &*self.0 {
            Place::Local(_, signer) => signer.sign(key, expires_in, now),
            Place::S3(bucket) => bucket.sign(key, expires_in).await,
        }
    }

    /// Signs URLs with other keys from now on; those that are out hold as long as their key is among the earlier ones.
    /// S3 has keys of its own.
    pub fn sign_with(&self, keys: SigningKeys) {
        if let Place::Local(_, signer) = &*self.0 {
            signer.sign_with(keys);
        }
    }

    /// The blob that a request for `/blobs/{path}?{query}` may have; both as they came, not decoded.
    ///
    /// Send it with [`BlobKey::media_type`] and `X-Content-Type-Options: nosniff`, and keep browsers from rendering it:
    /// clients chose type and content.
    ///
    /// # Errors
    /// See [`Refused`]; to be answered with 403.
    pub fn verify(&self, path: &str, query: Option<&str>, now: Timestamp) -> Result<BlobKey, Refused> {
        match &*self.0 {
            Place::Local(_, signer) => signer.verify(path, query, now),
            Place::S3(_) => Err(Refused::Elsewhere),
        }
    }

    /// Removes what writes that a crash cut short left behind, from a day on, and empty folders; returns how many files.
    /// For now and then: nothing depends on it but the room on disk.
    ///
    /// # Errors
    /// [`BlobError::Folder`].
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, BlobError> {
        match &*self.0 {
            Place::Local(folder, _) => folder.sweep(now).await,
            Place::S3(_) => Ok(0),
        }
    }

    async fn find(&self, key: &BlobKey) -> Result<Option<GetResult>, BlobError> {
        match self.store().get(&self.path(key)).await {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(cause) => Err(failed("read", key, cause)),
        }
    }

    fn store(&self) -> &dyn ObjectStore {
        match &*self.0 {
            Place::Local(folder, _) => folder.store(),
            Place::S3(bucket) => bucket.store(),
        }
    }

    /// What all places of blobs begin with.
    fn prefix(&self) -> Path {
        match &*self.0 {
            Place::Local(..) => Path::default(),
            Place::S3(bucket) => bucket.prefix.clone(),
        }
    }

    fn path(&self, key: &BlobKey) -> Path {
        key.path(&self.prefix())
    }
}

impl BlobContent {
    /// The pieces, in order.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, BlobError>> + Send + 'static {
        let Self { found, key, .. } = self;
        found.into_stream().map(move |chunk| chunk.map_err(|cause| failed("read", &key, cause)))
    }

    /// All of it at once.
    ///
    /// # Errors
    /// [`BlobError::Storage`].
    pub async fn into_bytes(self) -> Result<Bytes, BlobError> {
        self.found.bytes().await.map_err(|cause| failed("read", &self.key, cause))
    }
}

fn failed(action: &'static str, key: &BlobKey, cause: StoreError) -> BlobError {
    BlobError::Storage { action, key: key.to_string(), cause }
}

fn first_of(keys: &[BlobKey]) -> String {
    keys.first().map(ToString::to_string).unwrap_or_default()
}

fn check_public_url(url: &Url) -> Result<(), BlobError> {
    let is_web = matches!(url.scheme(), "http" | "https");
    let is_bare = url.query().is_none() && url.fragment().is_none();
    if is_web && is_bare {
        return Ok(());
    }
    Err(BlobError::Settings(format!("the public URL {url} is not http:// or https:// without query and fragment")))
}
