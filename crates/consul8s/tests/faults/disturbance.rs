//! What goes wrong with a whole server, a whole process, or by somebody else's hand.

use std::collections::BTreeSet;
use std::time::Duration;

use consul8s_core::consul::CheckStatus;
use consul8s_sim::model::consul::{Catalog, Registration};
use consul8s_sim::model::kube::{Cluster, Part, Resource, Selector};
use consul8s_sim::{Faults, Hidden};
use rand::Rng;
use rand::rngs::SmallRng;
use serde_json::json;

use crate::worlds::Worlds;
use crate::{NODE, OWNER};

/// A disturbance. Those of servers last for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// Consul cannot be reached.
    ConsulAway,
    /// Consul has no leader.
    Leaderless,
    /// Consul's answers are cut short.
    CutShort,
    /// Consul answers every request with 500.
    ConsulFails,
    /// Consul hides nodes and services from our token; or from us, who have none.
    Hidden { anonymous: bool },
    /// The API server cannot be reached.
    KubeAway,
    /// Its history is compacted meanwhile, so that every watch lists again.
    Compacted,
    /// The API server answers every request with 500.
    KubeFails,
    /// The process of this replica is stopped, and goes on.
    Frozen(usize),
    /// It is killed, and started again.
    Killed(usize),
    /// It is told to stop, and started again.
    Stopped(usize),
    /// Consul is restored to what it was a moment ago; what people and machines did since is done again.
    Restored,
    /// Somebody changes what is ours.
    Drift(Drift),
}

/// What somebody does to what is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drift {
    EmptySlice,
    DeleteSlice,
    Retag,
    Fail,
    Deregister,
}

impl Disturbance {
    /// One at random, of as many replicas.
    pub(crate) fn draw(random: &mut SmallRng, replicas: usize) -> Disturbance {
        let replica = random.random_range(0..replicas);
        let drifts = [Drift::EmptySlice, Drift::DeleteSlice, Drift::Retag, Drift::Fail, Drift::Deregister];
        match random.random_range(0..16) {
            0 => Disturbance::ConsulAway,
            1 => Disturbance::Leaderless,
            2 => Disturbance::CutShort,
            3 => Disturbance::ConsulFails,
            4 => Disturbance::Hidden { anonymous: false },
            5 => Disturbance::Hidden { anonymous: true },
            6 => Disturbance::KubeAway,
            7 | 8 => Disturbance::Compacted,
            9 => Disturbance::KubeFails,
            10 => Disturbance::Frozen(replica),
            11 | 12 => Disturbance::Killed(replica),
            13 => Disturbance::Stopped(replica),
            14 => Disturbance::Restored,
            _ => Disturbance::Drift(drifts[random.random_range(0..drifts.len())]),
        }
    }

    /// Begins it, as far as it concerns the worlds.
    pub(crate) fn begin(self, worlds: &Worlds) {
        let hidden = |anonymous| {
            let nodes = ["vm-1", "vm-2", NODE].map(str::to_owned);
            let services = ["api", "db"].map(str::to_owned);
            Some(Hidden { nodes: nodes.into(), services: services.into(), anonymous })
        };
        let consul = |change: &dyn Fn(&mut Faults)| worlds.consul.set_faults(|faults| change(faults));
        match self {
            Disturbance::ConsulAway => consul(&|faults| faults.unreachable = true),
            Disturbance::Leaderless => consul(&|faults| faults.leaderless = true),
            Disturbance::CutShort => consul(&|faults| faults.truncate = true),
            Disturbance::ConsulFails => consul(&|faults| faults.fail = Some((500, u32::MAX))),
            Disturbance::Hidden { anonymous } => consul(&|faults| faults.hidden = hidden(anonymous)),
            Disturbance::KubeAway | Disturbance::Compacted => {
                worlds.kube.set_faults(|faults| faults.unreachable = true);
            }
            Disturbance::KubeFails => worlds.kube.set_faults(|faults| faults.fail = Some((500, u32::MAX))),
            Disturbance::Drift(drift) => drift.happen(worlds),
            Disturbance::Frozen(_) | Disturbance::Killed(_) | Disturbance::Stopped(_) | Disturbance::Restored => {}
        }
    }

    /// Ends it.
    pub(crate) fn end(self, worlds: &Worlds) {
        match self {
            Disturbance::ConsulAway
            | Disturbance::Leaderless
            | Disturbance::CutShort
            | Disturbance::ConsulFails
            | Disturbance::Hidden { .. } => worlds.consul.set_faults(|faults| *faults = Faults::default()),
            Disturbance::Compacted => {
                worlds.kube.write(Cluster::compact);
                worlds.kube.set_faults(|faults| *faults = Faults::default());
            }
            Disturbance::KubeAway | Disturbance::KubeFails => {
                worlds.kube.set_faults(|faults| *faults = Faults::default());
            }
            _ => {}
        }
    }

    /// How long it lasts, where it lasts: long enough for a claim to end in some, short enough to be over soon.
    pub(crate) fn lasts(self, random: &mut SmallRng) -> Duration {
        match self {
            Disturbance::Restored | Disturbance::Drift(_) => Duration::ZERO,
            Disturbance::Frozen(_) => Duration::from_millis(random.random_range(500..25_000)),
            _ => Duration::from_millis(random.random_range(200..15_000)),
        }
    }
}

impl Drift {
    fn happen(self, worlds: &Worlds) {
        match self {
            Drift::EmptySlice => worlds.kube.write(|cluster| {
                let change = json!({"endpoints": []});
                for key in our_slices(cluster) {
                    let _ = cluster.merge_patch(Resource::EndpointSlices, &key, Part::Main, &change);
                }
            }),
            Drift::DeleteSlice => worlds.kube.write(|cluster| {
                for key in our_slices(cluster) {
                    let _ = cluster.delete_object(Resource::EndpointSlices, &key);
                }
            }),
            Drift::Retag => worlds.consul.write(retag),
            Drift::Fail => worlds.consul.write(|catalog| {
                let ids: Vec<String> = catalog.node_checks(NODE).1.iter().map(|check| check.id.clone()).collect();
                for id in ids {
                    let _ = catalog.set_check(NODE, &id, CheckStatus::Critical, "by hand");
                }
            }),
            Drift::Deregister => worlds.consul.write(|catalog| {
                for (id, _) in our_services(catalog) {
                    catalog.deregister_service(NODE, &id);
                }
            }),
        }
    }
}

fn our_slices(cluster: &Cluster) -> BTreeSet<consul8s_core::kube::ObjectKey> {
    let all = cluster.list(Resource::EndpointSlices, None, &Selector::default());
    let ours = all.iter().filter(|slice| {
        slice["metadata"]["annotations"]["consul8s/owner"] == OWNER
            && !slice["metadata"]["name"].as_str().unwrap_or_default().starts_with("strange")
    });
    let name = |slice: &serde_json::Value, key: &str| slice["metadata"][key].as_str().unwrap_or_default().to_owned();
    ours.map(|slice| consul8s_core::kube::ObjectKey::new(name(slice, "namespace"), name(slice, "name"))).collect()
}

fn our_services(catalog: &Catalog) -> Vec<(String, consul8s_sim::model::consul::ServiceRecord)> {
    let services = catalog.node_services(NODE).1.map(|(_, services)| services).unwrap_or_default();
    services.into_iter().map(|service| (service.id.clone(), service.clone())).collect()
}

fn retag(catalog: &mut Catalog) {
    for (_, mut service) in our_services(catalog) {
        service.tags = Some(vec!["by-hand".to_owned()]);
        let node = catalog.node(NODE).cloned().unwrap_or_default();
        let wanted = Registration { node, service: Some(service), skip_node_update: true, ..Registration::default() };
        let _ = catalog.register(wanted);
    }
}
