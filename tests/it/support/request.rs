//! A request as a sender takes it, where a test is about the way and not about what is sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use runhook::model::access::Access;
use runhook::outbound::Request;

/// A small one, with time enough to connect and to be answered.
pub(crate) fn request(url: &str, access: &Arc<Access>) -> Request {
    Request {
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
        access: access.clone(),
        connect_timeout: Duration::from_secs(5),
        head_timeout: Duration::from_secs(5),
    }
}
