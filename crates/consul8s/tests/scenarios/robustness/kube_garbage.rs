//! Answers of the API server that make no sense (contract S2, S8), by whoever stands before it: nothing is removed in Consul or in
//! Kubernetes, and what changes after each of them is followed.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `senseless_api_server` | every kind of [`GARBAGE`], one after the other |
//! | `api_server_refuses` | every kind of [`REFUSALS`]; the metric says so |
//! | `late_api_server` | answers that don't come; the metric says so |

use super::under_faults::Played;
use crate::harness::{Delivery, Index, Kind, Meddler, Outcome, Scenario, Spoiled, World, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(senseless_api_server),
    scenario!(api_server_refuses),
    scenario!(late_api_server).only(Kind::Real, "it waits for time-outs, which are the program's own on either world"),
];

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const HTML: &[(&str, &str)] = &[("content-type", "text/html")];
const ANSWER: Spoiled = Spoiled {
    status: 200,
    headers: JSON,
    index: Index::Missing,
    body: "",
    delivery: Delivery::Whole,
    only: "",
    only_stale: false,
};
const EMPTY_LIST: &str = r#"{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}"#;
const EXPIRED: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","message":"too old resource version","code":410}"#;

/// Too short to show in the metric: what is taken for the end of a watch is begun anew, and only what stays so is noticed within 30 s.
const GARBAGE: &[(&str, Spoiled)] = &[
    ("no body", ANSWER),
    ("a page for people", Spoiled { headers: HTML, body: "<html>Log in, please</html>", ..ANSWER }),
    ("half a list", Spoiled { body: r#"{"kind":"ServiceList","apiVersion":"v1","items":[{"metad"#, ..ANSWER }),
    (
        "a list that breaks off",
        Spoiled { body: r#"{"kind":"ServiceList","apiVersion":"v1","items":["#, delivery: Delivery::Cut, ..ANSWER },
    ),
    ("an empty list of long ago", Spoiled { body: EMPTY_LIST, ..ANSWER }),
    ("null", Spoiled { body: "null", ..ANSWER }),
    ("nothing to say", Spoiled { status: 204, ..ANSWER }),
    ("moved", Spoiled { status: 301, headers: &[("location", "http://127.0.0.1:1/")], ..ANSWER }),
    ("expired", Spoiled { status: 410, body: EXPIRED, ..ANSWER }),
    ("chunks without an end", Spoiled { body: r#"{"kind":"List","items":["#, delivery: Delivery::Unending, ..ANSWER }),
    ("away", Spoiled { status: 503, headers: &[("retry-after", "1")], ..ANSWER }),
    ("a gateway's error", Spoiled { status: 502, headers: HTML, body: "<html>Bad Gateway</html>", ..ANSWER }),
    ("not found", Spoiled { status: 404, headers: HTML, body: "<html>Not Found</html>", ..ANSWER }),
    ("forbidden", Spoiled { status: 403, body: "Forbidden", ..ANSWER }),
];

/// These stay until the metric shows them.
const REFUSALS: &[(&str, Spoiled)] = &[
    ("unauthorized", Spoiled { status: 401, body: "Unauthorized", ..ANSWER }),
    ("too many requests", Spoiled { status: 429, headers: &[("retry-after", "2")], ..ANSWER }),
    ("internal error", Spoiled { status: 500, body: "etcdserver: request timed out", ..ANSWER }),
];

const LATE: &[(&str, Spoiled)] = &[("no answer", Spoiled { delivery: Delivery::Never, ..ANSWER })];

/// Spoiled answers of each kind at least: of each watch, the Lease, and what they try next.
const TIMES: usize = 4;

async fn senseless_api_server(world: &World) -> Outcome {
    play(world, GARBAGE, false).await
}

async fn api_server_refuses(world: &World) -> Outcome {
    play(world, REFUSALS, true).await
}

async fn late_api_server(world: &World) -> Outcome {
    play(world, LATE, true).await
}

/// One after the other; `lost` = the program has noticed that it has no source.
async fn play(world: &World, garbage: &[(&str, Spoiled)], lost: bool) -> Outcome {
    let meddler = Meddler::before_server(world.servers.kube_client()?).await?;
    let kubeconfig = world.kubeconfig_without_tls(&meddler.address())?;
    let mut played = Played::start(world, world.program().kubeconfig(&kubeconfig)).await?;
    let mut wrong = Vec::new();
    for (name, spoiled) in garbage {
        let one = async {
            meddler.begin(spoiled);
            if lost {
                played.misses("kubernetes").await?;
            }
            meddler.spoil(spoiled, TIMES).await?;
            played.nothing_went(world).await?;
            played.goes_on(world).await?;
            played.has("kubernetes").await
        };
        wrong.extend(one.await.err().map(|why| format!("{name}: {why}")));
    }
    so(wrong.is_empty(), || wrong.join("\n"))
}
