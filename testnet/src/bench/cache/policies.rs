//! The cache of peers and the plain policies that it is compared with, as one sees them from outside.
//!
//! Each owns what it holds. Never: knows what is asked for later.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use lru::LruCache;
use node::cache::{BlockCache, ENTRY_OVERHEAD_BYTES, VerifiedBlock};
use protocol::{Cid, Codec};

/// Bytes of each object.
const OBJECT_BYTES: usize = 1_000;

/// Something that holds a part of the objects.
pub(super) trait Policy {
    /// Reads an object, and says whether it was held. It may be held from then on.
    fn read(&mut self, object: usize) -> bool;
}

/// Returns the objects as blocks, by number.
pub(super) fn blocks(objects: usize) -> Vec<VerifiedBlock> {
    let block = |number: usize| {
        let bytes = (number as u64).to_le_bytes().repeat(OBJECT_BYTES / 8);
        VerifiedBlock::check(Cid::of(Codec::Raw, &bytes), bytes.into())
    };
    (0..objects).filter_map(block).collect()
}

/// The cache of peers.
pub(super) struct Peers<'a> {
    cache: BlockCache,
    blocks: &'a [VerifiedBlock],
}

impl<'a> Peers<'a> {
    /// Returns one that has the memory for `capacity` of the blocks.
    pub(super) fn new(capacity: usize, blocks: &'a [VerifiedBlock]) -> Self {
        let bytes = OBJECT_BYTES as u64 + u64::from(ENTRY_OVERHEAD_BYTES);
        Self { cache: BlockCache::new(capacity as u64 * bytes), blocks }
    }
}

impl Policy for Peers<'_> {
    fn read(&mut self, object: usize) -> bool {
        let block = &self.blocks[object];
        let is_hit = self.cache.get(&block.cid()).is_some();
        if !is_hit {
            self.cache.put(block);
        }
        is_hit
    }
}

/// Whatever was not read for longest goes.
pub(super) struct Lru(LruCache<usize, ()>);

impl Lru {
    /// Returns one for `capacity` objects.
    pub(super) fn new(capacity: usize) -> Self {
        Self(LruCache::new(NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN)))
    }
}

impl Policy for Lru {
    fn read(&mut self, object: usize) -> bool {
        let is_hit = self.0.get(&object).is_some();
        if !is_hit {
            self.0.put(object, ());
        }
        is_hit
    }
}

/// For how long reads are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// While the object is held: the plain policy.
    Held,
    /// For ever, for all objects that there are, and what was read less often than all that is held does not come in.
    Everything,
}

/// Whatever was read least often goes; of several, what was not read for longest.
pub(super) struct Lfu {
    capacity: usize,
    memory: Memory,
    /// Reads, the time of the last one, and the object.
    held: BTreeSet<(u64, u64, usize)>,
    /// Reads that count and the time of the last one, by object.
    seen: Vec<(u64, u64)>,
    now: u64,
}

impl Lfu {
    /// Returns one for `capacity` of `objects`.
    pub(super) fn new(capacity: usize, objects: usize, memory: Memory) -> Self {
        Self { capacity, memory, held: BTreeSet::new(), seen: vec![(0, 0); objects], now: 0 }
    }
}

impl Policy for Lfu {
    fn read(&mut self, object: usize) -> bool {
        self.now += 1;
        let (reads, last) = self.seen[object];
        let is_hit = self.held.remove(&(reads, last, object));
        if !is_hit && self.memory == Memory::Held {
            // Room first: the newcomer has one read, and would have to go at once.
            if self.held.len() >= self.capacity
                && let Some((_, _, gone)) = self.held.pop_first()
            {
                self.seen[gone] = (0, 0);
            }
        }
        self.seen[object] = (reads + 1, self.now);
        self.held.insert((reads + 1, self.now, object));
        if self.held.len() > self.capacity {
            self.held.pop_first();
        }
        is_hit
    }
}

#[cfg(test)]
mod tests {
    use super::{Lfu, Lru, Memory, Peers, Policy, blocks};

    fn hits(policy: &mut impl Policy, objects: &[usize]) -> Vec<bool> {
        objects.iter().map(|object| policy.read(*object)).collect()
    }

    #[test]
    fn the_longest_unread_goes() {
        let found = hits(&mut Lru::new(2), &[0, 1, 0, 2, 0, 1]);
        assert_eq!(found, [false, false, true, false, true, false]);
    }

    #[test]
    fn the_least_often_read_goes() {
        let mut lfu = Lfu::new(2, 4, Memory::Held);
        // 1 was read once, 0 three times; then 2 takes the place of 1, and 3 that of 2.
        let found = hits(&mut lfu, &[0, 0, 0, 1, 2, 2, 3, 0, 2]);
        assert_eq!(found, [false, true, true, false, false, true, false, true, false]);
    }

    #[test]
    fn who_remembers_everything_lets_in_what_comes_again() {
        let mut lfu = Lfu::new(1, 3, Memory::Everything);
        // 1 is read as often as 0 at the sixth request, and later than it.
        let found = hits(&mut lfu, &[0, 0, 1, 0, 1, 1, 1, 0]);
        assert_eq!(found, [false, true, false, true, false, false, true, false]);
    }

    #[test]
    fn the_cache_of_peers_holds_as_many_as_it_has_memory_for() {
        let blocks = blocks(30);
        let mut peers = Peers::new(20, &blocks);
        let all: Vec<usize> = (0..20).collect();
        assert_eq!(hits(&mut peers, &all), [false; 20]);
        assert_eq!(hits(&mut peers, &all), [true; 20]);
        assert!(!peers.read(20));
        let kept = (0..21).filter(|object| peers.cache.contains(&blocks[*object].cid())).count();
        assert_eq!(kept, 20);
    }
}
