//! `/api/v1/queue`: the work that waits at a peer, what moved between it and others, and what becomes of the jobs that
//! were given up.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use protocol::api;

use super::auth::Caller;
use super::problem::Failure;
use super::{Api, id_of};
use crate::work::LetterWish;

/// Shows the queue of the asked peer. Each peer has one of its own, and a job is in one of them; one that another peer
/// took is counted at both, at that peer among those of others.
#[utoipa::path(get, path = "/api/v1/queue", responses((status = 200, body = api::Queue)))]
pub(super) async fn show(State(api): State<Arc<Api>>) -> Result<Json<api::Queue>, Failure> {
    Ok(Json(api.node.queue().await?))
}

/// Tries a job again that the asked peer gave up, as if it were new. For administrators.
#[utoipa::path(post, path = "/api/v1/queue/{number}/retry", responses((status = 202, description = "Waits")))]
pub(super) async fn retry(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<StatusCode, Failure> {
    settle(&api, &caller, &number, LetterWish::Retry).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Forgets a job that the asked peer gave up. For administrators.
#[utoipa::path(delete, path = "/api/v1/queue/{number}", responses((status = 204)))]
pub(super) async fn forget(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(number): Path<String>,
) -> Result<StatusCode, Failure> {
    settle(&api, &caller, &number, LetterWish::Forget).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn settle(api: &Api, caller: &Caller, number: &str, wish: LetterWish) -> Result<(), Failure> {
    caller.must_be_admin()?;
    Ok(api.node.settle_letter(id_of(number, "a job")?, wish).await?)
}
