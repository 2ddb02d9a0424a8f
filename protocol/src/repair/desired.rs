//! Who should hold a partition now: its replica set, with others in the places of those who are away for long.
//!
//! Each peer judges by its own clock who is away, so two peers may see different sets. Whoever asks sends
//! its own judgement along ([`Scope`]), and both sides compute from that. Peers that disagree copy something
//! twice at worst: what is dropped depends on the committed placement alone, see [`super::may_drop`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::PeerId;
use crate::placement::{Partition, Placement};
use crate::topology::{Epoch, Zone};

/// How a peer is away. Those who are replaced come first in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Absence {
    /// For so long that others take its place.
    Replaced,
    /// Since a short time: it keeps its place, and nothing moves.
    Brief,
}

/// What a comparison goes by, as its asker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope {
    /// The topology's epoch.
    pub epoch: Epoch,
    /// Who is not there; at most [`crate::limits::REPAIR_ABSENT_MAX`].
    pub absent: BTreeMap<PeerId, Absence>,
}

/// Who should hold each partition, in one peer's view. Keep it while the scope stays the same.
///
/// Memory: little, beside the placement, while nobody is replaced; some 150 bytes for each partition of those
/// who are.
#[derive(Clone, Debug)]
pub struct Desired {
    placement: Arc<Placement>,
    scope: Scope,
    /// The sets of partitions with somebody who is replaced.
    changed: BTreeMap<Partition, Vec<PeerId>>,
}

impl Desired {
    /// Returns who should hold what by a placement and who is absent.
    ///
    /// Cost: O(partitions), about a millisecond; with replaced peers also O(peers · log peers) for each of
    /// their partitions.
    #[must_use]
    pub fn new(placement: Arc<Placement>, scope: Scope) -> Self {
        let mut changed = BTreeMap::new();
        let is_replaced = |peer: &PeerId| scope.absent.get(peer) == Some(&Absence::Replaced);
        if scope.absent.values().any(|absence| *absence == Absence::Replaced) {
            for partition in Partition::all() {
                if placement.replica_set(partition).any(|peer| is_replaced(&peer)) {
                    changed.insert(partition, with_stand_ins(&placement, partition, is_replaced));
                }
            }
        }
        Self { placement, scope, changed }
    }

    /// Returns the placement behind it.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Returns what it was computed from.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.scope.epoch
    }

    /// Returns who should hold a partition, best first: the replica set, those who stand in behind it.
    pub fn peers(&self, partition: Partition) -> impl Iterator<Item = PeerId> + '_ {
        let changed = self.changed.get(&partition);
        let placed = changed.is_none().then(|| self.placement.replica_set(partition));
        changed.into_iter().flatten().copied().chain(placed.into_iter().flatten())
    }

    /// Says whether a peer is thought to be there.
    #[must_use]
    pub fn is_live(&self, peer: PeerId) -> bool {
        !self.scope.absent.contains_key(&peer)
    }

    /// Returns who of those who should hold a partition is there, best first.
    pub fn live(&self, partition: Partition) -> impl Iterator<Item = PeerId> + '_ {
        self.peers(partition).filter(|peer| self.is_live(*peer))
    }

    /// Says whether a peer should hold a partition.
    #[must_use]
    pub fn should_hold(&self, partition: Partition, peer: PeerId) -> bool {
        self.peers(partition).any(|holder| holder == peer)
    }

    /// Returns who sees to it that all holders of a partition hold the same: the first that is there. So nothing
    /// is copied twice.
    #[must_use]
    pub fn steward(&self, partition: Partition) -> Option<PeerId> {
        self.live(partition).next()
    }

    /// Says whether a comparison of two peers includes a partition: `asker` is its steward, and both should
    /// hold it.
    #[must_use]
    pub fn is_compared(&self, partition: Partition, asker: PeerId, asked: PeerId) -> bool {
        self.steward(partition) == Some(asker) && self.should_hold(partition, asked)
    }
}

/// Returns the replica set of a partition without those who are replaced, then as many others in their
/// order: from zones that have no copy yet, while there are such.
fn with_stand_ins(
    placement: &Placement,
    partition: Partition,
    is_replaced: impl Fn(&PeerId) -> bool,
) -> Vec<PeerId> {
    let topology = placement.topology();
    let zone = |peer: PeerId| topology.peer(peer).map(|found| &found.zone);
    let mut peers: Vec<PeerId> =
        placement.replica_set(partition).filter(|peer| !is_replaced(peer)).collect();
    let count = placement.replica_set(partition).len();
    let ranked = placement.ranked(partition, topology.peers().len());
    let mut spares: Vec<PeerId> =
        ranked.into_iter().skip(count).filter(|peer| !is_replaced(peer)).collect();
    while peers.len() < count && !spares.is_empty() {
        let zones: Vec<Option<&Zone>> = peers.iter().map(|peer| zone(*peer)).collect();
        let fresh = spares.iter().position(|peer| !zones.contains(&zone(*peer)));
        peers.push(spares.remove(fresh.unwrap_or(0)));
    }
    peers
}
