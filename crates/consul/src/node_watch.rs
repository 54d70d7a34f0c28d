//! One node watched whole: its services and its checks, which Consul tells by two endpoints.

use std::sync::Arc;
use std::time::Duration;

use consul8s_core::consul::{Answer, AnswerMeta, Check, NodeView};
use consul8s_core::ports::ConsulApi;

use crate::watch::{NodeChecks, NodeServices, Watch, WatchConfig, WatchNews};

/// A registration changes services and checks at once, and both queries wake within milliseconds of each other. Telling the first
/// alone would show a service without its check.
const SETTLE: Duration = Duration::from_millis(20);

/// Watch of one node. The content is none while the catalog has no such node.
///
/// The index in its news is the lower one of both halves; the flags are those of either.
pub struct NodeWatch<C> {
    services: Watch<C, NodeServices>,
    checks: Watch<C, NodeChecks>,
    known_services: Option<KnownServices>,
    known_checks: Option<KnownChecks>,
    /// Something was admitted that has not been told.
    changed: bool,
    lineage_broken: bool,
    /// What is to be told after that.
    later: Option<WatchNews<Option<NodeView>>>,
}

type KnownServices = Answer<Arc<Option<NodeView>>>;
type KnownChecks = Answer<Arc<Vec<Check>>>;

enum Half {
    Services(WatchNews<Option<NodeView>>),
    Checks(WatchNews<Vec<Check>>),
}

impl<C: ConsulApi> NodeWatch<C> {
    /// Watches the node of this name in the agent's datacenter.
    #[must_use]
    pub fn new(api: &Arc<C>, node: &str, config: &WatchConfig) -> NodeWatch<C> {
        NodeWatch {
            services: Watch::new(api.clone(), NodeServices(node.to_owned()), config),
            checks: Watch::new(api.clone(), NodeChecks(node.to_owned()), config),
            known_services: None,
            known_checks: None,
            changed: false,
            lineage_broken: false,
            later: None,
        }
    }

    /// The next thing to know about the node. Safe to drop and call again.
    pub async fn next(&mut self) -> WatchNews<Option<NodeView>> {
        loop {
            if let Some(news) = self.later.take_if(|_| !self.changed) {
                return news;
            }
            let half = if self.changed && self.whole().is_some() {
                match tokio::time::timeout(SETTLE, self.half()).await {
                    Ok(half) => half,
                    Err(_) => return self.tell(),
                }
            } else {
                self.half().await
            };
            let told = match half {
                Half::Services(news) => self.take_services(news),
                Half::Checks(news) => self.take_checks(news),
            };
            match told {
                Some(news) if self.changed && self.whole().is_some() => {
                    self.later = Some(news);
                    return self.tell();
                }
                Some(news) => return news,
                None => {}
            }
        }
    }

    async fn half(&mut self) -> Half {
        tokio::select! {
            biased;
            news = self.services.next() => Half::Services(news),
            news = self.checks.next() => Half::Checks(news),
        }
    }

    /// News that is to be told as it is; none when it was taken in.
    fn take_services(&mut self, news: WatchNews<Option<NodeView>>) -> Option<WatchNews<Option<NodeView>>> {
        match news {
            WatchNews::Admitted { answer, lineage_broken } => {
                self.known_services = Some(answer);
                self.changed = true;
                self.lineage_broken |= lineage_broken;
                None
            }
            WatchNews::Confirmed(meta) => {
                set_meta(&mut self.known_services, meta);
                self.confirmed()
            }
            other => Some(other),
        }
    }

    fn take_checks(&mut self, news: WatchNews<Vec<Check>>) -> Option<WatchNews<Option<NodeView>>> {
        match news {
            WatchNews::Admitted { answer, lineage_broken } => {
                self.known_checks = Some(answer);
                self.changed = true;
                self.lineage_broken |= lineage_broken;
                None
            }
            WatchNews::Confirmed(meta) => {
                set_meta(&mut self.known_checks, meta);
                self.confirmed()
            }
            WatchNews::Failed(error) => Some(WatchNews::Failed(error)),
            WatchNews::Rejected(why) => Some(WatchNews::Rejected(why)),
        }
    }

    /// Good answers count for the node only when both halves have had one.
    fn confirmed(&self) -> Option<WatchNews<Option<NodeView>>> {
        self.whole().map(|(services, checks)| WatchNews::Confirmed(both(&services.meta, &checks.meta)))
    }

    fn whole(&self) -> Option<(&KnownServices, &KnownChecks)> {
        self.known_services.as_ref().zip(self.known_checks.as_ref())
    }

    /// The node as both halves show it. Called when both are known.
    fn tell(&mut self) -> WatchNews<Option<NodeView>> {
        let (meta, view) = match self.whole() {
            Some((services, checks)) => (both(&services.meta, &checks.meta), merge(&services.body, &checks.body)),
            None => (AnswerMeta::default(), None),
        };
        self.changed = false;
        let lineage_broken = std::mem::take(&mut self.lineage_broken);
        WatchNews::Admitted { answer: Answer { meta, body: Arc::new(view) }, lineage_broken }
    }
}

fn set_meta<B>(known: &mut Option<Answer<B>>, meta: AnswerMeta) {
    if let Some(known) = known {
        known.meta = meta;
    }
}

fn merge(services: &Option<NodeView>, checks: &[Check]) -> Option<NodeView> {
    let mut view = services.clone()?;
    view.checks = checks.iter().map(|check| (check.id.clone(), check.clone())).collect();
    Some(view)
}

fn both(one: &AnswerMeta, other: &AnswerMeta) -> AnswerMeta {
    AnswerMeta {
        index: one.index.min(other.index),
        leaderless: one.leaderless || other.leaderless,
        last_contact: one.last_contact.max(other.last_contact),
        filtered: one.filtered || other.filtered,
        polled: one.polled || other.polled,
        anonymous_under_deny: one.anonymous_under_deny || other.anonymous_under_deny,
    }
}
