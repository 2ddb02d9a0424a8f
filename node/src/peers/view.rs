//! What a peer knows of its cluster at one moment, as one value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::limits::CANDIDATES_MAX;
use protocol::membership::{Liveness, PeerInfo};
use protocol::placement::{Partition, Placement};
use protocol::topology::Zone;
use protocol::transfer::{Candidate, ZoneIndex};
use protocol::{Cid, PeerId};

/// The peers of the cluster and where blocks belong among them. Immutable; a newer one replaces it.
#[derive(Clone, Debug)]
pub struct View {
    own: PeerId,
    placement: Arc<Placement>,
    peers: BTreeMap<PeerId, PeerInfo>,
    // Peers whose connection ended and has not come back, whatever the failure detector says yet.
    disconnected: BTreeSet<PeerId>,
    // A number for each zone of this view, which is all that a transfer needs of it.
    zones: BTreeMap<Zone, ZoneIndex>,
}

impl View {
    pub(super) fn new(
        own: PeerId,
        placement: Arc<Placement>,
        peers: BTreeMap<PeerId, PeerInfo>,
        disconnected: BTreeSet<PeerId>,
    ) -> Self {
        let names: BTreeSet<&Zone> = peers.values().map(|info| &info.zone).collect();
        let zones = names.into_iter().cloned().zip((0..=u16::MAX).map(ZoneIndex)).collect();
        Self { own, placement, peers, disconnected, zones }
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
    /// Cost: O(peers), at most `CANDIDATES_MAX` in the result.
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

    /// Returns how a peer is doing. A lost connection makes it suspect: it comes before the failure detector's
    /// word by seconds, in which every request would find out by itself.
    #[must_use]
    pub fn liveness(&self, info: &PeerInfo) -> Liveness {
        let is_lost = info.liveness == Liveness::Alive && self.disconnected.contains(&info.id);
        if is_lost { Liveness::Suspect } else { info.liveness }
    }

    fn candidate(&self, peer: PeerId) -> Candidate {
        let info = self.peers.get(&peer);
        let is_alive = info.is_some_and(|info| self.liveness(info) == Liveness::Alive);
        let usable = peer == self.own || is_alive;
        let zone = info.and_then(|info| self.zones.get(&info.zone)).copied().unwrap_or_default();
        Candidate { peer, zone, usable }
    }
}
