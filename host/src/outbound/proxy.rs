//! The operator's egress proxy, through which everything goes out where there is one.

use std::fmt;

use url::{Host, Url};

use crate::model::secret::Secret;

/// An HTTP proxy; `Debug` and `Display` show neither user name nor password.
#[derive(Clone, PartialEq)]
pub struct EgressProxy {
    whole: Secret,
    shown: Url,
}

/// Why a text is no proxy's URL. Never shows the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressProxyError {
    /// Not a URL at all.
    #[error("the egress proxy is no URL: {0}; write http://HOST:PORT or https://HOST:PORT")]
    Malformed(url::ParseError),
    /// SOCKS and others.
    #[error("the egress proxy has the scheme `{0}`; http and https are spoken")]
    Scheme(String),
    /// More than an address.
    #[error("the egress proxy has a path, a query or a fragment; a proxy has none")]
    NotAnAddress,
}

impl EgressProxy {
    /// `http://HOST:PORT` or `https://HOST:PORT`, with `USER:PASSWORD@` before the host where the proxy wants it.
    ///
    /// # Errors
    /// See [`EgressProxyError`].
    pub fn parse(text: &str) -> Result<Self, EgressProxyError> {
        let mut shown = Url::parse(text).map_err(EgressProxyError::Malformed)?;
        if !matches!(shown.scheme(), "http" | "https") {
            return Err(EgressProxyError::Scheme(shown.scheme().to_owned()));
        }
        if shown.path() != "/" || shown.query().is_some() || shown.fragment().is_some() {
            return Err(EgressProxyError::NotAnAddress);
        }
        let whole = Secret::new(shown.as_str());
        // An http URL has a host, and so these do not fail.
        let _ = shown.set_password(None);
        let _ = shown.set_username("");
        Ok(Self { whole, shown })
    }

    /// Whether it has a user name or a password.
    pub fn has_credentials(&self) -> bool {
        self.whole.expose() != self.shown.as_str()
    }

    /// With user name and password.
    pub(super) fn expose(&self) -> &str {
        self.whole.expose()
    }

    /// Without them.
    pub(super) fn url(&self) -> &Url {
        &self.shown
    }

    /// Its name, where it is no literal address.
    pub(super) fn name(&self) -> Option<&str> {
        match self.shown.host()? {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }
}

impl fmt::Display for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown.origin().ascii_serialization())
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        let proxy = EgressProxy::parse("http://user:hunter2@proxy.internal:3128").unwrap();
        assert!(proxy.has_credentials());
        assert_eq!(format!("{proxy} {proxy:?}"), "http://proxy.internal:3128 http://proxy.internal:3128");
        assert_eq!(proxy.name(), Some("proxy.internal"));
        assert!(!EgressProxy::parse("https://10.0.0.7:3128/").unwrap().has_credentials());
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_showing_it() {
        for text in [
            "user:hunter2@proxy:3128",
            "socks5://user:hunter2@proxy:1080",
            "http://user:hunter2@proxy:3128/path",
            "http://user:hunter2@proxy:3128?a",
            "http://user:hunter2@",
        ] {
            let error = EgressProxy::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
