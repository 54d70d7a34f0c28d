//! Which Services are an import's, and which Consul service a Service stands for.

use std::collections::BTreeSet;

use super::{
    Catalog, FINALIZER, IMPORT_FORGOTTEN, IMPORT_UID, Import, Lineage, MANAGED_BY, MANAGED_BY_LABEL, Memory, name,
    select,
};
use crate::consul::HealthQuery;
use crate::intent::labels;
use crate::kube::KubeService;
use crate::names;
use crate::settings::{Direction, Settings};
use crate::time::UnixMillis;

/// The Services that are an import's, by both marks; those that are going are not counted.
pub(super) fn created<'a>(import: &Import, services: &[&'a KubeService]) -> Vec<&'a KubeService> {
    let is_own = |service: &&&KubeService| {
        service.labels.get(MANAGED_BY_LABEL).is_some_and(|manager| manager == MANAGED_BY)
            && service.annotations.get(IMPORT_UID) == Some(&import.uid)
            && !service.deleting
    };
    services.iter().filter(is_own).copied().collect()
}

/// Whether a Service that is an import's still is what the import made: for the Consul service that its name comes from.
pub(super) fn is_for(import: &Import, service: &KubeService, bound: &str) -> bool {
    let datacenter = service.annotations.get(names::SERVICE_DATACENTER).map_or("", String::as_str);
    let template = import.spec.template.name.as_deref().unwrap_or_default();
    if import.spec.datacenter.is_none() && template.contains("{datacenter}") {
        // The agent's own is not known here; the name cannot be told from the Service, but its other marks agree.
        return binding(service) == import.spec.instances(bound);
    }
    let same = name::of(bound, &import.spec, datacenter).is_ok_and(|name| name == service.key.name);
    same && binding(service) == import.spec.instances(bound)
}

/// The Consul service that a Service stands for: one to be filled from Consul, or one that was created.
pub(super) fn binds(service: &KubeService, settings: &Settings) -> Option<HealthQuery> {
    let to_kube = labels::source(service, settings).direction() == Some(Direction::ToKube);
    let was_created = service.annotations.contains_key(IMPORT_UID)
        && service.labels.get(MANAGED_BY_LABEL).is_some_and(|manager| manager == MANAGED_BY);
    (to_kube || was_created).then(|| binding(service))
}

fn binding(service: &KubeService) -> HealthQuery {
    let annotation = |key: &str| service.annotations.get(key).map(|value| value.trim().to_owned());
    HealthQuery {
        name: annotation(names::SERVICE_NAME).unwrap_or_else(|| service.key.name.clone()),
        datacenter: annotation(names::SERVICE_DATACENTER),
        namespace: annotation(names::SERVICE_NAMESPACE),
        partition: annotation(names::SERVICE_PARTITION),
        peer: annotation(names::SERVICE_PEER),
        filter: None,
    }
}

impl Memory {
    /// Takes in a consistent read of the list that an import looks at. Services that it no longer takes are missing.
    pub fn take_in(&mut self, import: &Import, services: &[&KubeService], catalog: &Catalog, now: UnixMillis) {
        let selected = select::of(&import.spec, catalog);
        let missing = created(import, services).into_iter().filter(|service| !is_shown(service, &selected));
        self.read(missing.map(|service| service.key.name.clone()), now);
    }

    /// Takes in what the watch of the list shows: what is there again was not missing all along.
    pub fn note(&mut self, import: &Import, services: &[&KubeService], catalog: &Catalog, lineage: Lineage) {
        let selected = select::of(&import.spec, catalog);
        let own = created(import, services);
        let missing = || own.iter().filter(|service| !is_shown(service, &selected));
        self.lineage(lineage, missing().map(|service| service.key.name.clone()));
        self.forgot(missing().filter(|service| is_forgotten(service)).map(|service| service.key.name.clone()));
        let missing: BTreeSet<&String> = missing().map(|service| &service.key.name).collect();
        self.shown(|name| !missing.iter().any(|service| *service == name));
    }
}

/// Whether it says that Consul has forgotten it.
pub(super) fn is_forgotten(service: &KubeService) -> bool {
    service.annotations.contains_key(IMPORT_FORGOTTEN)
}

fn is_shown(service: &KubeService, selected: &BTreeSet<&str>) -> bool {
    service.annotations.get(names::SERVICE_NAME).is_none_or(|bound| selected.contains(bound.as_str()))
}

/// The finalizers of an import with ours, or without.
#[must_use]
pub fn finalizers(import: &Import, ours: bool) -> Vec<String> {
    let others = import.finalizers.iter().filter(|finalizer| *finalizer != FINALIZER).cloned();
    others.chain(ours.then(|| FINALIZER.to_owned())).collect()
}
