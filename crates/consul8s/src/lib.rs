//! The program: it owns every task and channel, and decides nothing that `consul8s-core` could decide.

pub mod acl_policy;
pub mod admin;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod controller;
pub mod counted;
pub mod demo;
pub mod feeds;
pub mod flag_values;
pub mod import;
pub mod leader;
pub mod logging;
pub mod metrics;
pub mod once;
pub mod plan;
pub mod purge;
pub mod queue;
pub mod resolve;
pub mod run;
pub mod snapshot;
pub mod stores;
pub mod sync;
pub mod teller;
