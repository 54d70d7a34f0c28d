//! Reads that must be done before more can be decided about registrations.

use consul8s_core::consul::{HealthQuery, NodeView, Read};
use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi};
use consul8s_core::time::UnixMillis;
use consul8s_core::to_consul::Need;

use super::Planned;
use super::to_kube::READ_AGAIN;
use crate::controller::Controller;

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// Carries out the reads that a plan needs, as far as they are due. Gives until when to rest, where one of them failed.
    pub(super) async fn read_for(&self, key: &ObjectKey, plan: &Planned) -> Option<UnixMillis> {
        let mut failed = false;
        for need in &plan.registrations.needs {
            match need {
                Need::ReadService { key, at } if *at <= self.clock.now() => {
                    failed |= !self.read_absent(key).await;
                }
                Need::ReadOriginal { node, at } => {
                    let due = self.world().record(key).original_node.due(*at);
                    if due <= self.clock.now() {
                        self.read_original(key, node).await;
                    }
                }
                Need::ReadService { .. } => {}
            }
        }
        if let Some(name) = &plan.ask_elsewhere {
            let due = self.world().record(key).elsewhere.due();
            if due <= self.clock.now() {
                // Where nothing waits for it, it can wait.
                let can_wait = plan.waits_for.is_none();
                let _slot = if can_wait { self.few.acquire().await.ok() } else { None };
                self.read_elsewhere(key, name).await;
            }
        }
        failed.then(|| self.clock.now().after(READ_AGAIN))
    }

    /// A Service that was only missing from a list; whether there was an answer.
    async fn read_absent(&self, key: &ObjectKey) -> bool {
        let read = self.kube.service(key).await;
        let answered = read.is_ok();
        match read {
            Ok(Some(service)) => self.world().services.wrote(service),
            Ok(None) => self.world().read_absent(key, self.clock.now()),
            Err(error) => tracing::debug!(service = %key, %error, "a confirming read failed; it is tried again"),
        }
        answered
    }

    /// The node that the Python original made, if it did.
    async fn read_original(&self, key: &ObjectKey, node: &str) {
        // A permit is always to be had: the semaphore is never closed.
        let _slot = self.few.acquire().await;
        let answer = whole_node(&*self.consul, node).await;
        let now = self.clock.now();
        let mut world = self.world();
        let original = &mut world.record(key).original_node;
        match answer {
            Ok((view, _)) => original.read(node, view, now),
            // Who may not see it can't take it over either.
            Err(error) if error.kind == ErrorKind::Forbidden => original.read(node, None, now),
            Err(error) => {
                original.failed(now);
                drop(world);
                tracing::debug!(service = %key, %error, "the original's node could not be read; it is tried again");
            }
        }
    }

    /// Whether another installation has registered the Service.
    async fn read_elsewhere(&self, key: &ObjectKey, name: &str) {
        let query = HealthQuery { name: name.to_owned(), ..HealthQuery::default() };
        let answer = self.consul.health(&query, Read::Consistent).await;
        let now = self.clock.now();
        let mut world = self.world();
        let Some(service) = world.services.get(key).cloned() else { return };
        match answer {
            // What is hidden from us is no reason not to register.
            Ok(answer) => {
                world.record(key).elsewhere.read(name, &service, &self.settings.identity.owner, answer.body, now)
            }
            Err(error) => {
                world.record(key).elsewhere.failed(now);
                world.consul_fails(&error);
            }
        }
    }
}

/// A node with its checks, by consistent reads. What is hidden from us is refused: it must not look absent.
/// The index is that of the services, which were read first.
pub(crate) async fn whole_node<C: ConsulApi>(consul: &C, name: &str) -> Result<(Option<NodeView>, u64), ApiError> {
    let answer = consul.node(name, None, Read::Consistent).await?;
    let index = answer.meta.index;
    let Some(mut view) = shown(answer)? else { return Ok((None, index)) };
    let checks = shown(consul.node_checks(name, None, Read::Consistent).await?)?;
    view.checks = checks.into_iter().map(|check| (check.id.clone(), check)).collect();
    Ok((Some(view), index))
}

fn shown<T>(answer: consul8s_core::consul::Answer<T>) -> Result<T, ApiError> {
    if answer.meta.hides() {
        return Err(ApiError::new(ErrorKind::Forbidden, "Consul hides a part of the answer from our token"));
    }
    Ok(answer.body)
}
