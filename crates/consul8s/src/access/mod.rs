//! Which rights the program needs, in one table: `rbac` prints them, and whoever wants to check or to explain them reads them here.

pub mod rbac;

use std::collections::BTreeSet;

use consul8s_core::settings::{Direction, Policy};

/// On what a grant depends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Directions that are synced.
    pub directions: BTreeSet<Direction>,
    /// How much may be changed.
    pub policy: Policy,
    /// What the Python original left is taken over.
    pub adopt_endpoints: bool,
    /// ConsulImports are carried out.
    pub imports: bool,
    /// Only some namespaces are looked at.
    pub namespaced: bool,
    /// Name of the Lease.
    pub lease: String,
}

/// Where a grant is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the whole cluster: the object lies in no namespace.
    Cluster,
    /// In the namespaces that are looked at.
    Scope,
    /// In the namespace of the Lease.
    Lease,
}

/// Verbs on one kind of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Where.
    pub place: Place,
    /// API group; empty for the core.
    pub group: &'static str,
    /// Plural, with its subresource.
    pub resource: &'static str,
    /// Verbs.
    pub verbs: Vec<&'static str>,
    /// Only the object of this name.
    pub name: Option<String>,
    /// What for.
    pub why: &'static str,
}

/// The least rights in Kubernetes. Each verb of it is used; what is not in it is not asked for. What is read in the whole cluster is
/// listed beside the same in its namespace, so that whoever must can take the wider right out and lose only what it is for.
#[must_use]
pub fn grants(needs: &Needs) -> Vec<Grant> {
    let writes = needs.policy != Policy::Observe;
    let removes = needs.policy == Policy::Sync;
    let to_kube = needs.directions.contains(&Direction::ToKube);
    let to_consul = needs.directions.contains(&Direction::ToConsul);
    let imports = to_kube && needs.imports;
    let mut all = Table::default();

    all.named(
        Place::Cluster,
        "",
        "namespaces",
        &["get"],
        "kube-system",
        "Which cluster this is: the UID of kube-system.",
    );
    all.add(Place::Scope, "", "services", &["list", "watch"], "What Services ask for.");
    if to_consul {
        all.add(
            Place::Scope,
            "",
            "services",
            &["get"],
            "Whether a Service that is missing from a list is really gone.",
        );
    }
    if needs.namespaced {
        all.add(Place::Cluster, "", "services", &["list"], "How many labelled Services lie outside the namespaces.");
    }
    all.add(Place::Scope, DISCOVERY, "endpointslices", &["list", "watch"], "Who serves a Service.");
    if to_kube && writes {
        let verbs = ["create", "update", "delete"];
        all.add(Place::Scope, DISCOVERY, "endpointslices", &verbs, "Endpoints from Consul.");
    }
    if to_kube && writes && needs.adopt_endpoints {
        let why =
            "What the Python original left. Only for moving from it: with --adopt-endpoints=false it is left out.";
        all.add(Place::Scope, "", "endpoints", &["get", "patch"], why);
    }
    if to_kube {
        let why = "Whether another installation is alive whose EndpointSlices stand on our Services.";
        all.add(Place::Cluster, LEASES, "leases", &["get"], why);
    }
    if to_consul {
        all.add(Place::Cluster, "", "nodes", &["list", "watch"], "Addresses of nodes, while a Service rests on them.");
    }
    if imports {
        all.imports(writes, removes);
    }
    if writes {
        all.add(Place::Scope, "", "services/status", &["patch"], "The condition consul8s/Synced.");
        all.add(Place::Scope, EVENTS, "events", &["create", "patch"], "Events of Services.");
        all.add(Place::Lease, EVENTS, "events", &["create", "patch"], "Events that concern all Services.");
        all.add(
            Place::Lease,
            LEASES,
            "leases",
            &["create"],
            "Who may write. Kubernetes can't bind this verb to a name.",
        );
        all.named(Place::Lease, LEASES, "leases", &["get", "update"], &needs.lease, "The same.");
    }
    all.grants
}

const DISCOVERY: &str = "discovery.k8s.io";
const EVENTS: &str = "events.k8s.io";
const LEASES: &str = "coordination.k8s.io";
const OURS: &str = "consul8s.io";

#[derive(Default)]
struct Table {
    grants: Vec<Grant>,
}

impl Table {
    fn add(
        &mut self,
        place: Place,
        group: &'static str,
        resource: &'static str,
        verbs: &[&'static str],
        why: &'static str,
    ) {
        self.grants.push(Grant { place, group, resource, verbs: verbs.to_vec(), name: None, why });
    }

    fn named(
        &mut self,
        place: Place,
        group: &'static str,
        resource: &'static str,
        verbs: &[&'static str],
        name: &str,
        why: &'static str,
    ) {
        self.grants.push(Grant { place, group, resource, verbs: verbs.to_vec(), name: Some(name.to_owned()), why });
    }

    fn imports(&mut self, writes: bool, removes: bool) {
        let why = "Whether ConsulImports are defined.";
        let definition = "consulimports.consul8s.io";
        self.named(Place::Cluster, "apiextensions.k8s.io", "customresourcedefinitions", &["get"], definition, why);
        self.add(Place::Scope, OURS, "consulimports", &["list", "watch"], "What ConsulImports ask for.");
        if writes {
            self.add(Place::Scope, OURS, "consulimports", &["patch"], "Their finalizer.");
            self.add(Place::Scope, OURS, "consulimports/status", &["patch"], "Their status.");
            let why = "Services from the catalog; with --imports=false they are left out.";
            self.add(Place::Scope, "", "services", &["create", "patch"], why);
        }
        if removes {
            self.add(Place::Scope, "", "services", &["delete"], "Those that the catalog no longer has.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(directions: &[Direction]) -> Needs {
        Needs {
            directions: directions.iter().copied().collect(),
            policy: Policy::Sync,
            adopt_endpoints: true,
            imports: true,
            namespaced: false,
            lease: "consul8s".to_owned(),
        }
    }

    fn shown(needs: &Needs) -> Vec<String> {
        let all = grants(needs);
        let line = |grant: &Grant| format!("{:?} {} {}", grant.place, grant.resource, grant.verbs.join(","));
        all.iter().map(line).collect()
    }

    #[test]
    fn each_direction_has_what_it_needs_and_no_more() {
        let has = |needs: &Needs, part: &str| shown(needs).iter().any(|line| line.contains(part));
        let to_kube = needs(&[Direction::ToKube]);
        let to_consul = needs(&[Direction::ToConsul]);
        for (part, in_to_kube, in_to_consul) in [
            ("endpointslices create,update,delete", true, false),
            ("endpointslices list,watch", true, true),
            ("services list,watch", true, true),
            ("services get", false, true),
            ("services create", true, false),
            ("consulimports", true, false),
            ("endpoints get,patch", true, false),
            ("nodes", false, true),
            ("Lease leases create", true, true),
            ("secrets", false, false),
            ("*", false, false),
        ] {
            assert_eq!((has(&to_kube, part), has(&to_consul, part)), (in_to_kube, in_to_consul), "{part}");
        }
        assert!(!has(&to_kube, "Cluster services"));
        assert!(has(&Needs { namespaced: true, ..to_kube.clone() }, "Cluster services list"));
        let without = Needs { imports: false, adopt_endpoints: false, ..to_kube };
        assert!(!has(&without, "services create") && !has(&without, "consulimports") && !has(&without, "endpoints "));
    }

    #[test]
    fn policies_take_rights_away() {
        let both = needs(&[Direction::ToKube, Direction::ToConsul]);
        let observe = Needs { policy: Policy::Observe, ..both.clone() };
        for line in grants(&observe) {
            assert!(line.verbs.iter().all(|verb| ["get", "list", "watch"].contains(verb)), "{line:?}");
        }
        let upsert = Needs { policy: Policy::UpsertOnly, ..both };
        assert!(!shown(&upsert).iter().any(|line| line.contains("services delete")));
        assert!(shown(&upsert).iter().any(|line| line.contains("endpointslices create,update,delete")));
    }
}
