//! `--config`, and who goes before whom (contract §5).
//!
//! | scenario | promise |
//! | --- | --- |
//! | `configuration_file` | flags by their key; a flag before its variable, that before the file, that before the default |
//! | `wrong_configuration` | 64, with file, key and what is accepted |
//! | `plaintext_token` | no token in plain text to another machine, unless a flag says so |
//! | `first_line` | scope, context, Consul and owner are the first thing that is said, also while Kubernetes is away |

use std::time::Duration;

use serde_json::Value;

use crate::harness::{Kind, Outcome, SOON, Scenario, World, eventually, free_address, scenario, so};

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario!(configuration_file),
    scenario!(wrong_configuration).only(Kind::Sim, "it never comes to asking a server"),
    scenario!(plaintext_token).only(Kind::Sim, "the address leads nowhere"),
    scenario!(first_line),
];

async fn configuration_file(world: &World) -> Outcome {
    let [instance] = world.registered_instances("web").await?;
    world.create_to_kube("web", |_| ()).await?;
    world.create_to_consul("db", |_| ()).await?;
    let published = format!("{}:8080 ready", instance.address);
    let registered = |tags: &str| format!("{}.db db.example.com:80 passing{tags}", world.namespace);
    let file = world.file("consul8s.yaml", "direction: to_consul\ndefaultTags: [file, yaml]\nlogFormat: json\n")?;
    let program = || world.program().flags(&["--config", &file]);

    let finished = program().finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    world.registers(&world.own("db"), &[&registered(" tags=file,yaml")]).await?;
    assert!(world.kube.slices("web").await?.is_empty(), "to_kube is not among the directions of the file");
    so(finished.stderr.starts_with('{'), || format!("{finished:#?}"))?;

    let finished = program().env("CONSUL8S_DEFAULT_TAGS", "variable").finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    world.registers(&world.own("db"), &[&registered(" tags=variable")]).await?;

    let flags = ["--default-tags", "flag", "--direction", "to_kube, to_consul", "--log-format", "text"];
    let finished = program().env("CONSUL8S_DEFAULT_TAGS", "variable").flags(&flags).finish(&["-1"]).await?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    world.registers(&world.own("db"), &[&registered(" tags=flag")]).await?;
    world.publishes("web", &[&published]).await?;
    so(!finished.stderr.starts_with('{'), || format!("{finished:#?}"))
}

async fn wrong_configuration(world: &World) -> Outcome {
    for (text, parts) in [
        ("intervall: 5", &["intervall", "interval"][..]),
        ("interval: soon", &["interval", "soon", "1m30s"]),
        ("rules: [{namespaces: [a], to_cube: {}}]", &["to_cube", "to_kube"]),
        ("excludeNamespace: default", &["--exclude-namespace", "--namespace"]),
    ] {
        let file = world.file("wrong.yaml", text)?;
        // Without the namespace that all scenarios give.
        let finished = world.program().bare().flags(&["--config", &file]).finish(&[]).await?;
        assert_eq!(finished.code, Some(64), "{finished:#?}");
        for part in parts {
            so(finished.stderr.contains(part), || format!("{part} is not named: {finished:#?}"))?;
        }
    }
    let finished = world.program().flags(&["--config", "/no/such/file"]).finish(&[]).await?;
    so(finished.code == Some(64) && finished.stderr.contains("/no/such/file"), || format!("{finished:#?}"))?;
    let finished = world.program().consul("ftp://consul").finish(&["-1"]).await?;
    so(finished.code == Some(64) && finished.stderr.contains("host:port"), || format!("{finished:#?}"))
}

async fn plaintext_token(world: &World) -> Outcome {
    let elsewhere = "consul.invalid:8500";
    for (name, secret) in [("CONSUL_HTTP_TOKEN", "canary"), ("CONSUL_HTTP_AUTH", "me:canary")] {
        let refused = world.program().consul(elsewhere).env(name, secret).finish(&["-1"]).await?;
        assert_eq!(refused.code, Some(64), "{refused:#?}");
        for part in ["http://consul.invalid:8500", "https://", "--allow-plaintext-token"] {
            so(refused.stderr.contains(part), || format!("{part} is not named: {refused:#?}"))?;
        }
        so(!refused.stderr.contains("canary"), || format!("{refused:#?}"))?;
    }
    let allowed = world.program().consul(elsewhere).env("CONSUL_HTTP_TOKEN", "canary");
    let allowed = allowed.flags(&["--allow-plaintext-token"]).finish(&["-1"]).await?;
    assert_eq!(allowed.code, Some(1), "it is tried, and nobody is there: {allowed:#?}");
    let secure = world.program().consul("https://consul.invalid").env("CONSUL_HTTP_TOKEN", "canary");
    assert_eq!(secure.finish(&["-1"]).await?.code, Some(1));
    let none = world.program().consul(elsewhere).finish(&["-1"]).await?;
    assert_eq!(none.code, Some(1), "{none:#?}");
    Ok(())
}

async fn first_line(world: &World) -> Outcome {
    let says = |log: &str, consul: &str| {
        let first: Value =
            serde_json::from_str(log.lines().next().unwrap_or_default()).map_err(|why| format!("{why}: {log}"))?;
        for (key, wanted) in [("scope", world.namespace.as_str()), ("context", "scenario"), ("consul", consul)] {
            so(first[key].as_str().is_some_and(|text| text.contains(wanted)), || format!("{key}: {first}"))?;
        }
        so(first["owner"].is_string(), || first.to_string())
    };
    let json = ["--log-format", "json"];
    // What there is to say about certificates comes after it.
    let consul = format!("https://{}", free_address());
    let insecure = world.program().consul(&consul).env("CONSUL_HTTP_SSL_VERIFY", "false").flags(&json).start()?;
    eventually("it says so", SOON, async || says(&insecure.log(), &consul)).await?;
    insecure.terminate(Duration::from_secs(5)).await?;
    let kubeconfig = world.kubeconfig_at(&free_address().to_string())?;
    let alone = world.program().kubeconfig(&kubeconfig).flags(&json).start()?;
    eventually("it says so", SOON, async || says(&alone.log(), &world.servers.consul_address())).await?;
    eventually("and that it waits", SOON, async || {
        let log = alone.log();
        so(log.contains("waiting for Kubernetes"), || log.clone())
    })
    .await
}
