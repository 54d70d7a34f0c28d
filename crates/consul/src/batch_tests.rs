use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use consul8s_core::consul::{NodeService, ServiceId};

use super::*;

/// How long a transaction takes here.
const TRAVEL: Duration = Duration::from_millis(10);

/// Applies everything but what names a bad ID; notes the IDs of each transaction.
#[derive(Default)]
struct Fake {
    bad: BTreeSet<String>,
    /// An older server's limit.
    max_ops: Option<usize>,
    broken: bool,
    seen: Mutex<Vec<Vec<String>>>,
}

impl ConsulWriter for Fake {
    async fn txn(&self, ops: &[TxnOp]) -> Result<TxnOutcome, ApiError> {
        let ids: Vec<String> = ops.iter().map(id).collect();
        self.seen.lock().unwrap().push(ids.clone());
        tokio::time::sleep(TRAVEL).await;
        if self.broken {
            return Err(ApiError::new(ErrorKind::Unreachable, "gone"));
        }
        if self.max_ops.is_some_and(|max| ops.len() > max) {
            return Err(ApiError::new(ErrorKind::Invalid, "too many operations"));
        }
        let refusals: Vec<TxnRefusal> = ids
            .iter()
            .enumerate()
            .filter(|(_, id)| self.bad.contains(*id))
            .map(|(op, id)| TxnRefusal { op, what: format!("{id}: index is stale") })
            .collect();
        if !refusals.is_empty() {
            return Ok(TxnOutcome::Refused(refusals));
        }
        let services = ids.into_iter().map(|id| ("n".to_owned(), NodeService { id, ..NodeService::default() }));
        Ok(TxnOutcome::Applied(TxnApplied { services: services.collect(), ..TxnApplied::default() }))
    }
}

fn id(op: &TxnOp) -> String {
    match op {
        TxnOp::SetService { registration, .. } => registration.id.to_string(),
        other => panic!("unexpected {other:?}"),
    }
}

fn group(ids: &[&str]) -> Vec<TxnOp> {
    let op = |id: &&str| TxnOp::SetService {
        registration: consul8s_core::consul::Registration {
            node: "n".into(),
            id: ServiceId::new(*id).unwrap(),
            name: "web".into(),
            address: String::new(),
            port: 0,
            tags: Vec::new(),
            meta: BTreeMap::new(),
            weight: 1,
            status: consul8s_core::consul::CheckStatus::Passing,
            output: String::new(),
        },
        index: 0,
    };
    ids.iter().map(op).collect()
}

fn told(outcome: &Result<TxnOutcome, ApiError>) -> String {
    match outcome {
        Ok(TxnOutcome::Applied(applied)) => {
            applied.services.iter().map(|(_, service)| service.id.as_str()).collect::<Vec<_>>().join(" ")
        }
        Ok(TxnOutcome::Refused(refusals)) => {
            let refusals: Vec<String> =
                refusals.iter().map(|refusal| format!("!{} {}", refusal.op, refusal.what)).collect();
            refusals.join(" ")
        }
        Err(error) => error.kind.as_str().to_owned(),
    }
}

/// Submits all groups at once; gives each one's outcome and the sizes of the transactions.
async fn run(fake: Fake, groups: Vec<Vec<TxnOp>>) -> (Vec<String>, Vec<usize>) {
    let fake = Arc::new(fake);
    let (batcher, driver) = Batcher::new(fake.clone());
    let driver = tokio::spawn(driver.run());
    let outcomes = futures::future::join_all(groups.into_iter().map(|group| batcher.submit(group))).await;
    drop(batcher);
    driver.await.unwrap();
    let sizes = fake.seen.lock().unwrap().iter().map(Vec::len).collect();
    (outcomes.iter().map(told).collect(), sizes)
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_together_and_each_hears_of_its_own() {
    let names: Vec<String> = (0..100).map(|at| format!("s{at}")).collect();
    let groups = names.iter().map(|name| group(&[name, &format!("{name}x")])).collect();
    let (outcomes, sizes) = run(Fake::default(), groups).await;
    for (name, outcome) in names.iter().zip(outcomes) {
        assert_eq!(outcome, format!("{name} {name}x"));
    }
    assert_eq!(sizes, [128, 72]);
}

#[tokio::test(start_paused = true)]
async fn the_first_waits_for_nobody() {
    let fake = Arc::new(Fake::default());
    let (batcher, driver) = Batcher::new(fake.clone());
    tokio::spawn(driver.run());
    let began = Instant::now();
    let submit = |id: &'static str| {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.submit(group(&[id])).await.map(|_| Instant::now()) })
    };
    let first = submit("a");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let second = submit("b");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (third, fourth) = (submit("c"), submit("d"));
    assert_eq!(first.await.unwrap().unwrap() - began, TRAVEL);
    assert_eq!(second.await.unwrap().unwrap() - began, TRAVEL + Duration::from_millis(1));
    assert_eq!(third.await.unwrap().unwrap() - began, TRAVEL * 2);
    fourth.await.unwrap().unwrap();
    assert_eq!(*fake.seen.lock().unwrap(), [vec!["a"], vec!["b"], vec!["c", "d"]]);
}

#[tokio::test(start_paused = true)]
async fn a_bad_group_costs_nobody_else_their_write() {
    let bad = ["b", "e2"].map(str::to_owned).into();
    let groups = vec![group(&["a"]), group(&["b"]), group(&["c"]), group(&["d"]), group(&["e1", "e2"])];
    let (outcomes, sizes) = run(Fake { bad, ..Fake::default() }, groups).await;
    assert_eq!(outcomes, ["a", "!0 b: index is stale", "c", "d", "!1 e2: index is stale"]);
    assert_eq!(sizes, [6, 3, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_old_server_gets_smaller_transactions() {
    let names: Vec<String> = (0..100).map(|at| format!("s{at}")).collect();
    let groups = names.iter().map(|name| group(&[name])).collect();
    let (outcomes, sizes) = run(Fake { max_ops: Some(64), ..Fake::default() }, groups).await;
    assert_eq!(outcomes, names);
    assert_eq!(sizes, [100, 50, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_transport_failure_goes_to_everybody() {
    let (outcomes, _) = run(Fake { broken: true, ..Fake::default() }, vec![group(&["a"]), group(&["b"])]).await;
    assert_eq!(outcomes, ["unreachable", "unreachable"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_never_split() {
    let names: Vec<String> = (0..129).map(|at| format!("s{at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut large = group(&["large"]);
    if let TxnOp::SetService { registration, .. } = &mut large[0] {
        registration.address = "x".repeat(MAX_BODY_BYTES);
    }
    let (outcomes, sizes) = run(Fake::default(), vec![group(&names), group(&[]), large]).await;
    assert_eq!(outcomes, ["invalid", "", "invalid"]);
    assert!(sizes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn transactions_stay_within_the_size_limit() {
    let mut groups = vec![group(&["a"]), group(&["b"]), group(&["c"])];
    for group in &mut groups {
        if let TxnOp::SetService { registration, .. } = &mut group[0] {
            registration.address = "x".repeat(MAX_BODY_BYTES / 2 - 1000);
        }
    }
    let (outcomes, sizes) = run(Fake::default(), groups).await;
    assert_eq!(outcomes, ["a", "b", "c"]);
    assert_eq!(sizes, [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_after_its_deadline_or_when_nobody_waits() {
    let fake = Arc::new(Fake::default());
    let (batcher, driver) = Batcher::new(fake.clone());
    tokio::spawn(driver.run());
    let mut busy = Vec::new();
    for _ in 0..MAX_IN_FLIGHT {
        let batcher = batcher.clone();
        busy.push(tokio::spawn(async move { batcher.submit(group(&["busy"])).await }));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let late = batcher.submit_before(group(&["late"]), Instant::now() + TRAVEL / 2).await;
    assert_eq!(told(&late), "timeout");
    assert!(tokio::time::timeout(Duration::from_millis(1), batcher.submit(group(&["dropped"]))).await.is_err());
    for busy in busy {
        busy.await.unwrap().unwrap();
    }
    tokio::time::sleep(TRAVEL * 10).await;
    assert!(fake.seen.lock().unwrap().iter().flatten().all(|id| id == "busy"));
    // Under way when its time is over: no answer, and it may have been carried out.
    let late = batcher.submit_before(group(&["under way"]), Instant::now() + TRAVEL / 2).await;
    assert_eq!(told(&late), "timeout");
}

#[tokio::test(start_paused = true)]
async fn beyond_the_queue_submitting_waits_and_nothing_is_lost() {
    const MORE: usize = 10;
    let fake = Arc::new(Fake::default());
    let (batcher, driver) = Batcher::new(fake.clone());
    let submit = |number: usize| {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.submit(group(&[&format!("s{number}")])).await })
    };
    // Nobody drives yet.
    let waiting: Vec<_> = (0..QUEUE_GROUPS + MORE).map(submit).collect();
    tokio::time::sleep(TRAVEL).await;
    assert_eq!(batcher.queue.capacity(), 0);
    assert!(waiting.iter().all(|submitted| !submitted.is_finished()));
    // Who gives up meanwhile takes no place.
    let late = batcher.submit_before(group(&["late"]), Instant::now() + TRAVEL).await;
    assert_eq!(told(&late), "timeout");
    drop(batcher);
    tokio::spawn(driver.run());
    for (number, outcome) in futures::future::join_all(waiting).await.into_iter().enumerate() {
        assert_eq!(told(&outcome.unwrap()), format!("s{number}"));
    }
    assert!(!fake.seen.lock().unwrap().iter().flatten().any(|id| id == "late"));
}
