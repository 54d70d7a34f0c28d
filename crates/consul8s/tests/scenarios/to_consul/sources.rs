//! Every source of addresses, and the order in which `auto` takes them (contract §4).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `auto_takes_the_first_that_gives_one` | all at once, then one after the other taken away; each change is followed, down to `NoAddress` |
//! | `what_no_address_says` | the ways out, or that the load balancer is pending; in the condition, too |
//! | `cluster_ips_of_both_families` | each is registered, the first under the plain ID |
//! | `headless` | `cluster_ip` is `NoAddress`; without ports port 0 is registered |
//! | `external_name_is_not_supported` | `UnsupportedType`; what stood goes |

use serde_json::{Value, json};

use super::addresses::{endpoint, pods_slice};
use crate::harness::{Outcome, SERVICES, SOON, Scenario, World, eventually, list, remove, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(auto_takes_the_first_that_gives_one),
    scenario!(what_no_address_says),
    scenario!(cluster_ips_of_both_families),
    scenario!(headless),
    scenario!(external_name_is_not_supported),
];

async fn auto_takes_the_first_that_gives_one(world: &World) -> Outcome {
    let all = |service: &mut Value| {
        service["spec"]["type"] = json!("LoadBalancer");
        service["spec"]["externalIPs"] = json!(["198.51.100.7"]);
        let annotations = &mut service["metadata"]["annotations"];
        annotations["consul8s/service.address"] = json!("10.9.9.9");
        annotations["domainName"] = json!(".domain.example.com.");
        annotations["external-dns.kubernetes.io/hostname"] = json!("dns.example.com");
        annotations["external-dns.alpha.kubernetes.io/hostname"] = json!("alpha.example.com");
    };
    world.create_to_consul("web", all).await?;
    let ingress = |entries: Value| json!({ "loadBalancer": { "ingress": entries } });
    world.kube.merge_status(SERVICES, "web", &ingress(json!([{ "ip": "203.0.113.7" }]))).await?;
    let program = world.start()?;
    let at = async |address: &str| {
        eventually(&format!("registered at {address}"), SOON, async || {
            let found = world.registrations(&world.own("web")).await?;
            let addresses: Vec<String> = found.iter().map(|entry| text(&entry["Service"]["Address"])).collect();
            so(addresses == [address], || format!("{addresses:?}"))
        })
        .await
    };
    at("10.9.9.9").await?;
    for (taken_away, next) in [
        ("consul8s/service.address", "domain.example.com"),
        ("domainName", "dns.example.com"),
        ("external-dns.kubernetes.io/hostname", "alpha.example.com"),
        ("external-dns.alpha.kubernetes.io/hostname", "203.0.113.7"),
    ] {
        world.kube.annotate("web", taken_away, None).await?;
        at(next).await?;
    }
    world.kube.merge_status(SERVICES, "web", &ingress(json!([{ "hostname": "lb.example.com" }]))).await?;
    at("lb.example.com").await?;
    world.kube.merge_status(SERVICES, "web", &ingress(Value::Null)).await?;
    at("198.51.100.7").await?;
    world.kube.merge(SERVICES, "web", &json!({ "spec": { "externalIPs": null } })).await?;
    world.registers(&world.own("web"), &[]).await?;
    program.counts("consul8s_problems", &[("reason", "NoAddress")], |count| count == 1.0).await
}

/// The message of our condition.
async fn condition(world: &World, service: &str, reason: &str) -> Outcome<String> {
    eventually(&format!("{service}: {reason}"), SOON, async || {
        let conditions = list(&world.kube.get(SERVICES, service).await?["status"]["conditions"]);
        let ours = conditions.iter().find(|condition| condition["type"] == "consul8s/Synced");
        let ours = ours.ok_or("no condition")?;
        so(ours["reason"] == reason, || ours.to_string())?;
        Ok(text(&ours["message"]))
    })
    .await
}

async fn what_no_address_says(world: &World) -> Outcome {
    let homeless = |service: &mut Value| remove(&mut service["metadata"]["annotations"], "domainName");
    world.create_to_consul("plain", homeless).await?;
    let pending = |service: &mut Value| {
        homeless(service);
        service["spec"]["type"] = json!("LoadBalancer");
    };
    world.create_to_consul("pending", pending).await?;
    let _program = world.start()?;
    let message = condition(world, "plain", "NoAddress").await?;
    for way in ["consul8s/service.address", "domainName", "cluster_ip", "endpoints"] {
        so(message.contains(way), || format!("{way} in {message:?}"))?;
    }
    let message = condition(world, "pending", "NoAddress").await?;
    so(message.contains("pending"), || message.clone())
}

async fn cluster_ips_of_both_families(world: &World) -> Outcome {
    let both = |service: &mut Value| {
        remove(&mut service["metadata"]["annotations"], "domainName");
        service["metadata"]["annotations"]["consul8s/service.address_source"] = json!("cluster_ip");
        service["spec"]["ipFamilyPolicy"] = json!("RequireDualStack");
    };
    let service = world.create_to_consul("web", both).await?;
    let ips: Vec<String> = list(&service["spec"]["clusterIPs"]).iter().map(text).collect();
    assert_eq!(ips.len(), 2, "{service:#}");
    let _program = world.start()?;
    let plain = format!("{}.web", world.namespace);
    eventually("both are registered", SOON, async || {
        let mut found = world.registrations(&world.own("web")).await?;
        found.sort_by_key(|entry| text(&entry["Service"]["ID"]).len());
        let seen: Vec<(String, String)> =
            found.iter().map(|entry| (text(&entry["Service"]["ID"]), text(&entry["Service"]["Address"]))).collect();
        let right = seen.len() == 2 && seen[0] == (plain.clone(), ips[0].clone()) && seen[1].1 == ips[1];
        so(right, || format!("{seen:?}"))
    })
    .await
}

async fn headless(world: &World) -> Outcome {
    let headless = |source: &'static str, ports: Value| {
        move |service: &mut Value| {
            remove(&mut service["metadata"]["annotations"], "domainName");
            service["metadata"]["annotations"]["consul8s/service.address_source"] = json!(source);
            service["spec"] = json!({ "clusterIP": "None", "selector": { "app": "x" } });
            if !ports.is_null() {
                service["spec"]["ports"] = ports.clone();
            }
        }
    };
    world.create_to_consul("none", headless("cluster_ip", json!([{ "port": 80 }]))).await?;
    world.create_to_consul("portless", headless("endpoints", Value::Null)).await?;
    pods_slice(world, "portless", json!([endpoint("10.244.0.1", "n1", true)])).await?;
    let program = world.start()?;
    program.counts("consul8s_problems", &[("reason", "NoAddress")], |count| count == 1.0).await?;
    world.registers(&world.own("portless"), &[&format!("{}.portless 10.244.0.1:0 passing", world.namespace)]).await?;
    assert!(world.registrations(&world.own("none")).await?.is_empty());
    Ok(())
}

async fn external_name_is_not_supported(world: &World) -> Outcome {
    world.create_to_consul("web", |_| ()).await?;
    let program = world.start()?;
    world.registers(&world.own("web"), &[&format!("{}.web web.example.com:80 passing", world.namespace)]).await?;
    let external = json!({ "spec": { "type": "ExternalName", "externalName": "x.example.com", "clusterIP": null, "clusterIPs": null } });
    world.kube.merge(SERVICES, "web", &external).await?;
    world.registers(&world.own("web"), &[]).await?;
    program.counts("consul8s_problems", &[("reason", "UnsupportedType")], |count| count == 1.0).await
}
