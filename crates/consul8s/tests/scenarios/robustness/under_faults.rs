//! What most faults are played with: a Service filled from three instances and one that is registered, in sync, and watched all the
//! time. After each fault the same is asked: nothing went, and what changes then is followed.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Instance, Launch, Outcome, Recorder, Running, World, eventually, so};

/// After a fault everything is followed within this time (contract L1, and the longest pause between two attempts).
pub(super) const FOLLOWED: Duration = Duration::from_secs(30);
/// By when a source that is lost must show in the metric: questions that don't wait are asked every 30 s, and take 10 s at most.
const NOTICED: Duration = Duration::from_secs(45);

/// A program in sync, and how the world must look.
pub(super) struct Played {
    pub(super) program: Running,
    instances: [Instance; 3],
    recorder: Recorder,
    /// When Consul made what stands there for us.
    created: Value,
    /// How often it has changed.
    turns: u32,
}

impl Played {
    /// In sync, with this command line.
    pub(super) async fn start(world: &World, launch: Launch) -> Outcome<Played> {
        let instances: [_; 3] = world.registered_instances("web").await?;
        world.create_to_kube("web", |_| ()).await?;
        world.create_to_consul("db", |_| ()).await?;
        let program = launch.start()?;
        let ready = instances.each_ref().map(|instance| format!("{}:8080 ready", instance.address));
        world.publishes_within(FOLLOWED, "web", &[&ready[0], &ready[1], &ready[2]]).await?;
        let registered = format!("{}.db db.example.com:80 passing", world.namespace);
        world.registers_within(FOLLOWED, &world.own("db"), &[&registered]).await?;
        let recorder = world.record("web").await?;
        let created = created(world).await?;
        Ok(Played { program, instances, recorder, created, turns: 0 })
    }

    /// Changes something on either side; what it is must be followed next.
    pub(super) async fn change(&mut self, world: &World) -> Outcome {
        self.turns += 1;
        world.consul.register(&self.turning()).await?;
        world.kube.annotate("db", "consul8s/service.tags", Some(&self.tag())).await?;
        Ok(())
    }

    /// Registers all instances again, as they stand.
    pub(super) async fn register_all(&self, world: &World) -> Outcome {
        for instance in self.instances[..2].iter().cloned().chain([self.turning()]) {
            world.consul.register(&instance).await?;
        }
        Ok(())
    }

    /// From now on what stands in Consul now must stay.
    pub(super) async fn remember(&mut self, world: &World) -> Outcome {
        self.created = created(world).await?;
        Ok(())
    }

    /// The last change has been followed on both sides, in time, and nothing else has happened.
    pub(super) async fn follows(&mut self, world: &World) -> Outcome<Duration> {
        let [first, second, third] =
            self.instances.each_ref().map(|instance| format!("{}:8080 ready", instance.address));
        let third = if self.turns % 2 == 1 { third.replace(" ready", " not-ready") } else { third };
        let published = world.publishes_within(FOLLOWED, "web", &[&first, &second, &third]).await?;
        let registered = format!("{}.db db.example.com:80 passing tags={}", world.namespace, self.tag());
        let registered = world.registers_within(FOLLOWED, &world.own("db"), &[&registered]).await?;
        self.nothing_went(world).await?;
        Ok(published + registered)
    }

    /// Changes something, and it is followed.
    pub(super) async fn goes_on(&mut self, world: &World) -> Outcome<Duration> {
        self.change(world).await?;
        self.follows(world).await
    }

    /// Goes on until all three are ready.
    pub(super) async fn all_ready(&mut self, world: &World) -> Outcome {
        if self.turns % 2 == 1 {
            self.goes_on(world).await?;
        }
        Ok(())
    }

    /// Nothing has gone so far, not even for a moment, and the program runs.
    pub(super) async fn nothing_went(&mut self, world: &World) -> Outcome {
        self.stays()?;
        let created = created(world).await?;
        so(created == self.created, || format!("made anew: {} became {created}", self.created))
    }

    /// The same without asking Consul, which may be away.
    pub(super) fn stays(&mut self) -> Outcome {
        self.program.runs()?;
        let unwavering: Vec<String> =
            self.instances[..2].iter().map(|instance| format!("{}:8080 ready", instance.address)).collect();
        self.recorder.always("two ready, and a third", |endpoints| {
            endpoints.len() == 3 && unwavering.iter().all(|endpoint| endpoints.contains(endpoint))
        })
    }

    /// The metric says that a source (`consul` or `kubernetes`) is lost.
    pub(super) async fn misses(&self, source: &str) -> Outcome {
        self.staleness(source, |seconds| seconds > 0.0).await
    }

    /// The metric says that a source is there.
    pub(super) async fn has(&self, source: &str) -> Outcome {
        self.staleness(source, |seconds| seconds == 0.0).await
    }

    async fn staleness(&self, source: &str, right: impl Fn(f64) -> bool) -> Outcome {
        eventually(&format!("staleness of {source}"), NOTICED, async || {
            let seconds = self.program.scrape().await?.count("consul8s_staleness_seconds", &[("source", source)]);
            so(right(seconds), || format!("{seconds} s"))
        })
        .await
    }

    fn turning(&self) -> Instance {
        self.instances[2].clone().checked(if self.turns % 2 == 1 { "critical" } else { "passing" })
    }

    fn tag(&self) -> String {
        format!("turn-{}", self.turns)
    }
}

async fn created(world: &World) -> Outcome<Value> {
    let entries = world.registrations(&world.own("db")).await?;
    Ok(entries.iter().map(|entry| entry["Service"]["CreateIndex"].clone()).collect())
}
