//! `Sender` and `Fetch` over reqwest: one address policy, clients and tokens as webhooks need them.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, PROXY_AUTHORIZATION};
use rustls::pki_types::CertificateDer;
use tokio::pin;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::clock::{Clock, SystemClock};
use crate::limits;
use crate::model::access::OAuth2;
use crate::outbound::clients::{Client, Clients, Recipe};
use crate::outbound::failure::describe;
use crate::outbound::progress::{Progress, WatchedBody};
use crate::outbound::resolver::{Lookup, system_lookup};
use crate::outbound::tokens::{Token, Tokens, endpoint};
use crate::outbound::{
    AddressPolicy, Allowance, EgressProxy, Exchange, Fetch, FetchFailure, Request, RetryAfter, SendFailure, Sender,
};
use crate::pem;

/// How much of an encoding's name a failure repeats.
const ENCODING_CHARS_MAX: usize = 40;

/// The HTTP client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct SenderError(String);

/// What all that goes out has in common.
pub struct SenderSettings {
    /// Which addresses may be dialled.
    pub policy: AddressPolicy,
    /// Certificate authorities that are trusted besides the machine's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// What everything goes through, where there is one.
    pub proxy: Option<EgressProxy>,
    /// What tells that a token expires.
    pub clock: Arc<dyn Clock>,
}

impl SenderSettings {
    /// No authorities but the machine's, no proxy, the machine's clock.
    pub fn new(policy: AddressPolicy) -> Self {
        Self { policy, authorities: Vec::new(), proxy: None, clock: Arc::new(SystemClock) }
    }
}

/// Sends over HTTP/1.1 and HTTP/2, TLS by rustls with the system's roots.
///
/// A request is written to one connection once. The only repetition is hyper's own: a request that met a closing
/// connection before its first byte is handed back whole and takes another one.
pub struct HttpSender {
    clients: Arc<Clients>,
    tokens: Tokens,
}

impl HttpSender {
    /// A sender that trusts the system's certificate authorities. Where there are none, it starts all the same and each
    /// attempt over TLS says so.
    ///
    /// # Errors
    /// What the TLS library says.
    pub fn new(policy: AddressPolicy) -> Result<Self, SenderError> {
        Self::start(SenderSettings::new(policy))
    }

    /// One that also trusts these authorities, as PEM.
    ///
    /// # Errors
    /// What is wrong with them, or what the TLS library says.
    pub fn trusting(policy: AddressPolicy, authorities: &[&str]) -> Result<Self, SenderError> {
        let parsed = authorities.iter().map(|text| pem::authorities(text.as_bytes())).collect::<Result<Vec<_>, _>>();
        let authorities = parsed.map_err(|error| SenderError(format!("an authority {error}")))?.concat();
        Self::start(SenderSettings { authorities, ..SenderSettings::new(policy) })
    }

    /// One with these settings.
    ///
    /// # Errors
    /// What the TLS library says.
    pub fn start(settings: SenderSettings) -> Result<Self, SenderError> {
        Self::with_lookup(settings, Arc::new(system_lookup))
    }

    pub(super) fn with_lookup(settings: SenderSettings, lookup: Arc<Lookup>) -> Result<Self, SenderError> {
        let recipe = Recipe::new(settings.policy, lookup, settings.authorities, settings.proxy);
        let clients = Arc::new(Clients::new(recipe).map_err(SenderError)?);
        Ok(Self { clients, tokens: Tokens::new(settings.clock) })
    }

    /// What a request needs before the receiver is dialled. The address comes first: for one that is forbidden no token is
    /// fetched.
    async fn prepare(&self, request: &Request) -> Result<(Client, Option<Token>), SendFailure> {
        self.clients.check_literal(&request.url)?;
        let client = self.clients.of(&request.access).await?;
        let token = match &request.access.oauth2 {
            Some(oauth2) => Some(self.token(request, oauth2).await?),
            None => None,
        };
        Ok((client, token))
    }

    async fn token(&self, request: &Request, oauth2: &OAuth2) -> Result<Token, SendFailure> {
        let fetched = self.tokens.get(&self.clients, &request.access, oauth2).await;
        fetched.map_err(SendFailure::ConnectFailed)
    }

    /// `begun` is when the time for connecting began.
    async fn exchange(client: &Client, request: Request, begun: Instant) -> Result<reqwest::Response, SendFailure> {
        let progress = Arc::new(Progress::default());
        let is_tls = request.url.scheme() == "https";
        let body = reqwest::Body::wrap(WatchedBody::new(request.body, progress.clone()));
        let sending = client.http.post(request.url).headers(request.headers).body(body).send();
        pin!(sending);
        let finished_early = tokio::select! {
            // The order matters: an answer that is there counts, however late it is looked at.
            biased;
            result = &mut sending => Some(result),
            () = progress.sending() => None,
            () = sleep(request.connect_timeout.saturating_sub(begun.elapsed())) => {
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
        result.map_err(|error| client.failure(&error, &progress, is_tls))
    }

    async fn read(&self, url: &Url, allowance: &Allowance) -> Result<Bytes, FetchFailure> {
        let is_tls = url.scheme() == "https";
        let client = self.clients.shared();
        let answered = client.http.get(url.clone()).send().await;
        let mut response = answered.map_err(|error| client.failure(&error, &Progress::default(), is_tls))?;
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
}

#[async_trait]
impl Sender for HttpSender {
    async fn send(&self, mut request: Request) -> Exchange {
        let begun = Instant::now();
        let (url, access) = (request.url.clone(), request.access.clone());
        // A client that cannot be made in time, or a token that does not come, must not hold an attempt for longer than a
        // connection may.
        let prepared = timeout(request.connect_timeout, self.prepare(&request)).await.unwrap_or_else(|_| {
            let seconds = request.connect_timeout.as_secs_f64();
            let what = match &request.access.oauth2 {
                Some(oauth2) => format!("no token from the token endpoint {} within {seconds} s", endpoint(oauth2)),
                None => format!("the TLS settings of the webhook could not be made ready within {seconds} s"),
            };
            Err(SendFailure::ConnectFailed(what))
        });
        let (client, token) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                let duration = begun.elapsed();
                return Exchange { address: None, duration, result: Err(failure), retry_after: None };
            }
        };
        if let Some(token) = &token {
            request.headers.insert(AUTHORIZATION, token.authorization.clone());
        }
        if client.is_proxied {
            // What a rule or a plugin sets must not take the place of the operator's.
            request.headers.remove(PROXY_AUTHORIZATION);
        }
        let result = Self::exchange(&client, request, begun).await;
        let duration = begun.elapsed();
        match result {
            Ok(response) => {
                let address = response.remote_addr();
                let (status, retry_after) = (response.status(), RetryAfter::of(response.headers()));
                if let (StatusCode::UNAUTHORIZED, Some(oauth2), Some(token)) = (status, &access.oauth2, &token) {
                    self.tokens.refused(&access, oauth2, token);
                }
                drain(response).await;
                Exchange { address, duration, result: Ok(status), retry_after }
            }
            Err(failure @ SendFailure::AddressForbidden(_)) => {
                Exchange { address: None, duration, result: Err(failure), retry_after: None }
            }
            Err(failure) => {
                Exchange { address: self.clients.dialled(&url), duration, result: Err(failure), retry_after: None }
            }
        }
    }
}

#[async_trait]
impl Fetch for HttpSender {
    async fn fetch(&self, url: &Url, allowance: &Allowance) -> Result<Bytes, FetchFailure> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchFailure::Scheme);
        }
        self.clients.check_literal(url)?;
        timeout(limits::FETCH_TIMEOUT, self.read(url, allowance)).await.unwrap_or(Err(FetchFailure::TimedOut))
    }
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
