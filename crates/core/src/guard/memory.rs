//! What is remembered of one Service's endpoints between plans. Kept by the program as long as it runs; after a restart it begins with
//! what our slices show.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::consul::HealthQuery;
use crate::kube::Endpoint;
use crate::time::UnixMillis;
use crate::to_kube::{Behind, EndpointId, EndpointPlan};

use super::absence::Absence;
use super::readiness::Readiness;

/// How far back the guard looks for what left and what came (guard.md §2).
pub const WINDOW: Duration = Duration::from_secs(600);
/// Endpoints of one Service that are remembered at most though they stand no more: the latest. Ten times as many as fit into an ordinary
/// large Service; more come and go in ten minutes only where somebody registers new ones without an end. At some 500 bytes each.
const MOST_GONE: usize = 10_000;

/// The memory of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    uid: String,
    pub(super) adopted: bool,
    pub(super) known: BTreeMap<EndpointId, Known>,
    /// What was ready, left by absence, and when.
    pub(super) left: BTreeMap<EndpointId, UnixMillis>,
    /// `consul8s/allow-removal: true` was used, and must be taken away before it counts again.
    pub(super) used: bool,
    query: Option<Arc<HealthQuery>>,
}

/// What is remembered of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    behind: Option<Behind>,
    query: Option<Arc<HealthQuery>>,
    /// When an answer last had it.
    pub(super) seen: Option<UnixMillis>,
    /// When it last stood, or should have.
    pub(super) stood: UnixMillis,
    pub(super) readiness: Readiness,
    pub(super) absence: Option<Box<Absence>>,
    pub(super) let_go: LetGo,
    /// It was let go and no longer stands: should it come back without being in an answer, nobody wanted it.
    gone: bool,
}

/// Whether the last plan let an endpoint go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LetGo {
    /// It did not.
    #[default]
    No,
    /// Because it is confirmed absent: a loss.
    Absent,
    /// For another reason, which is no loss.
    Otherwise,
}

impl Known {
    /// What stands behind it, where an answer showed it since we started, or our slice kept it.
    #[must_use]
    pub fn behind(&self) -> Option<&Behind> {
        self.behind.as_ref()
    }

    /// What was asked when it was last in an answer.
    #[must_use]
    pub fn query(&self) -> Option<&HealthQuery> {
        self.query.as_deref()
    }
}

impl Memory {
    /// Whether what stood when we started is known.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// What is remembered of an endpoint; none when no plan of ours ever held it.
    #[must_use]
    pub fn known(&self, id: &EndpointId) -> Option<&Known> {
        self.known.get(id).filter(|known| !known.gone)
    }

    /// Call when this process becomes the leader: until then another wrote the slices, from answers that may have been newer than
    /// ours. What stands then is nobody's drift. And whether `consul8s/allow-removal: true` was used is for the slices to say: what we let
    /// go until now, nobody carried out.
    pub fn lead(&mut self) {
        (self.adopted, self.used) = (false, false);
    }

    /// Takes what stands for known, the first time; later only what is inherited from an installation that is gone.
    pub(super) fn adopt(&mut self, plan: &EndpointPlan, now: UnixMillis) {
        if self.uid != plan.uid {
            *self = Memory { uid: plan.uid.clone(), ..Memory::default() };
        }
        let standing = &plan.standing;
        if std::mem::replace(&mut self.adopted, true) {
            let inherited = standing.inherited.iter().filter_map(|id| standing.endpoints.get_key_value(id));
            inherited.for_each(|(id, endpoint)| self.adopt_one(plan, id, endpoint, now));
            return;
        }
        self.used |= standing.used;
        standing.endpoints.iter().for_each(|(id, endpoint)| self.adopt_one(plan, id, endpoint, now));
    }

    fn adopt_one(&mut self, plan: &EndpointPlan, id: &EndpointId, endpoint: &Endpoint, now: UnixMillis) {
        let known = self.known.entry(id.clone()).or_insert_with(|| Known {
            readiness: Readiness::since_long(endpoint.ready),
            query: plan.standing.applied_query.clone(),
            ..Known::default()
        });
        known.gone = false;
        known.stood = now;
        if known.behind.is_none() {
            known.behind = plan.standing.nodes.get(id).cloned().map(Behind::Node);
        }
        if let Some(mark) = plan.standing.marks.get(id) {
            let restored = || Box::new(Absence::restored(mark, endpoint.ready));
            known.absence.get_or_insert_with(restored);
        }
    }

    /// Notes what the answer has, and what stands no more.
    pub(super) fn note(&mut self, plan: &EndpointPlan, now: UnixMillis) {
        let query = match &self.query {
            Some(query) if **query == plan.query => query.clone(),
            _ => self.query.insert(Arc::new(plan.query.clone())).clone(),
        };
        for (id, wanted) in &plan.wanted {
            let Some(instance) = &wanted.instance else { continue };
            let known = self.known.entry(id.clone()).or_default();
            if known.behind.as_ref().and_then(Behind::instance) != Some(instance) {
                known.behind = Some(Behind::Instance(instance.clone()));
            }
            known.query = Some(query.clone());
            known.seen = Some(now);
            known.absence = None;
            (known.let_go, known.gone) = (LetGo::No, false);
        }
        for (id, known) in &mut self.known {
            if plan.wanted.contains_key(id) || plan.standing.endpoints.contains_key(id) {
                known.stood = now;
                continue;
            }
            known.gone |= known.let_go != LetGo::No;
            // Also what somebody else took off our slice while it was missing.
            if let Some(absence) = known.absence.take()
                && absence.was_ready
                && known.let_go != LetGo::Otherwise
            {
                self.left.insert(id.clone(), absence.since);
            }
        }
    }

    /// Notes how ready everything is once the plan is done, and forgets what nobody will ask for.
    pub(super) fn note_done(&mut self, ready: impl Fn(&EndpointId) -> bool, now: UnixMillis) {
        let forget = window_start(now);
        for (id, known) in &mut self.known {
            known.readiness.set(now, ready(id), forget);
        }
        self.known.retain(|_, known| known.stood >= forget);
        self.left.retain(|id, at| *at > forget && !ready(id));
        forget_oldest(&mut self.known, |known| (known.stood < now).then_some(known.stood));
        forget_oldest(&mut self.left, |at| Some(*at));
    }

    /// How many endpoints are ready now that were not ready ten minutes ago.
    pub(super) fn came<'a>(&self, ready: impl Iterator<Item = &'a EndpointId>, now: UnixMillis) -> usize {
        let then = window_start(now);
        ready.filter(|id| !self.known.get(id).is_some_and(|known| known.readiness.at(then))).count()
    }
}

/// Keeps those that are not gone, and the latest [`MOST_GONE`] of the others. `gone` says since when one is.
fn forget_oldest<T>(map: &mut BTreeMap<EndpointId, T>, gone: impl Fn(&T) -> Option<UnixMillis>) {
    let count = map.values().filter(|value| gone(value).is_some()).count();
    let Some(surplus) = count.checked_sub(MOST_GONE).filter(|surplus| *surplus > 0) else { return };
    let mut oldest: Vec<(UnixMillis, EndpointId)> =
        map.iter().filter_map(|(id, value)| Some((gone(value)?, id.clone()))).collect();
    oldest.sort();
    oldest.truncate(surplus);
    for (_, id) in oldest {
        map.remove(&id);
    }
}

/// Ten minutes before.
fn window_start(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::to_kube::Ports;

    #[test]
    fn of_what_stands_no_more_only_the_latest_are_remembered() {
        let id = |n: u32| EndpointId { address: IpAddr::V4(Ipv4Addr::from_bits(n)), ports: Ports::new(Vec::new()) };
        let at = |n: u32| UnixMillis(1_000_000 + u64::from(n));
        let most = u32::try_from(MOST_GONE).unwrap();
        // A hundred more than that, one after the other, and as many that stand.
        let gone = 0..most + 100;
        let now = at(most + 200);
        let mut memory = Memory::default();
        for n in gone.clone() {
            memory.left.insert(id(n), at(n));
            memory.known.insert(id(n), Known { stood: at(n), ..Known::default() });
            memory.known.insert(id(n + 1_000_000), Known { stood: now, ..Known::default() });
        }
        memory.note_done(|_| false, now);
        assert_eq!((memory.left.len(), memory.known.len()), (MOST_GONE, 2 * MOST_GONE + 100));
        assert!(!memory.left.contains_key(&id(99)) && !memory.known.contains_key(&id(99)));
        assert!(memory.left.contains_key(&id(100)) && memory.known.contains_key(&id(100)));
        assert!(gone.clone().all(|n| memory.known.contains_key(&id(n + 1_000_000))), "what stands is not forgotten");

        // The same where all go at one moment.
        let mut memory = Memory { left: gone.map(|n| (id(n), at(0))).collect(), ..Memory::default() };
        memory.note_done(|_| false, now);
        assert_eq!(memory.left.len(), MOST_GONE);
    }
}
