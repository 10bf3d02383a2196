//! A receiver on a bare socket, so that it can do what no HTTP server would: stop mid-head, never end, just close.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// What a receiver does with a request that it has read.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Answers without a body and keeps the connection.
    Answer(u16),
    /// Answers and closes the connection without having said so.
    AnswerThenClose(u16),
    /// Answers with a `location`.
    Redirect(u16, String),
    /// Writes these bytes and says nothing more.
    Write(&'static str),
    /// Writes these bytes and closes.
    WriteThenClose(&'static str),
    /// 200 with a body that never ends, as fast as it is taken.
    EndlessBody,
    /// 200 with a body of one byte per second that never ends.
    DrippingBody,
    /// A head of one byte per second.
    DrippingHead,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

impl Received {
    /// The values of a header, in order.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

#[derive(Default)]
struct Log {
    script: VecDeque<Act>,
    received: Vec<Received>,
    connections: usize,
}

/// Works until it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    /// Connections that have ended.
    ended: watch::Receiver<usize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// One that acts by the script; the last act stays.
    pub(crate) async fn start(script: impl IntoIterator<Item = Act>) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    pub(crate) fn start_on(listener: TcpListener, script: impl IntoIterator<Item = Act>) -> Self {
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Log { script: script.into_iter().collect(), ..Log::default() }));
        let (ending, ended) = watch::channel(0);
        let task = tokio::spawn(accept(listener, log.clone(), Arc::new(ending)));
        Self { address, log, ended, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?secret=s3cret-in-the-query", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.log.lock().unwrap().received.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }

    /// Waits until so many connections have ended.
    pub(crate) async fn connections_ended(&self, count: usize) {
        self.ended.clone().wait_for(|ended| *ended >= count).await.unwrap();
    }
}

async fn accept(listener: TcpListener, log: Arc<Mutex<Log>>, ending: Arc<watch::Sender<usize>>) {
    while let Ok((stream, _)) = listener.accept().await {
        log.lock().unwrap().connections += 1;
        let (log, ending) = (log.clone(), ending.clone());
        tokio::spawn(async move {
            // A connection that the sender gave up ends with an error here, as it should.
            let _ = serve(stream, &log).await;
            ending.send_modify(|ended| *ended += 1);
        });
    }
}

async fn serve(mut stream: TcpStream, log: &Mutex<Log>) -> io::Result<()> {
    while let Some((head, body)) = read_request(&mut stream).await? {
        let act = {
            let mut log = log.lock().unwrap();
            log.received.push(Received { head, body, at: Instant::now() });
            if log.script.len() > 1 { log.script.pop_front() } else { log.script.front().cloned() }
        };
        if !act.expect("a script has an act").perform(&mut stream).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Head and body of the next request; none at the end of the connection.
pub(super) async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let mut body = bytes.split_off(head_end);
    let head = String::from_utf8(bytes).expect("a request's head is text");
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut rest = vec![0; length.unwrap_or(0usize).saturating_sub(body.len())];
    stream.read_exact(&mut rest).await?;
    body.append(&mut rest);
    Ok(Some((head, body)))
}

impl Act {
    /// Whether the connection is to be kept.
    async fn perform(self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<bool> {
        let head = |status: u16| format!("HTTP/1.1 {status} Scripted\r\ncontent-length: 0\r\n");
        match self {
            Act::Answer(status) => stream.write_all(format!("{}\r\n", head(status)).as_bytes()).await?,
            Act::AnswerThenClose(status) => {
                stream.write_all(format!("{}\r\n", head(status)).as_bytes()).await?;
                return Ok(false);
            }
            Act::Redirect(status, to) => {
                stream.write_all(format!("{}location: {to}\r\n\r\n", head(status)).as_bytes()).await?;
            }
            Act::Write(bytes) => {
                stream.write_all(bytes.as_bytes()).await?;
                // Until the sender gives up.
                stream.read_u8().await?;
            }
            Act::WriteThenClose(bytes) => {
                stream.write_all(bytes.as_bytes()).await?;
                return Ok(false);
            }
            Act::EndlessBody => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b'x'; 16 * 1024]).await?;
                }
            }
            Act::DrippingBody => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                drip(stream, b"x".iter().cycle()).await?;
            }
            Act::DrippingHead => drip(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?,
        }
        Ok(true)
    }
}

async fn drip(stream: &mut (impl AsyncWrite + Unpin), bytes: impl IntoIterator<Item = &u8>) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        stream.flush().await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
