//! From endpoints to slices, with the least change (contract §2, "Slices").
//!
//! 1. Endpoints are grouped by family and ports: all endpoints of a slice share its ports. A group is found again by the hash in the
//!    names of its slices.
//! 2. What stands and stays keeps its place. What is new goes first into slices that are written anyway, then into those with
//!    room, and only when all are full into a new one.
//! 3. Slices that end up empty go, but for one when nothing is left at all.
//! 4. Creates, then updates, then deletes: nothing shrinks before what replaces it was accepted.
//!
//! A slice is created only when all others of its group are full. So a group never has more than ⌈p/m⌉ slices, where p is the most
//! endpoints it ever had at once, and m what a slice may hold: a group that shrinks keeps its slices as long as each has an
//! endpoint, because closing the gaps would cost a second write for a change of one instance.

mod change;
mod fill;
mod name;
mod spec;

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::{Evidence, UserIntent};
use crate::guard::Judged;
use crate::identity::Identity;
use crate::intent::to_kube::ToKube;
use crate::kube::{Endpoint, Family, KubeService, KubeSlice, ObjectKey};
use crate::settings::Settings;
use crate::time::UnixMillis;
use crate::to_kube::belongs::{self, Belongs};
use crate::to_kube::{EndpointId, PortPlan, Ports, families};

pub use change::{Gone, Removed, SliceChange};

use fill::Slot;
use name::Names;
use spec::Template;

/// What packing reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What should stand, as the guard passed it.
    pub judged: &'a Judged,
    /// The Service.
    pub service: &'a KubeService,
    /// What it asks for.
    pub intent: &'a ToKube,
    /// All its slices, of every manager, in any order.
    pub slices: &'a [&'a KubeSlice],
    /// Further names that are known to be taken in its namespace: a create of ours met a conflict there.
    pub taken: &'a BTreeSet<String>,
    /// Owner ids of installations that are gone for good, whose slices are taken over.
    pub abandoned: &'a BTreeSet<String>,
    /// The settings.
    pub settings: &'a Settings,
    /// When the change behind this was seen.
    pub trigger: Option<UnixMillis>,
}

/// Endpoints of one family with the same ports, and the slices that hold them.
struct Group<'a> {
    family: Family,
    ports: Option<&'a Ports>,
    wanted: BTreeMap<&'a EndpointId, &'a Endpoint>,
    slots: Vec<Slot<'a>>,
}

/// The changes that make the slices what they should be: creates, updates, deletes, in the order to be made. Equal input, no change.
#[must_use]
pub fn changes(input: &Input<'_>) -> Vec<SliceChange> {
    let mut changes = recreated(input);
    if input.judged.plan.idle {
        return changes;
    }
    let ports = PortPlan::new(input.service, input.intent);
    let mut names = Names::new(input);
    let mut groups = grouped(input);
    let empty = groups.is_empty();
    let strays = assign(input, &mut groups, &names);
    for (hash, group) in &mut groups {
        fill::fill(group, input.settings.max_endpoints_per_slice, || names.next(hash));
    }
    let template = Template::new(input, &ports);
    let mut slots: Vec<(Option<&Ports>, Family, Slot<'_>)> = Vec::new();
    for group in groups.into_values() {
        slots.extend(group.slots.into_iter().map(|slot| (group.ports, group.family, slot)));
    }
    slots.extend(placeholder(input, empty, &strays, &mut names));
    let kept: BTreeSet<&ObjectKey> = slots.iter().filter_map(|(_, _, slot)| Some(&slot.slice?.key)).collect();
    let strays: Vec<&KubeSlice> = strays.into_iter().filter(|slice| !kept.contains(&slice.key)).collect();
    changes.extend(template.write(input, slots, &strays));
    if input.judged.plan.nothing_new {
        // Not even an empty one.
        changes.retain(|change| !matches!(change, SliceChange::Create(_)));
    }
    change::sort(&mut changes);
    changes
}

/// What goes when a Service stops being filled from Consul: all that is ours.
#[must_use]
pub fn withdraw(
    service: &KubeService,
    slices: &[&KubeSlice],
    abandoned: &BTreeSet<String>,
    identity: &Identity,
    why: UserIntent,
) -> Vec<SliceChange> {
    let ours = |slice: &&&KubeSlice| {
        matches!(belongs::of(slice, service, identity, abandoned), Belongs::Ours | Belongs::OursOfAnother)
    };
    deletes(slices.iter().filter(ours).copied(), why)
}

/// What goes when a Service is gone: slices that garbage collection would collect too, where it runs. Only call this when the Service
/// was seen to be deleted, or a read of it by name found nothing.
#[must_use]
pub fn leftovers(key: &ObjectKey, slices: &[&KubeSlice], identity: &Identity) -> Vec<SliceChange> {
    let gone = KubeService { key: key.clone(), ..KubeService::default() };
    withdraw(&gone, slices, &BTreeSet::new(), identity, UserIntent::ServiceDeleted)
}

fn deletes<'a>(slices: impl Iterator<Item = &'a KubeSlice>, why: UserIntent) -> Vec<SliceChange> {
    let live = slices.filter(|slice| !slice.deleting);
    let mut changes: Vec<SliceChange> =
        live.map(|slice| SliceChange::delete(slice, Gone::Because(Evidence::Intent(why)))).collect();
    change::sort(&mut changes);
    changes
}

/// Slices of a Service that had this name before: another UID.
fn recreated(input: &Input<'_>) -> Vec<SliceChange> {
    let of_another = |slice: &&&KubeSlice| {
        belongs::of(slice, input.service, &input.settings.identity, input.abandoned) == Belongs::OursOfAnother
    };
    deletes(input.slices.iter().filter(of_another).copied(), UserIntent::ServiceRecreated)
}

/// What should stand, by the hash that names the slices of its group.
fn grouped<'a>(input: &Input<'a>) -> BTreeMap<String, Group<'a>> {
    let wanted = input.judged.plan.wanted.iter().map(|(id, wanted)| (id, &wanted.endpoint));
    let mut by_ports: BTreeMap<(Family, &Ports), BTreeMap<&EndpointId, &Endpoint>> = BTreeMap::new();
    for (id, endpoint) in wanted.chain(&input.judged.kept) {
        by_ports.entry((id.family(), &id.ports)).or_default().insert(id, endpoint);
    }
    let named = by_ports.into_iter().map(|((family, ports), wanted)| {
        let hash = name::hash(&input.service.uid, family, Some(ports));
        (hash, Group { family, ports: Some(ports), wanted, slots: Vec::new() })
    });
    named.collect()
}

/// Gives every slice of ours to the group that its name says; returns those that no group claims.
fn assign<'a>(input: &Input<'a>, groups: &mut BTreeMap<String, Group<'a>>, names: &Names) -> Vec<&'a KubeSlice> {
    let mut strays = Vec::new();
    for slice in ours(input) {
        let group = names.hash_of(&slice.key.name).and_then(|hash| groups.get_mut(hash));
        match group.filter(|group| slice.address_type == crate::kube::AddressType::Ip(group.family)) {
            Some(group) => group.slots.push(Slot::of(slice)),
            None => strays.push(slice),
        }
    }
    strays
}

/// Our slices that live, by name.
fn ours<'a>(input: &Input<'a>) -> Vec<&'a KubeSlice> {
    let is_ours = |slice: &&KubeSlice| {
        !slice.deleting && belongs::of(slice, input.service, &input.settings.identity, input.abandoned) == Belongs::Ours
    };
    let mut ours: Vec<&KubeSlice> = input.slices.iter().copied().filter(is_ours).collect();
    ours.sort_by(|a, b| a.key.cmp(&b.key));
    ours
}

/// The one empty slice that stands for a Service without endpoints: one that stands already, if possible an empty one.
fn placeholder<'a>(
    input: &Input<'a>,
    empty: bool,
    strays: &[&'a KubeSlice],
    names: &mut Names,
) -> Option<(Option<&'a Ports>, Family, Slot<'a>)> {
    if !empty {
        return None;
    }
    let family = families(input.service)[0];
    let of_family = strays.iter().filter(|slice| slice.address_type == crate::kube::AddressType::Ip(family));
    let best = of_family.min_by_key(|slice| (!slice.endpoints.is_empty(), &slice.key));
    let slot = match best {
        Some(slice) => Slot::emptied(slice),
        None => Slot::new(names.next(&name::hash(&input.service.uid, family, None))),
    };
    Some((None, family, slot))
}

#[cfg(test)]
mod tests;
