//! What people are to be told of a look: one value, left for the teller.

use std::collections::{BTreeMap, BTreeSet};

use consul8s_core::evidence::{Evidence, UserIntent};
use consul8s_core::intent::Intent;
use consul8s_core::kube::ObjectKey;
use consul8s_core::names;
use consul8s_core::packing::{Gone, SliceChange};
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi};
use consul8s_core::problem::{Problem, Reason, ReasonKind};
use consul8s_core::settings::Direction;
use consul8s_core::tell::{self, Course, Look, Subject};
use consul8s_core::to_consul::{Held, RegistrationChange};

use super::{Applied, Planned};
use crate::controller::Controller;
use crate::stores::World;
use crate::stores::record::{State, Told};
use crate::teller::{About, Mailbox};

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Leaves the look for the teller, if there may be something to tell.
    pub(super) fn tell(
        &self,
        key: &ObjectKey,
        plan: &Planned,
        applied: &Applied,
        told: Option<&Told>,
        mailbox: &Mailbox,
    ) {
        let bears_ours = plan.service.as_ref().is_some_and(|service| service.condition.is_some());
        if told.is_none() && !bears_ours {
            return;
        }
        let (silent, trouble, deeds, neighbour) = {
            let mut world = self.world();
            let neighbour = plan.registrations.blocked.is_some() && self.node_of_a_neighbour(&world);
            let reads_nodes = self.directions.contains(&Direction::ToConsul);
            let silent = reads_nodes && !world.registry.synced();
            let trouble = world.consul_trouble.as_ref().map(ToString::to_string);
            (silent, trouble, std::mem::take(&mut world.record(key).deeds), neighbour)
        };
        let view = View { plan, applied, told, silent, trouble, neighbour, directions: &self.directions };
        let mut look = view.look(key);
        look.done.extend(deeds);
        self.settle_attempts(key, &view, &mut look);
        mailbox.leave(&About::Service(key.clone()), look);
    }

    /// A write that got no answer may have been carried out all the same: then the next look finds nothing to do, and tells it.
    fn settle_attempts(&self, key: &ObjectKey, view: &View<'_>, look: &mut Look) {
        let mut world = self.world();
        let attempted = &mut world.record(key).attempted;
        match view.applied {
            Applied::Failed(_) => attempted.extend(view.deeds(&look.counts)),
            Applied::NotWritten => attempted.clear(),
            Applied::Done(_) => {
                for (reason, message) in std::mem::take(attempted) {
                    let counted = matches!(reason, Reason::EndpointsUpdated) && !look.counts.is_empty();
                    let message = if counted { look.counts.clone() } else { message };
                    look.done.entry(reason).or_insert(message);
                }
            }
        }
    }

    /// Whether the node of our name belongs to an installation of this cluster, which then writes the conditions.
    fn node_of_a_neighbour(&self, world: &World) -> bool {
        let identity = &self.settings.identity;
        let foreign = world.registry.nodes().foreign(&self.settings.marks());
        foreign.is_some_and(|view| view.node.meta.get(names::NODE_CLUSTER_UID) == Some(&identity.cluster_uid))
    }
}

/// A look, with what its report found.
struct View<'a> {
    plan: &'a Planned,
    applied: &'a Applied,
    told: Option<&'a Told>,
    /// What stands on our nodes is not known yet.
    silent: bool,
    /// Why Consul does not answer, if so.
    trouble: Option<String>,
    /// Another installation of this cluster has the node of our name.
    neighbour: bool,
    directions: &'a BTreeSet<Direction>,
}

impl View<'_> {
    fn look(&self, key: &ObjectKey) -> Look {
        let View { plan, told, .. } = self;
        let judged = plan.slices.judged.as_ref();
        // Where there is no Service to tell it of, it stands on the Lease.
        let nameless = plan.registrations.held.as_ref().filter(|_| plan.service.is_none()).map(Held::of_all);
        let common: Vec<Problem> = plan.registrations.blocked.iter().cloned().chain(nameless).collect();
        let found = told.map(|told| told.problems.as_slice()).unwrap_or_default();
        let (problems, news): (Vec<Problem>, Vec<Problem>) = found
            .iter()
            .filter(|problem| !common.contains(problem))
            .cloned()
            .partition(|problem| problem.reason.kind() == ReasonKind::Warning);
        let counts = match (judged, plan.service.as_ref(), self.direction()) {
            (Some(judged), Some(service), _) => tell::endpoints(judged, service),
            (None, Some(_), Some(Direction::ToConsul)) => tell::registrations(&plan.registrations, self.name()),
            _ => String::new(),
        };
        let mut done = self.done(&counts);
        done.extend(news.into_iter().map(|news| (news.reason, news.message)));
        Look {
            service: plan.service.as_deref().and_then(Subject::of),
            course: self.course(),
            problems,
            common,
            whereabouts: if judged.is_some() { tell::whereabouts(key) } else { String::new() },
            counts,
            done,
        }
    }

    fn intent(&self) -> Option<&Intent> {
        self.plan.parsed.as_ref().map(|parsed| &parsed.intent)
    }

    /// The direction that the Service asks for, where that is clear.
    fn direction(&self) -> Option<Direction> {
        match self.intent()? {
            Intent::ToKube(_) | Intent::Yield => Some(Direction::ToKube),
            Intent::ToConsul(_) => Some(Direction::ToConsul),
            Intent::Forbidden(direction) => Some(*direction),
            Intent::Frozen(direction) | Intent::Suspended(direction) => *direction,
            Intent::None(_) => None,
        }
    }

    fn name(&self) -> Option<&str> {
        match self.intent()? {
            Intent::ToConsul(wish) => Some(&wish.name),
            _ => None,
        }
    }

    fn course(&self) -> Course {
        let Some(told) = self.told else {
            // Whose namespace it is, is another installation's business.
            let elsewhere = matches!(self.intent(), Some(Intent::None(UserIntent::OutOfScope)));
            return if elsewhere { Course::Leave } else { Course::NotOurs };
        };
        let not_here = self.direction().is_some_and(|direction| !self.directions.contains(&direction));
        if not_here || self.filled_by_another() {
            return Course::Leave;
        }
        if told.state == State::Suspended {
            return Course::Suspended;
        }
        if matches!(self.intent(), Some(Intent::None(_))) && told.problems.is_empty() {
            // What stands for it is on its way out.
            return Course::NotOurs;
        }
        match self.applied {
            Applied::Failed(error) if error.kind != ErrorKind::Conflict => return self.failing(error),
            Applied::Failed(_) | Applied::NotWritten => return Course::Underway,
            Applied::Done(_) => {}
        }
        if self.plan.slices.waiting || (self.silent && told.direction == Direction::ToConsul) {
            return Course::Waiting(self.trouble.clone());
        }
        match (told.state, self.intent()) {
            (State::Pending, _) => Course::Underway,
            (_, Some(Intent::ToConsul(wish))) if wish.remove_registration => Course::Settled(Reason::Deregistered),
            _ if told.direction == Direction::ToConsul => Course::Settled(Reason::Registered),
            _ => Course::Settled(Reason::EndpointsUpdated),
        }
    }

    /// Whether another installation has the Service; the condition is its to write.
    fn filled_by_another(&self) -> bool {
        self.plan.slices.judged.as_ref().is_some_and(|judged| judged.plan.standing.other_installation.is_some())
            || self.plan.registrations.elsewhere
            || self.neighbour
    }

    /// Kubernetes' refusals have no reason of their own.
    fn failing(&self, error: &ApiError) -> Course {
        let to_consul = self.told.is_some_and(|told| told.direction == Direction::ToConsul);
        let reason = match error.kind {
            _ if !to_consul => Reason::EndpointsUpdated,
            ErrorKind::Forbidden => Reason::ConsulPermissionDenied,
            ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Gone => Reason::Registered,
            _ => Reason::ConsulUnavailable,
        };
        Course::Failing(reason, format!("what is to be done could not be written, and is tried again: {error}"))
    }

    /// What was carried out.
    fn done(&self, counts: &str) -> BTreeMap<Reason, String> {
        if matches!(self.applied, Applied::Done(_)) { self.deeds(counts) } else { BTreeMap::new() }
    }

    /// What is carried out when all of the plan is.
    fn deeds(&self, counts: &str) -> BTreeMap<Reason, String> {
        let mut done = BTreeMap::new();
        let View { plan, .. } = self;
        if let Some(judged) = &plan.slices.judged {
            if !plan.slices.changes.is_empty() && tell::endpoints_moved(judged) {
                done.insert(Reason::EndpointsUpdated, counts.to_owned());
            }
            let released: Vec<String> = judged.released.iter().map(|(id, n)| format!("{n} ({id})")).collect();
            if !released.is_empty() {
                let message = format!("let go endpoints that were held: {}", released.join(", "));
                done.insert(Reason::RemovalReleased, message);
            }
        } else if let Some(why) = plan.slices.changes.iter().find_map(withdrawn) {
            let count = plan.slices.changes.iter().filter_map(withdrawn).count();
            let slices = if count == 1 { "slice of ours was" } else { "slices of ours were" };
            done.insert(Reason::EndpointsUpdated, format!("{count} {slices} taken away: {}", shown(why)));
        }
        let changes = &plan.registrations.changes;
        if changes.iter().any(|change| matches!(change, RegistrationChange::Register { .. })) {
            let ids = tell::registered_ids(&plan.registrations);
            done.insert(Reason::Registered, format!("{counts}: {ids}"));
        }
        if let Some(released) = &plan.registrations.released {
            let message = format!("let go registrations that were held: {} ({})", released.registrations, released.id);
            done.insert(Reason::RemovalReleased, message);
        }
        let removed: Vec<&Evidence> = changes.iter().filter_map(deregistered).collect();
        if let Some(why) = removed.first() {
            let plural = if removed.len() == 1 { "" } else { "s" };
            let message = format!("{} registration{plural} removed from Consul: {}", removed.len(), shown(why));
            done.insert(Reason::Deregistered, message);
        }
        done
    }
}

/// What a person asked for says so itself.
fn shown(why: &Evidence) -> String {
    match why {
        Evidence::Intent(what) => what.to_string(),
        why => why.to_string(),
    }
}

fn withdrawn(change: &SliceChange) -> Option<&Evidence> {
    match change {
        SliceChange::Delete { evidence: Gone::Because(why), .. } => Some(why),
        _ => None,
    }
}

fn deregistered(change: &RegistrationChange) -> Option<&Evidence> {
    match change {
        RegistrationChange::Deregister { evidence, .. } => Some(evidence),
        _ => None,
    }
}
