//! Who is in the cluster, where, and how much each can hold: the committed value that placement reads.
//!
//! A `Topology` is immutable; a change makes a new one with a higher epoch.
//! Never: says who is alive. That is [`crate::membership`], and changes far more often.

use serde::{Deserialize, Serialize};

use crate::PeerId;
use crate::limits::{NAME_BYTES_MAX, REPLICAS_MAX};

/// Counts the committed changes of a topology. Higher is later.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

/// How many copies of a block are wanted: 1..=[`REPLICAS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct ReplicaCount(u8);

impl ReplicaCount {
    /// One copy.
    pub const MIN: Self = Self(1);

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
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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

impl From<ReplicaCount> for u8 {
    fn from(count: ReplicaCount) -> Self {
        count.0
    }
}

impl TryFrom<u8> for ReplicaCount {
    type Error = &'static str;

    fn try_from(count: u8) -> Result<Self, Self::Error> {
        Self::new(count).ok_or("a count of replicas out of range")
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.0
    }
}

impl TryFrom<String> for Zone {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name).ok_or("not the name of a zone")
    }
}

/// One peer of a topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Weight(pub i32);

/// The peers, zones and capacities of a cluster at an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "TopologyFields")]
pub struct Topology {
    epoch: Epoch,
    replicas: ReplicaCount,
    peers: Vec<TopologyPeer>,
    /// One for each peer, in the same order; or none, when placement is to find them by itself.
    weights: Vec<Weight>,
}

/// A topology as it was stored or sent; [`Topology::new`] brings it into order.
#[derive(Deserialize)]
struct TopologyFields {
    epoch: Epoch,
    replicas: ReplicaCount,
    peers: Vec<TopologyPeer>,
    weights: Vec<Weight>,
}

impl From<TopologyFields> for Topology {
    fn from(fields: TopologyFields) -> Self {
        // In order and without doubles already, unless somebody else wrote it; then the weights, which
        // go by position, are worth nothing.
        let in_order = fields.peers.is_sorted_by(|one, next| one.id < next.id);
        let weights = if in_order { fields.weights } else { Vec::new() };
        Self::new(fields.epoch, fields.replicas, fields.peers).with_weights(weights)
    }
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

    /// Returns how many copies a block gets unless an upload says otherwise: as many as are wanted, or as there
    /// are peers that hold blocks, while there are fewer. Peers that are away count: a failure never lowers the bar.
    #[must_use]
    pub fn copies(&self) -> ReplicaCount {
        let holders = self.peers.iter().filter(|peer| peer.capacity_bytes > 0).count();
        let holders = u8::try_from(holders).ok().and_then(ReplicaCount::new);
        holders.map_or(self.replicas, |holders| holders.min(self.replicas))
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
