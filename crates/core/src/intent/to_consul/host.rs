//! Which addresses a Service gives itself, and what an address must look like.

use std::net::IpAddr;

use crate::address::{self, Written};
use crate::intent::value;
use crate::names;
use crate::problem::{Problem, Reason, clean};
use crate::settings::Settings;

use super::{AddressSource, Addresses, Reader};

/// What is written on the Service wins over `--default-address-source`, and `consul8s/service.address_source` over all of it. Names
/// made for external-dns are not written for us: they count only where nothing else is asked for.
pub(super) fn addresses(reader: &mut Reader<'_>, settings: &Settings) -> Addresses {
    let source = reader.get(names::SERVICE_ADDRESS_SOURCE, address_source);
    if let Some(source) = source.filter(|source| *source != AddressSource::Auto) {
        return Addresses::From(source);
    }
    for key in [names::SERVICE_ADDRESS, names::DOMAIN_NAME] {
        if let Some(hosts) = reader.get(key, hosts).filter(|hosts| !hosts.is_empty()) {
            return Addresses::Given(hosts);
        }
    }
    let source = source.unwrap_or(settings.default_address_source);
    if source == AddressSource::Auto
        && let Some(hosts) = external_dns(reader)
    {
        return Addresses::Given(hosts);
    }
    Addresses::From(source)
}

fn address_source(text: &str) -> Result<AddressSource, String> {
    let all = || AddressSource::ALL.map(AddressSource::as_str).join(", ");
    AddressSource::parse(text.trim()).ok_or_else(|| format!("is none of {}", all()))
}

/// A list of IPs and DNS names; one that can't be registered refuses the list, as the user wrote it for us.
fn hosts(text: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for part in value::list(text) {
        let host = host(&part).map_err(|why| format!("holds \"{}\", which {why}", clean(&part, 80)))?;
        if !found.contains(&host) {
            found.push(host);
        }
    }
    Ok(found)
}

/// An address as Consul is given it: an IP in canonical form, or a DNS name without the dots around it.
pub(crate) fn host(text: &str) -> Result<String, String> {
    match address::read(text.strip_prefix('.').unwrap_or(text)) {
        Written::Ip(ip) => reachable(ip).map(|()| ip.to_string()),
        Written::Hostname(name) => Ok(name),
        Written::Unreadable => Err("is neither an IP address nor a DNS name".to_owned()),
    }
}

/// What means something else on every machine that reads it is no address to hand out.
fn reachable(ip: IpAddr) -> Result<(), String> {
    address::never(ip).map_or(Ok(()), |why| Err(format!("is never registered ({})", why.as_str())))
}

/// Names for external-dns were not written for us: one that we can't use is told and left out.
fn external_dns(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let (key, text) = names::EXTERNAL_DNS.iter().find_map(|key| reader.annotations.get_key_value(*key))?;
    let mut found = Vec::new();
    for part in value::list(text) {
        match host(&part) {
            Ok(host) if !found.contains(&host) => found.push(host),
            Ok(_) => {}
            Err(why) => {
                let message = format!("annotation {key}: \"{}\" {why}; it is left out", clean(&part, 80));
                reader.warnings.push(Problem::new(Reason::AddressRejected, message));
            }
        }
    }
    (!found.is_empty()).then_some(found)
}
