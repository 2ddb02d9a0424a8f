//! Changes of the metadata on behalf of clients, which may ask twice.

use std::time::Duration;

use protocol::metadata::{Actor, Asked, Command, Op, Outcome, RequestId};
use protocol::{Fault, WallTime};

use super::repeat::request_of;
use crate::env::Env;
use crate::meta::Meta;

/// How long the cluster may take to agree: through a change of leader, and some more.
pub(crate) const COMMIT_PATIENCE: Duration = Duration::from_secs(15);

/// Proposes what a client asks for under its own id: asked again, it gets the same answer.
///
/// # Errors
/// The refusal, or [`protocol::Kind::Unavailable`] when the cluster cannot agree in time: the outcome may be
/// unknown then, and asking again under the same id is safe.
pub(crate) async fn propose<E: Env>(
    meta: &Meta<E>,
    request: RequestId,
    op: Op,
    actor: Actor,
) -> Result<Outcome, Fault> {
    let request = request_of(request, &actor, &Asked::Change(&op))?;
    submit(meta, request, op, actor).await
}

/// Proposes a change under the cluster's id of the request.
///
/// # Errors
/// As [`propose`].
pub(super) async fn submit<E: Env>(
    meta: &Meta<E>,
    request: RequestId,
    op: Op,
    actor: Actor,
) -> Result<Outcome, Fault> {
    // The leader says when.
    meta.submit(Command { request, at: WallTime::default(), actor, op }, COMMIT_PATIENCE).await
}

/// Returns a request id that nobody else has.
pub(crate) fn new_request<E: Env>(env: &E) -> RequestId {
    let mut bytes = [0; 16];
    env.fill_secret(&mut bytes);
    RequestId(bytes)
}
