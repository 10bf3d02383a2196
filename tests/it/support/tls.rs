//! A receiver behind TLS that insists on HTTP/2, with a certificate of its own making.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(crate) struct TlsReceiver {
    address: SocketAddr,
    certificate: String,
    requests: Arc<AtomicUsize>,
}

impl TlsReceiver {
    pub(crate) fn url(&self) -> String {
        format!("https://{}/hook", self.address)
    }

    /// The certificate, which vouches for itself.
    pub(crate) fn authority(&self) -> &str {
        &self.certificate
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// A certificate for 127.0.0.1 that vouches for itself, and its key; both PEM.
pub(crate) fn self_signed() -> (String, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    (cert.pem(), signing_key.serialize_pem())
}

pub(crate) async fn start() -> TlsReceiver {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), requests.clone()));
    TlsReceiver { address, certificate: cert.pem(), requests }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, requests: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, acceptor.clone(), requests.clone()));
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, requests: Arc<AtomicUsize>) {
    // A sender that does not trust the certificate ends the handshake.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        assert_eq!(request.version(), hyper::Version::HTTP_2);
        requests.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(hyper::Response::new(String::new())) }
    });
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
