//! What a peer knows of its cluster at one moment, as one value.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::membership::{Liveness, PeerInfo};
use protocol::placement::{Partition, Placement};
use protocol::transfer::Candidate;
use protocol::{Cid, PeerId};

/// Most candidates named for one block. Beyond them a block is not looked for: a cluster whose membership
/// moved it further than this has been rebalanced since.
const CANDIDATES_MAX: usize = 64;

/// The peers of the cluster and where blocks belong among them. Immutable; a newer one replaces it.
#[derive(Clone, Debug)]
pub struct View {
    own: PeerId,
    placement: Arc<Placement>,
    peers: BTreeMap<PeerId, PeerInfo>,
}

impl View {
    pub(super) fn new(
        own: PeerId,
        placement: Arc<Placement>,
        peers: BTreeMap<PeerId, PeerInfo>,
    ) -> Self {
        Self { own, placement, peers }
    }

    /// Returns this peer's id.
    #[must_use]
    pub fn own(&self) -> PeerId {
        self.own
    }

    /// Returns everything known of every peer, this one included, in order of their ids.
    #[must_use]
    pub fn peers(&self) -> &BTreeMap<PeerId, PeerInfo> {
        &self.peers
    }

    /// Returns where blocks belong.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    pub(super) fn placement_arc(&self) -> Arc<Placement> {
        Arc::clone(&self.placement)
    }

    /// Returns who should hold a block and, after them, who would come next, best first.
    /// Cost: O(peers), at most 64 in the result.
    #[must_use]
    pub fn candidates(&self, cid: &Cid) -> Vec<Candidate> {
        let ranked = self.placement.ranked(Partition::of(cid), CANDIDATES_MAX);
        ranked.into_iter().map(|peer| self.candidate(peer)).collect()
    }

    /// Returns the same with this peer in front, holder or not: asking oneself costs nothing.
    #[must_use]
    pub fn holders(&self, cid: &Cid) -> Vec<Candidate> {
        let mut candidates = self.candidates(cid);
        candidates.retain(|candidate| candidate.peer != self.own);
        candidates.insert(0, self.candidate(self.own));
        candidates
    }

    fn candidate(&self, peer: PeerId) -> Candidate {
        let info = self.peers.get(&peer);
        let usable = peer == self.own
            || info.is_some_and(|info| info.liveness == Liveness::Alive);
        let zone = info.map(|info| info.zone.clone()).unwrap_or_default();
        Candidate { peer, zone, usable }
    }
}
