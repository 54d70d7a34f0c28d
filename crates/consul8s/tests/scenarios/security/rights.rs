//! What `consul8s rbac` and `consul8s acl-policy` print is enough, and each part of it is needed (contract §5).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `rbac_is_enough_and_least` | with the printed rights nothing is refused; without any verb of them a call that was made would be |
//! | `rbac_of_one_direction` | the same for what one direction, one namespace and no imports need |
//! | `each_acl_rule_is_needed` | without any rule of the policy something is refused |
//! | `rotated_kubernetes_token` | a token file that is rotated is in use within 10 s |

use std::collections::BTreeSet;
use std::time::Duration;

use consul8s_testbed::{Consul, ConsulOptions, Kubernetes, KubernetesOptions};
use serde_json::{Value, json};

use super::rights_of::{Atom, Request, atoms, without};
use crate::harness::{Instance, Kind, Outcome, Running, SOON, Scenario, World, eventually, list, scenario, so, text};

const REAL: &str = "only real servers have access control";

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(rbac_is_enough_and_least).only(Kind::Real, REAL),
    scenario!(rbac_of_one_direction).only(Kind::Real, REAL),
    scenario!(each_acl_rule_is_needed).only(Kind::Real, REAL),
    scenario!(rotated_kubernetes_token).only(Kind::Real, REAL),
];

/// A problem that is back sooner was never gone.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(32);
const USER: &str = "system:serviceaccount:ops:consul8s";

/// A cluster that writes down each request, with our ServiceAccount in the namespace `ops` and Services in `shop`.
struct Cluster<'a> {
    world: &'a World,
    kube: Kubernetes,
    instance: Instance,
}

impl<'a> Cluster<'a> {
    async fn start(world: &'a World) -> Outcome<Cluster<'a>> {
        let options = KubernetesOptions { controller_manager: false, audit: true };
        let kube = Kubernetes::start(options).await.map_err(|why| why.to_string())?;
        let [instance] = world.registered_instances("web").await?;
        let cluster = Cluster { world, kube, instance };
        for namespace in ["ops", "shop"] {
            cluster
                .apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }))
                .await?;
        }
        let crd = world.program().finish(&["crd"]).await?;
        cluster.kubectl(&["apply", "-f", "-"], Some(&crd.stdout)).await?;
        Ok(cluster)
    }

    async fn kubectl(&self, arguments: &[&str], input: Option<&str>) -> Outcome<String> {
        self.kube.kubectl(arguments, input).await.map_err(|why| why.to_string())
    }

    async fn apply(&self, object: &Value) -> Outcome<String> {
        self.kubectl(&["apply", "-f", "-"], Some(&object.to_string())).await
    }

    async fn patch(&self, what: &str, patch: Value) -> Outcome<String> {
        self.kubectl(&["-n", "shop", "patch", what, "--type=merge", "-p", &patch.to_string()], None).await
    }

    /// Prints the rights for these flags, gives them, and gives the printed text.
    async fn grant(&self, flags: &[&str]) -> Outcome<String> {
        let usual = ["--namespace", "shop", "--lease-namespace", "ops"];
        let printed =
            self.world.program().bare().lease("consul8s").flags(&usual).flags(flags).finish(&["rbac"]).await?;
        assert_eq!(printed.code, Some(0), "{printed:?}");
        self.kubectl(&["apply", "-f", "-"], Some(&printed.stdout)).await?;
        Ok(printed.stdout)
    }

    /// A kubeconfig for our ServiceAccount, whose token stands in a file of its own.
    async fn kubeconfig(&self) -> Outcome<(std::path::PathBuf, String)> {
        let token = self.world.file("token", &self.token().await?)?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "scenario",
            "contexts": [{ "name": "scenario", "context": { "cluster": "scenario", "user": "scenario", "namespace": "ops" } }],
            "clusters": [{ "name": "scenario", "cluster": { "server": self.kube.url(), "certificate-authority": self.kube.ca_file() } }],
            "users": [{ "name": "scenario", "user": { "tokenFile": token } }],
        });
        let path = self.world.file("kubeconfig-of-the-account", &config.to_string())?;
        Ok((path.into(), token))
    }

    async fn token(&self) -> Outcome<String> {
        let asked = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "expirationSeconds": 3600 } });
        let path = "/api/v1/namespaces/ops/serviceaccounts/consul8s/token";
        let made = self.kube.request("POST", path, Some(&asked)).await.map_err(|why| why.to_string())?;
        so(made.is_ok(), || made.body.clone())?;
        Ok(text(&made.json()["status"]["token"]))
    }

    async fn service(&self, name: &str, source: &str, annotations: Value, spec: Value) -> Outcome {
        let mut whole = json!({ "ports": [{ "name": "http", "port": 80 }] });
        for (key, value) in spec.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": name, "namespace": "shop", "labels": { "consul8s_source": source }, "annotations": annotations },
            "spec": whole,
        });
        self.apply(&object).await.map(drop)
    }

    async fn run(&self, consul: &str, flags: &[&str]) -> Outcome<Running> {
        let (kubeconfig, _) = self.kubeconfig().await?;
        let usual = ["--namespace", "shop", "--lease-namespace", "ops", "--log-level", "debug"];
        let program = self.world.program().bare().lease("consul8s").kubeconfig(&kubeconfig).consul(consul);
        program.flags(&usual).flags(flags).start()
    }

    /// Waits until an audited request of ours is as wanted.
    async fn requested(&self, what: &str, wanted: impl Fn(&Request) -> bool) -> Outcome {
        eventually(what, 2 * SOON, async || {
            let seen = self.requests()?;
            so(seen.iter().any(&wanted), || format!("{} requests", seen.len()))
        })
        .await
    }

    /// What our account has asked for; an error if anything was refused.
    fn requests(&self) -> Outcome<BTreeSet<Request>> {
        let events = self.kube.audit_events().map_err(|why| why.to_string())?;
        let ours: Vec<&Value> = events.iter().filter(|event| event["user"]["username"] == USER).collect();
        let refused: Vec<String> = ours
            .iter()
            .filter(|event| event["responseStatus"]["code"] == 403)
            .map(|event| format!("{} {}", text(&event["verb"]), text(&event["requestURI"])))
            .collect();
        so(refused.is_empty(), || format!("refused: {refused:?}"))?;
        Ok(ours.iter().filter_map(|event| Request::of(event)).collect())
    }

    /// Everything that the program does in a cluster.
    async fn everything(&self) -> Outcome {
        let (world, own) = (self.world, |name: &str| self.world.own(name));
        let name = |service: &str| json!({ "consul8s/service.name": own(service) });
        let consul = world.servers.consul_address();
        self.service("web", "consul", name("web"), json!({})).await?;
        let endpoints = json!({
            "apiVersion": "v1", "kind": "Endpoints", "metadata": { "name": "web", "namespace": "shop", "labels": { "name": "web" } },
            "subsets": [{ "addresses": [{ "ip": "10.1.1.1" }], "ports": [{ "name": "http", "port": 80 }] }],
        });
        self.apply(&endpoints).await?;
        self.service(
            "db",
            "kubernetes",
            json!({ "domainName": "db.example.com", "consul8s/service.name": own("db") }),
            json!({}),
        )
        .await?;
        self.service("edge", "kubernetes", name("edge"), json!({ "type": "NodePort" })).await?;
        for (import, policy, service) in [("all", "Delete", "other"), ("kept", "Orphan", "orphan")] {
            world.registered_instances::<1>(service).await?;
            let object = json!({
                "apiVersion": "consul8s.io/v1alpha1", "kind": "ConsulImport", "metadata": { "name": import, "namespace": "shop" },
                "spec": { "selector": { "names": [own(service)] }, "deletionPolicy": policy },
            });
            eventually("the import is created", SOON, async || self.apply(&object).await.map(drop)).await?;
        }
        self.another_installation().await?;
        let program = self.run(&consul, &[]).await?;
        self.requested("another installation's Lease is looked at", |r| r.is("get", "leases") && r.name == "theirs")
            .await?;
        self.requested("the slice is made", |r| r.is("create", "endpointslices")).await?;
        self.requested("the original's object is taken over", |r| r.is("patch", "endpoints")).await?;
        eventually("the Services are created", SOON, async || {
            self.kubectl(&["-n", "shop", "get", "service", &own("other"), &own("orphan")], None).await.map(drop)
        })
        .await?;
        self.requested("imports have a status", |r| r.is("patch", "consulimports/status")).await?;
        // One Service goes with its import's wish, the other one is let go.
        self.patch("consulimport/all", json!({ "spec": { "selector": { "names": ["nobody"] } } })).await?;
        self.requested("a created Service is deleted", |r| r.is("delete", "services")).await?;
        self.kubectl(&["-n", "shop", "delete", "consulimport", "kept"], None).await?;
        self.requested("the other one is let go", |r| r.is("patch", "services")).await?;

        world.consul.register(&world.instance("web").checked("passing")).await?;
        self.requested("the slice is changed", |r| r.is("update", "endpointslices")).await?;
        // What is told again is counted on the Event that there is, unless it comes back too soon to have been gone.
        self.trouble("create").await?;
        tokio::time::sleep(TOLD_AGAIN_AFTER).await;
        self.trouble("patch").await?;
        self.patch("service/web", json!({ "metadata": { "labels": { "consul8s_source": "none" } } })).await?;
        self.requested("the slice is deleted", |r| r.is("delete", "endpointslices")).await?;

        program.terminate(Duration::from_secs(5)).await?;
        self.kubectl(&["-n", "shop", "delete", "service", "db"], None).await?;
        let program = self.run(&consul, &[]).await?;
        self.requested("what is missing is read", |r| r.is("get", "services")).await?;
        program.terminate(Duration::from_secs(5)).await?;
        Ok(())
    }

    /// A problem of one Service and one of all, until Events tell of them by this verb; then they are mended.
    async fn trouble(&self, verb: &str) -> Outcome {
        let health = |value: Value| json!({ "metadata": { "annotations": { "consul8s/service.health": value } } });
        self.patch("service/web", health(json!("fine"))).await?;
        self.requested(&format!("{verb} an Event"), |r| r.is(verb, "events") && r.namespace == "shop").await?;
        self.condition("web", "False").await?;
        self.patch("service/web", health(Value::Null)).await?;
        self.condition("web", "True").await?;
        let node = self.our_node().await?;
        self.mark_node(&node, "somebody-else").await?;
        self.requested(&format!("{verb} an Event of the Lease"), |r| r.is(verb, "events") && r.namespace == "ops")
            .await?;
        self.mark_node(&node, &text(&node["Meta"]["consul8s-owner"])).await
    }

    async fn our_node(&self) -> Outcome<Value> {
        let nodes = list(&self.world.consul.get("/v1/catalog/nodes").await?);
        let ours = nodes.into_iter().find(|node| node["Meta"]["consul8s-installation"] == "ops/consul8s");
        ours.ok_or_else(|| "no node of ours".to_owned())
    }

    /// Has our node in Consul say whose it is.
    async fn mark_node(&self, node: &Value, owner: &str) -> Outcome {
        let mut meta = node["Meta"].clone();
        meta["consul8s-owner"] = json!(owner);
        let body = json!({ "Node": node["Node"], "Address": node["Address"], "NodeMeta": meta });
        self.world.consul.put("/v1/catalog/register", &body).await.map(drop)
    }

    /// A Service that another installation fills.
    async fn another_installation(&self) -> Outcome {
        self.service("theirs", "consul", json!({}), json!({})).await?;
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [], "ports": [],
            "metadata": {
                "name": "theirs-1", "namespace": "shop",
                "labels": {
                    "kubernetes.io/service-name": "theirs", "endpointslice.kubernetes.io/managed-by": "controller.consul8s.io",
                },
                "annotations": { "consul8s/owner": "theirs", "consul8s/installation": "elsewhere/theirs" },
            },
        });
        self.apply(&slice).await.map(drop)
    }

    async fn condition(&self, service: &str, wanted: &str) -> Outcome {
        eventually(&format!("the condition of {service} is {wanted}"), SOON, async || {
            let object: Value = serde_json::from_str(
                &self.kubectl(&["-n", "shop", "get", "service", service, "-o", "json"], None).await?,
            )
            .map_err(|why| why.to_string())?;
            let conditions = list(&object["status"]["conditions"]);
            let ours = conditions.iter().find(|one| one["type"] == "consul8s/Synced");
            so(ours.is_some_and(|one| one["status"] == wanted), || format!("{conditions:?}"))
        })
        .await
    }

    /// Whether the API server would let our account do it.
    async fn may(&self, request: &Request) -> Outcome<bool> {
        let (resource, subresource) = request.resource.split_once('/').unwrap_or((&request.resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": USER,
                "resourceAttributes": {
                    "namespace": request.namespace, "verb": request.verb, "group": request.group,
                    "resource": resource, "subresource": subresource, "name": request.name,
                },
            },
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let told = self.kube.request("POST", path, Some(&review)).await.map_err(|why| why.to_string())?;
        so(told.is_ok(), || told.body.clone())?;
        Ok(told.json()["status"]["allowed"] == true)
    }

    /// Without a verb a request that was made is refused, and with it again it is not. Where the same may be read in the whole cluster, that
    /// right is taken away too.
    async fn is_needed(&self, atom: &Atom, requests: &BTreeSet<Request>, all: &[Atom]) -> Outcome {
        let wider = |other: &Atom| !atom.is_of_cluster() && other.is_of_cluster();
        let others: Vec<&Atom> = all.iter().filter(|other| *other != atom && !wider(other)).collect();
        let needs = |request: &&Request| atom.allows(request) && !others.iter().any(|other| other.allows(request));
        let request = requests.iter().find(needs).ok_or_else(|| format!("nothing needs {atom}"))?;
        let covering = all.iter().filter(|other| wider(other) && other.allows(request));
        let taken: Vec<&Atom> = covering.chain([atom]).collect();
        for allowed in [false, true] {
            for atom in &taken {
                let (path, whole) = atom.role_object();
                let object = if allowed { whole } else { without(&whole, atom) };
                let put = self.kube.request("PUT", &path, Some(&object)).await.map_err(|why| why.to_string())?;
                so(put.is_ok(), || put.body.clone())?;
            }
            eventually(&format!("{request:?} is allowed: {allowed}"), SOON, async || {
                let may = self.may(request).await?;
                so(may == allowed, || may.to_string())
            })
            .await?;
        }
        Ok(())
    }
}

async fn rbac_is_enough_and_least(world: &World) -> Outcome {
    let cluster = Cluster::start(world).await?;
    let printed = cluster.grant(&[]).await?;
    cluster.everything().await?;
    let requests = cluster.requests()?;
    let all = atoms(&printed)?;
    so(all.len() > 25, || format!("{all:#?}"))?;
    for atom in &all {
        cluster.is_needed(atom, &requests, &all).await?;
    }
    Ok(())
}

async fn rbac_of_one_direction(world: &World) -> Outcome {
    let cluster = Cluster::start(world).await?;
    cluster.service("web", "consul", json!({ "consul8s/service.name": world.own("web") }), json!({})).await?;
    let db = json!({ "domainName": "db.example.com", "consul8s/service.name": world.own("db") });
    cluster.service("db", "kubernetes", db, json!({})).await?;
    for flags in [
        &["--direction", "to_kube", "--adopt-endpoints=false"][..],
        &["--direction", "to_consul"],
        &["--direction", "to_kube", "--policy", "observe"],
    ] {
        let whole: Vec<&str> = flags
            .iter()
            .copied()
            .chain(["--imports=false"].into_iter().filter(|_| flags.contains(&"to_kube")))
            .collect();
        cluster.grant(&whole).await?;
        let program = cluster.run(&world.servers.consul_address(), flags).await?;
        if flags.contains(&"observe") {
            program.counts("consul8s_services", &[("state", "synced")], |count| count >= 1.0).await?;
        } else {
            let service = if flags.contains(&"to_kube") { "web" } else { "db" };
            cluster.condition(service, "True").await?;
        }
        program.terminate(Duration::from_secs(5)).await?;
        let events = cluster.kube.audit_events().map_err(|why| why.to_string())?;
        let refused =
            events.iter().filter(|event| event["user"]["username"] == USER && event["responseStatus"]["code"] == 403);
        // Whether imports are defined may be asked in vain: without that right they are not looked at.
        let refused: Vec<String> = refused
            .map(|event| text(&event["requestURI"]))
            .filter(|uri| !uri.contains("customresourcedefinitions"))
            .collect();
        so(refused.is_empty(), || format!("{flags:?}: {refused:?}"))?;
    }
    Ok(())
}

async fn rotated_kubernetes_token(world: &World) -> Outcome {
    let cluster = Cluster::start(world).await?;
    cluster.grant(&[]).await?;
    cluster.service("web", "consul", json!({ "consul8s/service.name": world.own("web") }), json!({})).await?;
    let program = cluster.run(&world.servers.consul_address(), &[]).await?;
    cluster.condition("web", "True").await?;
    // The account is made anew: its old tokens are worth nothing any more.
    cluster.kubectl(&["-n", "ops", "delete", "serviceaccount", "consul8s"], None).await?;
    cluster.kubectl(&["-n", "ops", "create", "serviceaccount", "consul8s"], None).await?;
    program.counts("consul8s_leader", &[], |leads| leads == 0.0).await?;
    world.file("token", &cluster.token().await?)?;
    let rotated = tokio::time::Instant::now();
    program.counts("consul8s_leader", &[], |leads| leads == 1.0).await?;
    so(rotated.elapsed() < Duration::from_secs(10), || format!("{:?}", rotated.elapsed()))?;
    world.consul.register(&world.instance("web").at("10.9.9.9", 1).checked("passing")).await?;
    eventually("it writes again", SOON, async || {
        let slices = cluster.kubectl(&["-n", "shop", "get", "endpointslices", "-o", "json"], None).await?;
        so(slices.contains("10.9.9.9") && slices.contains(&cluster.instance.address), || slices.clone())
    })
    .await
}

async fn each_acl_rule_is_needed(world: &World) -> Outcome {
    let options = ConsulOptions { acl: true, ..ConsulOptions::default() };
    let consul = Consul::start(options).await.map_err(|why| why.to_string())?;
    let put = async |path: &str, body: Value| {
        let reply = consul.put(path, &body).await.map_err(|why| why.to_string())?;
        so(reply.is_ok(), || format!("PUT {path}: {} {}", reply.status, reply.body))?;
        Ok::<Value, String>(reply.json())
    };
    let printed = world.program().flags(&["--consul-node-name", "ours"]).finish(&["acl-policy"]).await?;
    let rules: Vec<&str> = printed.stdout.split("\n\n").skip(1).collect();
    assert_eq!(rules.len(), 4, "{printed:?}");
    world.create_to_kube("api", |_| ()).await?;
    world.create_to_consul("web", |_| ()).await?;
    let name = world.own("web");
    for left_out in 0..=rules.len() {
        for (node, address, service) in [
            ("vm-1".to_owned(), "10.60.0.1", world.own("api")),
            (format!("kubernetes-{name}"), "web.example.com", name.clone()),
        ] {
            let body = json!({ "Node": node, "Address": address, "Service": { "ID": service, "Service": service, "Address": address, "Port": 80 } });
            put("/v1/catalog/register", body).await?;
        }
        let some: Vec<&str> =
            rules.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, rule)| *rule).collect();
        // There is always something to be written, and our node to be made.
        put("/v1/catalog/deregister", json!({ "Node": "ours" })).await?;
        world.kube.annotate("web", "consul8s/service.tags", Some(&format!("round-{left_out}"))).await?;
        let policy = format!("without-{left_out}");
        put("/v1/acl/policy", json!({ "Name": policy, "Rules": some.join("\n\n") })).await?;
        let token = put("/v1/acl/token", json!({ "Policies": [{ "Name": policy }] })).await?;
        let program = world.program().consul(consul.http_addr()).env("CONSUL_HTTP_TOKEN", &text(&token["SecretID"]));
        let program = program.flags(&["--consul-node-name", "ours"]).start()?;
        if left_out == rules.len() {
            eventually("with all of them the original's node goes", 2 * SOON, async || {
                let nodes = consul.get("/v1/catalog/nodes").await.map_err(|why| why.to_string())?;
                so(!nodes.body.contains("kubernetes-"), || nodes.body.clone())
            })
            .await?;
            so(!program.log().contains("ermission"), || program.log())?;
        } else {
            eventually(&format!("something is refused without {}", rules[left_out]), 2 * SOON, async || {
                let log = program.log();
                so(log.contains("Permission denied") || log.contains("ConsulPermissionDenied"), || log.clone())
            })
            .await?;
        }
        program.terminate(Duration::from_secs(5)).await?;
    }
    Ok(())
}
