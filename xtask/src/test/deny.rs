//! Step `deny`: cargo-deny with this workspace's deny.toml. Where it is missing it is built into our own cache, so that
//! nothing changes among the programs that the user has installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use consul8s_testbed::binaries;
use tokio::process::Command;

use crate::cargo;

/// The version that deny.toml is written for.
const VERSION: &str = "0.20.2";
/// A program in PATH must be of these, since the file's format changes between them.
const COMPATIBLE: &str = "cargo-deny 0.20.";

/// Runs the checks that need no network.
pub(super) async fn check() -> Result<()> {
    let program = find_or_install().await?;
    let mut deny = Command::new(program);
    cargo::clean(&mut deny);
    let status = deny.args(["check", "bans", "licenses", "sources"]).status().await.context("starting cargo-deny")?;
    if !status.success() {
        bail!("cargo-deny ended with {status}; its messages are above, the rules and their reasons in deny.toml");
    }
    Ok(())
}

async fn find_or_install() -> Result<PathBuf> {
    if is_compatible("cargo-deny").await {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let folder = binaries::cache()?.join("tools").join(format!("cargo-deny-{VERSION}"));
    let program = folder.join("bin/cargo-deny");
    if !program.is_file() {
        install(&folder).await?;
    }
    Ok(program)
}

async fn is_compatible(program: &str) -> bool {
    let output = Command::new(program).arg("--version").output().await;
    output.is_ok_and(|output| output.stdout.starts_with(COMPATIBLE.as_bytes()))
}

async fn install(folder: &Path) -> Result<()> {
    eprintln!("cargo-deny {VERSION} is not there; building it into {} (about 4 min on two cores)", folder.display());
    let target = folder.join("target");
    let mut install = cargo::command();
    install.args(["install", "cargo-deny", "--locked", "--no-track", "--version", VERSION]);
    install.arg("--root").arg(folder).arg("--target-dir").arg(&target);
    // It belongs to neither this workspace's target folder nor the user's programs.
    install.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_INSTALL_ROOT");
    let status = install.status().await.context("starting cargo install")?;
    if !status.success() {
        bail!("cargo install of cargo-deny {VERSION} ended with {status}; with that version in PATH it isn't needed");
    }
    fs::remove_dir_all(&target).with_context(|| format!("removing {}", target.display()))
}
