//! The commands' client of a host's API: JSON in, JSON out, the host's own words for what went wrong.

use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{ClientBuilder, Method};
use serde_json::Value;
use url::Url;

use crate::definition::{Problem, Problems};
use crate::model::secret::Secret;

/// An answer takes longer only where plugins are compiled on the way.
const TIMEOUT: Duration = Duration::from_secs(60);

const NO_AUTHORITIES: &str = "if this machine has no CA certificates, install them (on Debian `ca-certificates`) or set \
                              SSL_CERT_FILE";

/// Speaks to one host.
pub struct Client {
    server: Url,
    key: HeaderValue,
    http: reqwest::Client,
}

/// Why a command got no answer, or not the one that it wanted.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's URL is none.
    #[error("`{0}` is no URL of a host; write it as http://127.0.0.1:8484")]
    Server(String),
    /// No HTTP client can be made, or the key is none.
    #[error("cannot make requests: {0}")]
    Setup(String),
    /// Nobody answered.
    #[error("no answer from {server}: {cause}\nis the host running? start it with: runhook serve")]
    Unreachable {
        /// Who was asked.
        server: Url,
        /// Why there is no answer.
        cause: String,
    },
    /// The server sends elsewhere. Not followed: the key would go along.
    #[error("{server} answers {status}, a redirect; give --server the final URL of the host")]
    Redirected {
        /// Who was asked.
        server: Url,
        /// The status code.
        status: u16,
    },
    /// The host answered that it will not.
    #[error("{detail}")]
    Refused {
        /// The status code.
        status: u16,
        /// The host's words.
        detail: String,
        /// Each thing that is wrong, where the host named several.
        problems: Problems,
    },
}

impl Client {
    /// A client of the host at that URL.
    ///
    /// # Errors
    /// That the URL is none, or the key, or that TLS cannot be set up where it is needed.
    pub fn new(server: &str, key: Secret) -> Result<Self, ClientError> {
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https");
        let url = Url::parse(server).ok().filter(is_http).ok_or_else(|| ClientError::Server(server.to_owned()))?;
        let http = http_client(&url, builder().build())?;
        Ok(Self { server: url, key: key_header(&key)?, http })
    }

    /// GET.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, ClientError> {
        self.send(Method::GET, &segments(path), query, None).await
    }

    /// GET of a path whose segments may have `/` inside.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get_at(&self, segments: &[&str]) -> Result<Value, ClientError> {
        self.send(Method::GET, segments, &[], None).await
    }

    /// POST.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post(&self, path: &str, query: &[(&str, String)], body: &Value) -> Result<Value, ClientError> {
        self.send(Method::POST, &segments(path), query, Some(body)).await
    }

    /// POST to a path whose segments may have `/` inside.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn post_at(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
        body: &Value,
    ) -> Result<Value, ClientError> {
        self.send(Method::POST, segments, query, Some(body)).await
    }

    /// DELETE of a path whose segments may have `/` inside.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn delete_at(&self, segments: &[&str]) -> Result<Value, ClientError> {
        self.send(Method::DELETE, segments, &[], None).await
    }

    /// An absolute URL of the host.
    pub fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    async fn send(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, ClientError> {
        let mut url = self.url(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).header("x-api-key", self.key.clone());
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |error: reqwest::Error| ClientError::Unreachable {
            server: self.server.clone(),
            cause: root_cause(&error.without_url()),
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(ClientError::Redirected { server: self.server.clone(), status: status.as_u16() });
        }
        let text = answer.text().await.map_err(unreachable)?;
        let json: Option<Value> = serde_json::from_str(&text).ok();
        match json {
            Some(json) if status.is_success() => Ok(json),
            json => Err(refused(status.as_u16(), json.as_ref())),
        }
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').collect()
}

fn builder() -> ClientBuilder {
    // A second one in the same process is no trouble.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(TIMEOUT).no_proxy().redirect(reqwest::redirect::Policy::none())
}

/// What was built; without TLS where that failed and none is spoken.
fn http_client(server: &Url, built: reqwest::Result<reqwest::Client>) -> Result<reqwest::Client, ClientError> {
    let failed = |error: reqwest::Error| ClientError::Setup(format!("{}; {NO_AUTHORITIES}", root_cause(&error)));
    match built {
        Err(_) if server.scheme() == "http" => builder().tls_certs_only([]).build().map_err(failed),
        built => built.map_err(failed),
    }
}

fn key_header(key: &Secret) -> Result<HeaderValue, ClientError> {
    let header = HeaderValue::try_from(key.expose());
    let none = |_| ClientError::Setup("the API key has characters that no header can have".to_owned());
    let mut header = header.map_err(none)?;
    header.set_sensitive(true);
    Ok(header)
}

fn refused(status: u16, answer: Option<&Value>) -> ClientError {
    let detail = answer.and_then(|answer| answer["detail"].as_str()).map(str::to_owned);
    let detail = detail.unwrap_or_else(|| format!("the server answered {status}, and not as a runhook host does"));
    let problems = answer.and_then(|answer| serde_json::from_value::<Vec<Problem>>(answer["problems"].clone()).ok());
    ClientError::Refused { status, detail, problems: problems.unwrap_or_default() }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn client(server: &str, key: &str) -> Result<Client, ClientError> {
        Client::new(server, Secret::new(key))
    }

    /// What reqwest says of a machine without authorities cannot be made here; any failure of it does.
    fn no_client() -> reqwest::Result<reqwest::Client> {
        builder().user_agent("line\nend").build()
    }

    #[test]
    fn plain_http_does_without_tls_and_https_says_what_may_be_missing() {
        let url = |text: &str| Url::parse(text).unwrap();
        assert!(http_client(&url("http://127.0.0.1:8484"), no_client()).is_ok());
        let refused = http_client(&url("https://example.com"), no_client()).unwrap_err();
        assert!(refused.to_string().contains("CA certificates"), "{refused}");
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_told_without_it() {
        let refused = client("http://127.0.0.1:8484", "rh_hun\nter2").err().unwrap();
        assert!(matches!(refused, ClientError::Setup(_)) && !refused.to_string().contains("hun"), "{refused}");
    }

    #[test]
    fn a_segment_keeps_the_slash_inside() {
        let url = client("http://127.0.0.1:8484/below/", "k").unwrap().url(&["rules", "a/b %c"]);
        assert_eq!(url.as_str(), "http://127.0.0.1:8484/below/rules/a%2Fb%20%25c");
    }

    #[tokio::test]
    async fn a_redirect_is_told_and_not_followed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _ = connection.read(&mut [0; 4096]).await;
            let head =
                b"HTTP/1.1 308 Permanent Redirect\r\nlocation: https://example.com/\r\ncontent-length: 0\r\n\r\n";
            connection.write_all(head).await.unwrap();
        });
        let refused = client(&server, "k").unwrap().get("api/v1/plugins", &[]).await.unwrap_err();
        assert!(matches!(refused, ClientError::Redirected { status: 308, .. }), "{refused}");
    }
}
