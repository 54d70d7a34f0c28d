//! No secret is shown (docs/security.md).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `secrets_are_nowhere` | tokens and passwords of both sides, on good and on bad ways: not in any log (all of it), plan, metric, Event, condition, Lease, or page |

use std::time::Duration;

use consul8s_testbed::{Consul, ConsulOptions};
use serde_json::{Value, json};

use crate::harness::{
    EVENTS, Kind, LEASES, Outcome, SERVICES, SLICES, SOON, Scenario, World, eventually, free_address, scenario, so,
    text,
};

pub(crate) const SCENARIOS: &[Scenario] =
    &[scenario!(secrets_are_nowhere).only(Kind::Real, "only a real Consul has access control")];

const PASSWORD: &str = "canary-password-5e1f";
/// `someone:canary-password-5e1f`, as it travels.
const ENCODED: &str = "c29tZW9uZTpjYW5hcnktcGFzc3dvcmQtNWUxZg";
const WRONG: &str = "canary-0000-4000-8000-wrong-token";
const KUBE: &str = "canary-kubernetes-bearer-token";

async fn secrets_are_nowhere(world: &World) -> Outcome {
    let consul =
        Consul::start(ConsulOptions { acl: true, ..ConsulOptions::default() }).await.map_err(|why| why.to_string())?;
    let body = json!({
        "Node": "vm-1", "Address": "10.62.0.1",
        "Service": { "ID": "web-1", "Service": world.own("web"), "Address": "10.62.0.1", "Port": 8080 },
    });
    consul.put("/v1/catalog/register", &body).await.map_err(|why| why.to_string())?;
    let token = consul.token().ok_or("no token")?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    let mut shown: Vec<(String, String)> = Vec::new();

    for format in ["text", "json"] {
        let launch = |token: &str, address: &str| {
            let launch = world.program().consul(address).env("CONSUL_HTTP_TOKEN", token);
            launch.env("CONSUL_HTTP_AUTH", &format!("someone:{PASSWORD}")).flags(&[
                "--log-level",
                "trace",
                "--log-format",
                format,
            ])
        };
        let program = launch(token, consul.http_addr()).start()?;
        world.publishes("web", &["10.62.0.1:8080 ready"]).await?;
        eventually("registered", SOON, async || {
            let found =
                consul.get(&format!("/v1/health/service/{}", world.own("db"))).await.map_err(|why| why.to_string())?;
            so(found.body.contains("db.example.com"), || found.body.clone())
        })
        .await?;
        shown.push(("metrics".to_owned(), program.scrape().await?.0));
        shown.push(("the log of a good run".to_owned(), program.log()));
        program.terminate(Duration::from_secs(5)).await?;
        for (what, finished) in [
            ("plan", launch(token, consul.http_addr()).finish(&["plan", "-o", "json"]).await?),
            ("-1", launch(token, consul.http_addr()).finish(&["-1"]).await?),
            ("purge", launch(token, consul.http_addr()).finish(&["purge"]).await?),
            ("a wrong token", launch(WRONG, consul.http_addr()).finish(&["-1"]).await?),
            ("nobody there", launch(WRONG, &free_address().to_string()).finish(&["-1"]).await?),
            (
                "a token with a line break",
                launch("canary-0000-4000-8000\nwrong-token", consul.http_addr()).finish(&["-1"]).await?,
            ),
            (
                "a password in the address",
                launch(WRONG, &format!("http://someone:{PASSWORD}@127.0.0.1:8500")).finish(&["-1"]).await?,
            ),
            ("plain text", launch(WRONG, "http://consul.invalid").finish(&["-1"]).await?),
        ] {
            shown.push((what.to_owned(), format!("{}{}", finished.stdout, finished.stderr)));
        }
        // Kubernetes does not know this one.
        let refused = world.program().kubeconfig(&world.kubeconfig_as(KUBE)?).consul(consul.http_addr());
        let refused = refused.flags(&["--log-level", "trace", "--log-format", format]).finish(&["-1"]).await?;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        shown.push(("a wrong token for Kubernetes".to_owned(), format!("{}{}", refused.stdout, refused.stderr)));
        // While it runs the token is taken away: Events and conditions tell of it.
        let program = launch(WRONG, consul.http_addr()).start()?;
        eventually("it is told that the token is refused", SOON, async || {
            let service = world.kube.get(SERVICES, "web").await?.to_string();
            so(service.contains("ConsulPermissionDenied") || program.log().contains("ermission"), || service.clone())
        })
        .await?;
        shown.push(("metrics".to_owned(), program.scrape().await?.0));
        shown.push(("the log of a bad run".to_owned(), program.log()));
        program.terminate(Duration::from_secs(5)).await?;
    }
    for resource in [SERVICES, SLICES, EVENTS, LEASES] {
        let objects = Value::Array(world.kube.list(resource).await?);
        shown.push((resource.plural.to_owned(), objects.to_string()));
    }
    for path in ["/v1/catalog/nodes", "/v1/internal/ui/nodes"] {
        let seen = consul.get(path).await.map_err(|why| why.to_string())?;
        shown.push((path.to_owned(), text(&Value::from(seen.body))));
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
