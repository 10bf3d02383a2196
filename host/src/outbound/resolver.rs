//! Names to addresses: all of them are judged before one is dialled, and only what was judged is dialled.
//!
//! The egress proxy's name is the operator's and is not judged. Where there is a proxy no other name is asked for here.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::limits::LOOKUPS_MAX;
use crate::outbound::{AddressPolicy, Forbidden};

/// What the system says a name's addresses are; another in tests of what an attacker's name server says.
pub(super) type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Names whose last address is kept; beyond it all are forgotten, which costs a record its address at most.
const NAMES_MAX: usize = 10_000;

pub(super) struct VettingResolver {
    policy: Arc<AddressPolicy>,
    lookup: Arc<Lookup>,
    trusted: Option<String>,
    lookups: Arc<Semaphore>,
    vetted: Arc<Mutex<HashMap<String, SocketAddr>>>,
}

impl VettingResolver {
    /// One that judges all names but the trusted one, the egress proxy's.
    pub(super) fn new(policy: Arc<AddressPolicy>, lookup: Arc<Lookup>, trusted: Option<String>) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self { policy, lookup, trusted, lookups, vetted: Arc::default() }
    }

    /// What the name was last resolved to and may be dialled: the first of its addresses, which is tried first.
    /// A reused connection is younger than its name's last lookup but for its idle time.
    pub(super) fn last_vetted(&self, name: &str) -> Option<SocketAddr> {
        lock(&self.vetted).get(name).copied()
    }
}

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, lookup) = (self.policy.clone(), self.lookup.clone());
        let (lookups, vetted) = (self.lookups.clone(), self.vetted.clone());
        let is_trusted = self.trusted.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let addresses = look_up(name.clone(), lookup, lookups).await?;
            if !is_trusted {
                vet(&policy, &addresses)?;
            }
            if let Some(first) = addresses.first() {
                remember(&mut lock(&vetted), name, *first);
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

/// Asks on a thread that may block. The permit goes with that thread, not with who waits: a name server that hangs holds
/// at most so many threads, however often it is given up on.
async fn look_up(name: String, lookup: Arc<Lookup>, lookups: Arc<Semaphore>) -> io::Result<Vec<SocketAddr>> {
    let permit = lookups.acquire_owned().await.map_err(io::Error::other)?;
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

fn lock(vetted: &Mutex<HashMap<String, SocketAddr>>) -> MutexGuard<'_, HashMap<String, SocketAddr>> {
    vetted.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
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
    async fn what_was_resolved_is_remembered_for_the_record() {
        let policy = AddressPolicy::allowing(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let resolver = VettingResolver::new(Arc::new(policy), Arc::new(system_lookup), None);
        let addresses: Vec<_> = resolver.resolve("localhost".parse().unwrap()).await.unwrap().collect();
        assert_eq!(resolver.last_vetted("localhost"), addresses.first().copied());
        assert!(addresses[0].ip().is_loopback());
        assert_eq!(resolver.last_vetted("elsewhere"), None);
    }
}
