//! Zones of endpoints, and the hints by which kube-proxy prefers near ones.

use crate::consul::Instance;
use crate::kube::{Endpoint, KubeService};

/// Annotation by which a Service asked for zone-aware traffic before `trafficDistribution` existed.
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

/// Zone of an instance: its locality, else its meta `zone`, else its node's. Only what can be written as a hint: the catalog may
/// hold anything.
#[must_use]
pub(super) fn of(instance: &Instance) -> Option<String> {
    let meta = instance.meta.get("zone").or_else(|| instance.node_meta.get("zone"));
    instance.zone.as_ref().or(meta).filter(|zone| is_label_value(zone)).cloned()
}

/// Hints for all endpoints of a Service or for none, those that only stay included: kube-proxy uses them only when every ready endpoint
/// has one. None where the Service does not ask for traffic that stays near.
pub(crate) fn hint<'a>(service: &KubeService, endpoints: impl Iterator<Item = &'a mut Endpoint>) {
    let mut endpoints: Vec<&mut Endpoint> = endpoints.collect();
    let all = is_wanted(service) && endpoints.iter().all(|endpoint| endpoint.zone.is_some());
    for endpoint in &mut endpoints {
        endpoint.hint_zones = endpoint.zone.iter().filter(|_| all).cloned().collect();
    }
}

/// Whether the Service wants traffic to stay near. Where it asks for the same node, the zone is the nearest that endpoints outside the
/// cluster have.
fn is_wanted(service: &KubeService) -> bool {
    let near = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    let distribution = service.traffic_distribution.as_deref().is_some_and(|word| near.contains(&word));
    let topology = service.annotations.get(TOPOLOGY_MODE).is_some_and(|v| v.eq_ignore_ascii_case("auto"));
    distribution || topology
}

fn is_label_value(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let bytes = text.as_bytes();
    text.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|b| inner(*b))
}
