//! Names to addresses: all of them are judged before one is dialled, and only what was judged is dialled.
//!
//! A name is looked up once at a time, however many ask: a name server that hangs over one name holds one thread.
//!
//! The egress proxy's name is the operator's and is not judged. Where there is a proxy no other name is asked for here.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::limits::LOOKUPS_MAX;
use crate::outbound::{AddressPolicy, Forbidden};

/// What the system says a name's addresses are; another in tests of what an attacker's name server says.
pub(super) type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// A look-up under way, for all who ask for the name meanwhile.
type Underway = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, Arc<io::Error>>>>;

/// Names whose last address is kept; beyond it all are forgotten, which costs a record its address at most.
const NAMES_MAX: usize = 10_000;

pub(super) struct VettingResolver {
    policy: Arc<AddressPolicy>,
    trusted: Option<String>,
    lookups: Arc<Lookups>,
    vetted: Arc<Mutex<HashMap<String, SocketAddr>>>,
}

/// Look-ups, one for each name.
struct Lookups {
    lookup: Arc<Lookup>,
    permits: Arc<Semaphore>,
    underway: Mutex<HashMap<String, Underway>>,
}

impl VettingResolver {
    /// One that judges all names but the trusted one, the egress proxy's.
    pub(super) fn new(policy: Arc<AddressPolicy>, lookup: Arc<Lookup>, trusted: Option<String>) -> Self {
        let permits = Arc::new(Semaphore::new(LOOKUPS_MAX));
        let lookups = Arc::new(Lookups { lookup, permits, underway: Mutex::default() });
        Self { policy, trusted, lookups, vetted: Arc::default() }
    }

    /// What the name was last resolved to and may be dialled: the first of its addresses, which is tried first.
    /// A reused connection is younger than its name's last lookup but for its idle time.
    pub(super) fn last_vetted(&self, name: &str) -> Option<SocketAddr> {
        lock(&self.vetted).get(name).copied()
    }
}

impl Lookups {
    /// The look-up of the name that is under way, else one that begins. It goes on where nobody waits for it any more, so
    /// that who asks next finds it and does not begin another.
    fn of(self: &Arc<Self>, name: &str) -> Underway {
        let mut underway = lock(&self.underway);
        if let Some(begun) = underway.get(name) {
            return begun.clone();
        }
        let (all, owned) = (self.clone(), name.to_owned());
        let begun = tokio::spawn(async move {
            let addresses = look_up(owned.clone(), all.lookup.clone(), all.permits.clone()).await;
            lock(&all.underway).remove(&owned);
            addresses
        });
        let begun = begun.map(|ended| ended.map_err(io::Error::other).flatten().map_err(Arc::new)).boxed().shared();
        underway.insert(name.to_owned(), begun.clone());
        begun
    }
}

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, lookups, vetted) = (self.policy.clone(), self.lookups.clone(), self.vetted.clone());
        let is_trusted = self.trusted.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let addresses = lookups.of(name.as_str()).await?;
            if !is_trusted {
                vet(&policy, &addresses)?;
            }
            if let Some(first) = addresses.first() {
                remember(&mut lock(&vetted), name.as_str().to_owned(), *first);
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Refuses a name if any of its addresses is forbidden: a mixed answer is an attack or a mistake.
fn vet(policy: &AddressPolicy, addresses: &[SocketAddr]) -> Result<(), Forbidden> {
    addresses.iter().try_for_each(|address| policy.check(address.ip()))
}

/// The system's answer.
pub(super) fn system_lookup(name: &str) -> io::Result<Vec<SocketAddr>> {
    (name, 0).to_socket_addrs().map(Vec::from_iter)
}

/// Asks on a thread that may block. The permit goes with that thread, not with who waits: name servers that hang hold at
/// most so many threads, however often they are given up on.
async fn look_up(name: String, lookup: Arc<Lookup>, permits: Arc<Semaphore>) -> io::Result<Vec<SocketAddr>> {
    let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
    let addresses = tokio::task::spawn_blocking(move || {
        let addresses = lookup(&name);
        drop(permit);
        addresses
    });
    addresses.await.map_err(io::Error::other)?
}

fn remember(vetted: &mut HashMap<String, SocketAddr>, name: String, address: SocketAddr) {
    if vetted.len() >= NAMES_MAX {
        vetted.clear();
    }
    vetted.insert(name, address);
}

fn lock<T>(names: &Mutex<HashMap<String, T>>) -> MutexGuard<'_, HashMap<String, T>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_forbidden_address_among_good_ones_refuses_the_name() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let policy = AddressPolicy::default();
        assert!(vet(&policy, &addresses(&["8.8.8.8:0", "[2606:4700::1111]:0"])).is_ok());
        for mixed in [["8.8.8.8:0", "10.0.0.1:0"], ["169.254.169.254:0", "8.8.8.8:0"], ["8.8.8.8:0", "[::1]:0"]] {
            assert!(vet(&policy, &addresses(&mixed)).is_err(), "{mixed:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_hangs_is_looked_up_once_and_leaves_room_for_the_others() {
        let (go, hangs) = std::sync::mpsc::channel::<()>();
        let (hangs, asked) = (Mutex::new(hangs), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        let lookup = move |name: &str| {
            if name == "hangs" {
                counted.fetch_add(1, Ordering::Relaxed);
                let _gone = hangs.lock().unwrap().recv();
            }
            Ok(vec![SocketAddr::from(([8, 8, 8, 8], 0))])
        };
        let resolver = VettingResolver::new(Arc::new(AddressPolicy::default()), Arc::new(lookup), None);
        let resolve = |name: &str| resolver.resolve(name.parse().unwrap());
        for _ in 0..LOOKUPS_MAX {
            // It is given up on, and goes on.
            assert!(futures::poll!(resolve("hangs")).is_pending());
        }
        let mut waiting = [resolve("hangs"), resolve("hangs")];
        for waits in &mut waiting {
            assert!(futures::poll!(waits).is_pending());
        }
        assert_eq!(resolve("answers").await.unwrap().count(), 1);
        go.send(()).unwrap();
        for waits in waiting {
            assert_eq!(waits.await.unwrap().count(), 1);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        drop(go);
        assert_eq!(resolve("hangs").await.unwrap().count(), 1);
        assert_eq!(asked.load(Ordering::Relaxed), 2, "what was learnt is not kept");
    }

    #[tokio::test]
    async fn what_was_resolved_is_remembered_for_the_record() {
        let policy = AddressPolicy::allowing(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let resolver = VettingResolver::new(Arc::new(policy), Arc::new(system_lookup), None);
        let addresses: Vec<_> = resolver.resolve("localhost".parse().unwrap()).await.unwrap().collect();
        assert_eq!(resolver.last_vetted("localhost"), addresses.first().copied());
        assert!(addresses[0].ip().is_loopback());
        assert_eq!(resolver.last_vetted("elsewhere"), None);
    }
}
