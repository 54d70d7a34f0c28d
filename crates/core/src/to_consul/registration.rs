//! What one registration holds.

use std::collections::BTreeMap;

use crate::consul::{Registration, ServiceId};
use crate::intent::to_consul::{MAX_META_VALUE, OnDelete, ToConsul};
use crate::kube::{KubeService, ObjectKey};
use crate::names;

use super::candidate::{Candidate, Subject};
use super::nodes::{Marks, Standing};
use super::readiness::Verdict;
use super::release;

/// A registration with everything that the contract asks for; its node is chosen later.
pub(super) fn registration(
    service: &KubeService,
    wish: &ToConsul,
    candidate: &Candidate,
    id: ServiceId,
    (status, output): Verdict,
    marks: &Marks<'_>,
) -> Registration {
    Registration {
        node: String::new(),
        id,
        name: wish.name.clone(),
        address: candidate.address.clone(),
        port: candidate.port,
        tags: wish.tags.clone(),
        meta: meta(service, wish, candidate, marks),
        weight: wish.weight,
        status,
        output,
    }
}

fn meta(service: &KubeService, wish: &ToConsul, candidate: &Candidate, marks: &Marks<'_>) -> BTreeMap<String, String> {
    let ObjectKey { namespace, name } = &service.key;
    let endpoint = matches!(candidate.subject, Subject::Endpoint { .. });
    let (kind, of) = candidate.target.as_ref().map_or(("Service", name), |(kind, name)| (kind.as_str(), name));
    let mut meta = wish.meta.clone();
    // Consul refuses a longer value, and with it the registration; only a slice's author can write such a zone.
    let mut set = |key: &str, value: &str| {
        if value.len() <= MAX_META_VALUE {
            meta.insert(key.to_owned(), value.to_owned());
        }
    };
    set(names::META_EXTERNAL_SOURCE, "kubernetes");
    set(names::META_K8S_NS, namespace);
    set(names::META_K8S_REF_KIND, kind);
    set(names::META_K8S_REF_NAME, of);
    set(names::META_OWNER, &marks.identity.owner);
    set(names::META_CLUSTER, &marks.identity.cluster);
    set(names::META_UID, &service.uid);
    set(names::META_RV, &service.resource_version);
    if endpoint {
        set(names::META_SERVICE, name);
    }
    if let Some(node) = &candidate.node {
        set(names::META_K8S_NODE, node);
    }
    if let Some(zone) = &candidate.zone {
        set(names::META_K8S_ZONE, zone);
    }
    if wish.on_delete == OnDelete::Keep {
        set(names::META_ON_DELETE, "keep");
    }
    if release::says_all(service) {
        set(names::META_ALLOW_REMOVAL, "used");
    }
    meta
}

/// What stands, with another check; none where somebody has made of it what can't be written back.
pub(super) fn as_it_stands(standing: &Standing<'_>, (status, output): Verdict) -> Option<Registration> {
    let service = standing.service;
    Some(Registration {
        node: standing.node.to_owned(),
        id: ServiceId::new(service.id.clone())?,
        name: service.name.clone(),
        address: service.address.clone(),
        port: u16::try_from(service.port).ok()?,
        tags: service.tags.clone(),
        meta: service.meta.clone(),
        weight: u16::try_from(service.weight).ok()?,
        status,
        output,
    })
}
