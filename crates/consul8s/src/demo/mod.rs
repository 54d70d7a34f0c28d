//! `demo`: the controller that `run` runs, against two embedded worlds, and a story played to it.
//!
//! [`worlds`] are what it watches and writes, [`cast`] who is in them, [`story`] what happens, [`play`] sees to it, [`timeline`] prints it,
//! and [`stage`] is what all that needs of this machine.

pub mod cast;
pub mod play;
pub mod stage;
pub mod story;
pub mod timeline;
pub mod worlds;

use std::convert::Infallible;
use std::io::{self, IsTerminal, Stdout};
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use self::play::Pace;
use self::stage::{Addresses, Stage};
use self::story::STORY;
use self::timeline::Timeline;
use self::worlds::{Worlds, changes};
use crate::commands::Exit;
use crate::run;

/// How long a step may take to be followed: thousands of times what it needs, and soon enough for who waits.
const LIMIT: Duration = Duration::from_secs(10);

/// Pause between steps on a terminal, so that a person can read.
const PAUSE: Duration = Duration::from_millis(1200);

/// How long the controller may take to end; it promises [`run::GRACE`].
const END: Duration = run::GRACE.saturating_add(Duration::from_secs(1));

/// Tells the story. With `once` it ends then, and says by its exit code whether every step was followed; otherwise the worlds stay up
/// until `stop`.
///
/// # Errors
/// The worlds cannot be served, the controller ends before the demo does, or nobody reads what is printed.
pub async fn run(once: bool, stop: CancellationToken) -> anyhow::Result<Exit> {
    let worlds = cast::enter().context("setting up the embedded worlds")?;
    let stage = Stage::build(&worlds).await?;
    let end = stop.child_token();
    let mut controller = tokio::spawn(run::run(stage.options()?, end.clone()));
    let told = tokio::select! {
        () = stop.cancelled() => Ok(Exit::Done),
        told = tell(once, &worlds, &stage.addresses) => told,
        ended = &mut controller => return early(ended, &stop),
    };
    end.cancel();
    match tokio::time::timeout(END, controller).await {
        Ok(Ok(Ok(_))) => {}
        Ok(Ok(Err(error))) => tracing::warn!("the controller ended badly: {error:#}"),
        Ok(Err(panic)) => tracing::warn!("the controller failed in the end: {panic}"),
        Err(_) => tracing::warn!("the controller did not end within {END:?}"),
    }
    stage.leave();
    told
}

/// The controller ended before the demo did. Told to stop, it may only have been faster.
fn early(ended: Result<anyhow::Result<Exit>, JoinError>, stop: &CancellationToken) -> anyhow::Result<Exit> {
    ended.context("the controller failed")?.context("the controller could not run")?;
    anyhow::ensure!(stop.is_cancelled(), "the controller ended by itself");
    Ok(Exit::Done)
}

async fn tell(once: bool, worlds: &Worlds, addresses: &Addresses) -> anyhow::Result<Exit> {
    let mut timeline = Timeline::on_stdout();
    let pause = if !once && io::stdout().is_terminal() { PAUSE } else { Duration::ZERO };
    let written = async {
        timeline.opening(addresses)?;
        let summary = play::play(STORY, worlds, Pace { limit: LIMIT, pause }, &mut timeline).await?;
        timeline.summary(&summary)?;
        if once {
            return Ok(summary.exit());
        }
        timeline.guide(addresses)?;
        match stay(worlds, &mut timeline).await? {}
    };
    written.await.map_err(|error: io::Error| anyhow::Error::new(error).context("cannot print the timeline"))
}

/// Shows what consul8s does in answer to what the audience does.
async fn stay(worlds: &Worlds, timeline: &mut Timeline<Stdout>) -> io::Result<Infallible> {
    let mut news = worlds.news();
    let mut before = worlds.written();
    loop {
        news.next().await;
        let after = worlds.written();
        changes(&before, &after).iter().try_for_each(|change| timeline.changed(change))?;
        before = after;
    }
}
