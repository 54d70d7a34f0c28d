//! Worlds in, plans out. Each case brings the world to rest on all texts but the last, and shows the plan for the last.

mod addresses;
mod holds_end;
mod mass;
mod nodes;
mod original;
mod ownership;
mod policy;
mod readiness;
mod registration;
mod removal;

use std::fmt::Write;

use expect_test::Expect;

use super::fixture::World;

/// Settles all but the last step, shows what the last one makes of every Service, and then checks that it, too, comes to rest.
fn check(steps: &[&str], expected: &Expect) {
    let mut world = World::new();
    let Some((last, before)) = steps.split_last() else { return };
    for step in before {
        world.set(step);
        world.settle();
    }
    world.set(last);
    expected.assert_eq(&show(&mut world));
    world.settle();
    assert!(world.keys().iter().all(|key| world.plan(key).is_empty()), "it does not come to rest");
}

/// Settles all but the last step, and says what is then done until it comes to rest again, and how that looks.
fn rests(steps: &[&str], expected: &Expect) {
    expected.assert_eq(&rested(steps));
}

fn rested(steps: &[&str]) -> String {
    let mut world = World::new();
    let Some((last, before)) = steps.split_last() else { return String::new() };
    for step in before {
        world.set(step);
        world.settle();
    }
    world.set(last);
    let done: String = world.settle().iter().map(|change| format!("{change}\n")).collect();
    // What simply stands says nothing here.
    let told: String = show(&mut world)
        .lines()
        .filter(|line| !line.contains(": registered, "))
        .fold(String::new(), |all, line| all + line + "\n");
    format!("{done}=\n{told}")
}

fn show(world: &mut World) -> String {
    let mut out = String::new();
    let keys = world.keys();
    for key in &keys {
        let problems: String = world.problems(key).iter().map(|problem| format!("{problem}\n")).collect();
        let text = problems + &world.plan(key).to_string();
        if keys.len() > 1 && text.lines().any(|line| !line.contains(": registered, ")) {
            writeln!(out, "{key}:").expect("a string takes all");
        }
        out.push_str(&text);
    }
    out
}
