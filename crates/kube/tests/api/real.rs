//! The scenarios against etcd and kube-apiserver, and those that only they can play.

use std::path::PathBuf;

use consul8s_core::kube::ObjectKey;
use consul8s_core::ports::{ErrorKind, KubeApi, KubeWriter};
use consul8s_kube::{Access, Kube, LeaseClient, SliceWriter};
use consul8s_testbed::{Kubernetes, KubernetesOptions};
use serde_json::{Value, json};

use crate::world::{World, connect, done, namespace};
use crate::{leasing, reading, telling, writing};

impl World for Kubernetes {
    fn kubeconfig(&self) -> PathBuf {
        Kubernetes::kubeconfig(self).to_owned()
    }

    async fn request(&self, method: &'static str, path: &str, body: Option<Value>) -> (u16, Value) {
        let reply = Kubernetes::request(self, method, path, body.as_ref()).await.unwrap();
        (reply.status, reply.json())
    }

    async fn stop(&mut self) {
        self.stop_api().await;
    }

    async fn start(&mut self) {
        self.start_api().await.unwrap();
    }
}

#[tokio::test]
async fn all_scenarios() {
    let kubernetes = Kubernetes::start(KubernetesOptions::default()).await.unwrap();
    reading::reads(&kubernetes).await;
    reading::reads_of_others(&kubernetes).await;
    reading::watches_services(&kubernetes).await;
    reading::watches_slices(&kubernetes).await;
    reading::watches_nodes(&kubernetes).await;
    reading::lists_in_pages(&kubernetes).await;
    reading::tells_at_once(&kubernetes).await;
    writing::writes(&kubernetes).await;
    writing::writes_only_what_it_knows(&kubernetes).await;
    writing::says_what_is_refused(&kubernetes).await;
    telling::sets_our_condition(&kubernetes).await;
    telling::sets_it_on_no_other_service(&kubernetes).await;
    telling::a_watch_shows_the_condition(&kubernetes).await;
    telling::tells_events(&kubernetes).await;
    telling::tells_of_a_lease(&kubernetes).await;
    telling::says_what_cannot_be_told(&kubernetes).await;
    leasing::holds_a_lease(&kubernetes).await;
    leasing::only_one_gets_a_lease(&kubernetes).await;
    leasing::says_which_verb_is_missing(&kubernetes, async |namespace| lease_as_a_pod(&kubernetes, namespace).await)
        .await;
    a_namespace_on_its_way_out(&kubernetes).await;
    unknown_credentials(&kubernetes).await;
}

#[tokio::test]
async fn a_restart_loses_nothing() {
    reading::survives_a_restart(Kubernetes::start(KubernetesOptions::default()).await.unwrap()).await;
}

/// Without a controller manager a deleted namespace stays for ever on its way out.
async fn a_namespace_on_its_way_out(kubernetes: &Kubernetes) {
    namespace(kubernetes, "leaving").await;
    done(kubernetes, "DELETE", "/api/v1/namespaces/leaving", None).await;
    let writer = SliceWriter::new(&connect(kubernetes).await);
    let error = writer.create_slice(&writing::spec("leaving", "web-1", "u", &["10.0.0.1"])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.what.contains("being terminated"), "{}", error.what);
}

/// A client of a service account that may do nothing yet.
async fn lease_as_a_pod(kubernetes: &Kubernetes, namespace: &str) -> LeaseClient {
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    done(kubernetes, "POST", &accounts, Some(json!({"metadata": {"name": "consul8s"}}))).await;
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = done(kubernetes, "POST", &format!("{accounts}/consul8s/token"), Some(request)).await;
    let text = std::fs::read_to_string(Kubernetes::kubeconfig(kubernetes)).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text.replace(kubernetes.token(), answer["status"]["token"].as_str().unwrap())).unwrap();
    let connection = Access { kubeconfig: Some(file.path().to_owned()), context: None }.connect().await.unwrap();
    LeaseClient::new(&connection, ObjectKey::new(namespace, "consul8s")).unwrap()
}

async fn unknown_credentials(kubernetes: &Kubernetes) {
    let text = std::fs::read_to_string(Kubernetes::kubeconfig(kubernetes)).unwrap();
    let token = kubernetes.token();
    assert!(text.contains(token));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text.replace(token, "s.unknown")).unwrap();
    let connection = Access { kubeconfig: Some(file.path().to_owned()), context: None }.connect().await.unwrap();
    let error = Kube::new(&connection).cluster_uid().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden);
    assert!(error.what.contains("401") && !error.what.contains("s.unknown"), "{}", error.what);
}
