//! One block that a peer lacks, or a reference to it, on its way there.
//!
//! Owns the bytes of one block. Never: sends bytes that were not hashed.

use bytes::Bytes;
use protocol::limits::BLOCK_REQUEST_TIMEOUT;
use protocol::repair::Restore;
use protocol::wire::{BlockOutcome, Class, Reply, Request};
use protocol::{Cid, Fault, Kind, OwnerId, PeerId};
use tracing::debug;

use crate::env::Env;
use crate::flows::holder::{self, other_answer};
use crate::flows::upload::{Claimed, Copy};
use crate::flows::{Context, collect};

/// What it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flows) enum Restored {
    /// The block was copied: so many bytes.
    Block(u64),
    /// The block was there, and is referred to now.
    Reference,
    /// Nobody wants it any more, or it is whole already.
    Unwanted,
}

/// Has the target hold a block.
///
/// # Errors
/// Nobody who should have the block gives it, or who lacks it does not take it.
pub(super) async fn restore<E: Env>(
    context: &Context<E>,
    cid: Cid,
    job: &Restore,
) -> Result<Restored, Fault> {
    let Restore { owner, target, sources } = job;
    let copy = Copy {
        context: context.clone(),
        cid,
        bytes: None,
        owner: *owner,
        class: Class::Background,
    };
    let is_rewrite = *owner == OwnerId::REPAIR;
    if is_rewrite {
        if holder::has(context, cid, *target, Class::Background).await? {
            return Ok(Restored::Unwanted);
        }
    } else if !collect::dead_among(context, vec![*owner]).await?.is_empty() {
        return Ok(Restored::Unwanted);
    } else if matches!(copy.claim(*target).await?, Claimed::Held { .. }) {
        return Ok(Restored::Reference);
    }
    let bytes = fetch(context, cid, sources).await?;
    let length = bytes.len() as u64;
    match copy.send(*target, bytes).await {
        Ok(BlockOutcome::Stored) => Ok(Restored::Block(length)),
        Ok(BlockOutcome::AlreadyHeld) if is_rewrite => Ok(Restored::Unwanted),
        Ok(BlockOutcome::AlreadyHeld) => Ok(Restored::Reference),
        // Nobody refers to it there any more.
        Err(fault) if is_rewrite && fault.kind == Kind::NotFound => Ok(Restored::Unwanted),
        Err(fault) => Err(fault),
    }
}

/// Returns a block from the first source that has it, hashed: from here, if this peer is one, and from those last that are
/// away.
///
/// # Errors
/// [`Kind::NotFound`] when there are no sources; why the last one did not give it.
async fn fetch<E: Env>(context: &Context<E>, cid: Cid, sources: &[PeerId]) -> Result<Bytes, Fault> {
    let nobody = || Fault::new(Kind::NotFound, format!("nobody who had block {cid} has it"));
    let mut sources = sources.to_vec();
    {
        let view = context.peers.view();
        sources.sort_by_key(|source| (*source != view.own(), !view.is_there(*source)));
    }
    let mut last = None;
    for source in sources {
        match fetch_from(context, cid, source).await {
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
        let Reply::Block(bytes) = call.await? else { return Err(other_answer(source)) };
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
