//! `/api/v1/repair`: how many blocks lack copies, how long it takes until they have them, and how everything is
//! read again.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use protocol::api;

use super::Api;
use super::auth::Caller;
use super::problem::Failure;

/// Shows how repair stands in the partitions that the asked peer sees to: each partition is seen to by one peer, so
/// that the sum over all peers is the cluster's. The scrub is that of the asked peer's own blocks.
#[utoipa::path(get, path = "/api/v1/repair", responses((status = 200, body = api::RepairStatus)))]
pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Json<api::RepairStatus>, Failure> {
    Ok(Json(api.node.repair_status().await?))
}

/// Has the asked peer read everything again that it holds, now and as fast as a scrub may; one that goes on begins
/// anew. For administrators.
#[utoipa::path(post, path = "/api/v1/repair/scrub", responses((status = 202, description = "Begun")))]
pub(super) async fn scrub(
    State(api): State<Arc<Api>>,
    caller: Caller,
) -> Result<StatusCode, Failure> {
    caller.must_be_admin()?;
    api.node.begin_scrub().await?;
    Ok(StatusCode::ACCEPTED)
}
