//! The reference pages are made from the tables that the program itself uses. `UPDATE_DOCS=1 cargo test -p consul8s --test reference`
//! writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use clap::Arg;
use consul8s::metrics::{Metrics, Snapshot, Write};
use consul8s::{config_file, invocation};
use consul8s_core::intent::annotations::{Annotation, TABLE};
use consul8s_core::intent::examples::{self, Example};
use consul8s_core::problem::{Reason, ReasonKind};
use consul8s_core::settings::Direction;

const MADE: &str =
    "<!-- Made from the program's own tables: UPDATE_DOCS=1 cargo test -p consul8s --test reference -->\n";

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).expect("the page can be written");
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == text,
        "docs/reference/{name} is not what the program says; UPDATE_DOCS=1 cargo test -p consul8s --test reference"
    );
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[test]
fn flags() {
    let mut out = format!("# Commands and flags\n\n{MADE}\n");
    let command = invocation::command();
    out.push_str("| command | |\n| --- | --- |\n");
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(out, "| `{}` | {} |", sub.get_name(), cell(&about));
    }
    out.push_str("\nFlags of every command; each can also come from the environment, and from the file of `--config` by its key. A flag goes before its \
                  variable, that before the file, that before the default.\nLists: with commas, repeated, or as lists of YAML. Booleans: `true`, `false`, any case; a flag alone is \
                  `true`. Durations: `5s`, `1m30s`; a bare number is seconds.\n\n");
    table(&mut out, command.get_arguments(), true);
    for sub in command.get_subcommands().filter(|sub| sub.get_arguments().next().is_some()) {
        let _ = writeln!(out, "\nFlags of `{}` alone:\n", sub.get_name());
        table(&mut out, sub.get_arguments(), false);
    }
    out.push_str(
        "\nConsul's own variables count too: `CONSUL_HTTP_ADDR` (a list fails over), `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE`, \
         `CONSUL_HTTP_AUTH`,\n`CONSUL_HTTP_SSL`, `CONSUL_HTTP_SSL_VERIFY`, `CONSUL_CACERT`, `CONSUL_CAPATH`, `CONSUL_CLIENT_CERT`, \
         `CONSUL_CLIENT_KEY`, `CONSUL_TLS_SERVER_NAME`,\n`CONSUL_NAMESPACE`, `CONSUL_PARTITION`. A rotated token or certificate file is \
         read again within 10 s. Kubernetes: `--kube-config-path`, then `KUBECONFIG`,\nthen the pod's service account, then \
         `~/.kube/config`. A proxy (`HTTPS_PROXY`, `proxy-url`) is not used.\n\n\
         Exit codes: 0 done; 1 failure; 2 `plan --detailed-exitcode` found changes; 5 `-1` finished, but the guard holds a removal; 64 usage.\n\
         SIGINT and SIGTERM end `run` and `demo` with 0 within 5 s.\n",
    );
    check("flags.md", &out);
}

fn table<'a>(out: &mut String, args: impl Iterator<Item = &'a Arg>, in_file: bool) {
    let (head, rule) = if in_file { ("key | ", "--- | ") } else { ("", "") };
    let _ = writeln!(out, "| flag | environment | {head}default | meaning |\n| --- | --- | {rule}--- | --- |");
    for arg in args.filter(|arg| !["help", "version"].contains(&arg.get_id().as_str())) {
        let mut names: Vec<String> = arg.get_short().map(|short| format!("`-{short}`")).into_iter().collect();
        names.extend(arg.get_long().map(|long| format!("`--{long}`")));
        names.extend(arg.get_visible_aliases().unwrap_or_default().iter().map(|alias| format!("`--{alias}`")));
        let env = arg.get_env().map(|env| format!("`{}`", env.to_string_lossy())).unwrap_or_default();
        let key = match arg.get_long().filter(|long| *long != "config") {
            Some(long) if in_file => format!("`{}` | ", config_file::camel_case(long)),
            _ if in_file => " | ".to_owned(),
            _ => String::new(),
        };
        let takes_value = arg.get_action().takes_values();
        let defaults: Vec<String> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
        let default = if takes_value { defaults.join(",") } else { String::new() };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let possible: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|_| takes_value && !arg.is_hide_possible_values_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let possible = if possible.is_empty() { String::new() } else { format!(" ({})", possible.join(", ")) };
        let _ = writeln!(out, "| {} | {env} | {key}{} | {}{possible} |", names.join(", "), cell(&default), cell(&help));
    }
}

#[test]
fn annotations() {
    let mut out = format!("# Labels and annotations\n\n{MADE}\n");
    out.push_str(
        "| label | meaning |\n| --- | --- |\n\
         | `consul8s_source: consul` | fill this selector-less Service's endpoints from Consul (to_kube) |\n\
         | `registration: consul` | the same; other values of `registration` are somebody else's and ignored |\n\
         | `consul8s_source: kubernetes` | register this Service in Consul (to_consul) |\n\
         | `consul8s_source: none` | left alone |\n\n\
         Lists are comma-separated, trimmed, empty elements dropped. Durations: `5s`, `1m30s`; a bare number is seconds. Booleans: `true`, \
         `false`, any case.\nA value that is not accepted is the problem `InvalidAnnotation` of that Service alone; the last valid settings stay in \
         force.\n",
    );
    for (title, directions) in [
        ("Both directions", [Direction::ToKube, Direction::ToConsul].as_slice()),
        ("Consul → Kubernetes", &[Direction::ToKube]),
        ("Kubernetes → Consul", &[Direction::ToConsul]),
    ] {
        let _ = writeln!(out, "\n## {title}\n");
        out.push_str(
            "| annotation | default | accepted | meaning | refused, for example |\n| --- | --- | --- | --- | --- |\n",
        );
        for row in TABLE.iter().filter(|row| row.directions == directions) {
            let Annotation { key, prefix, default, accepts, meaning, good, bad, directions: _ } = row;
            let suffix = if *prefix { "KEY" } else { "" };
            let bad = bad.map(|(value, why)| format!("`{}`: …{why}…", cell(value))).unwrap_or_default();
            let _ = writeln!(
                out,
                "| `{key}{suffix}` | {} | {}, such as `{}` | {} | {bad} |",
                cell(default),
                cell(accepts),
                cell(good),
                cell(meaning)
            );
        }
    }
    by_example(&mut out);
    check("annotations.md", &out);
}

/// What is accepted and refused: the values that the tests play with.
fn by_example(out: &mut String) {
    out.push_str(
        "\n## Accepted and refused, by example\n\nThe tests of the parsers and of the running program are made from this table. `\\u{7}` and the like \
         stand for control characters,\n`(empty)` for no text at all. The Service has the ports `http` (80) and `metrics` (9100).\n\n\
         | annotation | accepted | refused: reason, and a part of the message |\n| --- | --- | --- |\n",
    );
    let shown = |value: &str| match value {
        "" => "(empty)".to_owned(),
        value => format!("`{}`", cell(&value.escape_debug().to_string().replace("\\\"", "\""))),
    };
    for Example { key, accepted, refused } in examples::EXAMPLES {
        let accepted: Vec<String> = accepted.iter().map(|value| shown(value)).collect();
        let refused: Vec<String> =
            refused.iter().map(|(value, reason, why)| format!("{}: `{reason}`, {}", shown(value), cell(why))).collect();
        let suffix = if key.ends_with('.') { "KEY" } else { "" };
        let _ = writeln!(out, "| `{key}{suffix}` | {} | {} |", accepted.join("; "), refused.join("<br>"));
    }
}

#[test]
fn reasons() {
    let mut out = format!("# Reasons\n\n{MADE}\nWhat Events, the log and `consul8s_problems` call things.\n\n");
    out.push_str("| reason | kind | meaning |\n| --- | --- | --- |\n");
    for reason in Reason::ALL {
        let kind = match reason.kind() {
            ReasonKind::Normal => "Normal",
            ReasonKind::Warning => "Warning",
        };
        let _ = writeln!(out, "| `{reason}` | {kind} | {} |", cell(reason.meaning()));
    }
    check("reasons.md", &out);
}

/// One sample of each, so that all show.
fn all_metrics() -> String {
    let metrics = Metrics::new();
    let (to_kube, second) = (Direction::ToKube, std::time::Duration::from_secs(1));
    metrics.audit_took(second);
    metrics.propagated(to_kube, second);
    metrics.reconciled(to_kube, second);
    metrics.succeeded(to_kube, 1.0);
    metrics.wrote(Write { target: "slice", action: "create", result: "ok" });
    metrics.asked_consul("health", "ok");
    metrics.encode(&Snapshot {
        services: vec![(to_kube, "synced", 1)],
        problems: vec![(Reason::NoAddress, 1)],
        dropped: vec![(to_kube, "port", 1)],
        held: vec![(to_kube, 1)],
        pending: vec![(to_kube, "create", 1)],
        ..Snapshot::default()
    })
}

/// Names of the labels of a metric, but those that its kind brings along.
fn labels(text: &str, name: &str) -> String {
    let sample = text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let rest = ["_total", "_bucket", "_info", ""]
            .into_iter()
            .find_map(|suffix| rest.strip_prefix(suffix)?.strip_prefix('{'))?;
        rest.split_once('}').map(|(labels, _)| labels)
    });
    let names = sample.unwrap_or_default().split(',').filter_map(|label| label.split_once('=')).map(|(name, _)| name);
    names.filter(|name| *name != "le").map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn metrics() {
    let text = all_metrics();
    let mut out = format!(
        "# Metrics\n\n{MADE}\nAt `/metrics` of the admin listener, and with `--prometheus` on port 8000 (`/metrics` and `/`). Names as a \
         scrape shows them; a histogram has\n`_bucket`, `_count` and `_sum`. No label carries free text or an address.\n\n\
         | metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"
    );
    let lines = |word: &'static str| {
        text.lines().filter_map(move |line| line.strip_prefix(word)).filter_map(|rest| rest.split_once(' '))
    };
    for (name, help) in lines("# HELP ") {
        let kind = lines("# TYPE ").find(|(other, _)| *other == name).map_or("", |(_, kind)| kind);
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let _ = writeln!(out, "| `{name}{suffix}` | {kind} | {} | {} |", labels(&text, name), cell(help));
    }
    out.push_str(METRIC_VALUES);
    check("metrics.md", &out);
}

const METRIC_VALUES: &str = "
Values of labels: `direction` is `to_kube` or `to_consul`; `state` is `synced`, `pending`, `problem`, `held`, `suspended` or `panic`; `reason` of
`consul8s_problems` is one of [the reasons](reasons.md), that of `consul8s_instances_dropped` is `port`, `address` (never published), `denied` (by `--deny-cidr` or
`--allow-cidr`), `unresolvable`, `family`, `name`, `duplicate` or `loop`; `target` is `slice`, `service` or `registration`; `action` is `create`, `update`, `delete`, and
for registrations also `check` and `node`; `result` and `code` are `ok` or the kind of the failure; `operation` is the call to Consul; `source` is `consul` or
`kubernetes`; `transport` is `http1` or `http2`; `ready` is `true` or `false`.
";
