//! The reference workloads, of both directions.

mod both;
mod to_consul;
mod to_kube;

use crate::workload::Workload;

/// All of them, in a fixed order: a seed chooses by number.
pub(crate) fn all() -> Vec<Workload> {
    vec![
        to_kube::instances(),
        to_kube::machines(),
        to_kube::services(),
        to_kube::settings(),
        to_kube::original(),
        to_kube::hold(),
        to_consul::services(),
        to_consul::addresses(),
        to_consul::pods(),
        to_consul::settings(),
        to_consul::shared(),
        both::import(),
        both::turn(),
        to_consul::stray(),
    ]
}
