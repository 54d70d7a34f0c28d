//! What the guard reads, and what it leaves of a plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::Evidence;
use crate::kube::{Endpoint, KubeService};
use crate::problem::Problem;
use crate::settings::Settings;
use crate::time::UnixMillis;
use crate::to_kube::{EndpointId, EndpointPlan};

use super::hold::{Held, HoldId, Mark};
use super::reading::{Need, NodeReading, ServiceReading, SourceState};

/// What the guard reads.
#[derive(Debug)]
pub struct Case<'a> {
    /// The plan.
    pub plan: EndpointPlan,
    /// The Service.
    pub service: &'a KubeService,
    /// Whether the source is whole.
    pub source: SourceState,
    /// Confirming reads of its Consul service since the last pass, in any order; the same one again does no harm.
    pub services_read: &'a [ServiceReading],
    /// Confirming reads of nodes, likewise.
    pub nodes_read: &'a [NodeReading],
    /// `consul8s/allow-removal` on the Lease.
    pub lease_release: Option<&'a str>,
    /// The settings.
    pub settings: &'a Settings,
    /// The time.
    pub now: UnixMillis,
}

/// A plan that the guard has passed: only this can be packed and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The plan, whose removals stand here now.
    pub plan: EndpointPlan,
    /// What stays exactly as it stands, because it is held or its absence is not confirmed yet.
    pub kept: BTreeMap<EndpointId, Endpoint>,
    /// What goes, each with its evidence.
    pub removed: BTreeMap<EndpointId, Evidence>,
    /// What of the kept is not held, but only awaits its confirming reads.
    pub awaiting: BTreeSet<EndpointId>,
    /// What is held.
    pub held: Vec<Held>,
    /// What the slices of the held keep of their holds.
    pub marks: BTreeMap<EndpointId, Mark>,
    /// The nodes of what stays though no instance of the answer stands for it, where they are known.
    pub nodes: BTreeMap<EndpointId, String>,
    /// `consul8s/allow-removal: true` was used; a slice keeps that too.
    pub used: bool,
    /// Reads that are needed, soonest first.
    pub needs: Vec<Need>,
    /// What was released, by hold.
    pub released: BTreeMap<HoldId, usize>,
    /// Problems of the plan and of the guard, sorted.
    pub problems: Vec<Problem>,
    /// When to look at this Service again without any other reason.
    pub look_again: Option<UnixMillis>,
}
