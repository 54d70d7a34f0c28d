//! The watches over the client, against the embedded Consul over in-memory HTTP, in virtual time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use consul8s_consul::dial::{Dialed, Dialer};
use consul8s_consul::{Address, Client, ClientConfig, HealthWatch, WatchConfig, WatchNews};
use consul8s_core::consul::{
    Check, CheckStatus, HealthQuery, Instance, NodeRecord, Read, Registration, ServiceId, TxnOp, TxnOutcome,
};
use consul8s_core::ports::{ConsulApi, ConsulWriter as _};
use consul8s_sim::{ConsulWorld, Faults, Hidden};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout};

struct Embedded(ConsulWorld);

impl Dialer for Embedded {
    fn dial(&self, _: &Address) -> BoxFuture<'static, io::Result<Dialed>> {
        if self.0.faults().unreachable {
            return std::future::ready(Err(io::Error::other("refused"))).boxed();
        }
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(consul8s_sim::http::consul_connection(self.0.clone(), theirs));
        std::future::ready(Ok(Dialed::http1(ours))).boxed()
    }
}

fn start() -> (ConsulWorld, Client) {
    let world = ConsulWorld::new();
    put(&world, "w1", CheckStatus::Passing);
    let client = Client::with_dialer(ClientConfig::default(), Arc::new(Embedded(world.clone())));
    (world, client)
}

fn put(world: &ConsulWorld, id: &str, status: CheckStatus) {
    let check = Check {
        node: "vm-1".into(),
        id: format!("{id}:check"),
        name: "check".into(),
        service_id: id.into(),
        status,
        output: "fine".into(),
        modify_index: 0,
    };
    let instance = Instance {
        node: "vm-1".into(),
        node_address: "10.0.0.1".into(),
        id: id.into(),
        name: "web".into(),
        port: 8080,
        checks: vec![check],
        ..Instance::default()
    };
    world.write(|catalog| catalog.put_instance(&instance)).expect("a plain instance");
}

fn web() -> HealthQuery {
    HealthQuery { name: "web".into(), ..HealthQuery::default() }
}

fn watch(client: &Client) -> HealthWatch<Client> {
    HealthWatch::new(Arc::new(client.clone()), web(), &WatchConfig { seed: 1, ..WatchConfig::default() })
}

/// What is admitted next, and how much was not.
async fn admitted(watch: &mut HealthWatch<Client>) -> (Arc<Vec<Instance>>, bool, usize) {
    let mut others = 0;
    loop {
        match watch.next().await {
            WatchNews::Admitted { answer, lineage_broken } => return (answer.body, lineage_broken, others),
            WatchNews::Confirmed(_) => {}
            WatchNews::Failed(_) | WatchNews::Rejected(_) => others += 1,
        }
    }
}

type Fault = fn(&mut Faults);

/// Two readings of one world, which share no code.
#[tokio::test(start_paused = true)]
async fn the_client_reads_what_the_world_says() {
    let (world, client) = start();
    put(&world, "w2", CheckStatus::Critical);
    let ours = client.health(&web(), Read::Consistent).await.expect("an answer");
    let mut theirs = world.health(&web(), Read::Consistent).await.expect("an answer");
    // The client keeps nothing of an instance's checks that nobody reads.
    for check in theirs.body.iter_mut().flat_map(|instance| &mut instance.checks) {
        (check.node, check.name) = (String::new(), String::new());
    }
    assert_eq!(ours, theirs);
    for node in ["vm-1", "unknown"] {
        let ours = client.node(node, None, Read::Consistent).await.expect("an answer");
        let theirs = world.node(node, None, Read::Consistent).await.expect("an answer");
        assert_eq!(ours, theirs);
        let ours = client.node_checks(node, None, Read::Consistent).await.expect("an answer");
        let theirs = world.node_checks(node, None, Read::Consistent).await.expect("an answer");
        assert_eq!(ours, theirs);
    }
    assert_eq!(client.leader().await, world.leader().await);
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_no_news_and_what_changed_meanwhile_comes_after_it() {
    let faults: [(&str, Fault); 6] = [
        ("unreachable", |faults| faults.unreachable = true),
        ("500", |faults| faults.fail = Some((500, u32::MAX))),
        ("429", |faults| faults.fail = Some((429, u32::MAX))),
        ("403", |faults| faults.fail = Some((403, u32::MAX))),
        ("truncated", |faults| faults.truncate = true),
        ("leaderless", |faults| faults.leaderless = true),
    ];
    for (name, set) in faults {
        let (world, client) = start();
        let mut watch = watch(&client);
        admitted(&mut watch).await;
        // In the middle of a long poll, and then something changes.
        assert!(timeout(Duration::from_secs(10), admitted(&mut watch)).await.is_err());
        world.set_faults(set);
        put(&world, "w1", CheckStatus::Critical);
        // Only the poll that was out before the fault may still bring the change.
        let early = timeout(Duration::from_secs(20), admitted(&mut watch)).await;
        if let Ok((instances, _, others)) = &early {
            assert_eq!((others, instances[0].checks[0].status), (&0, CheckStatus::Critical), "{name}");
        }
        world.set_faults(|faults| *faults = Faults::default());
        let began = Instant::now();
        put(&world, "w2", CheckStatus::Passing);
        let (instances, lineage_broken, _) = admitted(&mut watch).await;
        assert_eq!((instances.len(), lineage_broken), (2, false), "{name}");
        assert!(began.elapsed() < Duration::from_secs(30), "{name}: {:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_rights_hide_is_marked() {
    let (world, client) = start();
    let hidden = Hidden { services: ["web".to_owned()].into(), ..Hidden::default() };
    world.set_faults(|faults| faults.hidden = Some(hidden));
    let answer = client.health(&web(), Read::Stale).await.expect("an answer");
    assert_eq!((answer.body.len(), answer.meta.filtered, answer.meta.anonymous_under_deny), (0, false, true));
}

#[tokio::test(start_paused = true)]
async fn a_wiped_consul_is_a_broken_lineage_and_then_goes_on() {
    let (world, client) = start();
    for at in 0..20 {
        put(&world, &format!("w{at}"), CheckStatus::Passing);
    }
    let mut watch = watch(&client);
    admitted(&mut watch).await;
    world.set_faults(|faults| faults.unreachable = true);
    assert!(timeout(Duration::from_secs(5), admitted(&mut watch)).await.is_err());
    world.write(consul8s_sim::model::consul::Catalog::wipe);
    world.set_faults(|faults| *faults = Faults::default());
    let (instances, lineage_broken, _) = admitted(&mut watch).await;
    assert_eq!((instances.len(), lineage_broken), (0, true));
    let began = Instant::now();
    put(&world, "new", CheckStatus::Passing);
    let (instances, lineage_broken, _) = admitted(&mut watch).await;
    assert_eq!((instances[0].id.as_str(), lineage_broken), ("new", false));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_transaction_is_an_error_and_its_repetition_a_conflict() {
    let (world, client) = start();
    let node = NodeRecord { name: "ours".into(), address: "127.0.0.2".into(), ..NodeRecord::default() };
    let registration = Registration {
        node: "ours".into(),
        id: ServiceId::new("a").expect("an ID"),
        name: "api".into(),
        address: "10.0.0.9".into(),
        port: 80,
        tags: Vec::new(),
        meta: Default::default(),
        weight: 1,
        status: CheckStatus::Passing,
        output: "1 of 1 ready".into(),
    };
    let ops = [
        TxnOp::SetNode { node, index: 0 },
        TxnOp::SetService { registration: registration.clone(), index: 0 },
        TxnOp::SetCheck { registration, index: 0 },
    ];
    world.set_faults(|faults| faults.lose_replies = 1);
    let writer = client.writer();
    assert!(writer.txn(&ops).await.is_err());
    assert!(matches!(writer.txn(&ops).await, Ok(TxnOutcome::Refused(refusals)) if refusals[0].is_conflict()));
    let view = client.node("ours", None, Read::Consistent).await.expect("an answer").body.expect("a node");
    assert_eq!(view.services["a"].port, 80);
}
