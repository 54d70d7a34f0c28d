//! Kubernetes → Consul: from a Service and what stands for it in Consul to the changes that make the two agree.
//!
//! [`plan`] reads as the contract's §4 does. What is asked for: [`sources`] (with [`endpoints`] and [`node_port`]) finds the
//! addresses, [`readiness`] judges them, [`claims`] says whose a name is. What stands: [`nodes`]. Between them [`ids`] keeps names
//! stable, [`change`] says what to write, and [`removal`] what may go, why, and what is held ([`ledger`]).

pub mod candidate;
pub mod change;
pub mod claims;
pub mod cluster;
pub mod endpoints;
pub mod ids;
pub mod ledger;
pub mod node_port;
pub mod nodes;
pub mod original;
pub mod readiness;
mod register;
mod release;
pub mod removal;
pub mod sources;
mod text;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

#[cfg(test)]
use crate as krate;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::consul::{CheckStatus, Instance};
use crate::empty_node::EmptyNode;
use crate::evidence::{Evidence, UserIntent};
use crate::guard::HoldId;
use crate::intent::Intent;
use crate::intent::to_consul::ToConsul;
use crate::kube::{KubeNode, KubeService, KubeSlice, ObjectKey};
use crate::problem::Problem;
use crate::settings::{Direction, Settings};
use crate::time::UnixMillis;

use candidate::LeftOut;
use claims::Claims;
use ledger::{Ledger, MassHold};
use nodes::{OurNodes, Standing};
use original::Original;
use register::Draft;
use removal::Why;

pub use change::{Before, RegistrationChange};

/// Everything that the plan for one Service depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The Service, by name.
    pub key: &'a ObjectKey,
    /// How it stands in Kubernetes.
    pub seen: Seen<'a>,
    /// Its slices, whoever manages them.
    pub slices: &'a [&'a KubeSlice],
    /// All nodes of the cluster; needed only for `node_port`.
    pub cluster_nodes: &'a [&'a KubeNode],
    /// Our nodes in Consul, as last read.
    pub nodes: &'a OurNodes,
    /// What all Services claim.
    pub claims: &'a Claims,
    /// Instances of the same Consul name, as far as they were read: another installation may have registered the same Service.
    pub elsewhere: &'a [Instance],
    /// What the Python original left behind for it.
    pub original: Original<'a>,
    /// What went lately, over all Services.
    pub ledger: &'a Ledger,
    /// New registrations of other Services that are on their way to each of our nodes.
    pub coming: &'a BTreeMap<u32, usize>,
    /// `consul8s/allow-removal` on the Lease.
    pub lease_release: Option<&'a str>,
    /// Flags.
    pub settings: &'a Settings,
    /// The time.
    pub now: UnixMillis,
}

/// How a Service stands in Kubernetes.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It exists.
    There {
        /// As it is.
        service: &'a KubeService,
        /// What it asks for.
        intent: &'a Intent,
        /// What it last asked for in a way that could be understood; counts while it is frozen.
        last_valid: Option<&'a ToConsul>,
    },
    /// A running watch saw it go.
    Deleted,
    /// It is not in a fresh list, which proves nothing yet.
    Missing(Missing<'a>),
}

/// What is known about a Service that is missing from a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Missing<'a> {
    /// When reads by name answered 404.
    pub reads: &'a [UnixMillis],
    /// resourceVersion of the list; none where it is no number.
    pub list_version: Option<u64>,
    /// The mark on the Lease: a release set it to the resourceVersion of the list that it believed. To be dropped when a list is
    /// not below [`OurNodes::highest_version`].
    pub mark: Option<u64>,
    /// The highest resourceVersion that any registration was seen to have been written from, though that one may have been written anew
    /// since.
    pub known: Option<u64>,
}

/// What is to be done for one Service, and what is to be told about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrationPlan {
    /// Changes in their order.
    pub changes: Vec<RegistrationChange>,
    /// The fate of each address and each registration.
    pub decisions: Vec<Decision>,
    /// Problems and warnings of this Service, beside those of its annotations; sorted.
    pub problems: Vec<Problem>,
    /// What is held, if anything.
    pub held: Option<Held>,
    /// What would be held, and was let go by a person.
    pub released: Option<Released>,
    /// What must be read before more can be decided.
    pub needs: Vec<Need>,
    /// When to plan again though nothing changed.
    pub look_again: Option<UnixMillis>,
    /// How many registrations want to go by absence or by a lost label: to be told to [`Ledger::note`], also when 0.
    pub loss: usize,
    /// A node of our name is somebody else's, or may not be read or made with our token, so that nothing is registered; one Event on the
    /// Lease.
    pub blocked: Option<Problem>,
    /// Another installation of this cluster has registered the Service: its condition is that one's to write.
    pub elsewhere: bool,
    /// A node of the Python original that is empty for good, and may be deregistered.
    pub empty_original: Option<EmptyNode>,
}

impl RegistrationPlan {
    /// Whether nothing is to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.empty_original.is_none()
    }
}

/// What became of one address or registration, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The address, or `ID@NODE`.
    pub what: String,
    /// Its fate.
    pub fate: Fate,
}

/// What became of an address or registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Registered, with its check.
    Registered {
        /// State of the check.
        status: CheckStatus,
        /// Why it is so.
        output: String,
    },
    /// Not registered.
    LeftOut(LeftOut),
    /// Not registered: its ID is somebody else's.
    Taken,
    /// Stays though nothing asks for it, or nothing can be understood.
    Stays(Stays),
    /// Goes.
    Goes(Evidence),
    /// Would go, and is held.
    Held(String),
}

/// Why a registration stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stays {
    /// `consul8s/suspend`.
    Suspended,
    /// The Service can't be understood.
    Frozen,
    /// `consul8s/service.on_delete: keep`.
    OnDelete,
    /// The Service has a selector and no slices at all, which proves nothing.
    NoSlices,
    /// Its Service is missing, which must be confirmed first.
    Unconfirmed,
    /// It is to get another ID, which is somebody else's.
    NewIdTaken,
    /// `--policy upsert-only`: nothing is removed.
    Policy,
}

/// What is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The hold.
    pub hold: MassHold,
    /// Which registrations, as `ID@NODE`.
    pub registrations: Vec<String>,
    /// Why.
    pub why: HeldBecause,
    /// How long, if it is confirmed after that; none = time alone never ends it.
    pub lasts: Option<Duration>,
}

/// What a person let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The hold.
    pub id: HoldId,
    /// How many registrations it held here.
    pub registrations: usize,
    /// resourceVersion of the list that was older than what was registered, where that was why: it is to be believed from now on.
    pub list: Option<u64>,
}

/// Why something is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBecause {
    /// Too much went at once.
    Mass,
    /// The list it is missing from is older than what was registered from: a restored API server.
    OldList,
}

/// What must be read before more can be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// A GET of the Service by name, not before `at`.
    ReadService {
        /// Which.
        key: ObjectKey,
        /// When.
        at: UnixMillis,
    },
    /// A consistent read of the node that the Python original made for the Service, not before `at`.
    ReadOriginal {
        /// Name of the node.
        node: String,
        /// When.
        at: UnixMillis,
    },
}

/// What should change in Consul for one Service. A converged world gives the empty plan.
#[must_use]
pub fn plan(input: &Input<'_>) -> RegistrationPlan {
    let marks = input.settings.marks();
    let standing = input.nodes.standing(input.key, &marks);
    let asked = asked(input);
    if standing.is_empty() && !matches!(asked, Asked::Register { .. } | Asked::Removed { .. }) {
        return RegistrationPlan::default();
    }
    if let Some(node) = input.nodes.foreign(&marks) {
        return RegistrationPlan {
            blocked: Some(nodes::conflict(node, marks.identity)),
            ..RegistrationPlan::default()
        };
    }
    let mut draft = Draft::new(input, marks, standing);
    draft.take_over_nodes();
    match asked {
        Asked::Register { service, wish } => {
            draft.register(service, wish);
            original::taken_over(&mut draft, service, wish);
        }
        Asked::Removed { service, wish } => {
            let intent = UserIntent::RemoveRegistration;
            removal::all(&mut draft, Why::Intent(intent));
            original::removed(&mut draft, service, wish, Evidence::Intent(intent));
        }
        // A rule is put off neither by annotations that can't be read nor by `consul8s/suspend`.
        Asked::OnlyChecks(service) if !draft.gives_up_what_is_forbidden() => draft.only_checks(service),
        Asked::Leave if !draft.gives_up_what_is_forbidden() => draft.stay(Stays::Suspended),
        Asked::OnlyChecks(_) | Asked::Leave => {}
        Asked::Nothing(why) => removal::all(&mut draft, why),
    }
    draft.finish()
}

enum Asked<'a> {
    /// Register it so.
    Register { service: &'a KubeService, wish: &'a ToConsul },
    /// `remove_registration`
    Removed { service: &'a KubeService, wish: &'a ToConsul },
    /// What stands stays, and its checks follow.
    OnlyChecks(&'a KubeService),
    /// Nothing should stand.
    Nothing(Why<'a>),
    /// Nothing is to be done.
    Leave,
}

fn asked<'a>(input: &Input<'a>) -> Asked<'a> {
    let covered = input.settings.scope.covers(&input.key.namespace);
    let (service, intent, last_valid) = match input.seen {
        Seen::Deleted => return Asked::Nothing(Why::Intent(UserIntent::ServiceDeleted)),
        Seen::Missing(_) if !covered => return Asked::Nothing(Why::Intent(UserIntent::OutOfScope)),
        Seen::Missing(missing) => return Asked::Nothing(Why::Missing(missing)),
        Seen::There { service, .. } if service.deleting => {
            return Asked::Nothing(Why::Intent(UserIntent::ServiceDeleted));
        }
        Seen::There { service, intent, last_valid } => (service, intent, last_valid),
    };
    let wish = match intent {
        Intent::None(why) => return Asked::Nothing(Why::Intent(*why)),
        Intent::Forbidden(_) => return Asked::Nothing(Why::Intent(UserIntent::NotAllowed)),
        Intent::Suspended(_) => return Asked::Leave,
        // What we fill ourselves never goes back (S7), whether or not its annotations can be read.
        Intent::ToKube(_) | Intent::Yield | Intent::Frozen(Some(Direction::ToKube)) => {
            return Asked::Nothing(Why::Intent(UserIntent::OtherDirection));
        }
        Intent::Frozen(Some(Direction::ToConsul) | None) => match last_valid {
            Some(wish) => wish,
            None => return Asked::OnlyChecks(service),
        },
        Intent::ToConsul(wish) => wish,
    };
    match wish.remove_registration {
        true => Asked::Removed { service, wish },
        false => Asked::Register { service, wish },
    }
}

/// How a registration is called in decisions.
fn called(standing: &Standing<'_>) -> String {
    standing.to_string()
}
