//! Waiting for something, with an end and with the last thing seen.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Outcome;

/// How long anything may take that has no limit of its own: far above what the program needs, since the machine is
/// busy with other scenarios, and above the 15 s after its start for which the program lets no absence count.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// How often that is looked at which cannot be watched.
const POLL: Duration = Duration::from_millis(25);

/// Looks until it is so, and says how long that took. What `look` answers as an error is why it isn't so yet.
pub(crate) async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Outcome<T>,
) -> Outcome<T> {
    let (start, mut last) = (Instant::now(), String::from("nothing yet"));
    let deadline = start + limit;
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(why)) => last = why,
            Err(_) => return Err(format!("{what}: not within {limit:?}; last seen: {last}")),
        }
        if Instant::now() >= deadline {
            return Err(format!("{what}: not within {limit:?}; last seen: {last}"));
        }
        sleep(POLL).await;
    }
}

/// For `look`: it is so, or this is how it is instead.
pub(crate) fn so(is_so: bool, instead: impl FnOnce() -> String) -> Outcome {
    if is_so { Ok(()) } else { Err(instead()) }
}
