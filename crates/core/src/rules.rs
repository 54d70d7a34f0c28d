//! `rules:` of the configuration file: which Consul names the Services of a namespace may be filled from, and be registered as.
//!
//! An annotation must not give a tenant more than Kubernetes does: whoever may write Services in one namespace could otherwise publish any
//! Consul service there, and register under any name. The first rule whose namespaces match counts; in it, `deny` wins, and with
//! `allow` only what it names is allowed. Where no rule matches, everything is allowed, unless `defaultRule: deny`.

use std::fmt;

use crate::problem::{Problem, Reason, clean};
use crate::settings::Direction;

/// A pattern: `*` stands for any letters, also none, and `?` for one. Case does not count, as Consul takes no notice of it either: a rule
/// about `payments` must hold for `Payments`, which Consul answers alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    shown: String,
    lower: Vec<char>,
}

impl Glob {
    /// Reads a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Glob {
        Glob { shown: pattern.to_owned(), lower: pattern.to_lowercase().chars().collect() }
    }

    /// Whether it matches. Takes time in proportion to both lengths at most.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.to_lowercase().chars().collect();
        let pattern = &self.lower;
        let (mut p, mut t) = (0, 0);
        // Where the last `*` stands, and how much of the text it has taken.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
                _ => match star {
                    Some((at, taken)) => {
                        star = Some((at, taken + 1));
                        (p, t) = (at + 1, taken + 1);
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&self.shown, 80))
    }
}

/// What one rule says about the Consul names of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Only these; none = all.
    pub allow: Option<Vec<Glob>>,
    /// Never these.
    pub deny: Vec<Glob>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Namespaces of Kubernetes that it is about.
    pub namespaces: Vec<Glob>,
    /// Names that Services there may be filled from.
    pub to_kube: Names,
    /// Names that Services there may be registered as.
    pub to_consul: Names,
}

/// All rules, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The rules.
    pub rules: Vec<Rule>,
    /// `defaultRule: deny`: where no rule matches, nothing is allowed.
    pub deny_by_default: bool,
}

impl Rules {
    /// Why Services of `namespace` may not use this Consul name in this direction, as the problem `NotAllowed`, which names the rule; none
    /// = they may.
    #[must_use]
    pub fn refusal(&self, namespace: &str, direction: Direction, name: &str) -> Option<Problem> {
        let rule = self.rules.iter().enumerate().find(|(_, rule)| rule.is_for(namespace));
        let why = match rule {
            Some((number, rule)) => format!("{} {}", rule.called(number), rule.names(direction).refuses(name)?),
            None if self.deny_by_default => {
                format!("defaultRule is deny, and no rule is for namespace {namespace}: it allows nothing")
            }
            None => return None,
        };
        let (doing, name) = (doing(direction), clean(name, 80));
        let message = format!(
            "namespace {namespace} may not {doing} the Consul name \"{name}\": {why}. Use a name that is allowed, or have the \
             administrator of consul8s change `rules:` in its configuration file"
        );
        Some(Problem::new(Reason::NotAllowed, message))
    }
}

fn doing(direction: Direction) -> &'static str {
    match direction {
        Direction::ToKube => "be filled from",
        Direction::ToConsul => "register under",
    }
}

impl Rule {
    fn is_for(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|glob| glob.matches(namespace))
    }

    fn names(&self, direction: Direction) -> (&Names, Direction) {
        match direction {
            Direction::ToKube => (&self.to_kube, direction),
            Direction::ToConsul => (&self.to_consul, direction),
        }
    }

    /// Rules have no names of their own: by its place, from 1, and its namespaces.
    fn called(&self, number: usize) -> String {
        format!("rule {} (namespaces: {})", number + 1, listed(&self.namespaces))
    }
}

/// What a rule says of a name.
trait Refuses {
    /// Why not; none = it is allowed.
    fn refuses(&self, name: &str) -> Option<String>;
}

impl Refuses for (&Names, Direction) {
    fn refuses(&self, name: &str) -> Option<String> {
        let (names, direction) = (self.0, self.1.as_str());
        if let Some(glob) = names.deny.iter().find(|glob| glob.matches(name)) {
            return Some(format!("denies it in {direction}.deny by \"{glob}\""));
        }
        let allow = names.allow.as_ref()?;
        if allow.iter().any(|glob| glob.matches(name)) {
            return None;
        }
        let only = if allow.is_empty() { "nothing".to_owned() } else { format!("only {}", listed(allow)) };
        Some(format!("allows {only} in {direction}.allow"))
    }
}

fn listed(globs: &[Glob]) -> String {
    globs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(list: &str) -> Vec<Glob> {
        list.split(',').map(Glob::new).collect()
    }

    /// `NAMESPACES;allow;deny` for to_kube; `-` = not given.
    fn rule(text: &str) -> Rule {
        let parts: Vec<&str> = text.split(';').collect();
        let names = |allow: &str, deny: &str| Names {
            allow: (allow != "-").then(|| if allow.is_empty() { Vec::new() } else { globs(allow) }),
            deny: if deny == "-" { Vec::new() } else { globs(deny) },
        };
        Rule { namespaces: globs(parts[0]), to_kube: names(parts[1], parts[2]), to_consul: Names::default() }
    }

    #[test]
    fn globs_match_whole_names_and_take_no_notice_of_case() {
        for (pattern, yes, no) in [
            ("web", &["web", "WEB"][..], &["webs", "aweb", ""][..]),
            ("web-*", &["web-", "web-a", "Web-a-b"], &["web", "a-web-"]),
            ("*-db", &["-db", "a-db", "a-db-db"], &["a-db-", "db"]),
            ("a*b*c", &["abc", "axxbyyc", "abbcc"], &["acb", "ab"]),
            ("*", &["", "x", "a/b.c"], &[]),
            ("w?b", &["web", "wüb"], &["wb", "weeb"]),
            ("**a", &["a", "ba"], &["b"]),
            ("[a]", &["[a]"], &["a"]),
            ("Übung", &["übung"], &["ubung"]),
        ] {
            let glob = Glob::new(pattern);
            yes.iter().for_each(|text| assert!(glob.matches(text), "{pattern} {text}"));
            no.iter().for_each(|text| assert!(!glob.matches(text), "{pattern} {text}"));
        }
        assert!(!Glob::new(&"*a".repeat(100)).matches(&"a".repeat(99)), "and in bounded time");
    }

    #[test]
    fn the_first_rule_that_is_for_the_namespace_counts() {
        let deny = |rules: &[&str], deny_by_default| Rules {
            rules: rules.iter().map(|text| rule(text)).collect(),
            deny_by_default,
        };
        for (rules, namespace, name, wanted) in [
            (deny(&[], false), "shop", "web", ""),
            (deny(&[], true), "shop", "web", "defaultRule is deny, and no rule is for namespace shop"),
            (deny(&["shop;-;-"], true), "shop", "web", ""),
            (deny(&["shop;-;-"], true), "blog", "web", "no rule is for namespace blog"),
            (deny(&["shop;-;pay*"], false), "shop", "web", ""),
            (
                deny(&["shop;-;pay*"], false),
                "shop",
                "Payments",
                "rule 1 (namespaces: shop) denies it in to_kube.deny by \"pay*\"",
            ),
            (deny(&["shop;-;pay*"], false), "blog", "payments", ""),
            (deny(&["shop;web,pay*;payments"], false), "shop", "payments", "denies it"),
            (deny(&["shop;web,pay*;payments"], false), "shop", "pay-ui", ""),
            (deny(&["shop;web,pay*;payments"], false), "shop", "api", "allows only web, pay* in to_kube.allow"),
            (deny(&["shop;;-"], false), "shop", "api", "allows nothing in to_kube.allow"),
            (deny(&["blog;-;*", "sh*,x;web;-", "*;-;*"], false), "shop", "web", ""),
            (
                deny(&["blog;-;*", "sh*,x;web;-", "*;-;*"], false),
                "shop",
                "api",
                "rule 2 (namespaces: sh*, x) allows only web",
            ),
            (deny(&["blog;-;*", "sh*,x;web;-", "*;-;*"], false), "kube", "web", "rule 3 (namespaces: *) denies"),
        ] {
            let told = rules.refusal(namespace, Direction::ToKube, name);
            assert_eq!(told.is_some(), !wanted.is_empty(), "{namespace} {name} {told:?}");
            let told = told.map(|problem| problem.to_string()).unwrap_or_default();
            assert!(told.contains(wanted), "{told}");
            // Rules say nothing about the other direction unless they name it.
            let named = rules.rules.iter().any(|rule| rule.is_for(namespace));
            let other = rules.refusal(namespace, Direction::ToConsul, name);
            assert_eq!(other.is_some(), !named && rules.deny_by_default);
        }
    }

    #[test]
    fn the_problem_says_what_which_and_what_to_do() {
        let rules = Rules { rules: vec![rule("shop;-;pay*")], deny_by_default: false };
        expect_test::expect![[r#"NotAllowed: namespace shop may not be filled from the Consul name "payments": rule 1 (namespaces: shop) denies it in to_kube.deny by "pay*". Use a name that is allowed, or have the administrator of consul8s change `rules:` in its configuration file"#]]
            .assert_eq(&rules.refusal("shop", Direction::ToKube, "payments").unwrap().to_string());
    }
}
