//! Consul's own environment variables, read the way its command line reads them.

use crate::config::{Address, BasicAuth, ClientConfig, ConfigError, Token, TokenSource};

impl ClientConfig {
    /// The settings that `look_up` knows by the names of Consul's own variables (`CONSUL_HTTP_ADDR` and so on; an empty one
    /// counts as absent). `addresses`, where given, goes before `CONSUL_HTTP_ADDR`; both are lists.
    ///
    /// It takes a function and not the environment itself, so that the program stays the only reader of that.
    pub fn from_env(
        addresses: Option<&str>,
        look_up: impl Fn(&str) -> Option<String>,
    ) -> Result<ClientConfig, ConfigError> {
        let get = |name: &str| look_up(name).filter(|value| !value.trim().is_empty());
        let flag = |name: &'static str| get(name).map(|value| truth(name, &value)).transpose();
        let mut config = ClientConfig::default();

        let secure = flag("CONSUL_HTTP_SSL")?.unwrap_or(false);
        if let Some(list) = addresses.map(str::to_owned).or_else(|| get("CONSUL_HTTP_ADDR")) {
            config.addresses = parse_list(&list)?;
        }
        if secure {
            config.addresses = config.addresses.into_iter().map(Address::secured).collect();
        }
        config.token = match (get("CONSUL_HTTP_TOKEN"), get("CONSUL_HTTP_TOKEN_FILE")) {
            // As in Consul's client: the file goes before the value.
            (_, Some(path)) => Some(TokenSource::File(path.into())),
            (Some(secret), None) => Token::new(&secret)?.map(TokenSource::Value),
            (None, None) => None,
        };
        config.basic_auth = get("CONSUL_HTTP_AUTH").map_or(Ok(None), |pair| BasicAuth::new(&pair))?;
        config.tls.verify = flag("CONSUL_HTTP_SSL_VERIFY")?.unwrap_or(true);
        config.tls.ca_file = get("CONSUL_CACERT").map(Into::into);
        config.tls.ca_path = get("CONSUL_CAPATH").map(Into::into);
        config.tls.client_cert = get("CONSUL_CLIENT_CERT").map(Into::into);
        config.tls.client_key = get("CONSUL_CLIENT_KEY").map(Into::into);
        config.tls.server_name = get("CONSUL_TLS_SERVER_NAME");
        config.namespace = get("CONSUL_NAMESPACE");
        config.partition = get("CONSUL_PARTITION");
        Ok(config)
    }
}

fn parse_list(list: &str) -> Result<Vec<Address>, ConfigError> {
    let parsed: Vec<Address> =
        list.split(',').filter(|part| !part.trim().is_empty()).map(Address::parse).collect::<Result<_, _>>()?;
    if parsed.is_empty() {
        return Err(ConfigError::Address { value: list.to_owned(), why: "no address in it" });
    }
    Ok(parsed)
}

/// What Go's `strconv.ParseBool` takes, and `true`/`false` in any case.
fn truth(name: &'static str, value: &str) -> Result<bool, ConfigError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(ConfigError::Flag { name, value: value.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(addresses: Option<&str>, env: &[(&str, &str)]) -> Result<ClientConfig, ConfigError> {
        ClientConfig::from_env(addresses, |name| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn shown(config: &ClientConfig) -> Vec<String> {
        config.addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn addresses_come_from_the_flag_then_the_variable_then_the_default() {
        let env = [("CONSUL_HTTP_ADDR", "a:1, b:2,")];
        assert_eq!(shown(&read(Some("c:3"), &env).unwrap()), ["http://c:3"]);
        assert_eq!(shown(&read(None, &env).unwrap()), ["http://a:1", "http://b:2"]);
        assert_eq!(shown(&read(None, &[]).unwrap()), ["http://127.0.0.1:8500"]);
        assert!(read(Some(" , "), &[]).is_err());
    }

    #[test]
    fn tls_and_secrets() {
        let env = [
            ("CONSUL_HTTP_ADDR", "http://consul:8501"),
            ("CONSUL_HTTP_SSL", "True"),
            ("CONSUL_HTTP_SSL_VERIFY", "0"),
            ("CONSUL_CACERT", "/ca.pem"),
            ("CONSUL_TLS_SERVER_NAME", "server.dc1.consul"),
            ("CONSUL_HTTP_TOKEN", "t"),
            ("CONSUL_HTTP_TOKEN_FILE", "/token"),
            ("CONSUL_HTTP_AUTH", ""),
            ("CONSUL_NAMESPACE", "ns"),
        ];
        let config = read(None, &env).unwrap();
        assert_eq!(shown(&config), ["https://consul:8501"]);
        assert!(!config.tls.verify && config.basic_auth.is_none());
        assert_eq!(config.tls.ca_file, Some("/ca.pem".into()));
        assert_eq!(config.tls.server_name.as_deref(), Some("server.dc1.consul"));
        assert!(matches!(config.token, Some(TokenSource::File(_))));
        assert_eq!(config.namespace.as_deref(), Some("ns"));
        let error = read(None, &[("CONSUL_HTTP_SSL", "maybe")]).unwrap_err().to_string();
        assert_eq!(error, "CONSUL_HTTP_SSL=\"maybe\" is neither true nor false");
    }
}
