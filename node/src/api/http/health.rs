//! `/healthz`, `/readyz` and `/metrics`: for whoever watches the daemon.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::{Fault, Kind};

use super::Api;
use super::problem::Failure;

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: requests will be served; the API starts only when the store has recovered.
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Result<&'static str, Failure> {
    if api.stopping.load(Ordering::Relaxed) {
        return Err(Failure(Fault::new(Kind::Unavailable, "this peer is shutting down")));
    }
    Ok("ready\n")
}

/// `GET /metrics`: in the OpenMetrics text format.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &api.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
