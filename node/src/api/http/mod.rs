//! The HTTP API. `protocol::api` has its documents.
//!
//! The one home of the packages `axum` and `hyper`. Never: decides; holds a body whole, a block aside.

mod blocks;
mod body;
mod cluster;
mod content;
mod health;
mod problem;
mod range;
mod server;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::routing::{get, post};
use prometheus_client::registry::Registry;

use crate::env::Env;
use crate::node::Node;

pub use server::serve;

/// What every handler is given.
#[derive(Debug)]
pub struct Api<E: Env> {
    /// The peer that answers.
    pub node: Node<E>,
    /// The metrics of all its services.
    pub registry: Registry,
    /// Set when the peer stops: it wants no new requests.
    pub stopping: AtomicBool,
}

/// Returns the routes of the API.
pub fn router<E: Env>(api: Arc<Api<E>>) -> Router {
    Router::new()
        .route("/api/v1/content", post(content::store::<E>))
        .route("/api/v1/content/{cid}", get(content::read::<E>).delete(content::delete::<E>))
        .route("/api/v1/blocks/{cid}", get(blocks::read::<E>).put(blocks::store::<E>))
        .route("/api/v1/cluster", get(cluster::show::<E>))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz::<E>))
        .route("/metrics", get(health::metrics::<E>))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(problem::panicked))
        .with_state(api)
}
