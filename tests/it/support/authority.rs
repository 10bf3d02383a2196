//! A certificate authority of a test's own, and receivers that it vouches for, which may demand client certificates.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for a server or a client of that name or address.
    pub(crate) fn issue(&self, name: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { der: certificate.der().clone(), certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The TLS of a server of that name or address; where clients are given an authority, it demands a certificate.
    pub(crate) fn acceptor(&self, name: &str, clients: Option<&Authority>, protocols: &[&[u8]]) -> TlsAcceptor {
        let own = self.issue(name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.certificate.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let key = rustls::pki_types::pem::PemObject::from_pem_slice(own.key.as_bytes());
        let key: PrivateKeyDer<'static> = key.unwrap();
        let mut config = builder.with_single_cert(vec![own.der], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Connections are counted from 1.
    pub(crate) connection: usize,
    pub(crate) certificate: Option<CertificateDer<'static>>,
    pub(crate) authorization: Option<String>,
}

pub(crate) struct VouchedReceiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl VouchedReceiver {
    /// One with a certificate for this name or address; where clients are given an authority, it demands a certificate.
    pub(crate) async fn start(authority: &Authority, name: &str, clients: Option<&Authority>) -> Self {
        let acceptor = authority.acceptor(name, clients, &[b"h2", b"http/1.1"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::default());
        tokio::spawn(accept(listener, acceptor, Arc::clone(&seen)));
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/hook", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, seen: Arc<Mutex<Vec<Seen>>>) {
    let connections = AtomicUsize::new(0);
    while let Ok((stream, _)) = listener.accept().await {
        let connection = connections.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::spawn(serve(stream, acceptor.clone(), connection, seen.clone()));
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, connection: usize, seen: Arc<Mutex<Vec<Seen>>>) {
    // A client without the right certificate ends here.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone().into_owned());
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let authorization = request.headers().get("authorization");
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        seen.lock().unwrap().push(Seen { connection, certificate: certificate.clone(), authorization });
        async { Ok::<_, Infallible>(hyper::Response::new(String::new())) }
    });
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
