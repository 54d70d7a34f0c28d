//! The full audit: every interval, every Service is looked at again though nothing changed, and the time it takes is measured, as the
//! original's loop was.

use std::sync::Arc;
use std::time::Duration;

use consul8s_core::ports::{ConsulApi, KubeApi};
use tokio::time::{Instant, MissedTickBehavior};

use crate::controller::Controller;

/// How often it is looked whether an audit is through.
const STEP: Duration = Duration::from_millis(50);

/// Audits at once, and then every `interval`, as long as it is polled.
pub async fn run<K: KubeApi, C: ConsulApi>(controller: Arc<Controller<K, C>>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let started = Instant::now();
        let keys = controller.world().all_keys();
        keys.into_iter().for_each(|key| controller.queue.add(key));
        // An audit that is not through when the next is due is one long audit.
        while controller.queue.depth() > 0 && started.elapsed() < interval {
            tokio::time::sleep(STEP.min(interval / 4)).await;
        }
        controller.metrics.audit_took(started.elapsed());
        controller.queue.prune();
    }
}
