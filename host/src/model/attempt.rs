//! One HTTP exchange of a delivery and how it ended.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// One attempt on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1, without gaps.
    pub number: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds; none where nobody saw its end.
    pub duration_ms: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The receiver's status code, where it answered.
    pub status: Option<u16>,
    /// What went wrong, in words; never with a secret of the URL.
    pub error: Option<String>,
    /// The address that was dialled.
    pub address: Option<SocketAddr>,
}

/// The classified result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 2xx.
    Delivered,
    /// No connection: DNS, refused, TLS, connect timeout. Nothing was sent.
    ConnectFailed,
    /// The URL's address is forbidden by the address policy.
    AddressForbidden,
    /// Connected, but no complete response head in time.
    TimedOut,
    /// The connection broke after the request had begun.
    ConnectionLost,
    /// 5xx.
    ServerError,
    /// 4xx.
    ClientError,
    /// 3xx; never followed.
    Redirected,
    /// What is none of the above (1xx as the final status, not HTTP).
    UnexpectedResponse,
    /// The host stopped before it saw the end.
    Interrupted,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 10] = [
        Outcome::Delivered,
        Outcome::ConnectFailed,
        Outcome::AddressForbidden,
        Outcome::TimedOut,
        Outcome::ConnectionLost,
        Outcome::ServerError,
        Outcome::ClientError,
        Outcome::Redirected,
        Outcome::UnexpectedResponse,
        Outcome::Interrupted,
    ];

    /// The outcome's wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::ConnectFailed => "connect_failed",
            Outcome::AddressForbidden => "address_forbidden",
            Outcome::TimedOut => "timed_out",
            Outcome::ConnectionLost => "connection_lost",
            Outcome::ServerError => "server_error",
            Outcome::ClientError => "client_error",
            Outcome::Redirected => "redirected",
            Outcome::UnexpectedResponse => "unexpected_response",
            Outcome::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
