//! What the scenarios are written with. Nothing here knows how the program works inside.

mod consul;
mod door;
mod http;
mod kube;
mod ledger;
mod link;
mod meddler;
mod metrics;
mod observer;
mod ports;
mod program;
mod record;
mod servers;
mod stage;
mod told;
pub(crate) mod view;
mod wait;
mod world;

pub(crate) use consul::{Consul, Instance, list};
pub(crate) use door::Door;
pub(crate) use kube::Kube;
pub(crate) use kube::{ENDPOINTS, EVENTS, IMPORTS, LEASES, SERVICES, SLICES, items, remove, text};
pub(crate) use ledger::Ledger;
pub(crate) use link::{Link, Quality};
pub(crate) use meddler::{Delivery, Index, Meddler, Spoiled};
pub(crate) use observer::Observer;
pub(crate) use ports::free_address;
pub(crate) use program::{Launch, Running};
pub(crate) use record::Recorder;
pub(crate) use servers::Kind;
pub(crate) use stage::{RealServers, Scenario, Stage, scenario};
pub(crate) use wait::{SOON, eventually, so};
pub(crate) use world::World;

/// How a scenario or a step of it ends; an error is told to the person who runs it.
pub(crate) type Outcome<T = ()> = Result<T, String>;
