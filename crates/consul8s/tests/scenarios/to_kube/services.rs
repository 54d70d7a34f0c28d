//! What a Service itself says and becomes (contract §1, §2): its type, selector, families, ports and labels.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `selector_added_and_removed` | `SelectorPresent` with the patch that removes it; ours follow their health for 10 s and go, and come back with the patch |
//! | `selector_with_others_ready` | ours go as soon as another manager's slices show a ready endpoint |
//! | `external_name` | `UnsupportedType`; ours go, and come when the type is another |
//! | `families_change` | a family that comes gets its slices, one that goes loses them |
//! | `headless` | the headless label; without ports the endpoints have none |
//! | `labels_are_handed_on` | labels that come and go on the Service do so on its slices; ours and Kubernetes' own stay |
//! | `ports_change` | D4: a port added, renumbered, and renamed with announcement: the endpoint is never missing |
//! | `trigger_time` | the time of the change behind the write, also where the Service changed |

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Outcome, SERVICES, SLICES, SOON, Scenario, World, list, scenario, so, text, view};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(selector_added_and_removed),
    scenario!(selector_with_others_ready),
    scenario!(external_name),
    scenario!(families_change),
    scenario!(headless),
    scenario!(labels_are_handed_on),
    scenario!(ports_change),
    scenario!(trigger_time),
];

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OURS: &str = "controller.consul8s.io";
/// How long ours stay beside a selector.
const YIELD_AFTER: Duration = Duration::from_secs(10);

fn ours(slices: &[Value]) -> Vec<Value> {
    slices.iter().filter(|slice| slice["metadata"]["labels"][MANAGED_BY] == OURS).cloned().collect()
}

/// Waits until our endpoints are these, whatever others have.
async fn we_publish(world: &World, limit: Duration, wanted: &[&str]) -> Outcome<Duration> {
    let right = |slices: &[Value]| {
        let seen = view::endpoints(&ours(slices));
        so(seen == wanted, || format!("{seen:?}"))
    };
    world.slices_become(&format!("ours are {wanted:?}"), limit, "web", right).await
}

async fn we_have_none(world: &World, limit: Duration) -> Outcome<Duration> {
    let right = |slices: &[Value]| so(ours(slices).is_empty(), || format!("{:#?}", ours(slices)));
    world.slices_become("ours are gone", limit, "web", right).await
}

/// A Service `web` that is filled with one endpoint.
async fn filled(world: &World) -> Outcome<(String, crate::harness::Running)> {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let program = world.start()?;
    let line = format!("{}:8080 ready", instance.address);
    world.publishes("web", &[&line]).await?;
    Ok((line, program))
}

async fn selector_added_and_removed(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let _program = world.start()?;
    let line = format!("{}:8080 ready", instance.address);
    world.publishes("web", &[&line]).await?;
    let start = Instant::now();
    world.kube.merge(SERVICES, "web", &json!({ "spec": { "selector": { "app": "web" } } })).await?;
    let patch = format!(
        "kubectl -n {} patch service web --type=json -p '[{{\"op\":\"remove\",\"path\":\"/spec/selector\"}}]'",
        world.namespace
    );
    world.says("web", "False SelectorPresent", &patch).await?;
    // What stands follows its health for as long as it stands.
    world.consul.register(&instance.clone().checked("critical")).await?;
    we_publish(world, YIELD_AFTER, &[&line.replace(" ready", " not-ready")]).await?;
    world.consul.register(&instance).await?;
    we_have_none(world, YIELD_AFTER + SOON).await?;
    let took = start.elapsed();
    so(took >= YIELD_AFTER, || format!("they were gone after {took:?}"))?;
    world.kube.merge(SERVICES, "web", &json!({ "spec": { "selector": null } })).await?;
    we_publish(world, SOON, &[&line]).await?;
    world.says("web", "True EndpointsUpdated", "1 of 1").await
}

async fn selector_with_others_ready(world: &World) -> Outcome {
    let (_, _program) = filled(world).await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "of-pods",
            "labels": { "kubernetes.io/service-name": "web", MANAGED_BY: "somebody.example.com" },
        },
        "endpoints": [{ "addresses": ["10.96.0.67"], "conditions": { "ready": true } }],
        "ports": [{ "name": "http", "port": 80, "protocol": "TCP" }],
    });
    world.kube.create(SLICES, &slice).await?;
    let start = Instant::now();
    world.kube.merge(SERVICES, "web", &json!({ "spec": { "selector": { "app": "web" } } })).await?;
    we_have_none(world, SOON).await?;
    let took = start.elapsed();
    so(took < YIELD_AFTER, || format!("they were gone only after {took:?}"))
}

async fn external_name(world: &World) -> Outcome {
    let (line, _program) = filled(world).await?;
    let outside = json!({
        "spec": { "type": "ExternalName", "externalName": "web.example.com", "clusterIP": null, "clusterIPs": null,
                  "ipFamilies": null, "ipFamilyPolicy": null, "internalTrafficPolicy": null },
    });
    world.kube.merge(SERVICES, "web", &outside).await?;
    we_have_none(world, SOON).await?;
    world.says("web", "False UnsupportedType", "use ClusterIP").await?;
    world.kube.merge(SERVICES, "web", &json!({ "spec": { "type": "ClusterIP", "externalName": null } })).await?;
    we_publish(world, SOON, &[&line]).await?;
    world.says("web", "True EndpointsUpdated", "1 of 1").await
}

async fn families_change(world: &World) -> Outcome {
    let (line, program) = filled(world).await?;
    world.consul.register(&world.instance("web").at("fd00::98:7", 8080)).await?;
    let family = [("direction", "to_kube"), ("reason", "family")];
    program.counts("consul8s_instances_dropped", &family, |count| count == 1.0).await?;
    let both = json!({ "spec": { "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"] } });
    world.kube.merge(SERVICES, "web", &both).await?;
    we_publish(world, SOON, &[&line, "[fd00::98:7]:8080 ready"]).await?;
    let service = world.kube.get(SERVICES, "web").await?;
    let first_ip = &service["spec"]["clusterIPs"][0];
    let one = json!({
        "spec": { "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "clusterIPs": [first_ip] },
    });
    world.kube.merge(SERVICES, "web", &one).await?;
    // What the user changes is no absence.
    let took = we_publish(world, SOON, &[&line]).await?;
    so(took < Duration::from_secs(5), || format!("it took {took:?}"))?;
    program.counts("consul8s_instances_dropped", &family, |count| count == 1.0).await
}

async fn headless(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world
        .create_to_kube("web", |service| service["spec"] = json!({ "clusterIP": "None", "ipFamilies": ["IPv4"] }))
        .await?;
    let _program = world.start()?;
    world.publishes("web", &[&format!("{}: ready", instance.address)]).await?;
    let slices = world.kube.slices("web").await?;
    let label = &slices[0]["metadata"]["labels"]["service.kubernetes.io/headless"];
    so(*label == json!(""), || format!("{slices:#?}"))
}

async fn labels_are_handed_on(world: &World) -> Outcome {
    let (_, _program) = filled(world).await?;
    let labels = json!({ "team": "shop", MANAGED_BY: "evil", "kubernetes.io/service-name": "other",
                         "service.kubernetes.io/headless": "" });
    world.kube.merge(SERVICES, "web", &json!({ "metadata": { "labels": labels } })).await?;
    let became = |team: Value| {
        move |slices: &[Value]| {
            let [slice] = slices else { return Err(format!("{slices:#?}")) };
            let labels = &slice["metadata"]["labels"];
            let reserved = labels[MANAGED_BY] == OURS && labels["service.kubernetes.io/headless"].is_null();
            so(labels["team"] == team && reserved, || format!("{labels:#}"))
        }
    };
    world.slices_become("the label comes", SOON, "web", became(json!("shop"))).await?;
    world.kube.label("web", "team", None).await?;
    world.slices_become("the label goes", SOON, "web", became(Value::Null)).await?;
    Ok(())
}

async fn ports_change(world: &World) -> Outcome {
    let (line, program) = filled(world).await?;
    let address = line.split(':').next().unwrap_or_default().to_owned();
    let record = world.record("web").await?;
    let shown = async |numbers: &str, names: &[&str]| {
        let line = format!("{address}:{numbers} ready");
        let right = |slices: &[Value]| {
            let mut seen: Vec<String> =
                slices.iter().flat_map(|slice| list(&slice["ports"])).map(|port| text(&port["name"])).collect();
            seen.sort();
            so(seen == names && view::endpoints(slices) == [line.clone()], || format!("{seen:?} {slices:#?}"))
        };
        world.slices_become(&format!("ports {names:?}"), SOON, "web", right).await
    };
    let ports = async |ports: Value| world.kube.merge(SERVICES, "web", &json!({ "spec": { "ports": ports } })).await;
    world.kube.annotate("web", "consul8s/service.ports", Some("http=default, admin=9901")).await?;
    shown("8080,9901", &["admin", "http"]).await?;
    ports(json!([{ "name": "http", "port": 80 }, { "name": "admin", "port": 81 }])).await?;
    // Another number of the Service is nothing to its slices.
    let writes = program.writes().await?;
    ports(json!([{ "name": "http", "port": 8000 }, { "name": "admin", "port": 81 }])).await?;
    world.says("web", "True EndpointsUpdated", "1 of 1").await?;
    assert_eq!(program.writes().await?, writes);
    // Announced, renamed, and what it was called before is given up.
    world.kube.annotate("web", "consul8s/service.ports", Some("http=default, web=default, admin=9901")).await?;
    shown("8080,9901,8080", &["admin", "http", "web"]).await?;
    ports(json!([{ "name": "web", "port": 8000 }, { "name": "admin", "port": 81 }])).await?;
    world.kube.annotate("web", "consul8s/service.ports", Some("web=default, admin=9901")).await?;
    shown("8080,9901", &["admin", "web"]).await?;
    let there =
        |endpoints: &[String]| endpoints.iter().any(|line| line.starts_with(&address) && line.ends_with(" ready"));
    record.always("the endpoint ready", there)
}

async fn trigger_time(world: &World) -> Outcome {
    let now = || jiff::Timestamp::now();
    let before = now();
    let (_, _program) = filled(world).await?;
    let trigger = async || -> Outcome<jiff::Timestamp> {
        let slices = world.kube.slices("web").await?;
        let time = text(&slices[0]["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"]);
        time.parse().map_err(|why| format!("{time:?}: {why}"))
    };
    let first = trigger().await?;
    so(first >= before && first <= now(), || format!("{first} is not after {before}"))?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let changed = now();
    world.kube.label("web", "team", Some("shop")).await?;
    let right = |slices: &[Value]| {
        so(slices.iter().all(|slice| slice["metadata"]["labels"]["team"] == "shop"), || format!("{slices:#?}"))
    };
    world.slices_become("the label comes", SOON, "web", right).await?;
    let second = trigger().await?;
    so(second >= changed, || format!("{second} is before {changed}, when the Service changed"))
}
