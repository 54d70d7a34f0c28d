//! `cargo xtask test`: what a change must pass, in one table.

mod beside;
mod deny;

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::builder::PossibleValuesParser;

use crate::{cargo, testbed};

/// One thing to pass.
struct Step {
    /// Its name on the command line.
    name: &'static str,
    /// Its headline.
    about: &'static str,
    /// What it does.
    work: Work,
    /// What it does with `--fast`.
    fast: Fast,
}

/// The kinds of work. A step that is more than one command gets a variant and a module.
#[derive(Clone, Copy)]
enum Work {
    /// `cargo ARGUMENTS`.
    Cargo(&'static [&'static str]),
    /// `cargo ARGUMENTS` twice, at the same time; of the second the output comes when it has ended.
    Beside(&'static [&'static str], &'static [&'static str]),
    /// `cargo COMPONENT ARGUMENTS`, where the component must have been installed besides cargo.
    Component { component: &'static str, arguments: &'static [&'static str] },
    /// `cargo doc`, warnings being errors.
    Docs,
    /// Licences, sources and banned crates of all dependencies.
    Deny,
    /// The programs of the real servers.
    Servers,
}

/// What `--fast` makes of a step.
#[derive(Clone, Copy)]
enum Fast {
    Same,
    Skip,
    Instead(Work),
}

/// Their names begin with `scenario::`, and those of no other test contain that.
const SCENARIOS: &[&str] = &["test", "--package", "consul8s", "--test", "scenarios"];

/// In this order: what fails soonest and is mended easiest comes first.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "formatting",
        work: Work::Component { component: "rustfmt", arguments: &["fmt", "--all", "--check"] },
        fast: Fast::Same,
    },
    Step {
        name: "clippy",
        about: "lints",
        work: Work::Component {
            component: "clippy",
            arguments: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        },
        fast: Fast::Same,
    },
    Step { name: "deny", about: "licences and sources of dependencies", work: Work::Deny, fast: Fast::Skip },
    Step { name: "docs", about: "documentation", work: Work::Docs, fast: Fast::Skip },
    Step { name: "servers", about: "the real servers are built", work: Work::Servers, fast: Fast::Skip },
    Step {
        name: "tests",
        about: "unit, property, simulated and real tests",
        // The scenarios mostly wait, the others mostly compute.
        work: Work::Beside(SCENARIOS, &["test", "--workspace", "--", "--skip", "scenario::"]),
        // Every test that starts real servers has one of these in its name, or lies in the testbed's own crate.
        fast: Fast::Instead(Work::Cargo(&[
            "test",
            "--workspace",
            "--exclude",
            "consul8s-testbed",
            "--",
            "--skip",
            "on_real_servers",
            "--skip",
            "real::",
        ])),
    },
];

/// Which steps to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only what takes seconds: formatting, lints, and the tests that need no real servers.
    #[arg(long)]
    fast: bool,
    /// Only these steps, in the usual order; all of them when none is named.
    #[arg(value_name = "STEP", value_parser = PossibleValuesParser::new(STEPS.iter().map(|step| step.name)))]
    steps: Vec<String>,
}

/// Runs the steps and prints how long each took.
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let chosen: Vec<(&Step, Work)> = STEPS.iter().filter_map(|step| Some((step, choose(step, arguments)?))).collect();
    if chosen.is_empty() {
        bail!("with --fast, none of these steps is left; leave --fast out");
    }
    let mut times = Vec::new();
    for (index, (step, work)) in chosen.iter().enumerate() {
        println!("==> [{}/{}] {}: {}", index + 1, chosen.len(), step.name, step.about);
        let start = Instant::now();
        let result = work.run().await;
        let took = start.elapsed();
        result.map_err(|error| {
            let seconds = took.as_secs_f64();
            anyhow!("step {0} failed after {seconds:.1} s: {error:#}; `cargo xtask test {0}` runs it alone", step.name)
        })?;
        println!("<== {}: passed in {:.1} s\n", step.name, took.as_secs_f64());
        times.push((step.name, took));
    }
    summarise(&times);
    if arguments.fast {
        println!("--fast left out what needs real servers, licences and documentation; `cargo xtask test` runs all");
    }
    Ok(())
}

/// The step's work under these arguments; `None` when it isn't to run.
fn choose(step: &Step, arguments: &Arguments) -> Option<Work> {
    let named = arguments.steps.is_empty() || arguments.steps.iter().any(|name| name == step.name);
    match (named, arguments.fast, step.fast) {
        (false, _, _) | (true, true, Fast::Skip) => None,
        (true, true, Fast::Instead(work)) => Some(work),
        (true, true, Fast::Same) | (true, false, _) => Some(step.work),
    }
}

fn summarise(times: &[(&str, Duration)]) {
    let total: Duration = times.iter().map(|(_, took)| *took).sum();
    for (name, took) in times.iter().copied().chain([("total", total)]) {
        println!("{name:<10} {:>8.1} s", took.as_secs_f64());
    }
    println!("all steps passed");
}

impl Work {
    async fn run(self) -> Result<()> {
        match self {
            Self::Cargo(arguments) => run_cargo(arguments, &[]).await,
            Self::Beside(one, other) => beside::run(one, other).await,
            Self::Component { component, arguments } => {
                require(component, arguments).await?;
                run_cargo(arguments, &[]).await
            }
            Self::Docs => run_cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")]).await,
            Self::Deny => deny::check().await,
            Self::Servers => testbed::build::everything().await,
        }
    }
}

async fn run_cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let status = cargo::command().args(arguments).envs(environment.iter().copied()).status().await?;
    if !status.success() {
        bail!("cargo {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}

/// An error that says how to install `component`, unless its subcommand (the first of `arguments`) answers.
async fn require(component: &str, arguments: &[&str]) -> Result<()> {
    let asked = cargo::command().args(arguments.first()).arg("--version").output().await?;
    if !asked.status.success() {
        bail!("{component} is not installed: run `rustup component add {component}`");
    }
    Ok(())
}
