//! From arguments, environment and configuration file to one [`Cli`]. A flag goes before its variable, that before the file, that before
//! the default.
//!
//! There is one table of flags: the arguments that [`Cli`] declares. What the file says becomes their defaults, so that each value goes
//! through the same reader wherever it comes from.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{Resettable, ValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};

use crate::cli::{self, Cli};
use crate::config::Environment;
use crate::config_file::{self, ConfigFile};
use crate::flag_values::{PolicyArg, boolean};

/// The command line as it is read: what [`Cli`] declares, with every switch taking `true` and `false` too.
#[must_use]
pub fn command() -> Command {
    let switch = |arg: Arg| {
        if !matches!(arg.get_action(), ArgAction::SetTrue) {
            return arg;
        }
        arg.action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_name("BOOL")
            .default_value("false")
            .default_missing_value("true")
            .value_parser(ValueParser::new(boolean))
            .hide_possible_values(true)
    };
    // An empty variable is as good as none.
    let there = move |arg: Arg| {
        let empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if empty { arg.env(Resettable::Reset) } else { arg }
    };
    let tidy = move |command: Command| command.mut_args(move |arg| there(switch(arg)));
    tidy(Cli::command()).mut_subcommands(|sub| match sub.get_name() {
        "run" => tidy(sub),
        "demo" => sub.mut_args(there),
        _ => sub,
    })
}

/// Reads all three.
///
/// # Errors
/// What is wrong, where it stands, and what is accepted: for [`clap::Error::print`].
pub fn read(arguments: impl IntoIterator<Item = OsString>, env: Environment<'_>) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = command().try_get_matches_from(&arguments)?;
    let Some(path) = matches.get_one::<PathBuf>("config") else {
        return settle(&matches, None, env);
    };
    let usage = |why: String| command().error(ErrorKind::ValueValidation, why);
    let file = config_file::read(path, &command()).map_err(usage)?;
    let matches = with_defaults(command(), &file).try_get_matches_from(&arguments)?;
    settle(&matches, Some(&file), env)
}

fn with_defaults(command: Command, file: &ConfigFile) -> Command {
    let given = |mut command: Command| {
        for (id, value) in &file.values {
            if command.get_arguments().any(|arg| arg.get_id() == id.as_str()) {
                // Read once, and needed as long as the process lives.
                let value: &'static str = Box::leak(value.clone().into_boxed_str());
                command = command.mut_arg(id.clone(), |arg| arg.default_value(value));
            }
        }
        command
    };
    given(command).mut_subcommands(|sub| if sub.get_name() == "run" { given(sub) } else { sub })
}

/// Where a value comes from, the strongest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    Default,
    File,
    Environment,
    Flag,
}

struct Sources<'a> {
    matches: &'a ArgMatches,
    in_file: BTreeSet<&'a str>,
}

impl Sources<'_> {
    fn of(&self, id: &str) -> From {
        match self.matches.value_source(id) {
            Some(ValueSource::CommandLine) => From::Flag,
            Some(ValueSource::EnvVariable) => From::Environment,
            _ if self.in_file.contains(id) => From::File,
            _ => From::Default,
        }
    }
}

/// Has the stronger source win where two flags are about one thing.
fn settle(matches: &ArgMatches, file: Option<&ConfigFile>, env: Environment<'_>) -> Result<Cli, clap::Error> {
    let mut cli = Cli::from_arg_matches(matches)?;
    let in_file = file.into_iter().flat_map(|file| file.values.keys()).map(String::as_str).collect();
    let sources = Sources { matches, in_file };
    let usage = |why: &str| Err(command().error(ErrorKind::ArgumentConflict, why));
    let flags = &mut cli.flags;

    if flags.all_namespaces && !flags.namespace.is_empty() {
        match sources.of("all_namespaces").cmp(&sources.of("namespace")) {
            std::cmp::Ordering::Less => flags.all_namespaces = false,
            std::cmp::Ordering::Greater => flags.namespace.clear(),
            std::cmp::Ordering::Equal => {
                return usage("--all-namespaces and --namespace contradict each other: leave out one of them");
            }
        }
    }
    if flags.dry_run && sources.of("dry_run") >= sources.of("policy") {
        let same = sources.of("dry_run") == sources.of("policy");
        if same && flags.policy != PolicyArg::Observe {
            return usage("--dry-run is --policy observe, and another policy is given: leave out one of them");
        }
        flags.policy = PolicyArg::Observe;
    }
    // Variables that others gave their names are environment too.
    let set = |name: &str| env(name).is_some_and(|value| !value.trim().is_empty());
    if sources.of("consul") == From::File && set("CONSUL_HTTP_ADDR") {
        flags.consul.clear();
    }
    if sources.of("kubeconfig") == From::File && set("KUBECONFIG") {
        flags.kubeconfig = None;
    }
    flags.rules = file.map(|file| file.rules.clone()).unwrap_or_default();

    // `-1` may stand before and after the word `run`.
    if let (Some(cli::Command::Run(args)), Some(("run", inner))) = (&mut cli.command, matches.subcommand()) {
        let here = Sources { matches: inner, in_file: sources.in_file.clone() }.of("run_once");
        if here < sources.of("run_once") {
            *args = cli.run;
        }
    } else if cli.command.is_none() {
        cli.command = Some(cli::Command::Run(cli.run));
    }
    Ok(cli)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::LogLevel;

    fn with(file: Option<&str>, args: &[&str], env: &[(&str, &str)]) -> Result<Cli, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("consul8s.yaml");
        let mut all: Vec<OsString> = vec!["consul8s".into()];
        if let Some(text) = file {
            std::fs::write(&path, text).unwrap();
            all.extend(["--config".into(), path.clone().into()]);
        }
        all.extend(args.iter().map(OsString::from));
        let look_up = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        read(all, &look_up).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "FILE"))
    }

    #[test]
    fn the_table_of_flags_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn switches_take_true_and_false() {
        for (args, wanted) in [
            (&[][..], (false, false)),
            (&["-1p"], (true, true)),
            (&["-p1"], (true, true)),
            (&["-p", "-1"], (true, true)),
            (&["--prometheus=TRUE", "run", "--once=False"], (false, true)),
            (&["-1", "run"], (true, false)),
            (&["run", "-1", "--prometheus=false"], (true, false)),
            (&["-1", "run", "--run-once=false"], (false, false)),
        ] {
            let cli = with(None, args, &[]).unwrap();
            let Some(cli::Command::Run(run)) = cli.command else { panic!("{args:?}") };
            assert_eq!((run.run_once, cli.flags.prometheus), wanted, "{args:?}");
        }
        assert!(with(None, &["--prometheus=yes"], &[]).unwrap_err().contains("write true or false"));
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let file = "interval: 5m\nnamespace: [shop, blog]\nlogLevel: debug\nprometheus: true\nrunOnce: true\npanicThreshold: 30\n";
        let cli = with(Some(file), &[], &[]).unwrap();
        assert_eq!(cli.flags.interval.as_secs(), 300);
        assert_eq!(cli.flags.namespace, ["shop", "blog"]);
        assert_eq!((cli.flags.log_level, cli.flags.prometheus), (LogLevel::Debug, true));
        assert_eq!((cli.flags.panic_threshold, cli.flags.removal_hold.as_secs()), (30, 60));
        assert!(matches!(cli.command, Some(cli::Command::Run(run)) if run.run_once));
        let args = ["-i", "7", "-n", "a", "--log-level", "warn", "--prometheus=false", "run", "--once=false"];
        let cli = with(Some(file), &args, &[]).unwrap();
        assert_eq!((cli.flags.interval.as_secs(), cli.flags.prometheus), (7, false));
        assert_eq!(
            (cli.flags.namespace.as_slice(), cli.flags.log_level),
            (["a".to_owned()].as_slice(), LogLevel::Warn)
        );
        assert!(matches!(cli.command, Some(cli::Command::Run(run)) if !run.run_once));
    }

    #[test]
    fn the_stronger_source_decides_between_flags_about_one_thing() {
        let of = |file: &str, args: &[&str], env: &[(&str, &str)]| with(Some(file), args, env).map(|cli| cli.flags);
        assert_eq!(of("allNamespaces: true", &["-n", "a"], &[]).unwrap().namespace, ["a"]);
        assert!(!of("allNamespaces: true", &["-n", "a"], &[]).unwrap().all_namespaces);
        let all = of("namespace: a", &["-A"], &[]).unwrap();
        assert!(all.all_namespaces && all.namespace.is_empty());
        assert!(of("namespace: a\nallNamespaces: true", &[], &[]).unwrap_err().contains("contradict"));
        assert!(of("", &["-A", "-n", "a"], &[]).unwrap_err().contains("contradict"));

        assert_eq!(of("policy: upsert-only", &["--dry-run"], &[]).unwrap().policy, PolicyArg::Observe);
        assert_eq!(of("dryRun: true", &[], &[]).unwrap().policy, PolicyArg::Observe);
        assert_eq!(of("dryRun: true", &["--policy", "sync"], &[]).unwrap().policy, PolicyArg::Sync);
        assert!(of("", &["--dry-run", "--policy", "sync"], &[]).unwrap_err().contains("--dry-run"));
        assert!(of("", &["--dry-run", "--policy", "observe"], &[]).is_ok());

        let file = "consul: [file:1, file:2]\nkubeConfigPath: /file";
        let flags = of(file, &[], &[]).unwrap();
        assert_eq!((flags.consul.len(), flags.kubeconfig), (2, Some("/file".into())));
        let flags = of(file, &[], &[("CONSUL_HTTP_ADDR", "env:1"), ("KUBECONFIG", "/env")]).unwrap();
        assert!(flags.consul.is_empty() && flags.kubeconfig.is_none());
        let flags =
            of(file, &["-c", "flag:1", "-k", "/flag"], &[("CONSUL_HTTP_ADDR", "env:1"), ("KUBECONFIG", "/env")]);
        let flags = flags.unwrap();
        assert_eq!((flags.consul, flags.kubeconfig), (vec!["flag:1".to_owned()], Some("/flag".into())));
    }

    #[test]
    fn what_is_wrong_in_the_file_is_told_with_its_place_and_what_is_accepted() {
        for (file, parts) in [
            ("intervall: 5", &["FILE: intervall", "unknown key", "nearest: interval"][..]),
            ("interval: soon", &["FILE: interval", "soon", "1m30s"]),
            ("logLevel: infos", &["FILE: logLevel", "infos", "info, debug"]),
            ("prometheus: 3", &["FILE: prometheus", "true or false"]),
            ("direction: to_cube", &["FILE: direction", "nearest: to_kube"]),
            ("denyCidr: [10.0.0.0/8, x]", &["FILE: denyCidr", "10.1.2.3"]),
            ("interval: [1, 2]", &["FILE: interval", "one value"]),
            ("interval: {a: 1}", &["FILE: interval", "one value"]),
            ("- a", &["FILE", "keys with values"]),
            ("a: [", &["FILE"]),
            ("config: x", &["FILE: config", "unknown key"]),
            ("kubeconfig: /a\nkubeConfigPath: /b", &["FILE: kubeconfig", "twice"]),
            ("interval: 5\ninterval: 6", &["FILE", "interval"]),
            ("rules: {}", &["FILE: rules", "a list"]),
            ("rules: [{namespaces: [a], to_cube: {}}]", &["FILE: rules[0].to_cube", "unknown key", "nearest: to_kube"]),
            ("rules: [{namespaces: [a], to_kube: {alow: x}}]", &["FILE: rules[0].to_kube.alow", "nearest: allow"]),
            ("rules: [{namespaces: []}]", &["FILE: rules[0].namespaces", "at least one"]),
            ("rules: [{namespaces: a, to_kube: {deny: {}}}]", &["FILE: rules[0].to_kube.deny", "a list"]),
            ("defaultRule: block", &["FILE: defaultRule", "block", "allow or deny"]),
        ] {
            let told = with(Some(file), &[], &[]).unwrap_err();
            parts.iter().for_each(|part| assert!(told.contains(part), "{part:?} in {told}"));
        }
        let told = with(Some(&"# a comment\n".repeat(100_000)), &[], &[]).unwrap_err();
        assert!(told.contains("too large for a configuration"), "{told}");
        let told = with(None, &["--config", "/no/such/file"], &[]).unwrap_err();
        assert!(told.contains("/no/such/file"), "{told}");
    }

    #[test]
    fn every_flag_has_a_key_and_takes_its_default_from_there() {
        for (key, id) in config_file::keys(&command()) {
            let command = command();
            let arg = command.get_arguments().find(|arg| arg.get_id() == id.as_str()).expect("a flag");
            let Some(default) = arg.get_default_values().first() else { continue };
            let file = format!("{key}: \"{}\"", default.to_str().unwrap());
            assert!(with(Some(&file), &[], &[]).is_ok(), "{file}");
        }
        assert!(with(Some("adminAddress: off\nmassRemovalHold: never\nremovalHold: 5\n"), &[], &[]).is_ok());
        assert!(with(Some(""), &[], &[]).is_ok() && with(Some("# nothing\n"), &[], &[]).is_ok());
    }

    #[test]
    fn rules_are_read_as_they_stand() {
        let file = "
            defaultRule: deny
            rules:
            - namespaces: [shop, team-*]
              to_kube: {allow: [web, 'api-*'], deny: api-internal}
              to_consul: {allow: []}
            - namespaces: blog, news
            - to_kube: {deny: ['*']}
        ";
        let rules = with(Some(file), &[], &[]).unwrap().flags.rules;
        assert!(rules.deny_by_default && rules.rules.len() == 3);
        assert_eq!(rules.rules[0].namespaces.len(), 2);
        assert_eq!(rules.rules[0].to_kube.allow.as_ref().map(Vec::len), Some(2));
        assert_eq!(rules.rules[0].to_kube.deny.len(), 1);
        assert_eq!(rules.rules[0].to_consul.allow.as_ref().map(Vec::len), Some(0));
        assert_eq!(rules.rules[1].namespaces.len(), 2);
        assert!(rules.rules[2].namespaces[0].matches("anything"), "without namespaces it is for all");
        assert!(!with(Some("defaultRule: allow"), &[], &[]).unwrap().flags.rules.deny_by_default);
    }
}
