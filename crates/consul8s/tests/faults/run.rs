//! One run: a workload, processes, and what goes wrong, in virtual time and always the same for the same plan.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use consul8s_sim::model::consul::Catalog;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::disturbance::Disturbance;
use crate::line::{Stage, lock};
use crate::mutants::Mutant;
use crate::oracles::{Entry, Judge};
use crate::process::Process;
use crate::script::{Kind, Script};
use crate::view;
use crate::workload::{Change, Workload};
use crate::worlds::Worlds;

/// L1: when inputs and faults have stopped, all is as it should be within this time.
pub(crate) const CONVERGES_WITHIN: Duration = Duration::from_secs(30);
/// After a crash, until the process is there again.
const RESTARTS_AFTER: Duration = Duration::from_secs(2);

/// Requests for one thing in a run: several times what a run with every other call failing needs.
const MOST_REQUESTS: usize = 250;

/// How often it is looked whether all is as it should be.
const LOOKS_EVERY: Duration = Duration::from_secs(3);

/// What is to happen in a run.
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    pub(crate) replicas: usize,
    pub(crate) seed: u64,
    pub(crate) script: Script,
    /// When each begins, and how long it lasts.
    pub(crate) disturbances: Vec<(Duration, Duration, Disturbance)>,
    /// For so long nothing is written at the end.
    pub(crate) rest: Duration,
    /// How it should end; as soon as it does and no call is under way any more, it rests.
    pub(crate) right: Option<BTreeSet<String>>,
    /// The first replica's.
    pub(crate) mutant: Option<Mutant>,
}

impl Plan {
    /// Nothing goes wrong.
    pub(crate) fn undisturbed(workload: Workload) -> Plan {
        Plan {
            workload,
            replicas: 1,
            seed: 0,
            script: Script::quiet(),
            disturbances: Vec::new(),
            rest: Duration::ZERO,
            right: None,
            mutant: None,
        }
    }
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) end: BTreeSet<String>,
    right: Option<BTreeSet<String>>,
    /// Writes, Events and conditions apart.
    pub(crate) writes: usize,
    pub(crate) journal: Vec<Entry>,
    pub(crate) violations: Vec<String>,
    /// Every request, by what it asks for, with its times.
    pub(crate) requests: BTreeMap<String, Vec<Duration>>,
}

impl Report {
    /// What is wrong with it, if anything.
    pub(crate) fn wrong(&self) -> Option<String> {
        let mut text = self.violations.join("\n");
        if let Some(right) = &self.right {
            for line in right.difference(&self.end) {
                let _ = write!(text, "\nmissing: {line}");
            }
            for line in self.end.difference(right) {
                let _ = write!(text, "\nwrong:   {line}");
            }
        }
        if text.is_empty() {
            return None;
        }
        text.push_str("\n--- all that was written ---\n");
        for Entry { at, text: line, .. } in &self.journal {
            let _ = writeln!(text, "{:9.3}s {line}", at.as_secs_f64());
        }
        Some(text)
    }
}

impl Report {
    /// What is asked so often that it is a loop rather than work. A watch that breaks again and again is the busiest of all.
    pub(crate) fn asks_too_much(&self) -> Option<String> {
        let most = self.requests.iter().filter(|(what, _)| *what != "lease").max_by_key(|(_, times)| times.len());
        most.filter(|(_, times)| times.len() > MOST_REQUESTS)
            .map(|(what, times)| format!("asks {} times for {what}", times.len()))
    }
}

/// Carries out a plan.
pub(crate) fn run(plan: Plan) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async { Run::new(plan).play().await })
}

enum Event {
    Step(usize),
    Begin(usize),
    End(usize),
    Start(usize),
}

struct Run {
    plan: Plan,
    stage: Arc<Stage>,
    crashed: mpsc::UnboundedReceiver<String>,
    processes: BTreeMap<usize, Process>,
    started: usize,
    agenda: BTreeMap<(Duration, usize), Event>,
    entries: usize,
    /// Consul before each of its steps.
    snapshots: Vec<(usize, Catalog)>,
    /// When the last input or fault was.
    last: Duration,
    /// No call arrives later than this.
    longest_call: Duration,
}

impl Run {
    fn new(mut plan: Plan) -> Run {
        let (sender, crashed) = mpsc::unbounded_channel();
        let script = std::mem::replace(&mut plan.script, Script::quiet());
        let last = script.until;
        let longest_call = if script.rate > 0.0 { Duration::from_secs(12) } else { Duration::from_secs(6) };
        let stage = Stage {
            worlds: Worlds::new(),
            script: Mutex::new(script),
            judge: Mutex::new(Judge::default()),
            crashed: sender,
            requests: Mutex::default(),
        };
        Run {
            plan,
            stage: Arc::new(stage),
            crashed,
            processes: BTreeMap::new(),
            started: 0,
            agenda: BTreeMap::new(),
            entries: 0,
            snapshots: Vec::new(),
            last,
            longest_call,
        }
    }

    async fn play(mut self) -> Report {
        let strangers = self.stage.worlds.strangers();
        for number in 0..self.plan.workload.steps.len() {
            self.enter(self.plan.workload.steps[number].0, Event::Step(number));
        }
        for replica in 0..self.plan.replicas {
            self.enter(Duration::from_millis(replica as u64 * 1300), Event::Start(replica));
        }
        for number in 0..self.plan.disturbances.len() {
            self.enter(self.plan.disturbances[number].0, Event::Begin(number));
        }
        while let Some((&(at, _), _)) = self.agenda.first_key_value() {
            self.advance(at).await;
        }
        self.settle().await;
        let end = view::end(&self.stage.worlds);
        self.rest().await;
        let mut judge = lock(&self.stage.judge);
        judge.check_strangers(&self.stage.worlds, &strangers);
        Report {
            end,
            right: self.plan.right.clone(),
            writes: judge.writes(),
            journal: std::mem::take(&mut judge.journal),
            violations: std::mem::take(&mut judge.violations),
            requests: std::mem::take(&mut lock(&self.stage.requests)),
        }
    }

    fn enter(&mut self, at: Duration, event: Event) {
        self.agenda.insert((at, self.entries), event);
        self.entries += 1;
    }

    fn now(&self) -> Duration {
        self.stage.worlds.elapsed()
    }

    /// Lets time pass until then, with all that is on the agenda.
    async fn advance(&mut self, until: Duration) {
        loop {
            let next = self.agenda.first_key_value().map_or(until, |((next, _), _)| until.min(*next));
            if !self.pass(next).await {
                continue;
            }
            match self.agenda.first_entry() {
                Some(entry) if entry.key().0 <= until => {
                    let event = entry.remove();
                    self.happen(event).await;
                }
                _ => return,
            }
        }
    }

    /// Lets time pass until then; false when a process has ended before.
    async fn pass(&mut self, until: Duration) -> bool {
        let moment = tokio::time::Instant::now() + until.saturating_sub(self.now());
        let failure = async {
            let all: Vec<_> = self.processes.values_mut().map(|process| Box::pin(process.fails())).collect();
            if all.is_empty() { std::future::pending().await } else { futures::future::select_all(all).await.0 }
        };
        tokio::select! {
            biased;
            Some(name) = self.crashed.recv() => self.crashed(&name),
            what = failure => {
                lock(&self.stage.judge).violations.push(what);
                self.processes.clear();
            }
            () = sleep_until(moment) => return true,
        }
        false
    }

    fn crashed(&mut self, name: &str) {
        let found = self.processes.iter().find(|(_, process)| process.line.name == name).map(|(replica, _)| *replica);
        let Some(replica) = found else { return };
        self.processes.remove(&replica);
        self.note(format!("{name} crashed"));
        self.enter(self.now() + RESTARTS_AFTER, Event::Start(replica));
    }

    fn note(&mut self, text: String) {
        self.last = self.last.max(self.now());
        lock(&self.stage.judge).note(self.now(), text);
    }

    async fn happen(&mut self, event: Event) {
        match event {
            Event::Start(replica) => {
                self.started += 1;
                let name = format!("replica-{replica}-{}", self.started);
                let seed = self.plan.seed.wrapping_mul(1_000).wrapping_add(self.started as u64 * 2);
                let mutant = self.plan.mutant.filter(|_| replica == 0);
                self.note(format!("{name} starts"));
                self.processes.insert(replica, Process::start(&self.stage, &name, seed, mutant));
            }
            Event::Step(number) => self.step(number),
            Event::Begin(number) => self.begin(number).await,
            Event::End(number) => self.end(number),
        }
    }

    fn step(&mut self, number: usize) {
        let change = &self.plan.workload.steps[number].1;
        if let Change::Consul(_) = change {
            self.snapshots.push((number, self.stage.worlds.consul.read(Clone::clone)));
        }
        self.stage.worlds.apply(change);
        lock(&self.stage.judge).truth.follow(&self.stage.worlds);
        self.note(format!("--- step {number} of {}", self.plan.workload.name));
    }

    async fn begin(&mut self, number: usize) {
        let (_, lasts, disturbance) = self.plan.disturbances[number];
        self.note(format!("--- {disturbance:?} for {lasts:?}"));
        disturbance.begin(&self.stage.worlds);
        let ends = self.now() + lasts;
        match disturbance {
            Disturbance::Restored => self.restore(),
            Disturbance::Frozen(replica) => {
                if let Some(process) = self.processes.get(&replica) {
                    process.line.freeze(lasts);
                }
            }
            Disturbance::Killed(replica) => {
                let runs = self.processes.remove(&replica).is_some();
                runs.then(|| self.enter(ends, Event::Start(replica)));
            }
            Disturbance::Stopped(replica) => {
                if let Some(process) = self.processes.remove(&replica) {
                    process.end().await;
                    self.enter(ends.max(self.now()), Event::Start(replica));
                }
            }
            _ => {}
        }
        self.enter(ends, Event::End(number));
    }

    fn end(&mut self, number: usize) {
        let disturbance = self.plan.disturbances[number].2;
        self.note(format!("--- end of {disturbance:?}"));
        disturbance.end(&self.stage.worlds);
    }

    /// Back to what stood before the last step but one of Consul's, and again what was done since.
    fn restore(&mut self) {
        let Some((from, snapshot)) = self.snapshots.iter().rev().nth(1).or(self.snapshots.last()) else { return };
        let steps = &self.plan.workload.steps[*from..];
        let done = self.snapshots.last().map_or(0, |(last, _)| last - from + 1);
        self.stage.worlds.consul.write(|catalog| {
            catalog.restore(snapshot.clone());
            for (_, change) in &steps[..done] {
                if let Change::Consul(change) = change {
                    change(catalog);
                }
            }
        });
    }

    /// Until all is as it should be, or should be at the latest.
    async fn settle(&mut self) {
        let patience = CONVERGES_WITHIN + self.plan.workload.patience;
        // That it may see everything again wakes nobody: it is still noticed in time.
        let hidden = self.plan.disturbances.iter().any(|(_, _, it)| matches!(it, Disturbance::Hidden { .. }));
        while self.now() < self.last + patience {
            self.advance(self.now() + LOOKS_EVERY).await;
            let calls_are_over = self.now() > self.last + self.longest_call && !hidden;
            if calls_are_over && self.plan.right.as_ref().is_some_and(|right| *right == view::end(&self.stage.worlds)) {
                return;
            }
        }
    }

    /// D2: nothing is written any more, but what people are still told.
    async fn rest(&mut self) {
        let before = lock(&self.stage.judge).journal.len();
        let until = self.now() + self.plan.rest;
        self.advance(until).await;
        let mut judge = lock(&self.stage.judge);
        // What is told is told a few times at most, and some minutes apart; then that ends too.
        let told_until = (until - self.plan.rest) + Duration::from_secs(1800);
        let late: Vec<String> = judge.journal[before..]
            .iter()
            // One that was sent long ago and arrives now is the network's.
            .filter(|entry| !entry.text.contains(" late "))
            .filter(|entry| entry.kind == Kind::Write || (entry.kind == Kind::Tell && entry.at > told_until))
            .map(|entry| format!("{:.3}s wrote at rest: {}", entry.at.as_secs_f64(), entry.text))
            .collect();
        judge.violations.extend(late);
    }
}
