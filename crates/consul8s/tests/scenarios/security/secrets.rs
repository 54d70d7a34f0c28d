//! No secret is shown (docs/security.md).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `secrets_are_nowhere` | tokens and passwords of both sides, on good and on bad ways: not in any log (all of it), plan, metric, Event, condition, Lease, or page |

use std::time::Duration;

use consul8s_testbed::{Consul, ConsulOptions};
use serde_json::{Value, json};

use crate::harness::{
    EVENTS, Kind, LEASES, Launch, Outcome, SERVICES, SLICES, SOON, Scenario, World, eventually, free_address, scenario,
    so,
};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(secrets_are_nowhere).only(Kind::Real, "only a real Consul has access control")];

const PASSWORD: &str = "canary-password-5e1f";
/// `someone:canary-password-5e1f`, as it travels.
const ENCODED: &str = "c29tZW9uZTpjYW5hcnktcGFzc3dvcmQtNWUxZg";
const WRONG: &str = "canary-0000-4000-8000-wrong-token";
const KUBE: &str = "canary-kubernetes-bearer-token";

/// Text with the name of where it was shown.
type Shown = Vec<(String, String)>;

async fn secrets_are_nowhere(world: &World) -> Outcome {
    let options = ConsulOptions { acl: true, ..ConsulOptions::default() };
    let consul = Consul::start(options).await.map_err(|why| why.to_string())?;
    let body = json!({
        "Node": "vm-1", "Address": "10.62.0.1",
        "Service": { "ID": "web-1", "Service": world.own("web"), "Address": "10.62.0.1", "Port": 8080 },
    });
    consul.put("/v1/catalog/register", &body).await.map_err(|why| why.to_string())?;
    let token = consul.token().ok_or("no token")?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    let mut shown = Shown::new();
    for format in ["text", "json"] {
        good_runs(world, &consul, format, &mut shown).await?;
        commands(world, &consul, format, &mut shown).await?;
        bad_runs(world, &consul, format, &mut shown).await?;
    }
    for resource in [SERVICES, SLICES, EVENTS, LEASES] {
        let objects = Value::Array(world.kube.list(resource).await?);
        shown.push((resource.plural.to_owned(), objects.to_string()));
    }
    for path in ["/v1/catalog/nodes", "/v1/internal/ui/nodes"] {
        let seen = consul.get(path).await.map_err(|why| why.to_string())?;
        shown.push((path.to_owned(), seen.body));
    }
    so(shown.len() > 25 && shown.iter().all(|(_, text)| !text.is_empty()), || format!("{}", shown.len()))?;
    let admin = world.servers.kube_token().unwrap_or_default();
    for (what, text) in &shown {
        for secret in [token, PASSWORD, ENCODED, WRONG, "wrong-token", KUBE, admin.as_str()] {
            if !secret.is_empty() && text.contains(secret) {
                let line = text.lines().find(|line| line.contains(secret)).unwrap_or_default();
                return Err(format!("{secret} is in {what}: {line}"));
            }
        }
    }
    Ok(())
}

fn launch(world: &World, token: &str, address: &str, format: &str) -> Launch {
    let launch = world.program().consul(address).env("CONSUL_HTTP_TOKEN", token);
    let launch = launch.env("CONSUL_HTTP_AUTH", &format!("someone:{PASSWORD}"));
    launch.flags(&["--log-level", "trace", "--log-format", format])
}

async fn good_runs(world: &World, consul: &Consul, format: &str, shown: &mut Shown) -> Outcome {
    let program = launch(world, consul.token().unwrap_or_default(), consul.http_addr(), format).start()?;
    world.publishes("web", &["10.62.0.1:8080 ready"]).await?;
    eventually("registered", SOON, async || {
        let path = format!("/v1/health/service/{}", world.own("db"));
        let found = consul.get(&path).await.map_err(|why| why.to_string())?;
        so(found.body.contains("db.example.com"), || found.body.clone())
    })
    .await?;
    shown.push(("metrics".to_owned(), program.scrape().await?.0));
    shown.push(("the log of a good run".to_owned(), program.log()));
    program.terminate(Duration::from_secs(5)).await.map(drop)
}

async fn commands(world: &World, consul: &Consul, format: &str, shown: &mut Shown) -> Outcome {
    let (token, address) = (consul.token().unwrap_or_default(), consul.http_addr());
    let nobody = free_address().to_string();
    let with_password = format!("http://someone:{PASSWORD}@127.0.0.1:8500");
    for (what, token, address, command) in [
        ("plan", token, address, &["plan", "-o", "json"][..]),
        ("-1", token, address, &["-1"]),
        ("purge", token, address, &["purge"]),
        ("a wrong token", WRONG, address, &["-1"]),
        ("nobody there", WRONG, &nobody, &["-1"]),
        ("a token with a line break", "canary-0000-4000-8000\nwrong-token", address, &["-1"]),
        ("a password in the address", WRONG, &with_password, &["-1"]),
        ("plain text", WRONG, "http://consul.invalid", &["-1"]),
    ] {
        let finished = launch(world, token, address, format).finish(command).await?;
        shown.push((what.to_owned(), format!("{}{}", finished.stdout, finished.stderr)));
    }
    // Kubernetes does not know this one.
    let refused = launch(world, token, address, format).kubeconfig(&world.kubeconfig_as(KUBE)?).finish(&["-1"]).await?;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    shown.push(("a wrong token for Kubernetes".to_owned(), format!("{}{}", refused.stdout, refused.stderr)));
    Ok(())
}

/// Events and conditions tell that the token is refused.
async fn bad_runs(world: &World, consul: &Consul, format: &str, shown: &mut Shown) -> Outcome {
    let program = launch(world, WRONG, consul.http_addr(), format).start()?;
    eventually("it is told that the token is refused", SOON, async || {
        let service = world.kube.get(SERVICES, "web").await?.to_string();
        so(service.contains("ConsulPermissionDenied") || program.log().contains("ermission"), || service.clone())
    })
    .await?;
    shown.push(("metrics".to_owned(), program.scrape().await?.0));
    shown.push(("the log of a bad run".to_owned(), program.log()));
    program.terminate(Duration::from_secs(5)).await.map(drop)
}
