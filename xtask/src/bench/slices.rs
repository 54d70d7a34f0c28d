//! A watch of EndpointSlices: what was written of them, in its order.

use anyhow::{Result, anyhow};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::http::Line;
use super::servers::Servers;

/// The watch. It begins with the slices that stand.
pub(crate) struct Slices {
    lines: mpsc::UnboundedReceiver<Line>,
    _watch: JoinSet<()>,
}

impl Slices {
    /// Watches all namespaces.
    pub(crate) async fn watch(servers: &Servers) -> Result<Self> {
        let path = "/apis/discovery.k8s.io/v1/endpointslices?watch=1&timeoutSeconds=7200";
        let mut stream = servers.kube_api.connect().await?.lines(path).await?;
        // Read beside the bench, so that each line bears the time at which it came.
        let (told, lines) = mpsc::unbounded_channel();
        let mut watch = JoinSet::new();
        watch.spawn(async move {
            // Its end closes the channel, which whoever waits there takes for the failure it is.
            while let Ok(line) = stream.next().await {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { lines, _watch: watch })
    }

    /// The next write.
    pub(crate) async fn next(&mut self) -> Result<Line> {
        self.lines.recv().await.ok_or_else(|| anyhow!("the watch of EndpointSlices has ended"))
    }

    /// What has been told so far and not been taken.
    pub(crate) fn told(&mut self) -> impl Iterator<Item = Line> {
        std::iter::from_fn(|| self.lines.try_recv().ok())
    }

    /// Passes over it, and says how much that was.
    pub(crate) fn drain(&mut self) -> usize {
        self.told().count()
    }
}

/// How many ready endpoints a slice has.
pub(crate) fn ready(slice: &Value) -> usize {
    let endpoints = slice["endpoints"].as_array();
    endpoints.into_iter().flatten().filter(|endpoint| endpoint["conditions"]["ready"] == true).count()
}
