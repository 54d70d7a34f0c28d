//! One process: the whole program, put together as `run` does it, on its line to the worlds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use consul8s::audit;
use consul8s::clock::{BootClock, Clock};
use consul8s::controller::Controller;
use consul8s::dice::Dice;
use consul8s::leader::{Election, Fenced, Keeper};
use consul8s::metrics::Metrics;
use consul8s::sync::writers::Writers;
use consul8s::teller::{Mailbox, Teller};
use consul8s_consul::Batcher;
use consul8s_core::claim::Timing;
use consul8s_core::identity::Identity;
use consul8s_core::kube::{ObjectKey, Scope};
use consul8s_core::settings::{Direction, Settings};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::line::{Line, Stage};
use crate::mutants::Mutant;
use crate::ports_consul::Consul;
use crate::ports_kube::{Kube, Leases};
use crate::{LEASE, OWNER};

/// `--interval`
const INTERVAL: Duration = Duration::from_secs(30);

/// A process. Dropped, it is gone as after a crash.
pub(crate) struct Process {
    pub(crate) line: Arc<Line>,
    stop: CancellationToken,
    retire: CancellationToken,
    keeper: JoinSet<()>,
    tasks: JoinSet<()>,
}

impl Process {
    pub(crate) fn start(stage: &Arc<Stage>, name: &str, seed: u64, mutant: Option<Mutant>) -> Process {
        let identity = Identity {
            owner: OWNER.into(),
            cluster: "c".into(),
            cluster_uid: stage.worlds.kube.uid(),
            installation: format!("{}/{}", LEASE.0, LEASE.1),
        };
        let lease = ObjectKey::new(LEASE.0, LEASE.1);
        let settings = Settings {
            // Soon enough for a run.
            import_removal_delay: Duration::from_secs(5),
            ..Settings::new(identity, Scope::All { exclude: Vec::new() })
        };
        let directions = BTreeSet::from([Direction::ToKube, Direction::ToConsul]);
        let metrics = Arc::new(Metrics::new());
        let line = Arc::new(Line::new(stage, name));
        let (kube, consul) = (Kube::new(&line, mutant), Consul::new(&line, mutant));
        let clock = Clock::showing(stage.worlds.now());
        let controller =
            Controller::new(Arc::new(kube.clone()), Arc::new(consul.clone()), settings, directions, metrics.clone());
        let controller = Arc::new(controller.replayed(clock, Dice::seeded(seed)));
        let election = Election {
            me: name.to_owned(),
            lease: lease.to_string(),
            elect: mutant != Some(Mutant::AsksNobody),
            timing: Timing::default(),
            boot: BootClock::Runtime(Instant::now()),
            clock,
        };
        let (leadership, keeper) = Keeper::new(Leases::new(&line), election, metrics);
        let keeper = keeper.drawing(Dice::seeded(seed.wrapping_add(1)));
        let (batcher, driver) = Batcher::new(Arc::new(Fenced::new(consul, leadership.clone())));
        let mailbox = Arc::new(Mailbox::default());
        let teller = Teller::new(controller.clone(), kube.clone(), mailbox.clone(), leadership.clone(), lease);
        let writers = Arc::new(Writers::new(kube, batcher, leadership).telling(mailbox));
        let (stop, retire) = (CancellationToken::new(), CancellationToken::new());
        let (mut tasks, mut keeping) = (JoinSet::new(), JoinSet::new());
        keeping.spawn(keeper.run(retire.clone()));
        // It ends when the last batcher is gone.
        keeping.spawn(driver.run());
        tasks.spawn(teller.run(stop.clone(), Duration::from_secs(1)));
        tasks.spawn(controller.clone().run(Some(writers), stop.clone()));
        let (auditing, end) = (controller, stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = end.cancelled() => {}
                () = audit::run(auditing, INTERVAL) => {}
            }
        });
        Process { line, stop, retire, keeper: keeping, tasks }
    }

    /// Waits for something that must not happen: a task that ends by itself, which is one that panics.
    pub(crate) async fn fails(&mut self) -> String {
        let ended = tokio::select! {
            biased;
            Some(ended) = self.tasks.join_next() => ended,
            Some(ended) = self.keeper.join_next() => ended,
            else => std::future::pending().await,
        };
        match ended {
            Err(error) => format!("{} failed: {error}", self.line.name),
            Ok(()) => format!("{}: a task ended by itself", self.line.name),
        }
    }

    /// Ends as on a signal: what is being written may end, then the Lease is given back.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.retire.cancel();
        // The last batcher is gone with the tasks.
        while self.keeper.join_next().await.is_some() {}
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.line.cut();
    }
}
