//! What all Services together have lost lately: the ground for hold (b).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kube::ObjectKey;
use crate::time::UnixMillis;

use super::hold::HoldId;

/// How far back hold (b) looks.
pub const MASS_WINDOW: Duration = Duration::from_secs(60);
/// Services with a loss that make it a mass.
const SERVICES: usize = 3;
/// Lost endpoints that make it a mass.
const ENDPOINTS: usize = 5;
/// Share of all ready endpoints, in percent, that makes it a mass.
const PERCENT: usize = 15;

/// How long after our start a ledger is incomplete, unless [`Ledger::complete`] is called before.
pub const WARM_UP: Duration = Duration::from_secs(15);

/// One line for each Service, kept by the program as long as it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    lines: BTreeMap<ObjectKey, Line>,
    mass: Option<HoldId>,
    begun: Option<UnixMillis>,
    complete: bool,
}

/// What one Service has and lost, as of its last plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Ready endpoints when its plan is done.
    pub after: usize,
    /// Ready endpoints that were not ready ten minutes ago.
    pub came: usize,
    /// When endpoints that were ready left by absence: those that are gone and those that are missing.
    pub left: Vec<UnixMillis>,
    /// How many of the missing are under hold (b): they count as long as they are.
    pub under_mass: Vec<UnixMillis>,
}

impl Line {
    fn loss(&self, now: UnixMillis) -> usize {
        let recent = self.left.iter().filter(|at| now.since(**at) <= MASS_WINDOW).count();
        let held = self.under_mass.iter().filter(|since| now.since(**since) > MASS_WINDOW).count();
        (recent + held).saturating_sub(self.came)
    }
}

impl Ledger {
    /// Writes the line of a Service.
    pub fn enter(&mut self, service: &ObjectKey, line: Line) {
        self.lines.insert(service.clone(), line);
    }

    /// A Service is gone, or no longer filled from Consul.
    pub fn forget(&mut self, service: &ObjectKey) {
        self.lines.remove(service);
    }

    /// Every Service has been judged since we started. Until then (or for [`WARM_UP`]) nobody can say what is a mass, so that nothing
    /// goes by absence.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// When a mass can be told from a single loss; none = now.
    pub(super) fn complete_at(&mut self, now: UnixMillis) -> Option<UnixMillis> {
        let begun = *self.begun.get_or_insert(now);
        self.complete |= now.since(begun) >= WARM_UP;
        (!self.complete).then(|| begun.after(WARM_UP))
    }

    /// Whether endpoints left in such a mass that more than their own machines may have failed (guard.md §2, hold (b)).
    #[must_use]
    pub fn is_mass(&self, now: UnixMillis) -> bool {
        let (mut services, mut lost, mut before) = (0, 0, 0);
        for line in self.lines.values() {
            let loss = line.loss(now);
            services += usize::from(loss > 0);
            lost += loss;
            before += line.after + loss;
        }
        services >= SERVICES && lost >= ENDPOINTS && lost * 100 >= before * PERCENT
    }

    /// The id of the mass hold that is going on; a new one where none is.
    pub(super) fn mass_id(&mut self, now: UnixMillis) -> HoldId {
        if self.lines.values().all(|line| line.under_mass.is_empty()) {
            self.mass = None;
        }
        self.mass.get_or_insert_with(|| HoldId::of_all(now)).clone()
    }

    /// A mass hold goes on that began before we started.
    pub(super) fn restore_mass(&mut self, id: &HoldId) {
        self.mass.get_or_insert_with(|| id.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn ledger(lines: &[(usize, usize, usize)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (i, (after, came, left)) in lines.iter().enumerate() {
            let line = Line { after: *after, came: *came, left: vec![NOW; *left], under_mass: Vec::new() };
            ledger.enter(&ObjectKey::new("ns", format!("s{i}")), line);
        }
        ledger
    }

    #[test]
    fn three_services_five_endpoints_fifteen_percent() {
        for (lines, expected, why) in [
            (vec![(3, 0, 1); 5], true, "five services × 4, one each: 25 %"),
            (vec![(3, 0, 1); 4], false, "only four endpoints"),
            (vec![(3, 0, 3), (3, 0, 3)], false, "only two services"),
            (vec![(10, 0, 10), (10, 0, 10), (974, 0, 10)], false, "3 % of all"),
            (vec![(28, 0, 5), (0, 0, 1), (0, 0, 1)], true, "7 of 35 is 20 %"),
            (vec![(20, 0, 2), (10, 0, 2), (4, 0, 2)], true, "6 of 40 is 15 %"),
            (vec![(21, 0, 2), (10, 0, 2), (4, 0, 2)], false, "6 of 41 is less"),
            (vec![(3, 1, 1); 5], false, "as many came"),
            (vec![], false, "nothing"),
        ] {
            assert_eq!(ledger(&lines).is_mass(NOW), expected, "{why}");
        }
    }

    #[test]
    fn what_left_more_than_a_minute_ago_counts_no_more_unless_it_is_held() {
        let mut ledger = ledger(&[(3, 0, 1); 5]);
        assert!(ledger.is_mass(NOW.after(MASS_WINDOW)));
        let later = NOW.after(Duration::from_secs(61));
        assert!(!ledger.is_mass(later));
        for i in 0..5 {
            let line = Line { after: 3, under_mass: vec![NOW], ..Line::default() };
            ledger.enter(&ObjectKey::new("ns", format!("s{i}")), line);
        }
        assert!(ledger.is_mass(later));
        ledger.forget(&ObjectKey::new("ns", "s0"));
        assert!(!ledger.is_mass(later));
    }

    #[test]
    fn a_mass_hold_keeps_its_id_while_anything_is_under_it() {
        let mut ledger = Ledger::default();
        let id = ledger.mass_id(NOW);
        ledger.enter(&ObjectKey::new("ns", "a"), Line { under_mass: vec![NOW], ..Line::default() });
        assert_eq!(ledger.mass_id(UnixMillis(2_000_000)), id);
        ledger.enter(&ObjectKey::new("ns", "a"), Line::default());
        assert_ne!(ledger.mass_id(UnixMillis(2_000_000)), id);
    }
}
