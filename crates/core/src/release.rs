//! What `consul8s release` writes, from what is held: the annotation `consul8s/allow-removal` on a Service or on the Lease.
//!
//! | named | held by | written |
//! | --- | --- | --- |
//! | a Service | its slices, or its condition | the ids of its holds, on the Service |
//! | a hold | one Service | its id, on the Service |
//! | a hold | several Services, or registrations | its id, on the Lease, which releases it for all and is then taken away by the leader |
//! | all | anything of this Lease | `true`, on the Lease |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::claim::HeldNote;
use crate::guard::{self, HoldId};
use crate::intent::value;
use crate::kube::{KubeService, KubeSlice, ObjectKey};
use crate::names;
use crate::problem::Reason;

/// What is named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `--all`
    All,
    /// A hold, `h-` and six characters.
    Hold(HoldId),
    /// A Service.
    Service(ObjectKey),
}

impl Target {
    /// Reads `NAME`, `svc/NAME`, `NS/NAME` (also `svc/NS/NAME`) or `HOLD`; a Service that is called like a hold needs its `svc/`.
    /// `namespace` is that of a bare name.
    ///
    /// # Errors
    /// It is none of these; the text says what is.
    pub fn parse(text: &str, namespace: &str) -> Result<Target, String> {
        if let Some(hold) = HoldId::parse(text) {
            return Ok(Target::Hold(hold));
        }
        let parts: Vec<&str> = text.split('/').collect();
        let (is_kind, rest) = match parts.as_slice() {
            [kind, rest @ ..] if ["svc", "service", "services"].contains(kind) && !rest.is_empty() => (true, rest),
            all => (false, all),
        };
        let key = match rest {
            [name] => ObjectKey::new(namespace, *name),
            [namespace, name] => ObjectKey::new(*namespace, *name),
            _ => ObjectKey::new("", ""),
        };
        if key.namespace.is_empty() || key.name.is_empty() {
            let hint =
                if is_kind { "svc/NAME" } else { "NAME, svc/NAME, NAMESPACE/NAME or the id of a hold (h-3f9a2c)" };
            return Err(format!("{text:?} names nothing that can be released: write {hint}"));
        }
        Ok(Target::Service(key))
    }
}

/// What a hold keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// Endpoints of a Service.
    Endpoints(usize),
    /// Registrations; how many the condition of a Service does not say.
    Registrations(Option<usize>),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        match self {
            Kept::Endpoints(count) => write!(f, "{count} endpoint{}", plural(*count)),
            Kept::Registrations(Some(count)) => write!(f, "{count} registration{}", plural(*count)),
            Kept::Registrations(None) => f.write_str("registrations"),
        }
    }
}

/// Something that is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hold {
    /// Its id.
    pub id: HoldId,
    /// The Service that it concerns; none where the Lease alone tells of it, which holds registrations.
    pub service: Option<ObjectKey>,
    /// The Lease of the installation that holds it, where that is known.
    pub lease: Option<ObjectKey>,
    /// What it keeps.
    pub kept: Kept,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hold { id, service, lease, kept } = self;
        match (service, lease) {
            (Some(service), _) => write!(f, "{id} ({kept} of {service})"),
            (None, Some(lease)) => write!(f, "{id} ({kept}, Lease {lease})"),
            (None, None) => write!(f, "{id} ({kept})"),
        }
    }
}

/// What slices say is held (`consul8s/absent-since`).
#[must_use]
pub fn on_slices<'a>(slices: impl IntoIterator<Item = &'a KubeSlice>) -> Vec<Hold> {
    let mut holds: BTreeMap<(HoldId, ObjectKey, Option<ObjectKey>), usize> = BTreeMap::new();
    let managed =
        |slice: &&KubeSlice| slice.labels.get(names::LABEL_MANAGED_BY).is_some_and(|by| by == names::MANAGED_BY);
    for slice in slices.into_iter().filter(|slice| !slice.deleting).filter(managed) {
        let Some(service) = slice.service() else { continue };
        let lease = slice.annotations.get(names::SLICE_INSTALLATION).and_then(|text| lease_key(text));
        let kept = slice.annotations.get(names::SLICE_ABSENT_SINCE).map_or("", String::as_str);
        for mark in guard::parse_marks(kept).0.into_values() {
            *holds.entry((mark.id, service.clone(), lease.clone())).or_default() += 1;
        }
    }
    let hold = |((id, service, lease), count)| Hold { id, service: Some(service), lease, kept: Kept::Endpoints(count) };
    holds.into_iter().map(hold).collect()
}

/// What a Lease says is held: registrations (`consul8s/held`).
#[must_use]
pub fn on_lease(lease: &ObjectKey, annotations: &BTreeMap<String, String>) -> Vec<Hold> {
    let held = crate::claim::Notebook::read(annotations).held;
    let of = |(id, note): (HoldId, HeldNote)| Hold {
        id,
        service: None,
        lease: Some(lease.clone()),
        kept: Kept::Registrations(Some(note.registrations)),
    };
    held.into_iter().map(of).collect()
}

/// The holds that the condition of a Service tells of: there registrations are told of that are held.
#[must_use]
pub fn on_condition(service: &KubeService) -> Vec<Hold> {
    let told = service.condition.iter().filter(|it| it.reason == Reason::RemovalHeld.as_str());
    let ids: BTreeSet<HoldId> = told.flat_map(|it| crate::tell::holds(&it.message)).collect();
    let of = |id| Hold { id, service: Some(service.key.clone()), lease: None, kept: Kept::Registrations(None) };
    ids.into_iter().map(of).collect()
}

fn lease_key(text: &str) -> Option<ObjectKey> {
    let (namespace, name) = text.split_once('/')?;
    Some(ObjectKey::new(namespace, name))
}

/// A write of `consul8s/allow-removal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// On a Service.
    Service(ObjectKey, BTreeSet<HoldId>),
    /// On a Lease: one hold.
    Lease(ObjectKey, HoldId),
    /// On a Lease: everything.
    All(ObjectKey),
}

/// What is to be written. `lease` is the one that `--all` means.
///
/// # Errors
/// Nothing of what is named is held: says so, and what is held instead.
pub fn decide(target: &Target, lease: Option<&ObjectKey>, holds: &[Hold]) -> Result<Vec<Write>, String> {
    let writes = match target {
        Target::All => {
            let any = holds.iter().any(|hold| hold.lease.as_ref() == lease);
            lease.filter(|_| any).map(|lease| Write::All(lease.clone())).into_iter().collect()
        }
        Target::Service(key) => {
            let of_it = holds.iter().filter(|hold| hold.service.as_ref() == Some(key));
            let ids: BTreeSet<HoldId> = of_it.map(|hold| hold.id.clone()).collect();
            Vec::from_iter((!ids.is_empty()).then(|| Write::Service(key.clone(), ids)))
        }
        Target::Hold(id) => of_hold(id, holds),
    };
    if writes.is_empty() { Err(nothing(target, holds)) } else { Ok(writes) }
}

fn of_hold(id: &HoldId, holds: &[Hold]) -> Vec<Write> {
    let of_it: Vec<&Hold> = holds.iter().filter(|hold| hold.id == *id).collect();
    let services: BTreeSet<&ObjectKey> = of_it.iter().filter_map(|hold| hold.service.as_ref()).collect();
    let leases: BTreeSet<&ObjectKey> = of_it.iter().filter_map(|hold| hold.lease.as_ref()).collect();
    let one_service = services.len() == 1 && of_it.iter().all(|hold| hold.service.is_some());
    match services.first().filter(|_| one_service || leases.is_empty()) {
        Some(service) => vec![Write::Service((*service).clone(), BTreeSet::from([id.clone()]))],
        None => leases.into_iter().map(|lease| Write::Lease(lease.clone(), id.clone())).collect(),
    }
}

fn nothing(target: &Target, holds: &[Hold]) -> String {
    let named = match target {
        Target::All => "nothing is held".to_owned(),
        Target::Hold(id) => format!("there is no hold {id}"),
        Target::Service(key) => format!("nothing of Service {key} is held"),
    };
    let held: BTreeSet<String> = holds.iter().map(ToString::to_string).collect();
    match held.is_empty() {
        true if *target == Target::All => named,
        true => format!("{named}, nor anything else"),
        false => format!("{named}; held: {}", Vec::from_iter(held).join(", ")),
    }
}

/// The annotation with these ids added: another release that nobody has followed yet stays.
#[must_use]
pub fn added(standing: Option<&str>, ids: &BTreeSet<HoldId>) -> String {
    let known = value::list(standing.unwrap_or_default());
    let known = known.iter().filter_map(|word| HoldId::parse(word));
    let all: BTreeSet<HoldId> = known.chain(ids.iter().cloned()).collect();
    Vec::from_iter(all.iter().map(HoldId::as_str)).join(",")
}

#[cfg(test)]
#[path = "release/tests.rs"]
mod tests;
