//! A token endpoint that answers as told, and keeps what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A request for a token.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) authorization: Option<String>,
    pub(crate) form: String,
}

pub(crate) struct TokenServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    open: watch::Sender<bool>,
    count: watch::Receiver<usize>,
}

impl TokenServer {
    /// One that answers the n-th request, counted from 1, with what this makes of n, as soon as it is open.
    pub(crate) async fn start_closed(answer: impl Fn(usize) -> (u16, String) + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let ((open, opened), (counting, count)) = (watch::channel(false), watch::channel(0));
        let kept = asked.clone();
        let serve = move |headers: HeaderMap, form: String| {
            let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(headers[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
            let number = {
                let mut asked = kept.lock().unwrap();
                asked.push(Asked { authorization, form });
                asked.len()
            };
            counting.send_modify(|count| *count += 1);
            let (mut opened, answer) = (opened.clone(), answer.clone());
            async move {
                opened.wait_for(|is_open| *is_open).await.unwrap();
                let (status, body) = answer(number);
                let status = StatusCode::from_u16(status).unwrap();
                let location = (header::LOCATION, "http://127.0.0.1:1/elsewhere");
                let response: Response = (status, [location], body).into_response();
                response
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(serve)).await.unwrap() });
        Self { address, asked, open, count }
    }

    /// One that answers at once.
    pub(crate) async fn start(answer: impl Fn(usize) -> (u16, String) + Clone + Send + Sync + 'static) -> Self {
        let server = Self::start_closed(answer).await;
        server.open();
        server
    }

    /// One that gives `token-1`, `token-2` and so on, each for an hour.
    pub(crate) async fn giving_tokens() -> Self {
        Self::start(token_for_an_hour).await
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    pub(crate) async fn until_asked(&self, times: usize) {
        self.count.clone().wait_for(|count| *count >= times).await.unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/token?tenant=t3nant", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

pub(crate) fn token_for_an_hour(number: usize) -> (u16, String) {
    (200, format!(r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":3600}}"#))
}
