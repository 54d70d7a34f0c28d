//! What is told of our synthetic nodes in Consul: by their watches, and by reads where those may have been left behind.

use std::sync::{Arc, MutexGuard};

use consul8s_core::consul::{Answer, AnswerMeta, Check, NodeView};
use consul8s_core::ports::{ApiError, ConsulApi, KubeApi};

use crate::controller::Controller;
use crate::feeds::Demand;
use crate::stores::World;
use crate::stores::registry::Turned;
use crate::sync::whole_node;

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// The watch of one of our nodes' services has news.
    pub fn node_services_told(&self, number: usize, answer: &Answer<Arc<Option<NodeView>>>, lineage_broken: bool) {
        let now = self.clock.now();
        let mut world = self.world();
        world.consul_answers(now);
        if lineage_broken {
            world.registry.forget_floor();
        }
        let was_synced = world.registry.synced();
        let mut view = (*answer.body).clone();
        if hides(&answer.meta) {
            view = world.registry.with_hidden_services(number, view);
        }
        let turned = world.registry.take_in_services(number, view, answer.meta.index, now);
        self.registry_turned(world, was_synced, turned);
        self.watch_nodes();
    }

    /// The watch of one of our nodes' checks has news.
    pub fn node_checks_told(&self, number: usize, answer: &Answer<Arc<Vec<Check>>>, lineage_broken: bool) {
        let now = self.clock.now();
        let mut world = self.world();
        world.consul_answers(now);
        if lineage_broken {
            world.registry.forget_floor();
        }
        let was_synced = world.registry.synced();
        let mut checks = (*answer.body).clone();
        if hides(&answer.meta) {
            checks = world.registry.with_hidden_checks(number, &checks);
        }
        let turned = world.registry.take_in_checks(number, &checks, answer.meta.index, now);
        self.registry_turned(world, was_synced, turned);
    }

    /// Starts the watches of nodes of ours that came, by a watch or by our own write.
    pub fn watch_nodes(&self) {
        let nodes = self.world().registry.to_watch();
        nodes.for_each(|number| self.demand(Demand::Node(number)));
    }

    /// Looks at every Service whose registrations are no longer what its last look left.
    fn registry_turned(&self, mut world: MutexGuard<'_, World>, was_synced: bool, turned: Turned) {
        if !world.registry.synced() {
            return;
        }
        let everything = !was_synced || turned.others;
        if everything {
            world.note_standing(&self.settings, self.clock.now());
        }
        let keys = if everything { world.all_keys() } else { turned.keys };
        drop(world);
        keys.into_iter().for_each(|key| self.queue.add(key));
    }

    /// The watch of one of our nodes' services had a good answer without news.
    pub fn node_services_confirmed(&self, number: usize, meta: &AnswerMeta) {
        let now = self.clock.now();
        let mut world = self.world();
        world.consul_answers(now);
        world.registry.services_confirmed(number, meta.index, now);
    }

    /// The same for its checks.
    pub fn node_checks_confirmed(&self, number: usize, meta: &AnswerMeta) {
        let now = self.clock.now();
        let mut world = self.world();
        world.consul_answers(now);
        world.registry.checks_confirmed(number, meta.index, now);
    }

    /// Reads nodes of ours of which Consul tells less than we know: it may have been restored.
    pub async fn read_doubtful(&self) {
        let doubtful = self.world().registry.doubtful(self.clock.now());
        for (number, floors) in doubtful {
            let name = self.node_name(number);
            let answer = whole_node(&*self.consul, &name).await;
            let now = self.clock.now();
            let mut world = self.world();
            match answer {
                Ok((view, index)) => {
                    world.consul_answers(now);
                    let was_synced = world.registry.synced();
                    if let Some(turned) = world.registry.read(number, view, index, floors, now) {
                        self.registry_turned(world, was_synced, turned);
                        self.watch_nodes();
                    }
                }
                Err(error) => {
                    drop(world);
                    tracing::debug!(node = %name, %error, "could not be read; it is tried again");
                }
            }
        }
    }

    /// The watch of one of our nodes got no answer that can be believed.
    pub fn node_failed(&self, _number: usize, error: &ApiError) {
        self.world().consul_fails(error);
    }
}

/// Whether something may be missing from an answer that is there.
fn hides(meta: &AnswerMeta) -> bool {
    meta.filtered || meta.anonymous_under_deny
}
