//! Watches both servers for losses: whatever was ready or registered once must stay. It asks neither the program nor its metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Outcome;
use super::consul::Consul;
use super::kube::{Kube, text};
use super::view;
use super::wait::so;
use super::world::World;

/// How soon a broken watch is begun anew.
const AGAIN: Duration = Duration::from_millis(100);

/// Follows all slices of the namespace and all that the program has registered, until it is dropped.
pub(crate) struct Observer {
    losses: Arc<Mutex<Vec<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Observer {
    /// Begins with what stands now.
    pub(crate) async fn start(world: &World) -> Outcome<Observer> {
        let losses = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = vec![tokio::spawn(slices(world.kube.clone(), Arc::clone(&losses)))];
        for node in world.our_nodes().await? {
            tasks.push(tokio::spawn(registrations(world.consul.clone(), node, Arc::clone(&losses))));
        }
        Ok(Observer { losses, tasks })
    }

    /// An error that names what was lost, if only for a moment.
    pub(crate) fn saw_no_loss(&self) -> Outcome {
        let losses = lock(&self.losses);
        so(losses.is_empty(), || format!("{} losses: {losses:#?}", losses.len()))?;
        so(self.tasks.iter().all(|task| !task.is_finished()), || "the observer has stopped observing".to_owned())
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Ready endpoints of each Service.
type Ready = BTreeMap<String, BTreeSet<String>>;

async fn slices(kube: Kube, losses: Arc<Mutex<Vec<String>>>) {
    let mut before = Ready::new();
    loop {
        let Ok(mut following) = kube.follow_all().await else {
            sleep(AGAIN).await;
            continue;
        };
        loop {
            let now = ready(&following.slices());
            for (service, endpoints) in &before {
                let gone =
                    endpoints.iter().filter(|endpoint| !now.get(service).is_some_and(|now| now.contains(*endpoint)));
                lock(&losses).extend(gone.map(|endpoint| format!("{service} no longer has {endpoint}")));
            }
            before = now;
            if following.changed().await.is_err() {
                break;
            }
        }
    }
}

fn ready(slices: &[Value]) -> Ready {
    let mut ready = Ready::new();
    for slice in slices {
        let service = text(&slice["metadata"]["labels"]["kubernetes.io/service-name"]);
        let endpoints = view::endpoints(std::slice::from_ref(slice));
        ready.entry(service).or_default().extend(endpoints.into_iter().filter(|endpoint| endpoint.ends_with(" ready")));
    }
    ready
}

/// What Consul said when each registration was made; one that was made anew has another number.
async fn registrations(consul: Consul, node: String, losses: Arc<Mutex<Vec<String>>>) {
    let mut before = BTreeMap::<String, String>::new();
    let mut index = 0;
    loop {
        let Ok((answered, services)) = consul.node_after(&node, index).await else {
            index = 0;
            sleep(AGAIN).await;
            continue;
        };
        index = if answered < index { 0 } else { answered };
        let now: BTreeMap<String, String> =
            services.iter().map(|service| (text(&service["ID"]), service["CreateIndex"].to_string())).collect();
        for (id, created) in &before {
            match now.get(id) {
                None => lock(&losses).push(format!("{id} on {node} is gone")),
                Some(again) if again != created => lock(&losses).push(format!("{id} on {node} was made anew")),
                Some(_) => {}
            }
        }
        before = now;
    }
}

fn lock(losses: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    losses.lock().expect("nobody panics while writing a loss down")
}
