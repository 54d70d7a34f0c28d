//! When a registration goes (contract §4 Removal): what a running watch shows is evidence enough.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `service_deleted` | deregistered within 5 s, and nothing else is |
//! | `label_removed_to_consul` | the same |
//! | `address_taken_away` | the same, for the address that is gone |

use std::time::Duration;

use crate::harness::{Outcome, SERVICES, Scenario, World, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(service_deleted), scenario!(label_removed_to_consul), scenario!(address_taken_away)];

const REMOVED: Duration = Duration::from_secs(5);

async fn service_deleted(world: &World) -> Outcome {
    let _program = world.start()?;
    two_registered(world).await?;
    world.kube.delete(SERVICES, "web").await?;
    only_the_other_stays(world).await
}

async fn label_removed_to_consul(world: &World) -> Outcome {
    let _program = world.start()?;
    two_registered(world).await?;
    world.kube.label("web", "consul8s_source", None).await?;
    only_the_other_stays(world).await
}

async fn address_taken_away(world: &World) -> Outcome {
    let _program = world.start()?;
    two_registered(world).await?;
    world.kube.annotate("web", "domainName", None).await?;
    only_the_other_stays(world).await
}

async fn two_registered(world: &World) -> Outcome {
    for name in ["web", "other"] {
        world.create_to_consul(name, |_| ()).await?;
        world
            .registers(&world.own(name), &[&format!("{0}.{name} {name}.example.com:80 passing", world.namespace)])
            .await?;
    }
    Ok(())
}

async fn only_the_other_stays(world: &World) -> Outcome {
    world.registers_within(REMOVED, &world.own("web"), &[]).await?;
    let left = world.registrations(&world.own("other")).await?;
    so(left.len() == 1, || format!("the other registration: {left:#?}"))
}
