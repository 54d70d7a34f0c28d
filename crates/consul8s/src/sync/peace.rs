//! Takes out of a plan what somebody else keeps changing back (contract S11).

use std::collections::BTreeSet;

use consul8s_core::identity::short_hash;
use consul8s_core::packing::SliceChange;
use consul8s_core::problem::{Problem, Reason};
use consul8s_core::repairs::{Repairs, Verdict};
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::RegistrationChange;

/// A write, as far as it can be a repair.
pub(super) trait Repair {
    /// The object that it writes and what it is to hold; none for what takes away.
    fn wanted(&self) -> Option<(String, String)>;
    /// What it would do, for a person.
    fn shown(&self) -> String;
}

impl Repair for SliceChange {
    fn wanted(&self) -> Option<(String, String)> {
        match self {
            SliceChange::Create(spec) | SliceChange::Update { spec, .. } => {
                let mut timeless = spec.clone();
                timeless.trigger = None;
                Some((format!("slice {}", spec.key), fingerprint(&timeless)))
            }
            SliceChange::Delete { .. } => None,
        }
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Repair for RegistrationChange {
    fn wanted(&self) -> Option<(String, String)> {
        match self {
            RegistrationChange::Register { after, .. } | RegistrationChange::SetCheck { after, .. } => {
                let mut timeless = (**after).clone();
                timeless.meta.remove(consul8s_core::names::META_RV);
                Some((format!("registration {}@{}", after.id, after.node), fingerprint(&timeless)))
            }
            RegistrationChange::SetNode { .. } | RegistrationChange::Deregister { .. } => None,
        }
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

/// Short, as one is kept for every object that we write.
fn fingerprint(wanted: &impl std::fmt::Debug) -> String {
    short_hash(&[&format!("{wanted:?}")], 16)
}

/// What is left of a plan.
pub(super) struct Kept<T> {
    pub(super) changes: Vec<T>,
    pub(super) problems: Vec<Problem>,
    pub(super) look_again: Option<UnixMillis>,
}

/// Leaves out what is to be left alone, and says so.
pub(super) fn keep<T: Repair>(changes: Vec<T>, repairs: &mut Repairs, now: UnixMillis) -> Kept<T> {
    let mut kept = Kept { changes: Vec::new(), problems: Vec::new(), look_again: None };
    let mut alone = BTreeSet::new();
    for change in changes {
        let verdict = change.wanted().map(|(object, wanted)| (repairs.judge(&object, &wanted, now), object));
        let Some((Verdict::LeaveAlone(until), object)) = verdict else {
            kept.changes.push(change);
            continue;
        };
        repairs.leave_alone(&object, now);
        kept.look_again = Some(kept.look_again.map_or(until, |at| at.min(until)));
        if alone.insert(object.clone()) {
            kept.problems.push(Problem::new(
                Reason::OwnershipConflict,
                format!(
                    "{object} was changed back by somebody else after three repairs within five minutes, and is left alone for ten \
                     minutes; find out who writes it. What would be done: {}",
                    change.shown()
                ),
            ));
        }
    }
    kept
}

/// Notes an accepted write.
pub(super) fn note<T: Repair>(change: &T, repairs: &mut Repairs, now: UnixMillis) {
    if let Some((object, wanted)) = change.wanted() {
        repairs.wrote(&object, wanted, now);
    }
}
