//! What a catalog may hold that nobody should have written (contract S8): it affects itself alone, and shows in counts.
//!
//! | scenario | promise |
//! | --- | --- |
//! | `hostile_catalog` | every kind of nonsense in [`Catalog`], in one Consul service beside good instances |
//! | `hostile_names` | Consul service names with every character that an address line minds |

use serde_json::{Map, Value, json};

use crate::harness::{EVENTS, Instance, Outcome, SOON, Scenario, World, eventually, scenario, so, text};

pub(crate) const SCENARIOS: &[Scenario] = &[scenario!(hostile_catalog), scenario!(hostile_names)];

/// Control characters, an escape sequence, a line break, a change of direction.
const CONTROL: &str = "\u{1b}[31m\r\n\u{7}\u{202e}";

/// What is put into the catalog, and what becomes of it.
struct Catalog<'a> {
    world: &'a World,
    published: Vec<String>,
    dropped: std::collections::BTreeMap<&'static str, f64>,
    refused: Vec<String>,
}

/// What should become of an instance.
enum Fate<'a> {
    Published(&'a str),
    Dropped(&'static str),
}

impl Catalog<'_> {
    /// Registers an instance with `more` about its service. What Consul itself refuses is nobody's business.
    async fn put(&mut self, instance: &Instance, more: &Value, fate: Fate<'_>) -> Outcome {
        let Instance { node, node_address, service, id, address, port, .. } = instance;
        let mut body = json!({
            "Node": node, "Address": node_address,
            "Service": { "ID": id, "Service": service, "Address": address, "Port": port },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            body["Service"][key] = value.clone();
        }
        if let Err(why) = self.world.consul.put("/v1/catalog/register", &body).await {
            self.refused.push(format!("{address}:{port}: {why}"));
            return Ok(());
        }
        match fate {
            Fate::Published(line) => self.published.push(line.to_owned()),
            Fate::Dropped(reason) => *self.dropped.entry(reason).or_default() += 1.0,
        }
        Ok(())
    }

    fn instance(&self) -> (Instance, String) {
        let instance = self.world.instance("web");
        let line = format!("{}:8080 ready", instance.address);
        (instance, line)
    }

    async fn texts(&mut self) -> Outcome {
        let (odd, line) = self.instance();
        let odd = Instance { id: format!("{}{CONTROL}", odd.id), node: format!("{}{CONTROL}", odd.node), ..odd };
        self.put(&odd, &json!({}), Fate::Published(&line)).await?;
        let (full, line) = self.instance();
        let meta: Map<String, Value> = (0..64).map(|n| (format!("key-{n}"), json!("x".repeat(512)))).collect();
        self.put(&full, &json!({ "Meta": meta }), Fate::Published(&line)).await?;
        let (tagged, line) = self.instance();
        let tags: Vec<String> = (0..1000).map(|n| format!("{CONTROL}{n}")).collect();
        self.put(&tagged, &json!({ "Tags": tags }), Fate::Published(&line)).await
    }

    async fn identities(&mut self) -> Outcome {
        let (first, line) = self.instance();
        self.put(&first, &json!({}), Fate::Published(&line)).await?;
        for _ in 0..2 {
            let (same_id, line) = self.instance();
            let same_id = Instance { id: first.id.clone(), ..same_id };
            self.put(&same_id, &json!({}), Fate::Published(&line)).await?;
        }
        let (same_place, _) = self.instance();
        let same_place = Instance { address: first.address.clone(), ..same_place };
        self.put(&same_place, &json!({}), Fate::Dropped("duplicate")).await?;
        let (loud, _) = self.instance();
        let loud = Instance { service: loud.service.to_uppercase(), ..loud };
        self.put(&loud, &json!({}), Fate::Dropped("name")).await
    }

    async fn ports(&mut self) -> Outcome {
        for port in [0, -1, 70_000, 65_536, i64::from(i32::MAX)] {
            let (instance, _) = self.instance();
            self.put(&Instance { port, ..instance }, &json!({}), Fate::Dropped("port")).await?;
        }
        Ok(())
    }

    async fn addresses(&mut self) -> Outcome {
        let never = [
            "169.254.169.254",
            "100.100.100.200",
            "::ffff:169.254.169.254",
            "::ffff:127.0.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "::",
            "::1",
            "fe80::1",
            "fe80::1%eth0",
            "224.0.0.1",
            "255.255.255.255",
            "fd00:ec2::254",
            "64:ff9b::a9fe:a9fe",
            "010.0.0.1",
            "10.1",
            "0x0a.0.0.1",
            "10.0.0.1:80",
            " 10.0.0.1",
            "10.0.0.1\u{0}",
            CONTROL,
        ];
        for address in never {
            let (instance, _) = self.instance();
            self.put(&instance.at(address, 8080), &json!({}), Fate::Dropped("address")).await?;
        }
        let (mapped, line) = self.instance();
        let wrapped = format!("::FFFF:{}", mapped.address);
        self.put(&mapped.at(&wrapped, 8080), &json!({}), Fate::Published(&line)).await?;
        let (other, _) = self.instance();
        self.put(&other.at("FD00:0:0::66", 8080), &json!({}), Fate::Dropped("family")).await
    }
}

async fn hostile_catalog(world: &World) -> Outcome {
    let [calm] = world.registered_instances("calm").await?;
    let [good] = world.registered_instances("web").await?;
    world.create_to_kube("calm", |_| ()).await?;
    // The API server makes a Service of one family of it, whatever it has.
    world.create_to_kube("web", |service| service["spec"]["ipFamilies"] = json!(["IPv4"])).await?;
    let program = world.program().flags(&["--resolve-hostnames=false"]).start()?;
    let (calm_at, good_at) = (format!("{}:8080", calm.address), format!("{}:8080", good.address));
    world.publishes("web", &[&format!("{good_at} ready")]).await?;
    world.publishes("calm", &[&format!("{calm_at} ready")]).await?;
    let recorder = world.record("calm").await?;

    let mut catalog = Catalog { world, published: Vec::new(), dropped: Default::default(), refused: Vec::new() };
    catalog.texts().await?;
    catalog.identities().await?;
    catalog.ports().await?;
    catalog.addresses().await?;
    let Catalog { published, dropped, refused, .. } = catalog;
    so(refused.len() <= 8, || format!("Consul refuses most of it, so that this shows little: {refused:#?}"))?;

    let both = |state: &str| -> Vec<String> {
        std::iter::once(format!("{good_at} {state}")).chain(published.iter().cloned()).collect()
    };
    let shown = async |state: &str| {
        let lines = both(state);
        world.publishes("web", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    shown("ready").await?;
    for (reason, number) in &dropped {
        let labels = [("direction", "to_kube"), ("reason", *reason)];
        program.counts("consul8s_instances_dropped", &labels, |count| count == *number).await?;
    }
    world.consul.register(&good.clone().checked("critical")).await?;
    shown("not-ready").await?;
    recorder.always("ready", |endpoints| endpoints == [format!("{calm_at} ready")])?;
    says_nothing_odd(world, &program.log()).await
}

/// What people read holds no control characters.
async fn says_nothing_odd(world: &World, log: &str) -> Outcome {
    world.says("web", "True AddressRejected", "").await?;
    let condition = world.condition("web").await?;
    let mut texts = vec![condition, log.replace('\n', "")];
    texts.extend(world.kube.list(EVENTS).await?.iter().map(|event| text(&event["note"])));
    let odd = |text: &&String| text.contains(char::is_control);
    so(!texts.iter().any(|text| odd(&text)), || format!("{:#?}", texts.iter().filter(odd).collect::<Vec<_>>()))
}

async fn hostile_names(world: &World) -> Outcome {
    let names = ["pay/ments", "a b", "100%25", "?dc=dc2&x", "#frag", "ä-ö", "a+b", "..a", "\"q\\"];
    let mut lines = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let instance = world.instance("odd");
        let instance = Instance { service: world.own(name), ..instance };
        world.consul.register(&instance).await?;
        let annotate = |service: &mut Value| {
            service["metadata"]["annotations"]["consul8s/service.name"] = json!(world.own(name));
        };
        world.create_to_kube(&format!("odd-{number}"), annotate).await?;
        lines.push(format!("{}:8080 ready", instance.address));
    }
    let program = world.start()?;
    for (number, line) in lines.iter().enumerate() {
        world.publishes(&format!("odd-{number}"), &[line]).await.map_err(|why| format!("{}: {why}", names[number]))?;
    }
    eventually("all are in sync", SOON, async || {
        let synced = program.scrape().await?.count("consul8s_services", &[("state", "synced")]);
        so(synced == names.len() as f64, || synced.to_string())
    })
    .await
}
