//! What is told of our synthetic nodes in Consul: by their watches, and by reads where those may have been left behind.

use std::sync::{Arc, MutexGuard};

use consul8s_core::consul::{Answer, AnswerMeta, Check, NodeView};
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi};
use consul8s_core::time::UnixMillis;

use crate::controller::Controller;
use crate::feeds::Demand;
use crate::stores::World;
use crate::stores::registry::{Registry, Turned};
use crate::sync::whole_node;

impl<K: KubeApi, C: ConsulApi> Controller<K, C> {
    /// The watch of one of our nodes' services has news.
    pub fn node_services_told(&self, number: usize, answer: &Answer<Arc<Option<NodeView>>>, lineage_broken: bool) {
        self.node_told(lineage_broken, |registry, now| {
            let mut view = (*answer.body).clone();
            if answer.meta.filtered && view.is_none() && !registry.knows(number) {
                registry.hide(number, now);
                return Turned::default();
            }
            if may_hide(&answer.meta) {
                let shown = view.as_ref().map_or(0, |view| view.services.len());
                view = registry.with_hidden_services(number, view);
                let kept = view.as_ref().map_or(0, |view| view.services.len());
                registry
                    .doubt_if(number, answer.meta.polled && (kept > shown || answer.body.is_none() && view.is_some()));
            } else {
                registry.shows(number);
            }
            registry.take_in_services(number, view, answer.meta.index, now)
        });
        self.watch_nodes();
    }

    /// The watch of one of our nodes' checks has news.
    pub fn node_checks_told(&self, number: usize, answer: &Answer<Arc<Vec<Check>>>, lineage_broken: bool) {
        self.node_told(lineage_broken, |registry, now| {
            let mut checks = (*answer.body).clone();
            if may_hide(&answer.meta) {
                let shown = checks.len();
                checks = registry.with_hidden_checks(number, &checks);
                registry.doubt_if(number, answer.meta.polled && checks.len() > shown);
            }
            registry.take_in_checks(number, &checks, answer.meta.index, now)
        });
    }

    /// Takes in news of a node, and has looked at what it concerns.
    fn node_told(&self, lineage_broken: bool, take_in: impl FnOnce(&mut Registry, UnixMillis) -> Turned) {
        let now = self.clock.now();
        let mut world = self.world();
        world.consul_answers(now);
        if lineage_broken {
            world.registry.forget_floor();
        }
        let was_synced = world.registry.synced();
        let turned = take_in(&mut world.registry, now);
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
        self.node_confirmed(|registry, now| {
            if !may_hide(meta) {
                registry.shows(number);
            }
            registry.services_confirmed(number, meta.index, now);
        });
    }

    /// The same for its checks.
    pub fn node_checks_confirmed(&self, number: usize, meta: &AnswerMeta) {
        self.node_confirmed(|registry, now| registry.checks_confirmed(number, meta.index, now));
    }

    fn node_confirmed(&self, confirm: impl FnOnce(&mut Registry, UnixMillis)) {
        let now = self.clock.now();
        let mut world = self.world();
        world.consul_answers(now);
        confirm(&mut world.registry, now);
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
                    if error.kind == ErrorKind::Forbidden {
                        world.registry.hide(number, now);
                    }
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

/// Whether something may be missing from an answer that is there. One to a blocking query does not tell what it hides: what it lacks is
/// read anew before it counts.
fn may_hide(meta: &AnswerMeta) -> bool {
    meta.hides() || meta.polled
}
