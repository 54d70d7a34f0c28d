//! What the imports of one namespace ask for, against the Services that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::absence::Known;
use super::own::{binds, created, is_for, is_forgotten};
use super::service::{self, Candidate, NewService};
use super::status::{ImportCondition, Status};
use super::{Catalog, CatalogQuery, Definition, Import, Memory, name, select};
use crate::consul::HealthQuery;
use crate::evidence::AbsenceProof;
use crate::kube::{ConditionStatus, KubeService, ObjectKey};
use crate::names;
use crate::settings::{Direction, Policy, Settings};
use crate::time::UnixMillis;

/// A Service that is to go and has endpoints yet is looked at again this often.
const WHILE_BUSY: Duration = Duration::from_secs(30);
/// Conflicts that a message names.
const SHOWN: usize = 5;

/// What planning reads.
pub struct Input<'a> {
    /// All imports of one namespace.
    pub imports: &'a [&'a Import],
    /// All Services of that namespace.
    pub services: &'a [&'a KubeService],
    /// What Consul lists; what was never answered is missing.
    pub catalogs: &'a BTreeMap<CatalogQuery, Catalog>,
    /// Why Consul does not answer now.
    pub troubles: &'a BTreeMap<CatalogQuery, (&'static str, String)>,
    /// What was read of services that have no Service.
    pub candidates: &'a BTreeMap<HealthQuery, (Candidate, String)>,
    /// What is remembered of each import, by UID.
    pub memories: &'a BTreeMap<String, Memory>,
    /// Services of which an endpoint stands or is held.
    pub busy: &'a BTreeSet<String>,
    /// Names for which Kubernetes refused a Service, and why.
    pub refused: &'a BTreeMap<String, String>,
    /// The definition, read after the imports were; none where it could not be read, and nobody's deletion is carried out.
    pub definition: Option<Definition>,
    /// The settings.
    pub settings: &'a Settings,
    /// `--consul-domain`
    pub domain: &'a str,
    /// `--import-removal-delay`
    pub delay: Duration,
    /// The time.
    pub now: UnixMillis,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Writes, in their order.
    pub actions: Vec<Action>,
    /// What has to be read to go on.
    pub needs: Vec<Need>,
    /// Where each import stands once that is done, in the order of their turns.
    pub statuses: Vec<(ObjectKey, Status)>,
    /// When to look again though nothing changes.
    pub look_again: Option<UnixMillis>,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Our finalizer is put on an import.
    Hold(ObjectKey),
    /// Our finalizer is taken off.
    LetGo(ObjectKey),
    /// A Service is created.
    Create {
        /// For this import.
        import: ObjectKey,
        /// For this Consul service.
        service: String,
        /// It.
        new: Box<NewService>,
    },
    /// A created Service is deleted.
    Delete {
        /// Of this import.
        import: ObjectKey,
        /// It.
        service: Box<KubeService>,
        /// Why.
        why: Removal,
    },
    /// A created Service becomes its namespace's own.
    Orphan {
        /// Of this import.
        import: ObjectKey,
        /// It.
        service: Box<KubeService>,
        /// Why.
        why: Removal,
    },
    /// A created Service says whether it is missing from a Consul that was restored or wiped.
    Remember {
        /// Of this import.
        import: ObjectKey,
        /// It.
        service: Box<KubeService>,
        /// Whether.
        forgotten: bool,
    },
}

/// Why a created Service goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Its import is deleted.
    ImportDeleted,
    /// Its import no longer asks for it by its name.
    NotSelected,
    /// Consul no longer lists it, or not among what is selected.
    Absent(AbsenceProof),
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Removal::ImportDeleted => f.write_str("its ConsulImport is deleted"),
            Removal::NotSelected => f.write_str("its ConsulImport no longer selects its name"),
            Removal::Absent(proof) => write!(f, "missing from the catalog in {proof}"),
        }
    }
}

/// One read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Instances of a service that has no Service.
    Instances(HealthQuery),
    /// A consistent read of the list that an import looks at.
    Catalog(ObjectKey),
}

/// Plans one namespace.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let mut order: Vec<&Import> = input.imports.to_vec();
    order.sort_by(|a, b| (a.created, &a.key, &a.uid).cmp(&(b.created, &b.key, &b.uid)));
    let mut planner = Planner::new(input);
    for import in order {
        planner.import(import);
    }
    // Who comes first in byte order shows only when all are known.
    if planner.plan.needs.iter().any(|need| matches!(need, Need::Instances(_))) {
        planner.plan.actions.retain(|action| !matches!(action, Action::Create { .. }));
    }
    planner.plan
}

struct Planner<'a> {
    input: &'a Input<'a>,
    /// Consul services that a Service of this namespace stands for.
    bound: BTreeSet<HealthQuery>,
    /// Names of Services, there or to be created.
    taken: BTreeSet<String>,
    plan: Plan,
}

/// What one import comes to.
#[derive(Default)]
struct Counted {
    matched: usize,
    own: usize,
    others: usize,
    waiting: usize,
    conflicts: Vec<String>,
    refused: Vec<String>,
}

impl<'a> Planner<'a> {
    fn new(input: &'a Input<'a>) -> Planner<'a> {
        let bound = input.services.iter().filter_map(|service| binds(service, input.settings)).collect();
        let taken = input.services.iter().map(|service| service.key.name.clone()).collect();
        Planner { input, bound, taken, plan: Plan::default() }
    }

    fn import(&mut self, import: &'a Import) {
        if import.deleting {
            return self.deleting(import);
        }
        let own = created(import, self.input.services);
        if import.spec.suspend {
            let ready = ImportCondition::new(ConditionStatus::False, "Suspended", "spec.suspend is true");
            let conflict = import.status.conflict.clone();
            let Status { matched, conflicts, .. } = import.status;
            let status =
                Status { ready: Some(ready), conflict, matched, conflicts, created: own.len(), ..Status::default() };
            return self.status(import, status);
        }
        if !import.is_held_by_us() {
            // Nothing is created before what is created can be taken back.
            self.plan.actions.push(Action::Hold(import.key.clone()));
            // Where nothing is written it is shown what would follow.
            if self.input.settings.policy != Policy::Observe {
                return;
            }
        }
        let selected = match self.selected(import) {
            Ok(selected) => selected,
            Err(ready) => {
                let Status { matched, conflicts, conflict, .. } = import.status.clone();
                let status = Status {
                    ready: Some(ready),
                    conflict,
                    matched,
                    conflicts,
                    created: own.len(),
                    ..Status::default()
                };
                return self.status(import, status);
            }
        };
        let mut counted = Counted { own: own.len(), ..Counted::default() };
        for service in &own {
            self.keep_or_remove(import, service, &selected);
        }
        for service in &selected {
            self.give(import, service, &own, &mut counted);
        }
        let trouble = import.spec.catalog().and_then(|query| self.input.troubles.get(&query));
        self.status(import, counted.status(trouble));
    }

    /// What the selector takes, or why that is not known.
    fn selected(&self, import: &'a Import) -> Result<BTreeSet<&'a str>, ImportCondition> {
        let not_ready = |status, reason: &str, message: &str| Err(ImportCondition::new(status, reason, message));
        let spec = &import.spec;
        let Some(query) = spec.catalog() else {
            let names = select::of_peer(&spec.selector);
            if names.is_empty() {
                let message =
                    "Consul can't list what a peer exports: with spec.peer, give selector.names and nothing else";
                return not_ready(ConditionStatus::False, "InvalidSelector", message);
            }
            return Ok(names);
        };
        if let Some(catalog) = self.input.catalogs.get(&query) {
            return Ok(select::of(spec, catalog));
        }
        match self.input.troubles.get(&query) {
            Some((reason, why)) => not_ready(ConditionStatus::False, reason, why),
            None => not_ready(ConditionStatus::Unknown, "ConsulUnavailable", "Consul has not listed its catalog yet"),
        }
    }

    /// A Service that there is.
    fn keep_or_remove(&mut self, import: &Import, service: &KubeService, selected: &BTreeSet<&str>) {
        let Some(bound) = service.annotations.get(names::SERVICE_NAME) else { return };
        if selected.contains(bound.as_str()) {
            return self.remember(import, service, false);
        }
        // Somebody has made it another's: that is nothing that the catalog could say.
        if !is_for(import, service, bound) {
            return;
        }
        if !select::may_take(&import.spec.selector, bound) {
            return self.remove(import, service, Removal::NotSelected);
        }
        if import.spec.catalog().is_none() {
            return;
        }
        let now = self.input.now;
        let nothing = Memory::default();
        let memory = self.input.memories.get(&import.uid).unwrap_or(&nothing);
        match memory.of(&service.key.name, self.input.delay, now) {
            Known::ReadAt(at) if at <= now => {
                let need = Need::Catalog(import.key.clone());
                if !self.plan.needs.contains(&need) {
                    self.plan.needs.push(need);
                }
            }
            Known::ReadAt(at) => self.look_again(at),
            Known::Forgotten => self.remember(import, service, true),
            Known::Gone(_) if self.input.busy.contains(&service.key.name) => self.look_again(now.after(WHILE_BUSY)),
            Known::Gone(proof) => self.remove(import, service, Removal::Absent(proof)),
        }
    }

    /// A service that should have a Service.
    fn give(&mut self, import: &Import, service: &str, own: &[&KubeService], counted: &mut Counted) {
        let rules = &self.input.settings.rules;
        if let Some(problem) = rules.refusal(&import.key.namespace, Direction::ToKube, service) {
            counted.matched += 1;
            return counted.refused.push(problem.message);
        }
        let query = import.spec.instances(service);
        if self.bound.contains(&query) {
            counted.matched += 1;
            let is_own =
                |one: &&KubeService| one.annotations.get(names::SERVICE_NAME).is_some_and(|name| name == service);
            counted.others += usize::from(!own.iter().any(is_own));
            return;
        }
        let (port, datacenter) = match self.input.candidates.get(&query) {
            None => {
                counted.matched += 1;
                counted.waiting += 1;
                return self.plan.needs.push(Need::Instances(query));
            }
            Some((Candidate::Unfit, _)) => return,
            Some((Candidate::Fit(port), datacenter)) => (*port, datacenter),
        };
        counted.matched += 1;
        // A Service may name the datacenter that is the agent's own.
        let named = HealthQuery { datacenter: Some(datacenter.clone()), ..query.clone() };
        if query.datacenter.is_none() && self.bound.contains(&named) {
            counted.others += 1;
            return;
        }
        match self.new_service(import, service, port, datacenter) {
            Err(why) => counted.conflicts.push(format!("{service}: {why}")),
            Ok(new) => {
                counted.own += 1;
                self.taken.insert(new.key.name.clone());
                self.bound.insert(query);
                let (import, service) = (import.key.clone(), service.to_owned());
                self.plan.actions.push(Action::Create { import, service, new: Box::new(new) });
            }
        }
    }

    fn new_service(
        &self,
        import: &Import,
        service: &str,
        port: Option<u16>,
        datacenter: &str,
    ) -> Result<NewService, String> {
        let name = name::of(service, &import.spec, datacenter)?;
        if self.taken.contains(&name) {
            return Err(format!("the name {name} is taken"));
        }
        if let Some(why) = self.input.refused.get(&name) {
            return Err(why.clone());
        }
        service::new(import, service, &name, port, self.input.domain)
    }

    /// An import on its way out: its policy is carried out, and then it may go.
    fn deleting(&mut self, import: &Import) {
        if !import.is_held_by_us() {
            return;
        }
        let own = created(import, self.input.services);
        match self.input.definition {
            // Whether this is one import's end, or the end of all, is not known.
            None => {}
            Some(Definition::Served) if !import.spec.suspend && !own.is_empty() && self.keeps(import) => {
                let message =
                    format!("{} Services were created and stay: --policy upsert-only removes none", own.len());
                let ready = ImportCondition::new(ConditionStatus::False, "UpsertOnly", &message);
                self.status(import, Status { ready: Some(ready), created: own.len(), ..import.status.clone() });
            }
            Some(Definition::Served) if !import.spec.suspend && !own.is_empty() => {
                for service in own {
                    self.remove(import, service, Removal::ImportDeleted);
                }
            }
            Some(_) => self.plan.actions.push(Action::LetGo(import.key.clone())),
        }
    }

    /// `--policy upsert-only`: what was created stays. To let go of it is no removal.
    fn keeps(&self, import: &Import) -> bool {
        self.input.settings.policy == Policy::UpsertOnly && !import.spec.orphan
    }

    fn remove(&mut self, import: &Import, service: &KubeService, why: Removal) {
        if self.keeps(import) {
            return;
        }
        let (key, service) = (import.key.clone(), Box::new(service.clone()));
        self.plan.actions.push(if import.spec.orphan {
            Action::Orphan { import: key, service, why }
        } else {
            Action::Delete { import: key, service, why }
        });
    }

    fn remember(&mut self, import: &Import, service: &KubeService, forgotten: bool) {
        if is_forgotten(service) != forgotten {
            let (import, service) = (import.key.clone(), Box::new(service.clone()));
            self.plan.actions.push(Action::Remember { import, service, forgotten });
        }
    }

    fn look_again(&mut self, at: UnixMillis) {
        let sooner = self.plan.look_again.map_or(at, |known| known.min(at));
        self.plan.look_again = Some(sooner);
    }

    fn status(&mut self, import: &Import, status: Status) {
        let status = status.after(&import.status, import.generation, self.input.now);
        self.plan.statuses.push((import.key.clone(), status));
    }
}

impl Counted {
    fn status(&self, trouble: Option<&(&'static str, String)>) -> Status {
        let Counted { matched, own, others, waiting, conflicts, refused } = self;
        let mut counts =
            format!("{matched} matched, {own} created, {others} had a Service, {} without a name", conflicts.len());
        if let Some(first) = refused.first() {
            counts += &format!(", {} not allowed: {first}", refused.len());
        }
        let ready = match trouble {
            Some((reason, why)) => ImportCondition::new(ConditionStatus::False, reason, &format!("{counts}; {why}")),
            None if *waiting > 0 => ImportCondition::new(ConditionStatus::False, "Pending", &counts),
            None if !conflicts.is_empty() => ImportCondition::new(ConditionStatus::False, "NameConflict", &counts),
            None if !refused.is_empty() => ImportCondition::new(ConditionStatus::False, "NotAllowed", &counts),
            None => ImportCondition::new(ConditionStatus::True, "Synced", &counts),
        };
        let conflict = if conflicts.is_empty() {
            ImportCondition::new(ConditionStatus::False, "NoConflict", "")
        } else {
            let more = conflicts.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!("; and {more} more") } else { String::new() };
            let shown: Vec<&str> = conflicts.iter().take(SHOWN).map(String::as_str).collect();
            ImportCondition::new(ConditionStatus::True, "NameConflict", &format!("{}{more}", shown.join("; ")))
        };
        Status {
            ready: Some(ready),
            conflict: Some(conflict),
            matched: *matched,
            created: *own,
            conflicts: conflicts.len(),
            observed_generation: 0,
        }
    }
}
