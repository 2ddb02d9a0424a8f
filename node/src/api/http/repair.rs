//! `/api/v1/repair`: how many blocks lack copies, and how long it takes until they have them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use protocol::api;

use super::Api;
use super::problem::Failure;

/// Shows how repair stands in the partitions that the asked peer sees to: each partition is seen to by one peer, so
/// that the sum over all peers is the cluster's.
#[utoipa::path(get, path = "/api/v1/repair", responses((status = 200, body = api::RepairStatus)))]
pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Json<api::RepairStatus>, Failure> {
    Ok(Json(api.node.repair_status().await?))
}
