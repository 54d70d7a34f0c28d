//! Services, EndpointSlices and Nodes between the API's types and core's.
//!
//! Nothing here can fail: a missing piece becomes its default, and a port that is no port is left out.

mod node;
mod service;
mod slice;

use consul8s_core::kube::{Family, ObjectKey, Protocol};
use consul8s_core::time::UnixMillis;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

pub(crate) use slice::to_wire;

pub(crate) fn key(meta: &ObjectMeta) -> ObjectKey {
    ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn millis(time: &Time) -> UnixMillis {
    UnixMillis(u64::try_from(time.0.as_millisecond()).unwrap_or_default())
}

fn family(name: &str) -> Option<Family> {
    match name {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    }
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or_default() {
        "" | "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// A list in no more memory than it needs. The standard library's own reuses that of the API's objects, which are several times
/// larger than what we keep of them.
fn collect<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut list: Vec<T> = items.collect();
    list.shrink_to_fit();
    list
}
