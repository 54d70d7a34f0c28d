//! A request, taken apart once.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Limited};
use percent_encoding::percent_decode_str;

use crate::world::Cut;

/// More than any body that the real servers take (etcd's limit is 1.5 MiB, Consul's 512 KiB).
const MAX_BODY_BYTES: usize = 4 << 20;

/// A request with its body.
pub(super) struct Call {
    pub(super) method: Method,
    /// Decoded path.
    pub(super) path: String,
    /// Decoded parameters, in the order given.
    params: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    /// Reads a request to its end.
    ///
    /// # Errors
    /// [`Cut`] when the body breaks off or is too large to be meant seriously.
    pub(super) async fn read<B>(request: Request<B>) -> Result<Call, Cut>
    where
        B: hyper::body::Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|_| Cut)?.to_bytes();
        let params = head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let params = params.map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
        });
        let (params, path) = (params.collect(), decode(head.uri.path()));
        Ok(Call { method: head.method, path, params, headers: head.headers, body })
    }

    /// First value of a parameter; empty when it is there without one.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// First value of a parameter unless it is empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.param(name).filter(|value| !value.is_empty())
    }

    /// Whether a parameter is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.param(name).is_some()
    }

    /// Whether a parameter says yes, as Kubernetes' clients write it.
    pub(super) fn is_true(&self, name: &str) -> bool {
        matches!(self.param(name), Some("true" | "1"))
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
