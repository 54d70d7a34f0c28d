//! What people are told about a Service: Events when something changed, and the condition `consul8s/Synced` for how it stands.
//!
//! A [`Look`] says what was found. [`Memory`] holds what was told already and decides what is to be told now: as little as tells
//! everything. Level, not edge: what came and went while nothing could be told is not told afterwards.
//!
//! | told | when |
//! | --- | --- |
//! | a problem | when it appears, 1 s later; one that was gone for less than 30 s was never gone; that only its message changed is not told |
//! | what was done ([`Reason::EndpointsUpdated`], …) | at once, then at most every 30 s, the last one |
//! | all Events of one object together | 5, then one a minute; the last two are kept for problems |
//! | another status or reason of the condition | five times, then every 20 s |
//! | another message of the condition (its counts) | at most every 30 s |
//!
//! After a restart the condition that stands says what was told. What concerns all Services is told of the Lease alone.

mod condition;
mod counts;
mod event;
mod look;
mod matter;
mod memory;
mod pace;

#[cfg(test)]
mod tests;

#[cfg(doc)]
use crate::problem::Reason;

pub use condition::Wish;
pub use counts::{endpoints, endpoints_moved, registered_ids, registrations, whereabouts};
pub use event::{EventSpec, ObjectRef};
pub use look::{Course, Look, Subject};
pub(crate) use matter::holds;
pub use memory::{ConditionChange, Memory, Telling};
