//! From a question to a path with its query.

use std::time::Duration;

use consul8s_core::consul::{HealthQuery, Read};
use consul8s_core::import::CatalogQuery;
use consul8s_core::ports::{ApiError, ErrorKind};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// How old a stale answer may be before the server asks its leader instead.
pub(crate) const MAX_STALE: Duration = Duration::from_secs(10);
/// Consul's own limit (`max_query_time`); what is longer is cut there.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// All but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A path below the address, with its query. No secret ever stands in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target(String);

impl Target {
    /// A path made of these words, which need no escaping, and `name`, where there is one.
    pub(crate) fn new(path: &str, name: Option<&str>) -> Result<Target, ApiError> {
        let Some(name) = name else { return Ok(Target(path.to_owned())) };
        if name.is_empty() || name == "." || name == ".." || name.chars().any(char::is_control) {
            // Consul answers these for another path, or not at all.
            return Err(ApiError::new(
                ErrorKind::Invalid,
                format!("{name:?} is a name that Consul can't be asked for"),
            ));
        }
        Ok(Target(format!("{path}{}", utf8_percent_encode(name, ESCAPED))))
    }

    /// The same with one more parameter.
    pub(crate) fn with(mut self, key: &str, value: Option<&str>) -> Target {
        if let Some(value) = value {
            self.begin(key);
            self.0.push('=');
            self.0.extend(utf8_percent_encode(value, ESCAPED));
        }
        self
    }

    /// The same, to be answered like this.
    pub(crate) fn reading(mut self, read: Read) -> Target {
        match read {
            Read::Consistent => {
                self.begin("consistent");
                self
            }
            Read::Stale => self.stale(),
            Read::Blocking { index, wait } => {
                let wait = format!("{}ms", wait.min(MAX_WAIT).as_millis());
                // Never 0, which means "don't wait" to some versions.
                self.stale().with("index", Some(&index.max(1).to_string())).with("wait", Some(&wait))
            }
        }
    }

    fn stale(mut self) -> Target {
        self.begin("stale");
        self.with("max_stale", Some(&format!("{}s", MAX_STALE.as_secs())))
    }

    fn begin(&mut self, key: &str) {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(key);
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where the health of a service is read. `namespace` and `partition` are those of the configuration.
pub(crate) fn health(
    query: &HealthQuery,
    namespace: Option<&str>,
    partition: Option<&str>,
) -> Result<Target, ApiError> {
    Ok(Target::new("/v1/health/service/", Some(&query.name))?
        .with("dc", query.datacenter.as_deref())
        .with("ns", query.namespace.as_deref().or(namespace))
        .with("partition", query.partition.as_deref().or(partition))
        .with("peer", query.peer.as_deref())
        .with("filter", query.filter.as_deref()))
}

/// Where the names of services are read.
pub(crate) fn catalog(
    query: &CatalogQuery,
    namespace: Option<&str>,
    partition: Option<&str>,
) -> Result<Target, ApiError> {
    Ok(Target::new("/v1/catalog/services", None)?
        .with("dc", query.datacenter.as_deref())
        .with("ns", query.namespace.as_deref().or(namespace))
        .with("partition", query.partition.as_deref().or(partition))
        .with("filter", query.filter.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, read: Read) -> String {
        let query = HealthQuery { name: name.to_owned(), ..HealthQuery::default() };
        health(&query, None, None).unwrap().reading(read).as_str().to_owned()
    }

    #[test]
    fn reads() {
        assert_eq!(shown("web", Read::Stale), "/v1/health/service/web?stale&max_stale=10s");
        assert_eq!(shown("web", Read::Consistent), "/v1/health/service/web?consistent");
        assert_eq!(
            shown("web", Read::Blocking { index: 0, wait: Duration::from_millis(1500) }),
            "/v1/health/service/web?stale&max_stale=10s&index=1&wait=1500ms"
        );
        assert_eq!(
            shown("web", Read::Blocking { index: 7, wait: Duration::from_secs(3600) }),
            "/v1/health/service/web?stale&max_stale=10s&index=7&wait=600000ms"
        );
    }

    #[test]
    fn everything_a_user_writes_is_escaped() {
        assert_eq!(shown("a/b?c#d%e é", Read::Consistent), "/v1/health/service/a%2Fb%3Fc%23d%25e%20%C3%A9?consistent");
        assert_eq!(shown("../evil", Read::Consistent), "/v1/health/service/..%2Fevil?consistent");
        let query = HealthQuery {
            name: "web".into(),
            datacenter: Some("dc 2".into()),
            peer: Some("p&q".into()),
            filter: Some("Service.Meta.v == \"1\"".into()),
            partition: Some("own".into()),
            namespace: None,
        };
        assert_eq!(
            health(&query, Some("ns"), Some("default")).unwrap().as_str(),
            "/v1/health/service/web?dc=dc%202&ns=ns&partition=own&peer=p%26q&filter=Service.Meta.v%20%3D%3D%20%221%22"
        );
    }

    #[test]
    fn names_that_cannot_be_asked_for() {
        for name in ["", ".", "..", "a\nb", "a\0"] {
            let query = HealthQuery { name: name.to_owned(), ..HealthQuery::default() };
            assert_eq!(health(&query, None, None).unwrap_err().kind, ErrorKind::Invalid, "{name:?}");
        }
    }
}
