//! Where blobs live, as the configuration says it.

use std::path::PathBuf;

use url::Url;

use super::SigningKey;
use crate::model::secret::Secret;

/// Where blobs live.
#[derive(Clone, Debug)]
pub enum BlobSettings {
    /// A folder of this machine; runhook serves the URLs.
    Local(LocalSettings),
    /// A bucket; whoever runs it serves the URLs.
    S3(S3Settings),
}

/// A folder of this machine.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// Made if it is not there.
    pub folder: PathBuf,
    /// Where receivers reach runhook: `https://runhook.example`, with or without a path.
    pub public_url: Url,
    /// What URLs are signed with. Another key ends those that are out, but for what [`super::Blobs::sign_with`] keeps.
    pub signing_key: SigningKey,
}

/// A bucket of S3, or of what speaks its protocol.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// It has to exist.
    pub bucket: String,
    /// None for AWS. It is part of the URLs that receivers get, and has to be reachable for them.
    pub endpoint: Option<Url>,
    /// `us-east-1`, …
    pub region: String,
    /// What all keys are put below: `runhook/blobs`. May be empty.
    pub prefix: String,
    /// None takes them from where AWS puts them: `AWS_*` variables, web identity, container or instance role. URLs
    /// signed with credentials that expire end with them.
    pub credentials: Option<S3Credentials>,
    /// Whether the endpoint may be `http://`.
    pub allow_http: bool,
    /// Whether the bucket is the first segment of the path, not a label of the host's name.
    pub is_path_style: bool,
}

/// A key pair that does not expire by itself.
#[derive(Clone, Debug)]
pub struct S3Credentials {
    /// Public half; it is part of every URL.
    pub access_key_id: String,
    /// Secret half.
    pub secret_access_key: Secret,
}
