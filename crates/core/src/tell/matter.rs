//! What is one and the same problem, so that it is told once.

use std::collections::BTreeSet;

use crate::guard::HoldId;
use crate::problem::Reason;

/// A problem, told apart by its reason; and holds by their ids too, since each is to be known by its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Matter {
    pub(super) reason: Reason,
    hold: Option<HoldId>,
}

impl From<Reason> for Matter {
    fn from(reason: Reason) -> Matter {
        Matter { reason, hold: None }
    }
}

impl Matter {
    /// That of one problem.
    pub(super) fn of(reason: Reason, message: &str) -> Matter {
        let hold =
            Some(reason).filter(|reason| *reason == Reason::RemovalHeld).and_then(|_| holds(message).pop_first());
        Matter { reason, hold }
    }

    /// All that a message tells which may hold several problems of this reason.
    pub(super) fn all(reason: Reason, message: &str) -> Vec<Matter> {
        let holds = if reason == Reason::RemovalHeld { holds(message) } else { BTreeSet::new() };
        if holds.is_empty() {
            return vec![Matter::from(reason)];
        }
        holds.into_iter().map(|hold| Matter { reason, hold: Some(hold) }).collect()
    }
}

/// The ids of holds in a text.
pub(crate) fn holds(text: &str) -> BTreeSet<HoldId> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter_map(HoldId::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_are_told_apart_by_their_ids() {
        let message = "holding 1 of 3 endpoints (h-3f9a2c, 60s): they stay; release with: consul8s release shop/h-web";
        let one = Matter::of(Reason::RemovalHeld, message);
        assert_eq!(one.hold, HoldId::parse("h-3f9a2c"));
        assert_eq!(Matter::all(Reason::RemovalHeld, message), [one]);
        assert_eq!(Matter::all(Reason::RemovalHeld, "(h-aaaaaa, 60s); (h-bbbbbb, 10m)").len(), 2);
        assert_eq!(Matter::all(Reason::RemovalHeld, "cut off"), [Matter::from(Reason::RemovalHeld)]);
        assert_eq!(Matter::of(Reason::NoAddress, "h-aaaaaa"), Matter::from(Reason::NoAddress));
    }
}
