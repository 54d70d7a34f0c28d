//! The lineage of each datacenter (contract S10), as the Lease remembers it from other processes: whether Consul counts from a lower index
//! than it did, because it was restored or wiped, also while nobody was running.

use std::collections::{BTreeMap, BTreeSet};

use consul8s_core::kube::ObjectKey;
use consul8s_core::time::UnixMillis;

use super::round::Round;

/// A datacenter, as queries name it; none = the agent's.
pub type Datacenter = Option<String>;

/// What is known of each datacenter.
#[derive(Debug, Default)]
pub struct Lineages {
    compared: bool,
    by_datacenter: BTreeMap<Datacenter, Lineage>,
}

#[derive(Debug, Default)]
struct Lineage {
    broken: Option<Break>,
}

/// Consul began to count anew.
#[derive(Debug)]
struct Break {
    since: UnixMillis,
    /// What the Lease said.
    mark: u64,
    /// What Consul said.
    index: u64,
    round: Round,
    noted: bool,
}

impl Lineages {
    /// This process compares them: until it has, they are unknown.
    pub fn compare(&mut self) {
        self.compared = true;
    }

    /// Whether a datacenter still is to be compared.
    #[must_use]
    pub fn is_unknown(&self, datacenter: &Datacenter) -> bool {
        self.compared && !self.by_datacenter.contains_key(datacenter)
    }

    /// Since when the lineage of a datacenter is broken.
    #[must_use]
    pub fn broken(&self, datacenter: &Datacenter) -> Option<UnixMillis> {
        Some(self.by_datacenter.get(datacenter)?.broken.as_ref()?.since)
    }

    /// A consistent read showed `index`, and before it the Lease said `mark`. True when that is news: the datacenter is known now, or broken.
    /// `services` are those that read from it.
    pub fn saw(
        &mut self,
        datacenter: &Datacenter,
        index: u64,
        mark: Option<u64>,
        services: BTreeSet<ObjectKey>,
        now: UnixMillis,
    ) -> bool {
        let first = !self.by_datacenter.contains_key(datacenter);
        let lineage = self.by_datacenter.entry(datacenter.clone()).or_default();
        let Some(mark) = mark.filter(|mark| index < *mark) else { return first };
        if let Some(known) = lineage.broken.as_mut().filter(|known| known.mark == mark && index >= known.index) {
            // The Lease does not say so yet.
            known.index = index;
            return first;
        }
        let round = Round::begin(services, now);
        lineage.broken = Some(Break { since: now, mark, index, round, noted: false });
        true
    }

    /// A look at a Service has ended well.
    pub fn looked(&mut self, service: &ObjectKey, begun: UnixMillis) {
        for lineage in self.by_datacenter.values_mut() {
            lineage.broken.iter_mut().for_each(|broken| broken.round.looked(service, begun));
        }
    }

    /// Datacenters whose break every Service that reads from it has taken in: the Lease may say the new index.
    pub fn settled(&mut self) -> Vec<(Datacenter, u64)> {
        let mut settled = Vec::new();
        for (datacenter, lineage) in &mut self.by_datacenter {
            if let Some(broken) = lineage.broken.as_mut().filter(|broken| broken.round.is_over() && !broken.noted) {
                broken.noted = true;
                settled.push((datacenter.clone(), broken.index));
            }
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_index_is_a_break_which_is_noted_when_all_have_taken_it_in() {
        let (mut lineages, here, a) = (Lineages::default(), None, ObjectKey::new("shop", "a"));
        assert!(!lineages.is_unknown(&here));
        lineages.compare();
        assert!(lineages.is_unknown(&here));
        let of_a = || BTreeSet::from([a.clone()]);
        let at = UnixMillis;
        assert!(lineages.saw(&here, 100, None, of_a(), at(1)), "it is known now");
        assert!(!lineages.saw(&here, 100, Some(100), of_a(), at(2)));
        assert_eq!(lineages.broken(&here), None);
        assert!(lineages.saw(&here, 7, Some(100), of_a(), at(3)));
        assert!(!lineages.saw(&here, 9, Some(100), of_a(), at(4)), "it is being settled");
        lineages.looked(&a, at(2));
        assert!(lineages.settled().is_empty(), "that look began before");
        lineages.looked(&a, at(3));
        assert_eq!(lineages.settled(), [(None, 9)]);
        assert!(lineages.settled().is_empty(), "once");
        assert!(!lineages.saw(&here, 9, Some(100), of_a(), at(5)), "the Lease is slow");
        assert!(!lineages.saw(&here, 12, Some(9), of_a(), at(6)));
        assert_eq!(lineages.broken(&here), Some(at(3)), "what has not been seen since is missing still");
        assert!(lineages.saw(&here, 3, Some(9), of_a(), at(7)), "again");
        assert_eq!(lineages.broken(&here), Some(at(7)));
    }
}
