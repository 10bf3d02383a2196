//! How sender and receiver know each other: whom to trust, a client certificate, tokens.

use serde::{Deserialize, Serialize};

use crate::model::endpoint::EndpointUrl;
use crate::model::secret::Secret;

/// What a webhook needs besides its URL and headers to reach its receiver; usually nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// Certificate authorities that are trusted besides the host's, as PEM.
    pub authority: Option<String>,
    /// What the host shows where a receiver asks who it is.
    pub client_certificate: Option<ClientCertificate>,
    /// Where a token for the receiver comes from.
    pub oauth2: Option<OAuth2>,
}

/// A certificate and its key, for TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCertificate {
    /// The certificate and what leads from it to an authority, as PEM.
    pub certificate: String,
    /// The private key, as PEM.
    pub key: Secret,
}

/// Client credentials (RFC 6749, section 4.4).
#[derive(Clone, Debug, PartialEq)]
pub struct OAuth2 {
    /// Who gives tokens.
    pub token_url: EndpointUrl,
    /// Who the host is there.
    pub client_id: String,
    /// How it proves that.
    pub client_secret: Secret,
    /// What the token has to be good for.
    pub scope: Option<String>,
    /// Whom the token has to be good for; not in the RFC, but wanted by some.
    pub audience: Option<String>,
    /// Where id and secret stand.
    pub client_auth: ClientAuth,
}

/// Where id and secret stand in the request for a token (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// In the header `authorization`.
    #[default]
    Basic,
    /// In the body.
    Body,
}
