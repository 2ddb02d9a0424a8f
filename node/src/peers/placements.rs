//! Placements that were computed lately: the same topology often comes back, and a placement costs
//! tens of milliseconds.
//!
//! A peer that restarts or rejoins asks for what it asked for before; all peers of a simulation share one of
//! these. Never: changes what is computed, only how often.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::placement::Placement;
use protocol::topology::Topology;

/// Placements kept unless said otherwise: the present one, the earlier ones that reads consult, and two to
/// come back to. Each takes some 400 KiB.
const KEPT: usize = EARLIER_MAX + 3;

/// Earlier topologies that reads consult.
pub(super) const EARLIER_MAX: usize = 8;

/// A bounded memory of placements. Clones share it.
#[derive(Clone, Debug)]
pub struct Placements {
    kept: usize,
    // Latest first. Locked for a search only, never while one is computed.
    latest: Arc<Mutex<VecDeque<Arc<Placement>>>>,
}

impl Default for Placements {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl Placements {
    /// Returns an empty memory for so many placements.
    #[must_use]
    pub fn keeping(kept: usize) -> Self {
        Self { kept, latest: Arc::default() }
    }

    /// Returns the placement of a topology. Cost: that of [`Placement::new`], unless it is remembered.
    #[must_use]
    pub fn of(&self, topology: &Topology) -> Arc<Placement> {
        if let Some(known) = self.find(topology) {
            return known;
        }
        let placement = Arc::new(Placement::new(topology));
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.push_front(Arc::clone(&placement));
        latest.truncate(self.kept);
        placement
    }

    fn find(&self, topology: &Topology) -> Option<Arc<Placement>> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let at = latest.iter().position(|known| known.topology() == topology)?;
        let known = latest.remove(at)?;
        latest.push_front(Arc::clone(&known));
        Some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::Placements;
    use protocol::PeerId;
    use protocol::topology::{Epoch, ReplicaCount, Topology, TopologyPeer, Zone};
    use std::sync::Arc;

    fn topology(peers: u8) -> Topology {
        let peer = |key| TopologyPeer {
            id: PeerId::from_public_key([key; 32]),
            zone: Zone::default(),
            capacity_bytes: 1,
        };
        let replicas = ReplicaCount::new(1).unwrap();
        Topology::new(Epoch(0), replicas, (0..peers).map(peer).collect())
    }

    #[test]
    fn a_topology_that_comes_back_is_not_placed_again_unless_it_was_long_ago() {
        let placements = Placements::keeping(2);
        let first = placements.of(&topology(1));
        assert_eq!(first.topology(), &topology(1));
        let second = placements.of(&topology(2));
        assert!(Arc::ptr_eq(&first, &placements.of(&topology(1))));
        assert_eq!(placements.of(&topology(3)).topology(), &topology(3));
        assert!(Arc::ptr_eq(&first, &placements.of(&topology(1))));
        assert!(!Arc::ptr_eq(&second, &placements.of(&topology(2))));
    }
}
