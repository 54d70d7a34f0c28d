//! What the condition `consul8s/Synced` should say.
//!
//! | found | status | reason | message |
//! | --- | --- | --- | --- |
//! | all is done | `True` | `EndpointsUpdated`, `Registered` or `Deregistered` | `2 of 3 published; 1 left out: critical` |
//! | …with a warning | `True` | the weightiest warning's | the warning, the counts |
//! | something is held | `False` | `RemovalHeld` | likewise |
//! | a problem stops it | `False` | the weightiest problem's | likewise |
//! | writes have failed for 10 s | `False` | see [`Course::Failing`] | the last error |
//! | `consul8s/suspend` | `Unknown` | `Suspended` | |
//! | no condition yet, and the source has been silent for 10 s | `Unknown` | `ConsulUnavailable` | the last error |
//! | something is still to be done | as it stands | | |
//! | not ours any more | none | | |
//!
//! Further reasons follow at the end, `also: UnmappedPorts, ForeignEndpoints`: so the condition shows all that was told.

use std::collections::BTreeSet;

use crate::kube::{Condition, ConditionStatus};
use crate::problem::{Problem, Reason};

use super::look::{Course, Look};
use super::matter::Matter;

/// Reasons that may stand in a condition beside those of all being well, the weightiest first.
const ORDER: &[Reason] = &[
    Reason::RemovalHeld,
    Reason::ConflictingLabels,
    Reason::UnknownSource,
    Reason::UnsupportedType,
    Reason::SelectorPresent,
    Reason::NotAllowed,
    Reason::InvalidAnnotation,
    Reason::PortNameNotFound,
    Reason::OwnershipConflict,
    Reason::SharedName,
    Reason::NameConflict,
    Reason::NoAddress,
    Reason::ConsulPermissionDenied,
    Reason::ConsulUnavailable,
    Reason::NoHealthyInstances,
    Reason::PanicActive,
    Reason::LocalTrafficPolicy,
    Reason::ForeignEndpoints,
    Reason::AddressRejected,
    Reason::UnmappedPorts,
    Reason::UnknownAnnotation,
];

/// What `consul8s/suspend` makes of it.
pub(super) const SUSPENDED: &str =
    "nothing is done about this Service while the annotation consul8s/suspend is true; what stands stays";
/// Begins the last part of a message, the further reasons.
const ALSO: &str = "also: ";

/// What the condition should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// As it stands, whatever that is.
    Keep,
    /// Not there.
    Gone,
    /// This.
    Stands {
        /// Status.
        status: ConditionStatus,
        /// Reason.
        reason: Reason,
        /// Message.
        message: String,
    },
}

/// What the condition should be after this look. `lasting`: that writes fail, or that the source is silent, has been so for a while.
pub(super) fn wish(look: &Look, lasting: bool, stands: bool) -> Wish {
    if look.service.is_none() || look.course == Course::Leave {
        return Wish::Keep;
    }
    if look.course == Course::NotOurs {
        return Wish::Gone;
    }
    let mut problems: Vec<&Problem> = look.problems.iter().chain(&look.common).collect();
    problems.sort_by_key(|problem| (weight(problem.reason), problem.message.as_str()));
    let main = problems.first().copied();
    let main_says = |status| {
        let Some(main) = main else { return Wish::Keep };
        // Each hold is known by its own id, so that all of them stand there.
        let all = problems.iter().filter(|problem| problem.reason == Reason::RemovalHeld);
        let holds = all.map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; ");
        let message = if main.reason == Reason::RemovalHeld { &holds } else { &main.message };
        says(status, main.reason, message, look, &problems)
    };
    let of_course = |status, reason: Reason, message: &str| says(status, reason, message, &Look::default(), &problems);
    match &look.course {
        Course::Suspended => of_course(ConditionStatus::Unknown, Reason::Suspended, SUSPENDED),
        _ if main.is_some_and(|main| main.reason == Reason::RemovalHeld || main.reason.stops()) => {
            main_says(ConditionStatus::False)
        }
        Course::Failing(reason, why) if lasting => of_course(ConditionStatus::False, *reason, why),
        Course::Waiting(why) if lasting && !stands => {
            let why = why.as_deref().unwrap_or("Consul has not answered yet");
            of_course(ConditionStatus::Unknown, Reason::ConsulUnavailable, why)
        }
        Course::Settled(_) if main.is_some() => main_says(ConditionStatus::True),
        Course::Settled(reason) => says(ConditionStatus::True, *reason, "", look, &problems),
        _ => Wish::Keep,
    }
}

/// Lower is weightier.
pub(super) fn weight(reason: Reason) -> usize {
    ORDER.iter().position(|known| *known == reason).unwrap_or(ORDER.len())
}

fn says(status: ConditionStatus, reason: Reason, message: &str, look: &Look, problems: &[&Problem]) -> Wish {
    let others: BTreeSet<(usize, Reason)> =
        problems.iter().map(|problem| (weight(problem.reason), problem.reason)).filter(|(_, r)| *r != reason).collect();
    let others: Vec<&str> = others.into_iter().map(|(_, other)| other.as_str()).collect();
    let also = if others.is_empty() { String::new() } else { format!("{ALSO}{}", others.join(", ")) };
    let parts = [message, &look.counts, &look.whereabouts, &also];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Wish::Stands { status, reason, message: parts.join("; ") }
}

/// What a condition that stands has told already.
pub(super) fn told(condition: &Condition) -> BTreeSet<Matter> {
    let last = condition.message.rsplit("; ").next().unwrap_or_default();
    let others = last.strip_prefix(ALSO).into_iter().flat_map(|list| list.split(", ")).filter_map(Reason::parse);
    let main = Reason::parse(&condition.reason).map(|reason| Matter::all(reason, &condition.message));
    main.into_iter().flatten().chain(others.map(Matter::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::ReasonKind;

    #[test]
    fn every_warning_has_its_weight() {
        for reason in Reason::ALL.iter().filter(|reason| reason.kind() == ReasonKind::Warning) {
            assert!(ORDER.contains(reason), "{reason}");
        }
        let last_that_stops = ORDER.iter().rposition(|reason| reason.stops());
        let first_that_does_not = ORDER.iter().skip(1).position(|reason| !reason.stops());
        assert!(last_that_stops < first_that_does_not.map(|at| at + 1), "what stops weighs more than what only warns");
    }
}
