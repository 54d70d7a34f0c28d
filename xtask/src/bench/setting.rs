//! What the benches have in common: their arguments, the program, and waiting for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::time::{sleep, timeout};

use super::fleet::Fleet;
use super::program::{self, Program};
use super::slices::{Slices, ready};

/// How often it is looked whether something has come about that nobody tells.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Arguments of every bench.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// Fails when a target is missed. Without it that is only said, since a busy machine measures itself.
    #[arg(long)]
    pub(crate) enforce: bool,
    /// Measures this consul8s; by default the release build of this checkout is made.
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
}

impl Common {
    /// The program that is measured.
    pub(crate) async fn binary(&self) -> Result<PathBuf> {
        match &self.program {
            Some(file) => file.canonicalize().with_context(|| format!("--program {}", file.display())),
            None => program::build().await,
        }
    }
}

/// Waits until every Service of `fleet` has all its endpoints ready on its slices; when the last of them came.
pub(crate) async fn until_published(
    fleet: &Fleet,
    slices: &mut Slices,
    program: &mut Program,
    limit: Duration,
) -> Result<Instant> {
    let mut standing = BTreeMap::<String, usize>::new();
    let wanted = fleet.services * fleet.instances;
    let published = async {
        loop {
            let line = slices.next().await?;
            let slice = &line.value["object"];
            if slice["metadata"]["namespace"] == fleet.name {
                let name = slice["metadata"]["name"].as_str().unwrap_or_default();
                standing.insert(name.to_owned(), ready(slice));
                if standing.values().sum::<usize>() == wanted {
                    return anyhow::Ok(line.at);
                }
            }
        }
    };
    match timeout(limit, published).await {
        Ok(at) => at,
        Err(_) => {
            program.check_alive()?;
            let there: usize = standing.values().sum();
            bail!("{there} of {wanted} endpoints after {} s\n{}", limit.as_secs(), program.log_tail())
        }
    }
}

/// Waits until consul8s has written nothing and has nothing to do for `calm`.
pub(crate) async fn until_quiet(program: &Program, calm: Duration, limit: Duration) -> Result<Instant> {
    let quiet = async {
        let (mut last, mut since) = (f64::NAN, Instant::now());
        loop {
            let now = program.metrics().await?;
            let written = now.sum("consul8s_writes_total", &[]);
            if written != last || now.sum("consul8s_queue_depth", &[]) > 0.0 {
                (last, since) = (written, Instant::now());
            }
            if since.elapsed() >= calm {
                return anyhow::Ok(since);
            }
            sleep(LOOK_EVERY).await;
        }
    };
    match timeout(limit, quiet).await {
        Ok(at) => at,
        Err(_) => bail!("still writing after {} s\n{}", limit.as_secs(), program.log_tail()),
    }
}
