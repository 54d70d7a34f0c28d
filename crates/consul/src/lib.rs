//! The Consul edge.
//!
//! Reading: [`Client`] asks once, [`HealthWatch`] and [`NodeWatch`] keep asking and tell what is news. Writing: [`Writer`] sends
//! one transaction, [`Batcher`] groups what waits into few. All in core values: Consul's JSON does not leave this crate, and
//! nothing here decides what should be published or registered.
//!
//! Towards the network, from the outside in: [`config`] says where and how, `transport` asks one question within bounds, `pool`
//! counts connections, `turns` shares them, `dial` opens them.

mod answer;
pub mod batch;
mod client;
pub mod config;
mod connection;
mod credentials;
pub mod dial;
mod env;
mod error;
mod lenient;
mod node_watch;
mod pace;
mod pool;
mod recent;
mod request;
mod secret;
mod tls;
mod transport;
mod turns;
mod txn;
pub mod watch;
mod wire;
mod writer;

pub use batch::{BatchDriver, Batcher};
pub use client::Client;
pub use config::{Address, ClientConfig};
pub use node_watch::NodeWatch;
pub use watch::{HealthWatch, Rejection, Watch, WatchConfig, WatchNews};
pub use writer::Writer;
