//! The two embedded worlds: a Consul and a Kubernetes API, small enough to read and true where consul8s could tell.
//!
//! - [`model`]: both as values. Indexes, resourceVersions, compare-and-set, watch history. No HTTP, no clock, no runtime.
//! - [`world`]: a shared, waitable holder of a model, with a fault script. A world outlives the servers in front of it.
//! - [`ports`]: `core`'s seam on a world, without sockets: virtual time works.
//! - [`http`]: a thin face over a world that speaks real HTTP, over TCP or in memory. Its JSON is written by hand, because a
//!   client and its fake must not share a bug.

pub mod changes;
pub mod faults;
pub mod http;
pub mod model;
pub mod ports;
pub mod world;

pub use faults::{Faults, Hidden};
pub use http::{Server, serve_consul, serve_kube};
pub use world::{ConsulWorld, KubeWorld, World};
