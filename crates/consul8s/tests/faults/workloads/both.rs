//! Workloads that touch both directions.

use consul8s_core::consul::CheckStatus::Passing;
use consul8s_core::kube::ObjectKey;
use consul8s_sim::model::kube::{Cluster, Resource};
use serde_json::json;

use crate::workload::{Workload, create, service};

/// Services are made from the catalog, filled, and left behind when the import goes.
pub(crate) fn import() -> Workload {
    let mut play = Workload::new("import");
    play.kube(0.0, |cluster| {
        let definition = json!({"metadata": {"name": "consulimports.consul8s.io"}});
        cluster.create(Resource::Definitions, "", definition).expect("the definition");
        import_of(cluster, "all", "shop", "Delete");
        import_of(cluster, "some", "bank", "Orphan");
        // Somebody's Service that has a name which an import would give.
        create(cluster, "default", service("shop-taken", "none", &json!({}), &json!({})));
    });
    play.instance(0.0, "shop-web", 1, Passing);
    play.instance(0.0, "shop-taken", 2, Passing);
    play.instance(0.0, "bank-web", 3, Passing);
    play.instance(4.0, "shop-api", 4, Passing);
    // Late enough that both have made their Services, whatever went wrong before.
    play.kube(60.0, |cluster| delete_import(cluster, "some"));
    play.kube(66.0, |cluster| delete_import(cluster, "all"));
    play
}

fn import_of(cluster: &mut Cluster, name: &str, prefix: &str, policy: &str) {
    let import = json!({
        "metadata": {"name": name},
        "spec": {"selector": {"prefix": prefix}, "deletionPolicy": policy},
    });
    cluster.create(Resource::ConsulImports, "default", import).expect("an import");
}

fn delete_import(cluster: &mut Cluster, name: &str) {
    // Its finalizer may not be on it yet, or its work be done already.
    let _ = cluster.delete_object(Resource::ConsulImports, &ObjectKey::new("default", name));
}

/// A Service turns round twice; another has what is of Kubernetes and of Consul under one name.
pub(crate) fn turn() -> Workload {
    let mut play = Workload::new("turn");
    let key = || ObjectKey::new("default", "web");
    (1..=2).for_each(|number| play.instance(0.0, "web", number, Passing));
    play.service(0.0, "web", "consul", json!({"consul8s/service.name": "web"}));
    play.service(1.0, "db", "kubernetes", json!({"domainName": "db.example.com", "consul8s/service.name": "web"}));
    play.annotate(4.0, "web", "domainName", Some("web.example.com"));
    play.kube(6.0, move |cluster| {
        cluster.label_service(&key(), "consul8s_source", Some("kubernetes")).expect("a Service");
    });
    play.kube(11.0, move |cluster| {
        cluster.label_service(&key(), "consul8s_source", Some("consul")).expect("a Service")
    });
    play.annotate(15.0, "db", "consul8s/suspend", Some("true"));
    play.kube(17.0, |cluster| {
        cluster.delete_object(Resource::Services, &ObjectKey::new("default", "db")).expect("a Service");
    });
    play
}
