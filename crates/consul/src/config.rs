//! Where Consul is and how we speak to it: plain values, checked once.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use http::uri::{Authority, Scheme};
use secrecy::zeroize::Zeroizing;

use crate::secret::Secret;

/// Port of a bare `host` over plain HTTP; Consul's own default.
const DEFAULT_HTTP_PORT: u16 = 8500;
/// Port of a bare `host` over TLS; Consul's convention.
const DEFAULT_HTTPS_PORT: u16 = 8501;
/// Connections per replica unless told otherwise: well below the 200 that Consul allows one source address, which a pod behind
/// its node's address shares with every other client on that node.
pub const DEFAULT_MAX_CONNECTIONS: usize = 90;

/// Everything the client needs to know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where Consul is. Tried in turn: the next one when no connection comes about, and then kept.
    pub addresses: Vec<Address>,
    /// Token of each request, unless anonymous.
    pub token: Option<TokenSource>,
    /// HTTP basic authentication, for a proxy in front of Consul.
    pub basic_auth: Option<BasicAuth>,
    /// TLS, for addresses that are `https`.
    pub tls: TlsConfig,
    /// Enterprise namespace of requests that name none.
    pub namespace: Option<String>,
    /// Enterprise partition of requests that name none.
    pub partition: Option<String>,
    /// Connections at a time, all told and never fewer than three; a tenth (at least two) is kept for writes and confirming reads.
    pub max_connections: usize,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            addresses: vec![Address::local()],
            token: None,
            basic_auth: None,
            tls: TlsConfig::default(),
            namespace: None,
            partition: None,
            max_connections: DEFAULT_MAX_CONNECTIONS,
        }
    }
}

impl ClientConfig {
    /// The first address to which a secret would go in plain text over a network; none where that can't happen.
    #[must_use]
    pub fn shows_secrets_to(&self) -> Option<&Address> {
        let secret = self.token.is_some() || self.basic_auth.is_some();
        self.addresses.iter().find(|address| secret && !address.is_secure() && !address.is_local())
    }
}

/// Why a setting was refused. Names the value, unless it is secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// An address we can't use.
    #[error("Consul address {value:?}: {why}; write host:port, http://host:port or https://host:port/prefix")]
    Address {
        /// As given.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A secret that can't stand in an HTTP header.
    #[error("{what} holds a character that no HTTP header may carry (a line break within it?)")]
    Secret {
        /// Which one.
        what: &'static str,
    },
    /// An environment variable that is neither true nor false.
    #[error("{name}={value:?} is neither true nor false")]
    Flag {
        /// Name of the variable.
        name: &'static str,
        /// As given.
        value: String,
    },
}

/// One address of Consul.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    secure: bool,
    authority: String,
    /// `host` alone: the port follows the scheme.
    bare: bool,
    prefix: String,
}

impl Address {
    /// `127.0.0.1:8500`, where an agent on this machine listens.
    #[must_use]
    pub fn local() -> Address {
        Address {
            secure: false,
            authority: format!("127.0.0.1:{DEFAULT_HTTP_PORT}"),
            bare: false,
            prefix: String::new(),
        }
    }

    /// Reads `host`, `host:port`, `http://…` or `https://…`, the last two with an optional path before `/v1`.
    pub fn parse(value: &str) -> Result<Address, ConfigError> {
        let fail = |why| ConfigError::Address { value: value.to_owned(), why };
        let text = value.trim();
        let (secure, url, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, true, rest),
            Some(("https", rest)) => (true, true, rest),
            Some(("unix", _)) => return Err(fail("unix sockets are not supported")),
            Some(_) => return Err(fail("unknown scheme")),
            None => (false, false, text),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            // The value would show the password.
            return Err(ConfigError::Address {
                value: "…@…".to_owned(),
                why: "a user and password belong into CONSUL_HTTP_AUTH",
            });
        }
        if path.contains(['?', '#']) || path.split('/').any(|segment| segment == "..") {
            return Err(fail("a path without query is all that may follow the host"));
        }
        let authority: Authority = host.parse().map_err(|_| fail("not a host with a port"))?;
        if authority.host().is_empty() {
            return Err(fail("no host"));
        }
        let given = authority.as_str()[authority.host().len()..].strip_prefix(':');
        if given.is_some() && matches!(authority.port_u16(), None | Some(0)) {
            return Err(fail("the port is not a number from 1 to 65535"));
        }
        let prefix = path.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        let usable = format!("http://{host}{prefix}").parse::<http::Uri>().is_ok();
        if !usable {
            return Err(fail("the path holds a character that no address may carry"));
        }
        Ok(Address { secure, authority: host.to_owned(), bare: given.is_none() && !url, prefix })
    }

    /// The same over TLS (`CONSUL_HTTP_SSL=true`).
    #[must_use]
    pub fn secured(self) -> Address {
        Address { secure: true, ..self }
    }

    /// Whether it is spoken to over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether it is on this machine, as far as the address itself says.
    #[must_use]
    pub fn is_local(&self) -> bool {
        let authority: Option<Authority> = self.authority.parse().ok();
        let host = authority.as_ref().map_or("", |authority| authority.host()).trim_matches(['[', ']']);
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let ip = host.parse::<IpAddr>().map(|ip| ip.to_canonical());
        ip.map_or(name == "localhost" || name.ends_with(".localhost"), |ip| ip.is_loopback())
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.secure { Scheme::HTTPS } else { Scheme::HTTP }
    }

    /// Host, with the port where one was given or follows from the form.
    pub(crate) fn authority(&self) -> String {
        match (self.bare, self.secure) {
            (false, _) => self.authority.clone(),
            (true, false) => format!("{}:{DEFAULT_HTTP_PORT}", self.authority),
            (true, true) => format!("{}:{DEFAULT_HTTPS_PORT}", self.authority),
        }
    }

    /// Path before `/v1`; empty or `/some/path`.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.prefix)
    }
}

/// An ACL token. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Secret);

impl Token {
    /// Takes a token, trimmed; none when nothing is left.
    pub fn new(secret: &str) -> Result<Option<Token>, ConfigError> {
        let secret = secret.trim();
        if secret.is_empty() {
            return Ok(None);
        }
        Secret::new(secret, "the Consul token").map(|secret| Some(Token(secret)))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.header()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where the token comes from.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// Given once.
    Value(Token),
    /// A file, read again when it changes.
    File(PathBuf),
}

/// HTTP basic authentication. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicAuth(Secret);

impl BasicAuth {
    /// Takes `user:password` or `user`; none when empty.
    pub fn new(pair: &str) -> Result<Option<BasicAuth>, ConfigError> {
        if pair.is_empty() {
            return Ok(None);
        }
        let pair = Zeroizing::new(if pair.contains(':') { pair.to_owned() } else { format!("{pair}:") });
        let text = Zeroizing::new(format!("Basic {}", BASE64.encode(pair.as_bytes())));
        Secret::new(&text, "CONSUL_HTTP_AUTH").map(|secret| Some(BasicAuth(secret)))
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.header()
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicAuth(…)")
    }
}

/// TLS towards Consul. Files are read again for each new connection when they have changed.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Certificates to trust, in one PEM file. With neither this nor `ca_path`, those of the system.
    pub ca_file: Option<PathBuf>,
    /// Certificates to trust, in a folder of PEM files.
    pub ca_path: Option<PathBuf>,
    /// Our certificate, with its chain.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
    /// Name that Consul's certificate must bear, where it isn't the address's host (`server.dc1.consul`).
    pub server_name: Option<String>,
    /// Whether Consul's certificate is checked.
    pub verify: bool,
}

impl Default for TlsConfig {
    fn default() -> TlsConfig {
        TlsConfig { ca_file: None, ca_path: None, client_cert: None, client_key: None, server_name: None, verify: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let rows = [
            ("10.0.0.1:8500", "http://10.0.0.1:8500"),
            ("consul", "http://consul:8500"),
            (" [::1]:8500 ", "http://[::1]:8500"),
            ("[::1]", "http://[::1]:8500"),
            ("http://consul", "http://consul"),
            ("http://consul:80/", "http://consul:80"),
            ("https://lb.example/consul/", "https://lb.example/consul"),
            ("https://lb.example:8501/a/b", "https://lb.example:8501/a/b"),
        ];
        for (value, shown) in rows {
            assert_eq!(Address::parse(value).unwrap().to_string(), shown, "{value}");
        }
        assert_eq!(Address::parse("consul").unwrap().secured().to_string(), "https://consul:8501");
        assert_eq!(Address::parse("consul:8500").unwrap().secured().to_string(), "https://consul:8500");
    }

    #[test]
    fn addresses_refused_by_name() {
        for value in [
            "",
            "unix:///run/consul",
            "ftp://consul",
            "consul:99999",
            "consul:0",
            "consul:x",
            "a b:1",
            "http://",
            "http://c/?x",
            "c:1/..",
        ] {
            let error = Address::parse(value).unwrap_err().to_string();
            assert!(error.contains(&format!("{value:?}")), "{value}: {error}");
        }
        let error = Address::parse("http://me:hunter2@consul:8500").unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("CONSUL_HTTP_AUTH"), "{error}");
    }

    #[test]
    fn secrets_do_not_show() {
        let token = Token::new(" hunter2\n").unwrap();
        let auth = BasicAuth::new("me:hunter2").unwrap();
        assert_eq!(
            auth.as_ref().map(|auth| auth.header().to_str().unwrap().to_owned()).as_deref(),
            Some("Basic bWU6aHVudGVyMg==")
        );
        let config = ClientConfig { token: token.map(TokenSource::Value), basic_auth: auth, ..ClientConfig::default() };
        let shown = format!("{config:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("bWU6"), "{shown}");
        assert_eq!(Token::new("  "), Ok(None));
        let error = Token::new("hun\nter2").unwrap_err().to_string();
        assert!(!error.contains("ter2"), "{error}");
    }

    #[test]
    fn a_secret_in_plain_text_stays_on_this_machine() {
        let token = Token::new("t").unwrap().map(TokenSource::Value);
        for (address, shown) in [
            ("127.0.0.1:8500", false),
            ("127.9.9.9:8500", false),
            ("localhost:8500", false),
            ("http://agent.LOCALHOST./", false),
            ("[::1]:8500", false),
            ("[::ffff:127.0.0.1]:8500", false),
            ("https://consul", false),
            ("consul:8500", true),
            ("10.0.0.1", true),
            ("localhost.example.com", true),
            ("[fd00::1]:8500", true),
            ("0.0.0.0:8500", true),
        ] {
            let local = Address::local();
            let config = ClientConfig {
                addresses: vec![local, Address::parse(address).unwrap()],
                token: token.clone(),
                ..ClientConfig::default()
            };
            assert_eq!(config.shows_secrets_to().is_some(), shown, "{address}");
            let auth = ClientConfig { token: None, basic_auth: BasicAuth::new("a:b").unwrap(), ..config.clone() };
            assert_eq!(auth.shows_secrets_to().is_some(), shown, "{address}");
            assert_eq!(ClientConfig { token: None, ..config }.shows_secrets_to(), None);
        }
    }
}
