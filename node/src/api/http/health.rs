//! `/healthz`, `/readyz` and `/metrics`: for whoever watches the daemon.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::metadata::{Source, query};
use protocol::topology::Topology;
use protocol::{Fault, Kind};

use super::Api;
use super::problem::Failure;
use crate::meta::Freshness;

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: requests will be served. The API starts only when the store has recovered; a peer that joined a moment
/// ago is ready once it knows that it is a member, and with it who may ask what, and places blocks as the cluster does. One
/// that has been out of touch with the majority of its cluster for longer than an election takes is not, until it is again.
/// Answers at once, by what this peer knows.
pub(super) async fn readyz(State(api): State<Arc<Api>>) -> Result<&'static str, Failure> {
    if api.stopping.load(Ordering::Relaxed) {
        return Err(Failure(Fault::new(Kind::Unavailable, "this peer is shutting down")));
    }
    let own = api.node.meta().raft_id().0;
    let read = move |state: &dyn Source| {
        let is_member = query::member(state, own)?.is_some();
        Ok((is_member, query::topologies(state)?.first().map(Topology::epoch)))
    };
    let (is_member, agreed) = api.node.meta().read(Freshness::Local, read).await?;
    let unready = |detail: &str| Err(Failure(Fault::new(Kind::Unavailable, detail)));
    if !is_member {
        return unready("this peer has not heard from its cluster yet that it is a member");
    }
    if agreed.is_some_and(|epoch| epoch != api.node.peers().view().placement().topology().epoch()) {
        return unready("this peer does not place blocks yet as its cluster does");
    }
    if let Err(reason) = api.node.meta().in_touch() {
        return unready(&reason.to_string());
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
