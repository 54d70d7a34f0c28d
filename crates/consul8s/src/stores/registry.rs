//! Our synthetic nodes in Consul: how their watches keep [`OurNodes`], beside our own writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use consul8s_core::consul::{Check, NodeService, NodeView, ServiceId, TxnApplied};
use consul8s_core::kube::ObjectKey;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::nodes::{OurNodes, key_of};

/// What is known of a node beside its view. Its services and its checks are watched by two blocking queries.
#[derive(Clone, Debug, Default)]
struct Slot {
    services_answered: bool,
    checks_answered: bool,
    /// All its checks. Those of services that are not there (gone, or not seen yet) wait here.
    checks: BTreeMap<String, Check>,
    /// Index of our last write of node or services: an answer that is older does not show it yet.
    services_floor: u64,
    /// The same for checks. Told apart, as the index of the services does not move with a check.
    checks_floor: u64,
    heard: UnixMillis,
    /// What we deleted, with the ModifyIndex it had: an answer that still shows it so is older than that.
    deleted: BTreeMap<String, u64>,
    /// Since when its services are told as older than what we wrote. A moment of it is a late answer; longer, and Consul has forgotten.
    services_behind: Option<UnixMillis>,
    /// The same for checks.
    checks_behind: Option<UnixMillis>,
    /// Consul has gone back: what is known here may be more than it knows.
    doubted: bool,
    /// It is hidden from our token, and nothing is known of it: when it is to be read again.
    hidden: Option<UnixMillis>,
}

/// Our nodes: the first, and as long as the last one known exists, the one after it.
#[derive(Debug)]
pub struct Registry {
    nodes: OurNodes,
    slots: Vec<Slot>,
    /// How many of them somebody was told to watch.
    demanded: usize,
}

/// What an answer changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// Services whose registrations are no longer what they were.
    pub keys: BTreeSet<ObjectKey>,
    /// Something changed that belongs to no Service (a stranger's entry, the node itself): whoever waited may go on.
    pub others: bool,
}

impl Registry {
    /// Nothing known yet of `first`, `first-2`, ….
    #[must_use]
    pub fn new(first: &str) -> Registry {
        Registry { nodes: OurNodes::new(first), slots: vec![Slot::default()], demanded: 0 }
    }

    /// The nodes, for planning.
    #[must_use]
    pub fn nodes(&self) -> &OurNodes {
        &self.nodes
    }

    /// Name of our node number `number`, from 0.
    #[must_use]
    pub fn name(&self, number: usize) -> String {
        self.nodes.name(ordinal(number))
    }

    /// Nodes that are to be watched from now on, each told once: those that exist and the one that would come next.
    pub fn to_watch(&mut self) -> std::ops::Range<usize> {
        let from = std::mem::replace(&mut self.demanded, self.slots.len());
        from..self.slots.len()
    }

    /// Whether each of them has answered once.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.slots.iter().all(|slot| slot.services_answered && slot.checks_answered)
    }

    /// Consul refused a write to this node for what it shows: a read must show it anew. Its watches may wait for an index that Consul will
    /// not reach for minutes, when somebody in between has made one up.
    pub fn doubt(&mut self, name: &str) {
        if let Some(slot) = self.slot_mut(name) {
            slot.doubted = true;
        }
    }

    /// An answer hides this node from our token, and nothing is known of it: it must not look absent. Its watch would hear only of the next
    /// change, so that it is read again from time to time.
    pub fn hide(&mut self, number: usize, now: UnixMillis) {
        if let Some(slot) = self.slots.get_mut(number) {
            slot.hidden = Some(now.after(HIDDEN_AGAIN));
        }
    }

    /// Whether anything is known of node `number`.
    #[must_use]
    pub fn knows(&self, number: usize) -> bool {
        self.nodes.exists(ordinal(number))
    }

    /// Name of a node that is hidden from our token, if any is.
    #[must_use]
    pub fn hidden(&self) -> Option<String> {
        let number = self.slots.iter().position(|slot| slot.hidden.is_some())?;
        Some(self.name(number))
    }

    /// Takes note that the watch of a node's services had a good answer without news, under this index.
    pub fn services_confirmed(&mut self, number: usize, index: u64, now: UnixMillis) {
        if let Some(slot) = self.slots.get_mut(number) {
            slot.heard = now;
            behind(&mut slot.services_behind, index < slot.services_floor, now);
        }
    }

    /// The same for its checks.
    pub fn checks_confirmed(&mut self, number: usize, index: u64, now: UnixMillis) {
        if let Some(slot) = self.slots.get_mut(number) {
            slot.heard = now;
            behind(&mut slot.checks_behind, index < slot.checks_floor, now);
        }
    }

    /// Nodes that a consistent read must show anew, each with what that read must not fall behind.
    #[must_use]
    pub fn doubtful(&self, now: UnixMillis) -> Vec<(usize, Floors)> {
        let late = |since: Option<UnixMillis>| since.is_some_and(|since| now.since(since) >= LATE);
        let due = |slot: &Slot| slot.hidden.is_some_and(|at| at <= now);
        let doubtful =
            |slot: &Slot| slot.doubted || due(slot) || late(slot.services_behind) || late(slot.checks_behind);
        let slots = self.slots.iter().enumerate().filter(|(_, slot)| doubtful(slot));
        slots.map(|(number, slot)| (number, slot.floors())).collect()
    }

    /// Takes in what a consistent read showed. None where we have written meanwhile: then it is to be read once more.
    pub fn read(
        &mut self,
        number: usize,
        view: Option<NodeView>,
        index: u64,
        floors: Floors,
        now: UnixMillis,
    ) -> Option<Turned> {
        let slot = self.slots.get_mut(number).filter(|slot| slot.floors() == floors)?;
        if index < floors.services.max(floors.checks) {
            // It counts anew from below what we wrote.
            (slot.services_floor, slot.checks_floor) = (0, 0);
            slot.deleted.clear();
        }
        (slot.services_behind, slot.checks_behind, slot.doubted, slot.hidden) = (None, None, false, None);
        let checks: Vec<Check> = view.iter().flat_map(|view| view.checks.values().cloned()).collect();
        let index = index.max(floors.services).max(floors.checks);
        let mut turned = self.take_in_services(number, view, index, now);
        let of_checks = self.take_in_checks(number, &checks, index, now);
        turned.keys.extend(of_checks.keys);
        turned.others |= of_checks.others;
        Some(turned)
    }

    /// Takes in what the watch of node `number`'s services showed under `index`. What is older than our own last write there is not
    /// news: the watch asks on, and the answer that holds the write comes.
    pub fn take_in_services(&mut self, number: usize, view: Option<NodeView>, index: u64, now: UnixMillis) -> Turned {
        let name = self.name(number);
        let Some(slot) = self.slots.get_mut(number) else { return Turned::default() };
        slot.heard = now;
        behind(&mut slot.services_behind, index < slot.services_floor, now);
        if index < slot.services_floor {
            return Turned::default();
        }
        slot.services_answered = true;
        slot.hidden = None;
        let before = self.nodes.get(&name).cloned();
        if view.is_none() {
            slot.deleted.clear();
        }
        let view = view.map(|view| slot.without_deleted(view)).map(|view| joined(view, &slot.checks));
        let turned = Turned::between(before.as_ref(), view.as_ref());
        match view {
            Some(view) => self.nodes.set(view),
            None => self.nodes.unset(&name),
        }
        self.grow();
        turned
    }

    /// The same for the watch of its checks.
    pub fn take_in_checks(&mut self, number: usize, checks: &[Check], index: u64, now: UnixMillis) -> Turned {
        let name = self.name(number);
        let Some(slot) = self.slots.get_mut(number) else { return Turned::default() };
        slot.heard = now;
        behind(&mut slot.checks_behind, index < slot.checks_floor, now);
        if index < slot.checks_floor {
            return Turned::default();
        }
        slot.checks_answered = true;
        slot.checks = checks.iter().map(|check| (check.id.clone(), check.clone())).collect();
        let Some(before) = self.nodes.get(&name).cloned() else { return Turned::default() };
        let view = joined(before.clone(), &slot.checks);
        let turned = Turned::between(Some(&before), Some(&view));
        self.nodes.set(view);
        turned
    }

    /// A node as an answer shows it that hides something from us, with what we know of the rest: what is hidden must not look absent, or
    /// it would be registered again and again.
    #[must_use]
    pub fn with_hidden_services(&self, number: usize, shown: Option<NodeView>) -> Option<NodeView> {
        let Some(known) = self.nodes.get(&self.name(number)) else { return shown };
        let mut view = shown.unwrap_or_else(|| NodeView { node: known.node.clone(), ..NodeView::default() });
        for (id, service) in &known.services {
            view.services.entry(id.clone()).or_insert_with(|| service.clone());
        }
        Some(view)
    }

    /// The same for its checks.
    #[must_use]
    pub fn with_hidden_checks(&self, number: usize, shown: &[Check]) -> Vec<Check> {
        let known = self.slots.get(number).map(|slot| slot.checks.clone()).unwrap_or_default();
        let mut checks = shown.to_vec();
        checks.extend(known.into_values().filter(|check| shown.iter().all(|other| other.id != check.id)));
        checks
    }

    /// Takes in what a transaction of ours left behind, ahead of the watches.
    pub fn wrote(&mut self, applied: &TxnApplied, deleted: &[(String, ServiceId)]) {
        self.nodes.applied(applied);
        for (node, id) in deleted {
            let index = self.nodes.get(node).and_then(|view| Some(view.services.get(id.as_str())?.modify_index));
            self.nodes.deleted(node, id);
            if let Some((slot, index)) = self.slot_mut(node).zip(index) {
                slot.deleted.insert(id.as_str().to_owned(), index);
            }
            if let Some(slot) = self.slot_mut(node) {
                slot.checks.retain(|_, check| check.service_id != id.as_str());
            }
        }
        for node in &applied.nodes {
            if let Some(slot) = self.slot_mut(&node.name) {
                slot.services_floor = slot.services_floor.max(node.modify_index);
            }
        }
        for (node, service) in &applied.services {
            if let Some(slot) = self.slot_mut(node) {
                slot.services_floor = slot.services_floor.max(service.modify_index);
            }
        }
        for check in &applied.checks {
            if let Some(slot) = self.slot_mut(&check.node) {
                slot.checks.insert(check.id.clone(), check.clone());
                slot.checks_floor = slot.checks_floor.max(check.modify_index);
            }
        }
        self.grow();
    }

    /// Consul counts from a lower index now (restored, wiped): what our own writes reached says nothing any more.
    pub fn forget_floor(&mut self) {
        for slot in &mut self.slots {
            (slot.services_floor, slot.checks_floor) = (0, 0);
            slot.deleted.clear();
            // One half may have nothing new to tell, although what we wrote to it is gone.
            slot.doubted = true;
        }
    }

    fn grow(&mut self) {
        let last = self.slots.len() - 1;
        if self.nodes.exists(ordinal(last)) {
            self.slots.push(Slot::default());
        }
    }

    fn slot_mut(&mut self, name: &str) -> Option<&mut Slot> {
        let number = (0..self.slots.len()).find(|n| self.name(*n) == name)?;
        self.slots.get_mut(number)
    }
}

/// How long until a node that is hidden from us is read again: somebody must give our token its rights first.
const HIDDEN_AGAIN: Duration = Duration::from_secs(10);

/// How long an answer may lag behind our own writes until it is asked what stands.
const LATE: Duration = Duration::from_secs(1);

/// Indexes of our last writes to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floors {
    services: u64,
    checks: u64,
}

fn behind(since: &mut Option<UnixMillis>, is_behind: bool, now: UnixMillis) {
    *since = is_behind.then(|| since.unwrap_or(now));
}

impl Slot {
    fn floors(&self) -> Floors {
        Floors { services: self.services_floor, checks: self.checks_floor }
    }

    /// The view without what we have deleted since; what the answer shows no longer, or anew, need not be remembered.
    fn without_deleted(&mut self, mut view: NodeView) -> NodeView {
        self.deleted.retain(|id, index| view.services.get(id).is_some_and(|service| service.modify_index == *index));
        view.services.retain(|id, _| !self.deleted.contains_key(id));
        view
    }
}

/// `OurNodes` counts from 1, as the names do.
fn ordinal(number: usize) -> u32 {
    u32::try_from(number).map_or(u32::MAX, |n| n.saturating_add(1))
}

/// The view with those of the checks that belong to something in it.
fn joined(mut view: NodeView, checks: &BTreeMap<String, Check>) -> NodeView {
    let stands = |check: &Check| check.service_id.is_empty() || view.services.contains_key(&check.service_id);
    view.checks = checks.iter().filter(|(_, check)| stands(check)).map(|(id, c)| (id.clone(), c.clone())).collect();
    view
}

impl Turned {
    fn between(before: Option<&NodeView>, after: Option<&NodeView>) -> Turned {
        let mut turned = Turned { others: before.map(|v| &v.node) != after.map(|v| &v.node), ..Turned::default() };
        let empty = BTreeMap::new();
        let (old, new) = (before.map_or(&empty, |v| &v.services), after.map_or(&empty, |v| &v.services));
        for id in old.keys().chain(new.keys()) {
            if old.get(id) != new.get(id) {
                turned.note(old.get(id));
                turned.note(new.get(id));
            }
        }
        let empty = BTreeMap::new();
        let (old_checks, new_checks) = (before.map_or(&empty, |v| &v.checks), after.map_or(&empty, |v| &v.checks));
        for id in old_checks.keys().chain(new_checks.keys()) {
            if old_checks.get(id) != new_checks.get(id) {
                let service = old_checks.get(id).or_else(|| new_checks.get(id)).map(|check| &check.service_id);
                turned.note(service.and_then(|s| new.get(s).or_else(|| old.get(s))));
            }
        }
        turned
    }

    fn note(&mut self, service: Option<&NodeService>) {
        let Some(service) = service else { return };
        match key_of(service) {
            Some(key) => {
                self.keys.insert(key);
            }
            None => self.others = true,
        }
    }
}

#[cfg(test)]
mod tests;
