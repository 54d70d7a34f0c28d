//! Which Services are made, and how.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `made_and_filled` | a selected service gets a Service, which is filled like any other; status counts; an empty selector takes nothing |
//! | `made_as_the_template_says` | name, labels, annotations, ports, headless |
//! | `external_names` | `type: ExternalName` points into Consul's DNS and is filled by nobody |
//! | `selected_by_tags_and_filter` | tags must all be there; a filter is Consul's to judge |
//! | `names_that_clash` | a foreign Service is never touched; who has a name keeps it; byte order; the older import first |
//! | `made_once` | `-1` makes and fills them, and ends |
//! | `in_two_families` | `ipFamilies` and `ipFamilyPolicy`: filled in both |
//! | `of_the_agents_own_datacenter` | named by `spec.datacenter`: as without it |
//! | `odd_names` | whatever a service is called in Consul, its Service gets a legal name and is filled; a template that changes renames nothing |
//! | `what_is_left_out` | Consul itself, mesh proxies and gateways, what comes from Kubernetes, what has a to_kube Service |

use serde_json::{Value, json};

use super::{define, has_services, import, services, stands};
use crate::harness::{IMPORTS, Kind, Outcome, SERVICES, Scenario, World, scenario, text};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(made_and_filled),
    scenario!(made_as_the_template_says),
    scenario!(external_names),
    scenario!(selected_by_tags_and_filter).only(Kind::Real, "the simulated Consul knows no filters"),
    scenario!(names_that_clash),
    scenario!(made_once),
    scenario!(in_two_families),
    scenario!(of_the_agents_own_datacenter),
    scenario!(odd_names),
    scenario!(what_is_left_out),
];

async fn made_and_filled(world: &World) -> Outcome {
    define(world).await?;
    let [web] = world.registered_instances("web").await?;
    let name = world.own("web");
    let program = world.start()?;
    import(world, "empty", json!({ "selector": {} })).await?;
    let made = import(world, "all", json!({ "selector": { "names": [name, world.own("later")] } })).await?;
    has_services(world, &[&name]).await?;
    world.publishes(&name, &[&format!("{}:8080 ready", web.address)]).await?;
    stands(world, "all", "1/1/0 Ready=True Synced").await?;
    stands(world, "empty", "0/0/0 Ready=True Synced").await?;
    let service = world.kube.get(SERVICES, &name).await?;
    let meta = &service["metadata"];
    assert_eq!(meta["labels"]["consul8s_source"], "consul");
    assert_eq!(meta["labels"]["app.kubernetes.io/managed-by"], "consul8s");
    assert_eq!(meta["annotations"]["consul8s/import"], format!("{}/all", world.namespace));
    assert_eq!(meta["annotations"]["consul8s/import-uid"], made["metadata"]["uid"]);
    assert_eq!(meta["annotations"]["consul8s/service.name"], name);
    assert!(meta["ownerReferences"].is_null(), "{meta:#}");
    assert_eq!(service["spec"]["ports"][0]["port"], 8080);
    assert_eq!(service["spec"]["ports"][0]["name"], "default");
    assert_eq!(world.kube.get(IMPORTS, "all").await?["metadata"]["finalizers"], json!(["consul8s.io/import"]));
    // The registry learns of one more.
    world.registered_instances::<2>("later").await?;
    has_services(world, &[&name, &world.own("later")]).await?;
    stands(world, "all", "2/2/0 Ready=True Synced").await?;
    program.counts("consul8s_writes_total", &[("target", "service"), ("action", "create")], |n| n == 2.0).await?;
    Ok(())
}

async fn made_as_the_template_says(world: &World) -> Outcome {
    define(world).await?;
    world.registered_instances::<1>("Web_1").await?;
    let template = json!({
        "metadata": {
            "name": "From_{datacenter}-{namespace}-{name}",
            "labels": { "team": "shop", "consul8s_source": "kubernetes" },
            "annotations": { "consul8s/service.health": "warning", "example.com/a": "b" },
        },
        "spec": {
            "clusterIP": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{ "name": "http", "port": 80, "appProtocol": "http" }, { "name": "dns", "port": 53, "protocol": "UDP" }],
        },
    });
    let _program = world.start()?;
    import(world, "all", json!({ "selector": { "prefix": "Web_1" }, "template": template })).await?;
    let mut made = None;
    crate::harness::eventually("there is a Service", crate::harness::SOON, async || {
        made = services(world).await?.pop();
        crate::harness::so(made.is_some(), || "none".to_owned())
    })
    .await?;
    let name = made.unwrap_or_default();
    let expected = format!("from-dc1-default-{}", world.own("web-1"));
    assert_eq!(name, expected);
    let service = world.kube.get(SERVICES, &name).await?;
    assert_eq!(service["metadata"]["labels"]["team"], "shop");
    assert_eq!(service["metadata"]["labels"]["consul8s_source"], "consul");
    assert_eq!(service["metadata"]["annotations"]["consul8s/service.health"], "warning");
    let spec = &service["spec"];
    assert_eq!((&spec["clusterIP"], &spec["ipFamilyPolicy"]), (&json!("None"), &json!("SingleStack")));
    let ports: Vec<String> = spec["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| format!("{} {} {}", text(&port["name"]), port["port"], text(&port["protocol"])))
        .collect();
    assert_eq!(ports, ["http 80 TCP", "dns 53 UDP"]);
    Ok(())
}

async fn external_names(world: &World) -> Outcome {
    define(world).await?;
    world.registered_instances::<1>("web").await?;
    let name = world.own("web");
    let _program = world.program().flags(&["--consul-domain", "corp.example"]).start()?;
    let spec = json!({ "selector": { "names": [name] }, "template": { "spec": { "type": "ExternalName" } } });
    import(world, "all", spec).await?;
    has_services(world, &[&name]).await?;
    let service = world.kube.get(SERVICES, &name).await?;
    assert_eq!(service["spec"]["externalName"], format!("{name}.service.corp.example"));
    assert!(service["metadata"]["labels"]["consul8s_source"].is_null());
    stands(world, "all", "1/1/0 Ready=True Synced").await?;
    assert_eq!(world.kube.slices(&name).await?, Vec::<Value>::new());
    Ok(())
}

async fn selected_by_tags_and_filter(world: &World) -> Outcome {
    define(world).await?;
    for (service, tags) in [("both", json!(["v1", "public"])), ("one", json!(["v1"])), ("none", json!([]))] {
        let name = world.own(service);
        let body = json!({
            "Node": world.own(&format!("node-{service}")), "Address": "10.9.9.9",
            "Service": { "ID": name, "Service": name, "Port": 80, "Tags": tags },
        });
        world.consul.put("/v1/catalog/register", &body).await?;
    }
    let names: Vec<String> = ["both", "one", "none"].iter().map(|name| world.own(name)).collect();
    let _program = world.start()?;
    import(world, "tags", json!({ "selector": { "names": names, "tags": ["public", "v1"] } })).await?;
    has_services(world, &[&names[0]]).await?;
    let filter = format!("ServiceName == \"{}\"", names[1]);
    import(world, "filter", json!({ "selector": { "filter": filter } })).await?;
    has_services(world, &[&names[0], &names[1]]).await?;
    import(world, "bad", json!({ "selector": { "filter": "no such thing" } })).await?;
    stands(world, "bad", "0/0/0 Ready=False InvalidSelector").await
}

async fn names_that_clash(world: &World) -> Outcome {
    define(world).await?;
    world.registered_instances::<1>("a_b").await?;
    world.registered_instances::<1>("a.b").await?;
    world.registered_instances::<1>("taken").await?;
    let (dotted, scored, taken) = (world.own("a.b"), world.own("a_b"), world.own("taken"));
    let foreign = world
        .kube
        .create(SERVICES, &json!({ "metadata": { "name": taken }, "spec": { "ports": [{ "port": 80 }] } }))
        .await?;
    let _program = world.start()?;
    let names = json!([dotted, scored, taken]);
    import(world, "older", json!({ "selector": { "names": names } })).await?;
    // Whole seconds tell imports apart.
    stands(world, "older", "3/1/2 Ready=False NameConflict").await?;
    has_services(world, &[&taken, &world.own("a-b")]).await?;
    let made = world.kube.get(SERVICES, &world.own("a-b")).await?;
    assert_eq!(made["metadata"]["annotations"]["consul8s/service.name"], dotted, "the first in byte order");
    assert_eq!(world.kube.get(SERVICES, &taken).await?["metadata"]["uid"], foreign["metadata"]["uid"]);
    let older = world.kube.get(IMPORTS, "older").await?;
    let conflict = older["status"]["conditions"][1].to_string();
    assert!(conflict.contains(&scored) && conflict.contains(&taken) && conflict.contains("is taken"), "{conflict}");

    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let template = json!({ "metadata": { "name": "own-{name}" } });
    import(world, "younger", json!({ "selector": { "names": names }, "template": template })).await?;
    let own = |name: &str| format!("own-{}", world.own(name));
    has_services(world, &[&taken, &world.own("a-b"), &own("a-b"), &own("taken")]).await?;
    stands(world, "younger", "3/2/0 Ready=True Synced").await?;
    // It has one now, whoever made it.
    stands(world, "older", "3/1/0 Ready=True Synced").await
}

async fn made_once(world: &World) -> Outcome {
    define(world).await?;
    let [web] = world.registered_instances("web").await?;
    let name = world.own("web");
    import(world, "all", json!({ "selector": { "names": [name] } })).await?;
    let finished = world.program().finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:?}");
    has_services(world, &[&name]).await?;
    let seen = crate::harness::view::endpoints(&world.kube.slices(&name).await?);
    assert_eq!(seen, [format!("{}:8080 ready", web.address)]);
    Ok(())
}

async fn what_is_left_out(world: &World) -> Outcome {
    define(world).await?;
    let put = async |service: &str, extra: Value| {
        let name = world.own(service);
        let mut object = json!({ "ID": name, "Service": name, "Port": 80 });
        object.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
        let node = world.own(&format!("node-{service}"));
        world
            .consul
            .put("/v1/catalog/register", &json!({ "Node": node, "Address": "10.9.9.8", "Service": object }))
            .await
    };
    put("plain", json!({})).await?;
    put("proxy", json!({ "Kind": "connect-proxy", "Proxy": { "DestinationServiceName": "web" } })).await?;
    put("gateway", json!({ "Kind": "mesh-gateway" })).await?;
    put("synced", json!({ "Meta": { "external-source": "kubernetes", "external-k8s-ns": "shop" } })).await?;
    world.create_to_kube("has-one", |_| ()).await?;
    world.registered_instances::<1>("has-one").await?;
    // What we register ourselves.
    world.create_to_consul("ours", |_| ()).await?;
    let _program = world.start()?;
    world.registers(&world.own("ours"), &[&format!("{}.ours ours.example.com:80 passing", world.namespace)]).await?;
    let names: Vec<String> =
        ["plain", "proxy", "gateway", "synced", "has-one", "ours"].iter().map(|name| world.own(name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["consul"]).collect();
    import(world, "all", json!({ "selector": { "names": names } })).await?;
    stands(world, "all", "2/1/0 Ready=True Synced").await?;
    has_services(world, &["has-one", "ours", &world.own("plain")]).await?;
    // Nothing of it goes back to Consul.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(world.registrations(&world.own("plain")).await?.is_empty());
    has_services(world, &["has-one", "ours", &world.own("plain")]).await
}

async fn in_two_families(world: &World) -> Outcome {
    define(world).await?;
    let [four] = world.registered_instances("web").await?;
    let six = world.instance("web").checked("passing").at("fd00::97:1", 8080);
    world.consul.register(&six).await?;
    let name = world.own("web");
    let _program = world.start()?;
    let families = json!({ "spec": { "ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "RequireDualStack" } });
    import(world, "all", json!({ "selector": { "names": [name] }, "template": families })).await?;
    has_services(world, &[&name]).await?;
    let spec = world.kube.get(SERVICES, &name).await?["spec"].clone();
    assert_eq!((&spec["ipFamilies"], &spec["ipFamilyPolicy"]), (&json!(["IPv6", "IPv4"]), &json!("RequireDualStack")));
    world.publishes(&name, &[&format!("{}:8080 ready", four.address), "[fd00::97:1]:8080 ready"]).await?;
    stands(world, "all", "1/1/0 Ready=True Synced").await
}

async fn of_the_agents_own_datacenter(world: &World) -> Outcome {
    define(world).await?;
    let [web] = world.registered_instances("web").await?;
    let name = world.own("web");
    let program = world.program().flags(&["--import-removal-delay", "2s", "--removal-hold", "2s"]).start()?;
    import(world, "named", json!({ "selector": { "names": [name] }, "datacenter": "dc1" })).await?;
    has_services(world, &[&name]).await?;
    world.publishes(&name, &[&format!("{}:8080 ready", web.address)]).await?;
    stands(world, "named", "1/1/0 Ready=True Synced").await?;
    // Another import, which names none, finds that it has a Service.
    import(world, "bare", json!({ "selector": { "names": [name] } })).await?;
    stands(world, "bare", "1/0/0 Ready=True Synced").await?;
    has_services(world, &[&name]).await?;
    program.counts("consul8s_problems", &[], |count| count == 0.0).await?;
    world.consul.remove_service(&web.node, &web.id).await?;
    super::has_services_within(world, std::time::Duration::from_secs(60), &[]).await
}

async fn odd_names(world: &World) -> Outcome {
    define(world).await?;
    let odd = [
        ("sp ace", "sp-ace"),
        ("ümlaut", "mlaut"),
        ("UPPER", "upper"),
        ("a/b", "a-b"),
        ("-dash", "dash"),
        ("1st", "1st"),
    ];
    let (mut names, mut made, mut instances) = (Vec::new(), Vec::new(), Vec::new());
    for (name, legal) in odd {
        let instance = crate::harness::Instance { service: world.own(name), ..world.instance("odd") };
        world.consul.register(&instance).await?;
        names.push(world.own(name));
        made.push(world.own(legal));
        instances.push(instance);
    }
    let _program = world.start()?;
    import(world, "all", json!({ "selector": { "names": names } })).await?;
    let wanted: Vec<&str> = made.iter().map(String::as_str).collect();
    has_services(world, &wanted).await?;
    for (name, instance) in made.iter().zip(&instances) {
        world.publishes(name, &[&format!("{}:8080 ready", instance.address)]).await?;
    }
    stands(world, "all", "6/6/0 Ready=True Synced").await?;
    let renamed = json!({ "spec": { "template": { "metadata": { "name": "svc-{name}" } } } });
    world.kube.merge(IMPORTS, "all", &renamed).await?;
    stands(world, "all", "6/6/0 Ready=True Synced").await?;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    has_services(world, &wanted).await
}
