//! Where the addresses of a Service come from (contract §4).

use crate::evidence::UserIntent;
use crate::intent::to_consul::{AddressSource, Addresses, PortChoice, ToConsul, host};
use crate::kube::{KubeService, ServiceType};
use crate::names;
use crate::problem::{Problem, Reason, clean};

use super::candidate::{Candidate, Candidates, LeftOut, Subject};
use super::cluster::Cluster;
use super::{endpoints, node_port};

/// What is to be registered.
#[must_use]
pub fn find(service: &KubeService, wish: &ToConsul, cluster: &Cluster<'_>) -> Candidates {
    if service.service_type == ServiceType::ExternalName {
        return unsupported();
    }
    let mut found = match &wish.addresses {
        Addresses::Given(hosts) => of_service(hosts.iter().map(|host| (host.clone(), Ok(host.clone()))), &wish.port),
        Addresses::From(AddressSource::Auto) => auto(service, wish, cluster),
        Addresses::From(AddressSource::LoadBalancer) => load_balancer(service, &wish.port),
        Addresses::From(AddressSource::ExternalIp) => external_ips(service, &wish.port),
        Addresses::From(AddressSource::NodePort) => node_port::find(service, wish, cluster),
        Addresses::From(AddressSource::ClusterIp) => cluster_ips(service, &wish.port),
        Addresses::From(AddressSource::Endpoints) => endpoints::find(wish, cluster),
    };
    if found.wanted.is_empty() && found.gone_because.is_some() && found.problems.is_empty() {
        found.problems.extend(no_address(service, wish));
    }
    found
}

fn unsupported() -> Candidates {
    let message = "type ExternalName has no address of its own to register; make it a ClusterIP Service without selector, and give \
                   the name in consul8s/service.address";
    Candidates {
        problems: vec![Problem::new(Reason::UnsupportedType, message)],
        gone_because: Some(UserIntent::Unsupported),
        ..Candidates::default()
    }
}

/// The first that gives an address. Cluster IPs and pods are not among them: whether Consul's clients can reach those, only the user
/// knows.
fn auto(service: &KubeService, wish: &ToConsul, cluster: &Cluster<'_>) -> Candidates {
    let mut left_out = Vec::new();
    let mut problems = Vec::new();
    for found in [load_balancer(service, &wish.port), external_ips(service, &wish.port)] {
        if !found.wanted.is_empty() {
            return found;
        }
        left_out.extend(found.left_out);
        problems.extend(found.problems);
    }
    let mut found = match service.service_type {
        ServiceType::NodePort => node_port::find(service, wish, cluster),
        ServiceType::ClusterIp | ServiceType::LoadBalancer | ServiceType::ExternalName => {
            Candidates { gone_because: Some(UserIntent::AddressGone), ..Candidates::default() }
        }
    };
    found.left_out.extend(left_out);
    found.problems.extend(problems);
    found
}

fn load_balancer(service: &KubeService, port: &PortChoice) -> Candidates {
    // Where a provider gives both, the IP is what answers.
    let shown = service.load_balancer.iter().filter_map(|entry| entry.ip.as_ref().or(entry.hostname.as_ref()));
    of_service(shown.map(|text| (text.clone(), host(text))), port)
}

fn external_ips(service: &KubeService, port: &PortChoice) -> Candidates {
    of_service(service.external_ips.iter().map(|text| (text.clone(), host(text))), port)
}

fn cluster_ips(service: &KubeService, port: &PortChoice) -> Candidates {
    of_service(service.cluster_ips.iter().map(|text| (text.clone(), host(text))), port)
}

/// Addresses of the Service itself, under the Service's port. One that can't be registered is told and left out, the others stay.
fn of_service(hosts: impl Iterator<Item = (String, Result<String, String>)>, port: &PortChoice) -> Candidates {
    let port = match port {
        PortChoice::None => 0,
        PortChoice::Port(port) => port.port,
        PortChoice::Number(number) => *number,
    };
    let mut found = Candidates { gone_because: Some(UserIntent::AddressGone), ..Candidates::default() };
    for (text, host) in hosts {
        match host {
            Ok(address) => {
                let subject = Subject::Address(address.clone());
                if !found.wanted.iter().any(|candidate| candidate.subject == subject) {
                    found.wanted.push(Candidate { subject, address, port, node: None, zone: None, target: None });
                }
            }
            Err(why) => {
                let shown = clean(&text, 80);
                let message = format!("address \"{shown}\" {why}; it is left out");
                found.problems.push(Problem::new(Reason::AddressRejected, message));
                found.left_out.push((shown, LeftOut::Address));
            }
        }
    }
    found
}

/// Says why there is none, and every way out.
fn no_address(service: &KubeService, wish: &ToConsul) -> Option<Problem> {
    let source = match wish.addresses {
        Addresses::Given(_) => return None,
        Addresses::From(source) => source,
    };
    let why = match source {
        AddressSource::Auto | AddressSource::LoadBalancer if service.service_type == ServiceType::LoadBalancer => {
            "the load balancer is still pending: status.loadBalancer has no address yet".to_owned()
        }
        AddressSource::Auto => "the Service has no address that is reachable from everywhere".to_owned(),
        AddressSource::LoadBalancer => "status.loadBalancer has no address; its type is not LoadBalancer".to_owned(),
        AddressSource::ExternalIp => "spec.externalIPs is empty".to_owned(),
        AddressSource::ClusterIp if service.headless => "a headless Service has no cluster IP".to_owned(),
        AddressSource::ClusterIp => "the Service has no cluster IP yet".to_owned(),
        AddressSource::NodePort => node_port::why_none(service, wish),
        AddressSource::Endpoints => return None, // Scaled to zero is no mistake.
    };
    let ways = match source {
        AddressSource::Auto => format!(
            "; give one in {} or {}, or set {} to cluster_ip (reachable where cluster IPs are routed) or endpoints (the pods' own)",
            names::SERVICE_ADDRESS,
            names::DOMAIN_NAME,
            names::SERVICE_ADDRESS_SOURCE
        ),
        _ => format!("; give one in {}, or choose another {}", names::SERVICE_ADDRESS, names::SERVICE_ADDRESS_SOURCE),
    };
    Some(Problem::new(Reason::NoAddress, why + &ways))
}
