//! Bodies of answers, and the ways in which faults spoil them.

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

use crate::faults::Verdict;
use crate::world::Cut;

/// Body of an answer; an error in it breaks the connection.
pub type Body = UnsyncBoxBody<Bytes, Cut>;

/// An answer with a whole body.
pub(super) fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer that goes on as long as the stream does.
pub(super) fn endless(chunks: impl Stream<Item = Result<Bytes, Cut>> + Send + 'static) -> Response<Body> {
    let mut response = Response::new(StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Does to a finished answer what the verdict says.
///
/// # Errors
/// [`Cut`] when the answer is to be lost.
pub(super) async fn deliver(verdict: Verdict, response: Response<Body>) -> Result<Response<Body>, Cut> {
    match verdict {
        Verdict::Cut | Verdict::LoseReply => Err(Cut),
        Verdict::Serve { truncate: true } => cut_short(response).await,
        Verdict::Serve { truncate: false } | Verdict::Fail(_) => Ok(response),
    }
}

/// Announces the whole length, sends half of it, and breaks off.
async fn cut_short(response: Response<Body>) -> Result<Response<Body>, Cut> {
    let (mut head, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let half = bytes.slice(..bytes.len() / 2);
    let frames = stream::iter([Ok(Frame::data(half)), Err(Cut)]);
    Ok(Response::from_parts(head, StreamBody::new(frames).boxed_unsync()))
}
