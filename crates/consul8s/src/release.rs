//! `release`: lets go what the guard holds, by writing `consul8s/allow-removal`.
//!
//! What is held stands on our slices, on the conditions of Services and on the Lease, so that no leader has to be asked, and what is released
//! counts also where nobody runs just now.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use consul8s_core::guard::HoldId;
use consul8s_core::intent::value;
use consul8s_core::kube::{KubeSlice, ObjectKey};
use consul8s_core::names;
use consul8s_core::ports::{ApiError, ErrorKind, KubeApi, Watch as _, WatchEvent};
use consul8s_core::release::{self, Hold, Target, Write};
use consul8s_kube::{Connection, FoundLease, Kube, Releaser};

use crate::cli::ReleaseArgs;
use crate::commands::Exit;
use crate::config::Options;
use crate::out;

/// How long a whole list may take.
const LIST_WITHIN: Duration = Duration::from_secs(30);
/// How often a write is begun anew where others write too: a leader renews its Lease every two seconds.
const ATTEMPTS: usize = 5;

/// Both ways to the cluster, and where to look.
struct Desk<'a> {
    kube: Kube,
    releaser: Releaser,
    options: &'a Options,
    namespace: String,
}

/// Releases what is named. `namespaces` are those of `--namespace`.
///
/// # Errors
/// Nothing of it is held, it can't be told whose it is, or Kubernetes refuses something.
pub async fn run(options: &Options, namespaces: &[String], args: &ReleaseArgs) -> anyhow::Result<Exit> {
    let connection = options.access.connect().await?;
    let desk = Desk::open(options, &connection, namespaces)?;
    let target = match &args.what {
        None => Target::All,
        Some(text) => Target::parse(text, &desk.namespace).map_err(anyhow::Error::msg)?,
    };
    let lease = match &target {
        Target::All => Some(desk.the_lease().await?),
        Target::Hold(_) | Target::Service(_) => None,
    };
    let holds = desk.holds(&target, lease.as_ref()).await?;
    let decided = release::decide(&target, lease.as_ref().map(|lease| &lease.key), &holds);
    for write in decided.map_err(anyhow::Error::msg)? {
        desk.carry_out(&write).await?;
        say(&write);
    }
    Ok(Exit::Done)
}

fn say(write: &Write) {
    let name = names::ALLOW_REMOVAL;
    match write {
        Write::Service(key, ids) => {
            let ids: Vec<&str> = ids.iter().map(HoldId::as_str).collect();
            out::line(format_args!("released {} ({name} on Service {key})", ids.join(", ")));
        }
        Write::Lease(key, id) => out::line(format_args!("released {id} for all that it holds ({name} on Lease {key})")),
        Write::All(key) => out::line(format_args!("released all that is held ({name} on Lease {key})")),
    }
}

impl<'a> Desk<'a> {
    fn open(options: &'a Options, connection: &Connection, namespaces: &[String]) -> anyhow::Result<Desk<'a>> {
        let given: BTreeSet<String> = value::list(&namespaces.join(",")).into_iter().collect();
        let namespace = match given.len() {
            0 => connection.namespace.clone(),
            1 => given.into_iter().collect(),
            _ => anyhow::bail!("--namespace names several: give one, or NAMESPACE/NAME"),
        };
        Ok(Desk { kube: Kube::new(connection), releaser: Releaser::new(connection), options, namespace })
    }

    /// What is held, as far as it matters for what is named.
    async fn holds(&self, target: &Target, lease: Option<&FoundLease>) -> anyhow::Result<Vec<Hold>> {
        let mut holds = release::on_slices(&self.slices().await?);
        match target {
            Target::Service(key) => {
                if let Some(service) = self.kube.service(key).await? {
                    holds.extend(release::on_condition(&service));
                }
            }
            Target::Hold(_) => {
                let leases = self.leases().await?;
                holds.extend(leases.iter().flat_map(|lease| release::on_lease(&lease.key, &lease.annotations)));
            }
            Target::All => holds.extend(lease.iter().flat_map(|it| release::on_lease(&it.key, &it.annotations))),
        }
        Ok(holds)
    }

    /// The slices of all namespaces, or of the one that may be read.
    async fn slices(&self) -> anyhow::Result<Vec<KubeSlice>> {
        match self.list(None).await {
            Err(error) if error.kind == ErrorKind::Forbidden => Ok(self.list(Some(&self.namespace)).await?),
            listed => Ok(listed?),
        }
    }

    async fn list(&self, namespace: Option<&str>) -> Result<Vec<KubeSlice>, ApiError> {
        let mut watch = self.kube.watch_slices(namespace);
        let listed = async {
            loop {
                match watch.next().await {
                    WatchEvent::Listed(slices) => return Ok(slices),
                    WatchEvent::Failed(error) => return Err(error),
                    // Nothing comes before the list.
                    WatchEvent::Applied(_) | WatchEvent::Deleted(_) => {}
                }
            }
        };
        let late = |_| ApiError::new(ErrorKind::Timeout, "the EndpointSlices were not listed in time");
        tokio::time::timeout(LIST_WITHIN, listed).await.map_err(late)?
    }

    /// The Leases of our name: of the namespace that is given, otherwise all that may be seen.
    async fn leases(&self) -> anyhow::Result<Vec<FoundLease>> {
        let (name, namespace) = self.options.lease_wanted();
        if let Some(namespace) = namespace {
            let key = ObjectKey::new(namespace, name);
            return Ok(self.releaser.lease(&key).await?.into_iter().collect());
        }
        match self.releaser.leases(name).await {
            Err(error) if error.kind == ErrorKind::Forbidden => {
                let key = ObjectKey::new(self.namespace.clone(), name);
                Ok(self.releaser.lease(&key).await?.into_iter().collect())
            }
            found => Ok(found?),
        }
    }

    async fn the_lease(&self) -> anyhow::Result<FoundLease> {
        let (name, namespace) = self.options.lease_wanted();
        let mut found = self.leases().await?;
        let place = namespace.map_or_else(|| "that may be seen".to_owned(), |namespace| format!("in {namespace}"));
        let one = found.pop().with_context(|| {
            format!("there is no Lease {name} {place}: name it with --lease-namespace and --lease-name")
        })?;
        if found.is_empty() {
            return Ok(one);
        }
        let mut names: Vec<String> = found.iter().chain([&one]).map(|lease| lease.key.to_string()).collect();
        names.sort();
        anyhow::bail!(
            "there are several Leases {name}: {}; say which one is meant with --lease-namespace",
            names.join(", ")
        )
    }

    /// Writes it; again where somebody else wrote meanwhile.
    async fn carry_out(&self, write: &Write) -> anyhow::Result<()> {
        let mut last = ApiError::new(ErrorKind::Conflict, "not written");
        for _ in 0..ATTEMPTS {
            match self.attempt(write).await {
                Err(error) if error.kind == ErrorKind::Conflict => last = error,
                done => return Ok(done?),
            }
        }
        Err(anyhow::Error::from(last).context("others write to it all the time"))
    }

    async fn attempt(&self, write: &Write) -> Result<(), ApiError> {
        let gone = |what: &str, key: &ObjectKey| ApiError::new(ErrorKind::NotFound, format!("{what} {key} is gone"));
        match write {
            Write::Service(key, ids) => {
                let service = self.kube.service(key).await?.ok_or_else(|| gone("Service", key))?;
                let standing = service.annotations.get(names::ALLOW_REMOVAL).map(String::as_str);
                self.releaser.allow_on_service(&service, &release::added(standing, ids)).await
            }
            Write::Lease(key, _) | Write::All(key) => {
                let lease = self.releaser.lease(key).await?.ok_or_else(|| gone("Lease", key))?;
                let standing = lease.annotations.get(names::ALLOW_REMOVAL).map(String::as_str);
                let all =
                    value::list(standing.unwrap_or_default()).iter().any(|word| word.eq_ignore_ascii_case("true"));
                let text = match write {
                    // It covers this one too, and the leader is about to take it away.
                    Write::Lease(_, id) if !all => release::added(standing, &BTreeSet::from([id.clone()])),
                    _ => "true".to_owned(),
                };
                self.releaser.allow_on_lease(&lease, &text).await
            }
        }
    }
}
