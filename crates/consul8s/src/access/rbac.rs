//! `rbac`: a ServiceAccount with the least rights for the given scope and directions, as YAML.

use std::fmt::Write as _;

use consul8s_core::kube::{ObjectKey, Scope};
use consul8s_kube::ConnectError;

use super::{Grant, Needs, Place, grants};
use crate::cli::RbacArgs;
use crate::commands::Exit;
use crate::config::Options;
use crate::out;

/// Prints them. No server is asked; the kubeconfig is read where the namespace of the Lease follows from it.
///
/// # Errors
/// A kubeconfig that can't be used.
pub async fn run(options: &Options, args: RbacArgs) -> anyhow::Result<Exit> {
    let lease = match options.lease_wanted() {
        (_, Some(namespace)) => options.lease(namespace),
        (_, None) => match options.access.connect().await {
            Ok(connection) => options.lease(&connection.namespace),
            Err(ConnectError::NoWay { .. }) => options.lease("default"),
            Err(error) => return Err(error.into()),
        },
    };
    out::text(manifest(options, args, &lease));
    Ok(Exit::Done)
}

fn manifest(options: &Options, args: RbacArgs, lease: &ObjectKey) -> String {
    let needs = Needs {
        directions: options.directions.clone(),
        policy: options.policy(),
        adopt_endpoints: options.adopts_endpoints(),
        imports: args.imports,
        namespaced: matches!(options.scope, Scope::Namespaces(_)),
        lease: lease.name.clone(),
    };
    text(&needs, &options.scope, lease)
}

/// The manifest. All objects bear the Lease's name, so that two installations have two sets.
#[must_use]
pub fn text(needs: &Needs, scope: &Scope, lease: &ObjectKey) -> String {
    let all = grants(needs);
    let at = |place: Place| all.iter().filter(|grant| grant.place == place).collect::<Vec<&Grant>>();
    let mut page = Page { out: String::new(), lease };
    page.account();
    match scope {
        Scope::All { .. } => {
            let wide: Vec<&Grant> = at(Place::Cluster).into_iter().chain(at(Place::Scope)).collect();
            page.role(&lease.name, None, &wide);
        }
        Scope::Namespaces(namespaces) => {
            page.role(&lease.name, None, &at(Place::Cluster));
            namespaces.iter().for_each(|namespace| page.role(&lease.name, Some(namespace), &at(Place::Scope)));
        }
    }
    page.role(&format!("{}-lease", lease.name), Some(&lease.namespace), &at(Place::Lease));
    page.out
}

struct Page<'a> {
    out: String,
    lease: &'a ObjectKey,
}

/// Text as YAML takes it, whatever it looks like.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Page<'_> {
    fn line(&mut self, text: &str) {
        // Writing to a String can't fail.
        let _ = writeln!(self.out, "{text}");
    }

    fn account(&mut self) {
        let ObjectKey { namespace, name } = self.lease;
        let (namespace, name) = (quoted(namespace), quoted(name));
        self.line("# What consul8s needs in Kubernetes: kubectl apply -f - ; then serviceAccountName in its Pods.");
        self.line("apiVersion: v1\nkind: ServiceAccount\nmetadata:");
        self.line(&format!("  name: {name}\n  namespace: {namespace}"));
    }

    /// A role with its binding: of the cluster without a namespace.
    fn role(&mut self, name: &str, namespace: Option<&String>, grants: &[&Grant]) {
        if grants.is_empty() {
            return;
        }
        let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
        self.head(kind, name, namespace);
        self.line("rules:");
        for Grant { group, resource, verbs, name, why, .. } in grants {
            self.line(&format!("# {why}"));
            self.line(&format!("- apiGroups: [{}]\n  resources: [{}]", quoted(group), quoted(resource)));
            let verbs: Vec<String> = verbs.iter().map(|verb| quoted(verb)).collect();
            self.line(&format!("  verbs: [{}]", verbs.join(", ")));
            if let Some(name) = name {
                self.line(&format!("  resourceNames: [{}]", quoted(name)));
            }
        }
        self.head(&format!("{kind}Binding"), name, namespace);
        self.line(&format!(
            "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  name: {}\nsubjects:\n- kind: ServiceAccount",
            quoted(name)
        ));
        let ObjectKey { namespace, name } = self.lease;
        self.line(&format!("  name: {}\n  namespace: {}", quoted(name), quoted(namespace)));
    }

    fn head(&mut self, kind: &str, name: &str, namespace: Option<&String>) {
        self.line(&format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {}",
            quoted(name)
        ));
        if let Some(namespace) = namespace {
            self.line(&format!("  namespace: {}", quoted(namespace)));
        }
    }
}
