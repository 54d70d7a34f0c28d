//! Which endpoint goes into which slice of its group.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::kube::{Endpoint, KubeSlice};
use crate::to_kube::EndpointId;

use super::Group;

/// A slice that stands, or is to be created, with what it is to hold.
pub(super) struct Slot<'a> {
    /// The slice, if it stands.
    pub(super) slice: Option<&'a KubeSlice>,
    /// Its name.
    pub(super) name: String,
    /// Its endpoints, in order.
    pub(super) endpoints: Vec<(&'a EndpointId, &'a Endpoint)>,
    /// Whether it has to be written in any case.
    changed: bool,
}

impl<'a> Slot<'a> {
    pub(super) fn of(slice: &'a KubeSlice) -> Slot<'a> {
        Slot { slice: Some(slice), name: slice.key.name.clone(), endpoints: Vec::new(), changed: false }
    }

    pub(super) fn emptied(slice: &'a KubeSlice) -> Slot<'a> {
        Slot { changed: true, ..Slot::of(slice) }
    }

    pub(super) fn new(name: String) -> Slot<'a> {
        Slot { slice: None, name, endpoints: Vec::new(), changed: true }
    }
}

/// Fills the slots of a group.
pub(super) fn fill(group: &mut Group<'_>, most: usize, name: impl FnMut() -> String) {
    let new = keep_in_place(group, most);
    let rest = into_slots(group, new, most);
    into_new_slots(group, &rest, most, name);
    close_gaps(group, most);
}

/// What stands and stays keeps its place; returns what has none yet.
fn keep_in_place<'a>(group: &mut Group<'a>, most: usize) -> Vec<(&'a EndpointId, &'a Endpoint)> {
    let Group { wanted, slots, .. } = group;
    let by_address = |address: &str| {
        let ip: IpAddr = address.parse().ok()?;
        let id = EndpointId { address: ip, ports: wanted.keys().next()?.ports.clone() };
        wanted.get_key_value(&id).map(|(id, endpoint)| (*id, *endpoint))
    };
    let mut placed: BTreeSet<&EndpointId> = BTreeSet::new();
    for slot in slots.iter_mut() {
        for standing in slot.slice.iter().flat_map(|slice| &slice.endpoints) {
            let found = by_address(&standing.address).filter(|_| slot.endpoints.len() < most);
            match found.filter(|(id, _)| placed.insert(id)) {
                Some((id, endpoint)) => {
                    slot.changed |= standing != endpoint;
                    slot.endpoints.push((id, endpoint));
                }
                None => slot.changed = true,
            }
        }
    }
    wanted.iter().filter(|(id, _)| !placed.contains(*id)).map(|(id, endpoint)| (*id, *endpoint)).collect()
}

/// New endpoints go into slices that are written anyway, fullest first; the rest into the fullest slice that takes all of it, else
/// into the emptiest first, so that few are written.
fn into_slots<'a>(
    group: &mut Group<'a>,
    mut new: Vec<(&'a EndpointId, &'a Endpoint)>,
    most: usize,
) -> Vec<(&'a EndpointId, &'a Endpoint)> {
    let mut changed: Vec<&mut Slot<'a>> = group.slots.iter_mut().filter(|slot| slot.changed).collect();
    changed.sort_by_key(|slot| Reverse(slot.endpoints.len()));
    for slot in changed {
        top_up(slot, &mut new, most);
    }
    while !new.is_empty() {
        let with_room = group.slots.iter_mut().filter(|slot| slot.endpoints.len() < most);
        // Compared: does it take all; how full is it; of equals the first name.
        let rank = |slot: &&mut Slot<'a>| {
            let len = slot.endpoints.len();
            let takes_all = len + new.len() <= most;
            (takes_all, if takes_all { len } else { most - len })
        };
        let mut best: Option<&mut Slot<'a>> = None;
        for slot in with_room {
            if best.as_ref().is_none_or(|best| rank(&slot) > rank(best)) {
                best = Some(slot);
            }
        }
        let Some(slot) = best else { break };
        top_up(slot, &mut new, most);
    }
    new
}

fn top_up<'a>(slot: &mut Slot<'a>, new: &mut Vec<(&'a EndpointId, &'a Endpoint)>, most: usize) {
    let count = most.saturating_sub(slot.endpoints.len()).min(new.len());
    slot.changed |= count > 0;
    slot.endpoints.extend(new.drain(..count));
}

fn into_new_slots<'a>(
    group: &mut Group<'a>,
    rest: &[(&'a EndpointId, &'a Endpoint)],
    most: usize,
    mut name: impl FnMut() -> String,
) {
    for endpoints in rest.chunks(most.max(1)) {
        let mut slot = Slot::new(name());
        slot.endpoints = endpoints.to_vec();
        group.slots.push(slot);
    }
}

/// Where several slices are written anyway, the emptiest is emptied into the others if they take all of it: that costs no more
/// writes, and a service that shrinks at once leaves no gaps.
fn close_gaps(group: &mut Group<'_>, most: usize) {
    loop {
        let mut changed: Vec<usize> = (0..group.slots.len())
            .filter(|at| {
                group.slots[*at].changed && group.slots[*at].slice.is_some() && !group.slots[*at].endpoints.is_empty()
            })
            .collect();
        changed.sort_by_key(|at| Reverse(group.slots[*at].endpoints.len()));
        let Some(emptiest) = changed.pop() else { return };
        let room: usize = changed.iter().map(|at| most.saturating_sub(group.slots[*at].endpoints.len())).sum();
        if room < group.slots[emptiest].endpoints.len() {
            return;
        }
        let mut moving = std::mem::take(&mut group.slots[emptiest].endpoints);
        for at in changed {
            top_up(&mut group.slots[at], &mut moving, most);
        }
    }
}
