//! The resolver that the system is configured for: its DNS servers, search domains and hosts file.

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context;
use consul8s_core::kube::Family;
use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::time::timeout;

use super::{Found, Resolver};

/// How long the other family is waited for once one has an address.
const OTHER_WITHIN: Duration = Duration::from_secs(2);

/// The resolver.
pub struct System {
    resolver: TokioResolver,
}

impl System {
    /// As `/etc/resolv.conf` and `/etc/hosts` say.
    ///
    /// # Errors
    /// They can't be read.
    pub fn configured() -> anyhow::Result<System> {
        System::build(TokioResolver::builder_tokio().context("reading the system's DNS configuration")?)
    }

    /// With these servers.
    ///
    /// # Errors
    /// They can't be used.
    pub fn with(config: ResolverConfig) -> anyhow::Result<System> {
        System::build(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()))
    }

    fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> anyhow::Result<System> {
        // Who asks here remembers the answers, for as long as they are good.
        builder.options_mut().cache_size = 0;
        Ok(System { resolver: builder.build().context("setting up the DNS resolver")? })
    }

    async fn addresses(&self, name: &str) -> Result<Found, String> {
        let v4 = pin!(self.resolver.lookup(name, RecordType::A).map(records));
        let v6 = pin!(self.resolver.lookup(name, RecordType::AAAA).map(records));
        let (v4, v6) = match select(v4, v6).await {
            Either::Left((v4, rest)) => {
                let v6 = other(&v4, rest).await;
                (v4, v6)
            }
            Either::Right((v6, rest)) => {
                let v4 = other(&v6, rest).await;
                (v4, v6)
            }
        };
        let failed = match (&v4, &v6) {
            (Err(why), Err(_)) => return Err(why.clone()),
            (Err(_), Ok(_)) => Some(Family::V4),
            (Ok(_), Err(_)) => Some(Family::V6),
            (Ok(_), Ok(_)) => None,
        };
        let why = [&v4, &v6].into_iter().find_map(|side| side.as_ref().err().cloned());
        let found: Vec<Records> = [v4, v6].into_iter().filter_map(Result::ok).collect();
        let good_for = found.iter().filter(|one| !one.addresses.is_empty()).map(|one| one.good_for).min();
        let addresses = found.into_iter().flat_map(|one| one.addresses).collect();
        match good_for {
            Some(good_for) => Ok(Found { addresses, failed, good_for }),
            None => Err(why.unwrap_or_else(|| "it has no address".to_owned())),
        }
    }
}

impl Resolver for System {
    fn look_up<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Found, String>> {
        Box::pin(self.addresses(name))
    }
}

struct Records {
    addresses: Vec<IpAddr>,
    good_for: Duration,
}

type Answer = Result<Records, String>;

/// The other family. A server that is deaf to it must not cost the addresses that are there.
async fn other(first: &Answer, rest: impl Future<Output = Answer>) -> Answer {
    if first.as_ref().is_ok_and(|found| !found.addresses.is_empty()) {
        let late = |_| Err(format!("no answer within {OTHER_WITHIN:?}"));
        return timeout(OTHER_WITHIN, rest).await.unwrap_or_else(late);
    }
    rest.await
}

/// No records are an answer too.
fn records(found: Result<Lookup, NetError>) -> Answer {
    match found {
        Ok(lookup) => Ok(Records {
            addresses: lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect(),
            good_for: lookup.valid_until().saturating_duration_since(Instant::now()),
        }),
        Err(error) if error.is_no_records_found() => Ok(Records { addresses: Vec::new(), good_for: Duration::ZERO }),
        Err(error) => Err(error.to_string()),
    }
}
