//! Later.
use crate::harness::Scenario;
pub(crate) const SCENARIOS: &[Scenario] = &[];
