//! Which number each Service port leads to, for one instance (contract §2, "Ports").

use crate::consul::Instance;
use crate::intent::to_kube::{PortSource, ToKube};
use crate::kube::{KubeService, Protocol, SlicePort};

use super::id::{PortId, Ports, SharedPorts};

/// The ports that slices of a Service have: those of the Service, then those that `consul8s/service.ports` announces.
#[derive(Debug)]
pub struct PortPlan<'a> {
    ports: Vec<Planned<'a>>,
}

#[derive(Debug)]
struct Planned<'a> {
    name: &'a str,
    protocol: Protocol,
    app_protocol: Option<&'a str>,
    source: Option<&'a PortSource>,
}

/// The ports of one instance.
#[derive(Debug)]
pub struct Resolved {
    /// Numbers, by Service port.
    pub ports: Ports,
    /// Whether several Service ports of one protocol took the instance's one port for want of a mapping.
    pub unmapped: bool,
}

impl<'a> PortPlan<'a> {
    /// From the Service and its mapping.
    #[must_use]
    pub fn new(service: &'a KubeService, intent: &'a ToKube) -> PortPlan<'a> {
        let rule = |name: &str| intent.ports.iter().find(|rule| rule.port == name).map(|rule| &rule.source);
        let own = service.ports.iter().map(|port| Planned {
            name: &port.name,
            protocol: port.protocol,
            app_protocol: port.app_protocol.as_deref(),
            source: rule(&port.name),
        });
        // Announced before the Service has them: a renamed port then loses no request (contract D4).
        let to_come =
            intent.ports.iter().filter(|rule| service.ports.iter().all(|port| port.name != rule.port)).map(|rule| {
                Planned { name: &rule.port, protocol: Protocol::Tcp, app_protocol: None, source: Some(&rule.source) }
            });
        PortPlan { ports: own.chain(to_come).collect() }
    }

    /// The numbers for one instance; none when one of them is missing or outside 1–65535. `tagged` is the port of the tagged address
    /// in use, where it has one.
    #[must_use]
    pub fn resolve(&self, instance: &Instance, tagged: Option<i64>, shared: &mut SharedPorts) -> Option<Resolved> {
        let default = tagged.or_else(|| default_port(instance));
        let mut ports = Vec::with_capacity(self.ports.len());
        let mut fallen_back: Vec<Protocol> = Vec::new();
        for planned in &self.ports {
            let number = match planned.source {
                Some(source) => from_source(source, instance, default),
                None => named(instance, planned.name).or_else(|| {
                    fallen_back.push(planned.protocol);
                    default
                }),
            };
            let number = number.and_then(valid)?;
            ports.push(PortId { name: planned.name.to_owned(), protocol: planned.protocol, number });
        }
        let unmapped = fallen_back.iter().enumerate().any(|(i, protocol)| fallen_back[..i].contains(protocol));
        Some(Resolved { ports: shared.get(ports), unmapped })
    }

    /// The ports as a slice has them, in the order of the Service.
    #[must_use]
    pub fn slice_ports(&self, ports: &Ports) -> Vec<SlicePort> {
        let position = |id: &PortId| self.ports.iter().position(|p| p.name == id.name && p.protocol == id.protocol);
        let mut found: Vec<(Option<usize>, &PortId)> = ports.iter().map(|id| (position(id), id)).collect();
        // Ports that the Service no longer has come last: endpoints that are held keep theirs.
        found.sort_by_key(|(position, id)| (position.is_none(), *position, *id));
        let slice_port = |(position, id): (Option<usize>, &PortId)| SlicePort {
            name: id.name.clone(),
            protocol: id.protocol,
            port: Some(i64::from(id.number)),
            app_protocol: position.and_then(|at| self.ports[at].app_protocol).map(str::to_owned),
        };
        found.into_iter().map(slice_port).collect()
    }

    /// Service ports that no mapping is given for, as people know them.
    #[must_use]
    pub fn unmapped(&self) -> Vec<&'a str> {
        let unmapped = self.ports.iter().filter(|port| port.source.is_none());
        unmapped.map(|port| if port.name.is_empty() { "the unnamed one" } else { port.name }).collect()
    }

    /// Whether none of these ports is one that slices have now: nothing can use an endpoint with only such ports any more.
    #[must_use]
    pub fn none_of(&self, ports: &Ports) -> bool {
        if ports.is_empty() {
            return !self.ports.is_empty();
        }
        !ports.iter().any(|id| self.ports.iter().any(|p| p.name == id.name && p.protocol == id.protocol))
    }
}

fn from_source(source: &PortSource, instance: &Instance, default: Option<i64>) -> Option<i64> {
    match source {
        PortSource::Default => default,
        PortSource::Number(number) => Some(i64::from(*number)),
        PortSource::Meta(key) => plain_number(instance.meta.get(key)?),
        PortSource::Named(name) => named(instance, name),
    }
}

fn named(instance: &Instance, name: &str) -> Option<i64> {
    instance.ports.iter().find(|port| port.name == name).map(|port| port.port)
}

/// The instance's one port. With named ports Consul may show 0 there; then it is the one marked as default.
fn default_port(instance: &Instance) -> Option<i64> {
    if instance.port != 0 {
        return Some(instance.port);
    }
    let default = instance.ports.iter().find(|port| port.default);
    let only = || if let [port] = instance.ports.as_slice() { Some(port) } else { None };
    default.or_else(only).map(|port| port.port)
}

fn plain_number(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn valid(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|n| *n > 0)
}
