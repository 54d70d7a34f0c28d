//! Starts and stops real servers for tests, benches and the playground: etcd, kube-apiserver, kube-controller-manager,
//! kube-proxy and Consul, each as a process of its own on 127.0.0.1.
//!
//! ```no_run
//! use consul8s_testbed::{Consul, ConsulOptions, Kubernetes, KubernetesOptions, TestbedError};
//!
//! # async fn example() -> Result<(), TestbedError> {
//! let (kubernetes, consul) = tokio::join!(
//!     Kubernetes::start(KubernetesOptions::default()),
//!     Consul::start(ConsulOptions::default()),
//! );
//! let (mut kubernetes, mut consul) = (kubernetes?, consul?);
//! kubernetes.kubectl(&["create", "namespace", "shop"], None).await?;
//! consul.stop().await; // as kill -9 would
//! consul.start_again().await?; // on the same data and the same ports
//! kubernetes.stop_api().await;
//! # Ok(())
//! # }
//! ```
//!
//! What holds for all of them:
//! - The programs come from `KUBEBUILDER_ASSETS` and `CONSUL_BIN` when those are set, otherwise from the cache that
//!   `cargo xtask testbed build` fills ([`binaries`]). A missing one is an error, never a skipped test.
//! - Every wait has a limit, and the error that ends it holds the command line and the end of the server's log.
//! - A value that is dropped takes its servers, its ports and its data with it. So does the death of the whole test
//!   process, by whatever signal: see `watchdog.sh`.
//! - When a test panics, the end of each server's log goes to its standard error.
//! - Tokio's paused clock and real sockets don't mix: leave time running in a test that uses this crate.

mod backup;
pub mod binaries;
mod consul;
mod error;
mod http;
mod kube_proxy;
mod kubernetes;
mod ports;
mod process;
mod ready;

pub use consul::{Consul, ConsulOptions};
pub use error::TestbedError;
pub use http::Reply;
pub use kube_proxy::KubeProxy;
pub use kubernetes::{Kubernetes, KubernetesOptions};

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, TestbedError>;
