//! A receiver that answers 200 and keeps for each delivery what arrived.

use axum::Router;
use axum::body::Bytes;
use http::HeaderMap;
use tokio::net::TcpListener;

use crate::ledger::Arrivals;

/// Serves until the test ends; its URL.
pub(crate) async fn recording_receiver(arrivals: Arrivals) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let record = move |headers: HeaderMap, body: Bytes| {
        arrivals.record(headers["webhook-id"].to_str().unwrap(), &body);
        std::future::ready(())
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(record)).await.unwrap() });
    format!("http://{address}")
}
