//! The Service that is created for a service of the catalog.

use std::collections::BTreeMap;

use super::{IMPORT, IMPORT_UID, Import, MANAGED_BY, MANAGED_BY_LABEL};
use crate::consul::Instance;
use crate::kube::{Family, ObjectKey, ServicePort};
use crate::names;

/// What was read of a service before a Service is made for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// It may have one; with the number that most instances have.
    Fit(Option<u16>),
    /// It may not: a mesh proxy or gateway, of Kubernetes origin, or without any instance.
    Unfit,
}

impl Candidate {
    /// Judges by its instances: one that is neither of the mesh nor of Kubernetes origin is enough.
    #[must_use]
    pub fn of(service: &str, instances: &[Instance]) -> Candidate {
        let fit: Vec<&Instance> = instances.iter().filter(|one| one.name == service && is_ordinary(one)).collect();
        if fit.is_empty() {
            return Candidate::Unfit;
        }
        let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
        for port in fit.iter().filter_map(|one| u16::try_from(one.port).ok()).filter(|port| *port > 0) {
            *counts.entry(port).or_insert(0) += 1;
        }
        // Of numbers that are as frequent, the lowest.
        let most = counts.iter().max_by(|(a, m), (b, n)| m.cmp(n).then(b.cmp(a)));
        Candidate::Fit(most.map(|(port, _)| *port))
    }
}

fn is_ordinary(instance: &Instance) -> bool {
    let of_kubernetes = instance.meta.get(names::META_EXTERNAL_SOURCE).is_some_and(|source| source == "kubernetes")
        || instance.meta.contains_key(names::META_K8S_NS)
        || instance.meta.contains_key(names::META_OWNER)
        || instance.node_meta.contains_key(names::NODE_OWNER);
    matches!(instance.kind.as_str(), "" | "typical") && !of_kubernetes
}

/// Annotations that say where a service is read.
const WHERE: [&str; 4] =
    [names::SERVICE_DATACENTER, names::SERVICE_NAMESPACE, names::SERVICE_PARTITION, names::SERVICE_PEER];

/// A Service that is to be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewService {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `type: ExternalName` and where it points.
    pub external_name: Option<String>,
    /// `clusterIP: None`.
    pub headless: bool,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// `ipFamilies`.
    pub ip_families: Vec<Family>,
    /// `ipFamilyPolicy`.
    pub ip_family_policy: Option<String>,
    /// `trafficDistribution`.
    pub traffic_distribution: Option<String>,
}

/// The Service `name` for `service`.
///
/// # Errors
/// Why it can't be made.
pub(super) fn new(
    import: &Import,
    service: &str,
    name: &str,
    port: Option<u16>,
    domain: &str,
) -> Result<NewService, String> {
    let (spec, template) = (&import.spec, &import.spec.template);
    let mut labels = template.labels.clone();
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
    let mut annotations = template.annotations.clone();
    // Where it is read says the import, also by what it leaves out.
    annotations.retain(|key, _| !WHERE.contains(&key.as_str()));
    let ours = [
        (names::SERVICE_NAME, Some(service)),
        (names::SERVICE_DATACENTER, spec.datacenter.as_deref()),
        (names::SERVICE_NAMESPACE, spec.namespace.as_deref()),
        (names::SERVICE_PARTITION, spec.partition.as_deref()),
        (names::SERVICE_PEER, spec.peer.as_deref()),
        (IMPORT_UID, Some(import.uid.as_str())),
    ];
    let key = import.key.to_string();
    let ours = ours.into_iter().filter_map(|(key, value)| Some((key, value?))).chain([(IMPORT, key.as_str())]);
    annotations.extend(ours.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let mut new = NewService {
        key: ObjectKey::new(import.key.namespace.clone(), name),
        labels,
        annotations,
        ..NewService::default()
    };
    new.ports = ports(import, port)?;
    if template.external_name {
        new.labels.remove(names::LABEL_SOURCE);
        new.labels.remove(names::LABEL_REGISTRATION);
        new.external_name = Some(dns_name(service, spec.datacenter.as_deref(), domain)?);
        return Ok(new);
    }
    new.labels.insert(names::LABEL_SOURCE.to_owned(), "consul".to_owned());
    new.headless = template.headless;
    new.ip_families.clone_from(&template.ip_families);
    new.ip_family_policy.clone_from(&template.ip_family_policy);
    new.traffic_distribution.clone_from(&template.traffic_distribution);
    Ok(new)
}

fn ports(import: &Import, found: Option<u16>) -> Result<Vec<ServicePort>, String> {
    let template = &import.spec.template;
    if !template.ports.is_empty() {
        return Ok(template.ports.clone());
    }
    match found {
        Some(port) => Ok(vec![ServicePort { name: "default".to_owned(), port, ..ServicePort::default() }]),
        None if template.headless || template.external_name => Ok(Vec::new()),
        None => Err("none of its instances has a port; give spec.template.spec.ports".to_owned()),
    }
}

fn dns_name(service: &str, datacenter: Option<&str>, domain: &str) -> Result<String, String> {
    let datacenter = datacenter.map(|name| format!("{name}.")).unwrap_or_default();
    let name = format!("{service}.service.{datacenter}{}", domain.trim_matches('.')).to_ascii_lowercase();
    let legal = |label: &str| {
        let inside = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inside && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(legal) {
        return Ok(name);
    }
    Err(format!("{} is no name that DNS can hold", crate::problem::clean(&name, 300)))
}
