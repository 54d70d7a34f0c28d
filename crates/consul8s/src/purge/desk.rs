//! Where `purge` writes: under the Lease, or without one where there is no cluster any more.

use consul8s_consul::{Batcher, Client};
use consul8s_core::claim::Timing;
use consul8s_core::consul::{TxnOp, TxnOutcome};
use consul8s_core::ports::ApiError;
use consul8s_kube::{Connection, LeaseClient};
use std::fmt;
use std::sync::Arc;

use crate::clock::{BootClock, Clock};
use crate::config::Options;
use crate::leader::{Election, Fenced, Keeper, Leadership, Post};
use crate::metrics::Metrics;

/// What writes.
pub(super) struct Desk {
    batcher: Batcher,
    leadership: Option<Leadership>,
}

impl Desk {
    /// Opens it, and takes up the Lease where there is a cluster.
    pub(super) fn open(
        options: &Options,
        cluster: Option<&Connection>,
        client: &Client,
    ) -> anyhow::Result<(Desk, Option<Post>)> {
        let Some(connection) = cluster else {
            let (batcher, driver) = Batcher::new(Arc::new(client.writer()));
            tokio::spawn(driver.run());
            return Ok((Desk { batcher, leadership: None }, None));
        };
        let lease = options.lease(&connection.namespace);
        let election = Election {
            me: options.holder.clone(),
            lease: lease.to_string(),
            elect: options.leader_elect,
            timing: Timing::default(),
            boot: BootClock::Machine,
            clock: Clock::start(),
        };
        let metrics = Arc::new(Metrics::new());
        let (leadership, keeper) = Keeper::new(LeaseClient::new(connection, lease)?, election, metrics);
        let (batcher, driver) = Batcher::new(Arc::new(Fenced::new(client.writer(), leadership.clone())));
        tokio::spawn(driver.run());
        Ok((Desk { batcher, leadership: Some(leadership) }, Some(Post::take(keeper))))
    }

    /// Waits for the Lease.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        match &self.leadership {
            Some(leadership) => {
                leadership.wait_for_the_lease(Timing::default().lease).await.map(drop).map_err(anyhow::Error::msg)
            }
            None => Ok(()),
        }
    }

    /// Does `what`: one group of operations, all or nothing.
    pub(super) async fn write(&self, what: impl fmt::Display, ops: Vec<TxnOp>) -> Result<(), ApiError> {
        match self.batcher.submit(ops).await? {
            TxnOutcome::Applied(_) => Ok(()),
            TxnOutcome::Refused(refusals) => Err(ApiError::refused(what, &refusals)),
        }
    }
}
