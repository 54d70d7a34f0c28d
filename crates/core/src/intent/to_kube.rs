//! What a Service that is to be filled from Consul asks for (contract §2).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::consul::HealthQuery;
use crate::kube::KubeService;
use crate::names;
use crate::problem::Problem;
use crate::settings::Settings;

use super::value;

/// Everything that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToKube {
    /// What Consul is asked.
    pub query: HealthQuery,
    /// Datacenters to use while the query's own has no ready instance, in this order.
    pub failover: Vec<String>,
    /// Tags that an instance must all carry.
    pub tags: Vec<String>,
    /// Which health is ready.
    pub health: HealthPolicy,
    /// Where Service ports get their numbers from; a port that isn't named here takes the instance's.
    pub ports: Vec<PortRule>,
    /// Key of the tagged address to publish; none = `lan`, the ordinary one.
    pub tagged_address: Option<String>,
    /// Share of ready instances in percent below which all are published; 0 = never.
    pub panic_threshold: u8,
    /// How long without an admitted answer until nothing is published as ready; none = never.
    pub max_staleness: Option<Duration>,
}

/// Which health is ready. Maintenance never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthPolicy {
    /// Passing.
    #[default]
    Passing,
    /// Passing or warning.
    Warning,
    /// Whatever the checks say.
    Any,
}

/// Where one Service port gets its number from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRule {
    /// Name of the Service port; it need not exist yet, so that a rename can be announced (contract D4). Empty for the unnamed one.
    pub port: String,
    /// Source of the number.
    pub source: PortSource,
}

/// Source of a port number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortSource {
    /// The instance's own port.
    Default,
    /// This number.
    Number(u16),
    /// The instance's meta under this key.
    Meta(String),
    /// The instance's port of this name (Consul 1.22+).
    Named(String),
}

/// Least `max_staleness`: less would act on an ordinary election.
pub const LEAST_STALENESS: Duration = Duration::from_secs(10);

impl ToKube {
    /// What Consul is asked in each datacenter: the primary first, then those of `failover`.
    #[must_use]
    pub fn queries(&self) -> Vec<HealthQuery> {
        let further = self.failover.iter().map(|dc| HealthQuery { datacenter: Some(dc.clone()), ..self.query.clone() });
        std::iter::once(self.query.clone()).chain(further).collect()
    }
}

/// Reads the annotations; all that is wrong is told, not only the first.
pub fn parse(service: &KubeService, settings: &Settings) -> Result<ToKube, Vec<Problem>> {
    let mut reader = Reader { annotations: &service.annotations, problems: Vec::new(), unnamed: false };
    let wish = read(&mut reader, service, settings);
    if reader.problems.is_empty() { Ok(wish) } else { Err(reader.problems) }
}

/// Reads what can be understood, with the default for the rest: what is asked of Consul while no valid settings are known.
#[must_use]
pub fn parse_what_is_valid(service: &KubeService, settings: &Settings) -> ToKube {
    read(&mut Reader { annotations: &service.annotations, problems: Vec::new(), unnamed: false }, service, settings)
}

/// Reads settings that were valid once. The unnamed port that they may name can have got a name since.
pub(super) fn parse_applied(then: &KubeService, settings: &Settings) -> Option<ToKube> {
    let mut reader = Reader { annotations: &then.annotations, problems: Vec::new(), unnamed: true };
    let wish = read(&mut reader, then, settings);
    reader.problems.is_empty().then_some(wish)
}

fn read(reader: &mut Reader<'_>, service: &KubeService, settings: &Settings) -> ToKube {
    let default_name = || service.key.name.clone();
    let unnamed = reader.unnamed;
    ToKube {
        query: HealthQuery {
            name: reader.get(names::SERVICE_NAME, value::service_name).unwrap_or_else(default_name),
            datacenter: reader.get(names::SERVICE_DATACENTER, value::word),
            namespace: reader.get(names::SERVICE_NAMESPACE, value::word),
            partition: reader.get(names::SERVICE_PARTITION, value::word),
            peer: reader.get(names::SERVICE_PEER, value::word),
            filter: reader.get(names::SERVICE_FILTER, |text| not_blank(text).map(str::to_owned)),
        },
        failover: reader.get(names::SERVICE_FAILOVER, datacenters).unwrap_or_default(),
        tags: reader.get(names::SERVICE_TAGS, |text| Ok(value::list(text))).unwrap_or_default(),
        health: reader.get(names::SERVICE_HEALTH, health).unwrap_or_default(),
        ports: reader.get(names::SERVICE_PORTS, |text| ports(text, service, unnamed)).unwrap_or_default(),
        tagged_address: reader.get(names::SERVICE_TAGGED_ADDRESS, tagged_address).flatten(),
        panic_threshold: reader.get(names::SERVICE_PANIC_THRESHOLD, value::percent).unwrap_or(settings.panic_threshold),
        max_staleness: reader.get(names::SERVICE_MAX_STALENESS, |text| value::duration_from(text, LEAST_STALENESS)),
    }
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
    /// Whether an empty name means the unnamed port, even where there is none.
    unnamed: bool,
}

impl Reader<'_> {
    fn get<T>(&mut self, key: &str, accept: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.annotations.get(key)?;
        match accept(text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.problems.push(value::invalid(key, text, &why));
                None
            }
        }
    }
}

fn not_blank(text: &str) -> Result<&str, String> {
    if text.trim().is_empty() { Err("is blank".to_owned()) } else { Ok(text) }
}

fn tagged_address(text: &str) -> Result<Option<String>, String> {
    let key = not_blank(text)?.trim();
    Ok((key != "lan").then(|| key.to_owned()))
}

fn health(text: &str) -> Result<HealthPolicy, String> {
    match text.trim() {
        "passing" => Ok(HealthPolicy::Passing),
        "warning" => Ok(HealthPolicy::Warning),
        "any" => Ok(HealthPolicy::Any),
        _ => Err("is none of passing, warning, any".to_owned()),
    }
}

fn datacenters(text: &str) -> Result<Vec<String>, String> {
    let mut found: Vec<String> = Vec::new();
    for part in value::list(text) {
        let name = value::word(&part)?;
        if !found.contains(&name) {
            found.push(name);
        }
    }
    Ok(found)
}

fn ports(text: &str, service: &KubeService, unnamed: bool) -> Result<Vec<PortRule>, String> {
    let mut rules: Vec<PortRule> = Vec::new();
    for part in value::list(text) {
        let (port, source) = part.split_once('=').ok_or_else(|| format!("has \"{part}\", which is not PORT=SOURCE"))?;
        let source = port_source(source.trim())?;
        let names = if unnamed && port.is_empty() { vec![String::new()] } else { port_names(port.trim(), service)? };
        for name in names {
            if rules.iter().any(|rule| rule.port == name) {
                return Err(format!("names port \"{}\" twice", port.trim()));
            }
            rules.push(PortRule { port: name, source: source.clone() });
        }
    }
    Ok(rules)
}

/// The ports that `port` means: that of this name, all of this number (one for TCP, one for UDP), or one that is to come.
fn port_names(port: &str, service: &KubeService) -> Result<Vec<String>, String> {
    if service.ports.iter().any(|p| !p.name.is_empty() && p.name == port) {
        return Ok(vec![port.to_owned()]);
    }
    if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
        let numbered = service.ports.iter().filter(|p| p.port.to_string() == port);
        let found: Vec<String> = numbered.map(|p| p.name.clone()).collect();
        return if found.is_empty() {
            Err(format!("names port {port}, which the Service doesn't have"))
        } else {
            Ok(found)
        };
    }
    if value::is_label(port) {
        return Ok(vec![port.to_owned()]);
    }
    Err(format!("names port \"{port}\", which no Service can have"))
}

fn port_source(source: &str) -> Result<PortSource, String> {
    let given = |key: &str, what: &str| {
        if key.is_empty() { Err(format!("has {what}: without a name")) } else { Ok(key.to_owned()) }
    };
    if source == "default" {
        Ok(PortSource::Default)
    } else if let Some(key) = source.strip_prefix("meta:") {
        Ok(PortSource::Meta(given(key.trim(), "meta")?))
    } else if let Some(name) = source.strip_prefix("port:") {
        Ok(PortSource::Named(given(name.trim(), "port")?))
    } else {
        let number = value::port(source);
        number.map(PortSource::Number).map_err(|why| format!("has \"{source}\", which {why}"))
    }
}
