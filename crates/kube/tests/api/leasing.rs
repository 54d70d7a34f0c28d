//! The Lease: what is written, what stays, and who is told that another was first.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use consul8s_core::claim::{CALL_WITHIN, LeaseWrite, Term};
use consul8s_core::kube::ObjectKey;
use consul8s_core::names;
use consul8s_core::ports::{ErrorKind, LeaseApi};
use consul8s_core::time::UnixMillis;
use consul8s_kube::{Access, LeaseClient};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::world::{World, connect, done, namespace};

/// One holds it, renews it and gives it back; what others put on it stays.
pub(crate) async fn holds_a_lease(world: &impl World) {
    namespace(world, "leasing").await;
    let lease = client(world, "leasing").await;
    assert_eq!(lease.read().await.unwrap(), None);

    let made = lease.create(&write(Some(term("one", 0, true)), 1_000, &[])).await.unwrap();
    assert_eq!((made.holder.as_str(), made.duration, made.transitions), ("one", Duration::from_secs(15), 0));
    assert!(!made.acquired.is_empty() && made.acquired == made.renewed);
    assert_eq!(lease.read().await.unwrap(), Some(made.clone()), "as it is read");
    let again = lease.create(&write(Some(term("two", 0, true)), 1_000, &[])).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::Conflict, "it is there");

    // Helm's, a person's.
    let theirs = json!({"metadata": {"labels": {"app": "x"}, "annotations": {"helm.sh/release": "x", names::ALLOW_REMOVAL: "apple"}}});
    patch(world, "leasing", &theirs).await;
    let stale = lease.replace(&made, &write(Some(term("one", 0, false)), 2_000, &[])).await.unwrap_err();
    assert_eq!(stale.kind, ErrorKind::Conflict, "it has changed");
    let seen = lease.read().await.unwrap().unwrap();
    assert_eq!(seen.annotations.get(names::ALLOW_REMOVAL).map(String::as_str), Some("apple"));

    let notes = [(names::LEASE_LINEAGE, Some("dc1=7")), (names::ALLOW_REMOVAL, None)];
    let renewed = lease.replace(&seen, &write(Some(term("one", 0, false)), 2_000, &notes)).await.unwrap();
    assert_eq!(renewed.acquired, made.acquired);
    assert_ne!(renewed.renewed, made.renewed);
    let object = get(world, "leasing").await;
    let annotations = json!({"helm.sh/release": "x", names::LEASE_LINEAGE: "dc1=7"});
    assert_eq!((&object["metadata"]["annotations"], &object["metadata"]["labels"]["app"]), (&annotations, &json!("x")));
    let time = object["spec"]["renewTime"].as_str().unwrap();
    assert!(time.starts_with("1970-01-01T00:00:02"), "{time}");

    // Notes alone touch nothing of the election.
    let noted = lease.replace(&renewed, &write(None, 9_000, &[(names::LEASE_LIST_MARK, Some("5"))])).await.unwrap();
    assert_eq!((&noted.holder, &noted.renewed), (&renewed.holder, &renewed.renewed));
    let given_back = lease.replace(&noted, &write(Some(Term::given_back(&noted)), 3_000, &[])).await.unwrap();
    assert_eq!((given_back.holder.as_str(), given_back.duration), ("", Duration::from_secs(1)));
}

/// Of two one is first, and the other is told.
pub(crate) async fn only_one_gets_a_lease(world: &impl World) {
    namespace(world, "contest").await;
    let (one, two) = (client(world, "contest").await, client(world, "contest").await);
    let made = one.create(&write(None, 0, &[])).await.unwrap();
    assert_eq!((made.holder.as_str(), made.duration), ("", Duration::ZERO), "a mere notebook");
    let seen = two.read().await.unwrap().unwrap();
    assert_eq!(seen, made);
    two.replace(&seen, &write(Some(term("two", 1, true)), 1_000, &[])).await.unwrap();
    let late = one.replace(&made, &write(Some(term("one", 1, true)), 1_000, &[])).await.unwrap_err();
    assert_eq!(late.kind, ErrorKind::Conflict);
    // Read by somebody else does not count as read.
    let latest = two.read().await.unwrap().unwrap();
    let unread = one.replace(&latest, &write(Some(term("one", 2, true)), 1_000, &[])).await.unwrap_err();
    assert_eq!(unread.kind, ErrorKind::Conflict);
    let latest = one.read().await.unwrap().unwrap();
    let taken = one.replace(&latest, &write(Some(term("one", 2, true)), 2_000, &[])).await.unwrap();
    assert_eq!((taken.holder.as_str(), taken.transitions), ("one", 2));

    done(world, "DELETE", &path("contest"), None).await;
    let gone = one.replace(&taken, &write(Some(term("one", 2, false)), 3_000, &[])).await.unwrap_err();
    println!("update of a Lease that is gone: {:?}: {}", gone.kind, gone.what);
    assert!(matches!(gone.kind, ErrorKind::Conflict | ErrorKind::NotFound), "{gone}");
    assert_eq!(one.read().await.unwrap(), None, "and a PUT makes no new one");

    let nowhere = client(world, "no-such-namespace").await;
    assert_eq!(nowhere.read().await.unwrap(), None);
    let error = nowhere.create(&write(Some(term("one", 0, true)), 0, &[])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.what.contains("create Lease no-such-namespace/consul8s"), "{}", error.what);
}

/// A server that takes the connection and says nothing.
#[tokio::test]
async fn silence_costs_two_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = json!({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", listener.local_addr().unwrap())}}],
    });
    std::fs::write(file.path(), config.to_string()).unwrap();
    let connection = Access { kubeconfig: Some(file.path().to_owned()), context: None }.connect().await.unwrap();
    let lease = LeaseClient::new(&connection, ObjectKey::new("ns", "consul8s")).unwrap();
    let start = Instant::now();
    let error = lease.read().await.unwrap_err();
    let took = start.elapsed();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(took >= CALL_WITHIN && took < CALL_WITHIN + Duration::from_millis(500), "{took:?}");
    assert!(error.what.contains("get Lease ns/consul8s"), "{}", error.what);
}

/// Verb by verb, as a Role gives them.
pub(crate) async fn says_which_verb_is_missing(world: &impl World, as_user: impl AsyncFn(&str) -> LeaseClient) {
    namespace(world, "permissions").await;
    let lease = as_user("permissions").await;
    let refused = |error: consul8s_core::ports::ApiError, verb: &str| {
        assert_eq!(error.kind, ErrorKind::Forbidden);
        let wanted = format!("cannot {verb} resource \"leases\"");
        assert!(error.what.contains(&wanted) && error.what.contains("Lease permissions/consul8s"), "{}", error.what);
    };
    refused(lease.read().await.unwrap_err(), "get");
    refused(lease.create(&write(None, 0, &[])).await.unwrap_err(), "create");
    allow(world, "permissions", &["get", "create"]).await;
    // A role counts a moment after it was written.
    let mut found = lease.read().await;
    let start = Instant::now();
    while found.is_err() && start.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        found = lease.read().await;
    }
    assert_eq!(found.unwrap(), None);
    let made = lease.create(&write(None, 0, &[])).await.unwrap();
    refused(lease.replace(&made, &write(Some(term("one", 0, true)), 0, &[])).await.unwrap_err(), "update");
}

async fn allow(world: &impl World, namespace: &str, verbs: &[&str]) {
    let base = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    let rule = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": verbs});
    let role = json!({"metadata": {"name": "leases"}, "rules": [rule]});
    done(world, "POST", &format!("{base}/roles"), Some(role)).await;
    let binding = json!({
        "metadata": {"name": "leases"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leases"},
        "subjects": [{"kind": "ServiceAccount", "name": "consul8s", "namespace": namespace}],
    });
    done(world, "POST", &format!("{base}/rolebindings"), Some(binding)).await;
}

async fn client(world: &impl World, namespace: &str) -> LeaseClient {
    LeaseClient::new(&connect(world).await, ObjectKey::new(namespace, "consul8s")).unwrap()
}

fn term(holder: &str, transitions: u64, begins: bool) -> Term {
    Term { holder: holder.to_owned(), duration: Duration::from_secs(15), transitions, begins }
}

fn write(term: Option<Term>, millis: u64, notes: &[(&'static str, Option<&str>)]) -> LeaseWrite {
    let note = |(key, value): &(&'static str, Option<&str>)| (*key, value.map(str::to_owned));
    LeaseWrite { term, now: UnixMillis(millis), annotations: notes.iter().map(note).collect::<BTreeMap<_, _>>() }
}

fn path(namespace: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/consul8s")
}

async fn get(world: &impl World, namespace: &str) -> Value {
    done(world, "GET", &path(namespace), None).await
}

/// What somebody else changes.
async fn patch(world: &impl World, namespace: &str, change: &Value) {
    let mut object = get(world, namespace).await;
    for part in ["labels", "annotations"] {
        for (key, value) in change["metadata"][part].as_object().unwrap() {
            object["metadata"][part][key] = value.clone();
        }
    }
    done(world, "PUT", &path(namespace), Some(object)).await;
}
