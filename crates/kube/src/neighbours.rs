//! What is read beyond our own scope: Leases of other installations, and which Services bear our labels.

use std::collections::BTreeSet;
use std::time::Duration;

use consul8s_core::kube::ObjectKey;
use consul8s_core::names;
use consul8s_core::neighbours::Pulse;
use consul8s_core::ports::{ApiError, ErrorKind};
use consul8s_core::time::UnixMillis;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::ListParams;

use crate::api::READ_WITHIN;
use crate::connect::Connection;
use crate::convert::key;
use crate::error::Call;

/// Services in one page of a list: as many as kubectl asks for.
const PAGE: u32 = 500;

/// The Lease of another installation; none on 404.
pub(crate) async fn pulse(connection: &Connection, lease: &ObjectKey) -> Result<Option<Pulse>, ApiError> {
    let api: Api<Lease> = Api::namespaced(connection.client.clone(), &lease.namespace);
    let what = format!("Lease {lease}");
    let call = Call { verb: "read", what: &what, server: &connection.server };
    match call.within(READ_WITHIN, api.get(&lease.name)).await {
        Ok(lease) => Ok(Some(from_wire(lease))),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn from_wire(lease: Lease) -> Pulse {
    let spec = lease.spec.unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    let millis = |MicroTime(time): MicroTime| UnixMillis(u64::try_from(time.as_millisecond()).unwrap_or_default());
    Pulse {
        version: format!(
            "{} {}",
            lease.metadata.uid.unwrap_or_default(),
            lease.metadata.resource_version.unwrap_or_default()
        ),
        renewed: spec.renew_time.map(millis),
        duration: Duration::from_secs(seconds),
    }
}

/// Services of all namespaces that bear one of our labels.
pub(crate) async fn labelled(connection: &Connection) -> Result<BTreeSet<ObjectKey>, ApiError> {
    let api: Api<Service> = Api::all(connection.client.clone());
    let mut found = BTreeSet::new();
    let prose = format!("{}=consul", names::LABEL_REGISTRATION);
    for selector in [names::LABEL_SOURCE, &prose] {
        let mut page = ListParams::default().labels(selector).limit(PAGE);
        loop {
            let call = Call { verb: "list", what: &"labelled Services", server: &connection.server };
            let list = call.within(READ_WITHIN, api.list_metadata(&page)).await?;
            found.extend(list.items.iter().map(|service| key(&service.metadata)));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(found)
}
