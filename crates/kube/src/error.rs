//! Every failure of a call, in the words of the seam: the only place that maps kube's errors.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use consul8s_core::ports::{ApiError, ErrorKind};
use http_body_util::LengthLimitError;
use hyper_util::client::legacy;
use kube::client::AuthError;
use kube::core::Status;
use kube::runtime::watcher;

use crate::transport::{MAX_BODY_BYTES, NoAnswer, Throttled};

/// Longest text of an error, in characters: it goes into Events, whose note ends at 1,024 bytes, and into log lines. A refused slice of
/// a hundred addresses would otherwise name each of them.
const MAX_TEXT: usize = 700;
/// Most links that are followed from an error to its cause.
const MAX_CAUSES: usize = 16;

/// A call, for the text of its error; put together only when there is one.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// `create`, `watch`, …
    pub(crate) verb: &'static str,
    /// `EndpointSlice shop/web-1`, `Services of all namespaces`, …
    pub(crate) what: &'a (dyn fmt::Display + Sync),
    /// The API server's address.
    pub(crate) server: &'a str,
}

impl Call<'_> {
    /// Waits for the call, but not longer than `limit`.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|e| self.error(&e)),
            Err(_) => {
                let why = format!("no complete answer within {} s", limit.as_secs());
                Err(self.failed(Reason::new(ErrorKind::Timeout, why)))
            }
        }
    }

    /// What kube says, in the words of the seam.
    pub(crate) fn error(&self, error: &kube::Error) -> ApiError {
        self.failed(reason(error))
    }

    /// What kube's watcher says, in the words of the seam.
    pub(crate) fn watch_error(&self, error: &watcher::Error) -> ApiError {
        use watcher::Error;
        self.failed(match error {
            Error::InitialListFailed(e) | Error::WatchStartFailed(e) | Error::WatchFailed(e) => reason(e),
            Error::WatchError(status) => from_status(status),
            Error::NoResourceVersion => {
                Reason::new(ErrorKind::Garbage, "an object or a list without a resourceVersion")
            }
        })
    }

    /// An answer that was understood, but does not hold what it must.
    pub(crate) fn garbage(&self, why: impl Into<String>) -> ApiError {
        self.failed(Reason::new(ErrorKind::Garbage, why))
    }

    fn failed(&self, reason: Reason) -> ApiError {
        let Reason { kind, why, retry_after } = reason;
        let Call { verb, what, server } = self;
        ApiError { kind, what: shortened(format!("cannot {verb} {what} at {server}: {why}")), retry_after }
    }
}

/// Why, without the call.
#[derive(Debug, PartialEq)]
struct Reason {
    kind: ErrorKind,
    why: String,
    retry_after: Option<Duration>,
}

impl Reason {
    fn new(kind: ErrorKind, why: impl Into<String>) -> Reason {
        Reason { kind, why: why.into(), retry_after: None }
    }
}

fn reason(error: &kube::Error) -> Reason {
    use kube::Error;
    match error {
        Error::Api(status) => from_status(status),
        Error::Auth(e) => Reason::new(ErrorKind::Forbidden, credential_text(e)),
        Error::HyperError(e) => from_chain(e),
        Error::Service(e) => from_chain(e.as_ref()),
        Error::ReadEvents(e) => from_chain(e),
        Error::SerdeError(_) | Error::FromUtf8(_) | Error::LinesCodecMaxLineLengthExceeded => {
            Reason::new(ErrorKind::Garbage, format!("the answer cannot be read: {error}"))
        }
        Error::BuildRequest(_) | Error::HttpError(_) => {
            Reason::new(ErrorKind::Invalid, format!("no request can be made of this: {error}"))
        }
        other => Reason::new(ErrorKind::Unreachable, other.to_string()),
    }
}

/// What the API server itself answered.
fn from_status(status: &Status) -> Reason {
    let kind = match status.code {
        // Nothing can be created in a namespace that is on its way out, however often one tries; no permission is missing.
        403 if has_cause(status, "NamespaceTerminating") => ErrorKind::Invalid,
        401 | 403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        // 504 is the API server's own "not within my time": as with ours, the call may have been carried out.
        408 | 504 => ErrorKind::Timeout,
        409 => ErrorKind::Conflict,
        410 => ErrorKind::Gone,
        429 => ErrorKind::Throttled,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Server,
    };
    let wait = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    let text = if status.message.is_empty() { &status.reason } else { &status.message };
    Reason {
        kind,
        why: format!("{} {text}", status.code),
        retry_after: (wait > 0).then(|| Duration::from_secs(wait.into())),
    }
}

fn has_cause(status: &Status, reason: &str) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == reason)
}

/// What happened on the way: ours, hyper's, rustls' and the kernel's errors, one inside the other.
fn from_chain(error: &(dyn StdError + 'static)) -> Reason {
    let chain = causes(error);
    if let Some(throttled) = chain.iter().find_map(|e| e.downcast_ref::<Throttled>()) {
        let kind = if throttled.status == 429 { ErrorKind::Throttled } else { ErrorKind::Server };
        return Reason { kind, why: throttled.to_string(), retry_after: throttled.retry_after };
    }
    if let Some(silent) = chain.iter().find_map(|e| e.downcast_ref::<NoAnswer>()) {
        return Reason::new(ErrorKind::Timeout, silent.to_string());
    }
    if is_too_large(error) {
        return Reason::new(ErrorKind::Garbage, format!("an answer of more than {} MiB", MAX_BODY_BYTES >> 20));
    }
    // A credential that cannot be read arrives here when it is read per request.
    if let Some(credential) = chain.iter().find_map(|e| e.downcast_ref::<AuthError>()) {
        return Reason::new(ErrorKind::Forbidden, credential_text(credential));
    }
    let why = chain.last().map_or_else(String::new, ToString::to_string);
    let connecting = chain.iter().filter_map(|e| e.downcast_ref::<legacy::Error>()).any(legacy::Error::is_connect);
    let timed_out =
        chain.iter().filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| e.kind() == io::ErrorKind::TimedOut);
    match (connecting, timed_out) {
        (true, true) => Reason::new(ErrorKind::Unreachable, "no connection in time"),
        (true, false) => Reason::new(ErrorKind::Unreachable, format!("no connection: {why}")),
        (false, true) => Reason::new(ErrorKind::Timeout, "the connection went silent"),
        (false, false) => Reason::new(ErrorKind::Unreachable, format!("the connection broke: {why}")),
    }
}

/// Whether an answer was larger than what is taken.
pub(crate) fn is_too_large(error: &(dyn StdError + 'static)) -> bool {
    causes(error).iter().any(|cause| cause.is::<LengthLimitError>())
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut chain = vec![error];
    let mut next = error.source();
    while let (Some(cause), true) = (next, chain.len() < MAX_CAUSES) {
        chain.push(cause);
        next = cause.source();
    }
    chain
}

/// kube's own texts may quote what a credential program printed, which may be the credential.
pub(crate) fn credential_text(error: &AuthError) -> String {
    match error {
        AuthError::AuthExecRun { cmd, out } => {
            format!("the kubeconfig's credential program `{cmd}` ended with {}", out.status)
        }
        AuthError::AuthExecParse(_) | AuthError::ParseTokenKey(_) => {
            "the kubeconfig's credential program printed something that is no ExecCredential".to_owned()
        }
        AuthError::AuthExec(_) => "the kubeconfig's credential program failed".to_owned(),
        other => format!("no credentials: {other}"),
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn status(code: u16, message: &str) -> Status {
        Status::failure(message, "").with_code(code)
    }

    fn details(cause: &str, retry_after_seconds: u32) -> StatusDetails {
        let cause = StatusCause { reason: cause.to_owned(), message: String::new(), field: String::new() };
        StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: vec![cause],
            retry_after_seconds,
        }
    }

    fn io_error(kind: io::ErrorKind) -> kube::Error {
        kube::Error::Service(Box::new(io::Error::new(kind, "as it happens")))
    }

    const CALL: Call<'static> =
        Call { verb: "update", what: &"EndpointSlice shop/web", server: "https://10.0.0.1:6443" };

    #[test]
    fn the_servers_answers() {
        let table = [
            (400, ErrorKind::Invalid),
            (401, ErrorKind::Forbidden),
            (403, ErrorKind::Forbidden),
            (404, ErrorKind::NotFound),
            (405, ErrorKind::Invalid),
            (408, ErrorKind::Timeout),
            (409, ErrorKind::Conflict),
            (410, ErrorKind::Gone),
            (413, ErrorKind::Invalid),
            (415, ErrorKind::Invalid),
            (422, ErrorKind::Invalid),
            (429, ErrorKind::Throttled),
            (500, ErrorKind::Server),
            (503, ErrorKind::Server),
            (504, ErrorKind::Timeout),
            (0, ErrorKind::Server),
        ];
        for (code, kind) in table {
            let got = CALL.error(&kube::Error::Api(status(code, "because").boxed()));
            assert_eq!(got.kind, kind, "{code}");
            assert_eq!(
                got.what,
                format!("cannot update EndpointSlice shop/web at https://10.0.0.1:6443: {code} because")
            );
            assert_eq!(got.retry_after, None);
        }
    }

    #[test]
    fn a_namespace_on_its_way_out_is_no_missing_permission() {
        let answer = status(403, "unable to create new content").with_details(details("NamespaceTerminating", 0));
        assert_eq!(CALL.error(&kube::Error::Api(answer.boxed())).kind, ErrorKind::Invalid);
    }

    #[test]
    fn the_servers_wish_is_kept() {
        let answer = status(429, "later").with_details(details("", 3));
        assert_eq!(CALL.error(&kube::Error::Api(answer.boxed())).retry_after, Some(Duration::from_secs(3)));
        let throttled = Throttled { status: 429, retry_after: Some(Duration::from_secs(5)) };
        let got = CALL.error(&kube::Error::Service(Box::new(throttled)));
        assert_eq!((got.kind, got.retry_after), (ErrorKind::Throttled, Some(Duration::from_secs(5))));
        let away = Throttled { status: 503, retry_after: Some(Duration::from_secs(1)) };
        assert_eq!(CALL.error(&kube::Error::Service(Box::new(away))).kind, ErrorKind::Server);
    }

    #[test]
    fn what_happens_on_the_way() {
        assert_eq!(CALL.error(&io_error(io::ErrorKind::ConnectionReset)).kind, ErrorKind::Unreachable);
        assert_eq!(CALL.error(&io_error(io::ErrorKind::TimedOut)).kind, ErrorKind::Timeout);
        assert_eq!(CALL.error(&kube::Error::Service(Box::new(NoAnswer))).kind, ErrorKind::Timeout);
        assert_eq!(CALL.error(&kube::Error::ReadEvents(io::Error::other("cut"))).kind, ErrorKind::Unreachable);
        let garbage = serde_json::from_str::<u8>("x").unwrap_err();
        assert_eq!(CALL.error(&kube::Error::SerdeError(garbage)).kind, ErrorKind::Garbage);
    }

    #[test]
    fn a_watch_says_the_same_as_a_call() {
        let gone = watcher::Error::WatchError(status(410, "too old resource version").boxed());
        assert_eq!(CALL.watch_error(&gone).kind, ErrorKind::Gone);
        let refused = watcher::Error::InitialListFailed(kube::Error::Api(status(403, "no").boxed()));
        assert_eq!(CALL.watch_error(&refused).kind, ErrorKind::Forbidden);
        assert_eq!(CALL.watch_error(&watcher::Error::NoResourceVersion).kind, ErrorKind::Garbage);
    }

    #[test]
    fn a_credential_programs_output_is_not_repeated() {
        use std::os::unix::process::ExitStatusExt;
        let out = std::process::Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: b"s.secret".to_vec(),
            stderr: b"s.secret".to_vec(),
        };
        let error = kube::Error::Auth(AuthError::AuthExecRun { cmd: "get-token".to_owned(), out: Box::new(out) });
        let got = CALL.error(&error);
        assert_eq!(got.kind, ErrorKind::Forbidden);
        assert!(got.what.contains("get-token") && !got.what.contains("secret"), "{}", got.what);
    }

    #[test]
    fn long_texts_are_cut() {
        let answer = status(422, &"ä".repeat(5000));
        let got = CALL.error(&kube::Error::Api(answer.boxed()));
        assert_eq!(got.what.chars().count(), MAX_TEXT + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn every_call_ends() {
        let got = CALL.within(Duration::from_secs(10), std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert_eq!(got.kind, ErrorKind::Timeout);
        assert!(got.what.ends_with("no complete answer within 10 s"), "{}", got.what);
    }
}
