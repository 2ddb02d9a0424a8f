//! Taking back: an owner gives up its references, and blocks that nobody else refers to are freed.
//!
//! Best effort in this form: a peer that is away keeps what it holds. Never: removes a block itself; each
//! peer's store does, when the last reference is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::membership::Liveness;
use protocol::wire::{Class, Reply, Request};
use protocol::{Cid, Fault, Kind, OwnerId, PeerId};
use tracing::debug;

use super::Context;
use crate::env::Env;

/// How long one peer may take to release an owner: it walks its references.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(30);

/// What was freed, over all peers that answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// Copies of blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Peers that did not answer: they keep what they hold, and what they hold can come back.
    pub peers_missed: u64,
}

/// Gives up every upload of the object `root`, on all peers that can be reached.
///
/// # Errors
/// [`Kind::NotFound`] when no peer knows it as the root of an upload, [`Kind::Unavailable`] when none that
/// answered does.
pub async fn delete<E: Env>(context: &Context<E>, root: Cid) -> Result<Freed, Fault> {
    let view = context.peers.view();
    let peers: BTreeSet<PeerId> = view
        .peers()
        .values()
        .filter(|info| info.id == view.own() || info.liveness != Liveness::Left)
        .map(|info| info.id)
        .collect();
    let mut owners = BTreeSet::new();
    let mut peers_missed = 0;
    let mut asked: FuturesUnordered<_> =
        peers.iter().map(|peer| owners_at(context, *peer, root)).collect();
    while let Some(found) = asked.next().await {
        match found {
            Ok(found) => owners.extend(found),
            Err(_) => peers_missed += 1,
        }
    }
    drop(asked);
    if owners.is_empty() && peers_missed > 0 {
        return Err(Fault::new(
            Kind::Unavailable,
            format!(
                "no peer that answers knows an upload of {root}, and {peers_missed} did not answer"
            ),
        ));
    }
    if owners.is_empty() {
        return Err(Fault::new(Kind::NotFound, format!("no upload of {root} is known here")));
    }
    let mut freed = Freed { peers_missed, ..Freed::default() };
    for owner in owners {
        let one = release(context, owner, &peers).await;
        freed.blocks += one.blocks;
        freed.bytes += one.bytes;
    }
    Ok(freed)
}

async fn owners_at<E: Env>(
    context: &Context<E>,
    peer: PeerId,
    cid: Cid,
) -> Result<Vec<OwnerId>, Fault> {
    if peer == context.peers.view().own() {
        return Ok(context.store.owners(cid).await?);
    }
    match context.rpc.call(peer, Class::Control, Request::Owners { cid }, RELEASE_TIMEOUT).await? {
        Reply::Owners(owners) => Ok(owners),
        Reply::Put(_) | Reply::Held(_) | Reply::Block(_) | Reply::Released { .. } => {
            Err(Fault::new(Kind::Internal, format!("peer {peer} gave an answer of another kind")))
        }
    }
}

/// Releases an owner at these peers, as far as they can be reached.
pub(super) async fn release<E: Env>(
    context: &Context<E>,
    owner: OwnerId,
    peers: &BTreeSet<PeerId>,
) -> Freed {
    let mut asked: FuturesUnordered<_> =
        peers.iter().map(|peer| release_at(context, *peer, owner)).collect();
    let mut freed = Freed::default();
    while let Some(outcome) = asked.next().await {
        match outcome {
            Ok(one) => {
                freed.blocks += one.blocks;
                freed.bytes += one.bytes;
            }
            Err(fault) => debug!(%owner, err = %fault, "owner not released"),
        }
    }
    freed
}

async fn release_at<E: Env>(
    context: &Context<E>,
    peer: PeerId,
    owner: OwnerId,
) -> Result<Freed, Fault> {
    if peer == context.peers.view().own() {
        let (blocks, bytes) = context.store.release(owner).await?;
        return Ok(Freed { blocks, bytes, peers_missed: 0 });
    }
    let request = Request::Release { owner };
    match context.rpc.call(peer, Class::Control, request, RELEASE_TIMEOUT).await? {
        Reply::Released { blocks, bytes } => Ok(Freed { blocks, bytes, peers_missed: 0 }),
        Reply::Put(_) | Reply::Held(_) | Reply::Block(_) | Reply::Owners(_) => {
            Err(Fault::new(Kind::Internal, format!("peer {peer} gave an answer of another kind")))
        }
    }
}
