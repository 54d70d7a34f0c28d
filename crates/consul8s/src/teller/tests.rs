//! A whole program on the embedded worlds, in virtual time: what it tells, and how little it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consul8s_consul::Batcher;
use consul8s_core::claim::Timing;
use consul8s_core::consul::{Check, CheckStatus, Instance};
use consul8s_core::identity::Identity;
use consul8s_core::kube::{Condition, KubeService, ObjectKey, Scope};
use consul8s_core::ports::{ApiError, ErrorKind, KubeTeller};
use consul8s_core::problem::Reason;
use consul8s_core::settings::{Direction, Settings};
use consul8s_core::tell::{EventSpec, Look, ObjectRef, Subject};
use consul8s_sim::model::kube::{Resource, Selector, text_at};
use consul8s_sim::{ConsulWorld, KubeWorld};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{About, Mailbox, Teller};
use crate::clock::{BootClock, Clock};
use crate::controller::Controller;
use crate::leader::{Election, Keeper, Leadership};
use crate::metrics::Metrics;
use crate::sync::writers::Writers;

/// Two worlds, and programs in them.
struct Play {
    kube: KubeWorld,
    consul: ConsulWorld,
}

/// A program. Dropped, it is gone as after a crash.
struct Program {
    stop: CancellationToken,
    retire: CancellationToken,
    tasks: JoinSet<()>,
    keeper: JoinSet<()>,
}

impl Program {
    async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.retire.cancel();
        while self.keeper.join_next().await.is_some() {}
    }
}

impl Play {
    fn new() -> Play {
        let play = Play { kube: KubeWorld::default(), consul: ConsulWorld::new() };
        play.kube.write(|cluster| cluster.create_namespace("shop")).unwrap();
        play
    }

    fn start(&self) -> Program {
        self.start_as("one", self.kube.clone())
    }

    fn start_as<T: KubeTeller>(&self, me: &str, api: T) -> Program {
        self.start_with(me, api).0
    }

    /// A program, with what leads to its teller.
    fn start_with<T: KubeTeller>(&self, me: &str, api: T) -> (Program, Arc<Mailbox>, Leadership) {
        let identity = Identity {
            owner: "me".into(),
            cluster: "c".into(),
            cluster_uid: self.kube.uid(),
            installation: "default/consul8s".into(),
        };
        let settings = Settings::new(identity, Scope::All { exclude: Vec::new() });
        let directions = BTreeSet::from([Direction::ToKube, Direction::ToConsul]);
        let metrics = Arc::new(Metrics::new());
        let (kube, consul) = (Arc::new(self.kube.clone()), Arc::new(self.consul.clone()));
        let controller = Arc::new(Controller::new(kube, consul.clone(), settings, directions, metrics.clone()));
        let election = Election {
            me: me.to_owned(),
            lease: lease().to_string(),
            elect: true,
            timing: Timing::default(),
            boot: BootClock::Runtime(Instant::now()),
            clock: Clock::start(),
        };
        let (leadership, keeper) = Keeper::new(self.kube.lease(lease()), election, metrics);
        let (batcher, driver) = Batcher::new(consul);
        let mailbox = Arc::new(Mailbox::default());
        let teller = Teller::new(controller.clone(), api, mailbox.clone(), leadership.clone(), lease());
        let writers = Writers::new(self.kube.clone(), batcher, leadership.clone()).telling(mailbox.clone());
        let writers = Arc::new(writers);
        let (stop, retire) = (CancellationToken::new(), CancellationToken::new());
        let (mut tasks, mut keeping) = (JoinSet::new(), JoinSet::new());
        tasks.spawn(teller.run(stop.clone(), Duration::from_secs(1)));
        tasks.spawn(controller.run(Some(writers), stop.clone()));
        keeping.spawn(keeper.run(retire.clone()));
        // It ends with the last handle of the batcher.
        tokio::spawn(driver.run());
        (Program { stop, retire, tasks, keeper: keeping }, mailbox, leadership)
    }

    fn service(&self, name: &str, source: &str, annotations: &Value) {
        let object = json!({
            "metadata": {"name": name, "labels": {"consul8s_source": source}, "annotations": annotations},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        });
        self.kube.write(|cluster| cluster.create(Resource::Services, "shop", object)).unwrap();
    }

    /// Instance number `n` of a Consul service, in this state.
    fn instance(&self, service: &str, n: u8, status: CheckStatus) {
        let id = format!("{service}-{n}");
        let check = Check {
            node: String::new(),
            id: format!("check-{id}"),
            name: String::new(),
            service_id: id.clone(),
            status,
            output: String::new(),
            modify_index: 0,
        };
        let instance = Instance {
            node: format!("vm-{n}"),
            node_address: format!("10.0.0.{n}"),
            address: format!("10.0.0.{n}"),
            name: service.to_owned(),
            id,
            port: 8080,
            checks: vec![check],
            ..Instance::default()
        };
        self.consul.write(|catalog| catalog.put_instance(&instance)).unwrap();
    }

    fn check(&self, service: &str, n: u8, status: CheckStatus) {
        let change = |id: &str| self.consul.write(|catalog| catalog.set_check(&format!("vm-{n}"), id, status, ""));
        change(&format!("check-{service}-{n}")).unwrap();
    }

    /// All Events, in the order in which they were told.
    fn told(&self) -> Vec<String> {
        let events = self.kube.read(|cluster| cluster.list(Resource::Events, None, &Selector::default()));
        let line = |event: &Value| {
            let at = |pointer| text_at(event, pointer).to_owned();
            let (kind, name) = (at("/regarding/kind"), at("/regarding/name"));
            format!("{kind} {name} {} {}: {}", at("/type"), at("/reason"), at("/note"))
        };
        let version = |event: &Value| text_at(event, "/metadata/resourceVersion").parse::<u64>().unwrap();
        let sorted: BTreeMap<u64, String> = events.iter().map(|event| (version(event), line(event))).collect();
        sorted.into_values().collect()
    }

    fn condition(&self, service: &str) -> String {
        let object =
            self.kube.read(|cluster| cluster.get(Resource::Services, &ObjectKey::new("shop", service))).unwrap();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let line =
            |it: &Value| format!("{} {}: {}", text_at(it, "/status"), text_at(it, "/reason"), text_at(it, "/message"));
        conditions.iter().map(line).collect()
    }

    /// How often Services were written since this version of the cluster.
    fn service_writes(&self, since: u64) -> usize {
        self.kube.read(|cluster| cluster.changes_since(Resource::Services, since)).unwrap().len()
    }

    fn version(&self) -> u64 {
        self.kube.read(|cluster| cluster.version())
    }

    /// Everything that is stored but the Lease.
    fn snapshot(&self) -> Vec<Value> {
        let kinds = [Resource::Services, Resource::EndpointSlices, Resource::Events];
        let all = |kind| self.kube.read(|cluster| cluster.list(kind, None, &Selector::default()));
        kinds.into_iter().flat_map(all).map(|object| (*object).clone()).collect()
    }
}

fn lease() -> ObjectKey {
    ObjectKey::new("default", "consul8s")
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

const SEE: &str = "see them: kubectl -n shop get endpointslices -l kubernetes.io/service-name=web";

#[tokio::test(start_paused = true)]
async fn it_tells_what_it_did_and_found_and_then_nothing_for_an_hour() {
    let play = Play::new();
    play.service("web", "consul", &json!({}));
    play.service("db", "kubernetes", &json!({"domainName": "db.example.com"}));
    play.service("bad", "kubernetes", &json!({"consul8s/service.weight": "heavy"}));
    play.instance("web", 1, CheckStatus::Passing);
    play.instance("web", 2, CheckStatus::Passing);
    play.instance("web", 3, CheckStatus::Critical);
    let program = play.start();
    seconds(5).await;
    let mut told = play.told();
    told.sort();
    assert_eq!(
        told,
        [
            "Service bad Warning InvalidAnnotation: annotation consul8s/service.weight: \"heavy\" is not a weight between 1 and 65535; the \
             last valid settings stay in force until it is corrected or removed",
            "Service db Normal Registered: 1 of 1 registered as db: shop.db@consul8s-me",
            "Service web Normal EndpointsUpdated: 2 of 3 published; 1 left out: critical",
        ]
    );
    let well = format!("True EndpointsUpdated: 2 of 3 published; 1 left out: critical; {SEE}");
    assert_eq!(play.condition("web"), well);
    assert_eq!(play.condition("db"), "True Registered: 1 of 1 registered as db");
    assert!(play.condition("bad").starts_with("False InvalidAnnotation: annotation consul8s/service.weight"));

    let before = play.snapshot();
    seconds(3600).await;
    assert_eq!(play.snapshot(), before, "an idle hour writes nothing but the Lease");
    program.end().await;
    // Also not after a restart, and not after a crash.
    for crash in [true, false] {
        let program = play.start();
        seconds(60).await;
        assert_eq!(play.snapshot(), before);
        if crash { drop(program) } else { program.end().await }
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_flaps_is_told_of_a_few_times() {
    let play = Play::new();
    play.service("web", "consul", &json!({}));
    play.instance("web", 1, CheckStatus::Passing);
    let _program = play.start();
    seconds(60).await;
    let (events, version) = (play.told().len(), play.version());
    for _ in 0..100 {
        for status in [CheckStatus::Critical, CheckStatus::Passing] {
            play.check("web", 1, status);
            sleep(Duration::from_millis(100)).await;
        }
    }
    let (told, written) = (play.told()[events..].to_vec(), play.service_writes(version));
    assert!(told.len() <= 3 && (1..=5).contains(&written), "{written} writes of the condition, {told:#?}");
    seconds(120).await;
    assert_eq!(
        play.condition("web"),
        format!("True EndpointsUpdated: 1 of 1 published; {SEE}"),
        "and the end is right"
    );
    assert!(play.told().len() <= events + 5, "{:#?}", play.told());
}

#[tokio::test(start_paused = true)]
async fn that_consul_is_away_is_one_event_of_the_lease() {
    let play = Play::new();
    for name in ["web", "api", "db"] {
        play.service(name, "consul", &json!({}));
        play.instance(name, 1, CheckStatus::Passing);
    }
    let _program = play.start();
    seconds(60).await;
    let (events, version) = (play.told().len(), play.version());
    for down in [5, 100] {
        play.consul.set_faults(|faults| faults.unreachable = true);
        seconds(down).await;
        play.consul.set_faults(|faults| faults.unreachable = false);
        seconds(100).await;
    }
    let told = play.told()[events..].to_vec();
    let [one] = told.as_slice() else { panic!("{told:#?}") };
    assert!(one.starts_with("Lease consul8s Warning ConsulUnavailable: Consul does not answer as it should"), "{one}");
    assert_eq!(play.service_writes(version), 0, "no condition was touched");
}

#[tokio::test(start_paused = true)]
async fn that_a_token_may_see_nothing_is_told_of_the_lease_and_stands_in_every_condition() {
    let play = Play::new();
    for name in ["web", "api"] {
        play.service(name, "consul", &json!({}));
        play.instance(name, 1, CheckStatus::Passing);
    }
    let _program = play.start();
    seconds(60).await;
    let events = play.told().len();
    play.consul.set_faults(|faults| {
        let services = ["web".to_owned(), "api".to_owned()].into();
        faults.hidden = Some(consul8s_sim::Hidden { services, ..consul8s_sim::Hidden::default() });
    });
    // Hiding wakes nobody; something else does.
    play.instance("web", 9, CheckStatus::Passing);
    play.instance("api", 9, CheckStatus::Passing);
    seconds(30).await;
    let told = play.told()[events..].to_vec();
    let denied: Vec<&String> = told.iter().filter(|line| line.contains("ConsulPermissionDenied")).collect();
    assert!(denied.len() == 1 && denied[0].starts_with("Lease consul8s"), "{told:#?}");
    assert!(play.condition("web").contains("ConsulPermissionDenied"), "{}", play.condition("web"));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_asks_for_nothing_any_more_loses_the_condition() {
    let play = Play::new();
    play.service("web", "consul", &json!({}));
    play.service("db", "kubernetes", &json!({"domainName": "db.example.com"}));
    play.instance("web", 1, CheckStatus::Passing);
    let _program = play.start();
    seconds(60).await;
    for name in ["web", "db"] {
        let key = ObjectKey::new("shop", name);
        play.kube.write(|cluster| cluster.label_service(&key, "consul8s_source", Some("none"))).unwrap();
    }
    seconds(5).await;
    assert_eq!((play.condition("web").as_str(), play.condition("db").as_str()), ("", ""));
    let told = play.told().join("\n");
    assert!(told.contains("slice of ours was taken away: consul8s_source: none"), "{told}");
    assert!(told.contains("1 registration removed from Consul: consul8s_source: none"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn the_one_that_stands_by_tells_nothing_and_what_was_told_is_not_told_again() {
    let play = Play::new();
    play.service("web", "consul", &json!({"consul8s/service.colour": "red"}));
    let one = play.start_as("one", play.kube.clone());
    seconds(1).await;
    let two = play.start_as("two", play.kube.clone());
    seconds(60).await;
    let before = play.snapshot();
    assert_eq!(play.told().len(), 2, "{:#?}", play.told());
    one.end().await;
    seconds(60).await;
    assert_eq!(play.snapshot(), before);
    play.instance("web", 1, CheckStatus::Passing);
    seconds(5).await;
    assert!(play.condition("web").contains("1 of 1 published"), "the second tells now: {}", play.condition("web"));
    two.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_told_on_the_way_out() {
    let play = Play::new();
    play.service("web", "consul", &json!({}));
    play.instance("web", 1, CheckStatus::Passing);
    let program = play.start();
    sleep(Duration::from_millis(300)).await;
    assert!(play.told().is_empty(), "it settles");
    program.end().await;
    assert_eq!(play.told(), ["Service web Normal EndpointsUpdated: 1 of 1 published"]);
    assert_eq!(play.condition("web"), format!("True EndpointsUpdated: 1 of 1 published; {SEE}"));
}

/// What a new leader has done may be known before it is known that it leads.
#[tokio::test(start_paused = true)]
async fn what_is_done_with_the_gain_of_a_claim_is_told() {
    for _ in 0..20 {
        let play = Play::new();
        let (program, mailbox, leadership) = play.start_with("one", play.kube.clone());
        let told = tokio::spawn(async move {
            leadership.wait(Duration::from_secs(5)).await.unwrap();
            let done = BTreeMap::from([(Reason::Registered, "1 of 1 registered".to_owned())]);
            let service = Some(Subject { uid: "u".to_owned(), ..Subject::default() });
            mailbox.leave(&About::Service(ObjectKey::new("shop", "db")), Look { done, service, ..Look::default() });
        });
        seconds(5).await;
        told.await.unwrap();
        assert_eq!(play.told(), ["Service db Normal Registered: 1 of 1 registered"]);
        drop(program);
    }
}

/// The answer to a write may get lost, and what it did be seen by the watch alone.
#[tokio::test(start_paused = true)]
async fn what_was_done_without_an_answer_is_told() {
    let play = Play::new();
    play.service("web", "consul", &json!({}));
    play.instance("web", 1, CheckStatus::Passing);
    let _program = play.start();
    // Between two renewals of the Lease, so that it is the slice's answer that gets lost.
    sleep(Duration::from_millis(60_500)).await;
    play.kube.set_faults(|faults| faults.lose_replies = 1);
    play.instance("web", 2, CheckStatus::Passing);
    seconds(60).await;
    let told = play.told();
    assert_eq!(told.last().unwrap(), "Service web Normal EndpointsUpdated: 2 of 2 published", "{told:#?}");
}

/// A teller whose calls all fail.
#[derive(Clone)]
struct Refuses {
    kind: ErrorKind,
    events: Arc<AtomicUsize>,
    conditions: Arc<AtomicUsize>,
}

impl Refuses {
    fn with(kind: ErrorKind) -> Refuses {
        Refuses { kind, events: Arc::default(), conditions: Arc::default() }
    }

    fn calls(&self) -> (usize, usize) {
        (self.events.swap(0, Ordering::SeqCst), self.conditions.swap(0, Ordering::SeqCst))
    }
}

impl KubeTeller for Refuses {
    async fn event(&self, _: &EventSpec, _: &ObjectRef) -> Result<(), ApiError> {
        self.events.fetch_add(1, Ordering::SeqCst);
        Err(ApiError::new(self.kind, "no"))
    }

    async fn set_condition(&self, _: &ObjectKey, _: &str, _: Option<&Condition>) -> Result<KubeService, ApiError> {
        self.conditions.fetch_add(1, Ordering::SeqCst);
        Err(ApiError::new(self.kind, "no"))
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_is_tried_a_few_times_and_stops_nothing() {
    for (kind, at_once, in_ten_minutes) in [
        (ErrorKind::Unreachable, (6, 6), 60),
        // A permission that is missing for one is missing for all of the namespace.
        (ErrorKind::Forbidden, (1, 1), 8),
        (ErrorKind::Conflict, (2, 2), 20),
    ] {
        let play = Play::new();
        for name in ["web", "api"] {
            play.service(name, "consul", &json!({}));
            play.instance(name, 1, CheckStatus::Passing);
        }
        let refuses = Refuses::with(kind);
        let _program = play.start_as("one", refuses.clone());
        seconds(20).await;
        let slices = play.kube.read(|cluster| cluster.list(Resource::EndpointSlices, None, &Selector::default()));
        assert_eq!(slices.len(), 2);
        let first = refuses.calls();
        assert!(first.0 <= at_once.0 && first.1 <= at_once.1 && first.0 > 0, "{kind:?}: {first:?}");
        seconds(600).await;
        let (events, conditions) = refuses.calls();
        assert_eq!(events, 0, "{kind:?}: an Event that was lost is lost");
        assert!((1..=in_ten_minutes).contains(&conditions), "{kind:?}: {conditions} conditions");
    }
}

/// A teller that notes when it was called.
#[derive(Clone)]
struct Notes {
    kube: KubeWorld,
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl Notes {
    fn called(&self) {
        self.calls.lock().unwrap().push(Instant::now());
    }
}

impl KubeTeller for Notes {
    async fn event(&self, event: &EventSpec, regarding: &ObjectRef) -> Result<(), ApiError> {
        self.called();
        self.kube.event(event, regarding).await
    }

    async fn set_condition(
        &self,
        key: &ObjectKey,
        uid: &str,
        condition: Option<&Condition>,
    ) -> Result<KubeService, ApiError> {
        self.called();
        self.kube.set_condition(key, uid, condition).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_with_many_services_is_no_storm() {
    const SERVICES: usize = 500;
    let play = Play::new();
    for n in 0..SERVICES {
        let name = format!("s{n}");
        play.service(&name, "consul", &json!({}));
        play.instance(&name, 1, CheckStatus::Passing);
    }
    let notes = Notes { kube: play.kube.clone(), calls: Arc::default() };
    let start = Instant::now();
    let _program = play.start_as("one", notes.clone());
    seconds(60).await;
    let calls = notes.calls.lock().unwrap().clone();
    assert_eq!(calls.len(), 2 * SERVICES, "an Event and a condition of each");
    let mut by_second: BTreeMap<u64, usize> = BTreeMap::new();
    calls.iter().for_each(|call| *by_second.entry((*call - start).as_secs()).or_default() += 1);
    assert!(by_second.values().all(|n| *n <= 200) && by_second.len() < 15, "{by_second:?}");
}
