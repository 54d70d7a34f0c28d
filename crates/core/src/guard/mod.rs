//! The safety rules, as a filter over the plan (contract S2, S3, S10): what may go at once, what has to be confirmed first, and what is
//! held although it is confirmed.
//!
//! [`judge`] makes no calls. What it needs read again it asks for ([`Need`]), and is called again with what was read. Only what
//! Consul stopped to mention without a word is its business: whatever has a reason goes at once.

mod absence;
mod case;
mod confirm;
mod hold;
mod judge;
mod ledger;
mod memory;
mod readiness;
mod reading;
mod release;

pub use absence::{APART_LEAST, APART_MOST, READS_TO_END};
pub use case::{Case, Judged};
pub use confirm::MAX_NODE_READS;
pub use hold::{Held, HoldId, Kind, Mark, parse as parse_marks, print as print_marks};
pub use judge::judge;
pub use ledger::{Ledger, MASS_WINDOW, WARM_UP};
pub use memory::{Known, Memory, WINDOW};
pub use reading::{Need, NodeReading, SERF_HEALTH, ServiceReading, SourceState};

#[cfg(test)]
mod tests;
