//! Who may be reached, and with which HTTP client: one that all share, and a few for webhooks with TLS settings of their
//! own. A connection belongs to a client, so what was opened with one certificate never carries another's requests.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tracing::warn;
use url::{Host, Url};

use crate::model::access::Access;
use crate::outbound::failure::{causes, describe, forbidden};
use crate::outbound::progress::Progress;
use crate::outbound::resolver::{Lookup, VettingResolver};
use crate::outbound::{AddressPolicy, EgressProxy, Forbidden, SendFailure};
use crate::pem;

/// Shorter than the five seconds after which common servers close an idle connection: a request that meets the close
/// on its way is lost, and may not be repeated.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

/// What all addresses of a name share, so that one that swallows packets leaves time for the others. Who sends says how
/// long connecting may take; this only divides it.
const ADDRESSES_TIMEOUT: Duration = Duration::from_secs(5);

/// Clients with TLS settings of their own, each with its copy of the machine's authorities, about 0.2 MiB. Beyond it the
/// one that was not used for longest goes, and its idle connections with it.
const OWN_CLIENTS_MAX: usize = 128;

/// Clients that are made at once, each on a thread of the blocking pool (512), which the store's reads need too.
const MAKING_MAX: usize = 16;

const NO_AUTHORITIES: &str = "this machine has no CA certificates, so that no server can be trusted: install them (on \
                              Debian `ca-certificates`), set SSL_CERT_FILE or give --ca-file, and start again";

pub(super) struct Clients {
    recipe: Arc<Recipe>,
    shared: Client,
    own: Mutex<OwnClients>,
    making: Arc<Semaphore>,
}

/// A client that is there, or is being made, for all who want it.
type Making = Shared<BoxFuture<'static, Result<Client, String>>>;

/// What all clients have in common.
pub(super) struct Recipe {
    policy: Arc<AddressPolicy>,
    resolver: Arc<VettingResolver>,
    /// Trusted besides the machine's.
    authorities: Vec<CertificateDer<'static>>,
    proxy: Option<EgressProxy>,
    /// Whether the machine has authorities.
    has_system: bool,
}

/// A client; cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    has_authorities: bool,
    pub(super) is_proxied: bool,
}

impl Recipe {
    pub(super) fn new(
        policy: AddressPolicy,
        lookup: Arc<Lookup>,
        authorities: Vec<CertificateDer<'static>>,
        proxy: Option<EgressProxy>,
    ) -> Self {
        let policy = Arc::new(policy);
        let trusted = proxy.as_ref().and_then(EgressProxy::name).map(str::to_owned);
        let resolver = Arc::new(VettingResolver::new(policy.clone(), lookup, trusted));
        Self { policy, resolver, authorities, proxy, has_system: true }
    }

    fn client(&self, access: &Access) -> Result<Client, String> {
        let mut trusted = self.authorities.clone();
        if let Some(text) = &access.authority {
            trusted.extend(pem::authorities(text.as_bytes()).map_err(|error| format!("`ca` {error}"))?);
        }
        let trusted = trusted.iter().map(|der| Certificate::from_der(der));
        let trusted = trusted.collect::<Result<Vec<_>, _>>().map_err(|error| describe(&error))?;
        let has_authorities = self.has_system || !trusted.is_empty();
        let mut builder = self.builder()?;
        if !has_authorities {
            builder = builder.tls_certs_only([]);
        } else if !trusted.is_empty() {
            builder = builder.tls_certs_merge(trusted);
        }
        if let Some(own) = &access.client_certificate {
            let pem = zeroize::Zeroizing::new(format!("{}\n{}", own.certificate, own.key.expose()));
            builder = builder.identity(Identity::from_pem(pem.as_bytes()).map_err(|error| describe(&error))?);
        }
        let http = builder.build().map_err(|error| describe(&error))?;
        Ok(Client { http, has_authorities, is_proxied: self.proxy.is_some() })
    }

    /// A client but for TLS. The system's proxy variables are never looked at.
    fn builder(&self) -> Result<ClientBuilder, String> {
        let builder = reqwest::Client::builder()
            .dns_resolver(self.resolver.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(ADDRESSES_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true);
        let Some(proxy) = &self.proxy else { return Ok(builder) };
        let proxy = reqwest::Proxy::all(proxy.expose()).map_err(|error| describe(&error))?;
        Ok(builder.proxy(proxy))
    }
}

impl Clients {
    /// Where the machine has no authorities and none are given, it starts all the same, and each attempt over TLS says so.
    pub(super) fn new(mut recipe: Recipe) -> Result<Self, String> {
        // Another part of the process may have installed it before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let shared = match recipe.client(&Access::default()) {
            Err(error) if recipe.authorities.is_empty() => {
                recipe.has_system = false;
                let client = recipe.client(&Access::default())?;
                warn!(%error, "{NO_AUTHORITIES}; until then only http:// URLs can be reached");
                client
            }
            built => built?,
        };
        let making = Arc::new(Semaphore::new(MAKING_MAX));
        Ok(Self { recipe: Arc::new(recipe), shared, own: Mutex::default(), making })
    }

    /// The client for a webhook. The first time that TLS settings are met costs the reading of the machine's authorities,
    /// a few ms; later it is a hash of the settings, some µs, and nothing where there are none.
    pub(super) async fn of(&self, access: &Arc<Access>) -> Result<Client, SendFailure> {
        let Some(key) = key(access) else { return Ok(self.shared.clone()) };
        let making = self.own().find_or(key, || self.make(access.clone()));
        making.await.map_err(|error| {
            // The next attempt tries anew.
            self.own().clients.remove(&key);
            SendFailure::ConnectFailed(format!("the webhook's TLS settings cannot be used: {error}"))
        })
    }

    /// In a task of its own: who gives up waiting does not stop it.
    fn make(&self, access: Arc<Access>) -> Making {
        let (recipe, turns) = (self.recipe.clone(), self.making.clone());
        let making = async move {
            let _turn = turns.acquire().await.map_err(|error| error.to_string())?;
            let made = tokio::task::spawn_blocking(move || recipe.client(&access)).await;
            made.map_err(|error| error.to_string()).flatten()
        };
        let making = making.boxed().shared();
        tokio::spawn(making.clone());
        making
    }

    /// The client for what belongs to no webhook.
    pub(super) fn shared(&self) -> &Client {
        &self.shared
    }

    /// Literal addresses are judged here: the resolver is not asked about them.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), SendFailure> {
        literal(url).map_or(Ok(()), |address| self.recipe.policy.check(address)).map_err(forbidden)
    }

    /// What was dialled for a URL, where no answer tells: the literal, or what the name was resolved to last.
    pub(super) fn dialled(&self, url: &Url) -> Option<SocketAddr> {
        let url = self.recipe.proxy.as_ref().map_or(url, EgressProxy::url);
        let resolved = || self.recipe.resolver.last_vetted(url.host_str()?).map(|address| address.ip());
        Some(SocketAddr::new(literal(url).or_else(resolved)?, url.port_or_known_default()?))
    }

    fn own(&self) -> MutexGuard<'_, OwnClients> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// What a request came to that got no answer.
    pub(super) fn failure(&self, error: &reqwest::Error, progress: &Progress, is_tls: bool) -> SendFailure {
        if let Some(refused) = causes(error).find_map(|cause| cause.downcast_ref::<Forbidden>()) {
            return forbidden(refused.clone());
        }
        let text = describe(error);
        let text = if self.is_proxied { format!("through the egress proxy: {text}") } else { text };
        if progress.is_sending() {
            SendFailure::ConnectionLost(text)
        } else if is_tls && !self.has_authorities {
            SendFailure::ConnectFailed(format!("{text}; {NO_AUTHORITIES}"))
        } else {
            SendFailure::ConnectFailed(text)
        }
    }
}

/// Clients by the hash of their TLS settings, with the number of their last use.
#[derive(Default)]
struct OwnClients {
    clients: HashMap<blake3::Hash, (Making, u64)>,
    uses: u64,
}

impl OwnClients {
    fn find_or(&mut self, key: blake3::Hash, make: impl FnOnce() -> Making) -> Making {
        self.uses += 1;
        if let Some((making, last_use)) = self.clients.get_mut(&key) {
            *last_use = self.uses;
            return making.clone();
        }
        if self.clients.len() >= OWN_CLIENTS_MAX {
            let oldest = self.clients.iter().min_by_key(|(_, (_, last_use))| *last_use).map(|(key, _)| *key);
            oldest.map(|key| self.clients.remove(&key));
        }
        let making = make();
        self.clients.insert(key, (making.clone(), self.uses));
        making
    }
}

/// None where a webhook has no TLS settings.
fn key(access: &Access) -> Option<blake3::Hash> {
    if access.authority.is_none() && access.client_certificate.is_none() {
        return None;
    }
    let own = access.client_certificate.as_ref();
    let parts = [access.authority.as_deref(), own.map(|own| &*own.certificate), own.map(|own| own.key.expose())];
    Some(hash_of(&parts))
}

/// Texts with their lengths, so that none runs into the next.
pub(super) fn hash_of(parts: &[Option<&str>]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        let length = part.map_or(u64::MAX, |text| text.len() as u64);
        hasher.update(&length.to_le_bytes());
        hasher.update(part.unwrap_or_default().as_bytes());
    }
    hasher.finalize()
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
        Host::Domain(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> Clients {
        let lookup = Arc::new(crate::outbound::resolver::system_lookup);
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let recipe = Recipe::new(AddressPolicy::default(), lookup, vec![made.cert.der().clone()], None);
        Clients::new(recipe).unwrap()
    }

    fn access(authority: &str) -> Arc<Access> {
        Arc::new(Access { authority: Some(authority.to_owned()), ..Access::default() })
    }

    #[tokio::test]
    async fn clients_of_their_own_are_few_and_the_one_that_is_used_stays() {
        let clients = clients();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
        let kept = access(&made);
        for number in 0..OWN_CLIENTS_MAX + 3 {
            clients.of(&kept).await.unwrap();
            clients.of(&access(&format!("{made}{number}"))).await.unwrap();
        }
        assert_eq!(clients.own().clients.len(), OWN_CLIENTS_MAX);
        assert!(clients.own().clients.contains_key(&key(&kept).unwrap()));
        clients.of(&Arc::default()).await.unwrap();
        assert_eq!(clients.own().clients.len(), OWN_CLIENTS_MAX);
    }

    #[tokio::test]
    async fn a_client_that_is_being_made_holds_up_only_who_wants_it() {
        let clients = clients();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
        let (slow, other) = (access(&made), access(&format!("{made}\n")));
        let never: Making = futures::future::pending().boxed().shared();
        clients.own().clients.insert(key(&slow).unwrap(), (never, 0));
        assert!(clients.of(&slow).now_or_never().is_none());
        assert!(clients.of(&other).await.is_ok());
    }

    #[tokio::test]
    async fn without_authorities_an_attempt_over_tls_says_what_is_missing() {
        let lookup = Arc::new(crate::outbound::resolver::system_lookup);
        let mut recipe = Recipe::new(AddressPolicy::default(), lookup, Vec::new(), None);
        let _ = rustls::crypto::ring::default_provider().install_default();
        recipe.has_system = false;
        let client = recipe.client(&Access::default()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let error = client.http.post(url).send().await.unwrap_err();
        match client.failure(&error, &Progress::default(), true) {
            SendFailure::ConnectFailed(text) => assert!(text.contains("CA certificates"), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn settings_that_cannot_be_used_fail_the_attempt_in_words() {
        match clients().of(&access("hunter2")).await.map(|_| ()) {
            Err(SendFailure::ConnectFailed(text)) => {
                assert!(text.contains("`ca` has no certificate") && !text.contains("hunter2"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hash_tells_where_one_text_ends_and_the_next_begins() {
        assert_ne!(hash_of(&[Some("ab"), Some("c")]), hash_of(&[Some("a"), Some("bc")]));
        assert_ne!(hash_of(&[Some(""), None]), hash_of(&[None, Some("")]));
    }
}
