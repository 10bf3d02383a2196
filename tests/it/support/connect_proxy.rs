//! An HTTP proxy that takes everybody to one receiver, whatever they asked for, and keeps the heads of what came.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(crate) struct ConnectProxy {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// One that leads to this address; where a value of `proxy-authorization` is given, it is asked for.
    pub(crate) async fn start(receiver: SocketAddr, authorization: Option<&'static str>) -> Self {
        Self::start_with(receiver, authorization, None).await
    }

    /// One that is spoken to in TLS.
    pub(crate) async fn start_tls(receiver: SocketAddr, acceptor: TlsAcceptor) -> Self {
        Self::start_with(receiver, None, Some(acceptor)).await
    }

    async fn start_with(
        receiver: SocketAddr,
        authorization: Option<&'static str>,
        acceptor: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = heads.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, acceptor) = (kept.clone(), acceptor.clone());
                tokio::spawn(async move {
                    // Either side may close in the middle.
                    let _ = match acceptor {
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, receiver, authorization, &kept).await,
                            Err(error) => Err(error),
                        },
                        None => serve(stream, receiver, authorization, &kept).await,
                    };
                });
            }
        });
        Self { address, heads }
    }

    /// The first lines of what came.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.heads.lock().unwrap().iter().map(|head| head.lines().next().unwrap().to_owned()).collect()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    receiver: SocketAddr,
    authorization: Option<&str>,
    heads: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    heads.lock().unwrap().push(head.clone());
    let is_known = authorization.is_none_or(|value| {
        head.lines().any(|line| line.eq_ignore_ascii_case(&format!("proxy-authorization: {value}")))
    });
    if !is_known {
        return stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await;
    }
    let mut onwards = TcpStream::connect(receiver).await?;
    if head.starts_with("CONNECT ") {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        onwards.write_all(&bytes).await?;
    }
    copy_bidirectional(&mut stream, &mut onwards).await.map(|_| ())
}
