//! One block from one holder, checked.
//!
//! What was checked goes into the cache. Never: chooses the holder; passes on bytes that do not hash to the
//! block's name.

use bytes::Bytes;
use protocol::limits::BLOCK_REQUEST_TIMEOUT;
use protocol::transfer::DownloadInput;
use protocol::wire::{Class, Reply, Request};
use protocol::{Cid, Fault, Kind, PeerId};

use super::Context;
use crate::cache::VerifiedBlock;
use crate::env::Env;

/// Asks one holder for one block, and returns what to tell the machine, which knows it as `cid`, and its holders as
/// `stored`.
pub(super) async fn ask<E: Env>(
    context: Context<E>,
    cid: Cid,
    stored: Cid,
    peer: PeerId,
) -> DownloadInput {
    let begun = context.env.now();
    let found = get(&context, stored, peer).await;
    if matches!(found, Ok(Some(_))) {
        let took = context.env.now().since(begun).as_micros();
        context.metrics.block_answers.inc();
        context.metrics.block_answers_micros.inc_by(u64::try_from(took).unwrap_or(u64::MAX));
    }
    match found {
        Ok(None) => DownloadInput::Missing { cid, peer },
        Err(Fault { kind: Kind::NotFound, .. }) => DownloadInput::Missing { cid, peer },
        Err(Fault { kind: Kind::Corrupt, .. }) => {
            context.metrics.corrupt_blocks.inc();
            DownloadInput::Corrupt { cid, peer }
        }
        Err(fault) => DownloadInput::Failed { cid, peer, kind: fault.kind },
        // Not into the cache, which has no place for what was not checked.
        Ok(Some(bytes)) if context.planted.skip_hash_check => {
            DownloadInput::Got { cid, peer, bytes }
        }
        Ok(Some(bytes)) => {
            let checked = context.env.compute(move || VerifiedBlock::check(stored, bytes)).await;
            if let Some(block) = checked {
                context.cache.put(&block);
                return DownloadInput::Got { cid, peer, bytes: block.into_bytes() };
            }
            context.metrics.corrupt_blocks.inc();
            if peer == context.peers.view().own() {
                context.store.mark_corrupt(stored).await;
            }
            DownloadInput::Corrupt { cid, peer }
        }
    }
}

/// Says whether a peer has a whole copy of a block, as far as it knows.
///
/// # Errors
/// What keeps it from answering.
pub(super) async fn has<E: Env>(
    context: &Context<E>,
    cid: Cid,
    peer: PeerId,
    class: Class,
) -> Result<bool, Fault> {
    let held = if peer == context.peers.view().own() {
        context.store.has(vec![cid]).await?
    } else {
        let request = Request::HasBlocks { cids: vec![cid] };
        let call = context.rpc.call(peer, class, request, BLOCK_REQUEST_TIMEOUT);
        let Reply::Held { held, .. } = call.await? else { return Err(other_answer(peer)) };
        held
    };
    Ok(held == [true])
}

/// Returns what a holder has under this name, unchecked.
async fn get<E: Env>(
    context: &Context<E>,
    stored: Cid,
    peer: PeerId,
) -> Result<Option<Bytes>, Fault> {
    if peer == context.peers.view().own() {
        return context.store.get(stored).await.map_err(Fault::from);
    }
    let request = Request::GetBlock { cid: stored };
    match context.rpc.call(peer, Class::Bulk, request, BLOCK_REQUEST_TIMEOUT).await? {
        Reply::Block(bytes) => Ok(Some(bytes)),
        Reply::Put(_)
        | Reply::Held { .. }
        | Reply::Released { .. }
        | Reply::Owners(_)
        | Reply::Meta { .. }
        | Reply::Inventory { .. } => Err(other_answer(peer)),
    }
}

/// Returns the fault of a peer that answered something else than it was asked.
pub(super) fn other_answer(peer: PeerId) -> Fault {
    Fault::new(Kind::Internal, format!("peer {peer} gave an answer of another kind"))
}
