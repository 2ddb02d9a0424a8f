//! Who sends which copy of a block: the gateway the first one, whoever holds it the others, by jobs of the queue.
//!
//! A copy whose way is not that of a job in time is sent by the gateway after all, so that nothing waits for a holder that is
//! slow or gone. Never: chooses holders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::transfer::{Bring, SpreadRule};
use protocol::wire::BlockOutcome;
use protocol::{Cid, Fault, PeerId};
use tokio::sync::oneshot;
use tracing::debug;

use super::copy::Copy;
use crate::env::Env;

/// What one upload knows of who holds its blocks besides this peer.
#[derive(Debug)]
pub(super) struct Spread {
    rule: SpreadRule,
    offered_bytes: u64,
    blocks: BTreeMap<Cid, Spreading>,
    /// Holders that did not bring a copy in time: for this upload they bring no more.
    slow: Arc<Mutex<BTreeSet<PeerId>>>,
}

/// A block that spreads from holder to holder.
#[derive(Debug, Default)]
struct Spreading {
    bytes_len: u32,
    /// Who gets it from the gateway.
    first: Option<PeerId>,
    /// Who holds it and may bring it to others.
    holder: Option<PeerId>,
    /// Copies that wait for the first one.
    waiting: Vec<oneshot::Sender<PeerId>>,
}

/// How one copy gets to its holder.
#[derive(Debug)]
pub(super) enum Way {
    /// The gateway sends it.
    Sent,
    /// As soon as somebody holds the block, he brings it.
    Brought { bytes_len: u32, holder: oneshot::Receiver<PeerId> },
}

impl Spread {
    pub(super) fn new(rule: SpreadRule) -> Self {
        Self { rule, offered_bytes: 0, blocks: BTreeMap::new(), slow: Arc::default() }
    }

    /// Notes a block of the upload.
    pub(super) fn offered(&mut self, cid: Cid, bytes_len: u32) {
        if self.rule.applies(self.offered_bytes, bytes_len) {
            self.blocks.entry(cid).or_insert(Spreading { bytes_len, ..Spreading::default() });
        }
        self.offered_bytes = self.offered_bytes.saturating_add(bytes_len.into());
    }

    /// Returns how the copy for another peer gets there.
    pub(super) fn way(&mut self, cid: &Cid, peer: PeerId) -> Way {
        let Some(block) = self.blocks.get_mut(cid) else { return Way::Sent };
        if *block.first.get_or_insert(peer) == peer {
            return Way::Sent;
        }
        let (told, holder) = oneshot::channel();
        match block.holder {
            // Whoever waits is there.
            Some(known) => _ = told.send(known),
            None => block.waiting.push(told),
        }
        Way::Brought { bytes_len: block.bytes_len, holder }
    }

    /// Notes that another peer holds a block.
    pub(super) fn stored(&mut self, cid: &Cid, peer: PeerId) {
        let Some(block) = self.blocks.get_mut(cid) else { return };
        if self.slow.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer) {
            return;
        }
        block.holder.get_or_insert(peer);
        // Whoever waited may have gone.
        block.waiting.drain(..).for_each(|told| _ = told.send(peer));
    }

    /// Notes that a peer did not take a block: whoever waits for it is sent the block instead.
    pub(super) fn failed(&mut self, cid: &Cid, peer: PeerId) {
        if let Some(block) = self.blocks.get_mut(cid).filter(|block| block.first == Some(peer)) {
            block.first = None;
            block.waiting.clear();
        }
    }

    /// Notes that nothing more is asked for a block.
    pub(super) fn done(&mut self, cid: &Cid) {
        self.blocks.remove(cid);
    }

    /// Returns what a copy on its way needs to know.
    pub(super) fn terms(&self) -> Terms {
        Terms { rule: self.rule, slow: Arc::clone(&self.slow) }
    }
}

/// For how long a copy waits for others, and for whom it does not.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    rule: SpreadRule,
    slow: Arc<Mutex<BTreeSet<PeerId>>>,
}

/// Has a copy brought to `peer` by whoever holds the block, or sends it.
pub(super) async fn bring<E: Env>(
    copy: Copy<E>,
    peer: PeerId,
    bytes_len: u32,
    holder: oneshot::Receiver<PeerId>,
    terms: Terms,
) -> Result<BlockOutcome, Fault> {
    let env = copy.context.env.clone();
    let Terms { rule, slow } = terms;
    let end = env.now().after(rule.first_patience);
    let holder = tokio::select! {
        biased; // a holder beats a deadline that has just passed
        holder = holder => holder.ok(),
        () = env.sleep_until(end) => None,
    };
    let Some(holder) = holder else { return copy.place(peer).await };
    let job = Bring { owner: copy.owner, to: peer }.job(copy.cid, bytes_len, holder);
    let end = env.now().after(rule.bring_patience);
    let brought = tokio::select! {
        biased; // as above
        brought = copy.context.work.do_now(job) => brought,
        () = env.sleep_until(end) => {
            slow.lock().unwrap_or_else(PoisonError::into_inner).insert(holder);
            debug!(%holder, %peer, cid = %copy.cid, "copy was not brought in time");
            return copy.place(peer).await;
        }
    };
    match brought {
        Ok(()) => {
            copy.context.metrics.copies_brought.inc();
            Ok(BlockOutcome::Stored)
        }
        Err(fault) => {
            debug!(%holder, %peer, cid = %copy.cid, err = %fault, "copy was not brought");
            copy.place(peer).await
        }
    }
}
