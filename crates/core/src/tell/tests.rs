//! One Service's story in each test: what is found, second by second, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use expect_test::{Expect, expect};

use crate::kube::{Condition, ConditionStatus};
use crate::problem::{Problem, Reason};
use crate::time::UnixMillis;

use super::{Course, Look, Memory, Subject};

const START: UnixMillis = UnixMillis(1_795_485_340_000);
const ALL_WELL: &str = "3 of 3 published";

/// A Service, who tells of it, and what was told.
struct Story {
    memory: Memory,
    shared: BTreeSet<Reason>,
    service: Subject,
    now: UnixMillis,
    again: Option<UnixMillis>,
    out: String,
}

impl Story {
    fn new() -> Story {
        Story::of(None)
    }

    /// Of a Service that bears a condition already, as after a restart.
    fn of(condition: Option<Condition>) -> Story {
        let service = Subject { uid: "u1".into(), version: "1".into(), condition };
        let (memory, shared) = (Memory::default(), BTreeSet::new());
        Story { memory, shared, service, now: START, again: None, out: String::new() }
    }

    fn look(&mut self, course: Course, counts: &str, problems: &[(Reason, &str)], done: &[(Reason, &str)]) {
        let problems = problems.iter().map(|(reason, message)| Problem::new(*reason, message)).collect();
        let done: BTreeMap<Reason, String> =
            done.iter().map(|(reason, message)| (*reason, (*message).to_owned())).collect();
        let service = Some(self.service.clone());
        self.take_in(Look { service, course, problems, counts: counts.to_owned(), done, ..Look::default() });
    }

    fn take_in(&mut self, look: Look) {
        self.memory.take_in(look, self.now);
        self.tell(false);
    }

    fn settled(&mut self, counts: &str, problems: &[(Reason, &str)]) {
        self.look(Course::Settled(Reason::EndpointsUpdated), counts, problems, &[]);
    }

    fn published(&mut self, counts: &str, problems: &[(Reason, &str)]) {
        self.look(Course::Settled(Reason::EndpointsUpdated), counts, problems, &[(Reason::EndpointsUpdated, counts)]);
    }

    fn tell(&mut self, pressing: bool) {
        let telling = self.memory.tell(&self.shared, self.now, pressing);
        let at = self.now.since(START).as_secs_f64();
        for event in telling.events {
            let _ = writeln!(self.out, "{at} {:?} {}: {}", event.reason.kind(), event.reason, event.message);
        }
        self.again = telling.again;
        if let Some(change) = telling.condition {
            let version = self.service.version.parse::<u32>().unwrap() + 1;
            self.service.version = version.to_string();
            self.service.condition.clone_from(&change.condition);
            let _ = match &change.condition {
                None => writeln!(self.out, "{at} no condition"),
                Some(Condition { status, reason, message, since }) => {
                    let since = since.since(START).as_secs();
                    writeln!(self.out, "{at} {} {reason} since {since}: {message}", status.as_str())
                }
            };
            self.memory.wrote(&self.service.version, change.condition);
            self.tell(pressing);
        }
    }

    /// Time passes; what is due is told.
    fn wait(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(at) = self.again.filter(|at| *at <= end) {
            assert!(at > self.now, "it is asked to tell again at once, for ever");
            self.now = at;
            self.tell(false);
        }
        self.now = end;
    }

    fn seconds(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    #[allow(clippy::needless_pass_by_value)]
    fn told(self, expected: Expect) {
        expected.assert_eq(&self.out);
    }
}

fn condition(reason: &str, message: &str) -> Option<Condition> {
    let (reason, message) = (reason.to_owned(), message.to_owned());
    Some(Condition { status: ConditionStatus::True, reason, message, since: START })
}

#[test]
fn a_new_service_fills_up() {
    let mut story = Story::new();
    story.look(Course::Waiting(None), "", &[], &[]);
    story.published("1 of 1 published", &[]);
    story.wait(Duration::from_millis(200));
    story.published("2 of 2 published", &[]);
    story.wait(Duration::from_millis(200));
    story.published(ALL_WELL, &[]);
    story.seconds(600);
    story.told(expect![[r#"
        1 Normal EndpointsUpdated: 3 of 3 published
        1 True EndpointsUpdated since 1: 3 of 3 published
    "#]]);
}

#[test]
fn what_stays_the_same_is_told_once() {
    let mut story = Story::new();
    for _ in 0..100 {
        story.settled("2 of 3 published; 1 left out: critical", &[(Reason::LocalTrafficPolicy, "drops all traffic")]);
        story.seconds(36);
    }
    story.told(expect![[r#"
        1 Warning LocalTrafficPolicy: drops all traffic
        1 True LocalTrafficPolicy since 1: drops all traffic; 2 of 3 published; 1 left out: critical
    "#]]);
}

#[test]
fn a_restart_tells_nothing_again() {
    let message = "drops all traffic; 3 of 3 published; also: UnmappedPorts, UnknownAnnotation";
    let mut story = Story::of(condition("LocalTrafficPolicy", message));
    let problems = [
        (Reason::LocalTrafficPolicy, "drops all traffic"),
        (Reason::UnknownAnnotation, "no such key"),
        (Reason::UnmappedPorts, "which port?"),
    ];
    story.look(Course::Waiting(None), "", &[], &[]);
    story.seconds(100);
    story.settled(ALL_WELL, &problems);
    story.seconds(3600);
    story.told(expect![[""]]);
}

#[test]
fn a_problem_comes_goes_and_comes_back() {
    let none = [(Reason::NoHealthyInstances, "no healthy instance")];
    let mut story = Story::new();
    story.settled(ALL_WELL, &[]);
    story.seconds(60);
    for gone_for in [10, 100] {
        story.published("0 of 3 published; 3 left out: critical", &none);
        story.seconds(60);
        story.published(ALL_WELL, &[]);
        story.seconds(gone_for);
    }
    story.published("0 of 3 published; 3 left out: critical", &none);
    story.seconds(60);
    // Another text is no other problem.
    story.settled("0 of 4 published; 4 left out: critical", &[(Reason::NoHealthyInstances, "none of 4 is healthy")]);
    story.seconds(60);
    story.told(expect![[r#"
        1 True EndpointsUpdated since 1: 3 of 3 published
        61 Warning NoHealthyInstances: no healthy instance
        61 Normal EndpointsUpdated: 0 of 3 published; 3 left out: critical
        61 True NoHealthyInstances since 1: no healthy instance; 0 of 3 published; 3 left out: critical
        121 Normal EndpointsUpdated: 3 of 3 published
        121 True EndpointsUpdated since 1: 3 of 3 published
        131 True NoHealthyInstances since 1: no healthy instance; 0 of 3 published; 3 left out: critical
        151 Normal EndpointsUpdated: 0 of 3 published; 3 left out: critical
        191 Normal EndpointsUpdated: 3 of 3 published
        191 True EndpointsUpdated since 1: 3 of 3 published
        291 Warning NoHealthyInstances: no healthy instance
        291 True NoHealthyInstances since 1: no healthy instance; 0 of 3 published; 3 left out: critical
        301 Normal EndpointsUpdated: 0 of 3 published; 3 left out: critical
        351 True NoHealthyInstances since 1: none of 4 is healthy; 0 of 4 published; 4 left out: critical
    "#]]);
}

#[test]
fn ten_flips_a_second_are_few_words() {
    let mut story = Story::new();
    story.settled("1 of 1 published", &[]);
    story.seconds(60);
    for flip in 0..200 {
        let none = [(Reason::NoHealthyInstances, "no healthy instance")];
        match flip % 2 {
            0 => story.published("0 of 1 published; 1 left out: critical", &none),
            _ => story.published("1 of 1 published", &[]),
        }
        story.wait(Duration::from_millis(100));
    }
    story.seconds(600);
    story.told(expect![[r#"
        1 True EndpointsUpdated since 1: 1 of 1 published
        61 Normal EndpointsUpdated: 1 of 1 published
        62 Warning NoHealthyInstances: no healthy instance
        62 True NoHealthyInstances since 1: no healthy instance; 0 of 1 published; 1 left out: critical
        63 True EndpointsUpdated since 1: 1 of 1 published
        64 True NoHealthyInstances since 1: no healthy instance; 0 of 1 published; 1 left out: critical
        65 True EndpointsUpdated since 1: 1 of 1 published
        66 True NoHealthyInstances since 1: no healthy instance; 0 of 1 published; 1 left out: critical
        82 True EndpointsUpdated since 1: 1 of 1 published
        91 Normal EndpointsUpdated: 1 of 1 published
    "#]]);
}

#[test]
fn many_problems_are_told_one_after_the_other() {
    let reasons = [
        Reason::UnmappedPorts,
        Reason::ForeignEndpoints,
        Reason::LocalTrafficPolicy,
        Reason::UnknownAnnotation,
        Reason::AddressRejected,
        Reason::NoHealthyInstances,
        Reason::PanicActive,
    ];
    let mut story = Story::new();
    story.settled("", &reasons.map(|reason| (reason, "…")));
    story.seconds(600);
    story.told(expect![[r#"
        1 Warning NoHealthyInstances: …
        1 Warning PanicActive: …
        1 Warning LocalTrafficPolicy: …
        1 Warning ForeignEndpoints: …
        1 Warning AddressRejected: …
        1 True NoHealthyInstances since 1: …; also: PanicActive, LocalTrafficPolicy, ForeignEndpoints, AddressRejected, UnmappedPorts, UnknownAnnotation
        61 Warning UnmappedPorts: …
        121 Warning UnknownAnnotation: …
    "#]]);
}

#[test]
fn counts_alone_change_the_condition_every_half_minute_at_most() {
    let mut story = Story::new();
    for n in 0..60 {
        story.settled(&format!("{n} of 100 published"), &[]);
        story.seconds(1);
    }
    story.seconds(600);
    story.told(expect![[r#"
        1 True EndpointsUpdated since 1: 0 of 100 published
        31 True EndpointsUpdated since 1: 30 of 100 published
        61 True EndpointsUpdated since 1: 59 of 100 published
    "#]]);
}

#[test]
fn what_stops_a_service_and_what_is_held_make_it_false() {
    let mut story = Story::new();
    story.settled(ALL_WELL, &[]);
    story.seconds(100);
    let bad = (Reason::InvalidAnnotation, "annotation consul8s/service.ports: \"x\" is not PORT=SOURCE");
    story.settled(ALL_WELL, &[bad, (Reason::UnmappedPorts, "which port?")]);
    story.seconds(100);
    let held = (Reason::RemovalHeld, "holding 1 of 3 endpoints (h-3f9a2c, 60s)");
    story.look(Course::Underway, "2 of 2 published; 1 more kept that Consul no longer shows", &[bad, held], &[]);
    story.seconds(100);
    story.look(Course::Suspended, "", &[], &[]);
    story.seconds(100);
    story.look(
        Course::Settled(Reason::EndpointsUpdated),
        ALL_WELL,
        &[],
        &[(Reason::RemovalReleased, "1 endpoint let go (h-3f9a2c)")],
    );
    story.seconds(100);
    story.told(expect![[r#"
        1 True EndpointsUpdated since 1: 3 of 3 published
        101 Warning InvalidAnnotation: annotation consul8s/service.ports: "x" is not PORT=SOURCE
        101 Warning UnmappedPorts: which port?
        101 False InvalidAnnotation since 101: annotation consul8s/service.ports: "x" is not PORT=SOURCE; 3 of 3 published; also: UnmappedPorts
        201 Warning RemovalHeld: holding 1 of 3 endpoints (h-3f9a2c, 60s)
        201 False RemovalHeld since 101: holding 1 of 3 endpoints (h-3f9a2c, 60s); 2 of 2 published; 1 more kept that Consul no longer shows; also: InvalidAnnotation
        301 Normal Suspended: nothing is done about this Service while the annotation consul8s/suspend is true; what stands stays
        301 Unknown Suspended since 301: nothing is done about this Service while the annotation consul8s/suspend is true; what stands stays
        401 Normal RemovalReleased: 1 endpoint let go (h-3f9a2c)
        401 True EndpointsUpdated since 401: 3 of 3 published
    "#]]);
}

#[test]
fn a_service_that_is_no_longer_ours_loses_its_condition_once() {
    let mut story = Story::of(condition("EndpointsUpdated", ALL_WELL));
    story.look(Course::NotOurs, "", &[], &[]);
    story.seconds(10);
    // Somebody else puts it back: two programs that both insist would write for ever.
    story.service.version = "9".to_owned();
    story.service.condition = condition("Registered", "by another installation");
    story.look(Course::NotOurs, "", &[], &[]);
    story.seconds(100);
    assert!(!story.memory.is_over());
    // It asks for something again.
    story.settled(ALL_WELL, &[]);
    story.seconds(100);
    story.look(Course::NotOurs, "", &[], &[]);
    story.seconds(100);
    story.told(expect![[r#"
        1 no condition
        111 True EndpointsUpdated since 0: 3 of 3 published
        211 no condition
    "#]]);
}

#[test]
fn what_belongs_to_another_installation_is_left_to_it() {
    let mut story = Story::of(condition("EndpointsUpdated", "by the other installation"));
    story.look(Course::Leave, "", &[(Reason::OwnershipConflict, "the installation with owner id b fills it")], &[]);
    story.seconds(100);
    story.told(expect![[r#"
        1 Warning OwnershipConflict: the installation with owner id b fills it
    "#]]);
}

#[test]
fn what_concerns_all_services_is_no_event_of_each() {
    let mut story = Story::new();
    story.shared.insert(Reason::ConsulPermissionDenied);
    let denied = (Reason::ConsulPermissionDenied, "Consul hides results from our token");
    story.settled("0 of 0 published", &[denied]);
    story.seconds(100);
    // Others see again, this one does not yet.
    story.shared.clear();
    story.settled("0 of 0 published", &[denied]);
    story.seconds(100);
    let common = vec![Problem::new(Reason::OwnershipConflict, "Consul node x belongs to owner b")];
    let service = Some(story.service.clone());
    story.take_in(Look { service, common, course: Course::Settled(Reason::Registered), ..Look::default() });
    story.seconds(100);
    story.told(expect![[r#"
        1 False ConsulPermissionDenied since 1: Consul hides results from our token; 0 of 0 published
        201 False OwnershipConflict since 1: Consul node x belongs to owner b
    "#]]);
}

#[test]
fn failures_and_silence_are_told_when_they_last() {
    let mut story = Story::new();
    let failing = || Course::Failing(Reason::ConsulPermissionDenied, "Consul refused to register it".to_owned());
    for _ in 0..3 {
        story.look(failing(), "", &[], &[]);
        story.seconds(2);
        story.look(Course::Settled(Reason::Registered), "1 of 1 registered as web", &[], &[]);
        story.seconds(2);
    }
    for _ in 0..10 {
        story.look(failing(), "", &[], &[]);
        story.seconds(5);
    }
    story.look(Course::Failing(Reason::EndpointsUpdated, "cannot update EndpointSlice".to_owned()), "", &[], &[]);
    story.seconds(60);
    story.told(expect![[r#"
        3 True Registered since 3: 1 of 1 registered as web
        23 Warning ConsulPermissionDenied: Consul refused to register it
        23 False ConsulPermissionDenied since 23: Consul refused to register it
        63 False EndpointsUpdated since 23: cannot update EndpointSlice
    "#]]);

    let mut story = Story::new();
    story.look(Course::Waiting(Some("no connection".to_owned())), "", &[], &[]);
    story.seconds(60);
    // One that bears a condition keeps it.
    let mut again = Story::of(condition("EndpointsUpdated", ALL_WELL));
    again.look(Course::Waiting(Some("no connection".to_owned())), "", &[], &[]);
    again.seconds(60);
    story.out += &again.out;
    story.told(expect![[r#"
        11 Unknown ConsulUnavailable since 11: no connection
    "#]]);
}

#[test]
fn another_service_under_the_same_name_is_another() {
    let none = [(Reason::NoHealthyInstances, "no healthy instance")];
    let mut story = Story::new();
    story.settled("0 of 0 published", &none);
    story.seconds(10);
    story.service = Subject { uid: "u2".into(), version: "7".into(), condition: None };
    story.settled("0 of 0 published", &none);
    story.seconds(10);
    story.take_in(Look {
        done: [(Reason::Deregistered, "1 registration removed".to_owned())].into(),
        ..Look::default()
    });
    assert_eq!(story.memory.uid(), Some("u2"));
    story.seconds(10);
    assert!(story.memory.is_over());
    story.told(expect![[r#"
        1 Warning NoHealthyInstances: no healthy instance
        1 True NoHealthyInstances since 1: no healthy instance; 0 of 0 published
        11 Warning NoHealthyInstances: no healthy instance
        11 True NoHealthyInstances since 11: no healthy instance; 0 of 0 published
        21 Normal Deregistered: 1 registration removed
    "#]]);
}

#[test]
fn at_the_end_nothing_waits() {
    let mut story = Story::new();
    story.published(ALL_WELL, &[]);
    story.tell(true);
    story.published("2 of 2 published", &[]);
    story.tell(true);
    story.told(expect![[r#"
        0 Normal EndpointsUpdated: 3 of 3 published
        0 True EndpointsUpdated since 0: 3 of 3 published
        0 Normal EndpointsUpdated: 2 of 2 published
        0 True EndpointsUpdated since 0: 2 of 2 published
    "#]]);
}

#[test]
fn a_condition_that_cannot_be_written_waits() {
    let mut story = Story::new();
    story.memory.take_in(
        Look {
            service: Some(story.service.clone()),
            course: Course::Settled(Reason::EndpointsUpdated),
            counts: ALL_WELL.to_owned(),
            ..Look::default()
        },
        story.now,
    );
    let settle = story.memory.tell(&story.shared, story.now, false).again.unwrap();
    assert!(story.memory.tell(&story.shared, settle, false).condition.is_some());
    story.memory.not_written(settle, None);
    story.again = Some(settle.after(Duration::from_millis(1)));
    story.seconds(600);
    story.told(expect![[r#"
        61 True EndpointsUpdated since 61: 3 of 3 published
    "#]]);
}

#[test]
fn each_hold_is_told_once_and_all_of_them_stand_in_the_condition() {
    const FIRST: (Reason, &str) = (Reason::RemovalHeld, "holding 1 of 3 (h-aaaaaa, 60s)");
    const SECOND: (Reason, &str) = (Reason::RemovalHeld, "holding 1 of 3 (h-bbbbbb, 10m)");
    let mut story = Story::new();
    story.settled(ALL_WELL, &[FIRST]);
    story.seconds(30);
    story.settled(ALL_WELL, &[FIRST, SECOND]);
    story.seconds(30);
    // Gone for a moment, and another one: that is news, though the reason is not.
    story.settled(ALL_WELL, &[SECOND]);
    story.seconds(5);
    story.settled(ALL_WELL, &[(Reason::RemovalHeld, "holding 2 of 3 (h-cccccc, 60s)")]);
    story.seconds(60);
    let events: Vec<&str> = story.out.lines().filter(|line| line.contains(" Warning RemovalHeld: ")).collect();
    assert_eq!(events.len(), 3, "{}", story.out);
    // A restart finds both in the condition, and tells neither again.
    let both = "holding 1 of 3 (h-aaaaaa, 60s); holding 1 of 3 (h-bbbbbb, 10m); 3 of 3 published";
    let condition =
        Condition { status: ConditionStatus::False, reason: "RemovalHeld".into(), message: both.into(), since: START };
    let mut story = Story::of(Some(condition));
    story.settled(ALL_WELL, &[FIRST, SECOND]);
    story.seconds(120);
    assert_eq!(story.out, "", "nothing is told again");
}

#[test]
fn that_a_hold_was_released_is_told_at_once() {
    const HELD: (Reason, &str) = (Reason::RemovalHeld, "holding 1 of 1 (h-aaaaaa, 60s)");
    const NONE: (Reason, &str) = (Reason::NoHealthyInstances, "Consul service web has no healthy instance");
    let mut story = Story::new();
    story.published("1 of 1 published", &[]);
    story.seconds(5);
    story.settled("1 of 1 published", &[HELD]);
    story.seconds(5);
    let done = [(Reason::EndpointsUpdated, "0 of 0 published"), (Reason::RemovalReleased, "let go 1 (h-aaaaaa)")];
    story.look(Course::Settled(Reason::EndpointsUpdated), "0 of 0 published", &[NONE], &done);
    story.seconds(2);
    assert!(story.out.contains("Normal RemovalReleased: let go 1"), "{}", story.out);
}
