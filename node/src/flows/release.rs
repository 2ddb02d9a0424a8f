//! Taking back: an upload that failed gives up its references, and blocks that nobody else refers to are freed.
//!
//! Best effort: a peer that is away keeps what it holds until it finds out by itself (see `collect`). Never: removes a block itself; each
//! peer's store does, when the last reference is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::wire::{Class, Reply, Request};
use protocol::{Fault, Kind, OwnerId, PeerId};
use tracing::debug;

use super::Context;
use crate::env::Env;

/// How long one peer may take to release an owner: it walks its references.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(30);

/// What was freed, over all peers that answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Freed {
    /// Copies of blocks.
    pub(super) blocks: u64,
    /// Their bytes.
    pub(super) bytes: u64,
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
        return Ok(Freed { blocks, bytes });
    }
    let request = Request::Release { owner };
    match context.rpc.call(peer, Class::Control, request, RELEASE_TIMEOUT).await? {
        Reply::Released { blocks, bytes } => Ok(Freed { blocks, bytes }),
        Reply::Put(_)
        | Reply::Held { .. }
        | Reply::Block(_)
        | Reply::Owners(_)
        | Reply::Meta { .. }
        | Reply::Inventory { .. } => {
            Err(Fault::new(Kind::Internal, format!("peer {peer} gave an answer of another kind")))
        }
    }
}
