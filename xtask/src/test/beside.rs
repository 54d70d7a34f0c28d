//! Tests at the same time: what waits for servers beside what keeps the processors busy.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};

use anyhow::{Context as _, Result, bail};

use crate::cargo;

/// Builds all tests, then runs both. The first is seen as it goes; what the other prints comes in one piece when it has ended, whatever
/// became of the first.
///
/// # Errors
/// When a test can't be built, or one of the two fails.
pub(super) async fn run(seen: &[&str], kept: &[&str]) -> Result<()> {
    super::run_cargo(&["test", "--workspace", "--no-run"], &[]).await?;
    let output = tempfile::tempfile().context("a file for the output of tests")?;
    let (seen, kept) = tokio::join!(super::run_cargo(seen, &[]), run_into(kept, output));
    match (seen, kept) {
        (Err(one), Err(other)) => bail!("{one:#}; {other:#}"),
        (one, other) => one.and(other),
    }
}

async fn run_into(arguments: &[&str], mut output: File) -> Result<()> {
    let mut command = cargo::command();
    // One test program that fails must not hide the others'.
    command.args(arguments.iter().take(1)).arg("--no-fail-fast").args(arguments.iter().skip(1));
    let status = command.stdout(output.try_clone()?).stderr(output.try_clone()?).status().await?;
    output.rewind()?;
    let mut text = Vec::new();
    output.read_to_end(&mut text)?;
    io::stdout().write_all(&text)?;
    if !status.success() {
        bail!("cargo {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}
