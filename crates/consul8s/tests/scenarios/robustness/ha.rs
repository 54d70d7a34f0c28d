//! Two replicas and one Lease (contract §7, S6; L5 of the faults).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `one_of_two_writes` | both are ready, one writes; the Lease names it |
//! | `leader_killed` | another follows within 20 s; nothing is removed, nothing made anew |
//! | `leader_terminated` | another follows within 2 s, likewise |
//! | `leader_paused` | another follows within 20 s; the paused one wakes and writes nothing |
//! | `restarted_alone` | ended and started again it writes at once; killed, within 20 s |
//! | `once_beside_a_leader` | `-1` waits at most for one lease duration, exits 1 and names the leader; without one it does its work |
//! | `without_an_election` | `--leader-elect=false` writes though another holds the Lease, and leaves that as it is |
//! | `leases_forbidden` | without permission it says which, lives on and writes nothing; then it does |

use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::{
    Instance, Kind, LEASES, Launch, Outcome, Recorder, Running, SOON, Scenario, World, eventually, scenario, so, text,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(one_of_two_writes),
    scenario!(leader_killed),
    scenario!(leader_terminated),
    scenario!(leader_paused),
    scenario!(restarted_alone),
    scenario!(once_beside_a_leader),
    scenario!(without_an_election),
    scenario!(leases_forbidden).only(Kind::Real, "the simulated API server asks nobody who they are"),
];

/// The contract's bound where a leader says nothing any more.
pub(super) const AFTER_A_CRASH: Duration = Duration::from_secs(20);
/// How long another is waited for at most.
const ONE_LEASE: Duration = Duration::from_secs(15);
/// What a process takes to start and to end here.
const SLACK: Duration = Duration::from_secs(2);
/// The bound where it gives the Lease back.
const AFTER_AN_END: Duration = Duration::from_secs(2);

/// Two replicas in sync with a Service in each direction.
pub(super) struct Pair {
    pub(super) leader: Running,
    pub(super) standby: Running,
    instances: [Instance; 2],
    recorder: Recorder,
    /// When Consul made what stands there for us.
    created: Value,
}

impl Pair {
    pub(super) async fn start(world: &World) -> Outcome<Pair> {
        Pair::start_as(world, world.program()).await
    }

    /// The same, with the leader's command line.
    pub(super) async fn start_as(world: &World, leader: Launch) -> Outcome<Pair> {
        let instances: [_; 2] = prepare(world).await?;
        let leader = leader.start()?;
        in_sync(world, &instances).await?;
        let standby = world.start()?;
        standby.answers("/readyz").await?;
        standby.counts("consul8s_services", &[("state", "synced")], |count| count == 2.0).await?;
        assert_eq!(leads(&leader).await?, 1.0);
        assert_eq!(leads(&standby).await?, 0.0);
        let recorder = world.record("web").await?;
        let created = created(world).await?;
        Ok(Pair { leader, standby, instances, recorder, created })
    }

    /// Changes something on either side and waits until it is followed.
    pub(super) async fn is_followed_within(&self, world: &World, limit: Duration) -> Outcome<Duration> {
        let start = Instant::now();
        let failing = self.instances[1].clone().checked("critical");
        world.consul.register(&failing).await?;
        world.kube.annotate("db", "consul8s/service.tags", Some("new")).await?;
        let [first, second] = endpoints(&self.instances);
        world.publishes_within(limit, "web", &[&first, &second.replace(" ready", " not-ready")]).await?;
        world.registers_within(limit, &world.own("db"), &[&format!("{} tags=new", registered(world))]).await?;
        let took = start.elapsed();
        so(took <= limit, || format!("it took {took:?}")).map(|()| took)
    }

    /// Whoever leads now, nothing went meanwhile, not even for a moment.
    pub(super) async fn nothing_went(&self, world: &World) -> Outcome {
        self.recorder.always("two endpoints", |endpoints| endpoints.len() == 2)?;
        assert_eq!(created(world).await?, self.created, "what was registered was not made anew");
        Ok(())
    }
}

async fn prepare(world: &World) -> Outcome<[Instance; 2]> {
    let instances = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    Ok(instances)
}

async fn in_sync(world: &World, instances: &[Instance; 2]) -> Outcome {
    let [first, second] = endpoints(instances);
    world.publishes("web", &[&first, &second]).await?;
    world.registers(&world.own("db"), &[&registered(world)]).await?;
    Ok(())
}

/// Every version, once the leader has told people all that it had to tell.
async fn settled(world: &World) -> Outcome<Vec<(String, String)>> {
    let mut before = world.versions().await?;
    eventually("nothing is written any more", SOON, async || {
        sleep(Duration::from_secs(3)).await;
        let now = world.versions().await?;
        so(std::mem::replace(&mut before, now.clone()) == now, || "something is still written".to_owned()).map(|()| now)
    })
    .await
}

fn endpoints(instances: &[Instance; 2]) -> [String; 2] {
    instances.each_ref().map(|instance| format!("{}:8080 ready", instance.address))
}

fn registered(world: &World) -> String {
    format!("{}.db db.example.com:80 passing", world.namespace)
}

async fn created(world: &World) -> Outcome<Value> {
    let entries = world.registrations(&world.own("db")).await?;
    Ok(entries.iter().map(|entry| entry["Service"]["CreateIndex"].clone()).collect())
}

pub(super) async fn leads(program: &Running) -> Outcome<f64> {
    Ok(program.scrape().await?.count("consul8s_leader", &[]))
}

pub(super) async fn begins_to_lead(program: &Running, limit: Duration) -> Outcome {
    eventually("it leads", limit, async || so(leads(program).await? == 1.0, || "it does not".to_owned())).await
}

pub(super) async fn holder(world: &World) -> Outcome<String> {
    Ok(text(&world.kube.get(LEASES, &world.namespace).await?["spec"]["holderIdentity"]))
}

async fn one_of_two_writes(world: &World) -> Outcome {
    let pair = Pair::start(world).await?;
    let took = pair.is_followed_within(world, SOON).await?;
    so(took < Duration::from_secs(5), || format!("a standby slowed it down: {took:?}"))?;
    assert_eq!(pair.standby.writes().await?, 0.0);
    let name = holder(world).await?;
    so(pair.leader.log().contains(&name), || format!("the leader is not {name}: {}", pair.leader.log()))?;
    so(pair.standby.log().contains(&name), || format!("the standby does not name {name}: {}", pair.standby.log()))?;
    let lease = world.kube.get(LEASES, &world.namespace).await?;
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 15);
    pair.nothing_went(world).await
}

async fn leader_killed(world: &World) -> Outcome {
    let mut pair = Pair::start(world).await?;
    let start = Instant::now();
    let (standby, leader) = (pair.standby, pair.leader);
    leader.kill().await?;
    (pair.leader, pair.standby) = (standby, world.start()?);
    pair.is_followed_within(world, AFTER_A_CRASH).await?;
    so(start.elapsed() <= AFTER_A_CRASH, || format!("it took {:?}", start.elapsed()))?;
    assert_eq!(leads(&pair.leader).await? + leads(&pair.standby).await?, 1.0);
    pair.nothing_went(world).await
}

async fn leader_terminated(world: &World) -> Outcome {
    let pair = Pair::start(world).await?;
    let Pair { leader, standby, instances, recorder, created } = pair;
    let start = Instant::now();
    let ends = leader.terminate(Duration::from_secs(5));
    let follows = async {
        begins_to_lead(&standby, AFTER_AN_END).await?;
        so(start.elapsed() <= AFTER_AN_END, || format!("it took {:?}", start.elapsed()))
    };
    let (code, follows) = tokio::join!(ends, follows);
    follows?;
    assert_eq!(code?, 0);
    let pair = Pair { leader: standby, standby: world.start()?, instances, recorder, created };
    pair.is_followed_within(world, AFTER_AN_END).await?;
    pair.nothing_went(world).await
}

async fn leader_paused(world: &World) -> Outcome {
    let pair = Pair::start(world).await?;
    let writes = pair.leader.writes().await?;
    let start = Instant::now();
    pair.leader.signal(Signal::STOP)?;
    let followed = pair.is_followed_within(world, AFTER_A_CRASH).await;
    sleep(Duration::from_secs(25).saturating_sub(start.elapsed())).await;
    let before = world.versions().await?;
    pair.leader.signal(Signal::CONT)?;
    followed?;
    // It learns all that it has missed, and that it no longer leads.
    pair.leader.counts("consul8s_leader", &[], |leader| leader == 0.0).await?;
    pair.leader.counts("consul8s_lease_transitions_total", &[], |count| count == 2.0).await?;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(pair.leader.writes().await?, writes, "it woke and wrote");
    assert_eq!(leads(&pair.standby).await?, 1.0);
    world.unchanged_since(&before).await?;
    pair.nothing_went(world).await
}

async fn restarted_alone(world: &World) -> Outcome {
    let instances = prepare(world).await?;
    let program = world.start()?;
    in_sync(world, &instances).await?;
    program.terminate(Duration::from_secs(5)).await?;

    let follows = async |limit: Duration, status: &'static str, state: &'static str| {
        let (start, changed) = (Instant::now(), instances[1].clone().checked(status));
        world.consul.register(&changed).await?;
        let program = world.start()?;
        let [first, second] = endpoints(&instances);
        world.publishes_within(limit, "web", &[&first, &second.replace(" ready", state)]).await?;
        so(start.elapsed() <= limit, || format!("it took {:?}", start.elapsed()))?;
        Outcome::Ok(program)
    };
    let program = follows(AFTER_AN_END, "critical", " not-ready").await?;
    program.kill().await?;
    follows(AFTER_A_CRASH, "passing", " ready").await.map(drop)
}

async fn once_beside_a_leader(world: &World) -> Outcome {
    let instances = prepare(world).await?;
    let leader = world.start()?;
    in_sync(world, &instances).await?;
    let before = settled(world).await?;
    let (start, name) = (Instant::now(), holder(world).await?);
    let finished = world.program().finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    so(finished.stderr.contains(&name), || format!("{name} is not named: {finished:#?}"))?;
    so(start.elapsed() < ONE_LEASE + SLACK, || format!("it took {:?}", start.elapsed()))?;
    world.unchanged_since(&before).await?;
    assert_eq!(leads(&leader).await?, 1.0);

    leader.terminate(Duration::from_secs(5)).await?;
    let start = Instant::now();
    let finished = world.program().finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    so(start.elapsed() < Duration::from_secs(10), || format!("it took {:?}", start.elapsed()))?;
    assert_eq!(holder(world).await?, "", "it gave the Lease back");
    Ok(())
}

async fn without_an_election(world: &World) -> Outcome {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": world.namespace },
        "spec": { "holderIdentity": "somebody", "leaseDurationSeconds": 15, "leaseTransitions": 3 },
    });
    let made = world.kube.create(LEASES, &lease).await?;
    let instances = prepare(world).await?;
    let program = world.program().flags(&["--leader-elect=false"]).start()?;
    in_sync(world, &instances).await?;
    assert_eq!(leads(&program).await?, 1.0);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.kube.get(LEASES, &world.namespace).await?["spec"], made["spec"]);
    assert_eq!(program.terminate(Duration::from_secs(5)).await?, 0);
    assert_eq!(world.kube.get(LEASES, &world.namespace).await?["spec"], made["spec"]);
    Ok(())
}

async fn leases_forbidden(world: &World) -> Outcome {
    let instances = prepare(world).await?;
    let token = account_without_leases(world).await?;
    let program = world.program().kubeconfig(&world.kubeconfig_as(&token)?).start()?;
    program.answers("/readyz").await?;
    let wanted = "cannot get resource \"leases\"";
    eventually("the verb is in the log", SOON, async || so(program.log().contains(wanted), || program.log())).await?;
    so(program.log().contains("`get`, `create` and `update`"), || program.log())?;
    sleep(Duration::from_secs(5)).await;
    assert_eq!((program.writes().await?, leads(&program).await?), (0.0, 0.0));
    assert_eq!(program.status("/livez").await?, http::StatusCode::OK);

    let leases = json!([{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"] }]);
    allow(world, "leases", &leases).await?;
    in_sync(world, &instances).await
}

/// A service account that may do all but use Leases; gives its token.
async fn account_without_leases(world: &World) -> Outcome<String> {
    let http = world.servers.kube_client()?;
    let accounts = format!("/api/v1/namespaces/{}/serviceaccounts", world.namespace);
    let ask =
        async |path: &str, body: &Value| http.ask(Method::POST, path, "application/json", Some(body)).await?.json();
    ask(&accounts, &json!({ "metadata": { "name": "consul8s" } })).await?;
    let everything = json!([
        { "apiGroups": [""], "resources": ["services", "services/status", "endpoints"], "verbs": ["*"] },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["*"] },
        { "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["*"] },
    ]);
    allow(world, "most", &everything).await?;
    // The cluster's identity, which is no namespaced object.
    let name = &world.namespace;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{ "apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"] }]);
    ask(&format!("{rbac}/clusterroles"), &json!({ "metadata": { "name": name }, "rules": rules })).await?;
    ask(&format!("{rbac}/clusterrolebindings"), &binding(world, "ClusterRole", name)).await?;
    let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} });
    Ok(text(&ask(&format!("{accounts}/consul8s/token"), &request).await?["status"]["token"]))
}

async fn allow(world: &World, name: &str, rules: &Value) -> Outcome {
    let http = world.servers.kube_client()?;
    let base = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{}", world.namespace);
    let role = json!({ "metadata": { "name": name }, "rules": rules });
    http.ask(Method::POST, &format!("{base}/roles"), "application/json", Some(&role)).await?.json()?;
    let binding = binding(world, "Role", name);
    http.ask(Method::POST, &format!("{base}/rolebindings"), "application/json", Some(&binding)).await?.json()?;
    Ok(())
}

fn binding(world: &World, kind: &str, name: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": "consul8s", "namespace": world.namespace }],
    })
}
