//! The plan while it is being made, and the part of it that registers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::consul::{Instance, Registration, ServiceId};
use crate::evidence::{Evidence, Successor, UserIntent};
use crate::intent::to_consul::{MAX_META_VALUE, OnDelete, ToConsul};
use crate::kube::{KubeService, ObjectKey};
use crate::names;
use crate::problem::{Problem, Reason, clean};
use crate::settings::{Direction, Policy};

use super::candidate::{Candidate, Subject};
use super::change::{Before, RegistrationChange, same_check, same_service};
use super::cluster::Cluster;
use super::nodes::{Marks, Standing, key_of, record};
use super::readiness::{Readiness, Verdict};
use super::removal::{self, Why};
use super::{Decision, Fate, Input, RegistrationPlan, Stays, called, ids, release, sources};

/// How long to wait for another Service's registration to go before its ID is taken.
const WAIT_FOR_ID: Duration = Duration::from_secs(5);

/// Why an ID can't be had, and for which Service it stands, if for one of ours.
type Taken = (Problem, Option<ObjectKey>);

/// What became of the addresses that are asked for.
#[derive(Debug, Default)]
struct Placed {
    /// Where they stand.
    at: BTreeMap<Subject, (u32, ServiceId)>,
    /// Not registered, as their ID is somebody else's: the Service, if it is one of ours.
    taken: BTreeMap<Subject, Option<ObjectKey>>,
}

/// A plan in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) input: &'a Input<'a>,
    pub(super) marks: Marks<'a>,
    /// What stands for the Service, in the order of nodes and IDs.
    pub(super) standing: Vec<Standing<'a>>,
    pub(super) plan: RegistrationPlan,
    /// New registrations for each node, those of other Services too.
    coming: BTreeMap<u32, usize>,
    /// Nodes that this plan makes.
    made: BTreeSet<u32>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(input: &'a Input<'a>, marks: Marks<'a>, standing: Vec<Standing<'a>>) -> Draft<'a> {
        Draft {
            input,
            marks,
            standing,
            plan: RegistrationPlan::default(),
            coming: input.coming.clone(),
            made: BTreeSet::new(),
        }
    }

    pub(super) fn decide(&mut self, what: String, fate: Fate) {
        self.plan.decisions.push(Decision { what, fate });
    }

    pub(super) fn finish(mut self) -> RegistrationPlan {
        // What goes goes last, whatever was decided in between.
        self.plan.changes.sort_by_key(|change| matches!(change, RegistrationChange::Deregister { .. }));
        self.plan.problems.sort();
        self.plan.problems.dedup();
        self.plan
    }

    /// `--take-over`: nodes of our name get our identity.
    pub(super) fn take_over_nodes(&mut self) {
        let identity = self.marks.identity;
        for view in self.input.nodes.views().filter(|view| !identity.owns_node(&view.node)) {
            let mut after = view.node.clone();
            after.meta.extend(identity.node_meta());
            self.plan.changes.push(RegistrationChange::SetNode { after, before: Some(view.node.clone()) });
        }
    }

    /// Everything that stands stays as it is.
    pub(super) fn stay(&mut self, why: Stays) {
        for standing in self.standing.clone() {
            self.decide(called(&standing), Fate::Stays(why));
        }
    }

    /// Everything that stands stays, and its checks follow.
    pub(super) fn only_checks(&mut self, service: &KubeService) {
        let cluster = Cluster::new(service, self.input.slices, self.input.cluster_nodes);
        let readiness = Readiness::new(&service.key, &cluster);
        for standing in self.standing.clone() {
            self.decide(called(&standing), Fate::Stays(Stays::Frozen));
            self.follow(&standing, &readiness);
        }
    }

    /// Where a rule forbids a name under which something stands, everything goes; whether it is so.
    pub(super) fn gives_up_what_is_forbidden(&mut self) -> bool {
        let rules = &self.input.settings.rules;
        let namespace = &self.input.key.namespace;
        let refusal = |standing: &Standing<'_>| rules.refusal(namespace, Direction::ToConsul, &standing.service.name);
        let Some(problem) = self.standing.iter().find_map(refusal) else { return false };
        self.plan.problems.push(problem);
        removal::all(self, Why::Intent(UserIntent::NotAllowed));
        true
    }

    /// Makes what stands for the Service what it asks for.
    pub(super) fn register(&mut self, service: &KubeService, wish: &ToConsul) {
        if let Some(problem) = self.input.claims.refusal(&service.key, self.input.nodes, &self.marks) {
            self.plan.problems.push(problem);
            return removal::all(self, Why::Intent(UserIntent::Yielded));
        }
        if let Some((owner, problem)) = self.registered_elsewhere(service)
            && (self.standing.is_empty() || *owner < *self.marks.identity.owner)
        {
            self.plan.problems.push(problem);
            self.plan.elsewhere = true;
            return removal::all(self, Why::Intent(UserIntent::RegisteredElsewhere));
        }
        let cluster = Cluster::new(service, self.input.slices, self.input.cluster_nodes);
        let readiness = Readiness::new(&service.key, &cluster);
        let found = sources::find(service, wish, &cluster);
        self.plan.problems.extend(found.problems);
        for (what, why) in found.left_out {
            self.decide(clean(&what, 300), Fate::LeftOut(why));
        }
        let subjects: Vec<(Subject, &str)> = self
            .standing
            .iter()
            .map(|standing| (Subject::of(standing.service), standing.service.id.as_str()))
            .collect();
        let given = ids::assign(&wish.id, &subjects, &found.wanted);
        let mut placed = Placed::default();
        for (candidate, id) in found.wanted.iter().zip(given) {
            let verdict = readiness.judge(&candidate.subject, candidate.target.as_ref().map(|(_, name)| name.as_str()));
            let wanted = registration(service, wish, candidate, id, verdict, &self.marks);
            match self.register_one(wanted) {
                Ok(at) => drop(placed.at.insert(candidate.subject.clone(), at)),
                Err(by) => drop(placed.taken.insert(candidate.subject.clone(), by)),
            }
        }
        self.remove_rest(&placed, found.gone_because, &readiness);
    }

    /// Registers or corrects one; gives where it stands, or whose its ID is.
    fn register_one(&mut self, mut wanted: Registration) -> Result<(u32, ServiceId), Option<ObjectKey>> {
        let (ordinal, before) = match self.spot(&wanted.id) {
            Ok(spot) => spot,
            Err((problem, by)) => {
                self.decide(clean(wanted.id.as_str(), 300), Fate::Taken);
                self.plan.problems.push(problem);
                return Err(by);
            }
        };
        wanted.node = self.input.nodes.name(ordinal);
        if before.service.is_none() {
            self.ensure_node(ordinal);
            *self.coming.entry(ordinal).or_default() += 1;
        }
        let what = format!("{}@{}", clean(wanted.id.as_str(), 300), wanted.node);
        self.decide(what, Fate::Registered { status: wanted.status, output: wanted.output.clone() });
        let at = (ordinal, wanted.id.clone());
        self.write(wanted, before);
        Ok(at)
    }

    /// Where an ID stands, or is to stand, with what is there.
    fn spot(&mut self, id: &ServiceId) -> Result<(u32, Before), Taken> {
        let nodes = self.input.nodes;
        let mine = self.standing.iter().copied().find(|standing| standing.service.id == id.as_str());
        match mine.or_else(|| nodes.find(id.as_str())) {
            Some(standing) => {
                if mine.is_none() {
                    self.may_take(&standing)?;
                }
                let before = Before { service: Some(standing.service.clone()), check: standing.check.cloned() };
                Ok((standing.ordinal, before))
            }
            None => {
                let ordinal = nodes.place(&self.coming);
                let view = nodes.get(&nodes.name(ordinal));
                Ok((
                    ordinal,
                    Before { service: None, check: view.and_then(|view| view.checks.get(&id.check_id())).cloned() },
                ))
            }
        }
    }

    /// Whether an ID that doesn't stand for this Service may be made its own.
    fn may_take(&mut self, standing: &Standing<'_>) -> Result<(), Taken> {
        let conflict = |whose: &str, way: &str| {
            Problem::new(Reason::OwnershipConflict, format!("the ID of {standing} {whose}; {way}"))
        };
        if !self.marks.ours(standing.service) {
            let way = format!("give another one in {}", names::SERVICE_ID);
            return Err((conflict("was registered by somebody else and stays theirs", &way), None));
        }
        match key_of(standing.service) {
            // Ours by its owner, with the rest of its marks gone: somebody edited it.
            None => Ok(()),
            // To take it now would leave a gap in what the other one has registered.
            Some(other) => {
                self.plan.look_again = Some(self.input.now.after(WAIT_FOR_ID));
                let whose = format!("still stands for {other}");
                Err((conflict(&whose, "it is taken as soon as that is removed"), Some(other)))
            }
        }
    }

    fn ensure_node(&mut self, ordinal: u32) {
        if !self.input.nodes.exists(ordinal) && self.made.insert(ordinal) {
            let after = record(self.input.nodes.name(ordinal), self.marks.identity);
            self.plan.changes.push(RegistrationChange::SetNode { after, before: None });
        }
    }

    /// Only what differs is written. `consul8s-rv` stays as it stands where nothing else does.
    fn write(&mut self, wanted: Registration, before: Before) {
        let same = before.service.as_ref().is_some_and(|service| same_service(service, &wanted));
        if !same {
            self.plan.changes.push(RegistrationChange::Register { after: Box::new(wanted), before });
        } else if !same_check(before.check.as_ref(), &wanted) {
            let stored = before.service.as_ref().map(|service| service.meta.clone()).unwrap_or_default();
            let after = Box::new(Registration { meta: stored, ..wanted });
            self.plan.changes.push(RegistrationChange::SetCheck { after, before });
        }
    }

    /// What stands beyond what is asked for: it goes after everything else has been registered.
    fn remove_rest(&mut self, placed: &Placed, gone_because: Option<UserIntent>, readiness: &Readiness<'_>) {
        let used: BTreeSet<(u32, &str)> = placed.at.values().map(|(ordinal, id)| (*ordinal, id.as_str())).collect();
        for standing in self.standing.clone() {
            if used.contains(&(standing.ordinal, standing.service.id.as_str())) {
                continue;
            }
            let becomes = match self.input.settings.policy {
                Policy::UpsertOnly => Err(Stays::Policy),
                Policy::Sync | Policy::Observe => self.what_becomes(&standing, placed, gone_because),
            };
            match becomes {
                Ok(evidence) => self.deregister(&standing, evidence),
                Err(stays) => {
                    self.decide(called(&standing), Fate::Stays(stays));
                    self.follow(&standing, readiness);
                }
            }
        }
    }

    /// Why a registration that isn't asked for may go, or else why it stays.
    fn what_becomes(
        &self,
        standing: &Standing<'_>,
        placed: &Placed,
        gone_because: Option<UserIntent>,
    ) -> Result<Evidence, Stays> {
        let subject = Subject::of(standing.service);
        let same_id = || placed.at.values().find(|(_, id)| id.as_str() == standing.service.id);
        if let Some((ordinal, id)) = placed.at.get(&subject).or_else(same_id) {
            return Ok(Evidence::Moved(Successor::registration(&self.input.nodes.name(*ordinal), id)));
        }
        match placed.taken.get(&subject) {
            Some(by) if self.in_the_way(standing, by.as_ref()) => Ok(Evidence::Intent(UserIntent::Yielded)),
            Some(_) => Err(Stays::NewIdTaken),
            None => gone_because.map(Evidence::Intent).ok_or(Stays::NoSlices),
        }
    }

    /// Two Services that exchange their IDs would wait for each other for ever: the younger lets go.
    fn in_the_way(&self, standing: &Standing<'_>, of: Option<&ObjectKey>) -> bool {
        let claims = self.input.claims;
        let (Some(of), Some(mine)) = (of, claims.get(self.input.key)) else { return false };
        claims.get(of).is_some_and(|other| {
            other.id == standing.service.id && (other.created, of) < (mine.created, self.input.key)
        })
    }

    pub(super) fn deregister(&mut self, standing: &Standing<'_>, evidence: Evidence) {
        let Some(id) = ServiceId::new(standing.service.id.clone()) else { return };
        self.decide(called(standing), Fate::Goes(evidence.clone()));
        self.plan.changes.push(RegistrationChange::Deregister {
            node: standing.node.to_owned(),
            id,
            name: standing.service.name.clone(),
            index: standing.service.modify_index,
            evidence,
        });
    }

    /// The check of a registration that otherwise stays as it is.
    fn follow(&mut self, standing: &Standing<'_>, readiness: &Readiness<'_>) {
        let service = standing.service;
        let pod = service
            .meta
            .get(names::META_K8S_REF_NAME)
            .filter(|name| service.meta.get(names::META_SERVICE) != Some(*name));
        let verdict = readiness.judge(&Subject::of(service), pod.map(String::as_str));
        let Some(after) = as_it_stands(standing, verdict) else { return };
        if !same_check(standing.check, &after) {
            let before = Before { service: Some(service.clone()), check: standing.check.cloned() };
            self.plan.changes.push(RegistrationChange::SetCheck { after: Box::new(after), before });
        }
    }

    /// Two installations of one cluster would register the Service twice: who comes second leaves it alone. Where both came at once, and
    /// both have registered it, the smaller owner id keeps it. Gives the other's.
    fn registered_elsewhere(&self, service: &KubeService) -> Option<(&'a str, Problem)> {
        let same_uid = |at: &&Instance| at.meta.get(names::META_UID) == Some(&service.uid);
        let ours = &self.marks.identity.owner;
        let other_owner = |at: &&Instance| at.meta.get(names::META_OWNER).is_some_and(|owner| owner != ours);
        let others = self.input.elsewhere.iter().filter(same_uid).filter(other_owner);
        let other = others.min_by_key(|at| at.meta.get(names::META_OWNER))?;
        let owner = other.meta.get(names::META_OWNER).map_or("", String::as_str);
        let message = format!(
            "another installation in this cluster (owner {}) has registered this Service as {}; let only one have the namespace {} in its scope",
            clean(owner, 80),
            clean(&other.reference().to_string(), 300),
            service.key.namespace
        );
        Some((owner, Problem::new(Reason::OwnershipConflict, message)))
    }
}

/// A registration with everything that the contract asks for; its node is chosen later.
fn registration(
    service: &KubeService,
    wish: &ToConsul,
    candidate: &Candidate,
    id: ServiceId,
    (status, output): Verdict,
    marks: &Marks<'_>,
) -> Registration {
    Registration {
        node: String::new(),
        id,
        name: wish.name.clone(),
        address: candidate.address.clone(),
        port: candidate.port,
        tags: wish.tags.clone(),
        meta: meta(service, wish, candidate, marks),
        weight: wish.weight,
        status,
        output,
    }
}

fn meta(service: &KubeService, wish: &ToConsul, candidate: &Candidate, marks: &Marks<'_>) -> BTreeMap<String, String> {
    let ObjectKey { namespace, name } = &service.key;
    let endpoint = matches!(candidate.subject, Subject::Endpoint { .. });
    let (kind, of) = candidate.target.as_ref().map_or(("Service", name), |(kind, name)| (kind.as_str(), name));
    let mut meta = wish.meta.clone();
    // Consul refuses a longer value, and with it the registration; only a slice's author can write such a zone.
    let mut set = |key: &str, value: &str| {
        if value.len() <= MAX_META_VALUE {
            meta.insert(key.to_owned(), value.to_owned());
        }
    };
    set(names::META_EXTERNAL_SOURCE, "kubernetes");
    set(names::META_K8S_NS, namespace);
    set(names::META_K8S_REF_KIND, kind);
    set(names::META_K8S_REF_NAME, of);
    set(names::META_OWNER, &marks.identity.owner);
    set(names::META_CLUSTER, &marks.identity.cluster);
    set(names::META_UID, &service.uid);
    set(names::META_RV, &service.resource_version);
    if endpoint {
        set(names::META_SERVICE, name);
    }
    if let Some(node) = &candidate.node {
        set(names::META_K8S_NODE, node);
    }
    if let Some(zone) = &candidate.zone {
        set(names::META_K8S_ZONE, zone);
    }
    if wish.on_delete == OnDelete::Keep {
        set(names::META_ON_DELETE, "keep");
    }
    if release::says_all(service) {
        set(names::META_ALLOW_REMOVAL, "used");
    }
    meta
}

/// What stands, with another check; none where somebody has made of it what can't be written back.
fn as_it_stands(standing: &Standing<'_>, (status, output): Verdict) -> Option<Registration> {
    let service = standing.service;
    Some(Registration {
        node: standing.node.to_owned(),
        id: ServiceId::new(service.id.clone())?,
        name: service.name.clone(),
        address: service.address.clone(),
        port: u16::try_from(service.port).ok()?,
        tags: service.tags.clone(),
        meta: service.meta.clone(),
        weight: u16::try_from(service.weight).ok()?,
        status,
        output,
    })
}
