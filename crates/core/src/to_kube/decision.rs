//! What became of each instance, and the rule that decided: a value, so that the plan, `explain` and the metrics all tell the same.

use std::fmt;

use crate::address::Never;
use crate::consul::InstanceRef;
use crate::evidence::CheckProof;
use crate::problem::clean;

use super::EndpointId;

/// Why an instance of the answer is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Its name differs from the one asked for; Consul itself ignores case.
    Name,
    /// A mesh proxy or gateway.
    Kind,
    /// It comes from this cluster (contract S7).
    Loop,
    /// It lacks a tag of `consul8s/service.tags`.
    Tag,
    /// `consul8s/service.filter` leaves it out.
    Filter,
    /// Its address is never published.
    Address(Never),
    /// `--deny-cidr` names its address, or `--allow-cidr` doesn't.
    Denied,
    /// Its hostname has no address, or is not to be resolved.
    Unresolvable,
    /// The Service doesn't have the family of its address.
    Family,
    /// It has no such port, or one outside 1–65535.
    Port,
    /// Another instance with the same address and ports stands for it.
    Duplicate,
}

impl Rule {
    /// Label of the metric `consul8s_instances_dropped`; none where leaving it out is just what was asked for.
    #[must_use]
    pub fn metric(self) -> Option<&'static str> {
        match self {
            Rule::Name => Some("name"),
            Rule::Loop => Some("loop"),
            Rule::Address(_) => Some("address"),
            Rule::Denied => Some("denied"),
            Rule::Unresolvable => Some("unresolvable"),
            Rule::Family => Some("family"),
            Rule::Port => Some("port"),
            Rule::Duplicate => Some("duplicate"),
            Rule::Kind | Rule::Tag | Rule::Filter => None,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Name => f.write_str("name"),
            Rule::Kind => f.write_str("kind"),
            Rule::Loop => f.write_str("loop"),
            Rule::Tag => f.write_str("tag"),
            Rule::Filter => f.write_str("filter"),
            Rule::Address(why) => write!(f, "address: {}", why.as_str()),
            Rule::Denied => f.write_str("denied"),
            Rule::Unresolvable => f.write_str("unresolvable"),
            Rule::Family => f.write_str("family"),
            Rule::Port => f.write_str("port"),
            Rule::Duplicate => f.write_str("duplicate"),
        }
    }
}

/// What became of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Published as ready.
    Ready(ReadyBy),
    /// Published as not ready, because of this check.
    NotReady(CheckProof),
    /// Published as draining, because of this maintenance.
    Draining(CheckProof),
    /// Not published as ready, because `consul8s/service.max_staleness` is over.
    Stale,
    /// Not published.
    Dropped(Rule),
    /// Not added, because nothing may be added now: settings are frozen, or another installation fills the Service.
    NotAdded,
}

/// What makes an instance ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyBy {
    /// Its health.
    Health,
    /// The policy admits its failing check, or `publishNotReadyAddresses` does.
    Policy,
    /// Fewer instances are ready than `panic_threshold` asks for.
    Panic,
}

/// An instance with its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which.
    pub instance: InstanceRef,
    /// The address as written in the catalog, where it helps to understand.
    pub address: String,
    /// The endpoints that it has, or would have.
    pub endpoints: Vec<EndpointId>,
    /// What became of it.
    pub fate: Fate,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Ready(ReadyBy::Health) => f.write_str("ready"),
            Fate::Ready(ReadyBy::Policy) => f.write_str("ready by policy"),
            Fate::Ready(ReadyBy::Panic) => f.write_str("ready by panic threshold"),
            Fate::NotReady(check) => write!(f, "not ready: {check}"),
            Fate::Draining(check) => write!(f, "draining: {check}"),
            Fate::Stale => f.write_str("not ready: max_staleness is over"),
            Fate::Dropped(rule) => write!(f, "dropped: {rule}"),
            Fate::NotAdded => f.write_str("not added"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", clean(&self.instance.to_string(), 160), self.fate)?;
        match self.endpoints.as_slice() {
            [] if self.address.is_empty() => Ok(()),
            [] => write!(f, " ({})", clean(&self.address, 80)),
            ids => ids.iter().try_for_each(|id| write!(f, " [{id}]")),
        }
    }
}
