//! The headers that say who we are, from values or from files that may be rotated under us.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use consul8s_core::ports::{ApiError, ErrorKind};
use http::HeaderValue;
use secrecy::zeroize::Zeroizing;
use tokio::time::Instant;

use crate::config::{BasicAuth, Token, TokenSource};

/// A rotated token file must be in use within 10 s; looking every 2 s costs one read of a small file.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A token is a UUID, a login token a few kilobytes. What is larger is some other file.
const MAX_TOKEN_FILE_BYTES: u64 = 64 * 1024;

/// Hands out the current token.
pub(crate) struct Credentials {
    source: Option<TokenSource>,
    pub(crate) basic_auth: Option<BasicAuth>,
    file: Mutex<Looked>,
}

#[derive(Default)]
struct Looked {
    at: Option<Instant>,
    token: Option<Token>,
    /// Goes up with each change, so that a long poll can tell that it goes on under an old token.
    generation: u64,
}

impl Credentials {
    pub(crate) fn new(source: Option<TokenSource>, basic_auth: Option<BasicAuth>) -> Credentials {
        Credentials { source, basic_auth, file: Mutex::default() }
    }

    /// The token to send, with its generation; none = anonymous. An unreadable or empty file leaves the last token in force,
    /// and without one it is an error: an anonymous request might be answered with an empty list instead.
    pub(crate) fn token(&self) -> Result<(Option<HeaderValue>, u64), ApiError> {
        match &self.source {
            None => Ok((None, 0)),
            Some(TokenSource::Value(token)) => Ok((Some(token.header()), 0)),
            Some(TokenSource::File(path)) => {
                let mut looked = self.looked();
                let wrong = looked.look(path);
                match (&looked.token, wrong) {
                    (Some(token), _) => Ok((Some(token.header()), looked.generation)),
                    (None, wrong) => Err(ApiError::new(
                        ErrorKind::Forbidden,
                        format!("no Consul token from {}: {}", path.display(), wrong.unwrap_or_default()),
                    )),
                }
            }
        }
    }

    /// Waits until the token is another than that of `generation`; for ever when it can't change. A poll that waits minutes under a
    /// revoked token would not notice the new one.
    pub(crate) async fn changed(&self, generation: u64) {
        if !matches!(self.source, Some(TokenSource::File(_))) {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.token().is_ok_and(|(_, current)| current != generation) {
                return;
            }
        }
    }

    fn looked(&self) -> MutexGuard<'_, Looked> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looked {
    /// Reads the file again when it is time; says what is wrong with it.
    fn look(&mut self, path: &Path) -> Option<String> {
        let now = Instant::now();
        if self.token.is_some() && self.at.is_some_and(|at| now < at + LOOK_EVERY) {
            return None;
        }
        self.at = Some(now);
        match read(path) {
            Ok(token) if self.token.as_ref() == Some(&token) => None,
            Ok(token) => {
                self.generation += 1;
                if self.token.replace(token).is_some() {
                    tracing::info!(file = %path.display(), "the Consul token has changed");
                }
                None
            }
            Err(wrong) => {
                if self.token.is_some() {
                    tracing::warn!(file = %path.display(), %wrong, "the last Consul token stays in use");
                }
                Some(wrong)
            }
        }
    }
}

fn read(path: &Path) -> Result<Token, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = Zeroizing::new(String::new());
    let size = file.take(MAX_TOKEN_FILE_BYTES).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if size as u64 == MAX_TOKEN_FILE_BYTES {
        return Err("too large for a token".to_owned());
    }
    Token::new(&text).map_err(|error| error.to_string())?.ok_or_else(|| "empty".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(credentials: &Credentials) -> Option<String> {
        credentials.token().unwrap().0.map(|value| value.to_str().unwrap().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotated_file_is_seen_and_a_broken_one_leaves_the_last_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let credentials = Credentials::new(Some(TokenSource::File(path.clone())), None);
        let error = credentials.token().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Forbidden);

        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(value(&credentials).as_deref(), Some("one"));
        let (_, generation) = credentials.token().unwrap();
        std::fs::write(&path, "two").unwrap();
        credentials.changed(generation).await;
        assert_eq!(value(&credentials).as_deref(), Some("two"));

        std::fs::write(&path, "x".repeat(70 * 1024)).unwrap();
        tokio::time::advance(LOOK_EVERY * 2).await;
        assert_eq!(value(&credentials).as_deref(), Some("two"), "too large for a token");

        std::fs::write(&path, "").unwrap();
        tokio::time::advance(LOOK_EVERY * 2).await;
        assert_eq!(value(&credentials).as_deref(), Some("two"));
    }
}
