//! One copy of one block on its way to one peer.
//!
//! A block is offered by name before its bytes are sent, where that may save something. Never: chooses the peer.

use bytes::Bytes;
use protocol::limits::BLOCK_REQUEST_TIMEOUT;
use protocol::wire::{BlockOutcome, Class, Reply, Request};
use protocol::{Cid, Fault, OwnerId, PeerId};

use crate::env::Env;
use crate::flows::holder::other_answer;
use crate::flows::{Context, Root, download};

/// Blocks of this size and more are offered by name before they are sent: a question costs a message, and
/// may save the bytes.
const CLAIM_BYTES_MIN: usize = 64 << 10;

/// What became of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flows) enum Claimed {
    /// The peer holds the block, which is referred to now.
    Held {
        /// How many bytes it has, by a peer that says so.
        bytes: Option<u32>,
    },
    /// It does not.
    NotHeld,
}

/// A copy that is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flows) struct Placed {
    pub(in crate::flows) outcome: BlockOutcome,
    /// How many bytes the block has, unless the peer that held it did not say.
    pub(in crate::flows) bytes_len: Option<u32>,
}

/// A copy to be placed.
pub(in crate::flows) struct Copy<E: Env> {
    pub(in crate::flows) context: Context<E>,
    pub(in crate::flows) cid: Cid,
    /// The bytes; `None` when the cluster holds the block, and they are fetched only where they are missing.
    pub(in crate::flows) bytes: Option<Bytes>,
    pub(in crate::flows) owner: OwnerId,
    /// Among which traffic it travels.
    pub(in crate::flows) class: Class,
}

impl<E: Env> Copy<E> {
    /// Has a peer hold the block.
    pub(in crate::flows) async fn place(self, peer: PeerId) -> Result<Placed, Fault> {
        let worth_asking = self.bytes.as_ref().is_none_or(|bytes| bytes.len() >= CLAIM_BYTES_MIN);
        if worth_asking && let Claimed::Held { bytes } = self.claim(peer).await? {
            return Ok(Placed { outcome: BlockOutcome::AlreadyHeld, bytes_len: bytes });
        }
        let bytes = match &self.bytes {
            Some(bytes) => bytes.clone(),
            None => download::block(&self.context, Root::Bare(self.cid)).await?,
        };
        let bytes_len = u32::try_from(bytes.len()).ok();
        Ok(Placed { outcome: self.send(peer, bytes).await?, bytes_len })
    }

    /// Gives a peer the bytes, which hash to the block's name, and returns when they are durable there.
    pub(in crate::flows) async fn send(
        &self,
        peer: PeerId,
        bytes: Bytes,
    ) -> Result<BlockOutcome, Fault> {
        let Self { context, cid, owner, class, .. } = self;
        if peer == context.peers.view().own() {
            return Ok(context.store.put(*cid, bytes, *owner, false).await?);
        }
        let put = Request::PutBlock { cid: *cid, owner: *owner, root: false, bytes };
        let reply = context.rpc.call(peer, *class, put, BLOCK_REQUEST_TIMEOUT).await?;
        let Reply::Put(outcome) = reply else { return Err(other_answer(peer)) };
        Ok(outcome)
    }

    /// Refers to the block on behalf of the owner if the peer holds it, and says whether it does.
    pub(in crate::flows) async fn claim(&self, peer: PeerId) -> Result<Claimed, Fault> {
        let Self { context, cid, owner, class, .. } = self;
        if peer == context.peers.view().own() {
            // With its bytes at hand a put does the same in one step.
            if self.bytes.is_some() {
                return Ok(Claimed::NotHeld);
            }
            let claimed = context.store.claim(vec![*cid], *owner, false).await?;
            return Ok(match claimed[..] {
                [bytes @ Some(_)] => Claimed::Held { bytes },
                _ => Claimed::NotHeld,
            });
        }
        let claim = Request::Claim { cids: vec![*cid], owner: *owner, root: false };
        let reply = context.rpc.call(peer, *class, claim, BLOCK_REQUEST_TIMEOUT).await?;
        let Reply::Held { held, bytes } = reply else { return Err(other_answer(peer)) };
        Ok(match held[..] {
            [true] => Claimed::Held { bytes: bytes.first().copied() },
            _ => Claimed::NotHeld,
        })
    }
}
