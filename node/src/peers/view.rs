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
    // Latest first.
    earlier: Vec<Arc<Placement>>,
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
        earlier: Vec<Arc<Placement>>,
        peers: BTreeMap<PeerId, PeerInfo>,
        disconnected: BTreeSet<PeerId>,
    ) -> Self {
        let names: BTreeSet<&Zone> = peers.values().map(|info| &info.zone).collect();
        let zones = names.into_iter().cloned().zip((0..=u16::MAX).map(ZoneIndex)).collect();
        Self { own, placement, earlier, peers, disconnected, zones }
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

    /// Returns where blocks belong now.
    #[must_use]
    pub fn placement(&self) -> &Arc<Placement> {
        &self.placement
    }

    /// Returns where blocks belonged before, latest first, as long as some may still be there.
    #[must_use]
    pub fn earlier(&self) -> &[Arc<Placement>] {
        &self.earlier
    }

    pub(super) fn placements(&self) -> (Arc<Placement>, Vec<Arc<Placement>>) {
        (Arc::clone(&self.placement), self.earlier.clone())
    }

    /// Returns who should get a block and, after them, who would come next, best first; nobody who is being
    /// emptied. Cost: O(peers), at most `CANDIDATES_MAX` in the result.
    #[must_use]
    pub fn candidates(&self, cid: &Cid) -> Vec<Candidate> {
        let draining = self.peers.values().filter(|info| info.draining).count();
        let ranked = self.placement.ranked(Partition::of(cid), CANDIDATES_MAX + draining);
        let takes = |peer: &PeerId| self.peers.get(peer).is_none_or(|info| !info.draining);
        let ranked = ranked.into_iter().filter(takes).take(CANDIDATES_MAX);
        ranked.map(|peer| self.candidate(peer, true)).collect()
    }

    /// Returns who may hold a block, likeliest first: this peer, since asking oneself costs nothing, the replica
    /// set of now, those of before, and then who would come next. At most one more than `CANDIDATES_MAX`.
    #[must_use]
    pub fn holders(&self, cid: &Cid) -> Vec<Candidate> {
        let partition = Partition::of(cid);
        let set = |placement: &Arc<Placement>| {
            placement.ranked(partition, placement.topology().replicas().get())
        };
        let sets = std::iter::once(&self.placement).chain(&self.earlier).flat_map(set);
        let sets: Vec<PeerId> = sets.collect();
        let rest = self.placement.ranked(partition, CANDIDATES_MAX);
        let mut ranked = vec![self.own];
        for peer in sets.iter().copied().chain(rest) {
            if ranked.len() > CANDIDATES_MAX {
                break;
            }
            // Who was removed since cannot be asked.
            if self.peers.contains_key(&peer) && !ranked.contains(&peer) {
                ranked.push(peer);
            }
        }
        ranked.into_iter().map(|peer| self.candidate(peer, sets.contains(&peer))).collect()
    }

    /// Returns how a peer is doing. A lost connection makes it suspect: it comes before the failure detector's
    /// word by seconds, in which every request would find out by itself.
    #[must_use]
    pub fn liveness(&self, info: &PeerInfo) -> Liveness {
        let is_lost = info.liveness == Liveness::Alive && self.disconnected.contains(&info.id);
        if is_lost { Liveness::Suspect } else { info.liveness }
    }

    /// Says whether a peer can be asked now, for all that is known.
    #[must_use]
    pub fn is_there(&self, peer: PeerId) -> bool {
        let info = self.peers.get(&peer);
        peer == self.own || info.is_some_and(|info| self.liveness(info) == Liveness::Alive)
    }

    /// Returns a peer as a transfer sees it.
    fn candidate(&self, peer: PeerId, belongs: bool) -> Candidate {
        let info = self.peers.get(&peer);
        let usable = self.is_there(peer);
        let zone = info.and_then(|info| self.zones.get(&info.zone)).copied().unwrap_or_default();
        Candidate { peer, zone, usable, belongs }
    }
}

#[cfg(test)]
#[path = "view_test.rs"]
mod tests;
