//! Waiting for a server, with an end.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::Result;
use crate::process::Server;

/// Enough for a machine that is busy with a build besides; on a quiet one everything is there in five seconds.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Short, since benches and many tests start servers; a look costs a server less than a millisecond.
const POLL: Duration = Duration::from_millis(50);
/// A server that has just bound its port may accept a connection and leave it without an answer.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// Waits until `look` finds the last of `servers` as `wanted`. Ends early, with its log, when one of the servers ends.
///
/// `look` answers `Err` with the reason why it isn't so yet.
pub(crate) async fn wait_until<F>(servers: &mut [&mut Server], wanted: &'static str, look: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = std::result::Result<(), String>>,
{
    let deadline = Instant::now() + START_LIMIT;
    loop {
        for server in servers.iter_mut() {
            server.check_alive()?;
        }
        let found = timeout(LOOK_LIMIT, look()).await;
        let last = match found {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => format!("none within {} s", LOOK_LIMIT.as_secs()),
        };
        if Instant::now() >= deadline
            && let Some(server) = servers.last()
        {
            return Err(server.not_ready(wanted, START_LIMIT, last));
        }
        sleep(POLL).await;
    }
}
