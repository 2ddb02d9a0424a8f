//! `/api/v1/queue`: the work that waits at a peer, and what moved between it and others.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api;

use super::Api;
use super::problem::Failure;

/// Shows the queue of the asked peer. Each peer has one of its own, and a job is in one of them; one that another peer
/// took is counted at both, at that peer among those of others.
#[utoipa::path(get, path = "/api/v1/queue", responses((status = 200, body = api::Queue)))]
pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Json<api::Queue>, Failure> {
    Ok(Json(api.node.queue().await?))
}
