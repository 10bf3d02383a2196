//! What the address policy holds against: names that change what they mean, redirects, spellings.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// Open in these tests, as the public internet is; the next one is closed, as what an attacker wants is.
const OPEN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const CLOSED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn policy() -> AddressPolicy {
    AddressPolicy::allowing(vec!["127.0.0.1/32".parse().unwrap()])
}

fn request(url: &str) -> Request {
    Request {
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
        access: Arc::default(),
        connect_timeout: Duration::from_secs(5),
        head_timeout: Duration::from_secs(5),
    }
}

/// A receiver on this address that answers and closes; with the number of connections that it has seen.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(ip: Ipv4Addr, port: u16, answer: String) -> Self {
        let listener = TcpListener::bind((ip, port)).await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let seen = connections.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::Relaxed);
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, connections, task }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn ok() -> String {
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
}

/// An open and a closed receiver on one port.
async fn two_servers() -> (Server, Server) {
    // The port of the one may be taken at the other address.
    loop {
        let open = Server::start(OPEN, 0, ok()).await;
        let port = open.address.port();
        if TcpListener::bind((CLOSED, port)).await.is_ok() {
            let closed = Server::start(CLOSED, port, ok()).await;
            return (open, closed);
        }
    }
}

/// A sender whose names mean at the n-th lookup what the n-th answer says, and at the end the last one; with the number
/// of lookups.
fn sender(answers: Vec<Vec<Ipv4Addr>>) -> (HttpSender, Arc<AtomicUsize>) {
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = lookups.clone();
    let lookup = move |_: &str| -> io::Result<Vec<SocketAddr>> {
        let number = counted.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        Ok(answers[number].iter().map(|ip| SocketAddr::from((*ip, 0))).collect())
    };
    (HttpSender::with_lookup(SenderSettings::new(policy()), Arc::new(lookup)).unwrap(), lookups)
}

#[tokio::test]
async fn a_name_that_means_another_address_after_the_check_is_dialled_where_it_was_checked() {
    let (open, closed) = two_servers().await;
    let (sender, lookups) = sender(vec![vec![OPEN], vec![CLOSED]]);
    let url = format!("http://rebound.example:{}/hook", open.address.port());
    let first = sender.send(request(&url)).await;
    assert_eq!(first.result, Ok(StatusCode::OK));
    assert_eq!((first.address, lookups.load(Ordering::Relaxed)), (Some(open.address), 1));
    let second = sender.send(request(&url)).await;
    assert!(matches!(second.result, Err(SendFailure::AddressForbidden(_))), "{second:?}");
    assert_eq!((second.address, lookups.load(Ordering::Relaxed)), (None, 2));
    assert_eq!((open.connections(), closed.connections()), (1, 0));
}

#[tokio::test]
async fn a_closed_address_behind_open_ones_is_not_dialled_though_the_others_refuse() {
    let (open, closed) = two_servers().await;
    let port = open.address.port();
    for mixed in [vec![OPEN, CLOSED], vec![CLOSED, OPEN], vec![OPEN, OPEN, CLOSED]] {
        let (sender, _) = sender(vec![mixed]);
        let exchange = sender.send(request(&format!("http://mixed.example:{port}/hook"))).await;
        assert!(matches!(exchange.result, Err(SendFailure::AddressForbidden(_))), "{exchange:?}");
    }
    assert_eq!((open.connections(), closed.connections()), (0, 0));
}

#[tokio::test]
async fn a_redirect_to_a_closed_or_an_open_address_is_not_followed() {
    let (open, closed) = two_servers().await;
    for target in [open.address, closed.address] {
        for status in [301, 302, 303, 307, 308] {
            let answer = format!(
                "HTTP/1.1 {status} Moved\r\nlocation: http://{target}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            let redirecting = Server::start(OPEN, 0, answer).await;
            let (sender, lookups) = sender(vec![vec![OPEN]]);
            let exchange = sender.send(request(&format!("http://{}/hook", redirecting.address))).await;
            assert_eq!(exchange.result.unwrap().as_u16(), status);
            assert_eq!((redirecting.connections(), lookups.load(Ordering::Relaxed)), (1, 0));
        }
    }
    assert_eq!((open.connections(), closed.connections()), (0, 0));
}

#[tokio::test]
async fn the_proxys_own_name_is_not_judged_and_no_other_is_looked_up() {
    let (open, closed) = two_servers().await;
    let port = open.address.port();
    let names = Arc::new(std::sync::Mutex::new(Vec::new()));
    let asked = names.clone();
    let lookup = move |name: &str| -> io::Result<Vec<SocketAddr>> {
        asked.lock().unwrap().push(name.to_owned());
        Ok(vec![SocketAddr::from((CLOSED, 0))])
    };
    let proxy = EgressProxy::parse(&format!("http://proxy.example:{port}")).unwrap();
    let settings = SenderSettings { proxy: Some(proxy), ..SenderSettings::new(AddressPolicy::default()) };
    let sender = HttpSender::with_lookup(settings, Arc::new(lookup)).unwrap();
    let exchange = sender.send(request("http://receiver.example/hook")).await;
    assert_eq!((exchange.result, exchange.address), (Ok(StatusCode::OK), Some(closed.address)));
    let literal = sender.send(request("http://10.0.0.1/hook")).await;
    assert!(matches!(literal.result, Err(SendFailure::AddressForbidden(_))), "{literal:?}");
    assert_eq!(*names.lock().unwrap(), ["proxy.example"]);
    assert_eq!((open.connections(), closed.connections()), (0, 1));
}

/// Ways of writing one byte or number in a URL's host: decimal, hexadecimal, octal.
fn number(value: u32, form: u8) -> String {
    match form % 4 {
        0 => value.to_string(),
        1 => format!("{value:#x}"),
        2 => format!("0X{value:X}"),
        _ => format!("0{value:o}"),
    }
}

/// The host of 1, 2, 3 or 4 numbers that means this address.
fn short(address: Ipv4Addr, numbers: usize, forms: [u8; 4]) -> String {
    let [a, b, c, d] = address.octets().map(u32::from);
    let parts = match numbers {
        1 => vec![u32::from(address)],
        2 => vec![a, b << 16 | c << 8 | d],
        3 => vec![a, b, c << 8 | d],
        _ => vec![a, b, c, d],
    };
    let written: Vec<_> = parts.into_iter().zip(forms).map(|(value, form)| number(value, form)).collect();
    written.join(".")
}

/// Characters that a URL parser takes for the ASCII ones: percent-encoded, full-width, circled, with another full stop.
fn disguised(host: &str, disguise: u8) -> String {
    let change = |change: &dyn Fn(char) -> String| host.chars().map(change).collect::<String>();
    match disguise % 6 {
        0 => host.to_owned(),
        1 => change(&|c| format!("%{:02x}", c as u32)),
        2 => change(&|c| char::from_u32(c as u32 + 0xfee0).unwrap_or(c).to_string()),
        3 => change(&|c| if c == '.' { "\u{3002}".to_owned() } else { c.to_string() }),
        4 => change(&|c| match c {
            '1'..='9' => char::from_u32(c as u32 - '1' as u32 + 0x2460).unwrap_or(c).to_string(),
            _ => c.to_string(),
        }),
        _ => format!("{host}."),
    }
}

/// IPv6 literals that carry an IPv4 address, and whether the one inside decides.
fn carriers(address: Ipv4Addr, rest: u16) -> Vec<(String, bool)> {
    let [a, b, c, d] = address.octets().map(u16::from);
    let (high, low) = (a << 8 | b, c << 8 | d);
    vec![
        (format!("[::ffff:{address}]"), true),
        (format!("[0:0:0:0:0:FFFF:{high:X}:{low:x}]"), true),
        (format!("[64:ff9b::{address}]"), true),
        (format!("[2002:{high:x}:{low:x}:{rest:x}::1]"), true),
        (format!("[::{address}]"), false),
        (format!("[64:ff9b:1:{rest:x}::{high:x}:{low:x}]"), false),
        (format!("[2001::{rest:x}:{:x}:{:x}]", !high, !low), false),
        (format!("[2001:0:{high:x}:{low:x}::1]"), false),
    ]
}

/// What becomes of a URL with this host: nothing where it is none, else whether its literal is let through.
fn is_let_through(host: &str) -> Option<bool> {
    let url = Url::parse(&format!("http://{host}/hook")).ok()?;
    let address: std::net::IpAddr = match url.host()? {
        url::Host::Ipv4(v4) => v4.into(),
        url::Host::Ipv6(v6) => v6.into(),
        url::Host::Domain(name) => panic!("{host} is read as the name {name}"),
    };
    Some(AddressPolicy::default().check(address).is_ok())
}

/// Addresses of all kinds, special ranges as often as others.
fn addresses() -> impl Strategy<Value = Ipv4Addr> {
    let special = prop::sample::select(vec![
        0x7f00_0000_u32,
        0x0a00_0000,
        0xa9fe_a9fe,
        0xac10_0000,
        0xc0a8_0000,
        0x6440_0000,
        0xc612_0000,
        0xe000_0000,
        0xf000_0000,
        0,
    ]);
    prop_oneof![any::<u32>(), (special, 0u32..1 << 16).prop_map(|(net, low)| net | low)].prop_map(Ipv4Addr::from)
}

proptest! {
    #[test]
    fn every_way_to_write_an_ipv4_address_is_judged_as_that_address(
        address in addresses(),
        numbers in 1usize..=4,
        forms: [u8; 4],
        disguise: u8,
    ) {
        let expected = AddressPolicy::default().check(address.into()).is_ok();
        let host = disguised(&short(address, numbers, forms), disguise);
        prop_assert_eq!(is_let_through(&host), Some(expected), "{}", host);
    }

    #[test]
    fn an_ipv6_address_that_carries_an_ipv4_one_is_judged_by_it_or_closed(address in addresses(), rest: u16) {
        let expected = AddressPolicy::default().check(address.into()).is_ok();
        for (host, is_decided_inside) in carriers(address, rest) {
            prop_assert_eq!(is_let_through(&host), Some(is_decided_inside && expected), "{}", host);
        }
    }

    #[test]
    fn an_ipv6_address_with_a_zone_is_no_url(segments: [u16; 8], zone in "[a-z0-9]{1,8}") {
        let address = std::net::Ipv6Addr::from(segments);
        for host in [format!("[{address}%{zone}]"), format!("[{address}%25{zone}]"), format!("{address}%{zone}")] {
            prop_assert_eq!(is_let_through(&host), None, "{}", host);
        }
    }

    #[test]
    fn a_name_with_one_closed_address_among_any_others_is_refused(
        open in prop::collection::vec(1u32..200, 0..8),
        closed in addresses(),
        at: prop::sample::Index,
    ) {
        prop_assume!(AddressPolicy::default().check(closed.into()).is_err());
        let mut answer: Vec<_> = open.into_iter().map(|low| Ipv4Addr::from(0x0808_0800 | low)).collect();
        answer.insert(at.index(answer.len() + 1), closed);
        let lookup = move |_: &str| Ok(answer.iter().map(|ip| SocketAddr::from((*ip, 0))).collect());
        let resolver = resolver::VettingResolver::new(Arc::default(), Arc::new(lookup), None);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let resolved = runtime.block_on(reqwest::dns::Resolve::resolve(&resolver, "name.example".parse().unwrap()));
        prop_assert!(resolved.is_err_and(|error| error.downcast_ref::<Forbidden>().is_some()));
    }
}
