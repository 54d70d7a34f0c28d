//! The world of one scenario: a pair of servers, a namespace of its own, names of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout_at};

use super::Outcome;
use super::consul::{Consul, Instance};
use super::http::Http;
use super::kube::{Kube, SERVICES, SLICES, text};
use super::metrics::Scrape;
use super::ports::free_address;
use super::program::{Launch, LogTo, Running};
use super::record::Recorder;
use super::servers::Servers;
use super::view;
use super::wait::{SOON, eventually, so};

/// Lines of each log that a failure shows.
const TAIL_LINES: usize = 80;

/// What a scenario plays with.
pub(crate) struct World {
    pub(crate) kube: Kube,
    pub(crate) consul: Consul,
    pub(crate) servers: Arc<Servers>,
    /// The namespace, which is the name of the Lease and part of all names, too.
    pub(crate) namespace: String,
    /// The program's token in Consul, where one is needed.
    token: Option<String>,
    folder: TempDir,
    launched: AtomicUsize,
    allowed: AtomicUsize,
    nodes: AtomicUsize,
    number: usize,
}

impl World {
    pub(super) async fn new(servers: Arc<Servers>, namespace: String, number: usize) -> Outcome<World> {
        let folder = tempfile::Builder::new().prefix("consul8s-scenario-").tempdir().map_err(|why| why.to_string())?;
        servers.write_kubeconfig(&folder.path().join("kubeconfig"), &servers.kube_url(), &namespace)?;
        let mut world = World {
            kube: Kube::in_new_namespace(servers.kube_client()?, &namespace).await?,
            consul: Consul::new(&servers.consul_address(), servers.consul_token()),
            servers,
            namespace,
            token: None,
            folder,
            launched: AtomicUsize::new(0),
            allowed: AtomicUsize::new(0),
            nodes: AtomicUsize::new(0),
            number,
        };
        world.token = world.token_for(world.program()).await?;
        Ok(world)
    }

    /// A token for what `acl-policy` prints for these flags and no more; none where Consul asks for none.
    async fn token_for(&self, launch: Launch) -> Outcome<Option<String>> {
        if self.servers.consul_token().is_none() {
            return Ok(None);
        }
        let printed = launch.finish(&["acl-policy"]).await?;
        so(printed.code == Some(0), || format!("{printed:?}"))?;
        let name = format!("{}-{}", self.namespace, self.allowed.fetch_add(1, Ordering::SeqCst));
        Ok(Some(self.consul.token_for(&name, &printed.stdout).await?))
    }

    /// The program with what it is allowed by the policy for its own flags: where these say which node is its own, the usual token is
    /// that of another.
    pub(crate) async fn allowed(&self, launch: Launch) -> Outcome<Launch> {
        let token = self.token_for(launch.clone()).await?;
        Ok(match token {
            Some(token) => launch.env("CONSUL_HTTP_TOKEN", &token),
            None => launch,
        })
    }

    /// A name in Consul that no other scenario uses.
    pub(crate) fn own(&self, name: &str) -> String {
        format!("{name}-{}", self.namespace)
    }

    /// An instance of the Consul service `own(service)`, on a node of its own, at `10.X.0.N:8080`.
    pub(crate) fn instance(&self, service: &str) -> Instance {
        let number = self.nodes.fetch_add(1, Ordering::SeqCst) + 1;
        let address = format!("10.{}.{}.{}", 50 + self.number % 200, number / 250, number % 250);
        let node = self.own(&format!("vm-{number}"));
        let service = self.own(service);
        let id = format!("{service}-{number}");
        Instance { node, node_address: address.clone(), service, id, address, port: 8080, check: None }
    }

    /// Instances of a Consul service, registered in the catalog, each with a passing check.
    pub(crate) async fn registered_instances<const N: usize>(&self, service: &str) -> Outcome<[Instance; N]> {
        let instances = std::array::from_fn(|_| self.instance(service).checked("passing"));
        for instance in &instances {
            self.consul.register(instance).await?;
        }
        Ok(instances)
    }

    /// Creates a Service that is to be filled from the Consul service `own(service)`, and changes it as `change` wants.
    pub(crate) async fn create_to_kube(&self, service: &str, change: impl FnOnce(&mut Value)) -> Outcome<Value> {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": service,
                "labels": { "consul8s_source": "consul" },
                "annotations": { "consul8s/service.name": self.own(service) },
            },
            "spec": { "ports": [{ "name": "http", "port": 80 }] },
        });
        change(&mut object);
        self.kube.create(SERVICES, &object).await
    }

    /// Creates a Service that is to be registered as the Consul service `own(service)` at `SERVICE.example.com`.
    pub(crate) async fn create_to_consul(&self, service: &str, change: impl FnOnce(&mut Value)) -> Outcome<Value> {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": service,
                "labels": { "consul8s_source": "kubernetes" },
                "annotations": { "consul8s/service.name": self.own(service), "domainName": format!("{service}.example.com") },
            },
            "spec": { "ports": [{ "name": "http", "port": 80 }] },
        });
        change(&mut object);
        self.kube.create(SERVICES, &object).await
    }

    /// The program with its usual flags: this namespace, this Lease, these servers.
    pub(crate) fn program(&self) -> Launch {
        let flags = ["--namespace", &self.namespace, "--lease-namespace", &self.namespace];
        Launch {
            folder: self.folder.path().to_owned(),
            number: self.launched.fetch_add(1, Ordering::SeqCst),
            kubeconfig: self.folder.path().join("kubeconfig"),
            consul: self.servers.consul_address(),
            admin: free_address().to_string(),
            lease: self.namespace.clone(),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            environment: self.token.iter().map(|token| ("CONSUL_HTTP_TOKEN".to_owned(), token.clone())).collect(),
            dns: None,
            files: None,
            log: LogTo::File,
        }
    }

    /// Another agent of the same Consul.
    pub(crate) fn consul_at(&self, address: &str) -> Consul {
        Consul::new(address, self.servers.consul_token())
    }

    /// A scrape of metrics at another address than the usual one.
    pub(crate) async fn scrape(&self, address: &str, path: &str) -> Outcome<Scrape> {
        Ok(Scrape(Http::plain(address).ask(Method::GET, path, "", None).await?.text()))
    }

    /// Starts the program.
    pub(crate) fn start(&self) -> Outcome<Running> {
        self.program().start()
    }

    /// A file of this scenario; gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> Outcome<String> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).map_err(|why| format!("writing {}: {why}", path.display()))?;
        Ok(path.display().to_string())
    }

    /// A kubeconfig for the API through another address.
    pub(crate) fn kubeconfig_at(&self, address: &str) -> Outcome<PathBuf> {
        let path = self.folder.path().join("kubeconfig-elsewhere");
        let url = self.servers.kube_url().replace(self.kube_address().as_str(), address);
        self.servers.write_kubeconfig(&path, &url, &self.namespace)?;
        Ok(path)
    }

    /// A kubeconfig for the API through another address, without TLS.
    pub(crate) fn kubeconfig_without_tls(&self, address: &str) -> Outcome<PathBuf> {
        let path = self.folder.path().join("kubeconfig-without-tls");
        self.servers.write_kubeconfig(&path, &format!("http://{address}"), &self.namespace)?;
        Ok(path)
    }

    /// A kubeconfig for whoever has this token.
    pub(crate) fn kubeconfig_as(&self, token: &str) -> Outcome<PathBuf> {
        let usual = std::fs::read(self.folder.path().join("kubeconfig")).map_err(|why| why.to_string())?;
        let mut config: Value = serde_json::from_slice(&usual).map_err(|why| why.to_string())?;
        config["users"][0]["user"] = json!({ "token": token });
        let path = self.folder.path().join("kubeconfig-of-another");
        std::fs::write(&path, config.to_string()).map_err(|why| format!("writing {}: {why}", path.display()))?;
        Ok(path)
    }

    /// `HOST:PORT` of the Kubernetes API.
    pub(crate) fn kube_address(&self) -> String {
        let url = self.servers.kube_url();
        url.split_once("://").map_or(url.clone(), |(_, address)| address.to_owned())
    }

    /// Waits until a Service's endpoints are these (see [`view::endpoints`]), and says how long that took.
    pub(crate) async fn publishes(&self, service: &str, wanted: &[&str]) -> Outcome<Duration> {
        self.publishes_within(SOON, service, wanted).await
    }

    /// Waits until a Service has endpoints, all of them ready.
    pub(crate) async fn publishes_ready(&self, service: &str) -> Outcome<Duration> {
        self.slices_become(&format!("{service} has ready endpoints"), SOON, service, |slices| {
            let seen = view::endpoints(slices);
            so(!seen.is_empty() && seen.iter().all(|line| line.ends_with(" ready")), || format!("{seen:?}"))
        })
        .await
    }

    pub(crate) async fn publishes_within(&self, limit: Duration, service: &str, wanted: &[&str]) -> Outcome<Duration> {
        let mut wanted: Vec<&str> = wanted.to_vec();
        wanted.sort_unstable();
        let what = format!("{service} publishes {wanted:?}");
        self.slices_become(&what, limit, service, |slices| {
            let seen = view::endpoints(slices);
            so(seen == wanted, || format!("{seen:?}"))
        })
        .await
    }

    /// Waits until a Service's slices are as `right` wants them, and says how long that took. It follows a watch, so
    /// that nothing is missed and no time is lost.
    pub(crate) async fn slices_become(
        &self,
        what: &str,
        limit: Duration,
        service: &str,
        right: impl Fn(&[Value]) -> Outcome,
    ) -> Outcome<Duration> {
        let (start, deadline) = (Instant::now(), Instant::now() + limit);
        eventually(what, limit, async || {
            let mut following = self.kube.follow(service).await?;
            loop {
                let Err(why) = right(&following.slices()) else { return Ok(()) };
                // Answered before the limit's own time-out, so that what was seen last is told.
                match timeout_at(deadline - Duration::from_millis(50), following.changed()).await {
                    Ok(changed) => changed?,
                    Err(_) => return Err(why),
                }
            }
        })
        .await?;
        Ok(start.elapsed())
    }

    /// Begins to write down each state of a Service's endpoints.
    pub(crate) async fn record(&self, service: &str) -> Outcome<Recorder> {
        Recorder::start(&self.kube, service).await
    }

    /// Entries of `/v1/health/service` for what this scenario's program has registered under a name.
    pub(crate) async fn registrations(&self, service: &str) -> Outcome<Vec<Value>> {
        Ok(self.ours(self.consul.health(service).await?))
    }

    fn ours(&self, mut entries: Vec<Value>) -> Vec<Value> {
        let installation = format!("{0}/{0}", self.namespace);
        entries.retain(|entry| entry["Node"]["Meta"]["consul8s-installation"] == installation);
        entries
    }

    /// Waits until the program's registrations under a name in Consul are these (see [`view::registration`]).
    pub(crate) async fn registers(&self, service: &str, wanted: &[&str]) -> Outcome<Duration> {
        self.registers_within(SOON, service, wanted).await
    }

    pub(crate) async fn registers_within(&self, limit: Duration, service: &str, wanted: &[&str]) -> Outcome<Duration> {
        let mut wanted: Vec<&str> = wanted.to_vec();
        wanted.sort_unstable();
        let (start, mut index) = (Instant::now(), 0);
        eventually(&format!("Consul has for {service} {wanted:?}"), limit, async || {
            let (now, entries) = self.consul.health_after(service, index).await?;
            // An index that goes backwards says nothing about what comes: look at once.
            index = if now < index { 0 } else { now };
            let mut seen: Vec<String> = self.ours(entries).iter().map(view::registration).collect();
            seen.sort();
            so(seen == wanted, || format!("{seen:?}"))
        })
        .await?;
        Ok(start.elapsed())
    }

    /// Every object that the program could have written, with its version.
    pub(crate) async fn versions(&self) -> Outcome<Vec<(String, String)>> {
        let mut versions = Vec::new();
        for resource in [SERVICES, SLICES] {
            for object in self.kube.list(resource).await? {
                let meta = &object["metadata"];
                let name = format!("{} {}", resource.plural, text(&meta["name"]));
                let told_later = resource.plural == SERVICES.plural;
                versions.push((name, if told_later { view::untold(&object) } else { text(&meta["resourceVersion"]) }));
            }
        }
        for node in self.our_node_entries().await? {
            let name = text(&node["Node"]);
            versions.push((format!("node {name}"), node["ModifyIndex"].to_string()));
            let services = self.consul.get(&format!("/v1/catalog/node-services/{name}")).await?;
            let checks = self.consul.get(&format!("/v1/health/node/{name}")).await?;
            for (kind, items, id) in [("service", &services["Services"], "ID"), ("check", &checks, "CheckID")] {
                for item in super::consul::list(items) {
                    versions.push((format!("{kind} {} on {name}", text(&item[id])), item["ModifyIndex"].to_string()));
                }
            }
        }
        versions.sort();
        Ok(versions)
    }

    /// Names of the nodes in Consul that this scenario's program has made.
    pub(crate) async fn our_nodes(&self) -> Outcome<Vec<String>> {
        Ok(self.our_node_entries().await?.iter().map(|node| text(&node["Node"])).collect())
    }

    async fn our_node_entries(&self) -> Outcome<Vec<Value>> {
        let mut nodes = super::consul::list(&self.consul.get("/v1/catalog/nodes").await?);
        let installation = format!("{0}/{0}", self.namespace);
        nodes.retain(|node| node["Meta"]["consul8s-installation"] == installation);
        Ok(nodes)
    }

    /// Nothing that the program could have written has another version than `before`.
    pub(crate) async fn unchanged_since(&self, before: &[(String, String)]) -> Outcome {
        let differences = view::differences(before, &self.versions().await?);
        so(differences.is_empty(), || format!("something was written: {differences:?}"))
    }

    /// For so long nothing is written.
    pub(crate) async fn nothing_changes(&self, during: Duration) -> Outcome {
        let before = self.versions().await?;
        sleep(during).await;
        self.unchanged_since(&before).await
    }

    /// The end of each log of this scenario.
    pub(super) fn logs(&self) -> String {
        let numbers = 0..self.launched.load(Ordering::SeqCst);
        let tails = numbers.filter_map(|number| {
            let log = std::fs::read_to_string(self.folder.path().join(format!("consul8s-{number}.log"))).ok()?;
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
            Some(format!("--- end of the log of consul8s number {number} ---\n{tail}\n"))
        });
        tails.collect()
    }
}
