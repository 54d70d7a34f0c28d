//! TLS to Consul (contract §5).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `mutual_tls_and_rotation` | own authority, own certificate, server name; all of them rotated under us: in use within 10 s, and nothing is lost meanwhile |
//! | `tls_is_never_left_out` | a wrong authority, a wrong name, a missing certificate: said clearly, exit 1, and nothing is sent in plain text |
//! | `no_redirect_is_followed` | an answer that sends us elsewhere is a failure, and the token goes nowhere |

use std::path::Path;
use std::time::Duration;

use consul8s_testbed::{Consul, ConsulOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::harness::{Kind, Ledger, Outcome, SOON, Scenario, World, eventually, scenario, so};

const REAL: &str = "only a real Consul speaks TLS";
/// From the moment a file is rotated.
const WITHIN: Duration = Duration::from_secs(10);

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(mutual_tls_and_rotation).only(Kind::Real, REAL),
    scenario!(tls_is_never_left_out).only(Kind::Real, REAL),
    scenario!(no_redirect_is_followed).only(Kind::Sim, "it is about a server that is none"),
];

async fn consul() -> Outcome<Consul> {
    let options = ConsulOptions { https: true, verify_incoming: true, ..ConsulOptions::default() };
    Consul::start(options).await.map_err(|why| why.to_string())
}

async fn register(world: &World, consul: &Consul, id: usize, address: &str) -> Outcome {
    let body = json!({
        "Node": format!("vm-{id}"), "Address": address,
        "Service": { "ID": format!("web-{id}"), "Service": world.own("web"), "Address": address, "Port": 8080 },
    });
    let reply = consul.put("/v1/catalog/register", &body).await.map_err(|why| why.to_string())?;
    so(reply.is_ok(), || reply.body.clone())
}

/// Where the program looks for its files; a rotation writes over them.
struct Files {
    ca: String,
    cert: String,
    key: String,
}

impl Files {
    fn write(world: &World, consul: &Consul) -> Outcome<Files> {
        let (cert, key) = consul.client_certificate().map_err(|why| why.to_string())?;
        let copy = |name: &str, from: &Path| {
            let text = std::fs::read_to_string(from).map_err(|why| format!("{}: {why}", from.display()))?;
            world.file(name, &text)
        };
        Ok(Files {
            ca: copy("ca.pem", &consul.ca_file())?,
            cert: copy("cert.pem", &cert)?,
            key: copy("key.pem", &key)?,
        })
    }

    fn environment(&self) -> [(&'static str, &str); 3] {
        [("CONSUL_CACERT", &self.ca), ("CONSUL_CLIENT_CERT", &self.cert), ("CONSUL_CLIENT_KEY", &self.key)]
    }
}

async fn mutual_tls_and_rotation(world: &World) -> Outcome {
    let mut consul = consul().await?;
    register(world, &consul, 1, "10.61.0.1").await?;
    let files = Files::write(world, &consul)?;
    world.create_to_kube("web", |_| ()).await?;
    let address = consul.https_addr().ok_or("no HTTPS")?;
    let mut launch = world.program().consul(&address).env("CONSUL_TLS_SERVER_NAME", "server.dc1.consul");
    for (name, value) in files.environment() {
        launch = launch.env(name, value);
    }
    let program = launch.flags(&["--log-level", "trace"]).start()?;
    world.publishes("web", &["10.61.0.1:8080 ready"]).await?;
    program.counts("consul8s_consul_watches", &[("transport", "http2")], |count| count == 1.0).await?;
    let record = world.record("web").await?;

    // Another certificate of the same authority, while the connection stands: used, and nothing happens to anybody.
    Files::write(world, &consul)?;
    eventually("the new certificate is in use", WITHIN, async || {
        let log = program.log();
        so(log.contains("certificates for Consul have changed"), || log.clone())
    })
    .await?;
    register(world, &consul, 2, "10.61.0.2").await?;
    world.publishes_within(WITHIN, "web", &["10.61.0.1:8080 ready", "10.61.0.2:8080 ready"]).await?;

    // Another authority: the old one must not do any more, and the new one does.
    consul.renew_certificates().map_err(|why| why.to_string())?;
    consul.start_again().await.map_err(|why| why.to_string())?;
    program.counts("consul8s_staleness_seconds", &[("source", "consul")], |age| age > 2.0).await?;
    register(world, &consul, 3, "10.61.0.3").await?;
    let rotated = Instant::now();
    Files::write(world, &consul)?;
    let all = ["10.61.0.1:8080 ready", "10.61.0.2:8080 ready", "10.61.0.3:8080 ready"];
    world.publishes_within(WITHIN, "web", &all).await?;
    so(rotated.elapsed() < WITHIN, || format!("{:?}", rotated.elapsed()))?;
    record.always("with its first instance", |seen| seen.iter().any(|line| line == all[0]))?;
    let key = std::fs::read_to_string(&files.key).map_err(|why| why.to_string())?;
    let secret = key.lines().nth(1).ok_or("no key")?;
    so(!program.log().contains(secret), || "the key is in the log".to_owned())
}

async fn tls_is_never_left_out(world: &World) -> Outcome {
    let consul = consul().await?;
    let other = self::consul().await?;
    register(world, &consul, 1, "10.61.1.1").await?;
    world.create_to_kube("web", |_| ()).await?;
    let files = Files::write(world, &consul)?;
    let wrong_ca = other.ca_file().display().to_string();
    let address = consul.https_addr().ok_or("no HTTPS")?;
    let https_port = address.trim_start_matches("https://").to_owned();
    let once = |address: &str, environment: &[(&str, &str)]| {
        let launch = world.program().consul(address).env("CONSUL_HTTP_TOKEN", "canary-token");
        environment.iter().fold(launch, |launch, (name, value)| launch.env(name, value))
    };
    let [ca, cert, key] = files.environment();
    for (what, address, environment, parts) in [
        (
            "a wrong authority",
            address.as_str(),
            &[("CONSUL_CACERT", wrong_ca.as_str()), cert, key][..],
            &["certificate", "UnknownIssuer"][..],
        ),
        ("the system's authorities", &address, &[cert, key], &["certificate"]),
        (
            "a wrong name",
            &address,
            &[ca, cert, key, ("CONSUL_TLS_SERVER_NAME", "consul.example.com")],
            &["certificate", "consul.example.com"],
        ),
        ("no certificate", &address, &[ca], &["ertificate"]),
        ("half a certificate", &address, &[ca, cert], &["CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY"]),
        ("no such file", &address, &[("CONSUL_CACERT", "/no/such/ca.pem")], &["/no/such/ca.pem"]),
        ("plain HTTP to it", &https_port, &[], &["400"]),
    ] {
        let finished = once(address, environment).finish(&["-1"]).await?;
        so(finished.code == Some(1), || format!("{what}: {finished:#?}"))?;
        for part in parts {
            so(finished.stderr.contains(part), || format!("{what}: {part} in {finished:#?}"))?;
        }
        so(!finished.stderr.contains("canary-token"), || format!("{what}: {finished:#?}"))?;
    }
    assert!(world.kube.slices("web").await?.is_empty());
    // What is meant is possible: no check at all, and both variables that turn TLS on.
    let unchecked = [("CONSUL_HTTP_SSL_VERIFY", "false"), ("CONSUL_HTTP_SSL", "true"), cert, key];
    let finished = once(&https_port, &unchecked).finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    so(finished.stderr.contains("certificate is not checked"), || format!("{finished:#?}"))?;
    world.publishes("web", &["10.61.1.1:8080 ready"]).await?;
    Ok(())
}

async fn no_redirect_is_followed(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    let elsewhere = Ledger::before(&world.servers.consul_address()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|why| why.to_string())?;
    let address = listener.local_addr().map_err(|why| why.to_string())?;
    let location = elsewhere.address();
    let redirecting = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let location = location.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let answer = format!(
                        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{location}/v1/status/leader\r\nContent-Length: 0\r\n\r\n"
                    );
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let program = world.program().consul(&address.to_string()).env("CONSUL_HTTP_TOKEN", "canary-token").start()?;
    program.counts("consul8s_consul_requests_total", &[], |count| count > 3.0).await?;
    program.counts("consul8s_staleness_seconds", &[("source", "consul")], |age| age > 2.0).await?;
    redirecting.abort();
    so(elsewhere.asked().is_empty(), || format!("{:?}", elsewhere.asked()))?;
    so(world.kube.slices("web").await?.is_empty(), || format!("{instance:?} is published"))?;
    eventually("it says why", SOON, async || {
        let log = program.log();
        so(log.contains("307") && !log.contains("canary-token"), || log.clone())
    })
    .await
}
