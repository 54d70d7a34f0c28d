//! What counts for a Service whose labels or annotations can't be understood (contract, "frozen").

use std::collections::BTreeSet;

use crate::intent::applied;
use crate::intent::to_kube::{ToKube, parse_what_is_valid};
use crate::kube::{KubeService, KubeSlice};
use crate::names;
use crate::settings::{Direction, Settings};

use super::Mode;
use super::belongs::{self, Belongs};

/// The settings that stay in force: the last valid ones, as our slices keep them. Where none are known nothing is added, and what
/// stands follows what can be understood. None where nothing of ours stands and nothing says that we should fill the Service.
#[must_use]
pub fn frozen(
    service: &KubeService,
    direction: Option<Direction>,
    slices: &[&KubeSlice],
    abandoned: &BTreeSet<String>,
    settings: &Settings,
) -> Option<(ToKube, Mode)> {
    let is_ours = |slice: &&&KubeSlice| belongs::of(slice, service, &settings.identity, abandoned) == Belongs::Ours;
    let mut ours: Vec<&KubeSlice> = slices.iter().filter(is_ours).copied().collect();
    ours.sort_by(|a, b| a.key.cmp(&b.key));
    let kept = ours.iter().filter_map(|slice| slice.annotations.get(names::SLICE_APPLIED));
    if let Some(applied) = kept.filter_map(|text| applied::parse(text, service, settings)).next() {
        return Some((applied.wish, Mode::Follow));
    }
    let asked = match direction {
        Some(Direction::ToKube) => true,
        Some(Direction::ToConsul) => false,
        None => !ours.is_empty(),
    };
    asked.then(|| (parse_what_is_valid(service, settings), Mode::NothingNew))
}

/// When slices of a Service that has a selector now may go: none = now. `since` is when the selector was first seen. They go as soon as
/// another manager's slices show a ready endpoint, and in any case after [`YIELD_AFTER`](super::YIELD_AFTER).
#[must_use]
pub fn may_yield(
    service: &KubeService,
    slices: &[&KubeSlice],
    abandoned: &BTreeSet<String>,
    settings: &Settings,
    since: crate::time::UnixMillis,
    now: crate::time::UnixMillis,
) -> Option<crate::time::UnixMillis> {
    let foreign = |slice: &&&KubeSlice| {
        !slice.deleting && belongs::of(slice, service, &settings.identity, abandoned) == Belongs::Foreign
    };
    let taken_over = slices.iter().filter(foreign).any(|slice| slice.endpoints.iter().any(|e| e.ready));
    let at = since.after(super::YIELD_AFTER);
    (!taken_over && now < at).then_some(at)
}
