//! `/api/v1/locks`: one holder at a time, in the order of asking.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use protocol::api::{self, LockAnswer, LockOp, LockState};
use protocol::metadata::{Op, Outcome, Source, query};

use super::auth::{Caller, GUARDED};
use super::problem::Failure;
use super::{Api, documents, proposed};
use crate::flows::{Acquire, acquire_lock, lock_name};

/// How long a lock is kept without a renewal unless its owner says.
const TTL: Duration = Duration::from_secs(30);

/// Bounds of what an owner may say: a renewal takes a commit, and a dead holder must not block for ever.
const TTL_MIN: Duration = Duration::from_millis(500);
/// See [`TTL_MIN`].
const TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long one request may wait: proxies in between give up on longer ones. Asking again keeps the place.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Takes, keeps or gives up a lock.
#[utoipa::path(post, path = "/api/v1/locks/{*name}", request_body = api::LockRequest,
    responses((status = 200, body = LockAnswer), (status = 202, body = LockAnswer),
        (status = 409, body = api::Problem)))]
pub(super) async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(request): Json<api::LockRequest>,
) -> Result<(StatusCode, Json<LockAnswer>), Failure> {
    let (name, owner) = (lock_name(&name)?, lock_name(&request.owner)?);
    let ttl = request.ttl_ms.map_or(TTL, Duration::from_millis);
    if !(TTL_MIN..=TTL_MAX).contains(&ttl) {
        return Err(Failure::invalid(format!(
            "ttl_ms={} is outside {} to {}",
            ttl.as_millis(),
            TTL_MIN.as_millis(),
            TTL_MAX.as_millis()
        )));
    }
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let outcome = match request.op {
        LockOp::Acquire => {
            let wait = request.wait_ms.map_or(Duration::ZERO, Duration::from_millis).min(WAIT_MAX);
            let wanted = Acquire { actor: caller.actor(), name, owner, ttl, wait };
            acquire_lock(api.node.context(), wanted).await?
        }
        LockOp::Renew => {
            let fence = request
                .fence
                .ok_or_else(|| Failure::invalid("renew needs the fence of the grant"))?;
            proposed(&api, &caller, &headers, Op::LockRenew { name, owner, fence, ttl_ms }).await?
        }
        LockOp::Release => match request.fence {
            Some(fence) => {
                proposed(&api, &caller, &headers, Op::LockRelease { name, owner, fence }).await?
            }
            // Whoever waits has no fence.
            None => proposed(&api, &caller, &headers, Op::LockWithdraw { name, owner }).await?,
        },
    };
    let mut answer =
        LockAnswer { state: LockState::Granted, fence: None, expires_in_ms: None, position: None };
    if let Outcome::Granted { fence, ttl_ms } = outcome {
        (answer.fence, answer.expires_in_ms) = (Some(fence), Some(ttl_ms));
    } else if let Outcome::Leased { .. } = outcome {
        (answer.fence, answer.expires_in_ms) = (request.fence, Some(ttl_ms));
    } else if let Outcome::Queued { position } = outcome {
        (answer.state, answer.position) = (LockState::Queued, Some(position.into()));
        return Ok((StatusCode::ACCEPTED, Json(answer)));
    } else if outcome == Outcome::Done {
        answer.state = LockState::Released;
    } else {
        return Err(documents::other_answer().into());
    }
    Ok((StatusCode::OK, Json(answer)))
}

/// Shows who holds a lock.
#[utoipa::path(get, path = "/api/v1/locks/{*name}", responses((status = 200, body = api::Lock)))]
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Result<Json<api::Lock>, Failure> {
    let name = lock_name(&name)?;
    let wanted = name.clone();
    let read = move |state: &dyn Source| query::lock(state, &wanted);
    let found = api.node.meta().read(GUARDED, read).await?;
    Ok(Json(match found {
        Some(lock) => api::Lock {
            name: name.to_string(),
            owner: Some(lock.holder.owner.to_string()),
            fence: Some(lock.holder.fence),
            waiting: lock.waiting.into(),
        },
        None => api::Lock { name: name.to_string(), owner: None, fence: None, waiting: 0 },
    }))
}
