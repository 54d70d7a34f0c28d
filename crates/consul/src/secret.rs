//! Secrets that go into headers: never shown, and wiped from memory when they are no longer needed. (What a request carries is a copy that
//! the HTTP library frees without wiping.)

use std::fmt;

use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::ConfigError;

/// The text of a header that nobody may see.
#[derive(Clone)]
pub(crate) struct Secret {
    text: SecretString,
    what: &'static str,
}

impl Secret {
    /// Takes what a header can carry; `what` is its name in errors.
    pub(crate) fn new(text: &str, what: &'static str) -> Result<Secret, ConfigError> {
        HeaderValue::from_str(text).map_err(|_| ConfigError::Secret { what })?;
        Ok(Secret { text: SecretString::from(text.to_owned()), what })
    }

    /// For a request.
    pub(crate) fn header(&self) -> HeaderValue {
        // It was tried when the secret was taken.
        let mut value = HeaderValue::from_str(self.text.expose_secret()).unwrap_or(HeaderValue::from_static(""));
        // hyper's own traces leave out what is marked.
        value.set_sensitive(true);
        value
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.text.expose_secret() == other.text.expose_secret()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, not shown)", self.what)
    }
}
