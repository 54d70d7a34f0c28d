//! Placeholder until the story is told.
use crate::commands::Exit;
use tokio_util::sync::CancellationToken;
/// demo
pub async fn run(_once: bool, _stop: CancellationToken) -> anyhow::Result<Exit> {
    anyhow::bail!("the demo is not built yet")
}
