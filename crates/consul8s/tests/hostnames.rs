//! Hostnames in Consul's answers: a whole plan over the embedded worlds, with a resolver that knows what the test tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consul8s::controller::Controller;
use consul8s::metrics::Metrics;
use consul8s::once;
use consul8s::resolve::{Found, Resolver};
use consul8s::sync::writers::Writers;
use consul8s_core::consul::Instance;
use consul8s_core::identity::Identity;
use consul8s_core::kube::Scope;
use consul8s_core::settings::{Direction, Settings};
use consul8s_sim::model::kube::Resource;
use consul8s_sim::{ConsulWorld, KubeWorld};
use futures::future::BoxFuture;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// A DNS that answers what it is told, after a moment.
#[derive(Default)]
struct Dns {
    known: BTreeMap<&'static str, &'static str>,
    asked: Mutex<BTreeSet<String>>,
}

impl Resolver for Dns {
    fn look_up<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found, String>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.asked.lock().expect("no panic").insert(name.to_owned());
            let addresses = self.known.get(name).ok_or("no such name")?;
            let addresses: Vec<IpAddr> =
                addresses.split(' ').map(|address| address.parse().expect("an address")).collect();
            Ok(Found { addresses, failed: None, good_for: Duration::from_secs(60) })
        })
    }
}

/// What a plan finds of a Service whose two instances have these addresses.
async fn planned(addresses: [&str; 2], resolver: Option<Arc<Dns>>) -> once::Outcome {
    let (kube, consul) = (KubeWorld::default(), ConsulWorld::new());
    kube.write(|cluster| cluster.create_namespace("shop")).expect("a namespace");
    let service = json!({
        "metadata": { "name": "web", "labels": { "consul8s_source": "consul" } },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    });
    kube.write(|cluster| cluster.create(Resource::Services, "shop", service)).expect("a Service");
    for (n, address) in addresses.into_iter().enumerate() {
        let instance = Instance {
            node: format!("vm-{n}"),
            node_address: format!("10.9.9.{n}"),
            address: address.to_owned(),
            name: "web".to_owned(),
            id: format!("web-{n}"),
            port: 8080,
            ..Instance::default()
        };
        consul.write(|catalog| catalog.put_instance(&instance)).expect("an instance");
    }
    let identity = Identity {
        owner: "me".into(),
        cluster: "c".into(),
        cluster_uid: kube.uid(),
        installation: "default/consul8s".into(),
    };
    let settings = Settings::new(identity, Scope::All { exclude: Vec::new() });
    let directions = BTreeSet::from([Direction::ToKube]);
    let controller = Controller::new(Arc::new(kube), Arc::new(consul), settings, directions, Arc::new(Metrics::new()));
    let controller = Arc::new(controller.resolving(resolver.map(|dns| dns as Arc<dyn Resolver>)));
    let nobody: Option<Arc<Writers<KubeWorld>>> = None;
    once::run(controller, nobody, CancellationToken::new()).await.expect("a plan")
}

/// Of the one Service: endpoints that would be published, those left out for want of an address, and the plan.
fn found(outcome: &once::Outcome) -> (usize, Option<usize>, &str) {
    assert_eq!(outcome.unfinished, 0);
    let told = &outcome.services[0].1;
    (told.endpoints.0, told.dropped.get("unresolvable").copied(), &told.text)
}

#[tokio::test(start_paused = true)]
async fn a_plan_waits_for_the_lookups_that_it_rests_on() {
    let dns = Arc::new(Dns { known: BTreeMap::from([("db.example.com", "10.0.0.1 10.0.0.2")]), ..Dns::default() });
    let outcome = planned(["DB.example.com.", "10.0.0.3"], Some(dns.clone())).await;
    let (ready, dropped, text) = found(&outcome);
    assert_eq!((ready, dropped), (3, None), "{text}");
    assert!(["10.0.0.1", "10.0.0.2", "10.0.0.3"].iter().all(|address| text.contains(address)), "{text}");
    assert_eq!(*dns.asked.lock().unwrap(), BTreeSet::from(["db.example.com".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_up_is_left_out_and_costs_nobody_else() {
    let outcome = planned(["db.example.com", "10.0.0.3"], Some(Arc::default())).await;
    let (ready, dropped, text) = found(&outcome);
    assert_eq!((ready, dropped), (1, Some(1)), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_a_name_stands_for_is_judged_like_any_address() {
    let dns = Dns { known: BTreeMap::from([("evil.example.com", "169.254.169.254 127.0.0.1")]), ..Dns::default() };
    let outcome = planned(["evil.example.com", "10.0.0.3"], Some(Arc::new(dns))).await;
    let (ready, _, text) = found(&outcome);
    assert_eq!(ready, 1, "{text}");
    assert_eq!(outcome.services[0].1.dropped.get("address"), Some(&1), "{text}");
}

#[tokio::test(start_paused = true)]
async fn without_a_resolver_hostnames_are_left_out() {
    let outcome = planned(["db.example.com", "10.0.0.3"], None).await;
    let (ready, dropped, text) = found(&outcome);
    assert_eq!((ready, dropped), (1, Some(1)), "{text}");
}
