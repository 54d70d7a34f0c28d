//! What Consul's checks say about an instance, and what that makes of its endpoint (the table of contract §2).

use crate::consul::{Check, CheckStatus, Instance};
use crate::intent::to_kube::HealthPolicy;

/// ID of the check that puts a node into maintenance.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// Before a service ID: ID of the check that puts an instance into maintenance.
pub const SERVICE_MAINTENANCE: &str = "_service_maintenance:";

/// What the checks of an instance and of its node say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health<'a> {
    /// All passing, or no check at all.
    Passing,
    /// The worst check, which is not passing.
    Failing(&'a Check),
    /// In maintenance by this check. It wins over the others, as it does for Consul.
    Maintenance(&'a Check),
}

/// The worst of the instance's own checks and its node's. Of equals the one with the lowest ID is named, so that equal answers read
/// the same in whatever order Consul lists them.
#[must_use]
pub fn of(instance: &Instance) -> Health<'_> {
    let concerns = |check: &&Check| check.service_id.is_empty() || check.service_id == instance.id;
    let checks = || instance.checks.iter().filter(concerns);
    if let Some(check) = checks().filter(|check| is_maintenance(check, instance)).min_by(|a, b| a.id.cmp(&b.id)) {
        return Health::Maintenance(check);
    }
    let worst = checks().max_by(|a, b| a.status.cmp(&b.status).then(b.id.cmp(&a.id)));
    match worst {
        Some(check) if check.status > CheckStatus::Passing => Health::Failing(check),
        _ => Health::Passing,
    }
}

fn is_maintenance(check: &Check, instance: &Instance) -> bool {
    let named = check.id == NODE_MAINTENANCE || check.id.strip_prefix(SERVICE_MAINTENANCE) == Some(&instance.id);
    named && check.status == CheckStatus::Critical
}

/// Whether this health is ready under the policy.
#[must_use]
pub fn admits(policy: HealthPolicy, health: &Health<'_>) -> bool {
    match health {
        Health::Passing => true,
        Health::Maintenance(_) => false,
        Health::Failing(check) => match policy {
            HealthPolicy::Passing => false,
            HealthPolicy::Warning => check.status <= CheckStatus::Warning,
            HealthPolicy::Any => true,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, service_id: &str, status: CheckStatus) -> Check {
        Check {
            node: "n".into(),
            id: id.into(),
            name: id.into(),
            service_id: service_id.into(),
            status,
            output: String::new(),
            modify_index: 0,
        }
    }

    fn shown(checks: &[Check]) -> String {
        let instance = Instance { id: "a".into(), checks: checks.to_vec(), ..Instance::default() };
        let health = of(&instance);
        let ready =
            [HealthPolicy::Passing, HealthPolicy::Warning, HealthPolicy::Any].map(|policy| admits(policy, &health));
        let word = match health {
            Health::Passing => "passing".to_owned(),
            Health::Failing(check) => format!("{} {}", check.id, check.status),
            Health::Maintenance(check) => format!("maintenance {}", check.id),
        };
        format!("{word} {ready:?}")
    }

    #[test]
    fn the_worst_check_counts_and_maintenance_wins() {
        use CheckStatus::{Critical, Passing, Warning};
        let node = |status| check("serfHealth", "", status);
        let own = |status| check("http", "a", status);
        for (checks, expected) in [
            (vec![], "passing [true, true, true]"),
            (vec![node(Passing), own(Passing)], "passing [true, true, true]"),
            (vec![node(Passing), own(Warning)], "http warning [false, true, true]"),
            (vec![node(Critical), own(Warning)], "serfHealth critical [false, false, true]"),
            (vec![own(Critical), check("another", "a", Critical)], "another critical [false, false, true]"),
            (vec![check("another", "a", Critical), own(Critical)], "another critical [false, false, true]"),
            (vec![check("x", "somebody else", Critical)], "passing [true, true, true]"),
            (
                vec![own(Critical), check("_node_maintenance", "", Critical)],
                "maintenance _node_maintenance [false, false, false]",
            ),
            (
                vec![check("_service_maintenance:a", "a", Critical)],
                "maintenance _service_maintenance:a [false, false, false]",
            ),
            (
                vec![check("_service_maintenance:b", "a", Critical)],
                "_service_maintenance:b critical [false, false, true]",
            ),
        ] {
            assert_eq!(shown(&checks), expected);
        }
    }
}
