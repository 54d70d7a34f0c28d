//! Addresses from the catalog: read strictly, reprinted in canonical form, and judged before anything is published.
//!
//! Consul stores any text as an address (measured). A slice with one address that the API server refuses is refused as a whole, and
//! an address of this machine, of the link or of a cloud's metadata service would turn a Service into a door that its readers never
//! meant to open. So what may not be published is dropped per instance, here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kube::Family;

/// An address as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// An IP, canonical: an IPv4-mapped IPv6 address is the IPv4 address that it means.
    Ip(IpAddr),
    /// A DNS name, lower case, without the trailing dot.
    Hostname(String),
    /// Neither.
    Unreadable,
}

/// Reads an address strictly: `010.0.0.1`, `10.1`, `0x7f.1`, zones and spaces are nobody's address.
#[must_use]
pub fn read(text: &str) -> Written {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Written::Ip(canonical(ip));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    if is_hostname(name) { Written::Hostname(name.to_ascii_lowercase()) } else { Written::Unreadable }
}

/// The address itself where IPv6 only wraps an IPv4 one.
#[must_use]
pub fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
    }
}

/// Family of a canonical address.
#[must_use]
pub fn family(ip: IpAddr) -> Family {
    match ip {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}

/// A DNS name by its form. A last label that could be read as a number is no name: some parser would take the whole for an address.
fn is_hostname(name: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    name.len() <= 253 && !numeric && name.split('.').all(label)
}

/// Why an address is never published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Never {
    /// It is no address, and no DNS name either.
    Unreadable,
    /// `0.0.0.0/8`, `::`
    Unspecified,
    /// `127.0.0.0/8`, `::1`
    Loopback,
    /// `169.254.0.0/16`, `fe80::/10`
    LinkLocal,
    /// `224.0.0.0/4`, `ff00::/8`
    Multicast,
    /// `255.255.255.255`
    Broadcast,
    /// The metadata service of a cloud.
    Metadata,
}

impl Never {
    /// A few words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Never::Unreadable => "not an address",
            Never::Unspecified => "unspecified",
            Never::Loopback => "loopback",
            Never::LinkLocal => "link-local",
            Never::Multicast => "multicast",
            Never::Broadcast => "broadcast",
            Never::Metadata => "cloud metadata",
        }
    }
}

/// Metadata services of clouds that no class of addresses covers. Those at link-local addresses are never published anyway, but
/// are named as what they are.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(169, 254, 169, 254), // almost all of them
    Ipv4Addr::new(169, 254, 170, 2),   // AWS ECS task credentials
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure's host
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle Cloud
];
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),  // AWS EKS pod identity
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // Google Cloud
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),   // Scaleway
];

/// Whether an address is never published, and why.
#[must_use]
pub fn never(ip: IpAddr) -> Option<Never> {
    match canonical(ip) {
        IpAddr::V4(v4) => never_v4(v4),
        IpAddr::V6(v6) => never_v6(v6),
    }
}

fn never_v4(ip: Ipv4Addr) -> Option<Never> {
    if METADATA_V4.contains(&ip) {
        Some(Never::Metadata)
    } else if ip.octets()[0] == 0 {
        Some(Never::Unspecified)
    } else if ip.is_loopback() {
        Some(Never::Loopback)
    } else if ip.is_link_local() {
        Some(Never::LinkLocal)
    } else if ip.is_multicast() {
        Some(Never::Multicast)
    } else if ip.is_broadcast() {
        Some(Never::Broadcast)
    } else {
        None
    }
}

fn never_v6(ip: Ipv6Addr) -> Option<Never> {
    if METADATA_V6.contains(&ip) {
        Some(Never::Metadata)
    } else if ip.is_unspecified() {
        Some(Never::Unspecified)
    } else if ip.is_loopback() {
        Some(Never::Loopback)
    } else if ip.is_unicast_link_local() {
        Some(Never::LinkLocal)
    } else if ip.is_multicast() {
        Some(Never::Multicast)
    } else {
        embedded(ip).and_then(never_v4)
    }
}

/// The IPv4 address that a translator on the way would make of it: `::a.b.c.d` and NAT64's `64:ff9b::/96`.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = ip.segments();
    let compatible = [a, b, c, d, e, f] == [0; 6];
    let nat64 = [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0];
    let [w, x] = high.to_be_bytes();
    let [y, z] = low.to_be_bytes();
    (compatible || nat64).then(|| Ipv4Addr::new(w, x, y, z))
}

/// A range of addresses, `10.0.0.0/8` or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    base: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Reads it; none when it isn't one. Bits below the prefix are allowed and ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Cidr> {
        let (base, bits) = match text.trim().split_once('/') {
            Some((base, bits)) if !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) => {
                (base.parse::<IpAddr>().ok()?, Some(bits.parse::<u8>().ok()?))
            }
            Some(_) => return None,
            None => (text.trim().parse::<IpAddr>().ok()?, None),
        };
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Cidr { base, bits })
    }

    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (base, other, width) = match (canonical(self.base), canonical(ip)) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(u32::from(a)), u128::from(u32::from(b)), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a), u128::from(b), 128),
            _ => return false,
        };
        // A range written in its IPv4-mapped form counts from the front of the IPv6 address.
        let bits = if self.base.is_ipv6() && width == 32 { self.bits.saturating_sub(96) } else { self.bits };
        let free = width - u32::from(bits);
        free >= 128 || base >> free == other >> free
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_strictly_and_reprints() {
        let shown = |text: &str| match read(text) {
            Written::Ip(ip) => ip.to_string(),
            Written::Hostname(name) => format!("name {name}"),
            Written::Unreadable => "-".to_owned(),
        };
        for (text, expected) in [
            ("10.0.0.1", "10.0.0.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("db.Example.com.", "name db.example.com"),
            ("localhost", "name localhost"),
            ("010.0.0.1", "-"),
            ("10.1", "-"),
            ("0x7f.1", "-"),
            ("10.0.0.0x1", "-"),
            ("1.2.3.4.5", "-"),
            (" 10.0.0.1", "-"),
            ("10.0.0.1:80", "-"),
            ("fe80::1%eth0", "-"),
            ("[::1]", "-"),
            ("not an address", "-"),
            ("-a.com", "-"),
            ("a..com", "-"),
            ("a\n.com", "-"),
            ("", "-"),
            (".", "-"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn never_published() {
        for (text, expected) in [
            ("0.0.0.0", Some(Never::Unspecified)),
            ("0.1.2.3", Some(Never::Unspecified)),
            ("::", Some(Never::Unspecified)),
            ("127.0.0.1", Some(Never::Loopback)),
            ("127.9.9.9", Some(Never::Loopback)),
            ("::1", Some(Never::Loopback)),
            ("169.254.1.1", Some(Never::LinkLocal)),
            ("fe80::1", Some(Never::LinkLocal)),
            ("febf::1", Some(Never::LinkLocal)),
            ("224.0.0.1", Some(Never::Multicast)),
            ("239.255.255.255", Some(Never::Multicast)),
            ("ff02::1", Some(Never::Multicast)),
            ("255.255.255.255", Some(Never::Broadcast)),
            ("169.254.169.254", Some(Never::Metadata)),
            ("100.100.100.200", Some(Never::Metadata)),
            ("168.63.129.16", Some(Never::Metadata)),
            ("192.0.0.192", Some(Never::Metadata)),
            ("fd00:ec2::254", Some(Never::Metadata)),
            ("::ffff:169.254.169.254", Some(Never::Metadata)),
            ("::ffff:127.0.0.1", Some(Never::Loopback)),
            ("::127.0.0.1", Some(Never::Loopback)),
            ("64:ff9b::a9fe:a9fe", Some(Never::Metadata)),
            ("10.0.0.1", None),
            ("100.64.0.1", None),
            ("fd00::1", None),
            ("2001:db8::1", None),
            ("::ffff:10.0.0.1", None),
            ("64:ff9b::a00:1", None),
        ] {
            assert_eq!(never(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn ranges() {
        let inside = |range: &str, ip: &str| Cidr::parse(range).unwrap().contains(ip.parse().unwrap());
        assert!(inside("10.0.0.0/8", "10.200.0.1"));
        assert!(!inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("10.0.0.7", "10.0.0.7") && !inside("10.0.0.7", "10.0.0.8"));
        assert!(inside("0.0.0.0/0", "1.2.3.4") && !inside("0.0.0.0/0", "2001:db8::1"));
        assert!(inside("::/0", "2001:db8::1") && inside("2001:db8::/32", "2001:db8:1::"));
        assert!(inside("::ffff:10.0.0.0/104", "10.1.1.1"));
        assert!(inside("10.0.0.0/8", "::ffff:10.0.0.1"));
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10/8", "::/129", "10.0.0.0/+8", "x/8"] {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
