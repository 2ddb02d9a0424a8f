//! One repair: a reference, and the block where that is not, reaches the peer that lacks it.
//!
//! Owns the bytes of one block. Never: sends bytes that were not hashed.

use bytes::Bytes;
use protocol::limits::BLOCK_REQUEST_TIMEOUT;
use protocol::repair::Repair;
use protocol::wire::{BlockOutcome, Class, Reply, Request};
use protocol::{Cid, Fault, Kind, PeerId};
use tracing::debug;

use crate::env::Env;
use crate::flows::upload::{Claimed, Copy};
use crate::flows::{Context, collect};

/// What a repair came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// The block was copied: so many bytes.
    Block(u64),
    /// The block was there, and is referred to now.
    Reference,
    /// Nobody wants it any more.
    Unwanted,
}

/// Does a repair.
///
/// # Errors
/// Nobody who should have the block gives it, or who lacks it does not take it.
pub(super) async fn copy<E: Env>(context: &Context<E>, repair: &Repair) -> Result<Copied, Fault> {
    let Repair { row, sources, target, .. } = repair;
    if !collect::dead_among(context, vec![row.owner]).await?.is_empty() {
        return Ok(Copied::Unwanted);
    }
    let copy = Copy {
        context: context.clone(),
        cid: row.cid,
        bytes: None,
        owner: row.owner,
        class: Class::Background,
    };
    if matches!(copy.claim(*target).await?, Claimed::Held { .. }) {
        return Ok(Copied::Reference);
    }
    let bytes = fetch(context, row.cid, sources).await?;
    let length = bytes.len() as u64;
    Ok(match copy.send(*target, bytes).await? {
        BlockOutcome::Stored => Copied::Block(length),
        BlockOutcome::AlreadyHeld => Copied::Reference,
    })
}

/// Returns a block from the first source that has it, hashed.
///
/// # Errors
/// [`Kind::NotFound`] when there are no sources; why the last one did not give it.
pub(in crate::flows) async fn fetch<E: Env>(
    context: &Context<E>,
    cid: Cid,
    sources: &[PeerId],
) -> Result<Bytes, Fault> {
    let nobody = || Fault::new(Kind::NotFound, format!("nobody who had block {cid} has it"));
    let mut last = None;
    for source in sources {
        match fetch_from(context, cid, *source).await {
            Ok(bytes) => return Ok(bytes),
            Err(fault) => {
                debug!(peer = %source, %cid, err = %fault, "no copy to repair from");
                last = Some(fault);
            }
        }
    }
    Err(last.unwrap_or_else(nobody))
}

async fn fetch_from<E: Env>(
    context: &Context<E>,
    cid: Cid,
    source: PeerId,
) -> Result<Bytes, Fault> {
    let is_own = source == context.peers.view().own();
    let bytes = if is_own {
        let missing = || Fault::new(Kind::NotFound, format!("block {cid} is not held here"));
        context.store.get(cid).await?.ok_or_else(missing)?
    } else {
        let get = Request::GetBlock { cid };
        let call = context.rpc.call(source, Class::Background, get, BLOCK_REQUEST_TIMEOUT);
        let Reply::Block(bytes) = call.await? else {
            let detail = format!("peer {source} gave an answer of another kind");
            return Err(Fault::new(Kind::Internal, detail));
        };
        bytes
    };
    let checked = bytes.clone();
    if context.env.compute(move || cid.matches(&checked)).await {
        return Ok(bytes);
    }
    context.metrics.corrupt_blocks.inc();
    if is_own {
        context.store.mark_corrupt(cid).await;
    }
    Err(Fault::new(Kind::Corrupt, format!("the copy of block {cid} at peer {source} is corrupt")))
}
