//! What goes wrong with single calls, and when: drawn from the seed, or one crash at a given write.

use std::time::Duration;

use consul8s_core::ports::ErrorKind;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The whole process is gone before the call is sent.
    CrashBefore,
    /// The call is carried out, and the process is gone before it learns that.
    CrashAfter,
    /// The call is carried out, and its answer is lost.
    Lost,
    /// The call fails, and nothing is done.
    Fails(ErrorKind),
    /// The call takes so long to get there.
    Slow(Duration),
    /// The answer takes so long to come back.
    SlowAnswer(Duration),
    /// The caller gives up, and the call arrives all the same so much later.
    Late(Duration),
    /// Reads only: the answer is one that was true a moment ago.
    Stale,
    /// Watches only: events are missed for so long, and then all is listed anew.
    Blind(Duration),
    /// Watches only: all is listed anew.
    Relist,
}

/// What a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    /// An Event or a condition.
    Tell,
    Lease,
    Watch,
}

/// The faults of single calls of one run.
pub(crate) struct Script {
    random: SmallRng,
    /// The share of calls that something happens to.
    pub(crate) rate: f64,
    /// The share of those that end the process.
    pub(crate) crashes: f64,
    /// From then on nothing happens any more.
    pub(crate) until: Duration,
    /// What happens to the write of this number, whatever else happens.
    pub(crate) at: Option<(usize, Fault)>,
}

impl Script {
    /// Nothing goes wrong.
    pub(crate) fn quiet() -> Script {
        Script { random: SmallRng::seed_from_u64(0), rate: 0.0, crashes: 0.0, until: Duration::ZERO, at: None }
    }

    /// This happens to the write of this number, from 0, and nothing else.
    pub(crate) fn once(write: usize, fault: Fault) -> Script {
        Script { at: Some((write, fault)), ..Script::quiet() }
    }

    /// This share of calls goes wrong until then.
    pub(crate) fn random(seed: u64, rate: f64, crashes: f64, until: Duration) -> Script {
        Script { random: SmallRng::seed_from_u64(seed), rate, crashes, until, at: None }
    }

    /// What happens to a call now. Writes are numbered.
    pub(crate) fn fault(&mut self, kind: Kind, now: Duration, write: Option<usize>) -> Option<Fault> {
        if let Some((_, fault)) = self.at.filter(|(at, _)| Some(*at) == write) {
            self.at = None;
            return Some(fault);
        }
        if now >= self.until || self.random.random::<f64>() >= self.rate {
            return None;
        }
        if kind != Kind::Watch && self.random.random::<f64>() < self.crashes {
            return Some(if self.random.random() { Fault::CrashAfter } else { Fault::CrashBefore });
        }
        Some(self.draw(kind))
    }

    fn draw(&mut self, kind: Kind) -> Fault {
        let long = Duration::from_millis(self.random.random_range(10..4_000));
        let error =
            [ErrorKind::Unreachable, ErrorKind::Timeout, ErrorKind::Server, ErrorKind::Throttled, ErrorKind::Garbage]
                [self.random.random_range(0..5)];
        match (kind, self.random.random_range(0..6)) {
            (Kind::Watch, 0..2) => Fault::Relist,
            (Kind::Watch, 2..4) => Fault::Blind(long),
            (Kind::Watch, _) => Fault::SlowAnswer(long),
            (_, 0) => Fault::Fails(error),
            (_, 1) => Fault::Slow(long),
            (_, 2) => Fault::SlowAnswer(long),
            (Kind::Read, _) => Fault::Stale,
            (_, 3) => Fault::Lost,
            (_, 4) => Fault::Late(long * 3),
            (_, _) => Fault::Fails(ErrorKind::Conflict),
        }
    }
}
