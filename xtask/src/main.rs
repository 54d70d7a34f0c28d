//! One door for every chore: `cargo xtask --help`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "talking to the person who runs it is this program's job"
)]

mod bench;
mod cargo;
mod test;
mod testbed;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of this project, each of them one command.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

// One chore, one module.
#[derive(Debug, Subcommand)]
enum Chore {
    /// Runs every check that a change must pass, in order; the first failure ends it.
    Test(test::Arguments),
    /// The real servers that tests and benches run against.
    #[command(subcommand)]
    Testbed(testbed::Chore),
    /// Measures consul8s on the real servers, beside the floor of the same machine in the same run.
    #[command(subcommand)]
    Bench(bench::Chore),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Test(arguments) => test::run(&arguments).await,
        Chore::Testbed(chore) => testbed::run(chore).await,
        Chore::Bench(chore) => bench::run(chore).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
