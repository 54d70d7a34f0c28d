//! Which Services go, and which stay.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `gone_from_the_catalog` | its Service goes after `--import-removal-delay` and not before; back within it, it stays with its ClusterIP |
//! | `no_longer_selected` | the import no longer names it: its Service goes at once |
//! | `import_deleted` | its Services go with it, and so does the finalizer |
//! | `orphaned` | `deletionPolicy: Orphan`: they stay ordinary Services, without our marks |
//! | `suspended` | nothing is created, changed or deleted |
//! | `consul_lost` | no answer and an empty Consul delete nothing |
//! | `import_after_a_wipe` | Consul comes back empty while we are down: no Service goes, of any type, over another restart too, until it was seen again |
//! | `names_alone_after_a_wipe` | the same where no Service has endpoints that could be held |
//! | `definition_comes_and_goes` | the CRD is noticed within a minute; deleted, it deletes no Service |

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{define, has_services, has_services_within, import, services, stands};
use crate::harness::{IMPORTS, Kind, Outcome, SERVICES, SOON, Scenario, World, eventually, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(gone_from_the_catalog),
    scenario!(no_longer_selected),
    scenario!(import_deleted),
    scenario!(orphaned),
    scenario!(suspended),
    scenario!(consul_lost).alone(),
    scenario!(import_after_a_wipe).alone(),
    scenario!(names_alone_after_a_wipe).alone(),
    scenario!(definition_comes_and_goes)
        .alone()
        .only(Kind::Real, "the simulated API deletes no objects with their definition"),
];

/// Long enough for the program to have done what it should not.
const A_WHILE: Duration = Duration::from_secs(2);
/// Finalizers, watches and the garbage of the API server.
const GONE: Duration = Duration::from_secs(30);

/// An import named `all` of `web` and `api`, with its Services.
async fn two(world: &World, spec: Value) -> Outcome<[String; 2]> {
    world.registered_instances::<1>("web").await?;
    world.registered_instances::<1>("api").await?;
    let names = [world.own("web"), world.own("api")];
    let mut spec = spec;
    spec["selector"] = json!({ "names": names });
    import(world, "all", spec).await?;
    has_services(world, &[&names[0], &names[1]]).await?;
    stands(world, "all", "2/2/0 Ready=True Synced").await?;
    Ok(names)
}

async fn import_is_gone(world: &World, name: &str) -> Outcome {
    eventually("the import is gone", GONE, async || {
        let left = world.kube.list(IMPORTS).await?;
        so(!left.iter().any(|import| import["metadata"]["name"] == name), || format!("{left:#?}"))
    })
    .await
}

async fn gone_from_the_catalog(world: &World) -> Outcome {
    define(world).await?;
    let [first] = world.registered_instances("web").await?;
    let name = world.own("web");
    let _program = world.program().flags(&["--import-removal-delay", "12s", "--removal-hold", "2s"]).start()?;
    import(world, "all", json!({ "selector": { "names": [name] } })).await?;
    world.publishes(&name, &[&format!("{}:8080 ready", first.address)]).await?;
    let before = world.kube.get(SERVICES, &name).await?;

    world.consul.remove_service(&first.node, &first.id).await?;
    world.publishes(&name, &[]).await?;
    sleep(Duration::from_secs(3)).await;
    world.consul.register(&first).await?;
    world.publishes(&name, &[&format!("{}:8080 ready", first.address)]).await?;
    sleep(Duration::from_secs(12)).await;
    let after = world.kube.get(SERVICES, &name).await?;
    assert_eq!(after["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"], "it was away for less than the delay");

    let left = tokio::time::Instant::now();
    world.consul.remove_service(&first.node, &first.id).await?;
    has_services_within(world, Duration::from_secs(60), &[]).await?;
    assert!(left.elapsed() >= Duration::from_secs(12), "gone after {:?}", left.elapsed());
    stands(world, "all", "0/0/0 Ready=True Synced").await
}

async fn no_longer_selected(world: &World) -> Outcome {
    define(world).await?;
    let _program = world.start()?;
    let [web, api] = two(world, json!({})).await?;
    world.kube.merge(IMPORTS, "all", &json!({ "spec": { "selector": { "names": [web] } } })).await?;
    has_services(world, &[&web]).await?;
    world.kube.merge(IMPORTS, "all", &json!({ "spec": { "selector": { "names": [web, api] } } })).await?;
    has_services(world, &[&web, &api]).await
}

async fn import_deleted(world: &World) -> Outcome {
    define(world).await?;
    let _program = world.start()?;
    two(world, json!({})).await?;
    world.create_to_kube("other", |_| ()).await?;
    world.kube.delete(IMPORTS, "all").await?;
    has_services_within(world, GONE, &["other"]).await?;
    import_is_gone(world, "all").await
}

async fn orphaned(world: &World) -> Outcome {
    define(world).await?;
    let _program = world.start()?;
    let [web, api] = two(world, json!({ "deletionPolicy": "Orphan" })).await?;
    let stands = |slices: &[Value]| so(!slices.is_empty(), || "none".to_owned());
    world.slices_become("it is filled", SOON, &web, stands).await?;
    let slices = world.kube.slices(&web).await?;
    world.kube.delete(IMPORTS, "all").await?;
    import_is_gone(world, "all").await?;
    sleep(A_WHILE).await;
    has_services(world, &[&web, &api]).await?;
    let meta = world.kube.get(SERVICES, &web).await?["metadata"].clone();
    assert!(meta["labels"]["app.kubernetes.io/managed-by"].is_null(), "{meta:#}");
    assert!(meta["annotations"]["consul8s/import"].is_null(), "{meta:#}");
    assert!(meta["annotations"]["consul8s/import-uid"].is_null(), "{meta:#}");
    assert_eq!(
        (&meta["labels"]["consul8s_source"], &meta["annotations"]["consul8s/service.name"]),
        (&json!("consul"), &json!(web))
    );
    let now = world.kube.slices(&web).await?;
    assert_eq!(now.len(), slices.len());
    assert_eq!(now[0]["metadata"]["uid"], slices[0]["metadata"]["uid"], "it is filled as before");
    Ok(())
}

async fn suspended(world: &World) -> Outcome {
    define(world).await?;
    let _program = world.start()?;
    let [web, api] = two(world, json!({})).await?;
    world.kube.merge(IMPORTS, "all", &json!({ "spec": { "suspend": true } })).await?;
    stands(world, "all", "2/2/0 Ready=False Suspended").await?;
    world.registered_instances::<1>("more").await?;
    let selector = json!({ "selector": { "names": [web, world.own("more")] } });
    world.kube.merge(IMPORTS, "all", &json!({ "spec": selector })).await?;
    stands(world, "all", "2/2/0 Ready=False Suspended").await?;
    sleep(A_WHILE).await;
    has_services(world, &[&web, &api]).await?;
    world.kube.merge(IMPORTS, "all", &json!({ "spec": { "suspend": false } })).await?;
    has_services(world, &[&web, &world.own("more")]).await
}

async fn consul_lost(world: &World) -> Outcome {
    define(world).await?;
    // Consul has counted further than it will have after the wipe.
    for _ in 0..40 {
        world.consul.register(&world.instance("other")).await?;
    }
    let program = world.program().flags(&["--import-removal-delay", "2s", "--removal-hold", "2s"]).start()?;
    let [web, api] = two(world, json!({})).await?;
    // No endpoint of this one can be held.
    let template = json!({ "metadata": { "name": "dns" }, "spec": { "type": "ExternalName" } });
    let [only] = world.registered_instances("other-one").await?;
    import(world, "dns", json!({ "selector": { "names": [only.service] }, "template": template })).await?;
    has_services(world, &[&web, &api, "dns"]).await?;
    for name in [&web, &api] {
        let ready = |slices: &[Value]| {
            let seen = crate::harness::view::endpoints(slices);
            so(seen.iter().any(|line| line.ends_with(" ready")), || format!("{seen:?}"))
        };
        world.slices_become("it is filled", SOON, name, ready).await?;
    }
    world.servers.stop_consul().await;
    stands(world, "all", "2/2/0 Ready=False ConsulUnavailable").await?;
    sleep(Duration::from_secs(8)).await;
    has_services(world, &[&web, &api, "dns"]).await?;
    // It comes back and knows nothing.
    world.servers.wipe_consul().await?;
    world.servers.start_consul().await?;
    sleep(Duration::from_secs(15)).await;
    has_services(world, &[&web, &api, "dns"]).await?;
    drop(program);
    Ok(())
}

async fn definition_comes_and_goes(world: &World) -> Outcome {
    let program = world.start()?;
    program.answers("/readyz").await?;
    sleep(A_WHILE).await;
    define(world).await?;
    let names = [world.own("web"), world.own("api")];
    world.registered_instances::<1>("web").await?;
    world.registered_instances::<1>("api").await?;
    import(world, "all", json!({ "selector": { "names": names } })).await?;
    has_services_within(world, Duration::from_secs(60), &[&names[0], &names[1]]).await?;
    world.kube.undefine("consulimports.consul8s.io").await?;
    eventually("the definition is gone", GONE, async || match world.kube.list(IMPORTS).await {
        Err(_) => Ok(()),
        Ok(left) => Err(format!("{left:#?}")),
    })
    .await?;
    sleep(A_WHILE).await;
    let mut wanted = names.to_vec();
    wanted.sort();
    assert_eq!(services(world).await?, wanted, "a definition that goes deletes nothing");
    Ok(())
}

async fn import_after_a_wipe(world: &World) -> Outcome {
    a_wipe(world, true).await
}

async fn names_alone_after_a_wipe(world: &World) -> Outcome {
    a_wipe(world, false).await
}

/// Consul is wiped while we are down. `beside`: there are Services with endpoints, too, which are held.
async fn a_wipe(world: &World, beside: bool) -> Outcome {
    const FORGOTTEN: &str = "consul8s/import-forgotten";
    define(world).await?;
    // Consul has counted further than it will have after the wipe.
    for _ in 0..40 {
        world.consul.register(&world.instance("other")).await?;
    }
    let start = || world.program().flags(&["--import-removal-delay", "2s", "--removal-hold", "2s"]).start();
    let program = start()?;
    let mut made: Vec<String> = if beside { two(world, json!({})).await?.to_vec() } else { Vec::new() };
    let [only] = world.registered_instances("other-one").await?;
    let template = json!({ "metadata": { "name": "dns" }, "spec": { "type": "ExternalName" } });
    import(world, "dns", json!({ "selector": { "names": [only.service] }, "template": template })).await?;
    made.push("dns".to_owned());
    let made: Vec<&str> = made.iter().map(String::as_str).collect();
    has_services(world, &made).await?;
    eventually("the Lease says how far Consul has counted", SOON, async || {
        let lease = world.kube.get(crate::harness::LEASES, &world.namespace).await?;
        so(!lease["metadata"]["annotations"]["consul8s/lineage"].is_null(), || format!("{lease:#}"))
    })
    .await?;
    program.terminate(Duration::from_secs(5)).await?;
    world.servers.wipe_consul().await?;
    world.servers.start_consul().await?;
    let noted = async |wanted: Value| {
        eventually("what is forgotten says so", SOON, async || {
            let service = world.kube.get(SERVICES, "dns").await?;
            let seen = &service["metadata"]["annotations"][FORGOTTEN];
            so(*seen == wanted, || format!("{seen}"))
        })
        .await
    };
    // The second finds the Lease in order again.
    for _ in 0..2 {
        let program = start()?;
        program.counts("consul8s_leader", &[], |leads| leads == 1.0).await?;
        sleep(Duration::from_secs(12)).await;
        has_services(world, &made).await?;
        noted(json!("true")).await?;
        program.terminate(Duration::from_secs(5)).await?;
    }
    let _program = start()?;
    world.consul.register(&only).await?;
    noted(Value::Null).await?;
    world.consul.remove_service(&only.node, &only.id).await?;
    has_services_within(world, GONE, &made[..made.len() - 1]).await
}
