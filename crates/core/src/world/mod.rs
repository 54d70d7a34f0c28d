//! Worlds as text, for tests: a test is a few lines of data. A [`Stage`] lets time pass over such a world and carries out what is
//! planned.
//!
//! ```text
//! kube:   service shop/foo source=consul port http 80 @service.name=bar
//!         slice foo-1 for shop/foo ports=http=8080 10.0.0.1 !10.0.0.2 ~10.0.0.3
//! consul: bar@vm-1 10.0.0.1:8080 passing
//!         bar-2@vm-1 name=bar [2001:db8::1]:8080 critical tags=a,b meta:zone=z1
//! ```
//!
//! *Services*: `source=`, `uid=`, `families=4,6`, `headless`, `local`, `publish-not-ready`, `selector=K=V`, `type=`, `zone-aware`,
//! `created=SECONDS`, `label:K=V`, `port NAME NUMBER[/PROTOCOL]` (`-` = without name), `@KEY=VALUE` for `consul8s/KEY`.
//! *Slices*: `for NS/SERVICE`, `ports=NAME=NUMBER,…`, `manager=`, `owner=`, `owner-uid=`, `terminating`, `note:K=V` for annotation `K`, and
//! endpoints, ready, `!` not ready or `~` draining.
//! *Instances*: `ID@NODE`, `ADDRESS[:PORT]` (`-` = none), a health (`passing`, `warning`, `critical`, `maintenance`, `node-critical`,
//! `node-maintenance`, `unchecked`), `name=` (else the ID), `dc=`, `kind=`, `tags=`, `meta:K=V`, `node-meta:K=V`, `node=ADDRESS`, `zone=`,
//! `port:NAME=NUMBER`, `tagged:KEY=ADDRESS:PORT`. A value with spaces stands in double quotes. `#` begins a comment.

mod consul;
mod parse;
mod stage;

use crate::consul::Instance;
use crate::identity::Identity;
use crate::kube::{KubeService, KubeSlice, Scope};
use crate::settings::Settings;

pub use stage::{Stage, Synced};

/// Both sides, as they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// Services.
    pub services: Vec<KubeService>,
    /// Slices.
    pub slices: Vec<KubeSlice>,
    /// Instances of Consul services.
    pub instances: Vec<Instance>,
}

impl World {
    /// Reads the text form; the error names the line.
    pub fn parse(text: &str) -> Result<World, String> {
        parse::world(text)
    }
}

/// Owner id of the installation that tests run as.
pub const OWNER: &str = "me";

/// Who tests run as.
#[must_use]
pub fn identity() -> Identity {
    Identity {
        owner: OWNER.to_owned(),
        cluster: "cluster-1".to_owned(),
        cluster_uid: "cluster-1".to_owned(),
        installation: "default/consul8s".to_owned(),
    }
}

/// Settings that tests run with: the contract's defaults, for all namespaces.
#[must_use]
pub fn settings() -> Settings {
    Settings::new(identity(), Scope::All { exclude: Vec::new() })
}
