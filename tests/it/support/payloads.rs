//! A receiver that keeps the JSON documents that arrive.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::waiting::PATIENCE;

/// What arrived so far.
#[derive(Clone)]
pub(crate) struct Payloads(Arc<watch::Sender<Vec<Value>>>);

impl Payloads {
    /// Serves until the test ends; the receiver's URL beside what will arrive.
    pub(crate) async fn serve() -> (String, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let payloads = Self(Arc::new(watch::Sender::new(Vec::new())));
        let sink = payloads.clone();
        let keep = move |body: Bytes| {
            sink.0.send_modify(|all| all.push(serde_json::from_slice(&body).unwrap()));
            std::future::ready(())
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(keep)).await.unwrap() });
        (format!("http://{address}/hook"), payloads)
    }

    /// Waits until so many runs have arrived; the payloads.
    pub(crate) async fn until_runs(&self, count: usize) -> Vec<Value> {
        let mut arrived = self.0.subscribe();
        let enough = arrived.wait_for(|all| runs(all).len() >= count);
        let waited = tokio::time::timeout(PATIENCE, enough).await;
        let all = waited.unwrap_or_else(|_| panic!("only {:#?} arrived", self.0.borrow())).unwrap();
        all.clone()
    }
}

/// The runs of payloads.
pub(crate) fn runs(payloads: &[Value]) -> Vec<&Value> {
    payloads.iter().flat_map(|payload| payload["runs"].as_array().unwrap()).collect()
}
