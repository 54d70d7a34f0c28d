//! Each instance of the answer, judged on its own: may it be published, and as which endpoints? One bad instance never costs
//! another (contract S8).

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::address::{self, Never, Written};
use crate::consul::Instance;
use crate::identity::Identity;
use crate::intent::to_kube::ToKube;
use crate::kube::KubeService;
use crate::names;
use crate::settings::Settings;

use super::decision::Rule;
use super::id::{EndpointId, SharedPorts};
use super::port::{PortPlan, Resolved};

/// What judging needs beside the instance.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    service: &'a KubeService,
    intent: &'a ToKube,
    settings: &'a Settings,
    resolved: &'a BTreeMap<String, Vec<IpAddr>>,
    ports: PortPlan<'a>,
    shared: SharedPorts,
}

/// What an instance would be published as, and why it isn't.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    /// The instance.
    pub(super) instance: &'a Instance,
    /// Its address as the catalog has it.
    pub(super) address: &'a str,
    /// Its endpoints. Where a rule forbids it as a whole, those that it would have.
    pub(super) endpoints: Vec<EndpointId>,
    /// Why it is not published.
    pub(super) rule: Option<Rule>,
    /// Whether several Service ports took its one port for want of a mapping.
    pub(super) unmapped: bool,
}

impl<'a> Bench<'a> {
    /// For one Service.
    #[must_use]
    pub(super) fn new(
        service: &'a KubeService,
        intent: &'a ToKube,
        settings: &'a Settings,
        resolved: &'a BTreeMap<String, Vec<IpAddr>>,
    ) -> Bench<'a> {
        let ports = PortPlan::new(service, intent);
        Bench { service, intent, settings, resolved, ports, shared: SharedPorts::default() }
    }

    /// The ports of the Service's slices.
    #[must_use]
    pub(super) fn ports(&self) -> &PortPlan<'a> {
        &self.ports
    }

    /// Judges one instance. Duplicates show only when all are known.
    pub(super) fn judge<'i>(&mut self, instance: &'i Instance) -> Judged<'i> {
        let (address, tagged_port) = self.effective_address(instance);
        let ports = self.ports.resolve(instance, tagged_port, &mut self.shared);
        let (addresses, address_rule) = self.addresses(address);
        let unmapped = ports.as_ref().is_some_and(|p| p.unmapped);
        let endpoints = match &ports {
            Some(Resolved { ports, .. }) => {
                addresses.into_iter().map(|address| EndpointId { address, ports: ports.clone() }).collect()
            }
            None => Vec::new(),
        };
        let rule = self.forbidden(instance).or(address_rule).or(ports.is_none().then_some(Rule::Port));
        Judged { instance, address, endpoints, rule, unmapped }
    }

    /// The hostname that its address is written as, if it is one and matters.
    pub(super) fn hostname(&self, instance: &Instance) -> Option<String> {
        match address::read(self.effective_address(instance).0) {
            Written::Hostname(name) if self.forbidden(instance).is_none() => Some(name),
            _ => None,
        }
    }

    /// Rules about the instance itself.
    fn forbidden(&self, instance: &Instance) -> Option<Rule> {
        if instance.name != self.intent.query.name {
            Some(Rule::Name)
        } else if !instance.kind.is_empty() {
            Some(Rule::Kind)
        } else if is_loop(instance, &self.settings.identity) {
            Some(Rule::Loop)
        } else if !self.intent.tags.iter().all(|tag| instance.tags.contains(tag)) {
            Some(Rule::Tag)
        } else {
            None
        }
    }

    /// Which address counts, with the port of a tagged address where that has one.
    fn effective_address<'i>(&self, instance: &'i Instance) -> (&'i str, Option<i64>) {
        let key = self.intent.tagged_address.as_deref();
        let tagged = key.and_then(|key| instance.tagged_addresses.get(key));
        if let Some(tagged) = tagged.filter(|tagged| !tagged.address.is_empty()) {
            return (&tagged.address, Some(tagged.port).filter(|port| *port != 0));
        }
        if !instance.address.is_empty() {
            return (&instance.address, None);
        }
        let node = key.and_then(|key| instance.node_tagged_addresses.get(key));
        (node.unwrap_or(&instance.node_address), None)
    }

    /// The addresses that may be published. Where none may, all of them with the rule: it still says which endpoints are meant.
    fn addresses(&self, text: &str) -> (Vec<IpAddr>, Option<Rule>) {
        let found: Vec<IpAddr> = match address::read(text) {
            Written::Ip(ip) => vec![ip],
            Written::Unreadable => return (Vec::new(), Some(Rule::Address(Never::Unreadable))),
            Written::Hostname(name) => match self.resolved.get(&name) {
                Some(ips) if !ips.is_empty() => distinct(ips),
                _ => return (Vec::new(), Some(Rule::Unresolvable)),
            },
        };
        let good: Vec<IpAddr> = found.iter().copied().filter(|ip| self.address_rule(*ip).is_none()).collect();
        if good.is_empty() {
            let rule = found.iter().find_map(|ip| self.address_rule(*ip));
            return (found, rule);
        }
        (good, None)
    }

    fn address_rule(&self, ip: IpAddr) -> Option<Rule> {
        let Settings { deny_cidrs, allow_cidrs, .. } = self.settings;
        if let Some(never) = address::never(ip) {
            Some(Rule::Address(never))
        } else if deny_cidrs.iter().any(|range| range.contains(ip))
            || (!allow_cidrs.is_empty() && !allow_cidrs.iter().any(|range| range.contains(ip)))
        {
            Some(Rule::Denied)
        } else if !super::families(self.service).contains(&address::family(ip)) {
            Some(Rule::Family)
        } else {
            None
        }
    }
}

fn distinct(ips: &[IpAddr]) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = ips.iter().copied().map(address::canonical).collect();
    ips.sort();
    ips.dedup();
    ips
}

/// Whether an instance comes from this cluster (contract S7). What consul8s of another cluster registered is an ordinary instance
/// here; what HashiCorp's sync registered doesn't say which cluster it is from, so it may be this one.
fn is_loop(instance: &Instance, identity: &Identity) -> bool {
    let meta = |key: &str| instance.meta.get(key).map(String::as_str);
    let node_cluster = instance.node_meta.get(names::NODE_CLUSTER_UID).map(String::as_str);
    let own_node = node_cluster == Some(&identity.cluster_uid);
    let own_meta = meta(names::META_CLUSTER) == Some(&identity.cluster);
    let of_consul8s = meta(names::META_OWNER).is_some() || node_cluster.is_some();
    let of_hashicorp = !of_consul8s
        && meta(names::META_EXTERNAL_SOURCE) == Some("kubernetes")
        && meta(names::META_K8S_NS).is_some()
        && instance.tags.iter().any(|tag| tag == names::HASHICORP_TAG);
    own_node || own_meta || of_hashicorp
}
