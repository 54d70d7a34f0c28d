//! Real HTTP in front of a world.

mod body;
mod call;
mod consul;
mod kube;
mod serve;

pub use body::Body;
pub use consul::respond as respond_consul;
pub use kube::respond as respond_kube;
pub use serve::{Server, consul_connection, kube_connection, serve_consul, serve_kube};
