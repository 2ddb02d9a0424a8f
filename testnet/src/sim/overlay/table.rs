//! The table of one peer: buckets of peers, by how many first bits of their ids are its own.
//!
//! Never: drops a peer. A bucket of libp2p gives the place of one that no longer answers to one that came later;
//! the model keeps all, so that a known share of them is gone.

use super::key::{Key, Near, Peer};

/// Peers that a bucket holds, that an answer names and that a lookup ends with: libp2p's value, and the paper's.
pub(super) const CLOSEST: usize = 20;

#[derive(Clone, Debug, Default)]
struct Bucket {
    peers: [Peer; CLOSEST],
    count: usize,
}

impl Bucket {
    fn peers(&self) -> &[Peer] {
        &self.peers[..self.count]
    }
}

/// The peers that one peer has met and had room for.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// By the number of shared bits; as many as are needed for the closest peer.
    buckets: Vec<Bucket>,
}

impl Table {
    /// Notes a peer whose id shares that many first bits. Those that came first stay: nobody replaces a peer that
    /// still answers.
    pub(super) fn put(&mut self, shared_bits: usize, peer: Peer) {
        if self.buckets.len() <= shared_bits {
            self.buckets.resize_with(shared_bits + 1, Bucket::default);
        }
        let bucket = &mut self.buckets[shared_bits];
        if bucket.count < CLOSEST && !bucket.peers().contains(&peer) {
            bucket.peers[bucket.count] = peer;
            bucket.count += 1;
        }
    }

    /// Puts into `found`, and nothing else, the [`CLOSEST`] peers closest to `target`, the closest first, without one of them.
    ///
    /// `own` is the place of the table's peer, `keys` those of all. Cost: one or two buckets sorted, mostly.
    pub(super) fn closest(
        &self,
        own: Key,
        target: Key,
        without: Peer,
        keys: &[Key],
        found: &mut Vec<Near>,
    ) {
        found.clear();
        let differs = |bits: &usize| own.bit(*bits) != target.bit(*bits);
        // A peer that leaves the own id at a bit where the target does too is nearer to the target than the own id is, and the
        // more so the earlier the bit; one that leaves it elsewhere is farther, and the less so the later.
        let nearer = (0..self.buckets.len()).filter(differs);
        let farther = (0..self.buckets.len()).rev().filter(|bits| !differs(bits));
        for bits in nearer.chain(farther) {
            if found.len() >= CLOSEST {
                break;
            }
            let start = found.len();
            let peers = self.buckets[bits].peers().iter().filter(|peer| **peer != without);
            found.extend(
                peers.map(|peer| Near {
                    distance: keys[peer.index()].distance(target),
                    peer: *peer,
                }),
            );
            found[start..].sort_unstable();
        }
        found.truncate(CLOSEST);
    }

    /// Returns the peers of all buckets.
    pub(super) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.buckets.iter().flat_map(Bucket::peers).copied()
    }

    /// Returns how many buckets there are up to that of the closest peer, and with it.
    pub(super) fn bucket_count(&self) -> usize {
        self.buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{CLOSEST, Table};
    use crate::sim::overlay::key::{Key, Near, Peer};
    use protocol::Prng;

    /// [`CLOSEST`], as numbers of peers are counted.
    const CLOSEST_COUNT: u32 = 20;
    const _: () = assert!(CLOSEST_COUNT as usize == CLOSEST);

    #[test]
    fn a_full_bucket_keeps_those_that_came_first_and_nobody_stands_in_it_twice() {
        let mut table = Table::default();
        for peer in (0..CLOSEST_COUNT + 5).flat_map(|number| [Peer(number); 2]) {
            table.put(3, peer);
        }
        let kept: Vec<Peer> = table.peers().collect();
        assert_eq!(kept, (0..CLOSEST_COUNT).map(Peer).collect::<Vec<Peer>>());
        assert_eq!(table.bucket_count(), 4);
    }

    #[test]
    fn the_closest_are_those_that_looking_at_all_finds() {
        let mut prng = Prng::new(3);
        let keys: Vec<Key> = (0..500).map(|_| Key::draw(&mut prng)).collect();
        let (own, mut table) = (keys[0], Table::default());
        for number in 1..500 {
            table.put(own.shared_bits(keys[number as usize]), Peer(number));
        }
        let mut found = Vec::new();
        // Near the own id too, where many buckets are needed.
        for close_bits in [0, 4, 9, 63] {
            for _ in 0..200 {
                let target = Key(own.0 ^ (prng.next_u64() >> close_bits));
                let near =
                    |peer: Peer| Near { distance: keys[peer.index()].distance(target), peer };
                let mut all: Vec<Near> = table.peers().map(near).collect();
                all.sort_unstable();
                let without = all.remove(1).peer;
                table.closest(own, target, without, &keys, &mut found);
                assert_eq!(found, all[..CLOSEST]);
            }
        }
    }
}
