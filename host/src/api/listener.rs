//! The listening socket, with TLS or without, and the connections behind it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::limits;
use crate::shutdown::Shutdown;

/// How long a failing `accept` is left alone: out of file descriptors, which others have to give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Certificate chain and key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the host's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why nothing can be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
    /// A file cannot be read, or is no PEM of that kind.
    #[error("cannot use {path} for TLS: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: pem::Error,
    },
    /// The two do not go together.
    #[error("the certificate and the key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// Bound, not yet serving.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Binds the address (port 0 takes a free one).
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn bind(address: SocketAddr, tls: Option<&TlsFiles>) -> Result<Self, ListenError> {
        let tls = tls.map(acceptor).transpose()?;
        let failed = |cause| ListenError::Bind { address, cause };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, tls })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn serve(self, router: Router, shutdown: Shutdown) {
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(limits::CONNECTIONS_MAX));
        loop {
            let next = async {
                let place = room.clone().acquire_owned().await;
                (self.socket.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                next = next => next,
                () = shutdown.requested() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let connection = Connection { router: router.clone(), watcher: graceful.watcher() };
                    let tls = self.tls.clone();
                    tokio::spawn(async move {
                        connection.serve(stream, tls).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        if timeout(limits::SHUTDOWN_GRACE, graceful.shutdown()).await.is_err() {
            warn!("stopping with requests under way");
        }
    }
}

struct Connection {
    router: Router,
    watcher: Watcher,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // A small answer must not wait for an acknowledgement; where this fails it only waits.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.speak(stream).await };
        match timeout(limits::TLS_HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream).await,
            Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
            Err(_) => debug!("a TLS handshake took too long"),
        }
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let mut builder = Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().timer(TokioTimer::new()).header_read_timeout(limits::REQUEST_READ_TIMEOUT);
        let service = TowerToHyperService::new(self.router);
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        if let Err(error) = self.watcher.watch(connection).await {
            debug!(%error, "a connection broke");
        }
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ListenError> {
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |cause| ListenError::File { path, cause }
    };
    let chain = CertificateDer::pem_file_iter(&files.cert).and_then(Iterator::collect).map_err(failed(&files.cert))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(failed(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
