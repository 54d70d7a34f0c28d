//! The consistent reads that the guard asks for.

use std::time::Duration;

use consul8s_core::consul::{HealthQuery, Read};
use consul8s_core::guard::{Need, NodeReading, ServiceReading};
use consul8s_core::intent::to_kube::ToKube;
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ApiError, ConsulApi, KubeApi};
use consul8s_core::time::UnixMillis;
use futures::future::join_all;

use super::SlicePlan;
use crate::controller::Controller;
use crate::feeds::Demand;

/// How far apart failed confirming reads are tried again.
pub(in crate::sync) const READ_AGAIN: Duration = Duration::from_secs(2);

/// When reads are to be done.
#[derive(Debug, Default)]
pub(in crate::sync) struct ReadAgain {
    /// The next of them.
    pub(in crate::sync) at: Option<UnixMillis>,
    /// Not before then: one brought nothing. Whatever is due is due all the same, but nobody is asked over and over.
    pub(in crate::sync) rest: Option<UnixMillis>,
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Carries out the confirming reads that the guard needs, as far as they are due.
    pub(in crate::sync) async fn confirm(&self, key: &ObjectKey, plan: &SlicePlan) -> ReadAgain {
        let (Some(judged), Some(wish)) = (&plan.judged, &plan.wish) else { return ReadAgain::default() };
        let now = self.clock.now();
        let (due, later): (Vec<&Need>, Vec<&Need>) = judged.needs.iter().partition(|need| need.not_before() <= now);
        let read = join_all(due.iter().map(|need| self.read(key, wish, need))).await;
        let succeeded = read.iter().any(|ok| *ok).then_some(now);
        ReadAgain {
            at: later.iter().map(|need| need.not_before()).chain(succeeded).min(),
            rest: read.iter().any(|ok| !ok).then(|| now.after(READ_AGAIN)),
        }
    }

    /// Whether it brought anything that the guard can go by.
    async fn read(&self, key: &ObjectKey, wish: &ToKube, need: &Need) -> bool {
        let result = match need {
            Need::ServiceRead { query, .. } => self.read_service(key, wish, query).await,
            Need::NodeRead { node, datacenter, .. } => self.read_node(key, node, datacenter.as_deref()).await,
        };
        if let Err(error) = &result {
            tracing::debug!(service = %key, %error, "a confirming read failed; nothing goes, and it is tried again");
        }
        result.unwrap_or(false)
    }

    async fn read_service(&self, key: &ObjectKey, wish: &ToKube, query: &HealthQuery) -> Result<bool, ApiError> {
        let answer = self.consul.health(query, Read::Consistent).await?;
        let at = self.clock.now();
        let mut hides = Vec::new();
        let mut world = self.world();
        for asked in wish.queries().iter().filter(|asked| asked.datacenter == query.datacenter) {
            if world.sources.get_mut(asked).is_some_and(|source| source.also_hides(&answer.meta)) {
                // Its watch doesn't know it yet, nor when it will be over.
                self.demand(Demand::LookAnew(asked.clone()));
                hides.extend(world.sources.services_of(asked));
            }
        }
        if let Some(service) = world.services.get(key).cloned() {
            let resolved = world.names.resolved();
            let reading = ServiceReading::of(&service, wish, &self.settings, &resolved, query, at, &answer);
            world.record(key).services_read.push(reading);
        }
        self.look_at(world, hides);
        // What may be hidden proves nothing, so the guard asks again.
        Ok(!answer.meta.hides())
    }

    async fn read_node(&self, key: &ObjectKey, node: &str, datacenter: Option<&str>) -> Result<bool, ApiError> {
        let (view, checks) = tokio::try_join!(
            self.consul.node(node, datacenter, Read::Consistent),
            self.consul.node_checks(node, datacenter, Read::Consistent),
        )?;
        let reading = NodeReading::of(node, self.clock.now(), &view, &checks);
        self.world().record(key).nodes_read.push(reading);
        Ok(!view.meta.hides() && !checks.meta.hides())
    }
}
