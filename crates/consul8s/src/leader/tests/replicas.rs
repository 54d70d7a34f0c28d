//! Two whole replicas on one Consul and one cluster, in virtual time. Their Lease lives elsewhere, so that one of them can lose it alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use consul8s_consul::Batcher;
use consul8s_core::claim::{Lease, LeaseWrite, Timing};
use consul8s_core::consul::{Check, CheckStatus, Instance};
use consul8s_core::identity::Identity;
use consul8s_core::kube::Scope;
use consul8s_core::ports::{ApiError, ErrorKind, LeaseApi};
use consul8s_core::settings::{Direction, Settings};
use consul8s_sim::model::kube::{Part, Resource, Selector};
use consul8s_sim::ports::WorldLease;
use consul8s_sim::{ConsulWorld, KubeWorld};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{key, seconds};
use crate::clock::{BootClock, Clock};
use crate::controller::{Controller, WORKERS};
use crate::leader::{Election, Fenced, Keeper, Leadership};
use crate::metrics::{Metrics, Snapshot};
use crate::sync::writers::Writers;

/// A way to the Lease that can be cut.
struct Way {
    lease: WorldLease,
    cut: Arc<AtomicBool>,
}

impl Way {
    fn passes(&self) -> Result<(), ApiError> {
        let cut = self.cut.load(Ordering::SeqCst);
        if cut { Err(ApiError::new(ErrorKind::Unreachable, "cut")) } else { Ok(()) }
    }
}

impl LeaseApi for Way {
    async fn read(&self) -> Result<Option<Lease>, ApiError> {
        self.passes()?;
        self.lease.read().await
    }

    async fn create(&self, write: &LeaseWrite) -> Result<Lease, ApiError> {
        self.passes()?;
        self.lease.create(write).await
    }

    async fn replace(&self, seen: &Lease, write: &LeaseWrite) -> Result<Lease, ApiError> {
        self.passes()?;
        self.lease.replace(seen, write).await
    }
}

/// Both servers, and the Lease.
struct Worlds {
    kube: KubeWorld,
    consul: ConsulWorld,
    leases: KubeWorld,
}

/// A replica. Dropped, it is gone as after a crash.
struct Replica {
    leadership: Leadership,
    metrics: Arc<Metrics>,
    cut: Arc<AtomicBool>,
    /// For how many milliseconds its machine has slept.
    slept: &'static AtomicU64,
    _tasks: JoinSet<()>,
}

impl Replica {
    fn start(worlds: &Worlds, me: &str) -> Replica {
        let identity = Identity {
            owner: "o".into(),
            cluster: "c".into(),
            cluster_uid: worlds.kube.uid(),
            installation: key().to_string(),
        };
        let settings = Settings::new(identity, Scope::Namespaces(vec!["default".into()]));
        let directions = BTreeSet::from([Direction::ToKube, Direction::ToConsul]);
        let metrics = Arc::new(Metrics::new());
        let (kube, consul) = (worlds.kube.clone(), worlds.consul.clone());
        let controller = Arc::new(Controller::new(
            Arc::new(kube.clone()),
            Arc::new(consul.clone()),
            settings,
            directions,
            metrics.clone(),
        ));
        let cut = Arc::new(AtomicBool::new(false));
        let slept: &AtomicU64 = Box::leak(Box::default());
        let election = Election {
            me: me.to_owned(),
            lease: key().to_string(),
            elect: true,
            timing: Timing::default(),
            boot: BootClock::Slept(Instant::now(), slept),
            clock: Clock::start(),
        };
        let way = Way { lease: worlds.leases.lease(key()), cut: cut.clone() };
        let (leadership, keeper) = Keeper::new(way, election, metrics.clone());
        let (batcher, driver) = Batcher::new(Arc::new(Fenced::new(consul, leadership.clone())));
        let writers = Arc::new(Writers::new(kube, batcher, leadership.clone()));
        let mut tasks = JoinSet::new();
        tasks.spawn(driver.run());
        tasks.spawn(keeper.run(CancellationToken::new()));
        tasks.spawn(controller.run(Some(writers), CancellationToken::new()));
        Replica { leadership, metrics, cut, slept, _tasks: tasks }
    }

    fn leads(&self) -> bool {
        self.leadership.claim().is_some()
    }

    /// Writes that were accepted or refused or had no answer, on either side.
    fn writes(&self) -> u64 {
        let text = self.metrics.encode(&Snapshot::default());
        let samples = text.lines().filter(|line| line.starts_with("consul8s_writes_total{"));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

impl Worlds {
    fn new() -> Worlds {
        let worlds = Worlds { kube: KubeWorld::default(), consul: ConsulWorld::new(), leases: KubeWorld::default() };
        for n in 1..=2 {
            worlds.instance(n, CheckStatus::Passing);
        }
        worlds.service("web", "consul", &json!({"consul8s/service.name": "web"}));
        worlds.service("db", "kubernetes", &json!({"consul8s/service.name": "db", "domainName": "db.example.com"}));
        worlds
    }

    fn service(&self, name: &str, source: &str, annotations: &serde_json::Value) {
        let object = json!({
            "metadata": {"name": name, "labels": {"consul8s_source": source}, "annotations": annotations},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        });
        self.kube.write(|cluster| cluster.create(Resource::Services, "default", object)).unwrap();
    }

    fn instance(&self, n: u8, status: CheckStatus) {
        let id = format!("web-{n}");
        let check = Check {
            node: String::new(),
            id: format!("check-{id}"),
            name: String::new(),
            service_id: id.clone(),
            status,
            output: String::new(),
            modify_index: 0,
        };
        let address = format!("10.0.0.{n}");
        let (node_address, checks) = (address.clone(), vec![check]);
        let node = format!("vm-{n}");
        let instance =
            Instance { node, node_address, address, name: "web".into(), id, port: 8080, checks, ..Instance::default() };
        self.consul.write(|catalog| catalog.put_instance(&instance)).unwrap();
    }

    /// Something changes on either side.
    fn stir(&self, round: u32) {
        self.instance(2, if round.is_multiple_of(2) { CheckStatus::Critical } else { CheckStatus::Passing });
        let change = json!({"metadata": {"annotations": {"consul8s/service.tags": format!("round-{round}")}}});
        let db = consul8s_core::kube::ObjectKey::new("default", "db");
        self.kube.write(|cluster| cluster.merge_patch(Resource::Services, &db, Part::Main, &change)).unwrap();
    }

    fn endpoints(&self) -> usize {
        let slices = self.kube.read(|cluster| cluster.list(Resource::EndpointSlices, None, &Selector::default()));
        slices.iter().map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len)).sum()
    }

    fn registered_tag(&self) -> Option<String> {
        self.consul.read(|catalog| {
            catalog.health_service("db").first().and_then(|(_, service, _)| service.tags.clone()?.first().cloned())
        })
    }
}

/// What happened from `since` on while everything changes all the time.
async fn watch_both(
    worlds: &Worlds,
    one: &Replica,
    two: &Replica,
    from: u32,
    time: Duration,
) -> Vec<(Duration, u64, u64)> {
    let start = Instant::now();
    let mut seen = Vec::new();
    let mut round = from;
    while start.elapsed() < time {
        worlds.stir(round);
        round += 1;
        sleep(seconds(0.3)).await;
        assert!(!(one.leads() && two.leads()), "two lead after {:?}", start.elapsed());
        assert!(worlds.endpoints() >= 2 && worlds.registered_tag().is_some(), "something went");
        seen.push((start.elapsed(), one.writes(), two.writes()));
    }
    seen
}

/// The last moment at which the number of writes rose, and the first.
fn rises(
    seen: &[(Duration, u64, u64)],
    of: impl Fn(&(Duration, u64, u64)) -> u64,
) -> (Option<Duration>, Option<Duration>) {
    let mut moments = seen.windows(2).filter(|pair| of(&pair[0]) != of(&pair[1])).map(|pair| pair[1].0);
    let first = moments.next();
    (first, moments.last().or(first))
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_lease_stops_before_another_begins() {
    for slow in [Duration::ZERO, seconds(0.7)] {
        let worlds = Worlds::new();
        let one = Replica::start(&worlds, "one");
        sleep(seconds(5.0)).await;
        assert!(one.leads() && worlds.endpoints() == 2 && worlds.registered_tag().is_none());
        let two = Replica::start(&worlds, "two");
        sleep(seconds(5.0)).await;
        worlds.stir(1);
        sleep(seconds(1.0)).await;
        assert_eq!(two.writes(), 0);

        // The first one's way to the Lease is cut; both APIs go on answering it.
        worlds.kube.set_faults(|faults| faults.delay = slow);
        worlds.consul.set_faults(|faults| faults.delay = slow);
        one.cut.store(true, Ordering::SeqCst);
        let seen = watch_both(&worlds, &one, &two, 2, seconds(30.0)).await;
        let (_, last_of_one) = rises(&seen, |(_, one, _)| *one);
        let (first_of_two, _) = rises(&seen, |(_, _, two)| *two);
        let (last_of_one, first_of_two) = (last_of_one.unwrap(), first_of_two.unwrap());
        assert!(last_of_one > seconds(5.0) && last_of_one <= seconds(10.4), "{slow:?}: {last_of_one:?}");
        assert!(first_of_two > seconds(12.0) && first_of_two <= seconds(18.5), "{slow:?}: {first_of_two:?}");

        // It comes back, and stands by until the other is gone.
        one.cut.store(false, Ordering::SeqCst);
        let before = one.writes();
        watch_both(&worlds, &one, &two, 200, seconds(10.0)).await;
        assert_eq!(one.writes(), before);
        drop(two);
        for round in 300..360 {
            worlds.stir(round);
            sleep(seconds(0.3)).await;
        }
        assert!(one.leads() && one.writes() > before);
        sleep(seconds(5.0)).await;
        assert_eq!(worlds.registered_tag().as_deref(), Some("round-359"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_changed_while_nobody_led_is_followed_at_once_by_the_next() {
    let worlds = Worlds::new();
    let one = Replica::start(&worlds, "one");
    sleep(seconds(5.0)).await;
    let two = Replica::start(&worlds, "two");
    sleep(seconds(5.0)).await;
    drop(one);
    // Once, and nothing happens afterwards that would ask for another look.
    worlds.stir(8);
    sleep(seconds(10.0)).await;
    assert_eq!((two.writes(), worlds.registered_tag()), (0, None));
    two.leadership.wait(seconds(10.0)).await.unwrap();
    sleep(seconds(0.2)).await;
    assert_eq!((two.writes(), worlds.registered_tag()), (2, Some("round-8".to_owned())), "one on either side");
    sleep(seconds(3600.0)).await;
    assert_eq!(two.writes(), 2, "and not one more");
}

#[tokio::test(start_paused = true)]
async fn on_a_machine_that_slept_nothing_is_written_before_the_claim_is_renewed() {
    let worlds = Worlds::new();
    let one = Replica::start(&worlds, "one");
    sleep(seconds(5.0)).await;
    worlds.stir(1);
    sleep(seconds(1.0)).await;
    let (claim, before) = (one.leadership.claim().unwrap(), one.writes());
    assert!(before > 0);

    // The claim has run out in its sleep, and by the clock that stood still meanwhile it has seconds left. On waking, the Lease is out of
    // reach.
    one.cut.store(true, Ordering::SeqCst);
    one.slept.store(11_000, Ordering::SeqCst);
    assert!(!one.leads() && one.leadership.left(&claim).is_none());
    let sent = one.leadership.under(&claim, async { Ok::<_, ApiError>(()) }).await;
    assert_eq!(sent.unwrap_err().kind, ErrorKind::NotLeading);
    for round in 2..40 {
        worlds.stir(round);
        sleep(seconds(0.1)).await;
    }
    assert_eq!((one.writes(), worlds.registered_tag().as_deref()), (before, Some("round-1")));

    // In time to be renewed, and so the same claim goes on.
    one.cut.store(false, Ordering::SeqCst);
    sleep(seconds(8.0)).await;
    assert!(one.writes() > before);
    assert_eq!(worlds.registered_tag().as_deref(), Some("round-39"));
    assert!(one.leadership.claim().unwrap().is_of_the_same_term(&claim), "nobody else has had it");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_under_way_when_the_machine_fell_asleep_takes_no_further_step() {
    let worlds = Worlds::new();
    let one = Replica::start(&worlds, "one");
    sleep(seconds(5.0)).await;
    let (claim, slept) = (one.leadership.claim().unwrap(), one.slept);
    let mut steps = 0;
    let write = async {
        steps += 1;
        slept.store(3_600_000, Ordering::SeqCst);
        tokio::task::yield_now().await;
        steps += 1;
        Ok::<_, ApiError>(())
    };
    let error = one.leadership.under(&claim, write).await.unwrap_err();
    assert_eq!((error.kind, steps), (ErrorKind::Timeout, 1));
}

#[tokio::test(start_paused = true)]
async fn no_more_services_are_looked_at_side_by_side_than_there_are_slots() {
    const SERVICES: usize = 200;
    let worlds = Worlds::new();
    let _one = Replica::start(&worlds, "one");
    sleep(seconds(5.0)).await;
    // Each write takes a second, so what is written within less was under way side by side.
    worlds.kube.set_faults(|faults| faults.delay = seconds(1.0));
    for number in 0..SERVICES {
        worlds.service(&format!("s{number}"), "consul", &json!({"consul8s/service.name": "web"}));
    }
    let mut standing = Vec::new();
    for _ in 0..100 {
        sleep(seconds(0.1)).await;
        standing.push(worlds.endpoints() / 2);
    }
    let most = standing.windows(10).map(|second| second[9] - second[0]).max();
    assert_eq!((most, standing.last()), (Some(WORKERS), Some(&(SERVICES + 1))), "{standing:?}");
}
