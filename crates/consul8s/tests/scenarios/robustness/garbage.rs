//! Answers of Consul that make no sense (contract S2, S8; "Bad input"): they are no news. No endpoint goes, no registration is
//! written anew, and the program goes on: what changes after each of them is followed.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `senseless_answers` | 200, and content that is none, or is worth nothing ([`SENSELESS`]) |
//! | `unreadable_answers` | 200, and nothing that can be read ([`UNREADABLE`]); the metric says so |
//! | `refusals` | every other status ([`REFUSALS`]); the metric says so |
//! | `late_answers` | answers that don't come, or don't end ([`LATE`]); the metric says so |

use super::under_faults::Played;
use crate::harness::{Delivery, Index, Kind, Meddler, Outcome, Scenario, Spoiled, World, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(senseless_answers),
    scenario!(unreadable_answers),
    scenario!(refusals),
    scenario!(late_answers).only(Kind::Real, "it waits for time-outs, which are the program's own on either world"),
];

const JSON: (&str, &str) = ("content-type", "application/json");
const HTML: &[(&str, &str)] = &[("content-type", "text/html")];
const GZIP: &[(&str, &str)] = &[JSON, LEADER, ("content-encoding", "gzip")];
const LEADER: (&str, &str) = ("x-consul-knownleader", "true");
const NOTHING: Spoiled = Spoiled {
    status: 200,
    headers: &[JSON, LEADER],
    index: Index::AsSeen,
    body: "[]",
    delivery: Delivery::Whole,
    only: "",
    only_stale: false,
};
const FAILURE: Spoiled = Spoiled { headers: &[], index: Index::Missing, ..NOTHING };
/// The beginning of an answer.
const HALF: &str = r#"[{"Node":{"Node":"vm"#;

/// What the answers are instead, with a name for the message. None of these must be believed where it takes something away.
const SENSELESS: &[(&str, Spoiled)] = &[
    ("null", Spoiled { body: "null", ..NOTHING }),
    ("null in a list", Spoiled { body: "[null]", ..NOTHING }),
    ("null fields", Spoiled { body: r#"[{"Node":null,"Service":null,"Checks":null}]"#, ..NOTHING }),
    ("missing fields", Spoiled { body: r#"[{"Node":{},"Service":{}},{}]"#, ..NOTHING }),
    (
        "wrong types",
        Spoiled { body: r#"[{"Node":{"Node":7},"Service":{"Port":"x","Tags":{}},"Checks":[3]}]"#, ..NOTHING },
    ),
    ("nothing, without an index", Spoiled { index: Index::Missing, ..NOTHING }),
    ("nothing, index 0", Spoiled { index: Index::Of(0), ..NOTHING }),
    ("nothing, index gone backwards", Spoiled { index: Index::Of(1), ..NOTHING }),
    (
        "a follower that lags: nothing, under a lower index",
        Spoiled { index: Index::Of(1), only_stale: true, ..NOTHING },
    ),
    ("nothing, no leader header", Spoiled { headers: &[JSON], ..NOTHING }),
    (
        "nothing, filtered by an ACL",
        Spoiled { headers: &[JSON, LEADER, ("x-consul-results-filtered-by-acls", "true")], ..NOTHING },
    ),
    (
        "nothing, an anonymous caller",
        Spoiled { headers: &[JSON, LEADER, ("x-consul-default-acl-policy", "deny")], ..NOTHING },
    ),
];

const UNREADABLE: &[(&str, Spoiled)] = &[
    ("another shape", Spoiled { body: r#"{"error":"no"}"#, ..NOTHING }),
    ("half a body", Spoiled { body: HALF, ..NOTHING }),
    ("a body that breaks off", Spoiled { body: HALF, delivery: Delivery::Cut, ..NOTHING }),
    ("a page for people", Spoiled { headers: HTML, body: "<html>Log in, please</html>", ..NOTHING }),
    ("no body", Spoiled { body: "", ..NOTHING }),
    ("gzip that is none", Spoiled { headers: GZIP, ..NOTHING }),
    ("an encoding that nobody asked for", Spoiled { headers: &[JSON, ("content-encoding", "br")], ..NOTHING }),
    ("no leader", Spoiled { headers: &[JSON, ("x-consul-knownleader", "false")], ..NOTHING }),
    ("a leader not heard for long", Spoiled { headers: &[JSON, LEADER, ("x-consul-lastcontact", "60000")], ..NOTHING }),
    (
        "said to be a gigabyte",
        Spoiled { headers: &[JSON, LEADER, ("content-length", "1073741824")], delivery: Delivery::Unending, ..NOTHING },
    ),
    ("more than anybody wants", Spoiled { body: "[[[[[[[[[[[[[[[[", delivery: Delivery::Overflowing, ..NOTHING }),
];

const REFUSALS: &[(&str, Spoiled)] = &[
    ("204", Spoiled { status: 204, body: "", ..FAILURE }),
    ("moved", Spoiled { status: 301, headers: &[("location", "http://127.0.0.1:1/")], body: "", ..FAILURE }),
    (
        "elsewhere for now",
        Spoiled { status: 307, headers: &[("location", "http://127.0.0.1:1/")], body: "", ..FAILURE },
    ),
    ("unauthorized", Spoiled { status: 401, body: "", ..FAILURE }),
    ("forbidden", Spoiled { status: 403, body: "Permission denied: anonymous token lacks permission", ..FAILURE }),
    ("not found", Spoiled { status: 404, body: "Invalid URL path", ..FAILURE }),
    (
        "too many connections",
        Spoiled { status: 429, body: "Your IP is issuing too many concurrent connections", ..FAILURE },
    ),
    ("come back in two seconds", Spoiled { status: 429, headers: &[("retry-after", "2")], body: "", ..FAILURE }),
    ("internal error", Spoiled { status: 500, body: "rpc error making call: EOF", ..FAILURE }),
    ("no leader", Spoiled { status: 500, body: "No cluster leader", ..FAILURE }),
    ("a gateway's error", Spoiled { status: 502, headers: HTML, body: "<html>Bad Gateway</html>", ..FAILURE }),
    ("away", Spoiled { status: 503, headers: &[("retry-after", "1")], body: "", ..FAILURE }),
    ("a gateway's patience", Spoiled { status: 504, headers: HTML, body: "<html>Gateway Timeout</html>", ..FAILURE }),
];

const LATE: &[(&str, Spoiled)] = &[
    ("no answer", Spoiled { delivery: Delivery::Never, ..NOTHING }),
    ("a byte a second", Spoiled { body: HALF, delivery: Delivery::Dripping, ..NOTHING }),
    ("chunks without an end", Spoiled { body: HALF, delivery: Delivery::Unending, ..NOTHING }),
];

/// Spoiled answers of each kind at least: the watch under way, and what it tries next.
const TIMES: usize = 3;

async fn senseless_answers(world: &World) -> Outcome {
    play(world, SENSELESS, false).await
}

async fn unreadable_answers(world: &World) -> Outcome {
    play(world, UNREADABLE, true).await
}

async fn refusals(world: &World) -> Outcome {
    play(world, REFUSALS, true).await
}

async fn late_answers(world: &World) -> Outcome {
    play(world, LATE, true).await
}

/// One after the other; `lost` = the program has noticed that it has no source.
async fn play(world: &World, garbage: &[(&str, Spoiled)], lost: bool) -> Outcome {
    let meddler = Meddler::before(&world.servers.consul_address()).await?;
    let mut played = Played::start(world, world.program().consul(&meddler.address())).await?;
    // Consul's index moves on, but not that of our node: an answer under the new one that says it is gone isn't followed
    // by another by itself.
    twice(&mut played, world).await?;
    let mut wrong = Vec::new();
    for (name, spoiled) in garbage {
        let one = async {
            // What is not ready goes when one consistent read, which may be spoiled too, doesn't have it.
            played.all_ready(world).await?;
            meddler.begin(spoiled);
            if lost {
                played.misses("consul").await?;
            }
            meddler.spoil(spoiled, TIMES).await?;
            played.nothing_went(world).await?;
            twice(&mut played, world).await?;
            played.has("consul").await
        };
        wrong.extend(one.await.err().map(|why| format!("{name}: {why}")));
    }
    so(wrong.is_empty(), || wrong.join("\n"))
}

/// It goes on, and all are ready again: what is not ready may go after a single read, and that may be spoiled, too.
async fn twice(played: &mut Played, world: &World) -> Outcome {
    for _ in 0..2 {
        played.goes_on(world).await?;
    }
    Ok(())
}
