//! Who is in the cluster, where, and how much each can hold: the committed value that placement reads.
//!
//! A `Topology` is immutable; a change makes a new one with a higher epoch.
//! Never: says who is alive. That is [`crate::membership`], and changes far more often.

use crate::PeerId;
use crate::limits::{NAME_BYTES_MAX, REPLICAS_MAX};

/// Counts the committed changes of a topology. Higher is later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// How many copies of a block are wanted: 1..=[`REPLICAS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaCount(u8);

impl ReplicaCount {
    /// Returns the count, or `None` when it is 0 or above [`REPLICAS_MAX`].
    #[must_use]
    pub const fn new(count: u8) -> Option<Self> {
        if count >= 1 && count <= REPLICAS_MAX { Some(Self(count)) } else { None }
    }

    /// Returns the count.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// Returns how many holders must be durable before a write is acknowledged: a majority.
    #[must_use]
    pub const fn write_quorum(self) -> usize {
        self.0 as usize / 2 + 1
    }
}

/// A place that fails as a whole: a room, a house, a site. Peers without one share the empty zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone(String);

impl Zone {
    /// Returns the zone, or `None` when the name is longer than [`NAME_BYTES_MAX`] bytes or has
    /// characters other than letters, digits, `.`, `_` and `-`.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let fits = name.len() <= NAME_BYTES_MAX
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        fits.then(|| Self(name.to_owned()))
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// One peer of a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyPeer {
    /// Who.
    pub id: PeerId,
    /// Where.
    pub zone: Zone,
    /// Bytes of blocks it offers to hold. 0: a gateway that holds none.
    pub capacity_bytes: u64,
}

/// How strongly a peer attracts partitions: a base-2 logarithm in units of 2^-20.
///
/// Made by [`crate::placement`] and carried in the topology, so that a change of one peer leaves the
/// weights of the others, and with them what they hold, as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(pub i32);

/// The peers, zones and capacities of a cluster at an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    epoch: Epoch,
    replicas: ReplicaCount,
    peers: Vec<TopologyPeer>,
    /// One for each peer, in the same order; or none, when placement is to find them by itself.
    weights: Vec<Weight>,
}

impl Topology {
    /// Returns the topology of `peers`, sorted by id. Of peers named twice the first is kept.
    #[must_use]
    pub fn new(epoch: Epoch, replicas: ReplicaCount, mut peers: Vec<TopologyPeer>) -> Self {
        peers.sort_by_key(|peer| peer.id);
        peers.dedup_by_key(|peer| peer.id);
        Self { epoch, replicas, peers, weights: Vec::new() }
    }

    /// Returns this topology with the weights that placement found for it, in the order of
    /// [`Self::peers`]. Weights of another number are dropped: placement then finds its own.
    #[must_use]
    pub fn with_weights(mut self, weights: Vec<Weight>) -> Self {
        self.weights = if weights.len() == self.peers.len() { weights } else { Vec::new() };
        self
    }

    /// Returns the weight of each peer in the order of [`Self::peers`], or none when placement is to find
    /// them by itself: for a cluster that only knows who is there, not in which order they came.
    #[must_use]
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// Returns the epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns how many copies of a block are wanted unless an upload says otherwise.
    #[must_use]
    pub const fn replicas(&self) -> ReplicaCount {
        self.replicas
    }

    /// Returns the peers in order of their ids.
    #[must_use]
    pub fn peers(&self) -> &[TopologyPeer] {
        &self.peers
    }

    /// Returns the peer of an id. Cost: O(log peers).
    #[must_use]
    pub fn peer(&self, id: PeerId) -> Option<&TopologyPeer> {
        let index = self.peers.binary_search_by_key(&id, |peer| peer.id).ok()?;
        self.peers.get(index)
    }
}
