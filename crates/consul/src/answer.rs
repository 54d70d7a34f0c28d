//! What a whole answer says: its headers, and its body read to the end within bounds.

use std::io::Read as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use consul8s_core::consul::AnswerMeta;
use consul8s_core::ports::{ApiError, ErrorKind};
use flate2::read::GzDecoder;
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use crate::dial::reason;

/// The largest body we take: about 35,000 instances of one service. What is larger is not an answer to our questions, and must
/// not take our memory; the same bound holds after unpacking.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 20;

/// Reads a body to its end.
pub(crate) async fn collect(call: &str, headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, ApiError> {
    let garbage = |why: &str| ApiError::new(ErrorKind::Garbage, format!("{call}: {why}"));
    let too_large = || garbage(&format!("an answer of more than {} MiB", MAX_BODY_BYTES >> 20));
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| garbage(&format!("the answer was cut short: {}", reason(&error))))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > MAX_BODY_BYTES {
                return Err(too_large());
            }
            whole.extend_from_slice(&data);
        }
    }
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(whole.freeze()),
        Some(b"gzip") => match unpack(&whole) {
            Ok(Some(unpacked)) => Ok(unpacked),
            Ok(None) => Err(too_large()),
            Err(error) => Err(garbage(&format!("not gzip: {error}"))),
        },
        Some(_) => Err(garbage("an encoding we did not ask for")),
    }
}

/// None when it is larger than the bound.
fn unpack(packed: &[u8]) -> std::io::Result<Option<Bytes>> {
    let mut unpacked = Vec::new();
    let size = GzDecoder::new(packed).take(MAX_BODY_BYTES as u64 + 1).read_to_end(&mut unpacked)?;
    Ok((size <= MAX_BODY_BYTES).then(|| unpacked.into()))
}

/// Reads the headers that say what an answer is worth.
pub(crate) fn meta(headers: &HeaderMap, anonymous: bool) -> AnswerMeta {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let is = |name: &str, word: &str| text(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
    let number = |name: &str| text(name).and_then(|value| value.parse::<u64>().ok());
    AnswerMeta {
        index: number("x-consul-index").unwrap_or(0),
        // The streaming backend has no view of the leader, and says false or nothing.
        leaderless: is("x-consul-knownleader", "false") && !is("x-consul-query-backend", "streaming"),
        last_contact: Duration::from_millis(number("x-consul-lastcontact").unwrap_or(0)),
        filtered: is("x-consul-results-filtered-by-acls", "true"),
        polled: false,
        anonymous_under_deny: anonymous && is("x-consul-default-acl-policy", "deny"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn read(rows: &[(&'static str, &'static str)], anonymous: bool) -> AnswerMeta {
        let headers = rows
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), header::HeaderValue::from_static(value)));
        meta(&headers.collect(), anonymous)
    }

    #[test]
    fn headers() {
        let full = [
            ("x-consul-index", "18"),
            ("x-consul-knownleader", "true"),
            ("x-consul-lastcontact", "12"),
            ("x-consul-default-acl-policy", "allow"),
        ];
        let expected = AnswerMeta { index: 18, last_contact: Duration::from_millis(12), ..AnswerMeta::default() };
        assert_eq!(read(&full, true), expected);
        assert_eq!(read(&[], true), AnswerMeta::default());
        for garbage in ["", "-1", "x", "99999999999999999999999"] {
            assert_eq!(read(&[("x-consul-index", garbage)], true).index, 0, "{garbage}");
        }
        assert!(read(&[("x-consul-knownleader", "false")], true).leaderless);
        let streaming = [("x-consul-knownleader", "false"), ("x-consul-query-backend", "streaming")];
        assert!(!read(&streaming, true).leaderless);
        assert!(read(&[("x-consul-results-filtered-by-acls", "true")], false).filtered);
        assert!(read(&[("x-consul-default-acl-policy", "deny")], true).anonymous_under_deny);
        assert!(!read(&[("x-consul-default-acl-policy", "deny")], false).anonymous_under_deny);
    }

    #[test]
    fn gzip_is_unpacked_within_bounds() {
        let pack = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(unpack(&pack(b"[]")).unwrap().unwrap(), "[]");
        let bomb = pack(&vec![b' '; MAX_BODY_BYTES + 1]);
        assert!(bomb.len() < MAX_BODY_BYTES / 100);
        assert_eq!(unpack(&bomb).unwrap(), None);
        let whole = pack(b"[1,2,3]");
        assert!(unpack(&whole[..whole.len() - 9]).is_err());
        assert!(unpack(b"[]").is_err());
    }
}
