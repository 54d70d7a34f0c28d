//! Watches: a line of JSON for each change, as long as the client stays and the world is reachable.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::body::endless;
use super::super::call::Call;
use super::path::Target;
use super::{Answer, encode, lists};
use crate::changes::Changes;
use crate::model::kube::{Change, Failure, Gone, Selector, Version};
use crate::world::{Cut, KubeWorld};

/// Without `timeoutSeconds`; the real one draws from half an hour to an hour.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// A running watch.
struct Watching {
    world: KubeWorld,
    target: Target,
    selector: Selector,
    bookmarks: bool,
    changes: Changes,
    since: Version,
    ends: Instant,
    bookmark_at: Instant,
    ready: VecDeque<Bytes>,
    over: bool,
}

pub(super) fn watch(world: &KubeWorld, call: &Call, target: &Target) -> Answer {
    let selector = lists::selector(call)?;
    let timeout =
        call.filled("timeoutSeconds").and_then(|text| text.parse().ok()).map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let since = match call.filled("resourceVersion") {
        None | Some("0") => None,
        Some(text) => Some(text.parse::<Version>().map_err(|why| {
            let what = format!("resourceVersion: Invalid value: {text:?}: {why}");
            Failure::plain(500, "InternalError", what)
        })?),
    };
    let now = Instant::now();
    let mut watching = Watching {
        world: world.clone(),
        target: target.clone(),
        selector,
        bookmarks: call.is_true("allowWatchBookmarks"),
        changes: world.changes(),
        since: since.unwrap_or_default(),
        ends: now + timeout,
        bookmark_at: now + BOOKMARK_EVERY,
        ready: VecDeque::new(),
        over: false,
    };
    if since.is_none() || call.is_true("sendInitialEvents") {
        watching.show_all();
    }
    Ok(endless(stream::unfold(watching, |mut watching| async move {
        let line = watching.next().await?;
        Some((line, watching))
    })))
}

impl Watching {
    /// The next line; none at the end of its time, an error when the connection is to break.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            if self.over {
                return None;
            }
            if self.world.faults().unreachable {
                return Some(Err(Cut));
            }
            self.changes.mark_seen();
            self.follow();
            if self.ready.is_empty() {
                self.wait().await;
            }
        }
    }

    /// Waits for a change, the next bookmark or the end.
    async fn wait(&mut self) {
        let next_time = self.ends.min(self.bookmark_at);
        if tokio::time::timeout_at(next_time, self.changes.changed()).await.is_ok() {
            return;
        }
        let now = Instant::now();
        self.over = now >= self.ends;
        if self.bookmarks && !self.over {
            self.bookmark(&json!({}));
        }
        self.bookmark_at = now + BOOKMARK_EVERY;
    }

    /// Everything there is, as additions, and a bookmark that says so.
    fn show_all(&mut self) {
        let (resource, namespace) = (self.target.resource, self.target.namespace.clone());
        let (version, objects) = self
            .world
            .read(|cluster| (cluster.version(), cluster.list(resource, namespace.as_deref(), &self.selector)));
        for object in objects {
            self.push("ADDED", &object);
        }
        self.since = version;
        if self.bookmarks {
            self.bookmark(&json!({"k8s.io/initial-events-end": "true"}));
        }
    }

    fn follow(&mut self) {
        let resource = self.target.resource;
        let (now, changes) =
            self.world.read(|cluster| (cluster.version(), cluster.changes_since(resource, self.since)));
        match changes {
            Ok(changes) => changes.iter().for_each(|change| self.tell(change)),
            Err(Gone { wanted, oldest }) => {
                let why = Failure::expired(format!("too old resource version: {wanted} ({oldest})"));
                self.push("ERROR", &encode::status(&why));
                self.over = true;
            }
        }
        // A watch from a version that is yet to come waits for it.
        self.since = self.since.max(now);
    }

    /// What a change means to this selector: an object can come into it and go out of it.
    fn tell(&mut self, change: &Change) {
        let here = |object: &Value| {
            let namespace = crate::model::kube::text_at(object, "/metadata/namespace");
            self.target.namespace.as_deref().is_none_or(|wanted| wanted == namespace) && self.selector.matches(object)
        };
        let before = change.before.as_deref().is_some_and(here);
        let after = change.after.as_deref().is_some_and(here);
        match (before, after) {
            (false, true) => self.push("ADDED", &change.shown),
            (true, true) => self.push("MODIFIED", &change.shown),
            (true, false) => self.push("DELETED", &change.shown),
            (false, false) => {}
        }
    }

    fn bookmark(&mut self, annotations: &Value) {
        let mut metadata = json!({"resourceVersion": self.since.to_string()});
        if annotations.as_object().is_some_and(|map| !map.is_empty()) {
            metadata["annotations"] = annotations.clone();
        }
        let (kind, version) = (self.target.resource.info().kind, self.target.resource.api_version());
        self.push("BOOKMARK", &json!({"kind": kind, "apiVersion": version, "metadata": metadata}));
    }

    fn push(&mut self, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.ready.push_back(Bytes::from(line));
    }
}
