//! `--policy` (contract §5).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `upsert_only` | no registration and no created Service is removed; endpoints and checks follow |
//! | `observe_writes_nothing` | beside another syncer: everything runs, nothing is written to either side, the differences are counted |
//! | `observe_beside_an_audit_log` | the same as the API server has written it down, with a ConsulImport too |

use std::time::Duration;

use consul8s_testbed::{Kubernetes, KubernetesOptions};
use serde_json::{Value, json};

use crate::harness::{
    EVENTS, Kind, LEASES, Ledger, Outcome, SERVICES, SOON, Scenario, World, eventually, scenario, so, text,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(upsert_only),
    scenario!(observe_writes_nothing),
    scenario!(observe_beside_an_audit_log).only(Kind::Real, "only a real API server writes an audit log"),
];

async fn upsert_only(world: &World) -> Outcome {
    let [first, second] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    for service in ["db", "api", "gone"] {
        world.create_to_consul(service, |_| ()).await?;
    }
    let program = world.program().flags(&["--policy", "upsert-only"]).start()?;
    let ready = |instance: &crate::harness::Instance| format!("{}:8080 ready", instance.address);
    let mut both = [ready(&first), ready(&second)];
    both.sort();
    world.publishes("web", &[&both[0], &both[1]]).await?;
    let line =
        |service: &str, tags: &str| format!("{0}.{service} {service}.example.com:80 passing{tags}", world.namespace);
    for service in ["db", "api", "gone"] {
        world.registers(&world.own(service), &[&line(service, "")]).await?;
    }
    // Whatever would take it away otherwise.
    world.kube.delete(SERVICES, "gone").await?;
    world.kube.label("api", "consul8s_source", Some("none")).await?;
    world.kube.annotate("db", "consul8s/service.remove_registration", Some("true")).await?;
    world.create_to_consul("marker", |_| ()).await?;
    world.registers(&world.own("marker"), &[&line("marker", "")]).await?;
    // Endpoints follow in both ways.
    world.consul.remove_service(&first.node, &first.id).await?;
    world.consul.remove_node(&first.node).await?;
    world.publishes_within(Duration::from_secs(40), "web", &[&ready(&second)]).await?;
    for service in ["db", "api", "gone"] {
        world.registers(&world.own(service), &[&line(service, "")]).await?;
    }
    let removed = [("target", "registration"), ("action", "delete")];
    assert_eq!(program.scrape().await?.count("consul8s_writes_total", &removed), 0.0);
    // Under the usual policy they go.
    program.terminate(Duration::from_secs(5)).await?;
    let _program = world.start()?;
    for service in ["db", "api", "gone"] {
        world.registers(&world.own(service), &[]).await?;
    }
    Ok(())
}

async fn observe_writes_nothing(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    let ledger = Ledger::before(&world.servers.consul_address()).await?;
    let before = world.versions().await?;
    let once = world.program().consul(&ledger.address()).flags(&["--dry-run"]).finish(&["-1"]).await?;
    assert_eq!(once.code, Some(0), "{once:#?}");
    let program =
        world.program().consul(&ledger.address()).lease("observer").flags(&["--dry-run", "-i", "1"]).start()?;
    let pending = |direction| [("direction", direction), ("action", "create")];
    program.counts("consul8s_pending_changes", &pending("to_kube"), |count| count == 1.0).await?;
    program.counts("consul8s_pending_changes", &pending("to_consul"), |count| count >= 1.0).await?;
    world.unchanged_since(&before).await?;

    // Another syncer does it: what it makes is not ours to change, and the observer goes on seeing.
    let other = world.start()?;
    world.publishes("web", &[&format!("{}:8080 ready", instance.address)]).await?;
    let registered = format!("{}.db db.example.com:80 passing", world.namespace);
    world.registers(&world.own("db"), &[&registered]).await?;
    world.create_to_consul("api", |_| ()).await?;
    world.registers(&world.own("api"), &[&format!("{}.api api.example.com:80 passing", world.namespace)]).await?;
    other.terminate(Duration::from_secs(5)).await?;
    let before = world.versions().await?;
    world.create_to_kube("more", |_| ()).await?;
    world.registered_instances::<1>("more").await?;
    program
        .counts("consul8s_services", &[("direction", "to_kube"), ("state", "pending")], |count| count >= 1.0)
        .await?;
    let grown: Vec<String> = crate::harness::view::differences(&before, &world.versions().await?);
    so(grown.iter().all(|change| change.contains("services more") && change.starts_with('+')), || {
        format!("{grown:?}")
    })?;

    let scrape = program.scrape().await?;
    assert_eq!(scrape.count("consul8s_writes_total", &[]), 0.0);
    assert_eq!(scrape.count("consul8s_leader", &[]), 0.0);
    assert!(program.log().contains("observe"), "{}", program.log());
    assert_eq!(program.terminate(Duration::from_secs(5)).await?, 0);
    let asked = ledger.asked();
    so(asked.len() > 5, || format!("{asked:?}"))?;
    so(ledger.writes().is_empty(), || format!("{:?}", ledger.writes()))?;
    let leases = world.kube.list(LEASES).await?;
    so(leases.iter().all(|lease| lease["metadata"]["name"] != "observer"), || format!("{leases:#?}"))?;
    let events = world.kube.list(EVENTS).await?;
    let of_more = |event: &&Value| {
        event["regarding"]["name"] == "more" && text(&event["reportingController"]).contains("consul8s")
    };
    so(events.iter().filter(of_more).count() == 0, || format!("{events:#?}"))?;
    let more = world.kube.get(SERVICES, "more").await?;
    so(more["status"]["conditions"].is_null(), || more["status"].to_string())
}

/// The same, as the API server's own log of requests has it.
async fn observe_beside_an_audit_log(world: &World) -> Outcome {
    let options = KubernetesOptions { controller_manager: false, audit: true };
    let kube = Kubernetes::start(options).await.map_err(|why| why.to_string())?;
    let consul = world.servers.consul_address();
    let ledger = Ledger::before(&consul).await?;
    for (name, source, key, value) in [
        ("web", "consul", "consul8s/service.name", world.own("web")),
        ("db", "kubernetes", "domainName", "db.example.com".to_owned()),
    ] {
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": name, "labels": { "consul8s_source": source }, "annotations": { key: value } },
            "spec": { "ports": [{ "name": "http", "port": 80 }] },
        });
        let path = "/api/v1/namespaces/default/services";
        let made = kube.request("POST", path, Some(&service)).await.map_err(|why| why.to_string())?;
        so(made.is_ok(), || made.body.clone())?;
    }
    world.registered_instances::<1>("web").await?;
    let printed = world.program().finish(&["crd"]).await?;
    // An import asks for a Service, and would get a finalizer.
    kube.kubectl(&["apply", "-f", "-"], Some(&printed.stdout)).await.map_err(|why| why.to_string())?;
    let import = json!({
        "apiVersion": "consul8s.io/v1alpha1", "kind": "ConsulImport", "metadata": { "name": "all" },
        "spec": { "selector": { "names": [world.own("other")] } },
    });
    world.registered_instances::<1>("other").await?;
    eventually("the import is created", SOON, async || {
        let done = kube.kubectl(&["apply", "-f", "-"], Some(&import.to_string())).await;
        done.map(drop).map_err(|why| why.to_string())
    })
    .await?;
    let flags = ["--policy", "observe", "--namespace", "default", "-i", "1"];
    let program =
        world.program().bare().kubeconfig(kube.kubeconfig()).consul(&ledger.address()).flags(&flags).start()?;
    let pending = |direction| [("direction", direction), ("action", "create")];
    // A slice, and the Service that the import asks for.
    program.counts("consul8s_pending_changes", &pending("to_kube"), |count| count == 2.0).await?;
    program.counts("consul8s_pending_changes", &pending("to_consul"), |count| count >= 1.0).await?;
    assert_eq!(program.terminate(Duration::from_secs(5)).await?, 0);
    let events = kube.audit_events().map_err(|why| why.to_string())?;
    let ours: Vec<&Value> = events.iter().filter(|event| text(&event["userAgent"]).starts_with("consul8s")).collect();
    so(ours.len() > 5, || format!("{} requests", ours.len()))?;
    let writes: Vec<String> = ours
        .iter()
        .map(|event| format!("{} {}", text(&event["verb"]), text(&event["requestURI"])))
        .filter(|what| !["get ", "list ", "watch "].iter().any(|read| what.starts_with(read)))
        .collect();
    so(writes.is_empty(), || format!("{writes:?}"))?;
    so(ours.iter().all(|event| event["objectRef"]["resource"] != "leases"), || "the Lease was looked at".to_owned())?;
    so(ledger.writes().is_empty(), || format!("{:?}", ledger.writes()))
}
