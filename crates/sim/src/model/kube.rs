//! A Kubernetes API as a value: objects, resourceVersions, watch history, and the checks that consul8s meets.
//!
//! Objects are `serde_json::Value` trees here. The API server's contract is to give back everything that was put in, whoever
//! wrote it, so a typed model would need a tree for the rest of each object anyway; merge patches, defaulting and comparing are
//! all defined on trees. It is used as a tree of values only: nothing in here writes or reads JSON text.
//!
//! What is here was measured on Kubernetes 1.37.2 with its garbage collector and namespace controller running.

mod admission;
mod cluster;
mod event;
mod failure;
mod history;
mod lifecycle;
mod object;
mod patch;
mod people;
mod resource;
mod selector;
mod service;
mod slice;

pub use cluster::{Clock, Cluster, Part, Preconditions};
pub use failure::{Cause, Failure};
pub use history::{Change, Gone, Version};
pub use lifecycle::Removal;
pub use object::{rfc3339, text_at, time_of};
pub use people::PodPort;
pub use resource::{Resource, ResourceInfo};
pub use selector::Selector;
