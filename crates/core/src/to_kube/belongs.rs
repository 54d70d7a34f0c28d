//! Whose a slice is. Nothing is written or deleted without this proof (contract S4).

use std::collections::BTreeSet;

use crate::identity::Identity;
use crate::kube::{KubeService, KubeSlice};
use crate::names;

/// Whose a slice of a Service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// Ours, and of this very Service.
    Ours,
    /// Ours, but of a Service of the same name that is gone.
    OursOfAnother,
    /// Another installation's.
    OtherInstallation,
    /// Anybody's: another manager's, or one that only looks like ours.
    Foreign,
}

/// Judges by the manager label, our owner id and the UID of the Service, all three. What names another owner is another installation's, and
/// no more proof is asked for: that only keeps us away. `abandoned` are the owner ids of installations that are gone for good, whose
/// slices are taken over.
#[must_use]
pub fn of(slice: &KubeSlice, service: &KubeService, identity: &Identity, abandoned: &BTreeSet<String>) -> Belongs {
    if slice.labels.get(names::LABEL_MANAGED_BY).map(String::as_str) != Some(names::MANAGED_BY) {
        return Belongs::Foreign;
    }
    let Some(owner) = slice.annotations.get(names::SLICE_OWNER) else { return Belongs::Foreign };
    let services = || slice.owners.iter().filter(|o| o.kind == "Service" && o.name == service.key.name);
    let ours = *owner == identity.owner || abandoned.contains(owner);
    match (ours, services().next().is_some()) {
        (false, _) => Belongs::OtherInstallation,
        (true, false) => Belongs::Foreign,
        (true, true) if services().any(|o| o.uid == service.uid) => Belongs::Ours,
        (true, true) => Belongs::OursOfAnother,
    }
}
