//! Freeing: blocks that no committed object and no upload in progress refers to any more.
//!
//! Every peer looks through the owners of its own blocks and asks its own copy of the metadata about each. An
//! owner that is dead there stays dead, however old that copy is (see `protocol::metadata`), so that no peer
//! has to be asked, and a crash at any moment leaves only work to be done again. Never: frees by age alone.

use std::time::Duration;

use protocol::limits::OWNERS_MAX;
use protocol::metadata::query::{self, UploadState};
use protocol::{Fault, OwnerId};
use tracing::{debug, warn};

use super::Context;
use crate::env::Env;
use crate::meta::Freshness;

/// How often the owners are looked through at least: many cost a scan of the index.
const ROUND_MAX: Duration = Duration::from_secs(600);

/// And at most, however short the grace period is.
const ROUND_MIN: Duration = Duration::from_secs(1);

/// Looks through the owners of this peer's blocks for as long as the peer runs.
pub(crate) async fn collect<E: Env>(context: Context<E>) {
    loop {
        let pause = match round(&context).await {
            Ok(grace) => (grace / 4).clamp(ROUND_MIN, ROUND_MAX),
            Err(fault) => {
                warn!(err = %fault, "unreferenced blocks not looked for");
                ROUND_MIN * 10
            }
        };
        context.env.sleep_until(context.env.now().after(pause)).await;
    }
}

/// Frees what is dead now, and returns the grace period.
async fn round<E: Env>(context: &Context<E>) -> Result<Duration, Fault> {
    let mut after = None;
    loop {
        let owners = context.store.owners_after(after, OWNERS_MAX).await?;
        let Some(last) = owners.last().copied() else { break };
        for owner in dead_among(context, owners).await? {
            let (blocks, bytes) = context.store.release(owner).await?;
            if blocks > 0 {
                debug!(%owner, blocks, bytes, "blocks of a dead upload freed");
            }
            context.metrics.collected_blocks.inc_by(blocks);
            context.metrics.collected_bytes.inc_by(bytes);
        }
        after = Some(last);
    }
    let settings = context.meta.read(Freshness::Local, |state| query::settings(state)).await?;
    // Before the cluster is known there is nothing to free, and nobody knows how soon there will be.
    Ok(settings.map_or(ROUND_MIN, |settings| Duration::from_millis(settings.grace_ms)))
}

/// Returns which of these owners are dead, by this peer's copy of the metadata.
pub(super) async fn dead_among<E: Env>(
    context: &Context<E>,
    owners: Vec<OwnerId>,
) -> Result<Vec<OwnerId>, Fault> {
    let collects_uploads = context.planted.collect_uploads;
    let dead = context.meta.read(Freshness::Local, move |state| {
        let mut dead = Vec::new();
        for &owner in &owners {
            let is_dead = match query::upload_state(state, owner)? {
                UploadState::Dead => true,
                UploadState::InProgress => collects_uploads,
                UploadState::Referenced => false,
            };
            if owner != OwnerId::REPAIR && is_dead {
                dead.push(owner);
            }
        }
        Ok(dead)
    });
    dead.await
}
