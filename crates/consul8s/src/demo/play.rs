//! Plays steps: acts, waits for what is to come of it, and tells.

use std::io::{self, Write};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::story::{Expect, Step};
use super::timeline::Timeline;
use super::worlds::{News, Worlds, Written, changes};
use crate::commands::Exit;

/// How fast the story goes on.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a step may take to be followed.
    pub limit: Duration,
    /// Pause after each step, for the reader.
    pub pause: Duration,
}

/// How the story went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Steps told.
    pub steps: usize,
    /// Steps that were not followed.
    pub missed: usize,
    /// How long the steps took whose time counts.
    pub times: Vec<Duration>,
}

impl Summary {
    /// How the demo ends with it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.missed == 0 { Exit::Done } else { Exit::Failure }
    }
}

/// How a step ended.
enum Ended {
    /// As expected, after so long.
    Well(Duration),
    /// Otherwise; this is why.
    Badly(String),
}

/// Plays the steps one after the other, whatever became of those before.
///
/// # Errors
/// The timeline cannot be written.
pub async fn play<W: Write>(
    steps: &[Step],
    worlds: &Worlds,
    pace: Pace,
    timeline: &mut Timeline<W>,
) -> io::Result<Summary> {
    let mut summary = Summary::default();
    for step in steps {
        timeline.happened(step)?;
        let before = worlds.written();
        let ended = follow(step, worlds, &before, pace.limit).await;
        let after = worlds.written();
        summary.steps += 1;
        match ended {
            Ended::Well(took) => {
                timeline.followed(step, took, &changes(&before, &after))?;
                if matches!(step.expect, Expect::Followed(_)) {
                    summary.times.push(took);
                }
            }
            Ended::Badly(why) => {
                timeline.missed(step, &why, &before, &after)?;
                summary.missed += 1;
            }
        }
        sleep(pace.pause).await;
    }
    Ok(summary)
}

async fn follow(step: &Step, worlds: &Worlds, before: &Written, limit: Duration) -> Ended {
    let mut news = worlds.news();
    let started = Instant::now();
    if let Err(why) = (step.act)(worlds) {
        return Ended::Badly(format!("the embedded world refused it: {why:#}"));
    }
    match step.expect {
        Expect::Followed(wanted) | Expect::Reached(wanted) => {
            match timeout(limit, until(worlds, &mut news, |written| wanted.holds(written))).await {
                Ok(()) => Ended::Well(started.elapsed()),
                Err(_) => Ended::Badly(format!("not followed within {limit:?}")),
            }
        }
        Expect::Kept(time) => match timeout(time, until(worlds, &mut news, |written| written != before)).await {
            Ok(()) => Ended::Badly(format!("not kept: it changed after {} ms", started.elapsed().as_millis())),
            Err(_) => Ended::Well(time),
        },
    }
}

/// Waits until what consul8s has written is so; looks whenever a world tells of a change.
async fn until(worlds: &Worlds, news: &mut News, is_so: impl Fn(&Written) -> bool) {
    while !is_so(&worlds.written()) {
        news.next().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::cast;
    use crate::demo::story::Wanted;
    use crate::demo::worlds::Side;

    const NEVER: Expect =
        Expect::Followed(Wanted { side: Side::Kubernetes, service: "api", entries: &[("10.0.1.21:8080", "ready")] });

    async fn told(step: Step) -> (Summary, String) {
        let worlds = cast::enter().unwrap();
        let pace = Pace { limit: Duration::from_millis(20), pause: Duration::ZERO };
        let mut timeline = Timeline::plain(Vec::new());
        let summary = play(&[step], &worlds, pace, &mut timeline).await.unwrap();
        (summary, String::from_utf8(timeline.into_inner()).unwrap())
    }

    fn step(act: fn(&Worlds) -> anyhow::Result<()>, expect: Expect) -> Step {
        Step { side: Side::Consul, title: "nobody is there to follow", act, expect }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_is_not_followed_fails_and_says_what_was_seen_instead() {
        let (summary, text) = told(step(|_| Ok(()), NEVER)).await;
        assert_eq!(summary, Summary { steps: 1, missed: 1, times: Vec::new() });
        assert_eq!(summary.exit(), Exit::Failure);
        for part in ["not followed within 20ms", "wanted", "10.0.1.21:8080", "seen", "nothing"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_act_fails() {
        let (summary, text) = told(step(|_| anyhow::bail!("no such thing"), NEVER)).await;
        assert_eq!(summary.exit(), Exit::Failure);
        assert!(text.contains("no such thing"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_kept_is_no_failure_and_its_time_does_not_count() {
        let (summary, _) = told(step(|_| Ok(()), Expect::Kept(Duration::from_millis(5)))).await;
        assert_eq!(summary, Summary { steps: 1, missed: 0, times: Vec::new() });
        assert_eq!(summary.exit(), Exit::Done);
    }
}
