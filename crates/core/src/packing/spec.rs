//! What a slice is to be, and whether it is that already.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::evidence::{Drift, Evidence};
use crate::guard::{self, Mark};
use crate::kube::{AddressType, Endpoint, Family, KubeSlice, ObjectKey, OwnerRef, SliceSpec};
use crate::names;
use crate::to_kube::{EndpointId, PortPlan, Ports, behind};

use super::Input;
use super::change::{Gone, Removed, SliceChange};
use super::fill::Slot;

/// Labels that a Service can't hand on to its slices.
const RESERVED: [&str; 3] = [names::LABEL_SERVICE_NAME, names::LABEL_MANAGED_BY, names::LABEL_HEADLESS];

/// What all slices of a Service have in common.
pub(super) struct Template<'a> {
    ports: &'a PortPlan<'a>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    owner: OwnerRef,
}

impl<'a> Template<'a> {
    pub(super) fn new(input: &Input<'a>, ports: &'a PortPlan<'a>) -> Template<'a> {
        let service = input.service;
        let handed_on = service.labels.iter().filter(|(key, _)| !RESERVED.contains(&key.as_str()));
        let mut labels: BTreeMap<String, String> = handed_on.map(|(k, v)| (k.clone(), v.clone())).collect();
        labels.insert(names::LABEL_SERVICE_NAME.to_owned(), service.key.name.clone());
        labels.insert(names::LABEL_MANAGED_BY.to_owned(), names::MANAGED_BY.to_owned());
        if service.headless {
            labels.insert(names::LABEL_HEADLESS.to_owned(), String::new());
        }
        let identity = &input.settings.identity;
        let annotations = BTreeMap::from([
            (names::SLICE_OWNER.to_owned(), identity.owner.clone()),
            (names::SLICE_INSTALLATION.to_owned(), identity.installation.clone()),
        ]);
        let owner = OwnerRef { kind: "Service".to_owned(), name: service.key.name.clone(), uid: service.uid.clone() };
        Template { ports, labels, annotations, owner }
    }

    /// The changes that make the slots true, and remove the slices that nothing claims.
    pub(super) fn write(
        &self,
        input: &Input<'_>,
        slots: Vec<(Option<&Ports>, Family, Slot<'_>)>,
        strays: &[&KubeSlice],
    ) -> Vec<SliceChange> {
        // The word that `allow-removal: true` was used stands on one slice: the one that has it, else the first by name.
        let stays = slots.iter().filter(|(ports, _, slot)| ports.is_none() || !slot.endpoints.is_empty());
        let first = stays.map(|(_, _, slot)| (!bears_used(slot), slot.name.clone())).min().map(|(_, name)| name);
        let mut changes = Vec::new();
        for (ports, family, slot) in slots {
            let used = input.judged.used && Some(&slot.name) == first.as_ref();
            match slot.slice {
                Some(slice) if ports.is_some() && slot.endpoints.is_empty() => {
                    changes.push(SliceChange::delete(slice, Gone::Emptied(removed(input, slice))));
                }
                standing => {
                    let spec = self.spec(input, ports, family, &slot, used);
                    changes.extend(change(input, standing, spec));
                }
            }
        }
        changes.extend(strays.iter().map(|slice| SliceChange::delete(slice, Gone::Emptied(removed(input, slice)))));
        changes
    }

    fn spec(&self, input: &Input<'_>, ports: Option<&Ports>, family: Family, slot: &Slot<'_>, used: bool) -> SliceSpec {
        // Annotations that others put on our slices are theirs: overwriting them would be a war about nothing.
        let theirs = slot.slice.iter().flat_map(|slice| &slice.annotations).filter(|(key, _)| !is_ours(key));
        let mut annotations: BTreeMap<String, String> = theirs.map(|(k, v)| (k.clone(), v.clone())).collect();
        annotations.extend(self.annotations.clone());
        let kept = || slot.slice.and_then(|slice| slice.annotations.get(names::SLICE_APPLIED)).cloned();
        if let Some(applied) = input.judged.plan.applied.clone().or_else(kept) {
            annotations.insert(names::SLICE_APPLIED.to_owned(), applied);
        }
        let marked = |id: &EndpointId| Some((id.address, input.judged.marks.get(id)?.clone()));
        let marks: BTreeMap<IpAddr, Mark> = slot.endpoints.iter().filter_map(|(id, _)| marked(id)).collect();
        if let Some(text) = guard::print_marks(&marks, used) {
            annotations.insert(names::SLICE_ABSENT_SINCE.to_owned(), text);
        }
        let nodes = slot.endpoints.iter().filter_map(|(id, _)| Some((id.address, node_of(input, id)?)));
        if let Some(text) = behind::print(&nodes.collect()) {
            annotations.insert(names::SLICE_NODES.to_owned(), text);
        }
        SliceSpec {
            key: ObjectKey::new(input.service.key.namespace.clone(), slot.name.clone()),
            family,
            labels: self.labels.clone(),
            annotations,
            owner: self.owner.clone(),
            endpoints: slot.endpoints.iter().map(|(_, endpoint)| (*endpoint).clone()).collect(),
            ports: ports.map(|ports| self.ports.slice_ports(ports)).unwrap_or_default(),
            trigger: input.trigger,
        }
    }
}

/// The node that an endpoint is on.
fn node_of<'a>(input: &Input<'a>, id: &EndpointId) -> Option<&'a str> {
    let wanted = input.judged.plan.wanted.get(id);
    let instance = wanted.and_then(|wanted| wanted.instance.as_ref());
    instance.map(|instance| instance.node.as_str()).or_else(|| input.judged.nodes.get(id).map(String::as_str))
}

fn bears_used(slot: &Slot<'_>) -> bool {
    let text = slot.slice.and_then(|slice| slice.annotations.get(names::SLICE_ABSENT_SINCE));
    text.is_some_and(|text| guard::parse_marks(text).1)
}

/// Whether an annotation of a slice is ours to write; the trigger time is written beside the others.
fn is_ours(key: &str) -> bool {
    key.starts_with(names::ANNOTATION_PREFIX) || key == names::TRIGGER_TIME
}

/// The write that makes a slice what it is to be; none when it is that already.
fn change(input: &Input<'_>, standing: Option<&KubeSlice>, spec: SliceSpec) -> Option<SliceChange> {
    let Some(slice) = standing else { return Some(SliceChange::Create(spec)) };
    if is_that(slice, &spec) {
        return None;
    }
    let had: BTreeSet<&str> = slice.endpoints.iter().map(|e| e.address.as_str()).collect();
    Some(SliceChange::Update {
        uid: slice.uid.clone(),
        resource_version: slice.resource_version.clone(),
        added: spec.endpoints.iter().filter(|e| !had.contains(e.address.as_str())).count(),
        removed: removed(input, slice),
        spec,
    })
}

fn is_that(slice: &KubeSlice, spec: &SliceSpec) -> bool {
    // Destructured, so that a new field cannot be forgotten here.
    let SliceSpec { key, family, labels, annotations, owner, endpoints, ports, trigger: _ } = spec;
    // A slice of an older version says nothing of nodes. It gets them when it is written for another reason.
    let silent = !slice.annotations.contains_key(names::SLICE_NODES);
    let passed_over = |key: &str| key == names::TRIGGER_TIME || (silent && key == names::SLICE_NODES);
    let written = || slice.annotations.iter().filter(|(key, _)| !passed_over(key));
    let wanted = annotations.iter().filter(|(key, _)| !passed_over(key));
    slice.key == *key
        && slice.address_type == AddressType::Ip(*family)
        && slice.labels == *labels
        && written().eq(wanted)
        && slice.owners.contains(owner)
        && slice.endpoints == *endpoints
        && slice.ports == *ports
}

/// The endpoints of a slice that go altogether, each with its evidence. What no plan of ours knows was never wanted.
fn removed(input: &Input<'_>, slice: &KubeSlice) -> Vec<Removed> {
    let ports = Ports::standing(&slice.ports);
    let identify = |endpoint: &Endpoint| EndpointId::standing(slice, endpoint, ports.as_ref()?);
    let mut removed = Vec::new();
    for endpoint in &slice.endpoints {
        let id = identify(endpoint);
        let stays = |id: &EndpointId| input.judged.plan.wanted.contains_key(id) || input.judged.kept.contains_key(id);
        if id.as_ref().is_some_and(stays) {
            continue;
        }
        let known = id.and_then(|id| input.judged.removed.get(&id).cloned());
        let evidence = known.unwrap_or_else(|| Evidence::NeverWanted(Drift::seen()));
        removed.push(Removed { address: endpoint.address.clone(), evidence });
    }
    removed
}
