//! The first round after our start: until every Service was judged once, nobody can tell a mass from a single loss, and nothing that was
//! ready goes by absence.

use std::collections::BTreeSet;

use consul8s_core::kube::ObjectKey;

/// How far the first round is.
#[derive(Debug, Default)]
pub enum Opening {
    /// It has not begun.
    #[default]
    Ahead,
    /// It is going on.
    Underway {
        /// Services that have not been judged.
        left: BTreeSet<ObjectKey>,
        /// Services for which its end makes a difference.
        waiting: BTreeSet<ObjectKey>,
    },
    /// It is over.
    Over,
}

impl Opening {
    /// Takes note of a look at a Service. `all` are those that there are, should this be the first look; `answered` says whether it could be
    /// judged, `waits` whether something of it waits for the end of the round. When this was the last one, gives who waited.
    pub fn looked(
        &mut self,
        service: &ObjectKey,
        all: impl FnOnce() -> BTreeSet<ObjectKey>,
        answered: bool,
        waits: bool,
    ) -> Option<BTreeSet<ObjectKey>> {
        if matches!(self, Opening::Ahead) {
            *self = Opening::Underway { left: all(), waiting: BTreeSet::new() };
        }
        let Opening::Underway { left, waiting } = self else { return None };
        if answered {
            left.remove(service);
        }
        if waits {
            waiting.insert(service.clone());
        }
        if !left.is_empty() {
            return None;
        }
        let waiting = std::mem::take(waiting);
        *self = Opening::Over;
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_every_service_could_be_judged_once() {
        let mut opening = Opening::default();
        let [a, b] = ["a", "b"].map(|name| ObjectKey::new("shop", name));
        let all = || BTreeSet::from([a.clone(), b.clone()]);
        assert_eq!(opening.looked(&a, all, true, true), None);
        assert_eq!(opening.looked(&b, all, false, false), None, "its source has not answered");
        assert_eq!(opening.looked(&a, all, true, true), None);
        assert_eq!(opening.looked(&b, all, true, false), Some(BTreeSet::from([a.clone()])));
        assert_eq!(opening.looked(&a, all, true, true), None, "once");
    }
}
