//! Where the addresses of a registration come from (contract §4).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `each_address_source` | every source by name, and what `auto` takes |
//! | `pods` | `endpoints`: each pod with its own check; unready, terminating and gone |
//! | `no_serving_condition` | a slice that says only `ready: false` is not serving |

use serde_json::{Value, json};

use crate::harness::{Outcome, SLICES, Scenario, World, list, remove, scenario, text};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(each_address_source), scenario!(pods).and_on_an_open_consul(), scenario!(no_serving_condition)];

/// What kubelets and Kubernetes' own controller would write, under a name of somebody else.
pub(super) async fn pods_slice(world: &World, service: &str, endpoints: Value) -> Outcome {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{service}-pods"),
            "labels": { "kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "pods.example.com" },
        },
        "endpoints": endpoints,
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    });
    world.kube.create(SLICES, &slice).await?;
    Ok(())
}

/// One endpoint on a node.
pub(super) fn endpoint(address: &str, node: &str, ready: bool) -> Value {
    json!({
        "addresses": [address], "nodeName": node, "zone": "z1",
        "conditions": { "ready": ready, "serving": ready, "terminating": false },
        "targetRef": { "kind": "Pod", "name": format!("pod-{}", address.replace('.', "-")) },
    })
}

async fn each_address_source(world: &World) -> Outcome {
    let made = |source: Option<&'static str>, spec: Value, annotations: Value| {
        move |service: &mut Value| {
            remove(&mut service["metadata"]["annotations"], "domainName");
            for (key, value) in annotations.as_object().into_iter().flatten() {
                service["metadata"]["annotations"][key] = value.clone();
            }
            if let Some(source) = source {
                service["metadata"]["annotations"]["consul8s/service.address_source"] = json!(source);
            }
            for (key, value) in spec.as_object().into_iter().flatten() {
                service["spec"][key] = value.clone();
            }
        }
    };
    let external = json!({ "externalIPs": ["198.51.100.7"] });
    let dns = |key: &str| json!({ key: "app.example.com." });
    for (name, source, spec, annotations) in [
        ("cluster", Some("cluster_ip"), json!({}), json!({})),
        ("external", Some("external_ip"), external.clone(), json!({})),
        ("auto", None, external, json!({})),
        ("new-dns", None, json!({}), dns("external-dns.kubernetes.io/hostname")),
        ("old-dns", None, json!({}), dns("external-dns.alpha.kubernetes.io/hostname")),
        ("route53", None, json!({}), json!({ "domainName": ".a.example.com, b.example.com" })),
        ("given", None, json!({}), json!({ "consul8s/service.address": "10.9.9.9", "domainName": "x.example.com" })),
        ("pending", Some("load_balancer"), json!({ "type": "LoadBalancer" }), json!({})),
    ] {
        world.create_to_consul(name, made(source, spec, annotations)).await?;
    }
    let cluster_ip = text(&world.kube.get(crate::harness::SERVICES, "cluster").await?["spec"]["clusterIP"]);
    let program = world.start()?;
    let id = |name: &str| format!("{}.{name}", world.namespace);
    for (name, address) in [
        ("cluster", cluster_ip.as_str()),
        ("external", "198.51.100.7"),
        ("auto", "198.51.100.7"),
        ("new-dns", "app.example.com"),
        ("old-dns", "app.example.com"),
        ("given", "10.9.9.9"),
    ] {
        let told = |why| format!("{name}: {why}");
        world.registers(&world.own(name), &[&format!("{} {address}:80 passing", id(name))]).await.map_err(told)?;
    }
    crate::harness::eventually("both names of route53", crate::harness::SOON, async || {
        let found = world.registrations(&world.own("route53")).await?;
        let mut addresses: Vec<String> = found.iter().map(|entry| text(&entry["Service"]["Address"])).collect();
        addresses.sort();
        crate::harness::so(addresses == ["a.example.com", "b.example.com"], || format!("{addresses:?}"))
    })
    .await?;
    program.counts("consul8s_problems", &[("reason", "NoAddress")], |count| count == 1.0).await
}

async fn pods(world: &World) -> Outcome {
    let of_pods = |service: &mut Value| {
        service["spec"]["selector"] = json!({ "app": "web" });
        service["metadata"]["annotations"]["consul8s/service.address_source"] = json!("endpoints");
        remove(&mut service["metadata"]["annotations"], "domainName");
    };
    world.create_to_consul("web", of_pods).await?;
    let all = json!([endpoint("10.244.0.1", "n1", true), endpoint("10.244.0.2", "n2", false)]);
    pods_slice(world, "web", all).await?;
    let _program = world.start()?;
    let name = world.own("web");
    let seen = async |wanted: &[(&str, &str)]| {
        crate::harness::eventually(&format!("{wanted:?}"), crate::harness::SOON, async || {
            let entries = world.registrations(&name).await?;
            let mut found: Vec<(String, String)> = entries
                .iter()
                .map(|entry| {
                    let check = list(&entry["Checks"]).first().map(|check| text(&check["Status"])).unwrap_or_default();
                    (format!("{}:{}", text(&entry["Service"]["Address"]), entry["Service"]["Port"]), check)
                })
                .collect();
            found.sort();
            let wanted: Vec<(String, String)> =
                wanted.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            crate::harness::so(found == wanted, || format!("{found:?}"))
        })
        .await
    };
    seen(&[("10.244.0.1:8080", "passing"), ("10.244.0.2:8080", "critical")]).await?;
    let meta = world.registrations(&name).await?.remove(0)["Service"]["Meta"].clone();
    let expected = [
        ("external-k8s-ref-kind", "Pod"),
        ("external-k8s-topology-zone", "z1"),
        ("consul8s-service", "web"),
        ("port-http", "80"),
    ];
    for (key, value) in expected {
        assert_eq!(meta[key], value, "{key} in {meta:#}");
    }
    // A pod that ends leaves at once; another one turns ready.
    let mut ending = endpoint("10.244.0.1", "n1", false);
    ending["conditions"] = json!({ "ready": false, "serving": true, "terminating": true });
    let next = json!([ending, endpoint("10.244.0.2", "n2", true)]);
    world.kube.edit(SLICES, "web-pods", |slice| slice["endpoints"] = next).await?;
    seen(&[("10.244.0.2:8080", "passing")]).await?;
    world.kube.edit(SLICES, "web-pods", |slice| slice["endpoints"] = json!([])).await?;
    seen(&[]).await
}

async fn no_serving_condition(world: &World) -> Outcome {
    world.create_to_consul("web", |service| service["spec"]["selector"] = json!({ "app": "web" })).await?;
    let only = |ready: bool| json!([{ "addresses": ["10.244.0.1"], "conditions": { "ready": ready } }]);
    pods_slice(world, "web", only(false)).await?;
    let _program = world.start()?;
    let at = format!("{}.web web.example.com:80", world.namespace);
    world.registers(&world.own("web"), &[&format!("{at} critical")]).await?;
    world.kube.edit(SLICES, "web-pods", |slice| slice["endpoints"] = only(true)).await?;
    world.registers(&world.own("web"), &[&format!("{at} passing")]).await?;
    Ok(())
}
