//! Reads the text form of a world.

use crate::consul::{Check, CheckStatus, Instance, NamedPort, TaggedAddress};
use crate::health::{NODE_MAINTENANCE, SERVICE_MAINTENANCE};
use crate::kube::{
    AddressType, Endpoint, Family, KubeService, KubeSlice, ObjectKey, OwnerRef, Protocol, ServicePort, ServiceType,
    SlicePort,
};
use crate::names;
use crate::time::UnixMillis;

use super::consul::HOME;
use super::{OWNER, World};

type Read<T> = Result<T, String>;

pub(super) fn world(text: &str) -> Read<World> {
    let mut world = World::default();
    let mut side = "";
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let line = match line.split_once(':') {
            Some((new @ ("kube" | "consul"), rest)) => {
                side = new;
                rest.trim()
            }
            _ => line,
        };
        if !line.is_empty() {
            object(&mut world, side, line).map_err(|why| format!("{line}: {why}"))?;
        }
    }
    Ok(world)
}

fn object(world: &mut World, side: &str, line: &str) -> Read<()> {
    let words = words(line)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (side, words.as_slice()) {
        ("kube", ["service", key, rest @ ..]) => world.services.push(service(key, rest)?),
        ("kube", ["slice", name, rest @ ..]) => {
            let slice = slice(world, name, rest)?;
            world.slices.push(slice);
        }
        ("consul", [who, rest @ ..]) => world.instances.push(instance(who, rest)?),
        _ => return Err("neither a service, a slice nor an instance".to_owned()),
    }
    Ok(())
}

/// Splits at spaces, but not inside double quotes.
fn words(line: &str) -> Read<Vec<String>> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                words.extend(Some(std::mem::take(&mut word)).filter(|w| !w.is_empty()));
            }
            c => word.push(c),
        }
    }
    words.extend(Some(word).filter(|w| !w.is_empty()));
    if quoted { Err("a quote is open".to_owned()) } else { Ok(words) }
}

fn key(text: &str) -> Read<ObjectKey> {
    let (namespace, name) = text.split_once('/').ok_or("no NAMESPACE/NAME")?;
    Ok(ObjectKey::new(namespace, name))
}

fn number<T: std::str::FromStr>(text: &str) -> Read<T> {
    text.parse().map_err(|_| format!("{text} is not a number that fits"))
}

fn pair(text: &str) -> Read<(String, String)> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

fn service(name: &str, words: &[&str]) -> Read<KubeService> {
    let key = key(name)?;
    let uid = format!("uid-{}", key.name);
    let mut service = KubeService { key, uid, resource_version: "1".to_owned(), ..KubeService::default() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "port" {
            let [Some(name), Some(port)] = [words.next(), words.next()] else {
                return Err("port without name and number".to_owned());
            };
            service.ports.push(service_port(name, port)?);
        } else {
            service_word(&mut service, word)?;
        }
    }
    Ok(service)
}

fn service_word(service: &mut KubeService, word: &str) -> Read<()> {
    if let Some(annotation) = word.strip_prefix('@') {
        let (key, value) = pair(annotation)?;
        service.annotations.insert(format!("{}{key}", names::ANNOTATION_PREFIX), value);
        return Ok(());
    }
    if let Some(label) = word.strip_prefix("label:") {
        service.labels.extend([pair(label)?]);
        return Ok(());
    }
    match word.split_once('=') {
        None => match word {
            "headless" => service.headless = true,
            "local" => service.internal_local = true,
            "publish-not-ready" => service.publish_not_ready = true,
            "zone-aware" => service.traffic_distribution = Some("PreferSameZone".to_owned()),
            _ => return Err(format!("{word}?")),
        },
        Some(("source", value)) => {
            service.labels.insert(names::LABEL_SOURCE.to_owned(), value.to_owned());
        }
        Some(("uid", value)) => value.clone_into(&mut service.uid),
        Some(("created", value)) => service.created = UnixMillis(number::<u64>(value)? * 1000),
        Some(("selector", value)) => service.selector.extend([pair(value)?]),
        Some(("type", "NodePort")) => service.service_type = ServiceType::NodePort,
        Some(("type", "LoadBalancer")) => service.service_type = ServiceType::LoadBalancer,
        Some(("type", "ExternalName")) => service.service_type = ServiceType::ExternalName,
        Some(("families", value)) => {
            service.ip_families = value.split(',').map(|f| if f == "6" { Family::V6 } else { Family::V4 }).collect();
        }
        _ => return Err(format!("{word}?")),
    }
    Ok(())
}

fn protocol(text: &str) -> Read<(&str, Protocol)> {
    match text.split_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((number, "TCP")) => Ok((number, Protocol::Tcp)),
        Some((number, "UDP")) => Ok((number, Protocol::Udp)),
        Some((number, "SCTP")) => Ok((number, Protocol::Sctp)),
        Some((_, other)) => Err(format!("{other}?")),
    }
}

fn service_port(name: &str, port: &str) -> Read<ServicePort> {
    let (port, protocol) = protocol(port)?;
    let name = if name == "-" { String::new() } else { name.to_owned() };
    Ok(ServicePort { name, port: number(port)?, protocol, ..ServicePort::default() })
}

fn slice(world: &World, name: &str, words: &[&str]) -> Read<KubeSlice> {
    let ["for", service, rest @ ..] = words else { return Err("slice NAME for NS/SERVICE".to_owned()) };
    let service = key(service)?;
    let owner_uid = world.services.iter().find(|s| s.key == service).map_or("uid-gone", |s| &s.uid);
    let owner = OwnerRef { kind: "Service".to_owned(), name: service.name.clone(), uid: owner_uid.to_owned() };
    let mut slice = KubeSlice {
        key: ObjectKey::new(service.namespace, name),
        uid: format!("uid-{name}"),
        resource_version: "1".to_owned(),
        deleting: false,
        labels: [
            (names::LABEL_SERVICE_NAME.to_owned(), service.name),
            (names::LABEL_MANAGED_BY.to_owned(), names::MANAGED_BY.to_owned()),
        ]
        .into(),
        annotations: [(names::SLICE_OWNER.to_owned(), OWNER.to_owned())].into(),
        owners: vec![owner],
        address_type: AddressType::Ip(Family::V4),
        endpoints: Vec::new(),
        ports: Vec::new(),
    };
    rest.iter().try_for_each(|word| slice_word(&mut slice, word))?;
    Ok(slice)
}

fn slice_word(slice: &mut KubeSlice, word: &str) -> Read<()> {
    if let Some(note) = word.strip_prefix("note:") {
        slice.annotations.extend([pair(note)?]);
        return Ok(());
    }
    match word.split_once('=') {
        Some(("ports", value)) => slice.ports = slice_ports(value)?,
        Some(("manager", value)) => {
            slice.labels.insert(names::LABEL_MANAGED_BY.to_owned(), value.to_owned());
        }
        Some(("owner", "")) => {
            slice.annotations.remove(names::SLICE_OWNER);
        }
        Some(("owner", value)) => {
            slice.annotations.insert(names::SLICE_OWNER.to_owned(), value.to_owned());
        }
        Some(("owner-uid", "")) => slice.owners.clear(),
        Some(("owner-uid", value)) => slice.owners.iter_mut().for_each(|owner| value.clone_into(&mut owner.uid)),
        Some(_) => return Err(format!("{word}?")),
        None if word == "terminating" => slice.deleting = true,
        None => {
            let endpoint = endpoint(word);
            if endpoint.address.contains(':') {
                slice.address_type = AddressType::Ip(Family::V6);
            }
            slice.endpoints.push(endpoint);
        }
    }
    Ok(())
}

fn slice_ports(text: &str) -> Read<Vec<SlicePort>> {
    let read = |part: &str| {
        let (name, port) = part.rsplit_once('=').unwrap_or(("", part));
        let (port, protocol) = protocol(port)?;
        Ok(SlicePort { name: name.to_owned(), protocol, port: Some(number(port)?), app_protocol: None })
    };
    text.split(',').filter(|part| !part.is_empty()).map(read).collect()
}

fn endpoint(word: &str) -> Endpoint {
    let (address, ready, serving, terminating) = match word.split_at_checked(1) {
        Some(("!", address)) => (address, false, false, false),
        Some(("~", address)) => (address, false, true, true),
        _ => (word, true, true, false),
    };
    Endpoint { address: address.to_owned(), ready, serving, terminating, ..Endpoint::default() }
}

fn instance(who: &str, words: &[&str]) -> Read<Instance> {
    let (id, node) = who.split_once('@').ok_or("an instance is ID@NODE")?;
    let (id, node) = (id.to_owned(), node.to_owned());
    let mut instance = Instance { name: id.clone(), node, id, datacenter: HOME.to_owned(), ..Instance::default() };
    for word in words {
        instance_word(&mut instance, word)?;
    }
    Ok(instance)
}

fn instance_word(instance: &mut Instance, word: &str) -> Read<()> {
    let keyed = word.split_once(':').filter(|(kind, _)| matches!(*kind, "meta" | "node-meta" | "port" | "tagged"));
    if let Some((kind, rest)) = keyed {
        let (key, value) = pair(rest)?;
        match kind {
            "meta" => drop(instance.meta.insert(key, value)),
            "node-meta" => drop(instance.node_meta.insert(key, value)),
            "port" => {
                instance.ports.push(NamedPort { name: key, port: number(&value)?, default: instance.ports.is_empty() });
            }
            _ => {
                let (address, port) = address(&value)?;
                instance.tagged_addresses.insert(key, TaggedAddress { address, port });
            }
        }
        return Ok(());
    }
    match word.split_once('=') {
        Some(("name", value)) => value.clone_into(&mut instance.name),
        Some(("dc", value)) => value.clone_into(&mut instance.datacenter),
        Some(("kind", value)) => value.clone_into(&mut instance.kind),
        Some(("node", value)) => value.clone_into(&mut instance.node_address),
        Some(("zone", value)) => instance.zone = Some(value.to_owned()),
        Some(("tags", value)) => instance.tags = value.split(',').map(str::to_owned).collect(),
        Some(_) => return Err(format!("{word}?")),
        None => match checks(instance, word) {
            Some(checks) => instance.checks.extend(checks),
            None => (instance.address, instance.port) = address(word)?,
        },
    }
    Ok(())
}

fn checks(instance: &Instance, word: &str) -> Option<Vec<Check>> {
    let check = |id: &str, service_id: &str, status| Check {
        node: instance.node.clone(),
        id: id.to_owned(),
        name: id.to_owned(),
        service_id: service_id.to_owned(),
        status,
        output: String::new(),
        modify_index: 0,
    };
    let own = |status| check("http", &instance.id, status);
    let maintenance = format!("{SERVICE_MAINTENANCE}{}", instance.id);
    Some(match word {
        "passing" => vec![own(CheckStatus::Passing)],
        "warning" => vec![own(CheckStatus::Warning)],
        "critical" => vec![own(CheckStatus::Critical)],
        "maintenance" => vec![own(CheckStatus::Passing), check(&maintenance, &instance.id, CheckStatus::Critical)],
        "node-critical" => vec![own(CheckStatus::Passing), check("serfHealth", "", CheckStatus::Critical)],
        "node-maintenance" => vec![own(CheckStatus::Passing), check(NODE_MAINTENANCE, "", CheckStatus::Critical)],
        "unchecked" => Vec::new(),
        _ => return None,
    })
}

/// `10.0.0.1:80`, `[::1]:80`, `10.0.0.1`, `::1`, `name:80`; `-` is the empty address.
fn address(text: &str) -> Read<(String, i64)> {
    if let Some((address, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        return Ok((address.to_owned(), number(port)?));
    }
    let (address, port) = match text.split_once(':') {
        Some((address, port)) if !port.contains(':') => (address, number(port)?),
        _ => (text, 0),
    };
    Ok((if address == "-" { String::new() } else { address.to_owned() }, port))
}
