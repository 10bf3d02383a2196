//! Which addresses may be dialled. Pure. Judges what is dialled: after resolution, and literals too.
//!
//! Forbidden by default is everything that is not the public internet; an IPv6 address that carries an IPv4 address
//! (mapped, NAT64, 6to4) is judged by the one inside, so that a host with DNS64 still reaches the world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Ranges of IPv4 that are never dialled unless allowed, each with its name (IANA special-purpose registry).
const FORBIDDEN_V4: &[(Ipv4Net, &str)] = &[
    (v4(0, 0, 0, 0, 8), "this network"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "carrier-grade NAT"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(169, 254, 0, 0, 16), "link-local, where cloud metadata is"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "protocol assignments"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 88, 99, 0, 24), "6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

/// The same of IPv6.
const FORBIDDEN_V6: &[(Ipv6Net, &str)] = &[
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "unspecified"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), "IPv4-compatible"),
    (v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), "local NAT64"),
    (v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64), "discard-only"),
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), "protocol assignments, Teredo"),
    (v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), "documentation"),
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), "documentation"),
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), "segment routing"),
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), "unique local"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local"),
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), "site-local"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
];

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

/// What may be dialled besides the public internet.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
}

/// An address that is not dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address {address} is forbidden ({range}); --allow-cidr opens ranges")]
pub struct Forbidden {
    /// Which address.
    pub address: IpAddr,
    /// What range it is in.
    pub range: &'static str,
}

impl AddressPolicy {
    /// The public internet and these ranges.
    pub fn allowing(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether the address may be dialled.
    ///
    /// # Errors
    /// The address and the range that forbids it.
    pub fn check(&self, address: IpAddr) -> Result<(), Forbidden> {
        let judged = inner(address);
        let is_allowed = self.allowed.iter().any(|net| net.contains(&judged) || net.contains(&address));
        match range_of(judged) {
            Some(range) if !is_allowed => Err(Forbidden { address, range }),
            _ => Ok(()),
        }
    }
}

/// The IPv4 address that an IPv6 one stands for, or the address itself.
fn inner(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

fn range_of(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => FORBIDDEN_V4.iter().find(|(net, _)| net.contains(&v4)).map(|(_, name)| *name),
        IpAddr::V6(v6) => FORBIDDEN_V6.iter().find(|(net, _)| net.contains(&v6)).map(|(_, name)| *name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::{Host, Url};

    use super::*;

    fn is_open(address: &str) -> bool {
        AddressPolicy::default().check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn what_is_not_the_public_internet_is_closed() {
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.9",
            "198.19.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "::127.0.0.1",
        ] {
            assert!(!is_open(address), "{address} is open");
        }
    }

    #[test]
    fn the_public_internet_is_open_also_through_nat64_and_6to4() {
        for address in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::1"]
        {
            assert!(is_open(address), "{address} is closed");
        }
    }

    #[test]
    fn an_allowed_range_opens_its_mapped_form_too_and_nothing_else() {
        let policy = AddressPolicy::allowing(vec!["10.0.0.0/8".parse().unwrap()]);
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"] {
            assert!(policy.check(address.parse().unwrap()).is_ok(), "{address}");
        }
        assert!(policy.check("192.168.0.1".parse().unwrap()).is_err());
        let everything = AddressPolicy::allowing(vec!["::ffff:0:0/96".parse().unwrap()]);
        assert!(everything.check("127.0.0.1".parse().unwrap()).is_err());
    }

    /// Ways in which the same IPv4 address can stand in a URL.
    fn spellings(address: Ipv4Addr) -> Vec<String> {
        let [a, b, c, d] = address.octets();
        let number = u32::from(address);
        let (high, low) = (number >> 16, number & 0xffff);
        vec![
            address.to_string(),
            format!("{number}"),
            format!("{number:#x}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("{a:#x}.{b}.{:#x}", low),
            format!("[::ffff:{address}]"),
            format!("[::ffff:{high:x}:{low:x}]"),
            format!("[64:ff9b::{high:x}:{low:x}]"),
            format!("[2002:{high:x}:{low:x}::1]"),
        ]
    }

    proptest! {
        #[test]
        fn every_spelling_of_an_address_is_judged_alike(number: u32) {
            let address = Ipv4Addr::from(number);
            let expected = AddressPolicy::default().check(address.into()).is_ok();
            for spelling in spellings(address) {
                let url = Url::parse(&format!("http://{spelling}/")).unwrap();
                let judged: IpAddr = match url.host().unwrap() {
                    Host::Ipv4(v4) => v4.into(),
                    Host::Ipv6(v6) => v6.into(),
                    Host::Domain(name) => panic!("{spelling} is read as the name {name}"),
                };
                prop_assert_eq!(AddressPolicy::default().check(judged).is_ok(), expected, "{}", spelling);
            }
        }

        #[test]
        fn addresses_in_a_private_range_are_closed_in_every_spelling(low in 0u32..1 << 24) {
            for spelling in spellings(Ipv4Addr::from(0x0a00_0000 | low)) {
                let url = Url::parse(&format!("http://{spelling}/")).unwrap();
                let host = url.host_str().unwrap().trim_matches(['[', ']']).parse().unwrap();
                prop_assert!(AddressPolicy::default().check(host).is_err());
            }
        }
    }
}
