//! Answers of Consul that make no sense (contract S2, S8; "Bad input"): they are no news. No endpoint goes, no registration is
//! written anew, and the program goes on.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `garbage_from_consul` | every kind of nonsense in [`GARBAGE`], one after the other |

use std::time::Duration;

use crate::harness::{Index, Meddler, Outcome, Scenario, Spoiled, World, scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(garbage_from_consul)];

/// What failed again and again is tried again after at most 30 s.
const FOLLOWED: Duration = Duration::from_secs(40);

const JSON: (&str, &str) = ("content-type", "application/json");
const HTML: &[(&str, &str)] = &[("content-type", "text/html")];
const LEADER: (&str, &str) = ("x-consul-knownleader", "true");
const NOTHING: Spoiled =
    Spoiled { status: 200, headers: &[JSON, LEADER], index: Index::AsSeen, body: "[]", cut: false };
const FAILURE: Spoiled = Spoiled { headers: &[], index: Index::Missing, ..NOTHING };

/// What the answers are instead, with a name for the message.
const GARBAGE: &[(&str, Spoiled)] = &[
    ("null", Spoiled { body: "null", ..NOTHING }),
    ("null in a list", Spoiled { body: "[null]", ..NOTHING }),
    ("null fields", Spoiled { body: r#"[{"Node":null,"Service":null,"Checks":null}]"#, ..NOTHING }),
    ("missing fields", Spoiled { body: r#"[{"Node":{},"Service":{}},{}]"#, ..NOTHING }),
    (
        "wrong types",
        Spoiled { body: r#"[{"Node":{"Node":7},"Service":{"Port":"x","Tags":{}},"Checks":[3]}]"#, ..NOTHING },
    ),
    ("another shape", Spoiled { body: r#"{"error":"no"}"#, ..NOTHING }),
    ("half a body", Spoiled { body: r#"[{"Node":{"Node":"vm"#, ..NOTHING }),
    ("a body that breaks off", Spoiled { body: r#"[{"Node":{"Node":"vm"#, cut: true, ..NOTHING }),
    ("a page for people", Spoiled { headers: HTML, body: "<html>Log in, please</html>", ..NOTHING }),
    ("no body", Spoiled { body: "", ..NOTHING }),
    ("nothing, without an index", Spoiled { index: Index::Missing, ..NOTHING }),
    ("nothing, index gone backwards", Spoiled { index: Index::Of(1), ..NOTHING }),
    ("nothing, no leader", Spoiled { headers: &[JSON, ("x-consul-knownleader", "false")], ..NOTHING }),
    (
        "nothing, filtered by an ACL",
        Spoiled { headers: &[JSON, LEADER, ("x-consul-results-filtered-by-acls", "true")], ..NOTHING },
    ),
    (
        "nothing, an anonymous caller",
        Spoiled { headers: &[JSON, LEADER, ("x-consul-default-acl-policy", "deny")], ..NOTHING },
    ),
    ("forbidden", Spoiled { status: 403, body: "Permission denied: anonymous token lacks permission", ..FAILURE }),
    ("not found", Spoiled { status: 404, body: "Invalid URL path", ..FAILURE }),
    (
        "too many connections",
        Spoiled { status: 429, body: "Your IP is issuing too many concurrent connections", ..FAILURE },
    ),
    ("internal error", Spoiled { status: 500, body: "rpc error making call: EOF", ..FAILURE }),
    ("a gateway's error", Spoiled { status: 502, headers: HTML, body: "<html>Bad Gateway</html>", ..FAILURE }),
];

/// What stands in Consul, each with its version. (Slices may be written: what the guard holds is noted there.)
async fn registered(world: &World) -> Outcome<Vec<(String, String)>> {
    let versions = world.versions().await?;
    Ok(versions.into_iter().filter(|(name, _)| !name.starts_with("endpointslices ")).collect())
}

async fn garbage_from_consul(world: &World) -> Outcome {
    let instances: [_; 3] = world.registered_instances("web").await?;
    let ready = instances.each_ref().map(|instance| format!("{}:8080 ready", instance.address));
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    let meddler = Meddler::before(&world.servers.consul_address()).await?;
    let mut program = world.program().consul(&meddler.address()).start()?;
    world.publishes("web", &[&ready[0], &ready[1], &ready[2]]).await?;
    world.registers(&world.own("db"), &[&format!("{}.db db.example.com:80 passing", world.namespace)]).await?;
    // Consul's index moves on, but not that of our node: an answer under the new one that says it is gone isn't followed
    // by another by itself.
    let flipped = ready[0].replace(" ready", " not-ready");
    for (status, first) in [("critical", &flipped), ("passing", &ready[0])] {
        world.consul.register(&instances[0].clone().checked(status)).await?;
        world.publishes("web", &[first, &ready[1], &ready[2]]).await?;
    }
    let (recorder, before) = (world.record("web").await?, registered(world).await?);

    for (name, spoiled) in GARBAGE {
        // Once for the watch under way, and again for what it tries next.
        meddler.spoil(spoiled, 3).await.map_err(|why| format!("{name}: {why}"))?;
        program.runs().map_err(|why| format!("{name}: {why}"))?;
        recorder.always("all three ready", |endpoints| endpoints == ready).map_err(|why| format!("{name}: {why}"))?;
        assert_eq!(registered(world).await?, before, "{name}");
    }

    world.consul.register(&instances[2].clone().checked("critical")).await?;
    let failing = ready[2].replace(" ready", " not-ready");
    world.publishes_within(FOLLOWED, "web", &[&ready[0], &ready[1], &failing]).await?;
    world.kube.annotate("db", "consul8s/service.tags", Some("new")).await?;
    let tagged = format!("{}.db db.example.com:80 passing tags=new", world.namespace);
    world.registers_within(FOLLOWED, &world.own("db"), &[&tagged]).await?;
    Ok(())
}
