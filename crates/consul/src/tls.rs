//! rustls from the files of [`TlsConfig`], read again when they change.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use secrecy::zeroize::Zeroizing;
use tokio::time::Instant;

use crate::config::TlsConfig;

/// A rotated file must be in use within 10 s; a look reads a few small files.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(4);

/// The TLS settings now in force.
pub(crate) struct Tls {
    config: TlsConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    built: Option<(Files, Arc<ClientConfig>)>,
    looked: Option<Instant>,
    /// Goes up with each change.
    revision: u64,
}

/// What the files held when the settings were made from them.
#[derive(PartialEq, Eq)]
struct Files {
    roots: Option<Vec<Vec<u8>>>,
    identity: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl Tls {
    pub(crate) fn new(config: TlsConfig) -> Tls {
        if !config.verify {
            tracing::warn!("Consul's certificate is not checked (CONSUL_HTTP_SSL_VERIFY=false)");
        }
        Tls { config, state: Mutex::default() }
    }

    pub(crate) fn server_name(&self) -> Option<&str> {
        self.config.server_name.as_deref()
    }

    /// Settings for the next connection. Files that can't be used (a rotation half done) leave the last ones in force.
    pub(crate) fn current(&self) -> io::Result<Arc<ClientConfig>> {
        self.state().look(self)
    }

    /// Whether the settings come from files, which may change.
    pub(crate) fn rotates(&self) -> bool {
        let TlsConfig { ca_file, ca_path, client_cert, .. } = &self.config;
        ca_file.is_some() || ca_path.is_some() || client_cert.is_some()
    }

    /// A number that goes up when the files have changed and can be used. Looks at them from time to time.
    pub(crate) fn revision(&self) -> u64 {
        let mut state = self.state();
        if self.rotates() && state.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY) {
            // What is wrong with them shows in the log, and where there is nothing to fall back on, at the next connection.
            let _ = state.look(self);
        }
        state.revision
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> io::Result<Files> {
        let mut roots = Vec::new();
        if let Some(file) = &self.config.ca_file {
            roots.push(read(file)?);
        }
        if let Some(folder) = &self.config.ca_path {
            for file in regular_files(folder)? {
                roots.push(read(&file)?);
            }
        }
        let own_roots = self.config.ca_file.is_some() || self.config.ca_path.is_some();
        let identity = match (&self.config.client_cert, &self.config.client_key) {
            (Some(cert), Some(key)) => Some((read(cert)?, Zeroizing::new(read(key)?))),
            (None, None) => None,
            _ => return Err(io::Error::other("CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY belong together")),
        };
        Ok(Files { roots: own_roots.then_some(roots), identity })
    }

    fn build(&self, files: &Files) -> io::Result<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match &files.roots {
            _ if !self.config.verify => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
            }
            Some(pems) => builder.with_root_certificates(root_store(pems)?),
            None => builder.with_native_roots()?,
        };
        match &files.identity {
            None => Ok(builder.with_no_client_auth()),
            Some((cert, key)) => {
                let chain = certificates(cert)?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| io::Error::other(format!("client key: {error}")))?;
                builder.with_client_auth_cert(chain, key).map_err(io::Error::other)
            }
        }
    }
}

impl State {
    fn look(&mut self, tls: &Tls) -> io::Result<Arc<ClientConfig>> {
        self.looked = Some(Instant::now());
        let fresh = tls.read().and_then(|files| match &self.built {
            Some((known, config)) if *known == files => Ok((files, config.clone())),
            _ => tls.build(&files).map(|config| (files, Arc::new(config))),
        });
        match (fresh, &self.built) {
            (Ok((files, config)), before) => {
                let changed = before.as_ref().is_some_and(|(known, _)| *known != files);
                if changed {
                    self.revision += 1;
                    tracing::info!("the certificates for Consul have changed: new connections use them");
                }
                self.built = Some((files, config.clone()));
                Ok(config)
            }
            (Err(error), Some((_, config))) => {
                tracing::warn!(%error, "the last TLS settings for Consul stay in use");
                Ok(config.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Files right within a folder, in a fixed order. A mounted Secret holds links to files and folders of its own making: only
/// what is a file in the end counts.
fn regular_files(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| io::Error::other(format!("certificate: {error}")))
}

fn root_store(pems: &[Vec<u8>]) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for pem in pems {
        for certificate in certificates(pem)? {
            store.add(certificate).map_err(io::Error::other)?;
        }
    }
    if store.is_empty() {
        return Err(io::Error::other("no certificate in CONSUL_CACERT or CONSUL_CAPATH"));
    }
    Ok(store)
}

/// Takes any certificate, but still one whose key the server holds.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
