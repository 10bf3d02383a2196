//! A receiver that does as scripted: what `runhook listen` runs, and the demo and the tests send to.
//!
//! It keeps what it received, within bounds, and tells who subscribed. Knows nothing of the engine: it is what users
//! write themselves, only more patient.

mod describe;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use url::form_urlencoded;

pub use describe::describe;

use crate::limits::PAYLOAD_BYTES_MAX;
use crate::model::Timestamp;
use crate::model::secret::Secret;

/// Requests that are kept.
const KEPT_MAX: usize = 256;

/// Bytes of bodies that are kept; the newest request is kept whatever its size.
const KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a receiver answers.
#[derive(Clone, Debug)]
pub struct Script {
    /// What `?secret=` has to be; anything else is answered 401 and uses up no status.
    pub secret: Option<Secret>,
    /// One per request; the last stays, and without any it is 200.
    pub statuses: Vec<StatusCode>,
    /// How long an answer is held back.
    pub delay: Duration,
}

impl Default for Script {
    /// 200 at once, to everybody.
    fn default() -> Self {
        Self { secret: None, statuses: Vec::new(), delay: Duration::ZERO }
    }
}

/// A request as it came, and what it was answered.
#[derive(Clone, Debug)]
pub struct Received {
    /// When its last byte was there.
    pub at: Timestamp,
    /// How it was asked.
    pub method: Method,
    /// Without the query, which may carry a secret.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, never decompressed.
    pub body: Bytes,
    /// What it is answered, at the end of the delay.
    pub status: StatusCode,
}

/// A receiver that works until it is dropped.
pub struct Receiver {
    address: SocketAddr,
    desk: Arc<Desk>,
    serving: JoinHandle<()>,
}

/// What all connections share.
struct Desk {
    secret: Option<Secret>,
    delay: Duration,
    book: Mutex<Book>,
    told: broadcast::Sender<Arc<Received>>,
}

struct Book {
    statuses: VecDeque<StatusCode>,
    received: VecDeque<Arc<Received>>,
    bytes: usize,
}

impl Receiver {
    /// Listens on the address (port 0 takes a free one) and serves in a task of its own.
    ///
    /// # Errors
    /// That the address cannot be listened on.
    pub async fn start(address: SocketAddr, script: Script) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let book = Book { statuses: script.statuses.into(), received: VecDeque::new(), bytes: 0 };
        let (told, _) = broadcast::channel(KEPT_MAX);
        let desk = Arc::new(Desk { secret: script.secret, delay: script.delay, book: Mutex::new(book), told });
        let router = Router::new().fallback(answer).with_state(desk.clone());
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the receiver stopped");
            }
        });
        Ok(Self { address, desk, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to put into a rule; it carries the secret, where there is one.
    pub fn url(&self) -> String {
        let query = self.desk.secret.as_ref().map(|secret| {
            let value: String = form_urlencoded::byte_serialize(secret.expose().as_bytes()).collect();
            format!("?secret={value}")
        });
        format!("http://{}/{}", self.address, query.unwrap_or_default())
    }

    /// What it received, oldest first; older requests than it keeps are gone.
    pub fn received(&self) -> Vec<Arc<Received>> {
        self.desk.book().received.iter().cloned().collect()
    }

    /// Every request from now on, as it comes; who is slow misses some and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Received>> {
        self.desk.told.subscribe()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A browser is shown what came so far; everything else is taken for a webhook.
async fn answer(desk: State<Arc<Desk>>, request: Request<Body>) -> Response {
    match *request.method() {
        Method::GET => show(&desk, request.uri()),
        _ => receive(desk, request).await.into_response(),
    }
}

fn show(desk: &Desk, uri: &Uri) -> Response {
    if !desk.is_let_in(uri) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let newest_first: Vec<_> = desk.book().received.iter().rev().map(|received| describe(received)).collect();
    match newest_first.as_slice() {
        [] => "Nothing was received yet.\n".into_response(),
        all => format!("{}\n", all.join("\n\n")).into_response(),
    }
}

async fn receive(State(desk): State<Arc<Desk>>, request: Request<Body>) -> StatusCode {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, PAYLOAD_BYTES_MAX).await else { return StatusCode::PAYLOAD_TOO_LARGE };
    let status = desk.take_status(&head.uri);
    let path = head.uri.path().to_owned();
    let at = Timestamp::now();
    desk.note(Received { at, method: head.method, path, headers: head.headers, body, status });
    tokio::time::sleep(desk.delay).await;
    status
}

impl Desk {
    fn take_status(&self, uri: &Uri) -> StatusCode {
        if !self.is_let_in(uri) {
            return StatusCode::UNAUTHORIZED;
        }
        let statuses = &mut self.book().statuses;
        let next = if statuses.len() > 1 { statuses.pop_front() } else { statuses.front().copied() };
        next.unwrap_or(StatusCode::OK)
    }

    /// The comparison takes the same time wherever the secrets differ.
    fn is_let_in(&self, uri: &Uri) -> bool {
        let Some(secret) = &self.secret else { return true };
        let query = uri.query().unwrap_or_default();
        let given = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "secret");
        given.is_some_and(|(_, value)| Secret::new(value) == *secret)
    }

    fn note(&self, received: Received) {
        let received = Arc::new(received);
        self.book().keep(received.clone());
        // Nobody may be listening.
        let _ = self.told.send(received);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn keep(&mut self, received: Arc<Received>) {
        self.bytes += received.body.len();
        self.received.push_back(received);
        while self.received.len() > KEPT_MAX || (self.bytes > KEPT_BYTES_MAX && self.received.len() > 1) {
            let Some(oldest) = self.received.pop_front() else { return };
            self.bytes -= oldest.body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    async fn post(url: &str, body: &str) -> u16 {
        let url = url::Url::parse(url).unwrap();
        let target = &url[url::Position::BeforePath..];
        let length = body.len();
        let request =
            format!("POST {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        let mut stream = TcpStream::connect(url.socket_addrs(|| None).unwrap()[0]).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn statuses_follow_the_script_and_the_last_stays() {
        let script = Script { statuses: vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK], ..Script::default() };
        let receiver = Receiver::start(ANY_PORT, script).await.unwrap();
        let mut told = receiver.subscribe();
        for (body, expected) in [("1", 503), ("2", 200), ("3", 200)] {
            assert_eq!(post(&receiver.url(), body).await, expected);
            let received = told.recv().await.unwrap();
            assert_eq!((received.status.as_u16(), &received.body[..]), (expected, body.as_bytes()));
        }
        assert_eq!(receiver.received().len(), 3);
    }

    #[tokio::test]
    async fn a_wrong_secret_is_answered_401_and_uses_up_no_status() {
        let script = Script {
            secret: Some(Secret::new("a&b c")),
            statuses: vec![StatusCode::IM_A_TEAPOT, StatusCode::OK],
            ..Script::default()
        };
        let receiver = Receiver::start(ANY_PORT, script).await.unwrap();
        let address = receiver.address();
        assert_eq!(post(&format!("http://{address}/"), "").await, 401);
        assert_eq!(post(&format!("http://{address}/?secret=a"), "").await, 401);
        assert_eq!(post(&receiver.url(), "").await, 418);
        let paths: Vec<_> = receiver.received().iter().map(|received| received.path.clone()).collect();
        assert_eq!(paths, ["/", "/", "/"], "the secret is not kept");
    }

    #[tokio::test]
    async fn only_the_newest_requests_are_kept() {
        let mut book = Book { statuses: VecDeque::new(), received: VecDeque::new(), bytes: 0 };
        let big = Bytes::from(vec![b'x'; KEPT_BYTES_MAX / 2]);
        for body in [big.clone(), big.clone(), big.clone(), Bytes::from(vec![b'x'; KEPT_BYTES_MAX + 1])] {
            book.keep(Arc::new(Received {
                at: Timestamp::UNIX_EPOCH,
                method: Method::POST,
                path: "/".to_owned(),
                headers: HeaderMap::new(),
                body,
                status: StatusCode::OK,
            }));
            assert!(book.bytes <= KEPT_BYTES_MAX || book.received.len() == 1);
        }
        assert_eq!(book.received.len(), 1);
    }
}
