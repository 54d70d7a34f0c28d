//! Consul's catalog as a value: nodes, services and checks with their indexes, and the rules by which they move.
//!
//! What is here was measured on Consul 1.22.7; where it is simpler than the real one, the item says so.

mod agent;
mod apply;
mod catalog;
mod index;
mod read;
mod record;
mod rules;
mod txn;

pub use catalog::{Catalog, Registration};
pub use index::Stamp;
pub use record::{CheckRecord, Node, ServiceRecord, Weights};
pub use rules::Refused;
pub use txn::{TxnError, TxnItem, TxnRequest, Verb};
