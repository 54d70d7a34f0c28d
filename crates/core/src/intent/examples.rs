//! For every annotation values that are accepted, and values that are refused with their reason and a part of the message. The reference
//! prints them, and the tests of the parsers and of the running program are made from them.

use crate::names;
use crate::problem::Reason;

/// Values of one annotation.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// The key, as [`TABLE`](super::annotations::TABLE) has it.
    pub key: &'static str,
    /// What is accepted.
    pub accepted: &'static [&'static str],
    /// What is refused: the value, the reason, and a part of the message.
    pub refused: &'static [(&'static str, Reason, &'static str)],
}

const BAD: Reason = Reason::InvalidAnnotation;

const fn example(
    key: &'static str,
    accepted: &'static [&'static str],
    refused: &'static [(&'static str, Reason, &'static str)],
) -> Example {
    Example { key, accepted, refused }
}

/// Values of the same kind are refused for the same reasons.
const WORD: &[(&str, Reason, &str)] = &[
    ("", BAD, "is not a name of letters, digits, '-', '_' and '.'"),
    ("a b", BAD, "is not a name of letters"),
    ("a/b", BAD, "is not a name of letters"),
    ("dc1?token=x", BAD, "is not a name of letters"),
    ("dc1\u{7}", BAD, "is not a name of letters"),
];
const YES_OR_NO: &[(&str, Reason, &str)] = &[
    ("yes", BAD, "is neither true nor false"),
    ("1", BAD, "is neither true nor false"),
    ("", BAD, "is neither true nor false"),
];

/// All of them, in the order of the table of annotations. The Service has the ports `http` (80) and `metrics` (9100).
pub const EXAMPLES: &[Example] = &[
    example(
        names::SERVICE_NAME,
        &["payments", "Payments_2.eu", "pay/ments", "mit Umlaut ä"],
        &[
            ("", BAD, "is blank"),
            (" ", BAD, "is blank"),
            (".", BAD, "reads it as a path"),
            ("..", BAD, "reads it as a path"),
            ("pay\nments", BAD, "holds control characters"),
        ],
    ),
    example(names::SERVICE_TAGS, &["v2", " v2 , blue ,", ""], &[]),
    example(names::SUSPEND, &["true", "TRUE", "False", " true "], YES_OR_NO),
    example(names::ALLOW_REMOVAL, &["true", "h-3f9a2c"], &[]),
    example(names::SERVICE_DATACENTER, &["dc2", "eu-west_1.a"], WORD),
    example(
        names::SERVICE_FAILOVER,
        &["dc2, dc3", "dc2,,dc2", ""],
        &[("dc/2", BAD, "is not a name of letters"), ("dc2, d c", BAD, "is not a name of letters")],
    ),
    example(names::SERVICE_NAMESPACE, &["team-a"], WORD),
    example(names::SERVICE_PARTITION, &["edge"], WORD),
    example(names::SERVICE_PEER, &["cloud-west"], WORD),
    example(
        names::SERVICE_FILTER,
        &["Service.Meta.version == 2", "\"a\" in Service.Tags and Node.Meta.rack != \"7\""],
        &[("", BAD, "is blank"), (" ", BAD, "is blank")],
    ),
    example(
        names::SERVICE_HEALTH,
        &["passing", "warning", "any", " any "],
        &[
            ("critical", BAD, "is none of passing, warning, any"),
            ("Passing", BAD, "is none of passing, warning, any"),
            ("", BAD, "is none of passing, warning, any"),
        ],
    ),
    example(
        names::SERVICE_PORTS,
        &[
            "http=default, metrics=meta:metrics_port",
            "80=8080",
            " http = port:web ,",
            "http=1, metrics=65535, soon=meta:a b",
            "",
        ],
        &[
            ("http=70000", BAD, "which is not a port between 1 and 65535"),
            ("http=0", BAD, "which is not a port between 1 and 65535"),
            ("http=-1", BAD, "which is not a port between 1 and 65535"),
            ("http=+80", BAD, "which is not a port between 1 and 65535"),
            ("http=0x50", BAD, "which is not a port between 1 and 65535"),
            ("http", BAD, "which is not PORT=SOURCE"),
            ("http=", BAD, "which is not a port between 1 and 65535"),
            ("http=Default", BAD, "which is not a port between 1 and 65535"),
            ("http=meta:", BAD, "has meta: without a name"),
            ("http=port:", BAD, "has port: without a name"),
            ("http=1, 80=2", BAD, "names port \"80\" twice"),
            ("81=default", BAD, "names port 81, which the Service doesn't have"),
            ("Web=default", BAD, "names port \"Web\", which no Service can have"),
            ("=default", BAD, "which no Service can have"),
        ],
    ),
    example(
        names::SERVICE_TAGGED_ADDRESS,
        &["wan", "lan", "virtual"],
        &[("", BAD, "is blank"), (" ", BAD, "is blank")],
    ),
    example(
        names::SERVICE_PANIC_THRESHOLD,
        &["50", "0", "100", "30%"],
        &[
            ("101", BAD, "is not a percentage between 0 and 100"),
            ("-1", BAD, "is not a percentage between 0 and 100"),
            ("half", BAD, "is not a percentage between 0 and 100"),
            ("0.5", BAD, "is not a percentage between 0 and 100"),
            ("", BAD, "is not a percentage between 0 and 100"),
        ],
    ),
    example(
        names::SERVICE_MAX_STALENESS,
        &["10s", "5m", "1m30s", "90", "10000ms"],
        &[
            ("5s", BAD, "is less than the 10s that it must have"),
            ("9", BAD, "is less than the 10s that it must have"),
            ("0", BAD, "is less than the 10s that it must have"),
            ("soon", BAD, "is not a duration such as 30s or 1m30s"),
            ("-10s", BAD, "is not a duration such as 30s or 1m30s"),
            ("1.5m", BAD, "is not a duration such as 30s or 1m30s"),
            ("", BAD, "is not a duration such as 30s or 1m30s"),
        ],
    ),
    example(names::SERVICE_ID, &["shop-web"], &[(" ", BAD, "is blank"), ("..", BAD, "reads it as a path")]),
    example(
        names::SERVICE_PORT_NAME,
        &["http", " metrics "],
        &[
            ("grpc", Reason::PortNameNotFound, "has no port named \"grpc\": its ports are http, metrics"),
            ("80", Reason::PortNameNotFound, "has no port named \"80\""),
            ("", Reason::PortNameNotFound, "has no port named \"\""),
        ],
    ),
    example(names::SERVICE_META_PREFIX, &["blue", ""], &[]),
    example(
        names::SERVICE_WEIGHT,
        &["1", "65535", " 10 "],
        &[
            ("0", BAD, "is not a weight between 1 and 65535"),
            ("65536", BAD, "is not a weight between 1 and 65535"),
            ("+1", BAD, "is not a weight between 1 and 65535"),
        ],
    ),
    example(names::SERVICE_REMOVE_REGISTRATION, &["true", "False"], YES_OR_NO),
    example(names::SERVICE_ON_DELETE, &["deregister", "keep"], &[("leave", BAD, "is none of deregister, keep")]),
    example(
        names::SERVICE_ADDRESS,
        &["10.1.2.3", "fd00::1, foo.example.com", "FD00:0:0::1"],
        &[
            ("010.0.0.1", BAD, "is neither an IP address nor a DNS name"),
            ("10.0.0.1:80", BAD, "is neither an IP address nor a DNS name"),
            ("127.0.0.1", BAD, "is never registered (loopback)"),
            ("10.1.2.3, 169.254.169.254", BAD, "is never registered (cloud metadata)"),
            ("::ffff:127.0.0.1", BAD, "is never registered (loopback)"),
        ],
    ),
    example(
        names::SERVICE_ADDRESS_SOURCE,
        &["auto", "load_balancer", "external_ip", "node_port", "cluster_ip", "endpoints"],
        &[("pods", BAD, "is none of auto, load_balancer"), ("", BAD, "is none of auto, load_balancer")],
    ),
    example(
        names::SERVICE_NODE_ADDRESS,
        &["external_first", "internal", "external"],
        &[("public", BAD, "is none of external_first, internal, external")],
    ),
    example(
        names::DOMAIN_NAME,
        &["foo.example.com", ".foo.example.com.", "a.example.com,b.example.com"],
        &[("http://foo.example.com", BAD, "is neither an IP address nor a DNS name")],
    ),
    example(names::EXTERNAL_DNS[0], &["foo.example.com"], &[]),
    example(names::EXTERNAL_DNS[1], &["foo.example.com"], &[]),
];

/// The examples of a key.
#[must_use]
pub fn of(key: &str) -> Option<&'static Example> {
    EXAMPLES.iter().find(|example| example.key == key)
}

#[cfg(test)]
mod tests {
    use crate::intent::annotations::{Annotation, TABLE};
    use crate::intent::{Intent, parse};
    use crate::kube::KubeService;
    use crate::problem::Problem;
    use crate::settings::Direction;
    use crate::world::{World, settings};

    use super::*;

    /// What a Service of this direction asks for with this value, and all that is said about it.
    fn asked(direction: Direction, row: &Annotation, value: &str) -> (Intent, Vec<Problem>) {
        let source = match direction {
            Direction::ToKube => "consul",
            Direction::ToConsul => "kubernetes",
        };
        let text = format!("kube: service shop/foo source={source} port http 80 port metrics 9100");
        let mut service: KubeService = World::parse(&text).unwrap().services.remove(0);
        let key = if row.prefix { format!("{}version", row.key) } else { row.key.to_owned() };
        service.annotations.insert(key, value.to_owned());
        let parsed = parse(&service, &settings());
        (parsed.intent, parsed.problems)
    }

    #[test]
    fn every_annotation_has_examples_in_the_order_of_the_table() {
        let keys: Vec<&str> = EXAMPLES.iter().map(|example| example.key).collect();
        let table: Vec<&str> = TABLE.iter().map(|row| row.key).collect();
        assert_eq!(keys, table);
        for row in TABLE {
            let example = of(row.key).unwrap();
            assert!(!example.accepted.is_empty(), "{}", row.key);
            assert!(row.bad.is_none() || !example.refused.is_empty(), "{}", row.key);
        }
    }

    #[test]
    fn what_is_accepted_says_nothing() {
        for row in TABLE {
            for (direction, value) in each(row, of(row.key).unwrap().accepted) {
                let (intent, problems) = asked(direction, row, value);
                assert!(problems.is_empty(), "{} {value:?}: {problems:?}", row.key);
                assert!(!matches!(intent, Intent::Frozen(_) | Intent::None(_)), "{} {value:?}: {intent:?}", row.key);
            }
        }
    }

    #[test]
    fn what_is_refused_says_why_and_freezes() {
        for row in TABLE {
            for (direction, (value, reason, why)) in each(row, of(row.key).unwrap().refused) {
                let (intent, problems) = asked(direction, row, value);
                assert_eq!(intent, Intent::Frozen(Some(direction)), "{} {value:?}", row.key);
                let [problem] = problems.as_slice() else { panic!("{} {value:?}: {problems:?}", row.key) };
                assert_eq!(problem.reason, *reason, "{} {value:?}", row.key);
                assert!(problem.message.contains(why), "{} {value:?}: {}", row.key, problem.message);
                assert!(problem.message.contains(row.key), "it names the annotation: {}", problem.message);
                assert!(!problem.message.contains(char::is_control), "{:?}", problem.message);
            }
        }
    }

    fn each<'a, T>(row: &'a Annotation, values: &'a [T]) -> impl Iterator<Item = (Direction, &'a T)> {
        row.directions.iter().flat_map(move |direction| values.iter().map(move |value| (*direction, value)))
    }
}
