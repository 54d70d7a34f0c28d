//! `cargo xtask bench`: figures from the real servers. One bench is one module beside [`latency`]; what they share is
//! [`servers`] and [`http`] (what a bench talks to), [`program`] (consul8s itself), [`objects`] (what is written to the
//! servers) and [`stats`].

mod http;
mod latency;
mod objects;
mod program;
mod servers;
mod stats;

use anyhow::Result;
use clap::Subcommand;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Chore {
    /// How long a change on one side takes to stand on the other, and how much memory that needs.
    ///
    /// Beside consul8s it measures the floor: the least that any program could do for the same change, on the same
    /// servers and in turns with it, so that a busy machine slows both alike. Read the ratios, not the milliseconds.
    Latency(latency::Arguments),
}

/// Measures it.
pub(crate) async fn run(chore: Chore) -> Result<()> {
    match chore {
        Chore::Latency(arguments) => latency::run(&arguments).await,
    }
}
