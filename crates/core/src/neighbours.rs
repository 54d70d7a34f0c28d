//! Other installations whose slices stand on Services that we should fill: whether they are gone for good, so that their slices are taken
//! over (contract §2). An installation is judged by its Lease, which its slices name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time::UnixMillis;

/// How long a Lease must have been gone or expired.
pub const GONE_AFTER: Duration = Duration::from_secs(600);
/// How often a Lease is read.
const READ_EVERY: Duration = Duration::from_secs(10);
/// How long a Lease must have stood still under our own eyes, whatever its times say: its holder renews it every few seconds, and the
/// clocks of two machines may differ.
const WATCHED: Duration = Duration::from_secs(30);

/// A Lease, as far as it tells whether its installation is alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// UID and resourceVersion: whoever lives changes it.
    pub version: String,
    /// When it was last renewed, by its holder's clock; none for one that no election was ever held on.
    pub renewed: Option<UnixMillis>,
    /// How long its holder relies on a renewal.
    pub duration: Duration,
}

/// Owner id and `LEASE_NAMESPACE/LEASE_NAME` of an installation, as its slices say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Installation {
    /// Owner id.
    pub owner: String,
    /// Its Lease.
    pub lease: String,
}

/// What is known of one of them.
#[derive(Clone, Debug, Default)]
struct Sight {
    /// The last that was read; none = no such Lease.
    pulse: Option<Pulse>,
    /// Since when it has stood like that; none before the first read.
    since: Option<UnixMillis>,
    /// When it was last read.
    read: Option<UnixMillis>,
}

impl Sight {
    fn is_gone(&self, now: UnixMillis) -> bool {
        let Some(since) = self.since else { return false };
        let still = now.since(since);
        match &self.pulse {
            None => still >= GONE_AFTER,
            Some(Pulse { renewed: None, .. }) => false,
            Some(Pulse { renewed: Some(renewed), duration, .. }) => {
                let expired = *duration + GONE_AFTER;
                still >= expired || (still >= WATCHED && now.since(*renewed) >= expired)
            }
        }
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Neighbours {
    sights: BTreeMap<Installation, Sight>,
    abandoned: BTreeSet<String>,
}

impl Neighbours {
    /// Takes note of those whose slices stand in our way now; the others are forgotten.
    pub fn stand(&mut self, now: BTreeSet<Installation>) {
        self.sights.retain(|known, _| now.contains(known));
        for installation in now {
            self.sights.entry(installation).or_default();
        }
    }

    /// Those whose Leases are to be read.
    #[must_use]
    pub fn due(&self, now: UnixMillis) -> Vec<Installation> {
        let due = |sight: &Sight| sight.read.is_none_or(|read| now.since(read) >= READ_EVERY);
        self.sights.iter().filter(|(_, sight)| due(sight)).map(|(installation, _)| installation.clone()).collect()
    }

    /// A Lease was read; none = there is no such Lease.
    pub fn read(&mut self, installation: &Installation, pulse: Option<Pulse>, now: UnixMillis) {
        let Some(sight) = self.sights.get_mut(installation) else { return };
        if sight.since.is_none() || sight.pulse != pulse {
            (sight.pulse, sight.since) = (pulse, Some(now));
        }
        sight.read = Some(now);
    }

    /// A Lease could not be read: what was seen before counts no more, as it may have been renewed meanwhile.
    pub fn failed(&mut self, installation: &Installation, now: UnixMillis) {
        if let Some(sight) = self.sights.get_mut(installation) {
            *sight = Sight { read: Some(now), ..Sight::default() };
        }
    }

    /// Judges all anew. Whether that changed which are gone for good. One owner id under several Leases is gone when all of these are.
    pub fn judge(&mut self, now: UnixMillis) -> bool {
        let owners: BTreeSet<&String> = self.sights.keys().map(|installation| &installation.owner).collect();
        let gone = |owner: &&String| {
            self.sights.iter().filter(|(of, _)| of.owner == **owner).all(|(_, sight)| sight.is_gone(now))
        };
        let abandoned: BTreeSet<String> = owners.into_iter().filter(gone).cloned().collect();
        let changed = abandoned != self.abandoned;
        self.abandoned = abandoned;
        changed
    }

    /// Owner ids of those that are gone for good.
    #[must_use]
    pub fn abandoned(&self) -> &BTreeSet<String> {
        &self.abandoned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMillis = UnixMillis(1_800_000_000_000);

    fn at(seconds: u64) -> UnixMillis {
        START.after(Duration::from_secs(seconds))
    }

    fn installation(lease: &str) -> Installation {
        Installation { owner: "them".into(), lease: lease.into() }
    }

    fn pulse(version: &str, renewed: Option<UnixMillis>) -> Option<Pulse> {
        Some(Pulse { version: version.into(), renewed, duration: Duration::from_secs(15) })
    }

    /// When it is first called gone, if it is read every ten seconds as `lease` says; none within half an hour.
    fn gone_at(lease: impl Fn(u64) -> Result<Option<Pulse>, ()>) -> Option<u64> {
        let mut neighbours = Neighbours::default();
        for second in (0..1800).step_by(10) {
            neighbours.stand(BTreeSet::from([installation("a/b")]));
            assert_eq!(neighbours.due(at(second)), [installation("a/b")]);
            match lease(second) {
                Ok(pulse) => neighbours.read(&installation("a/b"), pulse, at(second)),
                Err(()) => neighbours.failed(&installation("a/b"), at(second)),
            }
            assert!(neighbours.due(at(second + 9)).is_empty());
            neighbours.judge(at(second));
            if neighbours.abandoned().contains("them") {
                return Some(second);
            }
        }
        None
    }

    #[test]
    fn gone_or_expired_for_ten_minutes() {
        let long_ago = UnixMillis(START.0 - 3_600_000);
        assert_eq!(gone_at(|_| Ok(None)), Some(600), "gone");
        assert_eq!(gone_at(|_| Ok(pulse("1", Some(at(0))))), Some(620), "it stops being renewed now");
        assert_eq!(gone_at(|_| Ok(pulse("1", Some(long_ago)))), Some(30), "it stopped an hour ago");
        assert_eq!(gone_at(|s| Ok(pulse(&s.to_string(), Some(at(s))))), None, "alive");
        assert_eq!(gone_at(|s| Ok(pulse(&s.to_string(), Some(long_ago)))), None, "alive with another clock");
        assert_eq!(gone_at(|_| Ok(pulse("1", None))), None, "a Lease without elections says nothing");
        assert_eq!(gone_at(|_| Err(())), None, "nor does one that cannot be read");
        assert_eq!(gone_at(|s| if s == 300 { Err(()) } else { Ok(None) }), Some(910));
        assert_eq!(gone_at(|s| Ok(if s < 300 { None } else { pulse("1", Some(at(300))) })), Some(920), "it came back");
    }

    #[test]
    fn an_owner_id_is_gone_when_all_its_leases_are() {
        let mut neighbours = Neighbours::default();
        let both = BTreeSet::from([installation("a/b"), installation("made/up")]);
        neighbours.stand(both);
        neighbours.read(&installation("made/up"), None, at(0));
        neighbours.read(&installation("a/b"), pulse("1", Some(at(0))), at(0));
        neighbours.read(&installation("a/b"), pulse("2", Some(at(600))), at(600));
        assert!(!neighbours.judge(at(601)) && neighbours.abandoned().is_empty());
        assert!(neighbours.judge(at(1300)) && neighbours.abandoned().contains("them"));
        neighbours.stand(BTreeSet::new());
        assert!(neighbours.judge(at(1301)) && neighbours.abandoned().is_empty(), "nothing of theirs is left");
    }
}
