//! The receiver of a webhook: URL, headers, and how it is sent to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::model::access::Access;
use crate::model::pace::Pace;
use crate::model::retry::Retry;
use crate::model::secret::{MASK, Secret};
use crate::model::signing::SigningSecret;

/// Headers that the host owns; neither a webhook nor a plugin may set them (compared in lower case).
pub const HOST_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// Where and how to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The receiver's URL, query included.
    pub url: EndpointUrl,
    /// Extra headers, names in lower case.
    pub headers: BTreeMap<String, Secret>,
    /// Which outcomes are retried, how often, after what delay.
    pub retry: Retry,
    /// How much is sent at once, how fast, in which order.
    pub pace: Pace,
    /// What requests are signed with, the newest first; where there is none, they are not signed.
    pub signing_secrets: Vec<SigningSecret>,
    /// TLS and tokens.
    pub access: Arc<Access>,
}

/// A URL whose query (and any path segment that looks like a token) is a secret: `Display` and `Debug` mask them.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl(Url);

/// Why a text is no endpoint URL. Never shows the text's query or user info.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointUrlError {
    /// Not a URL at all.
    #[error("is not a URL: {0}")]
    Malformed(url::ParseError),
    /// Neither http nor https.
    #[error("has the scheme `{0}`; use https or http")]
    Scheme(String),
    /// `user:password@host`.
    #[error("carries a user name or password; use a header instead")]
    UserInfo,
    /// `#…`, which is never sent.
    #[error("has a fragment (`#…`), which is never sent to a server; remove it")]
    Fragment,
}

impl EndpointUrl {
    /// Parses and checks an absolute http or https URL.
    ///
    /// # Errors
    /// See [`EndpointUrlError`].
    pub fn parse(text: &str) -> Result<Self, EndpointUrlError> {
        let url = Url::parse(text).map_err(EndpointUrlError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EndpointUrlError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointUrlError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(EndpointUrlError::Fragment);
        }
        Ok(Self(url))
    }

    /// The URL with all that is secret in it; for the request and the sealed store only.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// The URL without its query, unmasked: what a webhook's default id is made of.
    pub fn without_query(&self) -> String {
        let mut url = self.0.clone();
        url.set_query(None);
        url.into()
    }
}

/// Slack, Discord and Teams put the credential into the path: a long segment that mixes letters and digits.
fn looks_like_token(segment: &str) -> bool {
    segment.len() >= 16
        && segment.bytes().any(|byte| byte.is_ascii_digit())
        && segment.bytes().any(|byte| byte.is_ascii_alphabetic())
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.origin().ascii_serialization())?;
        for segment in self.0.path_segments().into_iter().flatten() {
            let shown = if looks_like_token(segment) { MASK } else { segment };
            write!(f, "/{shown}")?;
        }
        match self.0.query() {
            Some(_) => write!(f, "?{MASK}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_token_segments_are_masked() {
        let url = EndpointUrl::parse("https://hooks.slack.com/services/T0/B0/a1b2c3d4e5f6g7h8?x=1").unwrap();
        assert_eq!(url.to_string(), "https://hooks.slack.com/services/T0/B0/********?********");
        assert_eq!(format!("{url:?}"), url.to_string());
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        assert_eq!(EndpointUrl::parse("ftp://a/b"), Err(EndpointUrlError::Scheme("ftp".into())));
        assert_eq!(EndpointUrl::parse("http://u:p@a/b"), Err(EndpointUrlError::UserInfo));
        assert_eq!(EndpointUrl::parse("http://a/b#c"), Err(EndpointUrlError::Fragment));
        assert!(matches!(EndpointUrl::parse("a/b"), Err(EndpointUrlError::Malformed(_))));
    }
}
