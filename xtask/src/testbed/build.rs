//! `cargo xtask testbed build`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use consul8s_testbed::binaries::{self, BUILD_ENVIRONMENT, BUILD_FLAGS, PROGRAMS, Program};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{go, nft};

/// How often a long build says that it is still there, for people and for watchdogs of CI.
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);

/// Builds all programs, and sees to what they need of the system.
pub(crate) async fn everything() -> Result<()> {
    nft::ensure().await;
    build(PROGRAMS).await
}

/// Builds those that are neither given by the environment nor in the cache.
pub(crate) async fn build(programs: &[Program]) -> Result<()> {
    report_given(programs)?;
    let folder = binaries::cache()?.join("testbed");
    let missing = missing(programs)?;
    if missing.is_empty() {
        eprintln!("testbed: up to date ({})", folder.display());
        return Ok(());
    }
    go::check(&missing).await?;
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let _lock = lock(&folder.join("build.lock")).await?;
    build_all(programs, &folder).await
}

/// Only called while the lock is held. Looks anew, since another run may have built everything meanwhile.
async fn build_all(programs: &[Program], folder: &Path) -> Result<()> {
    let missing = missing(programs)?;
    announce(&missing, folder);
    let start = Instant::now();
    for (index, program) in missing.iter().enumerate() {
        let turn = format!("[{}/{}] {}", index + 1, missing.len(), program.name);
        build_program(program, &turn).await?;
    }
    eprintln!("testbed: all built, in {} s", start.elapsed().as_secs());
    Ok(())
}

/// Says which programs come from elsewhere, since variables that were set once are easily forgotten.
fn report_given(programs: &[Program]) -> Result<()> {
    for program in programs {
        if let Some((variable, path)) = program.given()? {
            eprintln!("testbed: {} is {} ({variable} is set)", program.name, path.display());
        }
    }
    Ok(())
}

/// The programs to build.
fn missing(programs: &[Program]) -> Result<Vec<Program>> {
    let mut missing = Vec::new();
    for program in programs {
        if program.given()?.is_none() && !program.built()?.is_file() {
            missing.push(*program);
        }
    }
    Ok(missing)
}

fn announce(missing: &[Program], folder: &Path) {
    if missing.is_empty() {
        return;
    }
    let names: Vec<&str> = missing.iter().map(|program| program.name).collect();
    let minutes = missing.iter().map(|program| program.cold_build_seconds).sum::<u64>().div_ceil(60);
    eprintln!("testbed: building {} into {}", names.join(", "), folder.display());
    eprintln!("testbed: the first time, this takes about {minutes} min on two cores, and downloads the sources");
}

/// One build at a time: two would do the same work twice, each at half the speed.
async fn lock(path: &Path) -> Result<File> {
    let what = || format!("locking {}", path.display());
    let open = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = open.with_context(what)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            eprintln!("testbed: another build is running; waiting for it to end");
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(what),
    }
    tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await?.with_context(what)
}

/// Builds under another name and renames at the end: a build that is killed leaves nothing that looks finished.
async fn build_program(program: &Program, turn: &str) -> Result<()> {
    let folder = program.module.built()?;
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    remove_leftovers(&folder)?;
    let unfinished = folder.join(format!("{UNFINISHED}{}.{}", program.name, std::process::id()));
    let start = Instant::now();
    eprintln!("{turn}: building, about {} s the first time", program.cold_build_seconds);
    let go = Command::new("go")
        .arg("build")
        .args(BUILD_FLAGS)
        .args(["-ldflags", program.module.ldflags, "-o"])
        .arg(&unfinished)
        .arg(program.package)
        .envs(BUILD_ENVIRONMENT.iter().copied())
        .current_dir(program.module.source())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting go")?;
    let status = watch(go, turn, start).await?;
    if !status.success() {
        bail!(
            "go build of {} failed ({status}); its messages are above. The sources come from the Go module proxy: \
             see that it can be reached (`go env GOPROXY`), then run `cargo xtask testbed build` again",
            program.name
        );
    }
    let built = program.built()?;
    fs::rename(&unfinished, &built).with_context(|| format!("renaming to {}", built.display()))?;
    eprintln!("{turn}: done in {} s", start.elapsed().as_secs());
    Ok(())
}

/// Waits for go, with a line now and then.
async fn watch(mut go: Child, turn: &str, start: Instant) -> Result<ExitStatus> {
    loop {
        match timeout(SIGN_OF_LIFE, go.wait()).await {
            Ok(status) => return status.context("waiting for go"),
            Err(_) => eprintln!("{turn}: still building, {} s so far", start.elapsed().as_secs()),
        }
    }
}

/// How the files of builds that have not ended begin.
const UNFINISHED: &str = ".building-";

/// Only called while the lock is held, so whoever wrote these files is gone.
fn remove_leftovers(folder: &Path) -> Result<()> {
    let what = || format!("cleaning {}", folder.display());
    for entry in fs::read_dir(folder).with_context(what)? {
        let path: PathBuf = entry.with_context(what)?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(UNFINISHED)) {
            fs::remove_file(&path).with_context(what)?;
        }
    }
    Ok(())
}
