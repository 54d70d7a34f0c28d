//! `cargo xtask bench`: figures from the real servers. One bench is one module beside [`latency`]; what they share is
//! [`setting`] and [`servers`] (where a bench takes place), [`program`] and [`scrape`] (consul8s itself, and what it says of
//! itself), [`fleet`] and [`objects`] (what is written to the servers), [`slices`] and [`meter`] (what is seen of it), [`http`],
//! [`stats`] and [`table`].

mod churn;
mod fleet;
mod http;
mod idle;
mod large;
mod latency;
mod meter;
mod objects;
mod program;
mod register;
mod rolling;
mod scrape;
mod servers;
mod setting;
mod slices;
mod start;
mod stats;
mod storm;
mod table;
mod turns;

use anyhow::Result;
use clap::Subcommand;

/// What can be measured. Each takes less than three minutes.
#[derive(Debug, Subcommand)]
pub(crate) enum Chore {
    /// How long a change on one side takes to stand on the other, and how much memory that needs.
    ///
    /// Beside consul8s it measures the floor: the least that any program could do for the same change, on the same
    /// servers and in turns with it, so that a busy machine slows both alike. Read the ratios, not the milliseconds.
    Latency(latency::Arguments),
    /// The same with more watched Services than connections, and whether the bound holds that the metric claims.
    Turns(turns::Arguments),
    /// One service with 10,000 instances: what a change of one costs.
    Large(large::Arguments),
    /// Start with 1,000 Services of 10 instances: time until in sync, and memory.
    Start(start::Arguments),
    /// Start with 1,000 Services of 3 endpoints to register: time, memory, and what Consul spends.
    Register(register::Arguments),
    /// 1,000 changes in a second on 100 services: writes, and whether the last state is right.
    Storm(storm::Arguments),
    /// Rolling restart of a Service with 200 pods: entries of Consul's Raft log.
    Rolling(rolling::Arguments),
    /// Instances move and fail without an end: does the memory stay as it is?
    Churn(churn::Arguments),
    /// Nothing changes: is anything written?
    Idle(idle::Arguments),
}

/// Measures it.
pub(crate) async fn run(chore: Chore) -> Result<()> {
    match chore {
        Chore::Latency(arguments) => latency::run(&arguments).await,
        Chore::Turns(arguments) => turns::run(&arguments).await,
        Chore::Large(arguments) => large::run(&arguments).await,
        Chore::Start(arguments) => start::run(&arguments).await,
        Chore::Register(arguments) => register::run(&arguments).await,
        Chore::Storm(arguments) => storm::run(&arguments).await,
        Chore::Rolling(arguments) => rolling::run(&arguments).await,
        Chore::Churn(arguments) => churn::run(&arguments).await,
        Chore::Idle(arguments) => idle::run(&arguments).await,
    }
}
