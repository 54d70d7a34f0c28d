//! The listeners: health, metrics. No answer here depends on Consul being up.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::listener::{self, Limits};
use crate::metrics::CONTENT_TYPE;

/// What the listeners show.
pub trait Shown: Send + Sync + 'static {
    /// The text for a metrics scrape.
    fn metrics(&self) -> String;
    /// Whether the process does its work: none, or why it should be restarted.
    fn not_live(&self) -> Option<String>;
    /// Whether both lists of Kubernetes are complete: none, or what is still awaited.
    fn not_ready(&self) -> Option<String>;
}

/// Opens a listener; the error names the address and the flag that changes it.
pub async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: choose another address with {flag}, or `{flag} off`"))
}

/// Serves health and metrics until `stop`.
pub async fn serve_admin<S: Shown>(listener: TcpListener, shown: Arc<S>, stop: CancellationToken) {
    let router = Router::new()
        .route("/livez", get(livez::<S>))
        .route("/readyz", get(readyz::<S>))
        .route("/metrics", get(metrics::<S>))
        .with_state(shown);
    listener::serve(listener, router, Limits::default(), stop).await;
}

/// Serves metrics alone, where the original had them, until `stop`.
pub async fn serve_metrics<S: Shown>(listener: TcpListener, shown: Arc<S>, stop: CancellationToken) {
    let router = Router::new().route("/metrics", get(metrics::<S>)).route("/", get(metrics::<S>)).with_state(shown);
    listener::serve(listener, router, Limits::default(), stop).await;
}

async fn livez<S: Shown>(State(shown): State<Arc<S>>) -> Response {
    health(shown.not_live())
}

async fn readyz<S: Shown>(State(shown): State<Arc<S>>) -> Response {
    health(shown.not_ready())
}

async fn metrics<S: Shown>(State(shown): State<Arc<S>>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], shown.metrics()).into_response()
}

fn health(trouble: Option<String>) -> Response {
    match trouble {
        None => (StatusCode::OK, "ok\n").into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
