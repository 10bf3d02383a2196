//! `Sender` and `Fetch` over reqwest: one client, one address policy.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use reqwest::ClientBuilder;
use tokio::pin;
use tokio::time::{sleep, timeout};
use tracing::warn;
use url::{Host, Url};

use crate::limits;
use crate::outbound::progress::{Progress, WatchedBody};
use crate::outbound::resolver::VettingResolver;
use crate::outbound::{
    AddressPolicy, Allowance, Exchange, Fetch, FetchFailure, Forbidden, Request, RetryAfter, SendFailure, Sender,
};

/// Shorter than the five seconds after which common servers close an idle connection: a request that meets the close
/// on its way is lost, and may not be repeated.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// What all addresses of a name share, so that one that swallows packets leaves time for the others. Who sends says how
/// long connecting may take; this only divides it.
const ADDRESSES_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an encoding's name a failure repeats.
const ENCODING_CHARS_MAX: usize = 40;

const NO_AUTHORITIES: &str = "this machine has no CA certificates, so that no server can be trusted: install them (on \
                              Debian `ca-certificates`) or set SSL_CERT_FILE, and start again";

/// The HTTP client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct SenderError(String);

/// Sends over HTTP/1.1 and HTTP/2, TLS by rustls with the system's roots.
///
/// A request is written to one connection once. The only repetition is hyper's own: a request that met a closing
/// connection before its first byte is handed back whole and takes another one.
pub struct HttpSender {
    client: reqwest::Client,
    policy: Arc<AddressPolicy>,
    resolver: Arc<VettingResolver>,
    has_authorities: bool,
}

/// Whom to trust with a TLS certificate.
enum Trust {
    /// The system's authorities and these.
    System(Vec<reqwest::Certificate>),
    /// Nobody: the machine has no authorities.
    Nobody,
}

impl HttpSender {
    /// A sender that trusts the system's certificate authorities. Where there are none, it starts all the same and each
    /// attempt over TLS says so.
    ///
    /// # Errors
    /// What the TLS library says.
    pub fn new(policy: AddressPolicy) -> Result<Self, SenderError> {
        Self::trusting(policy, &[])
    }

    /// One that also trusts these authorities, as PEM.
    ///
    /// # Errors
    /// What the TLS library says.
    pub fn trusting(policy: AddressPolicy, authorities: &[&str]) -> Result<Self, SenderError> {
        let parse = |pem: &&str| reqwest::Certificate::from_pem(pem.as_bytes());
        let extra: Vec<_> = authorities.iter().map(parse).collect::<Result<_, _>>().map_err(failed)?;
        let is_plain = extra.is_empty();
        match Self::build(policy.clone(), Trust::System(extra)) {
            Err(error) if is_plain => {
                let sender = Self::build(policy, Trust::Nobody)?;
                warn!(%error, "{NO_AUTHORITIES}; until then only http:// URLs can be reached");
                Ok(sender)
            }
            built => built,
        }
    }

    fn build(policy: AddressPolicy, trust: Trust) -> Result<Self, SenderError> {
        // Another part of the process may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let policy = Arc::new(policy);
        let resolver = Arc::new(VettingResolver::new(policy.clone()));
        let has_authorities = matches!(trust, Trust::System(_));
        let builder = match trust {
            Trust::System(extra) if extra.is_empty() => client(resolver.clone()),
            Trust::System(extra) => client(resolver.clone()).tls_certs_merge(extra),
            Trust::Nobody => client(resolver.clone()).tls_certs_only([]),
        };
        Ok(Self { client: builder.build().map_err(failed)?, policy, resolver, has_authorities })
    }

    /// The resolver is not asked about literals; they are judged here.
    fn check_literal(&self, url: &Url) -> Result<(), SendFailure> {
        literal(url).map_or(Ok(()), |address| self.policy.check(address)).map_err(forbidden)
    }

    /// What was dialled, where no answer tells: the literal, or what the name was resolved to last.
    fn dialled(&self, url: &Url) -> Option<SocketAddr> {
        let resolved = || self.resolver.last_vetted(url.host_str()?).map(|address| address.ip());
        Some(SocketAddr::new(literal(url).or_else(resolved)?, url.port_or_known_default()?))
    }

    async fn exchange(&self, request: Request) -> Result<reqwest::Response, SendFailure> {
        self.check_literal(&request.url)?;
        let progress = Arc::new(Progress::default());
        let is_tls = request.url.scheme() == "https";
        let body = reqwest::Body::wrap(WatchedBody::new(request.body, progress.clone()));
        let sending = self.client.post(request.url).headers(request.headers).body(body).send();
        pin!(sending);
        let finished_early = tokio::select! {
            // The order matters: an answer that is there counts, however late it is looked at.
            biased;
            result = &mut sending => Some(result),
            () = progress.sending() => None,
            () = sleep(request.connect_timeout) => {
                let seconds = request.connect_timeout.as_secs_f64();
                return Err(SendFailure::ConnectFailed(format!("no connection within {seconds} s")));
            }
        };
        let result = match finished_early {
            Some(result) => result,
            None => timeout(request.head_timeout, sending).await.map_err(|_| {
                let seconds = request.head_timeout.as_secs_f64();
                SendFailure::TimedOut(format!("no complete response head within {seconds} s of being connected"))
            })?,
        };
        result.map_err(|error| self.failure(&error, &progress, is_tls))
    }

    async fn read(&self, url: &Url, allowance: &Allowance) -> Result<Bytes, FetchFailure> {
        let is_tls = url.scheme() == "https";
        let answered = self.client.get(url.clone()).send().await;
        let mut response = answered.map_err(|error| self.failure(&error, &Progress::default(), is_tls))?;
        if response.status() != StatusCode::OK {
            return Err(FetchFailure::Status(response.status()));
        }
        let encoding = response.headers().get(CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()));
        if let Some(encoding) = encoding.filter(|encoding| encoding != "identity") {
            return Err(FetchFailure::Encoded(encoding.chars().take(ENCODING_CHARS_MAX).collect()));
        }
        let (mut share, mut bytes) = (allowance.share(), BytesMut::new());
        while let Some(chunk) = response.chunk().await.map_err(|error| FetchFailure::Broken(describe(&error)))? {
            if !share.take(chunk.len()) {
                return Err(FetchFailure::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        share.keep();
        Ok(bytes.freeze())
    }

    fn failure(&self, error: &reqwest::Error, progress: &Progress, is_tls: bool) -> SendFailure {
        if let Some(refused) = causes(error).find_map(|cause| cause.downcast_ref::<Forbidden>()) {
            return forbidden(refused.clone());
        }
        let text = describe(error);
        if progress.is_sending() {
            SendFailure::ConnectionLost(text)
        } else if is_tls && !self.has_authorities {
            SendFailure::ConnectFailed(format!("{text}; {NO_AUTHORITIES}"))
        } else {
            SendFailure::ConnectFailed(text)
        }
    }
}

#[async_trait]
impl Sender for HttpSender {
    async fn send(&self, request: Request) -> Exchange {
        let begun = Instant::now();
        let url = request.url.clone();
        let result = self.exchange(request).await;
        let duration = begun.elapsed();
        match result {
            Ok(response) => {
                let address = response.remote_addr();
                let (status, retry_after) = (response.status(), RetryAfter::of(response.headers()));
                drain(response).await;
                Exchange { address, duration, result: Ok(status), retry_after }
            }
            Err(failure @ SendFailure::AddressForbidden(_)) => {
                Exchange { address: None, duration, result: Err(failure), retry_after: None }
            }
            Err(failure) => Exchange { address: self.dialled(&url), duration, result: Err(failure), retry_after: None },
        }
    }
}

#[async_trait]
impl Fetch for HttpSender {
    async fn fetch(&self, url: &Url, allowance: &Allowance) -> Result<Bytes, FetchFailure> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchFailure::Scheme);
        }
        self.check_literal(url)?;
        timeout(limits::FETCH_TIMEOUT, self.read(url, allowance)).await.unwrap_or(Err(FetchFailure::TimedOut))
    }
}

/// The client but for whom it trusts.
fn client(resolver: Arc<VettingResolver>) -> ClientBuilder {
    reqwest::Client::builder()
        .dns_resolver(resolver)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(ADDRESSES_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
}

/// Reads the answer's body to its end, so that the connection can be used again; gives up at a size and a time.
async fn drain(mut response: reqwest::Response) {
    let read = async {
        let mut left = limits::RESPONSE_BYTES_MAX;
        while let Ok(Some(chunk)) = response.chunk().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Past the time the connection is closed; the outcome is known already.
    let _ = timeout(limits::RESPONSE_READ_TIMEOUT, read).await;
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
        Host::Domain(_) => None,
    }
}

fn forbidden(forbidden: Forbidden) -> SendFailure {
    SendFailure::AddressForbidden(forbidden.to_string())
}

fn failed(error: reqwest::Error) -> SenderError {
    SenderError(describe(&error))
}

/// The error's causes without reqwest's own line, which names the URL.
fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&'a (dyn Error + 'static)| (*cause).source())
}

fn describe(error: &reqwest::Error) -> String {
    let causes: Vec<_> = causes(error).map(ToString::to_string).collect();
    if causes.is_empty() { "the request could not be made".to_owned() } else { causes.join(": ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_authorities_an_attempt_over_tls_says_what_is_missing() {
        let policy = AddressPolicy::allowing(vec!["127.0.0.0/8".parse().unwrap()]);
        let sender = HttpSender::build(policy, Trust::Nobody).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("https://{}/hook", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let request = Request {
            url,
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(5),
        };
        match sender.send(request).await.result {
            Err(SendFailure::ConnectFailed(text)) => assert!(text.contains("CA certificates"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}
