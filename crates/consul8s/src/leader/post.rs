//! The keeper while the program works, and its end.

use std::future::Future;
use std::pin::pin;

use consul8s_core::ports::LeaseApi;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Keeper;

/// A keeper that runs.
pub struct Post {
    retire: CancellationToken,
    task: JoinHandle<()>,
}

impl Post {
    /// Starts the keeper.
    pub fn take<L: LeaseApi>(keeper: Keeper<L>) -> Post {
        let retire = CancellationToken::new();
        Post { task: tokio::spawn(keeper.run(retire.clone())), retire }
    }

    /// Does the work. A panic of the keeper ends it with that panic: without a keeper nothing would ever be written again.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        tokio::select! {
            done = &mut work => return done,
            ended = &mut self.task => {
                if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
        work.await
    }

    /// Ends the claim, and gives the Lease back so that nobody has to wait for it. Takes 1.5 s at most.
    pub async fn leave(self) {
        self.retire.cancel();
        // It ends by itself; a panic on the way out changes nothing any more.
        let _ = self.task.await;
    }
}
