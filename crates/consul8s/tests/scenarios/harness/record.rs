//! Every state that the endpoints of a Service went through: what a look from time to time would miss.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::Outcome;
use super::kube::Kube;
use super::view;
use super::wait::eventually;

/// How soon a broken watch is begun anew.
const AGAIN: Duration = Duration::from_millis(100);

/// Writes down each state of a Service's endpoints until it is dropped.
pub(crate) struct Recorder {
    states: Arc<Mutex<Vec<State>>>,
    task: JoinHandle<()>,
}

/// The endpoints from one moment to the next.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) since: Instant,
    pub(crate) endpoints: Vec<String>,
}

impl Recorder {
    /// Begins with the state of now.
    pub(crate) async fn start(kube: &Kube, service: &str) -> Outcome<Recorder> {
        let states = Arc::new(Mutex::new(Vec::new()));
        let (kube, service, into) = (kube.clone(), service.to_owned(), Arc::clone(&states));
        let mut following = kube.follow(&service).await?;
        note(&into, view::endpoints(&following.slices()));
        let task = tokio::spawn(async move {
            loop {
                if following.changed().await.is_err() {
                    // The server is away, or has ended the watch: what it missed shows as one step.
                    sleep(AGAIN).await;
                    let Ok(again) = kube.follow(&service).await else { continue };
                    following = again;
                }
                note(&into, view::endpoints(&following.slices()));
            }
        });
        Ok(Recorder { states, task })
    }

    /// The states so far.
    pub(crate) fn states(&self) -> Vec<State> {
        lock(&self.states).clone()
    }

    /// Waits until the record has this state as its last, and says when that began.
    pub(crate) async fn reaches(&self, limit: Duration, wanted: &[&str]) -> Outcome<Instant> {
        eventually(&format!("the record reaches {wanted:?}"), limit, async || {
            let last = self.states().pop().ok_or("no state yet")?;
            if last.endpoints == wanted { Ok(last.since) } else { Err(format!("{last:?}")) }
        })
        .await
    }

    /// An error if ever a state was not as `right` wants it.
    pub(crate) fn always(&self, what: &str, right: impl Fn(&[String]) -> bool) -> Outcome {
        let wrong: Vec<State> = self.states().into_iter().filter(|state| !right(&state.endpoints)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("not always {what}: {wrong:?} among {:?}", self.states())) }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(states: &Mutex<Vec<State>>, endpoints: Vec<String>) {
    let mut states = lock(states);
    if states.last().is_none_or(|last| last.endpoints != endpoints) {
        states.push(State { since: Instant::now(), endpoints });
    }
}

fn lock(states: &Mutex<Vec<State>>) -> MutexGuard<'_, Vec<State>> {
    states.lock().expect("nobody panics while writing a state down")
}
