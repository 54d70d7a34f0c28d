//! Address source `endpoints`: the endpoints of the Service themselves, pods as a rule.

use std::collections::BTreeMap;

use crate::evidence::UserIntent;
use crate::intent::to_consul::{PortChoice, ToConsul, host};
use crate::kube::{AddressType, Endpoint, SlicePort};

use super::candidate::{Candidate, Candidates, LeftOut, Subject};
use super::cluster::Cluster;

/// Endpoints in the order of address and port. The same address in two slices is one endpoint, for the registration as for its
/// readiness.
#[must_use]
pub fn find(wish: &ToConsul, cluster: &Cluster<'_>) -> Candidates {
    let mut found =
        Candidates { gone_because: (!cluster.unknown()).then_some(UserIntent::AddressGone), ..Candidates::default() };
    for slice in cluster.slices.iter().filter(|slice| slice.address_type == AddressType::Fqdn) {
        found.left_out.extend(slice.endpoints.iter().map(|endpoint| (endpoint.address.clone(), LeftOut::Fqdn)));
    }
    let mut wanted: BTreeMap<Subject, Candidate> = BTreeMap::new();
    for (endpoint, ports) in cluster.endpoints() {
        match candidate(endpoint, ports, wish, cluster) {
            Ok(candidate) => merge(&mut wanted, candidate),
            Err(why) => found.left_out.push((endpoint.address.clone(), why)),
        }
    }
    found.wanted = wanted.into_values().collect();
    found.left_out.sort();
    found.left_out.dedup();
    found
}

/// What is known about an endpoint in one of its slices is known; of two answers the one that doesn't depend on the slices' order.
fn merge(wanted: &mut BTreeMap<Subject, Candidate>, candidate: Candidate) {
    match wanted.get_mut(&candidate.subject) {
        None => {
            wanted.insert(candidate.subject.clone(), candidate);
        }
        Some(known) => {
            known.node = candidate.node.max(known.node.take());
            known.zone = candidate.zone.max(known.zone.take());
            known.target = candidate.target.max(known.target.take());
        }
    }
}

fn candidate(
    endpoint: &Endpoint,
    ports: &[SlicePort],
    wish: &ToConsul,
    cluster: &Cluster<'_>,
) -> Result<Candidate, LeftOut> {
    if endpoint.terminating {
        return Err(LeftOut::Terminating);
    }
    if cluster.from_consul.contains(endpoint.address.as_str()) {
        return Err(LeftOut::Loop);
    }
    let address = host(&endpoint.address).map_err(|_| LeftOut::Address)?;
    let port = port(ports, &wish.port)?;
    let target = endpoint.target.as_ref().and_then(|target| target.split_once('/'));
    Ok(Candidate {
        subject: Subject::Endpoint { address: address.clone(), port },
        address,
        port,
        node: endpoint.node_name.clone(),
        zone: endpoint.zone.clone(),
        target: target.map(|(kind, name)| (kind.to_owned(), name.to_owned())),
    })
}

/// The number behind the Service port: slices name their ports as the Service does.
pub(super) fn port(ports: &[SlicePort], choice: &PortChoice) -> Result<u16, LeftOut> {
    match choice {
        PortChoice::None => Ok(0),
        PortChoice::Number(number) => Ok(*number),
        PortChoice::Port(wanted) => {
            let of_name = ports.iter().find(|port| port.name == wanted.name);
            let number = of_name.and_then(|port| port.port).and_then(|number| u16::try_from(number).ok());
            number.filter(|number| *number > 0).ok_or(LeftOut::Port)
        }
    }
}
