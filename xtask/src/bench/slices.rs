//! A watch of EndpointSlices: what was written of them, in its order.

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::http::{Endpoint, Line, Lines};
use super::servers::Servers;

/// The watch. It begins with the slices that stand.
pub(crate) struct Slices {
    lines: mpsc::UnboundedReceiver<Result<Line>>,
    _watch: JoinSet<()>,
}

impl Slices {
    /// Watches all namespaces.
    pub(crate) async fn watch(servers: &Servers) -> Result<Self> {
        let mut stream = open(&servers.kube_api, "").await?;
        let api = servers.kube_api.clone();
        // Read beside the bench, so that each line bears the time at which it came.
        let (told, lines) = mpsc::unbounded_channel();
        let mut watch = JoinSet::new();
        watch.spawn(async move {
            let mut version = String::new();
            loop {
                match stream.next().await {
                    Ok(line) => {
                        line.value["object"]["metadata"]["resourceVersion"]
                            .as_str()
                            .unwrap_or_default()
                            .clone_into(&mut version);
                        if told.send(Ok(line)).is_err() {
                            return;
                        }
                    }
                    // The API server ends the watch of one that reads too slowly: it goes on where it was.
                    Err(_) => match open(&api, &version).await {
                        Ok(again) => stream = again,
                        Err(error) => {
                            let _ = told.send(Err(error));
                            return;
                        }
                    },
                }
            }
        });
        Ok(Self { lines, _watch: watch })
    }

    /// The next write.
    pub(crate) async fn next(&mut self) -> Result<Line> {
        self.lines.recv().await.unwrap_or_else(|| Err(anyhow!("the watch of EndpointSlices has ended")))
    }

    /// What has been told so far and not been taken.
    pub(crate) fn told(&mut self) -> impl Iterator<Item = Line> {
        std::iter::from_fn(|| self.lines.try_recv().ok()?.ok())
    }

    /// Passes over it, and says how much that was.
    pub(crate) fn drain(&mut self) -> usize {
        self.told().count()
    }
}

async fn open(api: &Endpoint, version: &str) -> Result<Lines> {
    let path = "/apis/discovery.k8s.io/v1/endpointslices?watch=1&timeoutSeconds=7200";
    let path = format!("{path}&resourceVersion={version}");
    api.connect().await?.lines(&path).await.context("the watch of EndpointSlices")
}

/// How many ready endpoints a slice has.
pub(crate) fn ready(slice: &Value) -> usize {
    let endpoints = slice["endpoints"].as_array();
    endpoints.into_iter().flatten().filter(|endpoint| endpoint["conditions"]["ready"] == true).count()
}
