//! The only way to reach a URL that a user supplied: address policy, timeouts, capped reads, no redirects, no proxy
//! but the operator's.
//!
//! Knows nothing of deliveries: it makes one HTTP exchange and says how it went.

mod address;
mod clients;
mod failure;
mod fetch;
mod http_sender;
mod progress;
mod proxy;
mod resolver;
mod retry_after;
#[cfg(test)]
mod tests;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use url::Url;

use crate::model::access::Access;

pub use address::{AddressPolicy, Forbidden};
pub use fetch::{Allowance, Fetch, FetchFailure, Share};
pub use http_sender::{HttpSender, SenderError, SenderSettings};
pub use proxy::{EgressProxy, EgressProxyError};
pub use retry_after::RetryAfter;

/// One POST to a receiver.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to, secrets included.
    pub url: Url,
    /// All headers but the ones that HTTP itself needs.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// TLS and tokens.
    pub access: Arc<Access>,
    /// How long a token, where one has to be had first, DNS, TCP and TLS may take together.
    pub connect_timeout: Duration,
    /// How long the complete response head may take once connected.
    pub head_timeout: Duration,
}

/// How an exchange went.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The address that was dialled, where it came so far.
    pub address: Option<SocketAddr>,
    /// From the start to the response head, or to the failure.
    pub duration: Duration,
    /// The final status, or why there is none. The body was read (capped) and thrown away.
    pub result: Result<StatusCode, SendFailure>,
    /// When the receiver wants to be asked again, where its answer says so.
    pub retry_after: Option<RetryAfter>,
}

/// Why there is no answer. Messages never show the URL's path or query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// An address of the host is forbidden by the policy; nothing was dialled.
    #[error("{0}")]
    AddressForbidden(String),
    /// DNS, refused, TLS, connect timeout, no token: nothing of the request was sent.
    #[error("{0}")]
    ConnectFailed(String),
    /// Connected, but no complete response head in time.
    #[error("{0}")]
    TimedOut(String),
    /// The connection broke after the request had begun, or what came back was no HTTP.
    #[error("{0}")]
    ConnectionLost(String),
}

/// Sends one request.
#[async_trait]
pub trait Sender: Send + Sync {
    /// One exchange, within the request's timeouts.
    async fn send(&self, request: Request) -> Exchange;
}
