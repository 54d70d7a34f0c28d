//! From a kubeconfig or the pod's service account to a connection.

mod error;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use kube::Config;
use kube::config::{Cluster, KubeConfigOptions, Kubeconfig};

use crate::transport;
pub use error::ConnectError;
pub(crate) use error::setup_text;
use error::shown;

/// What [`Connection::context`] says inside a cluster.
const IN_CLUSTER: &str = "in-cluster";

/// What the user said about how to reach Kubernetes.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`; without it, the kubeconfig's current context.
    pub context: Option<String>,
}

/// A way to one API server. Cheap to clone; clones share their sockets.
#[derive(Clone)]
pub struct Connection {
    pub(crate) client: kube::Client,
    /// For clients that must not share those sockets.
    config: Config,
    /// Name of the kubeconfig's context, or `in-cluster`.
    pub context: String,
    /// The context's namespace, or the pod's.
    pub namespace: String,
    /// The API server's address, without credentials.
    pub server: String,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connection { client: _, config: _, context, namespace, server } = self;
        let mut out = f.debug_struct("Connection");
        out.field("context", context).field("namespace", namespace).field("server", server).finish_non_exhaustive()
    }
}

impl Connection {
    /// A client of the same API server with sockets of its own.
    pub(crate) fn apart(&self) -> Result<kube::Client, ConnectError> {
        client(&self.config, &self.server)
    }
}

fn client(config: &Config, server: &str) -> Result<kube::Client, ConnectError> {
    let setup = |error| ConnectError::Setup { server: server.to_owned(), why: setup_text(&error) };
    transport::client(config.clone()).map_err(setup)
}

impl Access {
    /// Finds the way in: `--kubeconfig`, then `KUBECONFIG`, then the pod's service account, then `~/.kube/config`. Makes no request.
    ///
    /// # Errors
    /// When there is no way, or the one that was named cannot be used; the text says which file, context or variable, and what to do.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let (config, context) = match self.source(&Environment::of_process())? {
            Source::Pod => (in_cluster()?, IN_CLUSTER.to_owned()),
            Source::Files(files) => self.context_of(&files).await?,
        };
        let server = without_credentials(&config.cluster_url);
        let namespace = config.default_namespace.clone();
        let client = client(&config, &server)?;
        Ok(Connection { client, config, context, namespace, server })
    }

    fn source(&self, environment: &Environment) -> Result<Source, ConnectError> {
        if let Some(file) = &self.kubeconfig {
            return Ok(Source::Files(vec![file.clone()]));
        }
        let listed = environment.kubeconfig_files();
        if !listed.is_empty() {
            // As kubectl does: of a list, files that don't exist are passed over.
            let present: Vec<PathBuf> = listed.iter().filter(|file| file.exists()).cloned().collect();
            return Ok(Source::Files(if present.is_empty() { listed } else { present }));
        }
        // Whoever names a context means a kubeconfig, also inside a pod.
        if environment.in_pod && self.context.is_none() {
            return Ok(Source::Pod);
        }
        let default = environment.home.as_ref().map(|home| home.join(".kube").join("config"));
        match default {
            Some(file) if file.exists() => Ok(Source::Files(vec![file])),
            missing => Err(ConnectError::NoWay { looked: missing }),
        }
    }

    async fn context_of(&self, files: &[PathBuf]) -> Result<(Config, String), ConnectError> {
        let kubeconfig = read(files)?;
        let (context, cluster) = self.choose(&kubeconfig, &shown(files))?;
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.map_err(|e| ConnectError::unusable(files, &e))?;
        // A certificate file is looked at again while running (see transport.rs); kube alone does that inside a cluster only.
        if cluster.certificate_authority_data.is_none() {
            config.root_cert_file = cluster.certificate_authority.map(PathBuf::from);
        }
        // kube takes it from `HTTPS_PROXY` too, for any server, 127.0.0.1 included (it looks for the proxy's own address in
        // `NO_PROXY`). A kubeconfig's own `proxy-url` was refused above.
        config.proxy_url = None;
        Ok((without_needless_roots(config), context))
    }

    /// The context's name and its cluster, checked so far that an error can say what there is instead.
    fn choose(&self, kubeconfig: &Kubeconfig, files: &str) -> Result<(String, Cluster), ConnectError> {
        let wanted =
            self.context.clone().or_else(|| kubeconfig.current_context.clone()).filter(|name| !name.is_empty());
        let there: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        let files = files.to_owned();
        let Some(name) = wanted else { return Err(ConnectError::NoCurrentContext { files, there }) };
        let context = kubeconfig.contexts.iter().find(|context| context.name == name).and_then(|c| c.context.as_ref());
        let Some(context) = context else { return Err(ConnectError::UnknownContext { files, name, there }) };
        let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let Some(cluster) = cluster.and_then(|named| named.cluster.clone()).filter(|c| c.server.is_some()) else {
            return Err(ConnectError::NoServer { files, context: name, cluster: context.cluster.clone() });
        };
        if cluster.proxy_url.as_ref().is_some_and(|proxy| !proxy.is_empty()) {
            return Err(ConnectError::Proxy { files, cluster: context.cluster.clone() });
        }
        Ok((name, cluster))
    }
}

/// What the process was started with, as far as it matters here.
struct Environment {
    kubeconfig: Option<OsString>,
    in_pod: bool,
    home: Option<PathBuf>,
}

impl Environment {
    fn of_process() -> Environment {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Environment {
            kubeconfig: set("KUBECONFIG"),
            in_pod: set("KUBERNETES_SERVICE_HOST").is_some() && set("KUBERNETES_SERVICE_PORT").is_some(),
            home: set("HOME").map(PathBuf::from),
        }
    }

    fn kubeconfig_files(&self) -> Vec<PathBuf> {
        let list = self.kubeconfig.iter().flat_map(|list| std::env::split_paths(list).collect::<Vec<_>>());
        list.filter(|file| !file.as_os_str().is_empty()).collect()
    }
}

#[derive(Debug, PartialEq)]
enum Source {
    Files(Vec<PathBuf>),
    Pod,
}

fn in_cluster() -> Result<Config, ConnectError> {
    let mut config = Config::incluster().map_err(|e| ConnectError::ServiceAccount { why: e.to_string() })?;
    config.default_namespace = config.default_namespace.trim().to_owned();
    Ok(config)
}

fn read(files: &[PathBuf]) -> Result<Kubeconfig, ConnectError> {
    let mut merged = Kubeconfig::default();
    for file in files {
        let next = Kubeconfig::read_from(file).map_err(|e| ConnectError::unusable(std::slice::from_ref(file), &e))?;
        merged = merged.merge(next).map_err(|e| ConnectError::unusable(files, &e))?;
    }
    Ok(merged)
}

/// The operating system's certificates are asked for only where they are needed: a small container image may have none.
fn without_needless_roots(mut config: Config) -> Config {
    let unchecked = config.accept_invalid_certs || config.cluster_url.scheme_str() == Some("http");
    if unchecked && config.root_cert.is_none() {
        config.root_cert = Some(Vec::new());
    }
    config
}

fn without_credentials(server: &http::Uri) -> String {
    let scheme = server.scheme_str().unwrap_or("http");
    let authority = server.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", server.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const GOOD: &str = r#"
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c1, user: u1, namespace: shop}}
- {name: two, context: {cluster: c2, user: u1}}
- {name: nowhere, context: {cluster: gone, user: u1}}
- {name: proxied, context: {cluster: c3, user: u1}}
clusters:
- {name: c1, cluster: {server: "http://user:pass@127.0.0.1:1/"}}
- {name: c2, cluster: {server: "https://127.0.0.1:2/k8s", insecure-skip-tls-verify: true}}
- {name: c3, cluster: {server: "https://127.0.0.1:3", proxy-url: "http://127.0.0.1:4"}}
users:
- {name: u1, user: {token: s.secret}}
"#;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    async fn connect(text: &str, context: Option<&str>) -> Result<Connection, String> {
        let file = file(text);
        let path = file.path().to_owned();
        let access = Access { kubeconfig: Some(path.clone()), context: context.map(str::to_owned) };
        access.connect().await.map_err(|e| e.to_string().replace(path.to_str().unwrap(), "FILE"))
    }

    fn environment(kubeconfig: &str, in_pod: bool, home: &Path) -> Environment {
        let kubeconfig = (!kubeconfig.is_empty()).then(|| OsString::from(kubeconfig));
        Environment { kubeconfig, in_pod, home: Some(home.to_owned()) }
    }

    #[test]
    fn the_order_is_flag_variable_pod_home() {
        let home = tempfile::tempdir().unwrap();
        let default = home.path().join(".kube/config");
        let one = file("");
        let path = one.path().to_str().unwrap();
        let files = |names: &[&str]| Ok(Source::Files(names.iter().map(PathBuf::from).collect()));
        let of = |access: &Access, kubeconfig: &str, in_pod: bool| {
            access.source(&environment(kubeconfig, in_pod, home.path())).map_err(|e| e.to_string())
        };
        let plain = Access::default();
        let flag = Access { kubeconfig: Some("/flag".into()), context: None };
        let context = Access { kubeconfig: None, context: Some("one".into()) };

        let nowhere = of(&plain, "", false).unwrap_err();
        assert!(nowhere.contains("--kubeconfig") && nowhere.contains(".kube/config does not exist"), "{nowhere}");
        assert!(of(&context, "", true).is_err(), "a context means a kubeconfig");
        std::fs::create_dir(home.path().join(".kube")).unwrap();
        std::fs::write(&default, "").unwrap();

        assert_eq!(of(&flag, path, true), files(&["/flag"]));
        assert_eq!(of(&plain, path, true), files(&[path]));
        assert_eq!(of(&plain, &format!("/missing::{path}"), true), files(&[path]));
        assert_eq!(
            of(&plain, "/missing", true),
            files(&["/missing"]),
            "its absence is an error, not a reason to go elsewhere"
        );
        assert_eq!(of(&plain, "", true), Ok(Source::Pod));
        assert_eq!(of(&plain, "", false), files(&[default.to_str().unwrap()]));
        assert_eq!(of(&context, "", true), files(&[default.to_str().unwrap()]));
    }

    #[tokio::test]
    async fn a_context_says_where_and_in_which_namespace() {
        let one = connect(GOOD, None).await.unwrap();
        assert_eq!((one.context.as_str(), one.namespace.as_str()), ("one", "shop"));
        assert_eq!(one.server, "http://127.0.0.1:1", "without the credentials in it");
        let two = connect(GOOD, Some("two")).await.unwrap();
        assert_eq!((two.namespace.as_str(), two.server.as_str()), ("default", "https://127.0.0.1:2/k8s"));
    }

    #[tokio::test]
    async fn errors_say_which_file_and_what_there_is() {
        let table = [
            (GOOD, Some("three"), "kubeconfig FILE has no context \"three\" (there: one, two, nowhere, proxied)"),
            (
                GOOD,
                Some("nowhere"),
                "kubeconfig FILE: context \"nowhere\" names the cluster \"gone\", which is not there or has no server",
            ),
            (
                GOOD,
                Some("proxied"),
                "kubeconfig FILE: cluster \"c3\" has a proxy-url, which is not supported; use a context without",
            ),
            (
                "",
                None,
                "kubeconfig FILE has no current-context: give --context NAME (there: none), or run `kubectl config use-context NAME`",
            ),
        ];
        for (text, context, wanted) in table {
            assert_eq!(connect(text, context).await.unwrap_err(), wanted);
        }
        let access = Access { kubeconfig: Some("/no/such/file".into()), context: None };
        let missing = access.connect().await.unwrap_err().to_string();
        assert_eq!(missing, "kubeconfig /no/such/file: No such file or directory (os error 2)");
    }

    #[tokio::test]
    async fn nothing_of_a_broken_file_is_repeated() {
        let broken = connect("users:\n- name: u1\n  user: {token: [s.secret\n", None).await.unwrap_err();
        assert!(broken.contains("line") && !broken.contains("secret"), "{broken}");
        let wrong = connect("users: s.secret\n", None).await.unwrap_err();
        assert!(!wrong.contains("secret"), "{wrong}");
    }
}
