//! How many of how many, in one line.

use std::collections::{BTreeMap, BTreeSet};

use crate::consul::CheckStatus;
use crate::guard::Judged;
use crate::kube::{Endpoint, KubeService, ObjectKey};
use crate::problem::clean;
use crate::to_consul::{self, RegistrationPlan};
use crate::to_kube::{EndpointId, Fate, Rule};

/// IDs that a text names.
const NAMED: usize = 3;

/// `2 of 3 published; 1 left out: critical`. Published is what may be used; instances that were not asked for don't count.
#[must_use]
pub fn endpoints(judged: &Judged, service: &KubeService) -> String {
    if judged.plan.idle {
        return String::new();
    }
    let mut out: BTreeMap<String, usize> = BTreeMap::new();
    let (mut published, mut of) = (0, 0);
    for decision in &judged.plan.decisions {
        let why = match &decision.fate {
            // Left out because somebody said so.
            Fate::Dropped(Rule::Kind | Rule::Tag | Rule::Filter) => continue,
            Fate::Ready(_) => None,
            Fate::NotReady(_) | Fate::Draining(_) if service.publish_not_ready => None,
            Fate::NotReady(check) => Some(check.status().to_string()),
            Fate::Draining(_) => Some("maintenance".to_owned()),
            Fate::Stale => Some("stale".to_owned()),
            Fate::Dropped(rule) => Some(rule.metric().unwrap_or("rule").to_owned()),
            Fate::NotAdded => Some("not added".to_owned()),
        };
        of += 1;
        match why {
            None => published += 1,
            Some(why) => *out.entry(why).or_default() += 1,
        }
    }
    let kept = judged.kept.values().filter(|endpoint| endpoint.ready).count();
    let kept = if kept == 0 { String::new() } else { format!("; {kept} more kept that Consul no longer shows") };
    format!("{published} of {of} published{}{kept}", left_out(&out))
}

/// Whether the plan changes who can be reached, and not only what our slices say beside that.
#[must_use]
pub fn endpoints_moved(judged: &Judged) -> bool {
    let state = |endpoint: &Endpoint| (endpoint.ready, endpoint.serving, endpoint.terminating);
    let wanted = judged.plan.wanted.iter().map(|(id, wanted)| (id, &wanted.endpoint)).chain(&judged.kept);
    let wanted: BTreeMap<&EndpointId, _> = wanted.map(|(id, endpoint)| (id, state(endpoint))).collect();
    let standing = judged.plan.standing.endpoints.iter();
    wanted != standing.map(|(id, endpoint)| (id, state(endpoint))).collect()
}

/// `2 of 3 registered as web; 1 left out: port; 1 critical`.
#[must_use]
pub fn registrations(plan: &RegistrationPlan, name: Option<&str>) -> String {
    let mut out: BTreeMap<String, usize> = BTreeMap::new();
    let (mut registered, mut critical, mut of) = (0, 0, 0);
    for decision in &plan.decisions {
        let (there, why) = match &decision.fate {
            to_consul::Fate::Registered { status, .. } => {
                critical += usize::from(*status == CheckStatus::Critical);
                (true, None)
            }
            to_consul::Fate::Stays(_) | to_consul::Fate::Held(_) => (true, None),
            to_consul::Fate::Taken => (false, Some("ID taken")),
            to_consul::Fate::LeftOut(why) => (false, why.metric()),
            to_consul::Fate::Goes(_) => (false, None),
        };
        if let Some(why) = why {
            *out.entry(why.to_owned()).or_default() += 1;
        }
        registered += usize::from(there);
        of += usize::from(there || why.is_some());
    }
    let name = name.map(|name| format!(" as {}", clean(name, 80))).unwrap_or_default();
    let critical = if critical == 0 { String::new() } else { format!("; {critical} critical") };
    format!("{registered} of {of} registered{name}{}{critical}", left_out(&out))
}

/// The IDs that are registered, the first few by name.
#[must_use]
pub fn registered_ids(plan: &RegistrationPlan) -> String {
    let registered = |fate: &to_consul::Fate| matches!(fate, to_consul::Fate::Registered { .. });
    let ids: BTreeSet<&str> =
        plan.decisions.iter().filter(|decision| registered(&decision.fate)).map(|d| d.what.as_str()).collect();
    let more = if ids.len() > NAMED { ", …" } else { "" };
    let named: Vec<String> = ids.iter().take(NAMED).map(|id| clean(id, 120)).collect();
    format!("{}{more}", named.join(", "))
}

/// How to see the endpoints of a Service.
#[must_use]
pub fn whereabouts(service: &ObjectKey) -> String {
    let ObjectKey { namespace, name } = service;
    format!("see them: kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}")
}

fn left_out(out: &BTreeMap<String, usize>) -> String {
    let count: usize = out.values().sum();
    match out.keys().next() {
        None => String::new(),
        Some(why) if out.len() == 1 => format!("; {count} left out: {why}"),
        Some(_) => {
            let each: Vec<String> = out.iter().map(|(why, n)| format!("{n} {why}")).collect();
            format!("; {count} left out: {}", each.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::to_consul::candidate::LeftOut;
    use crate::to_consul::{Decision, Stays};
    use crate::world::{Stage, World};

    /// A look at the first Service of a world as it comes, and one when nothing is left to do.
    #[allow(clippy::needless_pass_by_value)]
    fn check(world: &str, expected: Expect) {
        let mut stage = Stage::new(World::parse(world).unwrap());
        let mut out = String::new();
        for _ in 0..2 {
            let judged = stage.sync_all().remove(0).judged.unwrap();
            let moved = if endpoints_moved(&judged) { "moved" } else { "same" };
            writeln!(out, "{moved}: {}", endpoints(&judged, &stage.world.services[0])).unwrap();
        }
        expected.assert_eq(&out);
    }

    #[test]
    fn what_is_published_and_why_not_all() {
        check(
            "kube:   service shop/foo source=consul port http 80 @service.tags=a
             consul: foo-1@vm-1 name=foo 10.0.0.1:8080 passing tags=a
                     foo-2@vm-2 name=foo 10.0.0.2:8080 passing tags=a
                     foo-3@vm-3 name=foo 10.0.0.3:8080 critical tags=a
                     foo-4@vm-4 name=foo 10.0.0.4:8080 passing",
            expect![[r#"
                moved: 2 of 3 published; 1 left out: critical
                same: 2 of 3 published; 1 left out: critical
            "#]],
        );
        check(
            "kube:   service shop/foo source=consul port http 80
             consul: foo-1@vm-1 name=foo 127.0.0.1:8080 passing
                     foo-2@vm-2 name=foo 10.0.0.2:0 passing
                     foo-3@vm-3 name=foo 10.0.0.3:8080 maintenance
                     foo-4@vm-4 name=foo 10.0.0.4:8080 warning
                     foo-5@vm-5 name=foo 10.0.0.5:8080 critical
                     foo-6@vm-6 name=foo 10.0.0.6:8080 critical",
            expect![[r#"
                moved: 0 of 6 published; 6 left out: 1 address, 2 critical, 1 maintenance, 1 port, 1 warning
                same: 0 of 6 published; 6 left out: 1 address, 2 critical, 1 maintenance, 1 port, 1 warning
            "#]],
        );
        check(
            "kube:   service shop/foo source=consul port http 80 publish-not-ready
             consul: foo-1@vm-1 name=foo 10.0.0.1:8080 critical",
            expect![[r#"
                moved: 1 of 1 published
                same: 1 of 1 published
            "#]],
        );
    }

    #[test]
    fn what_is_registered_and_why_not_all() {
        let registered = |what: &str, status| Decision {
            what: what.to_owned(),
            fate: to_consul::Fate::Registered { status, output: String::new() },
        };
        let other = |what: &str, fate| Decision { what: what.to_owned(), fate };
        let plan = RegistrationPlan {
            decisions: vec![
                registered("shop.web@n", CheckStatus::Passing),
                registered("shop.web-1@n", CheckStatus::Critical),
                other("10.0.0.1:80", to_consul::Fate::LeftOut(LeftOut::Terminating)),
                other("127.0.0.1", to_consul::Fate::LeftOut(LeftOut::Address)),
                other("shop.web-2@n", to_consul::Fate::Taken),
                other("shop.web-3@n", to_consul::Fate::Stays(Stays::NoSlices)),
            ],
            ..RegistrationPlan::default()
        };
        assert_eq!(
            registrations(&plan, Some("web\n")),
            "3 of 5 registered as web\\u{a}; 2 left out: 1 ID taken, 1 address; 1 critical"
        );
        assert_eq!(registered_ids(&plan), "shop.web-1@n, shop.web@n");
        assert_eq!(registrations(&RegistrationPlan::default(), None), "0 of 0 registered");
    }
}
