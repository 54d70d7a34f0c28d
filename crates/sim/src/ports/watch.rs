//! [`Watch`] on the embedded Kubernetes: list, then changes, and list again when history is gone.

use std::collections::VecDeque;

use consul8s_core::ports::{ApiError, ErrorKind, Watch, WatchEvent};
use serde_json::Value;

use super::admit;
use crate::changes::Changes;
use crate::model::kube::{Gone, Resource, Selector, Version};
use crate::world::KubeWorld;

/// A running list and watch of one resource.
pub struct WorldWatch<T> {
    world: KubeWorld,
    resource: Resource,
    namespace: Option<String>,
    convert: fn(&Value) -> T,
    changes: Changes,
    place: Place,
    ready: VecDeque<WatchEvent<T>>,
}

/// Where the watch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing listed yet, or history was gone.
    Start,
    /// Following from this version.
    At(Version),
    /// The connection broke at this version.
    BrokenAt(Option<Version>),
}

impl<T> WorldWatch<T> {
    pub(super) fn new(
        world: &KubeWorld,
        resource: Resource,
        namespace: Option<&str>,
        convert: fn(&Value) -> T,
    ) -> WorldWatch<T> {
        let namespace = namespace.map(str::to_owned);
        let (world, changes) = (world.clone(), world.changes());
        WorldWatch { world, resource, namespace, convert, changes, place: Place::Start, ready: VecDeque::new() }
    }

    /// Does what can be done without waiting for a change.
    async fn step(&mut self) {
        match self.place {
            Place::Start => self.list().await,
            Place::At(version) if self.world.faults().unreachable => self.fail(Some(version), broken()),
            Place::At(version) => self.follow(version),
            Place::BrokenAt(version) => self.reconnect(version).await,
        }
    }

    async fn list(&mut self) {
        match admit(&self.world).await.and_then(|reply| reply.deliver(())) {
            Err(why) => self.fail(None, why),
            Ok(()) => {
                let namespace = self.namespace.as_deref();
                let (version, objects) = self
                    .world
                    .read(|cluster| (cluster.version(), cluster.list(self.resource, namespace, &Selector::default())));
                let objects = objects.iter().map(|object| (self.convert)(object)).collect();
                self.ready.push_back(WatchEvent::Listed(objects));
                self.place = Place::At(version);
            }
        }
    }

    fn follow(&mut self, version: Version) {
        let (now, changes) =
            self.world.read(|cluster| (cluster.version(), cluster.changes_since(self.resource, version)));
        let changes = match changes {
            Ok(changes) => changes,
            Err(Gone { wanted, oldest }) => {
                let what = format!("too old resource version: {wanted} ({oldest})");
                self.ready.push_back(WatchEvent::Failed(ApiError::new(ErrorKind::Gone, what)));
                self.place = Place::Start;
                return;
            }
        };
        for change in changes {
            let namespace = crate::model::kube::text_at(&change.shown, "/metadata/namespace");
            if self.namespace.as_deref().is_some_and(|wanted| wanted != namespace) {
                continue;
            }
            let object = (self.convert)(&change.shown);
            let gone = change.after.is_none();
            self.ready.push_back(if gone { WatchEvent::Deleted(object) } else { WatchEvent::Applied(object) });
        }
        self.place = Place::At(now);
    }

    async fn reconnect(&mut self, version: Option<Version>) {
        if admit(&self.world).await.is_ok_and(|reply| reply.deliver(()).is_ok()) {
            self.place = version.map_or(Place::Start, Place::At);
        }
    }

    /// Tells the failure once; tries again when the world changes.
    fn fail(&mut self, version: Option<Version>, why: ApiError) {
        self.ready.push_back(WatchEvent::Failed(why));
        self.place = Place::BrokenAt(version);
    }
}

impl<T: Send + 'static> Watch<T> for WorldWatch<T> {
    async fn next(&mut self) -> WatchEvent<T> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            // Marked as seen before looking, so that a change between looking and waiting wakes.
            self.changes.mark_seen();
            let before = self.place;
            self.step().await;
            if self.ready.is_empty() && self.place == before {
                self.changes.changed().await;
            }
        }
    }
}

fn broken() -> ApiError {
    ApiError::new(ErrorKind::Unreachable, "simulated: watch broke")
}
