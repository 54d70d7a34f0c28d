//! One sync of everything, for `-1` and `plan`: the same controller, ended as soon as nothing is left to do.

use std::sync::Arc;
use std::time::Duration;

use consul8s_core::claim::Timing;
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi, KubeWriter};
use consul8s_core::settings::Direction;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::commands::Exit;
use crate::controller::Controller;
use crate::leader::Leadership;
use crate::stores::denied;
use crate::stores::record::{State, Told};
use crate::sync::writers::Writers;

/// How long either side may take to answer at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long it may take to be done, with confirming reads (up to 10 s apart) and retries.
const DONE_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked.
const STEP: Duration = Duration::from_millis(20);

/// How it stands at the end.
pub struct Outcome {
    /// Every Service of ours, with what was found.
    pub services: Vec<(ObjectKey, Told)>,
    /// Services that were not brought in sync in time.
    pub unfinished: usize,
    /// A node of our name in Consul is somebody else's, or may not be made, so that nothing was registered.
    pub blocked: bool,
}

impl Outcome {
    /// The exit code of `-1`.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.unfinished > 0 || self.blocked {
            Exit::Failure
        } else if self.services.iter().any(|(_, told)| told.state == State::Held) {
            Exit::Held
        } else {
            Exit::Done
        }
    }
}

/// Syncs once. Without writers it only plans.
///
/// # Errors
/// One of the two sides does not answer.
pub async fn run<K: KubeApi, C: ConsulApi, W: KubeWriter>(
    controller: Arc<Controller<K, C>>,
    writers: Option<Arc<Writers<W>>>,
    stop: CancellationToken,
) -> anyhow::Result<Outcome> {
    let leadership = writers.as_ref().map(|writers| writers.leadership().clone());
    let inner = stop.child_token();
    let running = tokio::spawn(controller.clone().run(writers, inner.clone()));
    let waited = tokio::select! {
        waited = wait(&controller, leadership.as_ref()) => waited,
        () = stop.cancelled() => Err(anyhow::anyhow!("ended on a signal before it was done")),
    };
    inner.cancel();
    running.await?;
    let unfinished = waited?;
    let world = controller.world();
    let services: Vec<(ObjectKey, Told)> =
        world.records().filter_map(|(key, record)| Some((key.clone(), record.told.clone()?))).collect();
    let foreign = world.registry.nodes().foreign(&controller.settings.marks()).is_some();
    let may_not_make = world.denied.problem().is_some();
    let blocked = (foreign || may_not_make) && services.iter().any(|(_, told)| told.direction == Direction::ToConsul);
    Ok(Outcome { services, unfinished, blocked })
}

async fn wait<K: KubeApi, C: ConsulApi>(
    controller: &Controller<K, C>,
    leadership: Option<&Leadership>,
) -> anyhow::Result<usize> {
    if let Some(leadership) = leadership {
        let gained = leadership.wait_for_the_lease(Timing::default().lease).await;
        gained.map_err(|why| anyhow::anyhow!("may not write, so nothing was done: {why}"))?;
    }
    let started = Instant::now();
    // Both sides must have answered before "nothing to do" means anything.
    match tokio::time::timeout(ANSWER_WITHIN, controller.consul.leader()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => anyhow::bail!("Consul does not answer: {error}"),
        Err(_) => anyhow::bail!("Consul does not answer within {} s", ANSWER_WITHIN.as_secs()),
    }
    while let Some(awaited) = controller.awaited() {
        if started.elapsed() > ANSWER_WITHIN {
            let trouble = controller.trouble().map(|error| format!(": {error}")).unwrap_or_default();
            anyhow::bail!("{awaited}{trouble}");
        }
        tokio::time::sleep(STEP).await;
    }
    loop {
        let releasing = leadership.is_some_and(Leadership::is_to_release);
        let unfinished = controller.unfinished(leadership.is_none()) + usize::from(releasing);
        if unfinished == 0 || started.elapsed() > DONE_WITHIN {
            // Noted when the Lease is given back, for whoever comes next.
            leadership.into_iter().for_each(|leadership| controller.note_held(leadership));
            return Ok(unfinished);
        }
        tokio::time::sleep(STEP).await;
    }
}

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// What has not answered yet; none when all has.
    fn awaited(&self) -> Option<&'static str> {
        let world = self.world();
        if !world.kube_synced() {
            Some("the lists of Kubernetes are not complete")
        } else if world.cluster.is_another() {
            Some("the API speaks for another cluster")
        } else if !world.cluster.is_proven() {
            Some("it is not known yet whose lists these are")
        } else if self.directions.contains(&Direction::ToConsul) && !world.registry.synced() {
            Some("Consul did not answer what stands on our node")
        } else {
            None
        }
    }

    fn trouble(&self) -> Option<ApiError> {
        let world = self.world();
        let hidden =
            || world.registry.hidden().map(|node| ApiError::new(ErrorKind::Forbidden, denied::hidden(&node).message));
        world.kube_trouble.clone().or_else(hidden).or_else(|| world.consul_trouble.clone())
    }

    /// How many Services are still being worked on. What only waits for a confirming read or for a hold to end counts while it must
    /// still be found out, not once it is held.
    fn unfinished(&self, plans_only: bool) -> usize {
        let busy = self.queue.depth();
        if busy > 0 {
            return busy;
        }
        if !plans_only && !self.imports.is_settled() {
            return 1;
        }
        let world = self.world();
        let keys = world.all_keys();
        let told = keys.iter().filter_map(|key| world.told(key));
        told.filter(|told| {
            let pending = told.state == State::Pending || told.retrying;
            told.resolving || (pending && (!plans_only || told.pending.is_empty()))
        })
        .count()
    }
}
