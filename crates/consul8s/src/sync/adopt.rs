//! The original's `Endpoints` object of a Service: read when it matters, taken over once our slices stand, given back before they go. What is
//! to be done is [`consul8s_core::adopt`]'s business.

use std::sync::Once;

use consul8s_core::adopt::{self, Endpoints, Standing, Step, Wish};
use consul8s_core::claim::Claim;
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi, KubeWriter};
use consul8s_core::problem::Reason;
use consul8s_core::repairs::Verdict;
use consul8s_core::settings::Direction;

use super::writers::Writers;
use super::{Applied, Planned};
use crate::controller::Controller;

/// What the patch holds, for the count of repairs: it is always the same.
const WANTED: &str = "skip-mirror";

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// What is to become of the object, by what the plan read of the Service.
    pub(super) fn wish_for_original(&self, plan: &Planned) -> Wish {
        if !self.directions.contains(&Direction::ToKube) {
            return Wish::Leave;
        }
        Wish::of(plan.parsed.as_ref().map(|parsed| &parsed.intent), self.settings.adopt_endpoints)
    }

    /// Gives back what was taken over, before our slices go: a restart in between knows by them that there is something to give back.
    pub(super) async fn give_back<W: KubeWriter>(
        &self,
        key: &ObjectKey,
        plan: &Planned,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Result<(), ApiError> {
        match self.wish_for_original(plan) {
            Wish::GiveBack => self.settle_original(key, Wish::GiveBack, writers, claim).await,
            Wish::TakeOver | Wish::Leave => Ok(()),
        }
    }

    /// Takes the object over, after our slices were written.
    pub(super) async fn take_over<W: KubeWriter>(
        &self,
        key: &ObjectKey,
        plan: &Planned,
        applied: Applied,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Applied {
        if !matches!(applied, Applied::Done(_)) || self.wish_for_original(plan) != Wish::TakeOver {
            return applied;
        }
        match self.settle_original(key, Wish::TakeOver, writers, claim).await {
            Ok(()) => applied,
            Err(error) if error.kind == ErrorKind::NotLeading => Applied::NotWritten,
            Err(error) => Applied::Failed(error),
        }
    }

    async fn settle_original<W: KubeWriter>(
        &self,
        key: &ObjectKey,
        wish: Wish,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Result<(), ApiError> {
        if !self.is_due(key, wish) {
            return Ok(());
        }
        let settled = async {
            let read = self.kube.endpoints(key).await?;
            let step = self.decide(key, wish, read.as_ref());
            match (step, read) {
                (Step::Nothing, _) | (_, None) => Ok(()),
                (step, Some(endpoints)) => self.take_step(key, step, &endpoints, writers, claim).await,
            }
        };
        match settled.await {
            Err(error) if matches!(error.kind, ErrorKind::Forbidden | ErrorKind::Invalid | ErrorKind::NotFound) => {
                self.refused(key, &error);
                Ok(())
            }
            settled => settled,
        }
    }

    fn is_due(&self, key: &ObjectKey, wish: Wish) -> bool {
        let now = self.clock.now();
        let mut world = self.world();
        let standing = self.standing(&world, key);
        world.record(key).original.is_due(wish, standing, now)
    }

    fn standing(&self, world: &crate::stores::World, key: &ObjectKey) -> Standing {
        let service = world.services.get(key).map(AsRef::as_ref);
        Standing::of(service, world.slices.of_service(key).map(AsRef::as_ref), &self.settings.identity)
    }

    /// On the slices as they stand now, which were accepted.
    fn decide(&self, key: &ObjectKey, wish: Wish, read: Option<&Endpoints>) -> Step {
        let now = self.clock.now();
        let mut world = self.world();
        let standing = self.standing(&world, key);
        let record = world.record(key);
        let step = record.original.decide(wish, read, standing, &self.settings.identity, now);
        if step == Step::Adopt
            && let Verdict::LeaveAlone(_) = record.repairs.judge(&object(key), WANTED, now)
        {
            record.repairs.leave_alone(&object(key), now);
            tracing::debug!(service = %key, "the original writes over what was taken over: it is left alone for a while");
            return Step::Nothing;
        }
        step
    }

    async fn take_step<W: KubeWriter>(
        &self,
        key: &ObjectKey,
        step: Step,
        endpoints: &Endpoints,
        writers: &Writers<W>,
        claim: &Claim,
    ) -> Result<(), ApiError> {
        let owner = (step == Step::Adopt).then_some(self.settings.identity.owner.as_str());
        writers.kubernetes(claim, |writer| writer.adopt_endpoints(endpoints, owner)).await?;
        let now = self.clock.now();
        let mut world = self.world();
        let record = world.record(key);
        record.original.done(step);
        if step == Step::Adopt {
            record.repairs.wrote(&object(key), WANTED.to_owned(), now);
            let told = adopt::told(endpoints);
            tracing::info!(service = %key, "{told}");
            record.deeds.insert(Reason::Adopted, told);
        } else {
            tracing::info!(service = %key, "Endpoints {key} of the Python original is mirrored again: the Service is no longer filled by us");
        }
        Ok(())
    }

    /// Without the permission a Service is filled all the same; said once, since it concerns all.
    fn refused(&self, key: &ObjectKey, error: &ApiError) {
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            tracing::warn!(%error, "cannot take over what the Python original left; `get` and `patch` of endpoints are needed for that, or --adopt-endpoints=false");
        });
        tracing::debug!(service = %key, %error, "the original's Endpoints object is left alone");
        let now = self.clock.now();
        self.world().record(key).original.refused(now);
    }
}

fn object(key: &ObjectKey) -> String {
    format!("Endpoints {key}")
}
