//! Sentinels: one blocking query for each datacenter whose only use is to be let go when Consul is restored from a snapshot.
//!
//! Consul answers a blocking query for the health of a service from a stream, and such a query goes on waiting for an index that the
//! restored Consul may not reach for minutes. All others are let go at once; the client notices (`consul8s_consul::Client`), and has
//! everything asked anew.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use consul8s_consul::watch::Ask;
use consul8s_consul::{Watch, WatchConfig};
use consul8s_core::consul::{Answer, NodeView, Read};
use consul8s_core::ports::{ApiError, ConsulApi, KubeApi};
use consul8s_core::settings::Direction;
use tokio::task::JoinSet;

use crate::controller::Controller;
use crate::stores::lineages::Datacenter;

/// Those that stand already.
#[derive(Debug)]
pub struct Sentinels {
    posted: BTreeSet<Datacenter>,
}

impl Sentinels {
    /// None yet. Where registrations are kept, the watches of our nodes are sentinels themselves.
    #[must_use]
    pub fn new(directions: &BTreeSet<Direction>) -> Sentinels {
        let posted = if directions.contains(&Direction::ToConsul) { BTreeSet::from([None]) } else { BTreeSet::new() };
        Sentinels { posted }
    }

    /// Posts one for a datacenter, unless it has one. It stands as long as the program runs: there are few datacenters.
    pub fn post<K: KubeApi, C: ConsulApi>(
        &mut self,
        tasks: &mut JoinSet<()>,
        controller: &Arc<Controller<K, C>>,
        datacenter: &Datacenter,
    ) {
        if !self.posted.insert(datacenter.clone()) {
            return;
        }
        let sentinel = Sentinel { node: controller.node_name(0), datacenter: datacenter.clone() };
        let config = WatchConfig { seed: controller.dice.seed(), ..WatchConfig::default() };
        let mut watch = Watch::new(controller.consul.clone(), sentinel, &config);
        tasks.spawn(async move {
            loop {
                // Whether there is news, or trouble, is for others to tell.
                watch.next().await;
            }
        });
    }
}

/// A node that may exist or not: no more is asked than that the question waits.
#[derive(Clone, Debug)]
struct Sentinel {
    node: String,
    datacenter: Datacenter,
}

impl fmt::Display for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sentinel in {}", self.datacenter.as_deref().unwrap_or("the agent's datacenter"))
    }
}

impl Ask for Sentinel {
    type Body = Option<NodeView>;

    async fn ask<C: ConsulApi>(&self, api: &C, read: Read) -> Result<Answer<Self::Body>, ApiError> {
        api.node(&self.node, self.datacenter.as_deref(), read).await
    }
}
