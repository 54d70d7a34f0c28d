//! TLS: refuse what can't be trusted, never fall back, and follow rotated files. The certificates are made by Consul's own tool, so
//! they are of the shape that users have.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use consul8s_consul::config::TlsConfig;
use consul8s_consul::{Address, Client, ClientConfig};
use consul8s_core::consul::{HealthQuery, Read};
use consul8s_core::ports::{ApiError, ConsulApi as _, ErrorKind};
use consul8s_testbed::binaries::CONSUL;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A certificate authority of its own, with a server's certificate (`server.dc1.consul`, `localhost`, `127.0.0.1`) and a client's.
struct Authority(TempDir);

impl Authority {
    fn new() -> Authority {
        let authority = Authority(tempfile::tempdir().expect("a folder"));
        for arguments in ["tls ca create", "tls cert create -server -dc dc1", "tls cert create -cli"] {
            let program = CONSUL.locate().expect("a Consul");
            let made = Command::new(program).args(arguments.split(' ')).current_dir(authority.0.path()).output();
            let made = made.expect("a program");
            assert!(made.status.success(), "{made:?}");
        }
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ca(&self) -> PathBuf {
        self.file("consul-agent-ca.pem")
    }

    fn server(&self, with_client_certs: bool) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = if with_client_certs {
            let mut roots = RootCertStore::empty();
            roots.add(pem(&self.ca()).remove(0)).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.file("dc1-server-consul-0-key.pem")).expect("a key");
        builder.with_single_cert(pem(&self.file("dc1-server-consul-0.pem")), key).expect("a certificate")
    }
}

fn pem(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).expect("a file").collect::<Result<_, _>>().expect("certificates")
}

/// Answers every question with an empty list.
async fn serve(mut tls: ServerConfig, alpn: &[&[u8]]) -> SocketAddr {
    tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(async |_| {
                    http::Response::builder().header("x-consul-index", "9").body(Full::new(Bytes::from_static(b"[]")))
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

fn client(address: &str, tls: TlsConfig) -> Client {
    let addresses = vec![Address::parse(address).expect("an address")];
    Client::new(ClientConfig { addresses, tls, ..ClientConfig::default() })
}

async fn ask(client: &Client) -> Result<(), ApiError> {
    let query = HealthQuery { name: "web".into(), ..HealthQuery::default() };
    client.health(&query, Read::Stale).await.map(|answer| assert_eq!(answer.meta.index, 9))
}

/// At once, so that they need this many connections.
async fn ask_together(client: &Client, count: usize) {
    for answered in futures::future::join_all((0..count).map(|_| ask(client))).await {
        answered.expect("an answer");
    }
}

async fn refused(address: &str, tls: TlsConfig, telling: &str) {
    let error = ask(&client(address, tls)).await.expect_err("not to be trusted");
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(error.what.contains(telling), "{telling:?} is not in {error}");
}

fn trusting(ca_file: PathBuf) -> TlsConfig {
    TlsConfig { ca_file: Some(ca_file), ..TlsConfig::default() }
}

#[tokio::test]
async fn a_trusted_server_is_spoken_to_over_http2_where_it_can() {
    let authority = Authority::new();
    for (alpn, http2) in [(BOTH, true), (&[b"http/1.1".as_slice()], false), (&[], false)] {
        let port = serve(authority.server(false), alpn).await.port();
        let client = client(&format!("https://localhost:{port}"), trusting(authority.ca()));
        ask(&client).await.expect("an answer");
        assert_eq!(client.is_http2(), http2);
    }
    // The authority in a folder, beside what is none of its certificates' business.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(authority.ca(), folder.path().join("ca.pem")).expect("a file");
    std::fs::create_dir(folder.path().join("..data")).expect("a folder");
    let port = serve(authority.server(false), BOTH).await.port();
    let tls = TlsConfig { ca_path: Some(folder.path().into()), ..TlsConfig::default() };
    ask(&client(&format!("https://localhost:{port}"), tls)).await.expect("an answer");
}

#[tokio::test]
async fn what_cannot_be_trusted_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let port = serve(authority.server(false), BOTH).await.port();
    let address = format!("https://localhost:{port}");
    refused(&address, trusting(stranger.ca()), "certificate").await;
    refused(&address, TlsConfig::default(), "certificate").await;
    let wrong_name = TlsConfig { server_name: Some("server.dc2.consul".into()), ..trusting(authority.ca()) };
    refused(&address, wrong_name, "server.dc2.consul").await;
    refused(&address, trusting("/nonexistent/ca.pem".into()), "/nonexistent/ca.pem").await;
    let half = TlsConfig { client_cert: Some(authority.ca()), ..trusting(authority.ca()) };
    refused(&address, half, "belong together").await;

    let right_name = TlsConfig { server_name: Some("server.dc1.consul".into()), ..trusting(authority.ca()) };
    ask(&client(&address, right_name)).await.expect("an answer");
    let unchecked = TlsConfig { verify: false, ..TlsConfig::default() };
    ask(&client(&address, unchecked)).await.expect("an answer");
}

#[tokio::test]
async fn plain_and_encrypted_are_never_mistaken_for_each_other() {
    let authority = Authority::new();
    let port = serve(authority.server(false), BOTH).await.port();
    let error = ask(&client(&format!("http://localhost:{port}"), TlsConfig::default())).await.expect_err("no HTTP");
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");

    let plain = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = plain.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            use tokio::io::AsyncWriteExt as _;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    refused(&format!("https://localhost:{port}"), trusting(authority.ca()), "no connection").await;
}

#[tokio::test]
async fn our_own_certificate_is_shown_where_it_is_asked_for() {
    let authority = Authority::new();
    let port = serve(authority.server(true), BOTH).await.port();
    let address = format!("https://localhost:{port}");
    assert!(ask(&client(&address, trusting(authority.ca()))).await.is_err());
    let ours = TlsConfig {
        client_cert: Some(authority.file("dc1-cli-consul-0.pem")),
        client_key: Some(authority.file("dc1-cli-consul-0-key.pem")),
        ..trusting(authority.ca())
    };
    ask(&client(&address, ours)).await.expect("an answer");
}

#[tokio::test]
async fn rotated_files_are_used_for_the_next_connection() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    std::fs::copy(old.ca(), &ca).expect("a file");
    let old_server = format!("https://localhost:{}", serve(old.server(false), &[]).await.port());
    let new_server = format!("https://localhost:{}", serve(new.server(false), &[]).await.port());
    let addresses = [&new_server, &old_server].map(|address| Address::parse(address).expect("an address"));
    let config = ClientConfig { addresses: addresses.into(), tls: trusting(ca.clone()), ..ClientConfig::default() };
    let client = Client::new(config);
    ask(&client).await.expect("an answer");
    assert_eq!(client.address(), old_server);

    // Unreadable: the last one stays in use.
    std::fs::write(&ca, "-----BEGIN CERT").expect("a file");
    ask_together(&client, 2).await;
    assert_eq!(client.address(), old_server);
    std::fs::copy(new.ca(), &ca).expect("a file");
    ask_together(&client, 3).await;
    // The third needed a connection of its own, which only the new server could give.
    assert_eq!(client.address(), new_server);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("https://{}", listener.local_addr().expect("an address"));
    // Connections are taken by the kernel, and nobody says a word.
    let began = tokio::time::Instant::now();
    let error = ask(&client(&address, TlsConfig::default())).await.expect_err("nobody shakes hands");
    assert!(error.what.contains("no connection in time"), "{}", error.what);
    let took = began.elapsed().as_secs_f64();
    assert!((4.0..6.0).contains(&took), "{took}");
}
