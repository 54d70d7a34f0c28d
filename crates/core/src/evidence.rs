//! Why something that is published may go. No removal can be put together without it, and each kind of evidence can only be made
//! from what proves it: a check that was seen, a read that was answered, what a person asked for.

use std::fmt;
use std::time::Duration;

use crate::consul::{Check, CheckStatus};
use crate::time::UnixMillis;
use crate::to_kube::{EndpointId, Rule};

/// Why something that is published goes, or stops being ready. Only [`Evidence::ConfirmedAbsent`] is subject to holds (guard.md §1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A check of it or of its node is critical, or warning where that doesn't count as healthy.
    Critical(CheckProof),
    /// It, or its node, is in maintenance.
    Maintenance(CheckProof),
    /// A person asked for it.
    Intent(UserIntent),
    /// Its node is alive and no longer has it: a consistent read showed both.
    Explicit(NodeProof),
    /// It was missing in as many consistent reads as the rule asks for.
    ConfirmedAbsent(AbsenceProof),
    /// The source still has it, but it may not be published.
    Unfit(Rule),
    /// The source has it under another address or port, which is published first.
    Moved(Successor),
    /// It stands on an object of ours, but was never wanted.
    NeverWanted(Drift),
}

impl Evidence {
    /// Word for metrics and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Evidence::Critical(_) => "critical",
            Evidence::Maintenance(_) => "maintenance",
            Evidence::Intent(_) => "intent",
            Evidence::Explicit(_) => "explicit",
            Evidence::ConfirmedAbsent(_) => "confirmed_absent",
            Evidence::Unfit(_) => "unfit",
            Evidence::Moved(_) => "moved",
            Evidence::NeverWanted(_) => "never_wanted",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Evidence::Critical(check) => write!(f, "{check}"),
            Evidence::Maintenance(check) => write!(f, "maintenance: {check}"),
            Evidence::Intent(what) => write!(f, "intent: {what}"),
            Evidence::Explicit(node) => write!(f, "explicit: {node}"),
            Evidence::ConfirmedAbsent(proof) => write!(f, "absent in {proof}"),
            Evidence::Unfit(rule) => write!(f, "unfit: {rule}"),
            Evidence::Moved(to) => write!(f, "moved to {to}"),
            Evidence::NeverWanted(_) => f.write_str("never wanted"),
        }
    }
}

/// What a person asked for, by a label, an annotation, a rule or a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserIntent {
    /// The label is gone, or was never there.
    Unlabelled,
    /// `consul8s_source: none`.
    SourceNone,
    /// The namespace is not in the scope of this installation.
    OutOfScope,
    /// The Service was seen to be deleted.
    ServiceDeleted,
    /// The Service was deleted and made again: another UID.
    ServiceRecreated,
    /// The label says the other direction.
    OtherDirection,
    /// The Service has a type or selector that leaves us nothing to do.
    Unsupported,
    /// The ports of the Service, or their mapping, were changed.
    PortsChanged,
    /// The families of the Service were changed.
    FamiliesChanged,
    /// The settings name another source.
    SourceChanged,
    /// Another datacenter of `consul8s/service.failover` is in use.
    FailedOver,
    /// `consul8s/service.max_staleness` is over.
    TooStale,
    /// `consul8s/service.remove_registration: "true"`.
    RemoveRegistration,
    /// An address that was registered is no longer given.
    AddressGone,
    /// A rule of the configuration forbids it.
    NotAllowed,
    /// Another Service has the name or the ID.
    Yielded,
    /// Another installation of this cluster has registered the Service, too.
    RegisteredElsewhere,
    /// `consul8s purge`.
    Purged,
    /// `consul8s/allow-removal`.
    Released,
}

impl UserIntent {
    /// A few words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            UserIntent::Unlabelled => "no label asks for it",
            UserIntent::SourceNone => "consul8s_source: none",
            UserIntent::OutOfScope => "namespace out of scope",
            UserIntent::ServiceDeleted => "Service deleted",
            UserIntent::ServiceRecreated => "Service made again",
            UserIntent::OtherDirection => "the label says the other direction",
            UserIntent::Unsupported => "type or selector leaves nothing to do",
            UserIntent::PortsChanged => "ports changed",
            UserIntent::FamiliesChanged => "families changed",
            UserIntent::SourceChanged => "another source is named",
            UserIntent::FailedOver => "failed over",
            UserIntent::TooStale => "max_staleness is over",
            UserIntent::RemoveRegistration => "remove_registration",
            UserIntent::AddressGone => "address no longer given",
            UserIntent::NotAllowed => "forbidden by a rule",
            UserIntent::Yielded => "another Service has the name or the ID",
            UserIntent::RegisteredElsewhere => "another installation has registered the Service",
            UserIntent::Purged => "purge",
            UserIntent::Released => "released by consul8s/allow-removal",
        }
    }
}

impl fmt::Display for UserIntent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A check that was seen in an admitted answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckProof {
    id: String,
    status: CheckStatus,
}

impl CheckProof {
    /// From the check itself.
    #[must_use]
    pub fn of(check: &Check) -> CheckProof {
        CheckProof { id: check.id.clone(), status: check.status }
    }

    /// Its state.
    #[must_use]
    pub fn status(&self) -> CheckStatus {
        self.status
    }
}

impl fmt::Display for CheckProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "check {} is {}", crate::problem::clean(&self.id, 80), self.status)
    }
}

/// A consistent read of a node that shows it alive (`serfHealth` passing) without the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeProof {
    node: String,
    at: UnixMillis,
}

impl NodeProof {
    /// Only [`crate::guard::NodeReading`] can tell that it proves this.
    pub(crate) fn of(node: &str, at: UnixMillis) -> NodeProof {
        NodeProof { node: node.to_owned(), at }
    }
}

impl fmt::Display for NodeProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} is alive without it ({})", crate::problem::clean(&self.node, 80), self.at.rfc3339())
    }
}

/// Consistent reads that all agreed that something is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsenceProof {
    reads: u32,
    first: UnixMillis,
    last: UnixMillis,
}

impl AbsenceProof {
    /// From the guard's count; none without a single read.
    pub(crate) fn counted(reads: u32, first: UnixMillis, last: UnixMillis) -> Option<AbsenceProof> {
        (reads > 0).then_some(AbsenceProof { reads, first, last })
    }

    /// From two reads that found nothing and were as far apart as the rule asks.
    #[must_use]
    pub fn twice(first: UnixMillis, second: UnixMillis, least: Duration, most: Duration) -> Option<AbsenceProof> {
        let apart = second.since(first);
        (apart >= least && apart <= most).then_some(AbsenceProof { reads: 2, first, last: second })
    }

    /// How many.
    #[must_use]
    pub fn reads(&self) -> u32 {
        self.reads
    }
}

impl fmt::Display for AbsenceProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.reads == 1 { "" } else { "s" };
        let over = crate::duration::print(self.last.since(self.first));
        write!(f, "{} consistent read{plural} over {over}", self.reads)
    }
}

/// The endpoint that stands for one that went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor(String);

impl Successor {
    /// Only the planner knows that this one is wanted.
    pub(crate) fn wanted(id: &EndpointId) -> Successor {
        Successor(id.to_string())
    }

    /// A registration that stands, or is written by the same plan, for the same address.
    pub(crate) fn registration(node: &str, id: &crate::consul::ServiceId) -> Successor {
        Successor(format!("{}@{node}", crate::problem::clean(id.as_str(), 300)))
    }
}

impl fmt::Display for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something on an object of ours that no plan of ours ever held, and that appeared while we ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift(());

impl Drift {
    /// Only who remembers all plans can tell.
    pub(crate) fn seen() -> Drift {
        Drift(())
    }
}
