//! `consul8s/allow-removal`: what a person lets go.

use std::collections::BTreeSet;

use crate::intent::value;
use crate::kube::KubeService;
use crate::names;

use super::hold::HoldId;
use super::memory::Memory;

/// What is to be released now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Release {
    all: bool,
    ids: BTreeSet<HoldId>,
}

impl Release {
    /// From the Service's annotation and the Lease's. `true` on the Service counts once: it must be taken away before it counts
    /// again, over restarts too. That of the Lease is taken away by the program when all Services have been looked at.
    #[must_use]
    pub(super) fn read(service: &KubeService, lease: Option<&str>, memory: &mut Memory) -> Release {
        let on_service = Release::parse(service.annotations.get(names::ALLOW_REMOVAL).map_or("", String::as_str));
        let on_lease = Release::parse(lease.unwrap_or_default());
        let fresh = on_service.all && !memory.used;
        memory.used = on_service.all;
        Release { all: fresh || on_lease.all, ids: on_service.ids.union(&on_lease.ids).cloned().collect() }
    }

    fn parse(text: &str) -> Release {
        let words = value::list(text);
        let all = words.iter().any(|word| word.eq_ignore_ascii_case("true"));
        Release { all, ids: words.iter().filter_map(|word| HoldId::parse(word)).collect() }
    }

    /// Whether a hold is released.
    #[must_use]
    pub(super) fn covers(&self, id: &HoldId) -> bool {
        self.all || self.ids.contains(id)
    }
}
