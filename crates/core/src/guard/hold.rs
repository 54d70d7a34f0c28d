//! What a hold looks like: its id, its kind, and the form in which our slices keep it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::duration;
use crate::identity::short_hash;
use crate::kube::ObjectKey;
use crate::problem::{Problem, Reason};
use crate::settings::Settings;
use crate::time::UnixMillis;
use crate::to_kube::EndpointId;

/// Identity of a hold: `h-` and six characters, from service and the time it began (guard.md §3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldId(String);

impl HoldId {
    /// Of a hold that concerns one Service.
    #[must_use]
    pub fn of_service(service: &ObjectKey, began: UnixMillis) -> HoldId {
        HoldId(format!("h-{}", short_hash(&[&service.namespace, &service.name, &began.0.to_string()], 6)))
    }

    /// Of a mass hold, which has one id for all Services.
    #[must_use]
    pub fn of_all(began: UnixMillis) -> HoldId {
        HoldId(format!("h-{}", short_hash(&["*", &began.0.to_string()], 6)))
    }

    /// Reads it.
    #[must_use]
    pub fn parse(text: &str) -> Option<HoldId> {
        let digits = text.strip_prefix("h-")?;
        (digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| HoldId(text.to_owned()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why something is held (contract S3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// (a): a service would lose all its ready endpoints, or more than half of three or more.
    Service,
    /// (b): many services would lose many at once.
    Mass,
    /// (c): the source is not whole.
    NotWhole,
    /// (c): missing since a broken lineage.
    Lineage,
}

impl Kind {
    /// The letter of the contract.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Kind::Service => 'a',
            Kind::Mass => 'b',
            Kind::NotWhole | Kind::Lineage => 'c',
        }
    }

    /// How long it lasts; none = time alone never ends it.
    #[must_use]
    pub fn lasts(self, settings: &Settings) -> Option<Duration> {
        match self {
            Kind::Service => Some(settings.removal_hold),
            Kind::Mass => settings.mass_removal_hold,
            Kind::NotWhole | Kind::Lineage => None,
        }
    }

    /// As our slices keep it, where the two kinds of (c) differ: only one of them ends when the source is whole again.
    fn code(self) -> char {
        if self == Kind::Lineage { 'l' } else { self.letter() }
    }

    fn of_code(code: &str) -> Option<Kind> {
        match code {
            "a" => Some(Kind::Service),
            "b" => Some(Kind::Mass),
            "c" => Some(Kind::NotWhole),
            "l" => Some(Kind::Lineage),
            _ => None,
        }
    }
}

/// What an endpoint that is held bears, and what its slice keeps. Fixed when the hold begins: a confirming read is no reason to
/// write a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The hold.
    pub id: HoldId,
    /// Its kind.
    pub kind: Kind,
    /// Since when the endpoint is missing.
    pub since: UnixMillis,
    /// The first consistent read that agreed; 0 = none did yet.
    pub first_read: UnixMillis,
    /// How many had agreed when the hold began.
    pub reads: u32,
}

/// What is held of one Service under one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Identity.
    pub id: HoldId,
    /// Kind.
    pub kind: Kind,
    /// What stays as it stands, sorted.
    pub endpoints: Vec<EndpointId>,
    /// How many ready endpoints the Service shows, these included.
    pub of: usize,
    /// When the first of them went missing.
    pub since: UnixMillis,
    /// When the last of them may go, if its absence is confirmed until then; none = time alone never ends it.
    pub until: Option<UnixMillis>,
}

impl Held {
    /// The Event that tells of it.
    #[must_use]
    pub fn problem(&self, service: &ObjectKey, settings: &Settings) -> Problem {
        let lasts = self.kind.lasts(settings).map_or_else(|| "no time limit".to_owned(), lasting);
        let until = match (self.kind, self.until) {
            (Kind::NotWhole, _) => "the source is whole again".to_owned(),
            (_, Some(until)) => until.rfc3339(),
            (_, None) => "they are shown again".to_owned(),
        };
        Problem::new(
            Reason::RemovalHeld,
            format!(
                "holding {} of {} endpoints that left Consul without a word ({}, {lasts}): they stay ready until {until}; \
                 release with: consul8s release {service}",
                self.endpoints.len(),
                self.of.max(self.endpoints.len()),
                self.id
            ),
        )
    }
}

/// `60s`, as the default is written, and `10m`.
fn lasting(time: Duration) -> String {
    if time < Duration::from_secs(120) { format!("{}s", time.as_secs()) } else { duration::print(time) }
}

/// Word in the annotation that says: `consul8s/allow-removal: true` was used and must be taken away before it counts again.
const USED: &str = "used";

/// The value of `consul8s/absent-since` on one slice: for each group of endpoints with the same mark `ID KIND SINCE FIRST READS
/// ADDRESS,…` (times in Unix milliseconds), groups separated by `;`, and the word `used`. The ports are those of the slice. None when there
/// is nothing to keep.
#[must_use]
pub fn print(marks: &BTreeMap<IpAddr, Mark>, used: bool) -> Option<String> {
    let mut groups: BTreeMap<&Mark, Vec<String>> = BTreeMap::new();
    for (address, mark) in marks {
        groups.entry(mark).or_default().push(address.to_string());
    }
    let mut parts: Vec<String> = Vec::new();
    if used {
        parts.push(USED.to_owned());
    }
    for (Mark { id, kind, since, first_read, reads }, addresses) in groups {
        let kind = kind.code();
        parts.push(format!("{id} {kind} {} {} {reads} {}", since.0, first_read.0, addresses.join(",")));
    }
    (!parts.is_empty()).then(|| parts.join(";"))
}

/// Reads what [`print()`] wrote. What can't be read is left out: its hold begins anew, which is safe.
#[must_use]
pub fn parse(text: &str) -> (BTreeMap<IpAddr, Mark>, bool) {
    let mut marks = BTreeMap::new();
    let mut used = false;
    for part in text.split(';').map(str::trim) {
        used |= part == USED;
        if let Some((mark, addresses)) = parse_group(part) {
            marks.extend(addresses.into_iter().map(|address| (address, mark.clone())));
        }
    }
    (marks, used)
}

fn parse_group(part: &str) -> Option<(Mark, Vec<IpAddr>)> {
    let words: Vec<&str> = part.split_whitespace().collect();
    let [id, kind, since, first_read, reads, addresses] = words.as_slice() else { return None };
    let time = |text: &str| text.parse().ok().map(UnixMillis);
    let mark = Mark {
        id: HoldId::parse(id)?,
        kind: Kind::of_code(kind)?,
        since: time(since)?,
        first_read: time(first_read)?,
        reads: reads.parse().ok()?,
    };
    Some((mark, addresses.split(',').filter_map(|a| a.parse().ok()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(kind: Kind, since: u64) -> Mark {
        let id = HoldId::of_service(&ObjectKey::new("shop", "payments"), UnixMillis(since));
        Mark { id, kind, since: UnixMillis(since), first_read: UnixMillis(since + 20), reads: 2 }
    }

    #[test]
    fn what_is_kept_on_a_slice_is_read_back() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let marks: BTreeMap<IpAddr, Mark> = [
            (address("10.0.0.1"), mark(Kind::Service, 1000)),
            (address("10.0.0.2"), mark(Kind::Service, 1000)),
            (address("2001:db8::1"), mark(Kind::Lineage, 2000)),
        ]
        .into();
        let text = print(&marks, true).unwrap();
        expect_test::expect!["used;h-13fe69 a 1000 1020 2 10.0.0.1,10.0.0.2;h-8b364b l 2000 2020 2 2001:db8::1"]
            .assert_eq(&text);
        assert_eq!(parse(&text), (marks, true));
        assert_eq!(print(&BTreeMap::new(), false), None);
    }

    #[test]
    fn what_somebody_wrote_over_it_is_left_out() {
        for text in [
            "",
            ";;",
            "nonsense",
            "h-3a5b71 x 1 2 3 10.0.0.1",
            "h-3a5b71 a 1 2 3",
            "../../x a 1 2 3 10.0.0.1",
            "h-3a5b71 a -1 2 3 1.2.3.4",
        ] {
            assert_eq!(parse(text), (BTreeMap::new(), false), "{text}");
        }
        assert_eq!(parse("h-3a5b71 a 1 2 3 nonsense,10.0.0.1").0.len(), 1);
    }
}
