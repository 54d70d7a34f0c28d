//! Consul, with every request counted.

use std::sync::Arc;
use std::time::Duration;

use consul8s_core::consul::{Answer, Check, HealthQuery, Instance, NodeView, Read, TxnOp, TxnOutcome};
use consul8s_core::import::{Catalog, CatalogQuery};
use consul8s_core::ports::{ApiError, ConsulApi, ConsulWriter};

use crate::metrics::Metrics;

/// A reader or a writer, whose requests show in `consul8s_consul_requests_total`.
pub struct Counted<C> {
    inner: C,
    metrics: Arc<Metrics>,
}

impl<C> Counted<C> {
    /// Counts the requests of `inner`.
    pub fn new(inner: C, metrics: Arc<Metrics>) -> Counted<C> {
        Counted { inner, metrics }
    }

    fn counted<T>(&self, operation: &'static str, answer: Result<T, ApiError>) -> Result<T, ApiError> {
        let code = answer.as_ref().map_or_else(|error| error.kind.as_str(), |_| "ok");
        self.metrics.asked_consul(operation, code);
        answer
    }
}

impl<C: ConsulApi> ConsulApi for Counted<C> {
    async fn health(&self, query: &HealthQuery, read: Read) -> Result<Answer<Vec<Instance>>, ApiError> {
        self.counted("health", self.inner.health(query, read).await)
    }

    async fn node(
        &self,
        name: &str,
        datacenter: Option<&str>,
        read: Read,
    ) -> Result<Answer<Option<NodeView>>, ApiError> {
        self.counted("node", self.inner.node(name, datacenter, read).await)
    }

    async fn node_checks(
        &self,
        name: &str,
        datacenter: Option<&str>,
        read: Read,
    ) -> Result<Answer<Vec<Check>>, ApiError> {
        self.counted("node_checks", self.inner.node_checks(name, datacenter, read).await)
    }

    async fn services(&self, query: &CatalogQuery, read: Read) -> Result<Answer<Catalog>, ApiError> {
        self.counted("services", self.inner.services(query, read).await)
    }

    async fn leader(&self) -> Result<String, ApiError> {
        self.counted("leader", self.inner.leader().await)
    }

    fn transport(&self) -> &'static str {
        self.inner.transport()
    }

    fn watch_delay_bound(&self) -> Duration {
        self.inner.watch_delay_bound()
    }
}

impl<C: ConsulWriter> ConsulWriter for Counted<C> {
    async fn txn(&self, ops: &[TxnOp]) -> Result<TxnOutcome, ApiError> {
        self.counted("txn", self.inner.txn(ops).await)
    }
}
