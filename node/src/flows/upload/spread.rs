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

use super::copy::{Copy, Placed};
use crate::env::Env;

/// What one upload knows of who holds its blocks besides this peer.
#[derive(Debug)]
pub(super) struct Spread {
    rule: SpreadRule,
    offered_bytes: u64,
    blocks: BTreeMap<Cid, Spreading>,
    slow: Slow,
}

/// Peers that did not take or bring a copy in time: for the rest of this upload nobody waits for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Slow(Arc<Mutex<BTreeSet<PeerId>>>);

impl Slow {
    fn insert(&self, peer: PeerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
    }

    fn contains(&self, peer: PeerId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer)
    }
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
    /// As soon as somebody holds the block, he brings it: `first`, if all goes well.
    Brought { bytes_len: u32, first: PeerId, holder: oneshot::Receiver<PeerId> },
}

impl Spread {
    pub(super) fn new(rule: SpreadRule) -> Self {
        Self { rule, offered_bytes: 0, blocks: BTreeMap::new(), slow: Slow::default() }
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
        if self.slow.contains(peer) && block.holder.is_none() {
            return Way::Sent;
        }
        let first = *block.first.get_or_insert(peer);
        if first == peer {
            return Way::Sent;
        }
        let (told, holder) = oneshot::channel();
        match block.holder {
            // Whoever waits is there.
            Some(known) => _ = told.send(known),
            None => block.waiting.push(told),
        }
        Way::Brought { bytes_len: block.bytes_len, first, holder }
    }

    /// Notes that another peer holds a block.
    pub(super) fn stored(&mut self, cid: &Cid, peer: PeerId) {
        let Some(block) = self.blocks.get_mut(cid) else { return };
        if self.slow.contains(peer) {
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
        Terms { rule: self.rule, slow: self.slow.clone() }
    }
}

/// For how long a copy waits for others, and for whom it does not.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    rule: SpreadRule,
    slow: Slow,
}

/// Has a copy brought to `peer` by whoever holds the block, or sends it.
pub(super) async fn bring<E: Env>(
    copy: Copy<E>,
    peer: PeerId,
    bytes_len: u32,
    (first, holder): (PeerId, oneshot::Receiver<PeerId>),
    terms: Terms,
) -> Result<Placed, Fault> {
    let env = copy.context.env.clone();
    let Terms { rule, slow } = terms;
    let end = env.now().after(rule.first_patience);
    let holder = tokio::select! {
        biased; // a holder beats a deadline that has just passed
        holder = holder => holder.ok(),
        () = env.sleep_until(end) => {
            slow.insert(first);
            None
        }
    };
    let Some(holder) = holder else { return copy.place(peer).await };
    let job = Bring { owner: copy.owner, to: peer }.job(copy.cid, bytes_len, holder);
    let end = env.now().after(rule.bring_patience);
    let brought = tokio::select! {
        biased; // as above
        brought = copy.context.work.do_now(job) => brought,
        () = env.sleep_until(end) => {
            slow.insert(holder);
            debug!(%holder, %peer, cid = %copy.cid, "copy was not brought in time");
            return copy.place(peer).await;
        }
    };
    match brought {
        Ok(()) => {
            copy.context.metrics.copies_brought.inc();
            Ok(Placed { outcome: BlockOutcome::Stored, bytes_len: Some(bytes_len) })
        }
        Err(fault) => {
            debug!(%holder, %peer, cid = %copy.cid, err = %fault, "copy was not brought");
            copy.place(peer).await
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::transfer::SpreadRule;
    use protocol::{Cid, Codec, PeerId};
    use tokio::sync::oneshot;

    use super::{Spread, Way};

    fn peer(number: u8) -> PeerId {
        PeerId::from_public_key([number; 32])
    }

    /// An upload whose every block spreads.
    fn spread() -> Spread {
        let rule = SpreadRule { after_bytes: 0, block_bytes_min: 0, ..SpreadRule::default() };
        Spread::new(rule)
    }

    fn block(spread: &mut Spread, number: u8) -> Cid {
        let cid = Cid::of(Codec::Raw, &[number]);
        spread.offered(cid, 1);
        cid
    }

    fn brought(way: Way) -> oneshot::Receiver<PeerId> {
        let Way::Brought { holder, .. } = way else { panic!("the gateway sends it") };
        holder
    }

    #[test]
    fn the_first_holder_brings_the_others() {
        let mut spread = spread();
        let cid = block(&mut spread, 1);
        assert!(matches!(spread.way(&cid, peer(1)), Way::Sent));
        let mut second = brought(spread.way(&cid, peer(2)));
        assert!(second.try_recv().is_err(), "nobody holds it yet");
        spread.stored(&cid, peer(1));
        assert_eq!(second.try_recv(), Ok(peer(1)));
        assert_eq!(brought(spread.way(&cid, peer(3))).try_recv(), Ok(peer(1)));
        spread.done(&cid);
        assert!(matches!(spread.way(&cid, peer(4)), Way::Sent), "it spreads no more");
    }

    #[test]
    fn who_waits_for_one_that_fails_is_sent_the_block() {
        let mut spread = spread();
        let cid = block(&mut spread, 1);
        assert!(matches!(spread.way(&cid, peer(1)), Way::Sent));
        let mut second = brought(spread.way(&cid, peer(2)));
        spread.failed(&cid, peer(1));
        assert_eq!(second.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert!(matches!(spread.way(&cid, peer(3)), Way::Sent), "somebody has to be first");
    }

    #[test]
    fn nobody_waits_twice_for_one_that_is_slow() {
        let mut spread = spread();
        spread.terms().slow.insert(peer(1));
        let cid = block(&mut spread, 1);
        assert!(matches!(spread.way(&cid, peer(1)), Way::Sent));
        assert!(matches!(spread.way(&cid, peer(2)), Way::Sent), "it is the first then");
        let mut third = brought(spread.way(&cid, peer(3)));
        spread.stored(&cid, peer(1));
        assert!(third.try_recv().is_err(), "it does not bring either");
        spread.stored(&cid, peer(2));
        assert_eq!(third.try_recv(), Ok(peer(2)));
    }
}
