//! What can go wrong with blobs.

use std::io;
use std::path::PathBuf;

use super::{BlobKey, s3};

const S3_MAX: u64 = s3::LIFETIME_MAX.as_secs();

/// Why a blob cannot be kept, read or named by a URL.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The settings do not fit together.
    #[error("blob storage: {0}")]
    Settings(String),
    /// The folder cannot be made, read or written.
    #[error("cannot use the blob folder {path}: {cause}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The S3 client cannot be set up.
    #[error("cannot set up the S3 client: {0}")]
    Client(#[source] object_store::Error),
    /// The storage failed.
    #[error("cannot {action} the blob {key}: {cause}")]
    Storage {
        /// `store`, `read`, `list`, `delete`, `sign a URL for`.
        action: &'static str,
        /// Which blob, the first of them where there are several; or the folder of them.
        key: String,
        /// What the storage said.
        #[source]
        cause: object_store::Error,
    },
    /// Larger than the caller takes.
    #[error("the blob {key} has {bytes} bytes; at most {bytes_max} can be read at once")]
    TooLarge {
        /// Which blob.
        key: BlobKey,
        /// Its size.
        bytes: u64,
        /// What was allowed.
        bytes_max: usize,
    },
    /// No URL can live that long.
    #[error("a URL cannot live for {seconds} s: S3 allows {S3_MAX} s, and runhook's own end with the calendar")]
    Lifetime {
        /// What was asked for.
        seconds: u64,
    },
}
