//! The story as a table: what happens, and what is to come of it. A further step is a further entry.

use std::time::Duration;

use anyhow::Result;
use consul8s_core::consul::CheckStatus;
use consul8s_core::kube::ObjectKey;
use consul8s_core::names::{LABEL_SOURCE, SERVICE_NAME};
use consul8s_sim::model::kube::Resource;

use super::cast;
use super::worlds::{Side, Worlds, Written};

/// One step.
pub struct Step {
    /// Where it happens.
    pub side: Side,
    /// What happens.
    pub title: &'static str,
    /// Makes it happen.
    pub act: fn(&Worlds) -> Result<()>,
    /// What is to come of it.
    pub expect: Expect,
}

/// What is to come of a step.
#[derive(Clone, Copy)]
pub enum Expect {
    /// consul8s follows. The time that it takes counts.
    Followed(Wanted),
    /// It comes about too, but its time says nothing of how fast changes are followed: connections come first.
    Reached(Wanted),
    /// For so long, nothing that consul8s has written changes.
    Kept(Duration),
}

/// All entries of one service, as address and state.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Where they stand.
    pub side: Side,
    /// The service, as that side calls it.
    pub service: &'static str,
    /// Address and state of each entry.
    pub entries: &'static [(&'static str, &'static str)],
}

impl Wanted {
    /// Whether it is so.
    #[must_use]
    pub fn holds(&self, written: &Written) -> bool {
        let seen = self.seen(written);
        seen.len() == self.entries.len() && self.entries.iter().all(|entry| seen.contains(entry))
    }

    /// What there is of this service.
    #[must_use]
    pub fn seen<'a>(&self, written: &'a Written) -> Vec<(&'a str, &'a str)> {
        let of_service = written.iter().filter(|(at, _)| at.side == self.side && at.service == self.service);
        of_service.map(|(at, state)| (at.address.as_str(), state.as_str())).collect()
    }
}

const fn endpoints(service: &'static str, entries: &'static [(&'static str, &'static str)]) -> Wanted {
    Wanted { side: Side::Kubernetes, service, entries }
}

const fn registered(service: &'static str, entries: &'static [(&'static str, &'static str)]) -> Wanted {
    Wanted { side: Side::Consul, service, entries }
}

/// From start to end.
pub const STORY: &[Step] = &[
    Step {
        side: Side::Kubernetes,
        title: "consul8s starts, and finds the Service `database`, which asks for Consul's `postgres`",
        act: |worlds| add_service(worlds, "database", 5432, Some("postgres")),
        expect: Expect::Reached(endpoints("database", &[("10.0.1.11:5432", "ready"), ("10.0.1.12:5432", "ready")])),
    },
    Step {
        side: Side::Kubernetes,
        title: "the Service `api` appears, labelled consul8s_source: consul",
        act: |worlds| add_service(worlds, "api", 80, None),
        expect: Expect::Followed(endpoints("api", &[("10.0.1.21:8080", "ready"), ("10.0.1.22:8080", "ready")])),
    },
    Step {
        side: Side::Consul,
        title: "the check of api-2 fails",
        act: |worlds| set_check(worlds, CheckStatus::Critical, "connection refused"),
        expect: Expect::Followed(endpoints("api", &[("10.0.1.21:8080", "ready"), ("10.0.1.22:8080", "not ready")])),
    },
    Step {
        side: Side::Consul,
        title: "the check of api-2 passes again",
        act: |worlds| set_check(worlds, CheckStatus::Passing, "200 OK"),
        expect: Expect::Followed(endpoints("api", &[("10.0.1.21:8080", "ready"), ("10.0.1.22:8080", "ready")])),
    },
    Step {
        side: Side::Consul,
        title: "api-2 moves from port 8080 to 8081",
        act: |worlds| Ok(worlds.consul.write(|catalog| catalog.move_port("vm-api-2", "api-2", 8081))?),
        expect: Expect::Followed(endpoints("api", &[("10.0.1.21:8080", "ready"), ("10.0.1.22:8081", "ready")])),
    },
    Step {
        side: Side::Consul,
        title: "it cannot be reached any more; what it said last still counts",
        act: |worlds| {
            worlds.consul.set_faults(|faults| faults.unreachable = true);
            Ok(())
        },
        expect: Expect::Kept(Duration::from_secs(1)),
    },
    Step {
        side: Side::Consul,
        title: "it is back; meanwhile a third instance of `api` has come",
        act: back_again,
        expect: Expect::Reached(endpoints(
            "api",
            &[("10.0.1.21:8080", "ready"), ("10.0.1.22:8081", "ready"), ("10.0.1.23:8080", "ready")],
        )),
    },
    Step {
        side: Side::Consul,
        title: "three more instances of `api` come",
        act: three_more,
        expect: Expect::Followed(endpoints(
            "api",
            &[
                ("10.0.1.21:8080", "ready"),
                ("10.0.1.22:8081", "ready"),
                ("10.0.1.23:8080", "ready"),
                ("10.0.1.24:8080", "ready"),
                ("10.0.1.25:8080", "ready"),
                ("10.0.1.26:8080", "ready"),
            ],
        )),
    },
    Step {
        side: Side::Consul,
        title: "api-3 goes into maintenance",
        act: |worlds| {
            Ok(worlds.consul.write(|catalog| catalog.service_maintenance("vm-api-3", "api-3", Some("disks")))?)
        },
        expect: Expect::Followed(endpoints(
            "api",
            &[
                ("10.0.1.21:8080", "ready"),
                ("10.0.1.22:8081", "ready"),
                ("10.0.1.23:8080", "draining"),
                ("10.0.1.24:8080", "ready"),
                ("10.0.1.25:8080", "ready"),
                ("10.0.1.26:8080", "ready"),
            ],
        )),
    },
    Step {
        side: Side::Consul,
        title: "api-4 is deregistered by its agent; its machine lives on",
        act: |worlds| {
            worlds.consul.write(|catalog| catalog.deregister_service("vm-api-4", "api-4"));
            Ok(())
        },
        expect: Expect::Followed(endpoints(
            "api",
            &[
                ("10.0.1.21:8080", "ready"),
                ("10.0.1.22:8081", "ready"),
                ("10.0.1.23:8080", "draining"),
                ("10.0.1.25:8080", "ready"),
                ("10.0.1.26:8080", "ready"),
            ],
        )),
    },
    Step {
        side: Side::Kubernetes,
        title: "the Service `shop` gets its address, and the label consul8s_source: kubernetes",
        act: open_shop,
        expect: Expect::Followed(registered("web-shop", &[("203.0.113.10:80", "passing")])),
    },
    Step {
        side: Side::Kubernetes,
        title: "the pods of `shop` become unready",
        act: |worlds| Ok(worlds.kube.write(|cluster| cluster.set_pods_ready(&shop(), None, false))?),
        expect: Expect::Followed(registered("web-shop", &[("203.0.113.10:80", "critical")])),
    },
    Step {
        side: Side::Kubernetes,
        title: "a pod of `shop` is ready again",
        act: |worlds| Ok(worlds.kube.write(|cluster| cluster.set_pods_ready(&shop(), Some("10.244.0.11"), true))?),
        expect: Expect::Followed(registered("web-shop", &[("203.0.113.10:80", "passing")])),
    },
    Step {
        side: Side::Kubernetes,
        title: "the Service `shop` is removed",
        act: |worlds| Ok(worlds.kube.write(|cluster| cluster.delete_object(Resource::Services, &shop()))?),
        expect: Expect::Followed(registered("web-shop", &[])),
    },
];

fn add_service(worlds: &Worlds, name: &str, port: u16, named: Option<&str>) -> Result<()> {
    let service = cast::from_consul(name, port, named);
    worlds.kube.write(|cluster| cluster.put_object(Resource::Services, "default", service))?;
    Ok(())
}

fn set_check(worlds: &Worlds, status: CheckStatus, output: &str) -> Result<()> {
    let check = cast::check_id("api-2");
    Ok(worlds.consul.write(|catalog| catalog.set_check("vm-api-2", &check, status, output))?)
}

fn back_again(worlds: &Worlds) -> Result<()> {
    worlds.consul.write(|catalog| catalog.put_instance(&cast::api(3)))?;
    worlds.consul.set_faults(|faults| faults.unreachable = false);
    Ok(())
}

fn three_more(worlds: &Worlds) -> Result<()> {
    worlds.consul.write(|catalog| {
        catalog.put_instance(&cast::api(4))?;
        catalog.put_instance(&cast::api(5))?;
        catalog.put_instance(&cast::api_of_agent(6))
    })?;
    Ok(())
}

fn shop() -> ObjectKey {
    ObjectKey::new("default", "shop")
}

fn open_shop(worlds: &Worlds) -> Result<()> {
    worlds.kube.write(|cluster| {
        cluster.set_load_balancer(&shop(), &["203.0.113.10"])?;
        cluster.annotate_service(&shop(), SERVICE_NAME, Some("web-shop"))?;
        cluster.label_service(&shop(), LABEL_SOURCE, Some("kubernetes"))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step whose expectation held before it would be followed whatever consul8s does.
    #[test]
    fn every_step_changes_what_is_wanted() {
        for (at, step) in STORY.iter().enumerate() {
            let (Expect::Followed(wanted) | Expect::Reached(wanted)) = step.expect else { continue };
            let before = STORY[..at].iter().rev().find_map(|step| match step.expect {
                Expect::Followed(before) | Expect::Reached(before) if before.service == wanted.service => Some(before),
                _ => None,
            });
            let before = before.map(|before| before.entries).unwrap_or_default();
            assert_ne!(before, wanted.entries, "{}", step.title);
        }
    }

    /// Without consul8s nothing is followed, and the embedded worlds accept every act.
    #[test]
    fn every_act_is_possible_in_its_turn() {
        let worlds = cast::enter().unwrap();
        for step in STORY {
            (step.act)(&worlds).unwrap_or_else(|why| panic!("{}: {why:#}", step.title));
        }
        assert!(worlds.written().is_empty());
        assert!(!worlds.consul.faults().unreachable, "the audience finds Consul as it was");
    }
}
