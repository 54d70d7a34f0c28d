//! From what went wrong to what the caller acts on.

use std::time::Duration;

use consul8s_core::ports::{ApiError, ErrorKind};
use http::{HeaderMap, StatusCode, header};

/// As much of an error body as a person wants to read.
const SNIPPET_CHARS: usize = 200;

/// Texts under 500 that blame the request. Consul has no other way to say so.
const TELLING: [(&str, ErrorKind); 8] = [
    ("Failed to create boolean expression evaluator", ErrorKind::Invalid),
    ("No path to datacenter", ErrorKind::Invalid),
    ("Invalid Service Meta", ErrorKind::Invalid),
    ("Invalid Node Meta", ErrorKind::Invalid),
    ("Invalid service address", ErrorKind::Invalid),
    ("Must provide", ErrorKind::Invalid),
    // Passed on from another server.
    ("Permission denied", ErrorKind::Forbidden),
    ("ACL not found", ErrorKind::Forbidden),
];

/// The error of an answer that isn't 200. `call` is method and URL.
pub(crate) fn from_status(call: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ApiError {
    let text = String::from_utf8_lossy(body);
    let kind = match status.as_u16() {
        401 | 403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        410 => ErrorKind::Gone,
        429 => ErrorKind::Throttled,
        400..500 => ErrorKind::Invalid,
        500 => TELLING.iter().find(|(telling, _)| text.contains(telling)).map_or(ErrorKind::Server, |(_, kind)| *kind),
        501..600 => ErrorKind::Server,
        // Never followed: a token must not travel to an address nobody configured.
        300..400 => ErrorKind::Garbage,
        _ => ErrorKind::Garbage,
    };
    let mut what = format!("{call}: {}", status.as_u16());
    if let Some(reason) = status.canonical_reason() {
        what.push(' ');
        what.push_str(reason);
    }
    if let Some(target) = headers.get(header::LOCATION).filter(|_| status.is_redirection()) {
        what.push_str(&format!(
            ", a redirect to {}, which is not followed",
            printable(&String::from_utf8_lossy(target.as_bytes()))
        ));
    }
    let said = printable(&text);
    if !said.is_empty() {
        what.push_str(": ");
        what.push_str(&said);
    }
    ApiError { kind, what, retry_after: retry_after(headers) }
}

/// The first of a text, fit for one line of a log.
pub(crate) fn printable(text: &str) -> String {
    // Enough of it to find that much in; an error body may be megabytes.
    let text: String = text.chars().take(SNIPPET_CHARS * 4).collect();
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut chars = one_line.chars().filter(|char| !char.is_control());
    let mut short: String = chars.by_ref().take(SNIPPET_CHARS).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// `Retry-After` in seconds. The form with a date would need a clock that agrees with the server's.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> ErrorKind {
        from_status("GET http://c/v1/x", StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes()).kind
    }

    #[test]
    fn statuses() {
        let rows = [
            (400, "Invalid index", ErrorKind::Invalid),
            (401, "", ErrorKind::Forbidden),
            (403, "Permission denied: token with AccessorID", ErrorKind::Forbidden),
            (403, "ACL not found", ErrorKind::Forbidden),
            (404, "Invalid URL path", ErrorKind::NotFound),
            (405, "", ErrorKind::Invalid),
            (409, "", ErrorKind::Conflict),
            (413, "Transaction contains too many operations (129 > 128)", ErrorKind::Invalid),
            (429, "Your IP is issuing too many concurrent connections", ErrorKind::Throttled),
            (500, "No cluster leader", ErrorKind::Server),
            (500, "rpc error making call: rpc error: EOF", ErrorKind::Server),
            (500, "No path to datacenter", ErrorKind::Invalid),
            (500, "Failed to create boolean expression evaluator: 1:2 (1): no match found", ErrorKind::Invalid),
            (500, "rpc error making call: Permission denied", ErrorKind::Forbidden),
            (502, "<html>Bad Gateway</html>", ErrorKind::Server),
            (503, "", ErrorKind::Server),
            (301, "", ErrorKind::Garbage),
            (307, "", ErrorKind::Garbage),
            (204, "", ErrorKind::Garbage),
            (101, "", ErrorKind::Garbage),
        ];
        for (status, body, expected) in rows {
            assert_eq!(kind(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn texts_name_the_call_and_fit_a_line() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        headers.insert(header::LOCATION, "http://evil/".parse().unwrap());
        let status = StatusCode::MOVED_PERMANENTLY;
        let error = from_status("GET http://c/v1/x", status, &headers, b"<a>\n\x1b[31mx</a>");
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(
            error.what,
            "GET http://c/v1/x: 301 Moved Permanently, a redirect to http://evil/, which is not followed: <a> [31mx</a>"
        );
        assert!(printable(&"x".repeat(5000)).chars().count() <= SNIPPET_CHARS + 1);
    }
}
