//! Address source `node_port`: the nodes that host an endpoint of the Service.

use std::collections::BTreeSet;

use crate::evidence::UserIntent;
use crate::intent::Intent;
use crate::intent::to_consul::{AddressSource, Addresses, NodeAddress, PortChoice, ToConsul, host};
use crate::kube::{KubeNode, KubeService, NodeAddressKind, ServiceType};
use crate::names;
use crate::settings::Direction;

use super::candidate::{Candidate, Candidates, LeftOut, Subject};
use super::cluster::Cluster;
use super::nodes::Standing;

/// Whether the plan of a Service rests on the nodes of the cluster, for an address or for the check of what stands. Where it does, it
/// must not be made before they are known: a node that is not known looks like one that is gone.
#[must_use]
pub fn needed(
    service: &KubeService,
    intent: &Intent,
    last_valid: Option<&ToConsul>,
    standing: &[Standing<'_>],
) -> bool {
    let wish = match intent {
        Intent::ToConsul(wish) => Some(wish),
        Intent::Frozen(Some(Direction::ToConsul) | None) => last_valid,
        Intent::None(_)
        | Intent::Forbidden(_)
        | Intent::Suspended(_)
        | Intent::Frozen(_)
        | Intent::Yield
        | Intent::ToKube(_) => return false,
    };
    if service.deleting || wish.is_some_and(|wish| wish.remove_registration) {
        return false;
    }
    let stands = standing.iter().any(|standing| matches!(Subject::of(standing.service), Subject::Node(_)));
    stands || wish.is_some_and(|wish| asked_for(service, wish))
}

fn asked_for(service: &KubeService, wish: &ToConsul) -> bool {
    let balancers = service.load_balancer.iter().filter_map(|entry| entry.ip.as_ref().or(entry.hostname.as_ref()));
    let given = || balancers.chain(&service.external_ips).any(|text| host(text).is_ok());
    match wish.addresses {
        Addresses::From(AddressSource::NodePort) => true,
        Addresses::From(AddressSource::Auto) => service.service_type == ServiceType::NodePort && !given(),
        Addresses::Given(_) | Addresses::From(_) => false,
    }
}

/// Nodes in the order of their names; a node's registration follows when its address changes.
#[must_use]
pub fn find(service: &KubeService, wish: &ToConsul, cluster: &Cluster<'_>) -> Candidates {
    let mut found = Candidates { gone_because: Some(UserIntent::AddressGone), ..Candidates::default() };
    let Some(port) = number(service, &wish.port) else { return found };
    if cluster.unknown() {
        found.gone_because = None;
        return found;
    }
    let hosting: BTreeSet<&str> =
        cluster.endpoints().filter_map(|(endpoint, _)| endpoint.node_name.as_deref()).collect();
    for name in hosting {
        match candidate(name, port, wish.node_address, cluster) {
            Ok(candidate) => found.wanted.push(candidate),
            Err(why) => found.left_out.push((format!("node {name}"), why)),
        }
    }
    found
}

/// Why there is none, for the message of `NoAddress`.
#[must_use]
pub fn why_none(service: &KubeService, wish: &ToConsul) -> String {
    if number(service, &wish.port).is_none() {
        return "the port has no node port; the Service's type must be NodePort or LoadBalancer".to_owned();
    }
    format!(
        "no node hosts an endpoint of it and has an address of the kind that {} asks for",
        names::SERVICE_NODE_ADDRESS
    )
}

fn number(service: &KubeService, port: &PortChoice) -> Option<u16> {
    match port {
        PortChoice::None => None,
        PortChoice::Port(port) => port.node_port,
        PortChoice::Number(number) => service.ports.iter().any(|port| port.node_port.is_some()).then_some(*number),
    }
}

fn candidate(name: &str, port: u16, kind: NodeAddress, cluster: &Cluster<'_>) -> Result<Candidate, LeftOut> {
    let (node, _) = cluster.nodes.get(name).ok_or(LeftOut::UnknownNode)?;
    let excluded = node.labels.contains_key(names::LABEL_EXCLUDE_NODE)
        || node.taints.iter().any(|taint| taint == names::TAINT_TO_BE_DELETED);
    if excluded {
        return Err(LeftOut::ExcludedNode);
    }
    let text = address(node, kind).ok_or(LeftOut::NodeAddress)?;
    Ok(Candidate {
        subject: Subject::Node(name.to_owned()),
        address: host(text).map_err(|_| LeftOut::Address)?,
        port,
        node: Some(name.to_owned()),
        zone: node.labels.get(names::LABEL_ZONE).cloned(),
        target: None,
    })
}

fn address(node: &KubeNode, kind: NodeAddress) -> Option<&str> {
    let first = |wanted| node.addresses.iter().find(|(kind, _)| *kind == wanted).map(|(_, text)| text.as_str());
    match kind {
        NodeAddress::ExternalFirst => first(NodeAddressKind::External).or_else(|| first(NodeAddressKind::Internal)),
        NodeAddress::Internal => first(NodeAddressKind::Internal),
        NodeAddress::External => first(NodeAddressKind::External),
    }
}
