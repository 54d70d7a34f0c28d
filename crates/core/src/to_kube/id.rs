//! What an endpoint is: an address with the numbers that the Service's ports lead to.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::address;
use crate::kube::{AddressType, Endpoint, Family, KubeSlice, Protocol, SlicePort};

/// Identity of an endpoint. A change of address or of any number makes another endpoint; health, zone and `appProtocol` don't.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId {
    /// Canonical address.
    pub address: IpAddr,
    /// Where each Service port leads to.
    pub ports: Ports,
}

impl EndpointId {
    /// Family of its address.
    #[must_use]
    pub fn family(&self) -> Family {
        address::family(self.address)
    }

    /// The endpoint as it stands on a slice; none where no plan of ours could have made it.
    #[must_use]
    pub fn standing(slice: &KubeSlice, endpoint: &Endpoint, ports: &Ports) -> Option<EndpointId> {
        let ip: IpAddr = endpoint.address.parse().ok()?;
        let canonical = ip.to_string() == endpoint.address && address::canonical(ip) == ip;
        let fits = slice.address_type == AddressType::Ip(address::family(ip));
        (canonical && fits).then(|| EndpointId { address: ip, ports: ports.clone() })
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.ports.is_empty() { Ok(()) } else { write!(f, " {}", self.ports) }
    }
}

/// One port of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    /// Name, equal to the Service port's.
    pub name: String,
    /// Protocol, equal to the Service port's.
    pub protocol: Protocol,
    /// Number in Consul.
    pub number: u16,
}

/// All ports of an endpoint, sorted: their order on the Service is no part of what an endpoint is. Shared, as most endpoints of a
/// Service have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports(Arc<[PortId]>);

impl Ports {
    /// From ports in any order.
    #[must_use]
    pub fn new(mut ports: Vec<PortId>) -> Ports {
        ports.sort();
        ports.dedup();
        Ports(ports.into())
    }

    /// The ports of a slice that exists; none where it has a port that no plan of ours could have made.
    #[must_use]
    pub fn standing(ports: &[SlicePort]) -> Option<Ports> {
        let read = |p: &SlicePort| {
            let number = u16::try_from(p.port?).ok().filter(|n| *n > 0)?;
            Some(PortId { name: p.name.clone(), protocol: p.protocol, number })
        };
        ports.iter().map(read).collect::<Option<Vec<_>>>().map(Ports::new)
    }

    /// Whether there is none: a Service without ports.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One by one, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &PortId> {
        self.0.iter()
    }

    /// Number of the port of this name and protocol.
    #[must_use]
    pub fn number(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.0.iter().find(|p| p.name == name && p.protocol == protocol).map(|p| p.number)
    }

    /// Whether both lead to the same numbers wherever both have a port, and have one in common: what is sent to the one port would
    /// arrive at the same place through the other.
    #[must_use]
    pub fn agree(&self, other: &Ports) -> bool {
        let mut common = 0;
        for port in self.iter() {
            match other.number(&port.name, port.protocol) {
                Some(number) if number == port.number => common += 1,
                Some(_) => return false,
                None => {}
            }
        }
        common > 0 || (self.is_empty() && other.is_empty())
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, port) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if !port.name.is_empty() {
                write!(f, "{}=", port.name)?;
            }
            write!(f, "{}", port.number)?;
            if port.protocol != Protocol::Tcp {
                write!(f, "/{}", port.protocol)?;
            }
        }
        Ok(())
    }
}

/// Makes [`Ports`] that are shared between all endpoints that have the same.
#[derive(Debug, Default)]
pub struct SharedPorts(BTreeMap<Ports, ()>);

impl SharedPorts {
    /// The shared value that equals these ports.
    pub fn get(&mut self, ports: Vec<PortId>) -> Ports {
        let ports = Ports::new(ports);
        if let Some((known, ())) = self.0.get_key_value(&ports) {
            return known.clone();
        }
        self.0.insert(ports.clone(), ());
        ports
    }
}
