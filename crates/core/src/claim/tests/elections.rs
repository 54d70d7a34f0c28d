//! Electors over one Lease, in true time, with clocks of their own: late, lost and reordered calls, pauses, crashes. Never two live claims.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use crate::claim::{CALL_WITHIN, Elector, Lease, Step, Term, Timing};
use crate::ports::{ApiError, ErrorKind};
use crate::time::BootTime;

/// True time, in milliseconds.
type True = u64;

/// Until then things go wrong; calls that are late arrive a little later still.
const TROUBLE: True = 120_000;
/// A call may be this late, long after its sender has given it up.
const LATEST: True = 10_000;
/// The call that gives the Lease back; nobody waits for its answer.
const RELEASE: u64 = 0;
/// Half a second beside the waits: what the calls of a network without trouble take.
const SLACK: True = 500;

/// Choices of the world, used up one after the other and then over again; all zero is a world without trouble.
struct Tape {
    choices: Vec<u16>,
    next: usize,
}

impl Tape {
    fn draw(&mut self, below: u64) -> u64 {
        let choice = self.choices.get(self.next % self.choices.len().max(1)).copied().unwrap_or_default();
        self.next += 1;
        // A pass over the tape after the first is another world.
        let choice = u64::from(choice) * (1 + self.next as u64 / self.choices.len().max(1) as u64 % 7);
        if below == 0 { 0 } else { choice % below }
    }
}

struct Candidate {
    elector: Elector,
    offset: u64,
    /// Of its clock, in percent of true time.
    rate: u64,
    /// Counts its calls and its lives: what belongs to an earlier one is dropped.
    call: u64,
    life: u64,
    asleep_until: True,
    dead: bool,
}

impl Candidate {
    fn own(&self, now: True) -> BootTime {
        BootTime(Duration::from_micros((self.offset + now) * 10 * self.rate))
    }

    /// True time until its clock shows `moment`.
    fn until(&self, moment: BootTime, now: True) -> True {
        let own = u64::try_from(moment.since(self.own(now)).as_micros()).unwrap_or(u64::MAX);
        own.div_ceil(10 * self.rate)
    }
}

#[derive(Clone, Debug)]
enum Event {
    Wake {
        who: usize,
        life: u64,
    },
    Arrives {
        who: usize,
        life: u64,
        call: u64,
        step: Step,
        seen: String,
        started: BootTime,
    },
    Answered {
        who: usize,
        life: u64,
        call: u64,
        step: Step,
        result: Result<Option<Lease>, ErrorKind>,
        started: BootTime,
    },
    Trouble,
}

struct Universe {
    tape: Tape,
    now: True,
    events: BTreeMap<(True, u64), Event>,
    serial: u64,
    lease: Option<Lease>,
    electors: Vec<Candidate>,
    quiet: bool,
}

impl Universe {
    fn new(choices: Vec<u16>, electors: usize, quiet: bool) -> Universe {
        let tape = Tape { choices, next: 0 };
        let (events, lease) = (BTreeMap::new(), None);
        let mut universe = Universe { tape, now: 0, events, serial: 0, lease, electors: Vec::new(), quiet };
        for who in 0..electors {
            let (offset, rate) = (universe.tape.draw(1_000_000), 85 + universe.tape.draw(31));
            let elector = Elector::new(format!("{who}/0"), Timing::default());
            let candidate = Candidate { elector, offset, rate, call: 0, life: 0, asleep_until: 0, dead: false };
            universe.electors.push(candidate);
            let first = universe.tape.draw(5000);
            universe.after(first, Event::Wake { who, life: 0 });
        }
        universe.after(0, Event::Trouble);
        universe
    }

    fn after(&mut self, wait: True, event: Event) {
        self.serial += 1;
        self.events.insert((self.now + wait, self.serial), event);
    }

    /// Plays until `end`, and watches that no two lead.
    fn play(&mut self, end: True) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((now, _), event) = entry.remove_entry();
            self.now = now;
            self.happens(event);
            let leaders = self.leaders();
            assert!(leaders.len() <= 1, "{leaders:?} lead at {now} ms: {:?}", self.lease);
        }
        self.now = end;
    }

    fn leaders(&self) -> Vec<usize> {
        let leads = |who: &usize| {
            let candidate = &self.electors[*who];
            !candidate.dead && candidate.elector.claim(candidate.own(self.now)).is_some()
        };
        (0..self.electors.len()).filter(leads).collect()
    }

    fn happens(&mut self, event: Event) {
        match &event {
            Event::Wake { who, life } | Event::Answered { who, life, .. } => {
                let candidate = &self.electors[*who];
                if candidate.dead || candidate.life != *life {
                    return;
                }
                if candidate.asleep_until > self.now {
                    let rest = candidate.asleep_until - self.now;
                    return self.after(rest, event);
                }
            }
            Event::Arrives { .. } | Event::Trouble => {}
        }
        match event {
            Event::Wake { who, .. } => self.act(who),
            Event::Arrives { who, life, call, step, seen, started } => {
                let result = self.serve(&step, &seen);
                if call == RELEASE && result == Err(ErrorKind::Conflict) {
                    return self.release_again(who, life, step, started);
                }
                let back = self.delay();
                self.after(back, Event::Answered { who, life, call, step, result, started });
            }
            Event::Answered { who, call, step, result, started, .. } => {
                if self.electors[who].call == call {
                    self.take_in(who, &step, result, started);
                    self.act(who);
                }
            }
            Event::Trouble => self.trouble(),
        }
    }

    fn act(&mut self, who: usize) {
        let now = self.now;
        let candidate = &mut self.electors[who];
        let own = candidate.own(now);
        let (step, life) = (candidate.elector.step(own), candidate.life);
        if let Step::Wait(until) = step {
            let wait = candidate.until(until, now);
            return self.after(wait, Event::Wake { who, life });
        }
        candidate.call += 1;
        let call = candidate.call;
        let seen = candidate.elector.lease().map(|lease| lease.resource_version.clone()).unwrap_or_default();
        let given_up = candidate.until(own.after(CALL_WITHIN), now);
        let timeout = Err(ErrorKind::Timeout);
        self.after(given_up, Event::Answered { who, life, call, step: step.clone(), result: timeout, started: own });
        let there = self.delay();
        self.after(there, Event::Arrives { who, life, call, step, seen, started: own });
    }

    /// Mostly as fast as a network is, now and then as slow as one can be.
    fn delay(&mut self) -> True {
        let kind = self.tape.draw(8);
        let slow = !self.quiet && self.now < TROUBLE;
        match kind {
            6 if slow => self.tape.draw(4000),
            7 if slow => self.tape.draw(LATEST),
            _ => 1 + self.tape.draw(30),
        }
    }

    fn take_in(&mut self, who: usize, step: &Step, result: Result<Option<Lease>, ErrorKind>, started: BootTime) {
        let jitter = self.tape.draw(1000) as f64 / 1000.0;
        let now = self.now;
        let candidate = &mut self.electors[who];
        // What arrives after this belongs to a call that was given up.
        candidate.call += 1;
        let own = candidate.own(now);
        let result = result.map_err(|kind| ApiError::new(kind, "because"));
        match (step, &result) {
            (Step::Read, _) => candidate.elector.was_read(result.as_ref().cloned(), own, jitter),
            (_, Ok(Some(lease))) => candidate.elector.was_written(step, Ok(lease.clone()), started, own, jitter),
            (_, Err(error)) => candidate.elector.was_written(step, Err(error), started, own, jitter),
            (_, Ok(None)) => {}
        }
    }

    /// The API server: all or nothing, one after the other.
    fn serve(&mut self, step: &Step, seen: &str) -> Result<Option<Lease>, ErrorKind> {
        self.serial += 1;
        let stamp = self.serial.to_string();
        let written = |term: &Term| Lease {
            uid: "u".into(),
            resource_version: stamp.clone(),
            holder: term.holder.clone(),
            duration: term.duration,
            transitions: term.transitions,
            renewed: stamp.clone(),
            ..Lease::default()
        };
        match (step, &self.lease) {
            (Step::Create(_), Some(_)) => return Err(ErrorKind::Conflict),
            (Step::Replace(_), None) => return Err(ErrorKind::NotFound),
            (Step::Replace(_), Some(lease)) if lease.resource_version != seen => return Err(ErrorKind::Conflict),
            (Step::Create(term) | Step::Replace(term), _) => self.lease = Some(written(term)),
            (Step::Read | Step::Wait(_), _) => {}
        }
        Ok(self.lease.clone())
    }

    fn trouble(&mut self) {
        if self.quiet || self.now >= TROUBLE {
            return;
        }
        let (kind, who) = (self.tape.draw(8), self.tape.draw(self.electors.len() as u64) as usize);
        match kind {
            3 => self.electors[who].asleep_until = self.now + self.tape.draw(40_000),
            4 => self.crash(who),
            5 => self.release(who),
            6 => {
                // Somebody annotates it.
                self.serial += 1;
                if let Some(lease) = &mut self.lease {
                    lease.resource_version = self.serial.to_string();
                }
            }
            _ => {}
        }
        let next = 200 + self.tape.draw(6000);
        self.after(next, Event::Trouble);
    }

    /// It is gone at once, and another process begins in its place.
    fn crash(&mut self, who: usize) {
        let candidate = &mut self.electors[who];
        candidate.life += 1;
        let life = candidate.life;
        candidate.elector = Elector::new(format!("{who}/{life}"), Timing::default());
        (candidate.asleep_until, candidate.call) = (0, candidate.call + 1);
        let again = self.tape.draw(5000);
        self.after(again, Event::Wake { who, life });
    }

    /// It gives the Lease back, which may arrive late or never, and ends.
    fn release(&mut self, who: usize) {
        let candidate = &mut self.electors[who];
        let seen = candidate.elector.lease().map(|lease| lease.resource_version.clone()).unwrap_or_default();
        let own = candidate.own(self.now);
        if let Some(term) = candidate.elector.release() {
            let (life, step) = (candidate.life, Step::Replace(term));
            let there = self.delay();
            self.after(there, Event::Arrives { who, life, call: RELEASE, step, seen, started: own });
        }
        self.crash(who);
    }

    /// It was still renewed, or annotated, when it was given back.
    fn release_again(&mut self, who: usize, life: u64, step: Step, started: BootTime) {
        let mine = self.lease.as_ref().filter(|lease| lease.holder == format!("{who}/{life}"));
        if let Some(seen) = mine.map(|lease| lease.resource_version.clone()) {
            let there = self.delay();
            self.after(there, Event::Arrives { who, life, call: RELEASE, step, seen, started });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_two_lead_at_one_moment(choices in prop::collection::vec(any::<u16>(), 1..400), electors in 2_usize..4) {
        let mut universe = Universe::new(choices, electors, false);
        universe.play(TROUBLE + LATEST);
        // Once all is well again somebody leads, and goes on leading.
        universe.play(TROUBLE + 2 * LATEST + 30_000);
        let leaders = universe.leaders();
        prop_assert_eq!(leaders.len(), 1);
        for _ in 0..60 {
            let later = universe.now + 1000;
            universe.play(later);
            prop_assert_eq!(universe.leaders(), leaders.clone());
        }
    }

    #[test]
    fn after_a_crash_another_leads_within_a_lease_and_a_look(choices in prop::collection::vec(any::<u16>(), 1..50), after in 6000_u64..30_000) {
        let mut universe = Universe::new(choices, 2, true);
        universe.play(after);
        let leader = universe.leaders()[0];
        universe.electors[leader].dead = true;
        let slowest = 100.0 / 85.0;
        let Timing { lease, look, .. } = Timing::default();
        let bound = (lease + look.mul_f64(1.2)).as_millis() as f64 * slowest;
        universe.play(after + bound as True + SLACK);
        prop_assert_eq!(universe.leaders(), vec![1 - leader]);
    }

    #[test]
    fn after_a_release_another_leads_within_a_look(choices in prop::collection::vec(any::<u16>(), 1..50), after in 6000_u64..30_000) {
        let mut universe = Universe::new(choices, 2, true);
        universe.play(after);
        let leader = universe.leaders()[0];
        universe.release(leader);
        universe.electors[leader].dead = true;
        let bound = Timing::default().look.mul_f64(1.2 * 100.0 / 85.0).as_millis() as True;
        universe.play(after + bound + SLACK);
        prop_assert_eq!(universe.leaders(), vec![1 - leader]);
    }
}
