//! `core`'s seam on the worlds, without sockets. The worlds' faults show as the errors that the edges make of them.

mod consul;
mod imports;
mod kube;
mod lease;
mod teller;
mod watch;

pub use lease::WorldLease;
pub use watch::WorldWatch;

use consul8s_core::ports::{ApiError, ErrorKind};

use crate::faults::Verdict;
use crate::world::World;

/// Lets a call in; gives whether its answer is to be lost, or how it fails.
async fn admit<M>(world: &World<M>) -> Result<Reply, ApiError> {
    match world.admit().await {
        Verdict::Cut => Err(ApiError::new(ErrorKind::Unreachable, "simulated: connection refused")),
        Verdict::Fail(status) => Err(ApiError::new(kind_of(status), format!("simulated: status {status}"))),
        Verdict::LoseReply => Ok(Reply::Lost),
        Verdict::Serve { truncate: true } => Ok(Reply::CutShort),
        Verdict::Serve { truncate: false } => Ok(Reply::Whole),
    }
}

/// What becomes of an answer.
#[derive(Clone, Copy)]
enum Reply {
    Whole,
    CutShort,
    Lost,
}

impl Reply {
    fn deliver<T>(self, answer: T) -> Result<T, ApiError> {
        match self {
            Reply::Whole => Ok(answer),
            Reply::CutShort => Err(ApiError::new(ErrorKind::Garbage, "simulated: body cut short")),
            Reply::Lost => Err(ApiError::new(ErrorKind::Timeout, "simulated: no answer")),
        }
    }
}

fn kind_of(status: u16) -> ErrorKind {
    match status {
        401 | 403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        410 => ErrorKind::Gone,
        429 => ErrorKind::Throttled,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Server,
    }
}
