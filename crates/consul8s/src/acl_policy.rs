//! `acl-policy`: the least Consul ACL policy with which everything works for the given directions and node.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use consul8s_core::settings::{Direction, Policy};

use crate::commands::Exit;
use crate::config::Options;
use crate::{out, run};
use consul8s_kube::Kube;
use tokio_util::sync::CancellationToken;

/// Prints it. The cluster is asked only where the name of our node depends on it.
///
/// # Errors
/// The cluster can't say who it is.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<Exit> {
    let node = match options.node_name_alone() {
        Some(name) => name,
        None if !options.directions.contains(&Direction::ToConsul) || options.observes() => String::new(),
        None => {
            let told =
                "the name of our node follows from the cluster, unless --consul-node-name or --owner-id is given";
            let connection = options.access.connect().await.map_err(|why| anyhow::anyhow!("{told}: {why}"))?;
            let uid = run::cluster_uid(&Kube::new(&connection), true, &stop, || ()).await;
            let uid = uid.map_err(|why| why.context(told))?;
            let Some(uid) = uid else { return Ok(Exit::Failure) };
            options.settings(&uid, &connection.namespace).consul_node_name
        }
    };
    out::text(policy(&options.directions, options.policy(), &node));
    Ok(Exit::Done)
}

/// The policy.
#[must_use]
pub fn policy(directions: &BTreeSet<Direction>, how: Policy, node: &str) -> String {
    let mut out = String::from(
        "# What consul8s needs. consul acl policy create -name consul8s -rules @FILE\n\
         # (with -namespace and -partition where it has any).\n",
    );
    let registers = directions.contains(&Direction::ToConsul) && how != Policy::Observe;
    rule(&mut out, "Which instances there are, and on which nodes.", "node_prefix", "", "read");
    if registers {
        rule(&mut out, "Services are registered under names that their authors choose.", "service_prefix", "", "write");
        rule(&mut out, "Our own nodes: this one, and -2, -3, … after it.", "node_prefix", node, "write");
        // Only a removal is ever written there.
        if how == Policy::Sync {
            originals(&mut out);
        }
    } else {
        rule(&mut out, "Any service may be asked for.", "service_prefix", "", "read");
    }
    out
}

fn originals(out: &mut String) {
    rule(
        out,
        "Nodes that the Python original made. Only for moving from it: take this out afterwards.",
        "node_prefix",
        "kubernetes-",
        "write",
    );
}

fn rule(out: &mut String, why: &str, kind: &str, name: &str, policy: &str) {
    let name: String =
        name.chars().flat_map(|c| [Some('\\').filter(|_| matches!(c, '"' | '\\')), Some(c)]).flatten().collect();
    // Writing to a String can't fail.
    let _ = write!(out, "\n# {why}\n{kind} \"{name}\" {{\n  policy = \"{policy}\"\n}}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(directions: &[Direction], node: &str) -> Vec<String> {
        let policy = policy(&directions.iter().copied().collect(), Policy::Sync, node);
        let one_line = policy.replace(" {\n  ", " { ").replace("\n}", " }");
        one_line.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn reading_is_enough_for_one_direction() {
        assert_eq!(
            rules(&[Direction::ToKube], "n"),
            ["node_prefix \"\" { policy = \"read\" }", "service_prefix \"\" { policy = \"read\" }"]
        );
    }

    #[test]
    fn only_our_nodes_are_written() {
        for directions in [[Direction::ToConsul].as_slice(), &[Direction::ToKube, Direction::ToConsul]] {
            assert_eq!(
                rules(directions, "consul8s-a\"b"),
                [
                    "node_prefix \"\" { policy = \"read\" }",
                    "service_prefix \"\" { policy = \"write\" }",
                    "node_prefix \"consul8s-a\\\"b\" { policy = \"write\" }",
                    "node_prefix \"kubernetes-\" { policy = \"write\" }",
                ]
            );
        }
    }

    #[test]
    fn policies_take_rights_away() {
        let both = BTreeSet::from([Direction::ToKube, Direction::ToConsul]);
        assert!(!policy(&both, Policy::Observe, "n").contains("write"));
        assert!(!policy(&both, Policy::UpsertOnly, "n").contains("kubernetes-"));
        assert!(policy(&both, Policy::UpsertOnly, "n").contains("write"));
    }
}
