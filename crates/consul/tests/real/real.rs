//! The client, the watches and the batcher against a real Consul.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use consul8s_consul::config::{Token, TokenSource};
use consul8s_consul::{Address, Batcher, Client, ClientConfig, HealthWatch, NodeWatch, WatchConfig, WatchNews};
use consul8s_core::consul::{
    CheckStatus, HealthQuery, Instance, NodeRecord, Read, Registration, ServiceId, TxnApplied, TxnOp, TxnOutcome,
};
use consul8s_core::ports::{ConsulApi as _, ConsulWriter as _, ErrorKind};
use consul8s_testbed::{Consul, ConsulOptions};
use serde_json::{Value, json};

const NODE: &str = "consul8s-test";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Far less than a blocking query waits, and far more than its wake takes, also on a machine that does ten other things.
const WOKEN: Duration = Duration::from_secs(5);

async fn start() -> (Consul, Client) {
    let consul = Consul::start(ConsulOptions::default()).await.expect("a Consul");
    let client = Client::new(config(&consul));
    (consul, client)
}

fn config(consul: &Consul) -> ClientConfig {
    let addresses = vec![Address::parse(consul.http_addr()).expect("an address")];
    ClientConfig { addresses, ..ClientConfig::default() }
}

fn query(name: &str) -> HealthQuery {
    HealthQuery { name: name.to_owned(), ..HealthQuery::default() }
}

async fn register(consul: &Consul, body: Value) {
    let reply = consul.put("/v1/catalog/register", &body).await.expect("an answer");
    assert!(reply.is_ok(), "{reply:?}");
}

fn on_vm(id: &str, port: i64, status: &str) -> Value {
    json!({
        "Node": "vm-1", "Address": "10.0.0.1", "SkipNodeUpdate": true,
        "Service": {"ID": id, "Service": "web", "Port": port, "Address": "10.1.0.1", "Tags": ["a"], "Meta": {"k": "v"},
            "TaggedAddresses": {"wan": {"Address": "198.51.100.1", "Port": 81}}},
        "Check": {"CheckID": format!("check:{id}"), "Name": "check", "Status": status, "ServiceID": id, "Output": "long"},
    })
}

fn node() -> NodeRecord {
    let meta = [("consul8s-owner".to_owned(), "o".to_owned())].into();
    NodeRecord { name: NODE.into(), address: "127.0.0.2".into(), meta, modify_index: 0 }
}

fn registration(id: &str) -> Registration {
    Registration {
        node: NODE.into(),
        id: ServiceId::new(id).expect("an ID"),
        name: "web".into(),
        address: "10.2.0.1".into(),
        port: 80,
        tags: vec!["b".into(), "a".into()],
        meta: [("k".to_owned(), "v".to_owned())].into(),
        weight: 3,
        status: CheckStatus::Passing,
        output: "2 of 2 ready".into(),
    }
}

fn set(registration: &Registration, service: u64, check: u64) -> Vec<TxnOp> {
    vec![
        TxnOp::SetService { registration: registration.clone(), index: service },
        TxnOp::SetCheck { registration: registration.clone(), index: check },
    ]
}

fn applied(outcome: TxnOutcome) -> TxnApplied {
    match outcome {
        TxnOutcome::Applied(applied) => applied,
        TxnOutcome::Refused(refusals) => panic!("refused: {refusals:?}"),
    }
}

fn refused(outcome: TxnOutcome) -> (usize, bool) {
    match outcome {
        TxnOutcome::Applied(applied) => panic!("applied: {applied:?}"),
        TxnOutcome::Refused(refusals) => (refusals[0].op, refusals[0].is_conflict()),
    }
}

async fn admitted<B: std::fmt::Debug>(next: impl Future<Output = WatchNews<B>>) -> (Arc<B>, bool) {
    match tokio::time::timeout(PATIENCE, next).await.expect("news") {
        WatchNews::Admitted { answer, lineage_broken } => (answer.body, lineage_broken),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn health_and_what_it_wakes_on() {
    let (consul, client) = start().await;
    assert!(client.leader().await.expect("a leader").starts_with("127.0.0.1:"));
    register(&consul, on_vm("w1", 8080, "passing")).await;
    let answer = client.health(&query("web"), Read::Consistent).await.expect("an answer");
    let [instance] = answer.body.as_slice() else { panic!("{answer:?}") };
    assert_eq!((instance.node.as_str(), instance.id.as_str(), instance.name.as_str()), ("vm-1", "w1", "web"));
    assert_eq!((instance.address.as_str(), instance.port, instance.datacenter.as_str()), ("10.1.0.1", 8080, "dc1"));
    assert_eq!(instance.tagged_addresses.get("wan").expect("wan").port, 81);
    let [check] = instance.checks.as_slice() else { panic!("{instance:?}") };
    assert_eq!((check.status, check.output.as_str(), check.service_id.as_str()), (CheckStatus::Passing, "", "w1"));
    assert!(
        answer.meta.index > 0 && !answer.meta.leaderless && !answer.meta.filtered && !answer.meta.anonymous_under_deny
    );

    let api = Arc::new(client);
    let mut watch = HealthWatch::new(api, query("web"), &WatchConfig::default());
    admitted(watch.next()).await;
    for status in ["critical", "passing", "warning"] {
        // Over a new connection the first question is answered at once; let it pass.
        let _ = tokio::time::timeout(Duration::from_millis(300), watch.next()).await;
        let began = Instant::now();
        register(&consul, on_vm("w1", 8080, status)).await;
        let (instances, _) = admitted(watch.next()).await;
        assert_eq!(instances[0].checks[0].status, CheckStatus::parse(status));
        assert!(began.elapsed() < WOKEN, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn what_the_catalog_takes_is_read_back() {
    let (consul, client) = start().await;
    for (position, port) in [-1, 65536, 70000, 1_i64 << 40].into_iter().enumerate() {
        register(&consul, on_vm(&format!("odd{position}"), port, "passing")).await;
    }
    register(&consul, json!({"Node": "vm-1", "Address": "10.0.0.1", "SkipNodeUpdate": true, "Service": {"ID": "plain", "Service": "web"}})).await;
    let instances = client.health(&query("web"), Read::Stale).await.expect("an answer").body;
    let ports: Vec<i64> = instances.iter().map(|instance| instance.port).collect();
    assert_eq!(ports, [-1, 65536, 70000, 1 << 40, 0]);
    for name in ["a/b", "100%", "what?", "../evil", "ä ö"] {
        register(&consul, json!({"Node": "vm-1", "Address": "10.0.0.1", "SkipNodeUpdate": true, "Service": {"ID": name, "Service": name}})).await;
        let instances = client.health(&query(name), Read::Stale).await.expect("an answer").body;
        assert_eq!(instances.iter().map(|instance| instance.name.as_str()).collect::<Vec<_>>(), [name]);
    }
    // Large enough for Consul to pack it.
    for at in 0..40 {
        register(&consul, on_vm(&format!("w{at}"), 80, "passing")).await;
    }
    assert_eq!(client.health(&query("web"), Read::Stale).await.expect("an answer").body.len(), 45);
}

#[tokio::test]
async fn questions_that_consul_blames() {
    let (_consul, client) = start().await;
    let with = |change: fn(&mut HealthQuery)| {
        let mut query = query("web");
        change(&mut query);
        query
    };
    let rows = [
        with(|query| query.filter = Some("nonsense".into())),
        with(|query| query.filter = Some("Service.Nonsense == 1".into())),
        with(|query| query.datacenter = Some("elsewhere".into())),
        with(|query| query.namespace = Some("enterprise".into())),
        with(|query| query.name = "..".into()),
    ];
    for query in rows {
        let error = client.health(&query, Read::Stale).await.expect_err("a refusal");
        assert_eq!(error.kind, ErrorKind::Invalid, "{query}: {error}");
    }
    assert!(client.node("unknown", None, Read::Consistent).await.expect("an answer").body.is_none());
    assert!(client.node_checks("unknown", None, Read::Consistent).await.expect("an answer").body.is_empty());
}

/// What stands must equal what was written, and writing it again must change nothing.
#[tokio::test]
async fn what_is_written_is_read_back_equal() {
    let (_consul, client) = start().await;
    let writer = client.writer();
    let plain = Registration {
        tags: Vec::new(),
        meta: BTreeMap::new(),
        port: 0,
        weight: 1,
        output: String::new(),
        status: CheckStatus::Critical,
        ..registration("plain")
    };
    let full = registration("full");
    let first = [vec![TxnOp::SetNode { node: node(), index: 0 }], set(&full, 0, 0), set(&plain, 0, 0)].concat();
    let first = applied(writer.txn(&first).await.expect("an outcome"));
    assert_eq!((first.nodes.len(), first.services.len(), first.checks.len()), (1, 2, 2));

    let read = async || {
        let mut view = client.node(NODE, None, Read::Consistent).await.expect("an answer").body.expect("the node");
        let checks = client.node_checks(NODE, None, Read::Consistent).await.expect("an answer").body;
        view.checks = checks.into_iter().map(|check| (check.id.clone(), check)).collect();
        view
    };
    let view = read().await;
    assert_eq!(view.node, first.nodes[0]);
    assert_eq!(NodeRecord { modify_index: 0, ..view.node.clone() }, node());
    for (wanted, (on, result)) in [&full, &plain].into_iter().zip(&first.services) {
        let service = &view.services[wanted.id.as_str()];
        assert_eq!((on.as_str(), result), (NODE, service));
        assert_eq!(
            (&service.name, &service.address, service.port),
            (&wanted.name, &wanted.address, i64::from(wanted.port))
        );
        assert_eq!(
            (&service.tags, &service.meta, service.weight),
            (&wanted.tags, &wanted.meta, i64::from(wanted.weight))
        );
        let check = &view.checks[&wanted.id.check_id()];
        assert_eq!(
            (check.status, &check.output, check.service_id.as_str()),
            (wanted.status, &wanted.output, wanted.id.as_str())
        );
        assert!(first.checks.contains(check));
    }

    // The same once more, on what was read: nothing moves, not even an index.
    let mut again = Vec::new();
    for registration in [&full, &plain] {
        let service = view.services[registration.id.as_str()].modify_index;
        again.extend(set(registration, service, view.checks[&registration.id.check_id()].modify_index));
    }
    let again = applied(writer.txn(&again).await.expect("an outcome"));
    assert_eq!((again.services, again.checks), (first.services, first.checks));
    assert_eq!(read().await, view);
}

#[tokio::test]
async fn transactions_are_fenced() {
    let (_consul, client) = start().await;
    let writer = client.writer();
    let first = [vec![TxnOp::SetNode { node: node(), index: 0 }], set(&registration("a"), 0, 0)].concat();
    let first = applied(writer.txn(&first).await.expect("an outcome"));
    let index = first.services[0].1.modify_index;
    let delete = |index| TxnOp::DeleteService {
        node: NODE.into(),
        id: ServiceId::new("a").expect("an ID"),
        name: "web".into(),
        index,
    };

    // Creating what is there, changing what has moved, deleting what has moved; and nothing of it is done.
    let create = [set(&registration("b"), 0, 0), set(&registration("a"), 0, 0)].concat();
    assert_eq!(refused(writer.txn(&create).await.expect("an outcome")), (2, true));
    assert_eq!(refused(writer.txn(&set(&registration("a"), index - 1, index)).await.expect("an outcome")), (0, true));
    assert_eq!(refused(writer.txn(&[delete(index - 1)]).await.expect("an outcome")), (0, true));
    let view = client.node(NODE, None, Read::Consistent).await.expect("an answer").body.expect("the node");
    assert_eq!(view.services.len(), 1);

    // Refused for good: no conflict.
    let bad = Registration { meta: [("consul-x".to_owned(), "1".to_owned())].into(), ..registration("bad") };
    assert_eq!(refused(writer.txn(&set(&bad, 0, 0)).await.expect("an outcome")), (0, false));
    let orphan = Registration { node: "unknown".into(), ..registration("orphan") };
    assert_eq!(refused(writer.txn(&set(&orphan, 0, 0)).await.expect("an outcome")), (0, false));

    // A change, with its results in order although a deletion stands between.
    let changed = Registration { status: CheckStatus::Critical, ..registration("c") };
    let mixed = [vec![delete(index)], set(&changed, 0, 0)].concat();
    let mixed = applied(writer.txn(&mixed).await.expect("an outcome"));
    assert_eq!((mixed.services[0].1.id.as_str(), mixed.checks[0].status), ("c", CheckStatus::Critical));
    let gone = refused(writer.txn(&[delete(index)]).await.expect("an outcome"));
    assert_eq!(gone, (0, true));
    // Its check went with it.
    assert_eq!(client.node_checks(NODE, None, Read::Consistent).await.expect("an answer").body.len(), 1);
    let many = vec![delete(1); 129];
    assert_eq!(writer.txn(&many).await.expect_err("too many").kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn many_groups_are_few_transactions_and_a_bad_one_stands_alone() {
    let (_consul, client) = start().await;
    let writer = Arc::new(client.writer());
    applied(writer.txn(&[TxnOp::SetNode { node: node(), index: 0 }]).await.expect("an outcome"));
    let (batcher, driver) = Batcher::new(writer);
    tokio::spawn(driver.run());
    let began = Instant::now();
    let groups = (0..300).map(|at| {
        let mut registration = registration(&format!("s{at}"));
        if at == 150 {
            registration.meta.insert("not.allowed".into(), String::new());
        }
        batcher.submit(set(&registration, 0, 0))
    });
    let outcomes = futures::future::join_all(groups).await;
    for (at, outcome) in outcomes.into_iter().enumerate() {
        match outcome.expect("an outcome") {
            TxnOutcome::Applied(applied) => {
                assert_eq!(applied.services[0].1.id, format!("s{at}"));
                assert_eq!(applied.checks[0].service_id, format!("s{at}"));
            }
            TxnOutcome::Refused(refusals) => assert_eq!((at, refusals[0].op), (150, 0), "{refusals:?}"),
        }
    }
    println!("300 groups in {:?}", began.elapsed());
    let view = client.node(NODE, None, Read::Consistent).await.expect("an answer").body.expect("the node");
    assert_eq!(view.services.len(), 299);
}

#[tokio::test]
async fn a_node_of_ours_is_watched_whole() {
    let (_consul, client) = start().await;
    let writer = client.writer();
    let mut watch = NodeWatch::new(&Arc::new(client.clone()), NODE, &WatchConfig::default());
    assert_eq!(*admitted(watch.next()).await.0, None);
    let first = [vec![TxnOp::SetNode { node: node(), index: 0 }], set(&registration("a"), 0, 0)].concat();
    let _ = tokio::time::timeout(Duration::from_millis(300), watch.next()).await;
    let began = Instant::now();
    applied(writer.txn(&first).await.expect("an outcome"));
    loop {
        let WatchNews::Admitted { answer, .. } = tokio::time::timeout(PATIENCE, watch.next()).await.expect("news")
        else {
            continue;
        };
        let view = answer.body.as_ref().as_ref().expect("the node");
        assert_eq!((view.services.len(), view.checks.len()), (1, 1), "half a change was told");
        break;
    }
    assert!(began.elapsed() < WOKEN, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_restart_is_survived_and_a_wipe_is_called_what_it_is() {
    let (mut consul, client) = start().await;
    for at in 0..20 {
        register(&consul, on_vm(&format!("w{at}"), 80, "passing")).await;
    }
    let mut watch = HealthWatch::new(Arc::new(client), query("web"), &WatchConfig::default());
    assert_eq!(admitted(watch.next()).await.0.len(), 20);

    let news = async |watch: &mut HealthWatch<Client>| {
        let mut failures = 0;
        loop {
            match tokio::time::timeout(PATIENCE, watch.next()).await.expect("news") {
                WatchNews::Failed(_) | WatchNews::Rejected(_) => failures += 1,
                news if failures > 0 => return news,
                _ => {}
            }
        }
    };
    consul.stop().await;
    let (started, told) = tokio::join!(consul.start_again(), news(&mut watch));
    started.expect("a Consul");
    // Before a restarted server has its catalog back it may show an older state; that is refused, and what stands is confirmed.
    assert!(matches!(told, WatchNews::Confirmed(_)), "{told:?}");

    consul.wipe().await.expect("no data");
    let (started, told) = tokio::join!(consul.start_again(), news(&mut watch));
    started.expect("a Consul");
    let WatchNews::Admitted { answer, lineage_broken } = told else { panic!("{told:?}") };
    assert!(lineage_broken && answer.body.is_empty(), "{answer:?}");
    // Not deaf: the index begins again far below.
    register(&consul, on_vm("new", 80, "passing")).await;
    let (instances, _): (Arc<Vec<Instance>>, bool) = loop {
        let seen = admitted_or_confirmed(&mut watch).await;
        if let Some(seen) = seen {
            break seen;
        }
    };
    assert_eq!(instances[0].id, "new");
}

async fn admitted_or_confirmed(watch: &mut HealthWatch<Client>) -> Option<(Arc<Vec<Instance>>, bool)> {
    match tokio::time::timeout(PATIENCE, watch.next()).await.expect("news") {
        WatchNews::Admitted { answer, lineage_broken } => Some((answer.body, lineage_broken)),
        _ => None,
    }
}

#[tokio::test]
async fn rights() {
    let consul = Consul::start(ConsulOptions { acl: true, ..ConsulOptions::default() }).await.expect("a Consul");
    register(&consul, on_vm("w1", 80, "passing")).await;
    let with = |secret: &str| {
        let token = Token::new(secret).expect("a token").map(TokenSource::Value);
        Client::new(ClientConfig { token, ..config(&consul) })
    };
    let whole = with(consul.token().expect("a token")).health(&query("web"), Read::Stale).await.expect("an answer");
    assert_eq!((whole.body.len(), whole.meta.filtered, whole.meta.anonymous_under_deny), (1, false, false));

    let anonymous = with("").health(&query("web"), Read::Stale).await.expect("an answer");
    assert_eq!((anonymous.body.len(), anonymous.meta.anonymous_under_deny), (0, true));

    let unknown = with("00000000-0000-4000-8000-000000000000").health(&query("web"), Read::Stale).await;
    let error = unknown.expect_err("an unknown token");
    assert_eq!(error.kind, ErrorKind::Forbidden);
    assert!(!error.what.contains("00000000-0000"), "{error}");

    let rules = json!({"Name": "services", "Rules": "service_prefix \"\" { policy = \"read\" }"});
    assert!(consul.put("/v1/acl/policy", &rules).await.expect("an answer").is_ok());
    let token =
        consul.put("/v1/acl/token", &json!({"Policies": [{"Name": "services"}]})).await.expect("an answer").json();
    let limited = with(token["SecretID"].as_str().expect("a secret"));
    // Without node:read the instance is left out, and only the header says so.
    let filtered = limited.health(&query("web"), Read::Stale).await.expect("an answer");
    assert_eq!((filtered.body.len(), filtered.meta.filtered), (0, true));
    let outcome = limited.writer().txn(&[TxnOp::SetNode { node: node(), index: 0 }]).await;
    println!("a write without rights: {outcome:?}");
    assert!(!matches!(outcome, Ok(TxnOutcome::Applied(_))));
}
