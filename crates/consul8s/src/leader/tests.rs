//! The keeper on the embedded API server, in virtual time.

mod replicas;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use consul8s_core::claim::{Claim, Timing};
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ApiError, ErrorKind};
use consul8s_sim::KubeWorld;
use consul8s_sim::model::kube::{Part, Resource};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Election, Keeper, Leadership};
use crate::clock::{BootClock, Clock};
use crate::metrics::{Metrics, Snapshot};

/// Calls take some time.
const CALL: Duration = Duration::from_millis(20);

/// One process, as far as the Lease goes.
struct Replica {
    leadership: Leadership,
    metrics: Arc<Metrics>,
    retire: CancellationToken,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(world: &KubeWorld, me: &str) -> Replica {
        Replica::start_with(world, me, true)
    }

    fn start_with(world: &KubeWorld, me: &str, elect: bool) -> Replica {
        let election = Election {
            me: me.to_owned(),
            lease: key().to_string(),
            elect,
            timing: Timing::default(),
            boot: BootClock::Runtime(Instant::now()),
            clock: Clock::start(),
        };
        let metrics = Arc::new(Metrics::new());
        let (leadership, keeper) = Keeper::new(world.lease(key()), election, metrics.clone());
        let retire = CancellationToken::new();
        Replica { leadership, metrics, task: tokio::spawn(keeper.run(retire.clone())), retire }
    }

    async fn leads_within(&self, limit: Duration) -> Duration {
        let start = Instant::now();
        self.leadership.wait(limit).await.unwrap();
        start.elapsed()
    }

    fn leads(&self) -> bool {
        self.leadership.claim().is_some()
    }

    fn shows(&self, line: &str) -> bool {
        self.metrics.encode(&Snapshot::default()).contains(line)
    }

    async fn end(self) {
        self.retire.cancel();
        timeout(Duration::from_millis(1600), self.task).await.unwrap().unwrap();
        assert!(self.leadership.claim().is_none());
    }
}

fn key() -> ObjectKey {
    ObjectKey::new("default", "consul8s")
}

fn world() -> KubeWorld {
    let world = KubeWorld::default();
    world.set_faults(|faults| faults.delay = CALL);
    world
}

fn lease(world: &KubeWorld) -> Value {
    world.read(|cluster| cluster.get(Resource::Leases, &key())).map_or(Value::Null, |lease| (*lease).clone())
}

fn annotate(world: &KubeWorld, annotations: &Value) {
    let change = json!({"metadata": {"annotations": annotations}});
    world.write(|cluster| cluster.merge_patch(Resource::Leases, &key(), Part::Main, &change)).unwrap();
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_first_replica_leads_at_once_and_gives_the_lease_back() {
    let world = world();
    let one = Replica::start(&world, "one");
    assert_eq!(one.leads_within(seconds(1.0)).await, CALL * 2, "a read and a create");
    assert_eq!(lease(&world)["spec"]["holderIdentity"], "one");
    assert!(one.shows("consul8s_leader 1") && one.shows("consul8s_lease_transitions_total 1"));
    let renewed = lease(&world)["spec"]["renewTime"].clone();
    sleep(seconds(2.5)).await;
    assert_ne!(lease(&world)["spec"]["renewTime"], renewed);
    one.end().await;
    let given_back = lease(&world);
    assert_eq!(
        (&given_back["spec"]["holderIdentity"], &given_back["spec"]["leaseDurationSeconds"]),
        (&json!(""), &json!(1))
    );
    let two = Replica::start(&world, "two");
    assert_eq!(two.leads_within(seconds(1.0)).await, CALL * 2);
    assert_eq!(lease(&world)["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn the_second_stands_by_and_takes_over() {
    let world = world();
    let one = Replica::start(&world, "one");
    one.leads_within(seconds(1.0)).await;
    let two = Replica::start(&world, "two");
    let why = two.leadership.wait(seconds(60.0)).await.unwrap_err();
    assert_eq!(why, "one holds the Lease default/consul8s");
    assert!(one.leads() && !two.leads());
    // A crash: nothing is said any more.
    one.task.abort();
    let took = two.leads_within(seconds(60.0)).await;
    assert!(took > seconds(13.0) && took < seconds(16.5), "{took:?}");
    assert!(!one.leads(), "its claim had run out by itself");
    let three = Replica::start(&world, "three");
    sleep(seconds(5.0)).await;
    let start = Instant::now();
    two.end().await;
    three.leads_within(seconds(2.0)).await;
    assert!(start.elapsed() < seconds(1.4), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_an_api_server_the_claim_ends_and_comes_back() {
    let world = world();
    let one = Replica::start(&world, "one");
    one.leads_within(seconds(1.0)).await;
    let mut gains = one.leadership.gains();
    assert_eq!(gains.count(), 1);
    world.set_faults(|faults| faults.unreachable = true);
    sleep(seconds(7.5)).await;
    assert!(one.leads(), "it may come back");
    sleep(seconds(2.6)).await;
    assert!(!one.leads() && one.shows("consul8s_leader 0"));
    assert!(one.leadership.wait(seconds(30.0)).await.unwrap_err().contains("connection refused"));
    world.set_faults(|faults| faults.unreachable = false);
    one.leads_within(seconds(6.5)).await;
    assert!(gains.has_changed(), "everything is to be looked at");
    assert_eq!(lease(&world)["spec"]["leaseTransitions"], 0, "nobody else had it");
}

#[tokio::test(start_paused = true)]
async fn without_permission_it_says_which_and_tries_on() {
    let world = world();
    world.set_faults(|faults| faults.fail = Some((403, 3)));
    let one = Replica::start(&world, "one");
    let why = one.leadership.wait(seconds(2.0)).await.unwrap_err();
    assert!(why.contains("`get`, `create` and `update` of `leases.coordination.k8s.io`"), "{why}");
    one.leads_within(seconds(8.0)).await;
}

#[tokio::test(start_paused = true)]
async fn lost_answers_cost_a_moment_and_no_claim() {
    let world = world();
    world.set_faults(|faults| faults.lose_replies = 2);
    let one = Replica::start(&world, "one");
    one.leads_within(seconds(5.0)).await;
    assert_eq!(lease(&world)["spec"]["leaseTransitions"], 0);
    world.set_faults(|faults| faults.lose_replies = 1);
    for _ in 0..100 {
        sleep(seconds(0.1)).await;
        assert!(one.leads());
    }
}

#[tokio::test(start_paused = true)]
async fn notes_travel_with_the_renewals_and_leave_the_rest_alone() {
    let world = world();
    let one = Replica::start(&world, "one");
    one.leads_within(seconds(1.0)).await;
    annotate(&world, &json!({"helm.sh/release": "x", "consul8s/allow-removal": "apple"}));
    let mut notebook = one.leadership.notebook();
    notebook.changed().await.unwrap();
    assert_eq!(notebook.borrow_and_update().allow_removal.as_deref(), Some("apple"));
    one.leadership.note(|notes| notes.saw("dc1", 7));
    one.leadership.note(|notes| notes.used("apple"));
    sleep(seconds(2.2)).await;
    assert_eq!(lease(&world)["metadata"]["annotations"], json!({"helm.sh/release": "x", "consul8s/lineage": "dc1=7"}));
    assert_eq!(notebook.borrow_and_update().lineage, BTreeMap::from([("dc1".to_owned(), 7)]));

    // One who stands by notes nothing, and knows the same.
    let two = Replica::start(&world, "two");
    sleep(seconds(1.0)).await;
    two.leadership.note(|notes| notes.saw("dc1", 99));
    assert_eq!(*two.leadership.notebook().borrow(), *notebook.borrow());
    // What was noted last is not lost on the way out.
    one.leadership.note(|notes| notes.saw("dc2", 3));
    one.end().await;
    two.leads_within(seconds(2.0)).await;
    sleep(seconds(3.0)).await;
    assert_eq!(lease(&world)["metadata"]["annotations"]["consul8s/lineage"], "dc1=7,dc2=3");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_comes_back_with_what_it_remembered() {
    let world = world();
    let one = Replica::start(&world, "one");
    one.leads_within(seconds(1.0)).await;
    one.leadership.note(|notes| notes.saw("dc1", 7));
    sleep(seconds(2.5)).await;
    world.write(|cluster| cluster.delete(Resource::Leases, &key(), &Default::default())).unwrap();
    sleep(seconds(2.5)).await;
    assert!(one.leads());
    assert_eq!(lease(&world)["spec"]["holderIdentity"], "one");
    assert_eq!(lease(&world)["metadata"]["annotations"]["consul8s/lineage"], "dc1=7");
}

#[tokio::test(start_paused = true)]
async fn without_an_election_the_lease_is_only_a_notebook() {
    let world = world();
    let one = Replica::start_with(&world, "one", false);
    one.leads_within(seconds(1.0)).await;
    assert_eq!(one.leadership.claim().unwrap(), Claim { holder: "one".into(), epoch: 0, deadline: None });
    assert_eq!(lease(&world)["spec"]["holderIdentity"], Value::Null);
    annotate(&world, &json!({"consul8s/allow-removal": "true"}));
    one.leadership.note(|notes| notes.saw("dc1", 7));
    sleep(seconds(5.0)).await;
    assert_eq!(one.leadership.notebook().borrow().allow_removal.as_deref(), Some("true"));
    assert_eq!(lease(&world)["metadata"]["annotations"]["consul8s/lineage"], Value::Null, "that can wait");
    one.leadership.note(|notes| notes.used("true"));
    sleep(seconds(0.2)).await;
    assert_eq!(lease(&world)["metadata"]["annotations"], json!({"consul8s/lineage": "dc1=7"}), "this is waited for");

    // Nothing to note is no write, and the API server's absence no end.
    let version = lease(&world)["metadata"]["resourceVersion"].clone();
    world.set_faults(|faults| faults.unreachable = true);
    sleep(seconds(60.0)).await;
    assert!(one.leads());
    world.set_faults(|faults| faults.unreachable = false);
    sleep(seconds(60.0)).await;
    assert_eq!(lease(&world)["metadata"]["resourceVersion"], version);
    one.leadership.note(|notes| notes.saw("dc1", 8));
    one.end().await;
    assert_eq!(lease(&world)["metadata"]["annotations"]["consul8s/lineage"], "dc1=8");
}

#[tokio::test(start_paused = true)]
async fn without_an_election_and_without_permission_it_goes_without_notes() {
    let world = world();
    world.set_faults(|faults| faults.fail = Some((403, u32::MAX)));
    let one = Replica::start_with(&world, "one", false);
    one.leads_within(seconds(1.0)).await;
    world.set_faults(|faults| (faults.fail, faults.unreachable) = (None, true));
    let two = Replica::start_with(&world, "two", false);
    assert!(two.leadership.wait(seconds(30.0)).await.is_err(), "nobody has said that there are no marks");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_not_begun_not_continued_and_not_awaited_beyond_the_claim() {
    let world = world();
    let one = Replica::start(&world, "one");
    one.leads_within(seconds(1.0)).await;
    let claim = one.leadership.claim().unwrap();
    let written = one.leadership.under(&claim, async { Ok::<_, ApiError>(7) }).await;
    assert_eq!(written.unwrap(), 7);
    world.set_faults(|faults| faults.unreachable = true);

    // It is asked once more after its time: it must not take a step then, such as to send on a connection that has just come about.
    let steps = AtomicUsize::new(0);
    let late = std::future::poll_fn(|context| {
        steps.fetch_add(1, Ordering::SeqCst);
        let waker = context.waker().clone();
        tokio::spawn(async move {
            sleep(seconds(30.0)).await;
            waker.wake();
        });
        std::task::Poll::<Result<(), ApiError>>::Pending
    });
    let start = Instant::now();
    let error = one.leadership.under(&claim, late).await.unwrap_err();
    assert_eq!((error.kind, steps.load(Ordering::SeqCst)), (ErrorKind::Timeout, 1));
    assert!(start.elapsed() <= seconds(10.0), "{:?}", start.elapsed());

    let error = one.leadership.under(&claim, async { Ok::<_, ApiError>(steps.fetch_add(1, Ordering::SeqCst)) }).await;
    assert_eq!((error.unwrap_err().kind, steps.load(Ordering::SeqCst)), (ErrorKind::NotLeading, 1));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_wakes_after_a_pause_takes_no_further_step() {
    let world = world();
    let one = Replica::start(&world, "one");
    one.leads_within(seconds(1.0)).await;
    let claim = one.leadership.claim().unwrap();
    let steps = AtomicUsize::new(0);
    // The whole process stands still for a while, with everything that it does.
    let pause = async {
        steps.fetch_add(1, Ordering::SeqCst);
        world.set_faults(|faults| faults.unreachable = true);
        tokio::time::advance(seconds(25.0)).await;
        steps.fetch_add(1, Ordering::SeqCst);
        Ok::<_, ApiError>(())
    };
    let error = one.leadership.under(&claim, pause).await.unwrap_err();
    assert_eq!((error.kind, steps.load(Ordering::SeqCst)), (ErrorKind::Timeout, 1));
}

#[tokio::test(start_paused = true)]
async fn another_is_waited_for_one_lease_duration_and_no_longer() {
    const LEASE: Duration = Duration::from_secs(15);
    let world = world();
    let one = Replica::start(&world, "one");
    one.leads_within(seconds(1.0)).await;
    let two = Replica::start(&world, "two");
    let start = Instant::now();
    let why = two.leadership.wait_for_the_lease(LEASE).await.unwrap_err();
    assert_eq!((why.as_str(), start.elapsed()), ("one holds the Lease default/consul8s", LEASE + CALL));
    two.task.abort();

    // One whose holder is dead has run out by then, and is taken.
    one.task.abort();
    let three = Replica::start(&world, "three");
    let start = Instant::now();
    three.leadership.wait_for_the_lease(LEASE).await.unwrap();
    assert_eq!(start.elapsed(), LEASE + CALL * 2, "a read, the wait, and a write");
    three.end().await;

    // Nobody's Lease is taken at once, and an API server that is away is not waited for any longer.
    let four = Replica::start(&world, "four");
    let start = Instant::now();
    four.leadership.wait_for_the_lease(LEASE).await.unwrap();
    assert_eq!(start.elapsed(), CALL * 2);
    four.end().await;
    world.set_faults(|faults| faults.unreachable = true);
    let five = Replica::start(&world, "five");
    let start = Instant::now();
    assert!(five.leadership.wait_for_the_lease(LEASE).await.unwrap_err().contains("connection refused"));
    assert_eq!(start.elapsed(), LEASE);
}
