//! What is remembered of one Service between two looks at it.

use std::collections::{BTreeMap, BTreeSet};

use consul8s_core::adopt;
use consul8s_core::guard::{HoldId, Memory, NodeReading, ServiceReading};
use consul8s_core::intent::Intent;
use consul8s_core::problem::{Problem, Reason};
use consul8s_core::repairs::Repairs;
use consul8s_core::settings::Direction;
use consul8s_core::time::UnixMillis;
use consul8s_core::to_kube::failover::Choice;
use tokio::time::Instant;

use super::elsewhere::Elsewhere;
use super::original::OriginalNode;

/// What is remembered.
#[derive(Debug, Default)]
pub struct Record {
    /// When something about it last changed that no look has followed yet.
    pub changed_at: Option<Instant>,
    /// What it last asked for in a way that could be understood.
    pub last_valid: Option<Intent>,
    /// What the guard remembers of its endpoints.
    pub memory: Memory,
    /// Which datacenter is in use.
    pub choice: Choice,
    /// Confirming reads that the guard has not seen yet.
    pub services_read: Vec<ServiceReading>,
    /// Likewise of nodes.
    pub nodes_read: Vec<NodeReading>,
    /// Since when it has a selector and ours stand aside.
    pub yielding: Option<UnixMillis>,
    /// Names of slices that strangers hold.
    pub taken: BTreeSet<String>,
    /// The node that the Python original made for it.
    pub original_node: OriginalNode,
    /// Who else registers it.
    pub elsewhere: Elsewhere,
    /// What was written for it, and how often it had to be written again.
    pub repairs: Repairs,
    /// What is known of the `Endpoints` object that the original may have left.
    pub original: adopt::Memory,
    /// What was done beside slices and registrations and has not been told yet.
    pub deeds: BTreeMap<Reason, String>,
    /// What writes that got no answer may have done: told when it is seen that it is done.
    pub attempted: BTreeMap<Reason, String>,
    /// How it left Kubernetes, when it is not there.
    pub gone: Option<Gone>,
    /// What the last look found.
    pub told: Option<Told>,
}

/// How a Service left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A running watch saw it go.
    Seen,
    /// It was missing from a fresh list.
    Missing {
        /// When reads by name answered 404.
        reads: Vec<UnixMillis>,
        /// How new what it is missing from was, when that was first looked at.
        list: Option<u64>,
        /// The newest version that any registration had been written from by then. What is written later, from a later state, says
        /// nothing about that list.
        known: Option<u64>,
    },
}

impl Gone {
    /// It is missing, and nothing more is known.
    #[must_use]
    pub fn missing() -> Gone {
        Gone::Missing { reads: Vec::new(), list: None, known: None }
    }

    /// Takes note of how new what it is missing from is, beside what is known. Only the first time counts: that a server catches up makes
    /// nothing truer.
    pub fn found_in(&mut self, version: Option<u64>, newest: Option<u64>) {
        if let Gone::Missing { list, known, .. } = self
            && list.is_none()
            && version.is_some()
        {
            (*list, *known) = (version, newest);
        }
    }

    /// What was known when it was found missing.
    #[must_use]
    pub fn known(&self) -> Option<u64> {
        match self {
            Gone::Seen => None,
            Gone::Missing { known, .. } => *known,
        }
    }

    /// How new what it is missing from was.
    #[must_use]
    pub fn list(&self) -> Option<u64> {
        match self {
            Gone::Seen => None,
            Gone::Missing { list, .. } => *list,
        }
    }
}

/// How a Service stands, in one word: the label `state` of `consul8s_services`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// All is as it should be.
    Synced,
    /// Something is still to be read or written.
    Pending,
    /// Something about it must be mended by its author.
    Problem,
    /// The guard holds something of it.
    Held,
    /// `consul8s/suspend`.
    Suspended,
    /// More is published than is healthy.
    Panic,
}

impl State {
    /// All of them.
    pub const ALL: [State; 6] =
        [State::Synced, State::Pending, State::Problem, State::Held, State::Suspended, State::Panic];

    /// As the metric and the status show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Synced => "synced",
            State::Pending => "pending",
            State::Problem => "problem",
            State::Held => "held",
            State::Suspended => "suspended",
            State::Panic => "panic",
        }
    }
}

/// What a look at a Service found, as values: log, metrics, `plan` and status all read this.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Direction that its labels ask for.
    pub direction: Direction,
    /// How it stands.
    pub state: State,
    /// Problems and warnings, sorted.
    pub problems: Vec<Problem>,
    /// Published endpoints: ready, not ready.
    pub endpoints: (usize, usize),
    /// Instances or addresses left out, by reason.
    pub dropped: BTreeMap<&'static str, usize>,
    /// What the guard keeps.
    pub held: usize,
    /// The hold over its registrations, and how many those are.
    pub registrations_held: Option<(HoldId, usize)>,
    /// Changes planned and not written, by action.
    pub pending: BTreeMap<&'static str, usize>,
    /// A hostname has not been looked up yet, which may change the plan.
    pub resolving: bool,
    /// A write failed and is tried again.
    pub retrying: bool,
    /// The plan as text: decisions, changes, what is held. Only where something is left to be written, or nothing can be (`plan`):
    /// it is as long as the list of instances.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_measured_by_what_was_known_when_it_was_looked_at() {
        let mut gone = Gone::missing();
        gone.found_in(None, Some(9));
        assert_eq!((gone.list(), gone.known()), (None, None), "there is no list yet");
        gone.found_in(Some(10), Some(9));
        gone.found_in(Some(20), Some(15));
        assert_eq!((gone.list(), gone.known()), (Some(10), Some(9)), "what was registered since says nothing about it");
    }
}
