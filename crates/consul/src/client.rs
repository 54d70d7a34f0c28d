//! Reading Consul: [`ConsulApi`] over HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use consul8s_core::consul::{Answer, Check, HealthQuery, Instance, NodeView, Read};
use consul8s_core::import::{Catalog, CatalogQuery};
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::config::ClientConfig;
use crate::dial::{Dialer, Network};
use crate::pool::Lane;
use crate::request::{self, Target};
use crate::transport::{CALL_TIMEOUT, Call, Transport, Whole};
use crate::watch::MAX_LAST_CONTACT;
use crate::wire::{self, Parsed};
use crate::writer::Writer;
use crate::{answer, error};

/// A filter that none of a node's services passes.
const NO_SERVICE: &str = "ID == \"\"";

/// No blocking query ends before its time but by news; clocks and milliseconds are not that exact.
const TRAVEL: Duration = Duration::from_millis(20);

/// Consul over HTTP. Cheap to clone; all clones and the [`Writer`] share its connections. Its connections are driven by tasks on
/// the runtime it is used on, which end with it.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
}

impl Client {
    /// A client over the network. Connects when first asked.
    #[must_use]
    pub fn new(config: ClientConfig) -> Client {
        let network = Arc::new(Network::new(config.tls.clone()));
        Client::with_dialer(config, network)
    }

    /// A client over connections that somebody else opens, such as in-memory pipes.
    #[must_use]
    pub fn with_dialer(config: ClientConfig, dialer: Arc<dyn Dialer>) -> Client {
        Client { transport: Arc::new(Transport::new(config, dialer)) }
    }

    /// What writes over the same connections. Plan mode never asks for it.
    #[must_use]
    pub fn writer(&self) -> Writer {
        Writer::new(self.transport.clone())
    }

    /// The address in use.
    #[must_use]
    pub fn address(&self) -> String {
        self.transport.pool.current().to_string()
    }

    /// Whether requests share HTTP/2 connections now.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        self.transport.pool.poll_slots().is_none()
    }

    /// What taking turns may add to the time until a change is seen; zero while every poll has a connection.
    #[must_use]
    pub fn watch_delay_bound(&self) -> Duration {
        self.transport.turns.delay_bound(self.transport.pool.poll_slots())
    }

    /// Names of the nodes of the agent's own datacenter whose meta holds this pair, by a consistent read.
    ///
    /// # Errors
    /// Consul does not answer, or hides some from our token: what is hidden must not look absent.
    pub async fn nodes_with_meta(&self, key: &str, value: &str) -> Result<Vec<String>, ApiError> {
        let partition = self.transport.partition.as_deref();
        let pair = format!("{key}:{value}");
        let target =
            Target::new("/v1/catalog/nodes", None)?.with("partition", partition).with("node-meta", Some(&pair));
        let Answer { meta, body } = self.get(target, Read::Consistent, wire::node_names).await?;
        if meta.hides() {
            return Err(ApiError::new(ErrorKind::Forbidden, "Consul hides nodes from our token"));
        }
        Ok(body)
    }

    async fn get<T>(
        &self,
        target: Target,
        read: Read,
        parse: fn(&[u8]) -> Result<Parsed<T>, serde_json::Error>,
    ) -> Result<Answer<T>, ApiError> {
        let whole = match read {
            Read::Blocking { index, wait } => self.poll(&target, index, wait).await?,
            Read::Stale => {
                // One more who wants a connection: where long polls hold them all, they must learn of it.
                let Transport { pool, turns, .. } = &*self.transport;
                let _poll = turns.begin();
                turns.turn(pool.poll_slots());
                self.ask(&target, read).await?
            }
            Read::Consistent => self.ask(&target, read).await?,
        };
        let mut meta = answer::meta(&whole.headers, whole.anonymous);
        meta.polled = whole.polled;
        if meta.leaderless || meta.last_contact > MAX_LAST_CONTACT {
            self.transport.pool.distrust(whole.address);
        }
        let Parsed { value, dropped } = read_json(&whole, parse)?;
        if dropped > 0 {
            tracing::warn!(call = whole.call, dropped, "entries without a readable identity in Consul's answer");
            // What can't be read must not look absent.
            meta.filtered = true;
        }
        Ok(Answer { meta, body: value })
    }

    /// A blocking query: one request, or where polls take turns, one after the other until the wait is over.
    async fn poll(&self, target: &Target, index: u64, wait: Duration) -> Result<Whole, ApiError> {
        let Transport { pool, credentials, turns, .. } = &*self.transport;
        let _poll = turns.begin();
        let end = Instant::now() + wait;
        loop {
            let began = Instant::now();
            let (crowded, turn_of_events) = (turns.crowded(), pool.turn_of_events());
            let (_, generation) = credentials.token()?;
            let turn = turns.turn(pool.poll_slots());
            let left = end.saturating_duration_since(began);
            let share = turn.map_or(left, |turn| turn.min(left));
            let asked = self.ask(target, Read::Blocking { index, wait: share });
            let whole = tokio::select! {
                biased;
                whole = asked => whole?,
                // Gives its connection up; with the index kept, nothing is lost.
                () = crowded, if turn.is_none() => continue,
                // Without the index: it may be one that Consul has not reached, and would wait for.
                () = turn_of_events => {
                    tokio::time::sleep(turns.spread()).await;
                    return self.ask(target, Read::Stale).await;
                }
                // Likewise, over a connection with the new certificates.
                () = pool.renewed() => continue,
                // Under another token there may be more or less to see at the same index.
                () = credentials.changed(generation) => return self.ask(target, Read::Stale).await,
            };
            let nothing_new = answer::meta(&whole.headers, whole.anonymous).index == index;
            let early = began.elapsed() + TRAVEL < share;
            if nothing_new && early && whole.indexed {
                // Consul was restored: it lets go of those who wait, with what they know already, and may count from lower now. A question
                // with the old index would be answered when Consul has come that far again. Health queries, which it answers from a
                // stream, go on waiting; so they are told.
                pool.was_restored();
                return self.ask(target, Read::Stale).await;
            }
            if turn.is_some() && nothing_new && !early {
                turns.took(share, whole.took);
            }
            // Without an index it was no blocking query, and the caller's pace must bound it, not this loop.
            if turn.is_none() || !nothing_new || early || Instant::now() >= end {
                return Ok(whole);
            }
        }
    }

    /// One request, whose answer is a 200. On the heap: a thousand polls wait in it, and each caller would hold it several times.
    fn ask<'a>(&'a self, target: &'a Target, read: Read) -> BoxFuture<'a, Result<Whole, ApiError>> {
        Box::pin(self.ask_once(target, read))
    }

    async fn ask_once(&self, target: &Target, read: Read) -> Result<Whole, ApiError> {
        let timeout = match read {
            // Consul adds up to a sixteenth, so that not all polls end at once.
            Read::Blocking { wait, .. } => wait * 17 / 16 + CALL_TIMEOUT,
            Read::Stale | Read::Consistent => CALL_TIMEOUT,
        };
        let blocking = matches!(read, Read::Blocking { .. });
        let call = Call {
            method: Method::GET,
            target: target.clone().reading(read),
            fresh_target: blocking.then(|| target.clone().reading(Read::Stale)),
            body: Bytes::new(),
            lane: if read == Read::Consistent { Lane::Reserved } else { Lane::Watch },
            timeout,
            repeatable: !blocking,
        };
        let whole = self.transport.exchange(&call).await?;
        if whole.status == StatusCode::OK {
            return Ok(whole);
        }
        Err(self.transport.refused(&whole))
    }

    /// What a blocking query for a node woke with. Where it woke because the node was deregistered, Consul leaves in its answer what the node
    /// held before, under the new index (measured on 1.22.7), and would wake nobody again; so it is asked whether there is such a
    /// node at all, for as little of it as possible.
    async fn unless_deregistered(
        &self,
        target: Target,
        woke: Answer<Option<NodeView>>,
    ) -> Result<Answer<Option<NodeView>>, ApiError> {
        let probe = self.get(target.with("filter", Some(NO_SERVICE)), Read::Stale, wire::node_view).await?;
        let gone = probe.body.is_none() && probe.meta.index >= woke.meta.index;
        Ok(if gone { probe } else { woke })
    }

    fn node_target(&self, path: &str, name: &str, datacenter: Option<&str>) -> Result<Target, ApiError> {
        Ok(Target::new(path, Some(name))?
            .with("dc", datacenter)
            .with("ns", self.transport.namespace.as_deref())
            .with("partition", self.transport.partition.as_deref()))
    }
}

/// The body as JSON; what can't be read is garbage, never an empty answer.
fn read_json<T>(whole: &Whole, parse: fn(&[u8]) -> Result<T, serde_json::Error>) -> Result<T, ApiError> {
    parse(&whole.body).map_err(|wrong| {
        let said = error::printable(&String::from_utf8_lossy(&whole.body));
        ApiError::new(ErrorKind::Garbage, format!("{}: not Consul's answer ({wrong}): {said}", whole.call))
    })
}

impl ConsulApi for Client {
    async fn health(&self, query: &HealthQuery, read: Read) -> Result<Answer<Vec<Instance>>, ApiError> {
        let Transport { namespace, partition, .. } = &*self.transport;
        let target = request::health(query, namespace.as_deref(), partition.as_deref())?;
        self.get(target, read, wire::instances).await
    }

    async fn node(
        &self,
        name: &str,
        datacenter: Option<&str>,
        read: Read,
    ) -> Result<Answer<Option<NodeView>>, ApiError> {
        let target = self.node_target("/v1/catalog/node-services/", name, datacenter)?;
        let answer = self.get(target.clone(), read, wire::node_view).await?;
        match read {
            Read::Blocking { index, .. } if answer.body.is_some() && answer.meta.index != index => {
                self.unless_deregistered(target, answer).await
            }
            _ => Ok(answer),
        }
    }

    async fn node_checks(
        &self,
        name: &str,
        datacenter: Option<&str>,
        read: Read,
    ) -> Result<Answer<Vec<Check>>, ApiError> {
        let target = self.node_target("/v1/health/node/", name, datacenter)?;
        self.get(target, read, wire::checks).await
    }

    async fn services(&self, query: &CatalogQuery, read: Read) -> Result<Answer<Catalog>, ApiError> {
        let Transport { namespace, partition, .. } = &*self.transport;
        let target = request::catalog(query, namespace.as_deref(), partition.as_deref())?;
        self.get(target, read, wire::catalog).await
    }

    async fn leader(&self) -> Result<String, ApiError> {
        let whole = self.ask(&Target::new("/v1/status/leader", None)?, Read::Stale).await?;
        read_json(&whole, |body| serde_json::from_slice(body))
    }

    fn transport(&self) -> &'static str {
        if self.is_http2() { "http2" } else { "http1" }
    }

    fn watch_delay_bound(&self) -> Duration {
        Client::watch_delay_bound(self)
    }
}
