//! One look at the imports of a namespace: plan, read what is missing, write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use consul8s_core::claim::Claim;
use consul8s_core::consul::{HealthQuery, Read};
use consul8s_core::import::{
    self, Action, Candidate, CatalogQuery, Definition, Import, Input, Lineage, Need, Plan, Status,
};
use consul8s_core::kube::{KubeService, ObjectKey};
use consul8s_core::ports::{ApiError, ConsulApi, ErrorKind, KubeApi, KubeWriter};
use consul8s_core::problem::{Reason, clean};
use futures::StreamExt;
use tokio::time::Instant;

use super::session::{Namespace, Session, Written};
use crate::metrics::Write;
use crate::queue::Ended;

/// Reads and plans in one look: one for what is missing, three for a removal without delay, and what these bring up.
const ROUNDS: usize = 6;
/// How soon it is looked again after a read failed, or while a write does not show.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a name that Kubernetes refused is left alone.
const REFUSED_FOR: Duration = Duration::from_secs(300);
/// Services that are read at a time.
const READS_AT_ONCE: usize = 4;

impl<K: KubeApi, C: ConsulApi, W: KubeWriter> Session<K, C, W> {
    /// Looks at a namespace.
    pub(super) async fn look(&mut self, namespace: &Namespace) -> Ended {
        if !self.imports.synced() || !self.controller.world().kube_synced() {
            return Ended::Quiet;
        }
        if !self.shows() {
            tracing::debug!(namespace = namespace.0, written = ?self.written.keys(), "what was written for imports does not show yet");
            return Ended::LookAgain(Instant::now() + AGAIN);
        }
        self.sources.prune();
        self.refused.retain(|_, (_, at)| at.elapsed() < REFUSED_FOR);
        let definition = self.definition(namespace).await;
        let mut plan = self.plan(namespace, definition);
        for _ in 0..ROUNDS {
            if plan.needs.is_empty() {
                break;
            }
            if !self.read(&plan.needs).await {
                break;
            }
            plan = self.plan(namespace, definition);
        }
        tracing::debug!(namespace = namespace.0, actions = plan.actions.len(), needs = ?plan.needs, "looked at imports");
        let again = (!plan.needs.is_empty()).then(|| Instant::now() + AGAIN);
        let later = plan.look_again.map(|at| self.controller.clock.instant(at));
        let ended = again.into_iter().chain(later).min().map_or(Ended::Quiet, Ended::LookAgain);
        let progress = self.controller.clone();
        let progress = &progress.imports;
        progress.set_pending(&namespace.0, changes(&plan.actions));
        let Some(writers) = self.writers.clone() else { return ended };
        let Some(claim) = writers.leadership().claim() else { return ended };
        let statuses = plan.statuses.clone();
        let written = self.write(plan, &claim).await;
        self.tell_of(&statuses);
        match written {
            Ok(()) => {
                progress.set_pending(&namespace.0, BTreeMap::new());
                ended
            }
            Err(error) if error.kind == ErrorKind::NotLeading => Ended::Quiet,
            Err(error) => {
                if error.kind != ErrorKind::Conflict {
                    tracing::warn!(namespace = namespace.0, %error, "a write for a ConsulImport failed; it is tried again");
                }
                Ended::Failed
            }
        }
    }

    /// The definition, where it matters: whether an import's end is its own or that of all.
    async fn definition(&self, namespace: &Namespace) -> Option<Definition> {
        let ends =
            |import: &&Arc<Import>| import.key.namespace == namespace.0 && import.deleting && import.is_held_by_us();
        self.imports.iter().find(ends)?;
        let read = self.controller.kube.import_definition().await;
        read.inspect_err(|error| tracing::warn!(%error, "the end of a ConsulImport waits")).ok()
    }

    fn plan(&mut self, namespace: &Namespace, definition: Option<Definition>) -> Plan {
        let now = self.controller.clock.now();
        let imports: Vec<Arc<Import>> = self.of(namespace);
        let (services, busy) = self.services(namespace);
        let services: Vec<&KubeService> = services.iter().map(AsRef::as_ref).collect();
        let alive: BTreeSet<&str> = self.imports.iter().map(|import| import.uid.as_str()).collect();
        self.memories.retain(|uid, _| alive.contains(uid.as_str()));
        for import in &imports {
            let Some(query) = import.spec.catalog() else { continue };
            let Some(catalog) = self.sources.catalogs.get(&query) else { continue };
            let lineage = self.lineage(&query);
            self.memories.entry(import.uid.clone()).or_default().note(import, &services, catalog, lineage);
        }
        let refused: BTreeMap<String, String> = self
            .refused
            .iter()
            .filter(|(key, _)| key.namespace == namespace.0)
            .map(|(key, (why, _))| (key.name.clone(), why.clone()))
            .collect();
        let settings = &self.controller.settings;
        import::plan(&Input {
            imports: &imports.iter().map(AsRef::as_ref).collect::<Vec<&Import>>(),
            services: &services,
            catalogs: &self.sources.catalogs,
            troubles: &self.sources.troubles,
            candidates: &self.sources.candidates(),
            memories: &self.memories,
            busy: &busy,
            refused: &refused,
            definition,
            settings,
            domain: &settings.consul_domain,
            delay: settings.import_removal_delay,
            now,
        })
    }

    fn lineage(&self, query: &CatalogQuery) -> Lineage {
        let world = self.controller.world();
        Lineage {
            broken: self.sources.broken(query).max(world.lineages.broken(&query.datacenter)),
            uncompared: world.lineages.is_unknown(&query.datacenter),
        }
    }

    fn of(&self, namespace: &Namespace) -> Vec<Arc<Import>> {
        self.imports.iter().filter(|import| import.key.namespace == namespace.0).cloned().collect()
    }

    /// The Services of a namespace, and those of which an endpoint stands or is held.
    fn services(&self, namespace: &Namespace) -> (Vec<Arc<KubeService>>, BTreeSet<String>) {
        let world = self.controller.world();
        let here = world.services.iter().filter(|service| service.key.namespace == namespace.0);
        let services: Vec<Arc<KubeService>> = here.cloned().collect();
        let is_busy = |service: &&Arc<KubeService>| {
            let held = world.told(&service.key).is_some_and(|told| told.held > 0);
            held || world.slices.of_service(&service.key).any(|slice| !slice.endpoints.is_empty())
        };
        let busy = services.iter().filter(is_busy).map(|service| service.key.name.clone()).collect();
        (services, busy)
    }

    /// Reads what a plan needs; whether anything was read.
    async fn read(&mut self, needs: &[Need]) -> bool {
        let consul = self.controller.consul.clone();
        let instances: Vec<HealthQuery> = needs
            .iter()
            .filter_map(|need| match need {
                Need::Instances(query) => Some(query.clone()),
                Need::Catalog(_) => None,
            })
            .collect();
        let mut read = false;
        let mut answers = futures::stream::iter(instances)
            .map(|query| {
                let consul = consul.clone();
                async move { (consul.health(&query, Read::Stale).await, query) }
            })
            .buffer_unordered(READS_AT_ONCE);
        while let Some((answer, query)) = answers.next().await {
            let candidate = answer.map(|answer| {
                let datacenter = answer.body.first().map(|one| one.datacenter.clone()).unwrap_or_default();
                (Candidate::of(&query.name, &answer.body), datacenter)
            });
            read |= self.sources.read(query, candidate);
        }
        for need in needs {
            if let Need::Catalog(import) = need {
                read |= self.read_catalog(import).await;
            }
        }
        read
    }

    /// A consistent read, which counts only when it is whole.
    async fn read_catalog(&mut self, key: &ObjectKey) -> bool {
        let Some(import) = self.imports.get(key).cloned() else { return false };
        let Some(query) = import.spec.catalog() else { return false };
        let answer = match self.controller.consul.services(&query, Read::Consistent).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(import = %key, %error, "a confirming read failed; nothing goes, and it is tried again");
                return false;
            }
        };
        if answer.meta.hides() || answer.meta.leaderless {
            return false;
        }
        let (services, _) = self.services(&Namespace(key.namespace.clone()));
        let services: Vec<&KubeService> = services.iter().map(AsRef::as_ref).collect();
        let now = self.controller.clock.now();
        self.memories.entry(import.uid.clone()).or_default().take_in(&import, &services, &answer.body, now);
        true
    }

    async fn write(&mut self, plan: Plan, claim: &Claim) -> Result<(), ApiError> {
        for action in plan.actions {
            self.act(action, claim).await?;
        }
        for (key, status) in plan.statuses {
            self.tell(&key, &status, claim).await?;
        }
        Ok(())
    }

    async fn act(&mut self, action: Action, claim: &Claim) -> Result<(), ApiError> {
        let Some(writers) = self.writers.clone() else { return Ok(()) };
        match action {
            Action::Hold(key) => self.set_finalizers(&key, true, claim).await,
            Action::LetGo(key) => self.set_finalizers(&key, false, claim).await,
            Action::Create { import, service, new } => {
                let done = writers.kubernetes(claim, |writer| writer.create_service(&new)).await;
                self.count("create", done.as_ref().err());
                match done {
                    Ok(made) => {
                        tracing::info!(import = %import, service = %made.key, "ServiceCreated for Consul service {service}");
                        let message =
                            format!("created Service {} for Consul service {}", made.key.name, clean(&service, 200));
                        self.did(import, Reason::ServiceCreated, message);
                        self.note(Written::Service(made.key));
                        Ok(())
                    }
                    Err(error) if matches!(error.kind, ErrorKind::Invalid | ErrorKind::Forbidden) => {
                        tracing::warn!(import = %import, %error, "a Service is refused");
                        self.refused.insert(new.key.clone(), (error.to_string(), Instant::now()));
                        // Planned anew, with this known.
                        Err(ApiError::new(ErrorKind::Conflict, error.what))
                    }
                    Err(error) => Err(error),
                }
            }
            Action::Delete { import, service, why } => {
                let done = writers.kubernetes(claim, |writer| writer.delete_service(&service)).await;
                self.count("delete", done.as_ref().err());
                done?;
                tracing::info!(import = %import, service = %service.key, "ServiceRemoved: {why}");
                self.did(import, Reason::ServiceRemoved, format!("deleted Service {}: {why}", service.key.name));
                self.note(Written::NotService(service.key.clone(), service.resource_version.clone()));
                Ok(())
            }
            Action::Orphan { import, service, why } => {
                let done = writers.kubernetes(claim, |writer| writer.orphan_service(&service)).await;
                self.count("update", done.as_ref().err());
                done?;
                tracing::info!(import = %import, service = %service.key, "let go, and stays: {why}");
                self.note(Written::NotService(service.key.clone(), service.resource_version.clone()));
                Ok(())
            }
            Action::Remember { import, service, forgotten } => {
                let done = writers.kubernetes(claim, |writer| writer.remember_forgotten(&service, forgotten)).await;
                self.count("update", done.as_ref().err());
                done?;
                tracing::info!(import = %import, service = %service.key, forgotten, "missing since Consul was restored or wiped");
                self.note(Written::NotService(service.key.clone(), service.resource_version.clone()));
                Ok(())
            }
        }
    }

    fn count(&self, action: &'static str, error: Option<&ApiError>) {
        let result = error.map_or("ok", |error| error.kind.as_str());
        self.controller.metrics.wrote(Write { target: "service", action, result });
    }

    fn note(&mut self, written: Written) {
        self.written.insert(written, Instant::now());
    }

    async fn set_finalizers(&mut self, key: &ObjectKey, ours: bool, claim: &Claim) -> Result<(), ApiError> {
        let (Some(writers), Some(import)) = (self.writers.clone(), self.imports.get(key).cloned()) else {
            return Ok(());
        };
        let list = import::finalizers(&import, ours);
        writers.kubernetes(claim, |writer| writer.set_finalizers(&import, &list)).await?;
        self.note(Written::NotImport(key.clone(), import.resource_version.clone()));
        Ok(())
    }

    async fn tell(&mut self, key: &ObjectKey, status: &Status, claim: &Claim) -> Result<(), ApiError> {
        let (Some(writers), Some(import)) = (self.writers.clone(), self.imports.get(key).cloned()) else {
            return Ok(());
        };
        if import.status == *status {
            return Ok(());
        }
        writers.kubernetes(claim, |writer| writer.set_import_status(&import, status)).await?;
        self.note(Written::NotImport(key.clone(), import.resource_version.clone()));
        Ok(())
    }
}

/// Writes of Services, by action.
fn changes(actions: &[Action]) -> BTreeMap<&'static str, u64> {
    let mut all = BTreeMap::new();
    for action in actions {
        let word = match action {
            Action::Create { .. } => "create",
            Action::Orphan { .. } | Action::Remember { .. } => "update",
            Action::Delete { .. } => "delete",
            Action::Hold(_) | Action::LetGo(_) => continue,
        };
        *all.entry(word).or_default() += 1;
    }
    all
}
