//! What an import has to tell: counts and two conditions.

use crate::kube::ConditionStatus;
use crate::problem::{MAX_MESSAGE, clean};
use crate::time::UnixMillis;

/// `status` of an import. Nobody else writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether all that is selected has a Service; none = never written.
    pub ready: Option<ImportCondition>,
    /// Whether a service could not get a name.
    pub conflict: Option<ImportCondition>,
    /// How many services are selected.
    pub matched: usize,
    /// How many Services are this import's.
    pub created: usize,
    /// How many services could not get a name.
    pub conflicts: usize,
    /// Generation of the spec that this is about.
    pub observed_generation: i64,
}

/// A condition of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportCondition {
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: String,
    /// Why, for a person.
    pub message: String,
    /// When the status last changed.
    pub since: UnixMillis,
    /// Generation of the spec that this is about.
    pub observed_generation: i64,
}

impl ImportCondition {
    pub(super) fn new(status: ConditionStatus, reason: &str, message: &str) -> ImportCondition {
        let message = clean(message, MAX_MESSAGE);
        ImportCondition { status, reason: reason.to_owned(), message, ..ImportCondition::default() }
    }

    /// As it is written when `before` stands: the time moves with the status only.
    fn after(mut self, before: Option<&ImportCondition>, generation: i64, now: UnixMillis) -> ImportCondition {
        self.observed_generation = generation;
        self.since = before.filter(|before| before.status == self.status).map_or(now, |before| before.since);
        self
    }
}

impl Status {
    /// As it is written when `before` stands.
    pub(super) fn after(self, before: &Status, generation: i64, now: UnixMillis) -> Status {
        // Whole seconds, as they are read back.
        let now = UnixMillis(now.0 / 1000 * 1000);
        Status {
            ready: self.ready.map(|ready| ready.after(before.ready.as_ref(), generation, now)),
            conflict: self.conflict.map(|conflict| conflict.after(before.conflict.as_ref(), generation, now)),
            observed_generation: generation,
            ..self
        }
    }
}
