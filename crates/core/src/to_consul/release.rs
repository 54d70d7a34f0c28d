//! `consul8s/allow-removal`: what a person lets go, here of registrations.

use crate::guard::HoldId;
use crate::intent::value;
use crate::kube::KubeService;
use crate::names;

use super::nodes::Standing;
use super::{Input, Seen};

/// Whether a hold is released, by its id or by `true`: on the Lease for all, on the Service for its part. `true` on the Service counts for
/// what is held when it comes: where it stood there before, the registrations say so, also after a restart.
pub(super) fn covers(input: &Input<'_>, id: &HoldId, standing: &[Standing<'_>]) -> bool {
    let named = |text: &str| value::list(text).iter().any(|word| word == id.as_str());
    let on_service = match input.seen {
        Seen::There { service, .. } => {
            let used = standing.iter().any(|at| at.service.meta.contains_key(names::META_ALLOW_REMOVAL));
            text(service).is_some_and(named) || says_all(service) && !used
        }
        Seen::Deleted | Seen::Missing(_) => false,
    };
    on_service || input.lease_release.is_some_and(|text| named(text) || all(text))
}

/// Whether the Service's annotation says `true`.
pub(super) fn says_all(service: &KubeService) -> bool {
    text(service).is_some_and(all)
}

fn text(service: &KubeService) -> Option<&str> {
    service.annotations.get(names::ALLOW_REMOVAL).map(String::as_str)
}

fn all(text: &str) -> bool {
    value::list(text).iter().any(|word| word.eq_ignore_ascii_case("true"))
}
