//! The Kubernetes edge: everything that speaks to an API server, and nothing that decides.
//!
//! [`Access`] finds the way in, [`Connection`] is the way in, [`Kube`] reads through it and [`SliceWriter`] writes through it: two
//! types, so that what only plans never holds a writer. [`LeaseClient`] is the Lease, on sockets of its own. [`Teller`] tells people. What comes in is turned into core values at once ([`consul8s_core::kube`]);
//! the API's own types stay inside this crate.

mod api;
mod backoff;
mod connect;
mod convert;
mod crd;
mod endpoints;
mod error;
mod imports;
mod item;
mod lease;
mod neighbours;
mod release;
mod teller;
mod transport;
mod watch;
mod writer;

pub use api::Kube;
pub use connect::{Access, ConnectError, Connection};
pub use crd::definition as import_definition;
pub use lease::LeaseClient;
pub use release::{FoundLease, Releaser};
pub use teller::Teller;
pub use watch::KubeWatch;
pub use writer::SliceWriter;
