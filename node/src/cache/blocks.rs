//! The cache itself: blocks by name, bounded in bytes.
//!
//! Whoever was read often or lately stays; a block that comes once does not push out those that come again.
//! Owns the blocks it keeps, and the order in which they go. Never: a thread or a task of its own; a clock that
//! decides anything, so that equal calls in equal order keep the same blocks.
//! Source: Einziger, Friedman and Manes, "TinyLFU: a highly efficient cache admission policy", 2017.

use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use protocol::Cid;

use super::metrics::CacheMetrics;
use super::verified::VerifiedBlock;

/// What a block takes beside its bytes, in bytes: its name, its places in the orders, and its share of the tables.
/// Guess: what the types add up to, rounded up; measure with many empty blocks.
pub const ENTRY_OVERHEAD_BYTES: u32 = 512;

/// Blocks shorter than this are copied before they are kept: they are a part of the memory in which they came, a
/// frame's head of up to 64 KiB among it, which would stay with them and be counted nowhere.
const COPIED_BELOW_BYTES: usize = 64 << 10;

/// The same for everybody: names are hashes already, and whoever searched for names that fall together would
/// slow down a cache.
type Hasher = BuildHasherDefault<DefaultHasher>;

/// Blocks kept in memory. Clones are handles to the same ones.
#[derive(Clone)]
pub struct BlockCache {
    /// `None`: nothing is kept.
    kept: Option<Kept>,
    metrics: CacheMetrics,
}

/// A block that is kept, until it goes. Readers may hold on to the shell for a while, and so does the table, which frees
/// what went some time later: so it is the shell that outlives the bytes.
struct Slot {
    bytes: Mutex<Option<Bytes>>,
    weight: u32,
}

impl Slot {
    fn new(bytes: Bytes) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self { weight: length.saturating_add(ENTRY_OVERHEAD_BYTES), bytes: Mutex::new(Some(bytes)) }
    }

    /// Returns the bytes, or where they were. Held for a line only.
    fn bytes(&self) -> MutexGuard<'_, Option<Bytes>> {
        // A panic elsewhere leaves bytes as they are.
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct Kept {
    blocks: Cache<Cid, Arc<Slot>, Hasher>,
    /// Held while a block goes in and others go out for it: so that no more than one is beyond the bound.
    turn: Arc<Mutex<()>>,
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockCache").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

impl BlockCache {
    /// Returns an empty cache that takes at most `capacity_bytes` of memory, and a block more for a moment. 0: one
    /// that keeps nothing.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        let metrics = CacheMetrics::default();
        metrics.capacity_bytes.set(i64::try_from(capacity_bytes).unwrap_or(i64::MAX));
        let kept = (capacity_bytes > 0).then(|| Kept {
            blocks: Cache::builder()
                .max_capacity(capacity_bytes)
                .weigher(|_, slot: &Arc<Slot>| slot.weight)
                .eviction_listener(|_, slot, _| drop(slot.bytes().take()))
                .eviction_policy(EvictionPolicy::tiny_lfu())
                .build_with_hasher(Hasher::default()),
            turn: Arc::default(),
        });
        Self { kept, metrics }
    }

    /// Returns a block's bytes if they are here. Notes that they were wanted, here or not: what is wanted often is
    /// kept once it comes.
    #[must_use]
    pub fn get(&self, cid: &Cid) -> Option<Bytes> {
        // One that goes at this moment is not there any more.
        let found = self.kept.as_ref()?.blocks.get(cid).and_then(|slot| slot.bytes().clone());
        if found.is_some() {
            self.metrics.hits.inc();
        } else {
            self.metrics.misses.inc();
        }
        found
    }

    /// Says whether a block is here. Notes nothing.
    #[must_use]
    pub fn contains(&self, cid: &Cid) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.blocks.contains_key(cid))
    }

    /// Offers a block that was read. Whether it stays depends on how often it was wanted beside those that would
    /// have to go. Cost: a copy of a small block; bookkeeping of the reads since.
    pub fn put(&self, block: &VerifiedBlock) {
        let Some(kept) = &self.kept else { return };
        let bytes = match block.bytes() {
            short if short.len() < COPIED_BELOW_BYTES => Bytes::copy_from_slice(short),
            long => long.clone(),
        };
        // A panic elsewhere leaves nothing undone here.
        let _turn = kept.turn.lock().unwrap_or_else(PoisonError::into_inner);
        kept.blocks.insert(block.cid(), Arc::new(Slot::new(bytes)));
        // At once: put off, as many blocks as are offered in a third of a second would be beyond the bound.
        kept.blocks.run_pending_tasks();
        let held_bytes = i64::try_from(kept.blocks.weighted_size()).unwrap_or(i64::MAX);
        self.metrics.held_bytes.set(held_bytes);
    }

    /// Returns what the cache counts, to be registered.
    #[must_use]
    pub fn metrics(&self) -> &CacheMetrics {
        &self.metrics
    }
}
