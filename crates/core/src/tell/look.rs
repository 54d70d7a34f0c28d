//! What a look at a Service found, as far as people are told of it.

use std::collections::BTreeMap;

use crate::kube::{Condition, KubeService};
use crate::problem::{MAX_MESSAGE, Problem, Reason};

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The Service; none when it is gone, or going.
    pub service: Option<Subject>,
    /// What is done about it.
    pub course: Course,
    /// Problems and warnings of its own.
    pub problems: Vec<Problem>,
    /// Problems that keep it from being done, but concern all Services: the condition says so, the Event is the Lease's.
    pub common: Vec<Problem>,
    /// How many endpoints or registrations of how many there are, and why not all; empty where nothing is to be counted.
    pub counts: String,
    /// How to see them; may be empty.
    pub whereabouts: String,
    /// What was done since the last look.
    pub done: BTreeMap<Reason, String>,
}

/// The Service itself, as it was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// UID.
    pub uid: String,
    /// resourceVersion.
    pub version: String,
    /// The condition that it bears.
    pub condition: Option<Condition>,
}

impl Subject {
    /// Of a Service that is there to stay.
    #[must_use]
    pub fn of(service: &KubeService) -> Option<Subject> {
        let KubeService { uid, resource_version, condition, deleting, .. } = service;
        (!deleting).then(|| Subject {
            uid: uid.clone(),
            version: resource_version.clone(),
            condition: condition.clone(),
        })
    }
}

/// What is done about a Service, as far as its condition depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Course {
    /// Nothing, as it does not ask for anything: the condition goes.
    NotOurs,
    /// What stands is somebody else's to say, such as another installation's.
    #[default]
    Leave,
    /// The source has not answered yet; with the reason, where it is known.
    Waiting(Option<String>),
    /// `consul8s/suspend`
    Suspended,
    /// There is still something to read or to write.
    Underway,
    /// The last write failed; with the reason that its condition gets should that last, and why.
    Failing(Reason, String),
    /// All is done; with the reason that its condition gets while there is no problem.
    Settled(Reason),
}

impl Look {
    /// Takes in a newer look. What was done adds up.
    pub fn update(&mut self, newer: Look) {
        let done = std::mem::take(&mut self.done);
        *self = newer;
        let newer = std::mem::replace(&mut self.done, done);
        newer.into_iter().for_each(|(reason, message)| self.add_done(reason, message));
    }

    /// Adds what was done. Where a message says how it stands, the last one tells all; where it names what was done, they add up.
    pub fn add_done(&mut self, reason: Reason, message: String) {
        let adds_up = matches!(reason, Reason::ServiceCreated | Reason::ServiceRemoved);
        match self.done.get_mut(&reason).filter(|_| adds_up) {
            Some(known) if known.len() < MAX_MESSAGE => *known = format!("{known}; {message}"),
            Some(_) => {}
            None => drop(self.done.insert(reason, message)),
        }
    }
}
