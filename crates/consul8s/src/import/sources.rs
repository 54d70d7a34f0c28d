//! What Consul said: the lists that imports look at, and services that may get a Service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consul8s_consul::{Watch as ConsulWatch, WatchConfig, WatchNews};
use consul8s_core::consul::HealthQuery;
use consul8s_core::import::{Candidate, Catalog, CatalogQuery};
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind};
use consul8s_core::time::UnixMillis;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::dice::Dice;

/// What was read of a service is good for so long.
const FRESH: Duration = Duration::from_secs(30);
/// Likewise where its instances said that there is to be no Service: proxies stay proxies.
const FRESH_UNFIT: Duration = Duration::from_secs(300);

/// What is known.
#[derive(Default)]
pub(super) struct Sources {
    /// Lists as last admitted.
    pub(super) catalogs: BTreeMap<CatalogQuery, Catalog>,
    /// Why a list was not answered last, as a condition tells it.
    pub(super) troubles: BTreeMap<CatalogQuery, (&'static str, String)>,
    watches: BTreeMap<CatalogQuery, AbortHandle>,
    /// Since when a list comes from a Consul that was restored or wiped.
    broken: BTreeMap<CatalogQuery, UnixMillis>,
    candidates: BTreeMap<HealthQuery, (Candidate, String, Instant)>,
}

/// What a watch of a list tells.
pub(super) type Told = (CatalogQuery, WatchNews<Catalog>);

impl Sources {
    /// Watches these lists, and no others.
    pub(super) fn watch<C: ConsulApi>(
        &mut self,
        wanted: BTreeSet<CatalogQuery>,
        consul: &Arc<C>,
        dice: &Dice,
        tasks: &mut JoinSet<()>,
        news: &mpsc::Sender<Told>,
    ) {
        let ended: Vec<CatalogQuery> = self.watches.keys().filter(|query| !wanted.contains(query)).cloned().collect();
        for query in ended {
            if let Some(watch) = self.watches.remove(&query) {
                watch.abort();
            }
            self.catalogs.remove(&query);
            self.troubles.remove(&query);
            self.broken.remove(&query);
        }
        for query in wanted {
            self.watches.entry(query.clone()).or_insert_with(|| {
                let (consul, news) = (consul.clone(), news.clone());
                let config = WatchConfig { seed: dice.seed(), ..WatchConfig::default() };
                tasks.spawn(async move {
                    let mut watch = ConsulWatch::new(consul, query.clone(), &config);
                    // It fails only when the session has ended.
                    while news.send((query.clone(), watch.next().await)).await.is_ok() {}
                })
            });
        }
    }

    /// Takes in what a watch told; whether that was news.
    pub(super) fn told(&mut self, (query, news): Told, now: UnixMillis) -> bool {
        if !self.watches.contains_key(&query) {
            return false;
        }
        match news {
            WatchNews::Admitted { answer, lineage_broken } => {
                if lineage_broken {
                    self.broken.insert(query.clone(), now);
                }
                self.note_meta(&query, answer.meta.hides());
                self.catalogs.insert(query, (*answer.body).clone());
                true
            }
            WatchNews::Confirmed(meta) => self.note_meta(&query, meta.hides()),
            WatchNews::Failed(error) => self.trouble(query, trouble(&error)),
            WatchNews::Rejected(why) => self.trouble(query, ("ConsulUnavailable", why.to_string())),
        }
    }

    /// Since when a list comes from a Consul that was restored or wiped, while we watched.
    pub(super) fn broken(&self, query: &CatalogQuery) -> Option<UnixMillis> {
        self.broken.get(query).copied()
    }

    fn note_meta(&mut self, query: &CatalogQuery, hidden: bool) -> bool {
        if hidden {
            let why =
                "Consul hides services from our token; it needs service:read and node:read for all that is selected";
            return self.trouble(query.clone(), ("ConsulPermissionDenied", why.to_owned()));
        }
        self.troubles.remove(query).is_some()
    }

    fn trouble(&mut self, query: CatalogQuery, trouble: (&'static str, String)) -> bool {
        let same = self.troubles.get(&query).is_some_and(|(reason, _)| *reason == trouble.0);
        if !same {
            self.troubles.insert(query, trouble);
        }
        !same
    }

    /// Whether every list was answered, or is known not to be.
    pub(super) fn answered(&self) -> bool {
        self.watches.keys().all(|query| self.catalogs.contains_key(query) || self.troubles.contains_key(query))
    }

    /// What was read of services lately.
    pub(super) fn candidates(&self) -> BTreeMap<HealthQuery, (Candidate, String)> {
        self.candidates.iter().map(|(query, (one, dc, _))| (query.clone(), (one.clone(), dc.clone()))).collect()
    }

    /// Forgets what is no longer fresh.
    pub(super) fn prune(&mut self) {
        self.candidates.retain(|_, (candidate, datacenter, read)| {
            // Without a datacenter there was no instance to judge by.
            let judged = *candidate == Candidate::Unfit && !datacenter.is_empty();
            read.elapsed() < if judged { FRESH_UNFIT } else { FRESH }
        });
    }

    /// Keeps what was read of a service. One that can't be asked for gets no Service.
    pub(super) fn read(&mut self, query: HealthQuery, read: Result<(Candidate, String), ApiError>) -> bool {
        let (candidate, datacenter) = match read {
            Ok(read) => read,
            Err(error) if matches!(error.kind, ErrorKind::Invalid | ErrorKind::NotFound) => {
                tracing::debug!(service = %query, %error, "no Service is made for what can't be asked for");
                (Candidate::Unfit, String::new())
            }
            Err(error) => {
                tracing::debug!(service = %query, %error, "a service that is to get a Service could not be read");
                return false;
            }
        };
        self.candidates.insert(query, (candidate, datacenter, Instant::now()));
        true
    }
}

fn trouble(error: &ApiError) -> (&'static str, String) {
    let reason = match error.kind {
        ErrorKind::Invalid => "InvalidSelector",
        ErrorKind::Forbidden => "ConsulPermissionDenied",
        _ => "ConsulUnavailable",
    };
    (reason, error.to_string())
}
