//! The cache as its readers see it: what stays, what goes, and that memory stays within its bound.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use protocol::{Cid, Codec, Prng};

use super::{BlockCache, ENTRY_OVERHEAD_BYTES, VerifiedBlock};

/// Memory that counts itself for as long as it is there.
struct Counted {
    bytes: Vec<u8>,
    live_bytes: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live_bytes.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

fn counted(bytes: Vec<u8>, live_bytes: &Arc<AtomicU64>) -> Bytes {
    live_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    Bytes::from_owner(Counted { bytes, live_bytes: Arc::clone(live_bytes) })
}

fn verified(bytes: impl Into<Bytes>) -> VerifiedBlock {
    let bytes = bytes.into();
    VerifiedBlock::check(Cid::of(Codec::Raw, &bytes), bytes).unwrap()
}

/// Returns the block of a number: 1,000 bytes.
fn block(number: u64) -> VerifiedBlock {
    let words = number.to_le_bytes();
    verified(words.repeat(125))
}

/// Reads a block through the cache, as a download does.
fn read(cache: &BlockCache, block: &VerifiedBlock) -> bool {
    let found = cache.get(&block.cid());
    if let Some(bytes) = &found {
        assert_eq!(bytes, block.bytes());
    } else {
        cache.put(block);
    }
    found.is_some()
}

/// Reads the blocks of these numbers, and returns how many were found.
fn read_all(cache: &BlockCache, numbers: Range<u64>) -> usize {
    numbers.filter(|number| read(cache, &block(*number))).count()
}

#[test]
fn what_was_put_is_found_and_counted() {
    let cache = BlockCache::new(1 << 20);
    assert_eq!(cache.get(&block(1).cid()), None);
    cache.put(&block(1));
    assert!(cache.contains(&block(1).cid()) && !cache.contains(&block(2).cid()));
    assert_eq!(cache.get(&block(1).cid()), Some(block(1).into_bytes()));
    assert_eq!(cache.get(&block(2).cid()), None);
    let metrics = cache.metrics();
    assert_eq!((metrics.hits.get(), metrics.misses.get()), (1, 2));
    assert_eq!(metrics.held_bytes.get(), 1_000 + i64::from(ENTRY_OVERHEAD_BYTES));
    assert_eq!(metrics.capacity_bytes.get(), 1 << 20);
}

#[test]
fn bytes_of_another_name_are_no_verified_block() {
    let name = block(1).cid();
    assert_eq!(VerifiedBlock::check(name, block(2).into_bytes()), None);
    let cut = block(1).into_bytes().slice(1..);
    assert_eq!(VerifiedBlock::check(name, cut), None);
    assert_eq!(VerifiedBlock::check(name, block(1).into_bytes()), Some(block(1)));
}

#[test]
fn a_cache_of_no_bytes_keeps_and_counts_nothing() {
    let cache = BlockCache::new(0);
    cache.put(&block(1));
    assert_eq!(cache.get(&block(1).cid()), None);
    let metrics = cache.metrics();
    assert_eq!((metrics.hits.get(), metrics.misses.get(), metrics.held_bytes.get()), (0, 0, 0));
}

#[test]
fn a_block_larger_than_the_cache_is_not_kept() {
    let cache = BlockCache::new(100_000);
    cache.put(&verified(vec![7; 100_000]));
    assert_eq!(cache.metrics().held_bytes.get(), 0);
}

/// What may live beyond the bound, for each that offers blocks: the one on its way in.
const BEYOND_MAX: u64 = 300_000;

#[test]
fn memory_stays_within_the_bound_after_every_block() {
    const CAPACITY: u64 = 8 << 20;
    let (cache, live_bytes) = (BlockCache::new(CAPACITY), Arc::default());
    let mut prng = Prng::new(1);
    let mut fullest = 0;
    for number in 0..2_000_u64 {
        let mut bytes = vec![0; usize::try_from(64_000 + 2_000 + prng.below(234_000)).unwrap()];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        let block = verified(counted(bytes, &live_bytes));
        // Wanted before, by some: those are let in.
        for _ in 0..prng.below(4) {
            assert_eq!(cache.get(&block.cid()), None);
        }
        cache.put(&block);
        drop(block);
        let live = live_bytes.load(Ordering::Relaxed);
        assert!(live <= CAPACITY + BEYOND_MAX, "{live} bytes live after block {number}");
        let held = cache.metrics().held_bytes.get();
        assert!(held <= i64::try_from(CAPACITY).unwrap(), "{held} bytes held");
        fullest = fullest.max(held);
    }
    assert!(fullest > 7 << 20, "at most {fullest} bytes were held");
}

#[test]
fn memory_stays_within_the_bound_when_many_offer_at_once() {
    const CAPACITY: u64 = 8 << 20;
    const THREADS: u64 = 4;
    let (cache, live_bytes) = (BlockCache::new(CAPACITY), Arc::default());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, live_bytes) = (&cache, &live_bytes);
            scope.spawn(move || {
                for number in 0..500_u64 {
                    let mut bytes = vec![0; 200_000];
                    bytes[..8].copy_from_slice(&(thread * 1_000_000 + number).to_le_bytes());
                    let block = verified(counted(bytes, live_bytes));
                    assert_eq!(cache.get(&block.cid()), None);
                    cache.put(&block);
                    drop(block);
                    let live = live_bytes.load(Ordering::Relaxed);
                    assert!(live <= CAPACITY + THREADS * BEYOND_MAX, "{live} bytes live");
                }
            });
        }
    });
}

#[test]
fn a_small_block_does_not_keep_the_memory_it_came_in() {
    let (cache, live_bytes) = (BlockCache::new(1 << 20), Arc::default());
    let frame = counted(vec![3; 70_000], &live_bytes);
    let block = verified(frame.slice(69_000..));
    drop(frame);
    cache.put(&block);
    let (cid, bytes) = (block.cid(), block.into_bytes());
    assert_eq!(cache.get(&cid), Some(bytes.clone()));
    drop(bytes);
    assert_eq!(live_bytes.load(Ordering::Relaxed), 0);
    assert!(cache.contains(&cid));
}

#[test]
fn a_scan_leaves_what_is_wanted_again_and_again() {
    // Given a cache for a hundred blocks that is in use, and twenty that are read over and over.
    let cache = BlockCache::new(100 * (1_000 + u64::from(ENTRY_OVERHEAD_BYTES)));
    read_all(&cache, 3_000..3_100);
    for _ in 0..10 {
        read_all(&cache, 0..20);
    }
    // When ten times as many as it holds are read once each.
    read_all(&cache, 1_000..2_000);
    // Then the twenty are still there.
    let left = read_all(&cache, 0..20);
    assert!(left >= 18, "{left} of 20 are left");
}

#[test]
fn what_is_wanted_anew_displaces_what_is_wanted_no_more() {
    let cache = BlockCache::new(100 * (1_000 + u64::from(ENTRY_OVERHEAD_BYTES)));
    for _ in 0..20 {
        read_all(&cache, 0..100);
    }
    for _ in 0..60 {
        read_all(&cache, 500..580);
    }
    let found = read_all(&cache, 500..580);
    assert!(found >= 70, "{found} of 80 are there");
}

#[test]
fn equal_reads_keep_equal_blocks() {
    let kept = || {
        let (cache, mut prng) = (BlockCache::new(100_000), Prng::new(7));
        for _ in 0..20_000 {
            let number = prng.below(20) * prng.below(20);
            read(&cache, &block(number));
        }
        let found: Vec<bool> =
            (0..400).map(|number| cache.contains(&block(number).cid())).collect();
        (found, cache.metrics().hits.get())
    };
    assert_eq!(kept(), kept());
}
