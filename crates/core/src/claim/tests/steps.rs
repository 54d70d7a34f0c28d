//! The elector, step by step.

use std::time::Duration;

use crate::claim::{CALL_WITHIN, Claim, Elector, Lease, Step, Term, Timing};
use crate::ports::{ApiError, ErrorKind};
use crate::time::BootTime;

const NO_JITTER: f64 = 0.0;

fn at(seconds: f64) -> BootTime {
    BootTime(Duration::from_secs(1000) + Duration::from_secs_f64(seconds))
}

/// A Lease as `holder` last renewed it.
fn lease(holder: &str, transitions: u64, renewed: &str) -> Lease {
    Lease {
        uid: "u".into(),
        resource_version: format!("rv-{renewed}"),
        holder: holder.into(),
        duration: Duration::from_secs(15),
        transitions,
        renewed: renewed.into(),
        ..Lease::default()
    }
}

fn term(transitions: u64, begins: bool) -> Term {
    Term { holder: "me".into(), duration: Duration::from_secs(15), transitions, begins }
}

fn error(kind: ErrorKind) -> ApiError {
    ApiError::new(kind, "because")
}

fn new() -> Elector {
    Elector::new("me", Timing::default())
}

/// One that reads this at 0 s.
fn having_read(found: Option<Lease>) -> Elector {
    let mut me = new();
    assert_eq!(me.step(at(0.0)), Step::Read);
    me.was_read(Ok(found), at(0.0), NO_JITTER);
    me
}

/// One that leads since 0 s, in epoch 0.
fn leading() -> Elector {
    let mut me = having_read(None);
    let step = me.step(at(0.0));
    me.was_written(&step, Ok(lease("me", 0, "0")), at(0.0), at(0.1), NO_JITTER);
    assert!(me.claim(at(0.1)).is_some());
    me
}

#[test]
fn without_a_lease_or_with_one_given_back_it_leads_at_once() {
    let mut me = having_read(None);
    assert_eq!(me.step(at(0.0)), Step::Create(term(0, true)));
    let mut me = having_read(Some(lease("", 4, "x")));
    let step = me.step(at(0.0));
    assert_eq!(step, Step::Replace(term(5, true)));
    me.was_written(&step, Ok(lease("me", 5, "0")), at(0.0), at(0.3), NO_JITTER);
    let claim = Claim { holder: "me".into(), epoch: 5, deadline: Some(at(10.0)) };
    assert_eq!(me.claim(at(0.3)), Some(&claim), "counted from the start of the write");
    assert_eq!(claim.left(at(9.0)), Some(Duration::from_secs(1)));
    assert_eq!((claim.left(at(10.0)), claim.left(at(11.0))), (None, None));
    assert_eq!(me.step(at(0.3)), Step::Wait(at(2.0)), "renewed every 2 s");
    assert_eq!(me.step(at(2.0)), Step::Replace(term(5, false)));
}

#[test]
fn another_s_lease_is_taken_when_it_stood_unchanged_for_a_whole_duration() {
    let mut me = having_read(Some(lease("other", 7, "1")));
    assert_eq!(me.other(), Some("other"));
    assert_eq!(me.step(at(0.0)), Step::Wait(at(1.0)), "it looks every second");
    // Renewed once more, which is seen at 1 s; its own times say nothing.
    assert_eq!(me.step(at(1.0)), Step::Read);
    me.was_read(Ok(Some(lease("other", 7, "2"))), at(1.0), NO_JITTER);
    for look in 1..12 {
        let now = at(1.0 + 1.2 * f64::from(look));
        assert_eq!(me.step(now), Step::Read, "{look}");
        // An annotation that a person writes is no sign of life.
        let annotated = Lease { resource_version: format!("a{look}"), ..lease("other", 7, "2") };
        me.was_read(Ok(Some(annotated)), now, 1.0);
    }
    me.was_read(Ok(Some(lease("other", 7, "2"))), at(15.5), 1.0);
    assert_eq!(me.step(at(15.9)), Step::Wait(at(16.0)), "not a jitter later");
    assert_eq!(me.step(at(16.0)), Step::Replace(term(8, true)), "what it saw last is what it replaces");
}

#[test]
fn who_relies_on_a_longer_duration_gets_it() {
    let mut me = having_read(Some(Lease { duration: Duration::from_secs(40), ..lease("other", 0, "1") }));
    assert_eq!(me.step(at(39.9)), Step::Read);
    assert_eq!(me.step(at(40.0)), Step::Replace(term(1, true)));
    let mut me = having_read(Some(Lease { duration: Duration::from_secs(1), ..lease("other", 0, "1") }));
    assert_eq!(me.step(at(14.9)), Step::Read, "and who says less than we would rely on, no less");
    assert!(matches!(me.step(at(15.0)), Step::Replace(_)));
}

#[test]
fn a_holder_that_cannot_renew_stops_at_its_deadline_and_may_come_back() {
    let mut me = leading();
    let mut now = at(2.0);
    let mut attempts = 0;
    while me.claim(now).is_some() {
        match me.step(now) {
            Step::Wait(until) => now = until,
            step => {
                attempts += 1;
                let ended = now.after(CALL_WITHIN);
                assert_eq!(me.claim(at(9.999)).is_some(), now < at(10.0));
                assert_eq!(me.claim(at(10.0)), None, "not a moment later, also while a call is under way");
                me.was_written(&step, Err(&error(ErrorKind::Timeout)), now, ended, 1.0);
                now = ended;
            }
        }
    }
    assert_eq!(attempts, 3);
    // Nobody else took it: the same term goes on, from the start of the write that got through.
    let step = me.step(at(30.0));
    assert_eq!(step, Step::Replace(term(0, false)));
    me.was_written(&step, Ok(lease("me", 0, "9")), at(30.0), at(31.0), NO_JITTER);
    assert_eq!(me.claim(at(31.0)).and_then(|claim| claim.deadline), Some(at(40.0)));
}

#[test]
fn a_renewal_that_was_answered_too_late_is_no_claim() {
    let mut me = leading();
    let step = me.step(at(2.0));
    me.was_written(&step, Ok(lease("me", 0, "1")), at(2.0), at(60.0), NO_JITTER);
    assert_eq!(me.claim(at(60.0)), None, "the process was stopped in between");
}

#[test]
fn after_a_conflict_it_reads_and_then_knows_better() {
    // Somebody has annotated the Lease: still ours.
    let mut me = leading();
    let step = me.step(at(2.0));
    me.was_written(&step, Err(&error(ErrorKind::Conflict)), at(2.0), at(2.1), NO_JITTER);
    assert_eq!(me.step(at(2.1)), Step::Read, "at once");
    me.was_read(Ok(Some(lease("me", 0, "1"))), at(2.2), NO_JITTER);
    assert!(me.claim(at(2.2)).is_some());
    let step = me.step(at(2.2));
    assert_eq!(step, Step::Replace(term(0, false)));
    // Once more: somebody writes to it all the time.
    me.was_written(&step, Err(&error(ErrorKind::Conflict)), at(2.2), at(2.3), NO_JITTER);
    assert_eq!(me.step(at(2.3)), Step::Wait(at(2.4)));
    // Somebody has taken it: over at once, whatever the deadline.
    me.was_read(Ok(Some(lease("other", 1, "2"))), at(2.5), NO_JITTER);
    assert_eq!(me.claim(at(2.5)), None);
    assert!(matches!(me.step(at(2.5)), Step::Wait(_)));
}

#[test]
fn a_lost_answer_is_found_to_have_been_ours() {
    let mut me = having_read(Some(lease("", 1, "x")));
    let step = me.step(at(0.0));
    me.was_written(&step, Err(&error(ErrorKind::Timeout)), at(0.0), at(2.0), NO_JITTER);
    assert_eq!(me.claim(at(2.0)), None);
    assert_eq!(me.step(at(3.0)), Step::Replace(term(2, true)));
    me.was_written(&step, Err(&error(ErrorKind::Conflict)), at(3.0), at(3.1), NO_JITTER);
    me.was_read(Ok(Some(lease("me", 2, "0"))), at(3.2), NO_JITTER);
    assert_eq!(me.step(at(3.2)), Step::Replace(term(2, false)), "no further term");
}

#[test]
fn a_deleted_lease_is_made_again_by_its_holder_and_waited_out_by_others() {
    let mut me = leading();
    let step = me.step(at(2.0));
    me.was_written(&step, Err(&error(ErrorKind::NotFound)), at(2.0), at(2.1), NO_JITTER);
    assert!(me.claim(at(2.1)).is_some());
    assert_eq!(me.step(at(2.1)), Step::Create(term(0, true)));

    let mut me = having_read(Some(lease("other", 3, "1")));
    me.was_read(Ok(None), at(1.0), NO_JITTER);
    assert_eq!(me.step(at(14.9)), Step::Read, "who held it may not know yet");
    assert_eq!(me.step(at(15.0)), Step::Create(term(4, true)));
    // Its namespace is gone.
    let step = me.step(at(15.0));
    me.was_written(&step, Err(&error(ErrorKind::NotFound)), at(15.0), at(15.0), NO_JITTER);
    assert_eq!(me.step(at(15.0)), Step::Wait(at(16.0)));
}

#[test]
fn failures_are_retried_with_growing_pauses_and_as_the_server_wishes() {
    let mut me = new();
    let mut now = at(0.0);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        assert_eq!(me.step(now), Step::Read);
        me.was_read(Err(&error(ErrorKind::Forbidden)), now, NO_JITTER);
        let Step::Wait(until) = me.step(now) else { panic!("no pause") };
        pauses.push(until.since(now).as_secs());
        now = until;
    }
    assert_eq!(pauses, [1, 2, 4, 5, 5, 5]);
    let wish = |seconds| ApiError { retry_after: Some(Duration::from_secs(seconds)), ..error(ErrorKind::Throttled) };
    me.was_read(Err(&wish(20)), now, NO_JITTER);
    assert_eq!(me.step(now), Step::Wait(now.after(Duration::from_secs(20))));
    let mut me = leading();
    let step = me.step(at(2.0));
    me.was_written(&step, Err(&wish(20)), at(2.0), at(2.0), NO_JITTER);
    assert_eq!(me.step(at(2.0)), Step::Wait(at(4.0)), "a holder that stays away loses it");
}

#[test]
fn it_is_given_back_only_while_it_is_ours() {
    let mut me = leading();
    let given_back = Term { holder: String::new(), duration: Duration::from_secs(1), transitions: 0, begins: false };
    assert_eq!(me.release(), Some(given_back));
    assert_eq!(me.claim(at(0.2)), None, "before it is written");
    assert_eq!(having_read(Some(lease("other", 0, "1"))).release(), None);
    assert_eq!(having_read(None).release(), None);
    assert_eq!(new().release(), None);
}

#[test]
fn the_times_leave_room_for_each_other() {
    let Timing { lease, renew_deadline, retry, look } = Timing::default();
    assert!(lease > renew_deadline && renew_deadline.mul_f64(1.5) <= lease);
    assert!(renew_deadline > retry.mul_f64(1.2) + CALL_WITHIN * 2 && retry >= look);
}
