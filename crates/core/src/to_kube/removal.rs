//! Why what stands should go: the first column of guard.md's table, as far as the answer alone can tell.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::consul::{HealthQuery, InstanceRef};
use crate::evidence::{Drift, Evidence, Successor, UserIntent};
use crate::kube::Endpoint;

use super::behind::Behind;
use super::decision::Rule;
use super::id::EndpointId;
use super::instance::Judged;
use super::port::PortPlan;
use super::standing::Standing;
use super::{Input, Removal, Wanted, Why, families};

/// What the answer shows, indexed for the question "what became of this endpoint?".
pub(super) struct Seen<'a> {
    input: &'a Input<'a>,
    ports: &'a PortPlan<'a>,
    by_instance: BTreeMap<InstanceRef, &'a Judged<'a>>,
    forbidden: BTreeMap<&'a EndpointId, Rule>,
    wanted: BTreeMap<IpAddr, Vec<&'a EndpointId>>,
    standing: &'a Standing,
    /// A hostname has no address yet: an endpoint of unknown origin may be its.
    unresolved: bool,
    nothing_new: bool,
}

impl<'a> Seen<'a> {
    pub(super) fn new(
        input: &'a Input<'a>,
        judged: &'a [Judged<'a>],
        standing: &'a Standing,
        wanted: &'a BTreeMap<EndpointId, Wanted>,
        ports: &'a PortPlan<'a>,
        nothing_new: bool,
    ) -> Seen<'a> {
        let mut by_address: BTreeMap<IpAddr, Vec<&EndpointId>> = BTreeMap::new();
        for id in wanted.keys() {
            by_address.entry(id.address).or_default().push(id);
        }
        let forbidden = judged.iter().filter_map(|one| Some((one, one.rule?)));
        Seen {
            input,
            ports,
            by_instance: judged.iter().map(|one| (one.instance.reference(), one)).collect(),
            forbidden: forbidden.flat_map(|(one, rule)| one.endpoints.iter().map(move |id| (id, rule))).collect(),
            wanted: by_address,
            standing,
            unresolved: judged.iter().any(|one| one.rule == Some(Rule::Unresolvable)),
            nothing_new,
        }
    }

    /// What stands and should go. What neither is wanted nor stands here stays as it is.
    pub(super) fn removals(&self) -> BTreeMap<EndpointId, Removal> {
        let open = self.standing.endpoints.iter().filter(|(id, _)| !self.is_wanted(id));
        let judged = open.filter_map(|(id, endpoint)| Some((id.clone(), self.removal(id, endpoint)?)));
        judged.collect()
    }

    fn is_wanted(&self, id: &EndpointId) -> bool {
        self.wanted.get(&id.address).is_some_and(|ids| ids.contains(&id))
    }

    fn removal(&self, id: &EndpointId, endpoint: &Endpoint) -> Option<Removal> {
        let known = self.input.memory.known(id);
        if known.is_none() && self.input.memory.is_adopted() && !self.standing.inherited.contains(id) {
            return Some(self.because(endpoint, Evidence::NeverWanted(Drift::seen())));
        }
        let query = known.and_then(|known| known.query());
        if let Some(why) = self.changed_by_user(id, query) {
            return Some(self.because(endpoint, Evidence::Intent(why)));
        }
        let noted = || self.standing.nodes.get(id).cloned().map(Behind::Node);
        let behind = known.and_then(|known| known.behind()).cloned().or_else(noted);
        let instance = behind.as_ref().and_then(Behind::instance);
        match self.elsewhere(id, instance) {
            // Its successor is not published while nothing may be added: then it stays.
            Some(Evidence::Moved(_)) if self.nothing_new => None,
            Some(evidence) => Some(self.because(endpoint, evidence)),
            None if instance.is_none() && self.unresolved => None,
            None => Some(Removal { endpoint: endpoint.clone(), why: Why::Missing(behind) }),
        }
    }

    fn because(&self, endpoint: &Endpoint, evidence: Evidence) -> Removal {
        Removal { endpoint: endpoint.clone(), why: Why::Known(evidence) }
    }

    /// What the Service or its annotations no longer ask for.
    fn changed_by_user(&self, id: &EndpointId, query: Option<&HealthQuery>) -> Option<UserIntent> {
        if !families(self.input.service).contains(&id.family()) {
            return Some(UserIntent::FamiliesChanged);
        }
        if self.ports.none_of(&id.ports) {
            return Some(UserIntent::PortsChanged);
        }
        let (then, now) = (query?, self.input.source.query);
        if then == now {
            return None;
        }
        let failed_over =
            HealthQuery { datacenter: None, ..then.clone() } == HealthQuery { datacenter: None, ..now.clone() };
        Some(if failed_over && !self.input.intent.failover.is_empty() {
            UserIntent::FailedOver
        } else {
            UserIntent::SourceChanged
        })
    }

    /// What the answer shows of the instance behind it, or of the address itself.
    fn elsewhere(&self, id: &EndpointId, instance: Option<&InstanceRef>) -> Option<Evidence> {
        if let Some(one) = instance.and_then(|instance| self.by_instance.get(instance)) {
            return match (one.rule, one.endpoints.first()) {
                (Some(rule), _) => Some(Evidence::Unfit(rule)),
                (None, Some(to)) => Some(Evidence::Moved(Successor::wanted(to))),
                (None, None) => None,
            };
        }
        if let Some(rule) = self.forbidden.get(id) {
            return Some(Evidence::Unfit(*rule));
        }
        // Reached through the same address and numbers as before: a port was added to the Service, or taken away.
        let same = self.wanted.get(&id.address)?.iter().find(|to| to.ports.agree(&id.ports))?;
        Some(Evidence::Moved(Successor::wanted(same)))
    }
}
