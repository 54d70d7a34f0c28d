//! What a Service that is to be registered in Consul asks for (contract §4).

pub mod consul_k8s;
mod host;
mod meta;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::consul::ServiceId;
use crate::kube::{KubeService, ServicePort};
use crate::names;
use crate::problem::{Problem, Reason, clean};
use crate::settings::Settings;

use super::value;

pub(crate) use host::host;
pub(crate) use meta::MAX_META_VALUE;

/// Everything that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToConsul {
    /// Consul service name.
    pub name: String,
    /// Whether the Service itself says so: Services of two namespaces share a name only when both do.
    pub name_given: bool,
    /// ID of the first address.
    pub id: ServiceId,
    /// ID under which the Python original registered it.
    pub original_id: String,
    /// Which port is registered.
    pub port: PortChoice,
    /// Where addresses come from.
    pub addresses: Addresses,
    /// Tags, each once, in the order given.
    pub tags: Vec<String>,
    /// Meta of the user, and `port-NAME` of the Service's named ports.
    pub meta: BTreeMap<String, String>,
    /// Passing weight.
    pub weight: u16,
    /// Deregister, and stay deregistered.
    pub remove_registration: bool,
    /// What becomes of the registration when the Service is deleted.
    pub on_delete: OnDelete,
    /// Which address of a node is registered.
    pub node_address: NodeAddress,
}

/// Which port is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortChoice {
    /// The Service has none (a headless one needs none): port 0.
    None,
    /// A port of the Service.
    Port(ServicePort),
    /// This number, wherever the address comes from (`consul.hashicorp.com/service-port`).
    Number(u16),
}

/// Where addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Given on the Service: IPs in canonical form and DNS names, each once, in the order given.
    Given(Vec<String>),
    /// From the Service's status, its spec, its nodes or its endpoints.
    From(AddressSource),
}

/// `consul8s/service.address_source`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressSource {
    /// The first of them that gives an address, but for `cluster_ip` and `endpoints`, which not everybody can reach.
    #[default]
    Auto,
    /// `status.loadBalancer.ingress`
    LoadBalancer,
    /// `spec.externalIPs`
    ExternalIp,
    /// The nodes that host an endpoint.
    NodePort,
    /// `spec.clusterIPs`
    ClusterIp,
    /// The endpoints themselves.
    Endpoints,
}

impl AddressSource {
    /// All of them, in the order of the reference.
    pub const ALL: [AddressSource; 6] = [
        AddressSource::Auto,
        AddressSource::LoadBalancer,
        AddressSource::ExternalIp,
        AddressSource::NodePort,
        AddressSource::ClusterIp,
        AddressSource::Endpoints,
    ];

    /// The word for it in annotations and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AddressSource::Auto => "auto",
            AddressSource::LoadBalancer => "load_balancer",
            AddressSource::ExternalIp => "external_ip",
            AddressSource::NodePort => "node_port",
            AddressSource::ClusterIp => "cluster_ip",
            AddressSource::Endpoints => "endpoints",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<AddressSource> {
        AddressSource::ALL.into_iter().find(|source| source.as_str() == word)
    }
}

/// `consul8s/service.on_delete`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// The registration goes with its Service.
    #[default]
    Deregister,
    /// It outlives it.
    Keep,
}

/// `consul8s/service.node_address`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeAddress {
    /// The external address, else the internal one.
    #[default]
    ExternalFirst,
    /// Only the internal one.
    Internal,
    /// Only the external one.
    External,
}

/// Reads the annotations: the wish with its warnings, or all that is wrong. A key that doesn't exist is told elsewhere.
pub fn parse(service: &KubeService, settings: &Settings) -> Result<(ToConsul, Vec<Problem>), Vec<Problem>> {
    let mut reader = Reader {
        annotations: &service.annotations,
        consul_k8s: settings.consul_k8s,
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    consul_k8s::check_sync(&mut reader);
    let wish = read(&mut reader, service, settings);
    match wish {
        Some(wish) if reader.errors.is_empty() => Ok((wish, reader.warnings)),
        _ => Err(reader.errors),
    }
}

fn read(reader: &mut Reader<'_>, service: &KubeService, settings: &Settings) -> Option<ToConsul> {
    let given_name = reader.get_either(names::SERVICE_NAME, service_name, consul_k8s::NAME, consul_k8s::name);
    let name_given = given_name.is_some();
    let name = given_name.or_else(|| templated_name(reader, service, settings));
    let given_id = reader.get(names::SERVICE_ID, service_name);
    let original_id = given_id.clone().or_else(|| name.clone());
    let id = given_id.unwrap_or_else(|| format!("{}.{}", service.key.namespace, service.key.name));
    let port = port_choice(reader, service);
    let addresses = host::addresses(reader, settings);
    let tags = reader.get_either(names::SERVICE_TAGS, |text| Ok(value::list(text)), consul_k8s::TAGS, consul_k8s::tags);
    let tags = each_once(tags.as_ref().unwrap_or(&settings.default_tags));
    let meta = meta::meta(reader, service);
    let weight = reader.get(names::SERVICE_WEIGHT, weight).or_else(|| consul_k8s::weight(reader)).unwrap_or(1);
    let remove_registration = reader.get(names::SERVICE_REMOVE_REGISTRATION, value::boolean).unwrap_or(false);
    let on_delete = reader.get(names::SERVICE_ON_DELETE, on_delete).unwrap_or_default();
    let node_address = reader.get(names::SERVICE_NODE_ADDRESS, node_address).unwrap_or_default();
    // Only here may a missing piece end it: all that is wrong has been told.
    Some(ToConsul {
        name: name?,
        name_given,
        id: ServiceId::new(id)?,
        original_id: original_id?,
        port: port?,
        addresses,
        tags,
        meta,
        weight,
        remove_registration,
        on_delete,
        node_address,
    })
}

/// Annotations, and what was found wrong with them.
struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    /// Whether those of HashiCorp's catalog sync count too.
    consul_k8s: bool,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn get<T>(&mut self, key: &str, accept: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.annotations.get(key)?;
        match accept(text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.errors.push(value::invalid(key, text, &why));
                None
            }
        }
    }

    /// Our annotation, or else that of HashiCorp's catalog sync.
    fn get_either<T>(
        &mut self,
        ours: &str,
        accept: impl FnOnce(&str) -> Result<T, String>,
        theirs: &str,
        accept_theirs: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.annotations.contains_key(ours) || !self.consul_k8s {
            self.get(ours, accept)
        } else {
            self.get(theirs, accept_theirs)
        }
    }

    /// An annotation of HashiCorp's catalog sync, where those count and ours doesn't stand.
    fn theirs(&self, ours: &str, theirs: &str) -> Option<&'a str> {
        let counts = self.consul_k8s && !self.annotations.contains_key(ours);
        counts.then(|| self.annotations.get(theirs)).flatten().map(String::as_str)
    }
}

/// Longest name and ID in characters: Consul's own limit for a service name where it checks one.
const MAX_NAME: usize = 255;

fn service_name(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_NAME {
        return Err(format!("is longer than {MAX_NAME} characters"));
    }
    value::service_name(text)
}

fn templated_name(reader: &mut Reader<'_>, service: &KubeService, settings: &Settings) -> Option<String> {
    if !reader.errors.is_empty() {
        return None; // A name is given and was refused.
    }
    let name = settings
        .name_template
        .replace("{namespace}", &service.key.namespace)
        .replace("{cluster}", &settings.identity.cluster)
        .replace("{name}", &service.key.name);
    match service_name(&name) {
        Ok(name) => Some(name),
        Err(why) => {
            let message = format!(
                "the name that --name-template gives, \"{}\", {why}; set {}",
                clean(&name, 80),
                names::SERVICE_NAME
            );
            reader.errors.push(Problem::new(Reason::InvalidAnnotation, message));
            None
        }
    }
}

fn port_choice(reader: &mut Reader<'_>, service: &KubeService) -> Option<PortChoice> {
    let first = || service.ports.first().cloned().map_or(PortChoice::None, PortChoice::Port);
    let Some(wanted) = reader.annotations.get(names::SERVICE_PORT_NAME) else {
        return consul_k8s::port(reader, service).unwrap_or_else(|| Some(first()));
    };
    let found = service.ports.iter().find(|port| port.name == wanted.trim());
    if found.is_none() {
        let stays = "what is registered stays as it is";
        reader.errors.push(no_such_port(names::SERVICE_PORT_NAME, wanted, service, stays));
    }
    found.cloned().map(PortChoice::Port)
}

fn no_such_port(key: &str, wanted: &str, service: &KubeService, so: &str) -> Problem {
    let named: Vec<&str> =
        service.ports.iter().map(|port| port.name.as_str()).filter(|name| !name.is_empty()).collect();
    let ways = if named.is_empty() {
        "its ports have no names, so remove the annotation".to_owned()
    } else {
        format!("its ports are {}", clean(&named.join(", "), 300))
    };
    let message = format!("annotation {key}: the Service has no port named \"{}\": {ways}; {so}", clean(wanted, 80));
    Problem::new(Reason::PortNameNotFound, message)
}

fn each_once(list: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(list.len());
    for element in list {
        if !out.contains(element) {
            out.push(element.clone());
        }
    }
    out
}

fn weight(text: &str) -> Result<u16, String> {
    value::port(text.trim()).map_err(|_| "is not a weight between 1 and 65535".to_owned())
}

fn on_delete(text: &str) -> Result<OnDelete, String> {
    match text.trim() {
        "deregister" => Ok(OnDelete::Deregister),
        "keep" => Ok(OnDelete::Keep),
        _ => Err("is none of deregister, keep".to_owned()),
    }
}

fn node_address(text: &str) -> Result<NodeAddress, String> {
    match text.trim() {
        "external_first" => Ok(NodeAddress::ExternalFirst),
        "internal" => Ok(NodeAddress::Internal),
        "external" => Ok(NodeAddress::External),
        _ => Err("is none of external_first, internal, external".to_owned()),
    }
}
