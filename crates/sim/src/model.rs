//! Both worlds as values.

pub mod consul;
pub mod kube;
