//! Places in the space of ids, the peers at them, and how far apart they are.
//!
//! Never: knows who is there.

use protocol::Prng;

/// A place in the space of ids: that of a peer, or one that is looked for.
///
/// 64 bits stand for the 256 of an id. Only the bits up to where ids first differ order them, and two of 133,334 random
/// ids share their first 64 in one network of two billion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) u64);

impl Key {
    /// Bits of a key, and so the most buckets of a table.
    pub(super) const BITS: usize = 64;

    /// Draws a place; those of ids are hashes, so that all are equally likely.
    pub(super) fn draw(prng: &mut Prng) -> Self {
        Self(prng.next_u64())
    }

    /// Returns how far two places are apart: 0 for the same one.
    pub(super) const fn distance(self, other: Self) -> u64 {
        self.0 ^ other.0
    }

    /// Returns a bit, of which 0 is the first.
    pub(super) const fn bit(self, index: usize) -> bool {
        (self.0 << index) >> (Self::BITS - 1) == 1
    }

    /// Returns how many first bits two places share: 0 for half of all others, [`Self::BITS`] for the same one.
    pub(super) const fn shared_bits(self, other: Self) -> usize {
        self.distance(other).leading_zeros() as usize
    }
}

/// A peer, by its number in the order of joining.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer(pub(super) u32);

impl Peer {
    /// Returns where the network keeps what belongs to the peer.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A peer as seen from a place: the nearer one is the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Near {
    pub(super) distance: u64,
    pub(super) peer: Peer,
}
