//! Values of flags that clap can't judge alone: each is read once, and what is refused is told with what is accepted.

use std::collections::BTreeSet;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use consul8s_core::address::Cidr;
use consul8s_core::intent::to_consul::AddressSource;
use consul8s_core::intent::value;
use consul8s_core::nearest::nearest;
use consul8s_core::settings::{Direction, Policy};

/// What `--name-template` may hold.
const PLACEHOLDERS: [&str; 3] = ["name", "namespace", "cluster"];

/// Ranges of addresses as one flag gives them: a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cidrs(pub Vec<Cidr>);

/// `--compatibility`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compatibility {
    /// The annotations of HashiCorp's catalog sync are read too.
    ConsulK8s,
}

/// Reads a list of ranges.
pub(crate) fn cidrs(text: &str) -> Result<Cidrs, String> {
    let read = |word: &String| {
        Cidr::parse(word)
            .ok_or_else(|| format!("\"{word}\" is no range of addresses: write 10.0.0.0/8, fd00::/8 or 10.1.2.3"))
    };
    value::list(text).iter().map(read).collect::<Result<_, _>>().map(Cidrs)
}

/// `--direction`: at least one, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directions(pub BTreeSet<Direction>);

/// `--policy`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PolicyArg {
    /// Everything.
    #[default]
    Sync,
    /// No registration and no created Service is removed; endpoints and checks follow.
    UpsertOnly,
    /// Nothing is written, and there is nothing that could write.
    Observe,
}

impl From<PolicyArg> for Policy {
    fn from(arg: PolicyArg) -> Policy {
        match arg {
            PolicyArg::Sync => Policy::Sync,
            PolicyArg::UpsertOnly => Policy::UpsertOnly,
            PolicyArg::Observe => Policy::Observe,
        }
    }
}

/// Reads a list of directions.
pub(crate) fn directions(text: &str) -> Result<Directions, String> {
    const ALL: [Direction; 2] = [Direction::ToKube, Direction::ToConsul];
    let read = |word: &String| {
        let found = ALL.into_iter().find(|direction| direction.as_str() == word);
        let near = nearest(word, ALL.map(Direction::as_str)).unwrap_or_default();
        found.ok_or_else(|| format!("\"{word}\" is none of to_kube, to_consul; nearest: {near}"))
    };
    let all = value::list(text).iter().map(read).collect::<Result<BTreeSet<_>, _>>()?;
    if all.is_empty() { Err("name at least one of to_kube, to_consul".to_owned()) } else { Ok(Directions(all)) }
}

/// Reads a boolean, in any case.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    let is = |word: &str| text.trim().eq_ignore_ascii_case(word);
    if is("true") || is("false") { Ok(is("true")) } else { Err("write true or false".to_owned()) }
}

/// Reads a percentage.
pub(crate) fn percent(text: &str) -> Result<u8, String> {
    value::percent(text)
}

/// Reads the name of an address source.
pub(crate) fn address_source() -> impl TypedValueParser<Value = AddressSource> {
    // One of its words, so that it is always found.
    PossibleValuesParser::new(AddressSource::ALL.map(AddressSource::as_str))
        .map(|word| AddressSource::parse(&word).unwrap_or_default())
}

/// Reads a template of Consul names. It must tell the Services of a namespace apart, and what it gives must be a name.
pub(crate) fn name_template(text: &str) -> Result<String, String> {
    let mut sample = String::new();
    let mut rest = text;
    let mut has_name = false;
    while let Some((before, after)) = rest.split_once('{') {
        let (word, after) = after.split_once('}').ok_or("a { without its }; write {name}-{namespace}")?;
        if !PLACEHOLDERS.contains(&word) {
            return Err(format!("{{{word}}} is none of {{name}}, {{namespace}}, {{cluster}}"));
        }
        has_name |= word == "name";
        sample += before;
        sample += word;
        rest = after;
    }
    sample += rest;
    if sample.contains('}') {
        return Err("a } without its {; write {name}-{namespace}".to_owned());
    }
    if !has_name {
        return Err("without {name} all Services would get one name; write {name}-{namespace}".to_owned());
    }
    value::service_name(&sample).map(|_| text.to_owned()).map_err(|why| format!("the name that it gives {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_tells_services_apart_and_knows_its_words() {
        for good in ["{name}", "{name}-{namespace}", "k8s.{cluster}.{namespace}.{name}"] {
            assert_eq!(name_template(good), Ok(good.to_owned()));
        }
        for (bad, why) in [
            ("", "without {name}"),
            ("web", "without {name}"),
            ("{namespace}", "without {name}"),
            ("{nmae}", "{nmae} is none of {name}, {namespace}, {cluster}"),
            ("{name", "a { without its }"),
            ("name}{name}", "a } without its {"),
            ("{name}\n", "control characters"),
        ] {
            assert!(name_template(bad).unwrap_err().contains(why), "{bad:?}: {:?}", name_template(bad));
        }
    }

    #[test]
    fn ranges_come_as_lists() {
        assert_eq!(cidrs(" 10.0.0.0/8, ,fd00::/8,").unwrap().0.len(), 2);
        let told = cidrs("10.0.0.0/8,10.0.0.0/33").unwrap_err();
        assert!(told.contains("\"10.0.0.0/33\"") && told.contains("10.0.0.0/8"), "{told}");
    }

    #[test]
    fn directions_are_a_list() {
        assert_eq!(directions(" to_kube, to_consul,").unwrap().0.len(), 2);
        assert_eq!(directions("to_consul,to_consul").unwrap().0.len(), 1);
        assert!(directions("to_kub").unwrap_err().contains("nearest: to_kube"));
        assert!(directions(" , ").unwrap_err().contains("at least one"));
    }
}
