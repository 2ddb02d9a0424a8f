//! The store on a disk in memory: room, damage, failures and what a crash leaves.

use bytes::Bytes;
use protocol::cid::Codec;
use protocol::wire::BlockOutcome;
use protocol::{Cid, OwnerId, Prng};

use super::testing::{MemoryDisk, TestEnv};
use super::{Store, StoreError, StoreSettings, start};
use crate::env::{Disk, DiskError};

type TestStore = Store<TestEnv<MemoryDisk>>;

const A: OwnerId = OwnerId::from_bytes([0xA; 16]);
const B: OwnerId = OwnerId::from_bytes([0xB; 16]);
const FIRST: &str = "0000000001.segment";

struct Bench {
    disk: MemoryDisk,
    env: TestEnv<MemoryDisk>,
    settings: StoreSettings,
}

impl Bench {
    fn new() -> Self {
        let disk = MemoryDisk::new(10 << 20);
        let mut settings = StoreSettings::with_capacity(1 << 20);
        settings.segment_bytes = 16 << 10;
        settings.small_block_bytes = 512;
        settings.reserve_bytes = Some(0);
        Self { env: TestEnv::new(disk.clone()), disk, settings }
    }

    async fn start(&self) -> TestStore {
        start(self.env.clone(), self.settings.clone()).await.unwrap()
    }

    async fn restart(&self) -> TestStore {
        self.env.kill().await;
        self.start().await
    }
}

fn block(seed: u64, length: usize) -> (Cid, Bytes) {
    let mut prng = Prng::new(seed);
    let bytes: Bytes = (0..length).map(|_| prng.next_u64().to_le_bytes()[0]).collect();
    (Cid::of(Codec::Raw, &bytes), bytes)
}

async fn put(store: &TestStore, block: &(Cid, Bytes), owner: OwnerId) -> Result<(), StoreError> {
    store.put(block.0, block.1.clone(), owner, false).await.map(|_| ())
}

/// Puts blocks of 4,000 bytes until there is no room, and returns them.
async fn fill(store: &TestStore) -> Vec<(Cid, Bytes)> {
    let mut blocks = Vec::new();
    for seed in 0..10_000 {
        let block = block(seed, 4000);
        match put(store, &block, if seed % 2 == 0 { A } else { B }).await {
            Ok(()) => blocks.push(block),
            Err(StoreError::Full { .. }) => return blocks,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the store does not fill up");
}

async fn all_are_whole(store: &TestStore, blocks: &[(Cid, Bytes)]) {
    for (cid, bytes) in blocks {
        assert_eq!(store.get(*cid).await.unwrap().as_ref(), Some(bytes), "{cid}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_store_reads_on_and_takes_blocks_again_once_some_were_released() {
    let bench = Bench::new();
    let store = bench.start().await;
    let blocks = fill(&store).await;
    assert_eq!(blocks.len(), (1 << 20) / 4080);
    all_are_whole(&store, &blocks).await;
    assert!(store.usage().used_bytes <= 1 << 20);
    // Given every second block released, so that each segment is half garbage.
    let (freed, bytes) = store.release(A).await.unwrap();
    assert_eq!((freed, bytes), (129, 129 * 4000));
    for seed in 0..100 {
        put(&store, &block(1_000_000 + seed, 4000), A).await.unwrap();
    }
    let kept: Vec<_> = blocks.into_iter().skip(1).step_by(2).collect();
    all_are_whole(&store, &kept).await;
    let store = bench.restart().await;
    all_are_whole(&store, &kept).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_device_refuses_puts_and_loses_nothing() {
    let bench = Bench::new();
    let store = bench.start().await;
    let kept = block(1, 4000);
    put(&store, &kept, A).await.unwrap();
    // Given a device that somebody else fills between the store's look at it and its write.
    bench.disk.set_device_bytes(8000);
    let refused = block(2, 9000);
    assert!(matches!(put(&store, &refused, A).await, Err(StoreError::Full { .. })));
    assert!(matches!(put(&store, &refused, A).await, Err(StoreError::Full { .. })));
    all_are_whole(&store, std::slice::from_ref(&kept)).await;
    assert_eq!(store.get(refused.0).await.unwrap(), None);
    // What the device took of it was given back.
    assert_eq!(bench.disk.list().await.unwrap(), [(FIRST.to_owned(), 4080)]);
    bench.disk.set_device_bytes(10 << 20);
    put(&store, &refused, A).await.unwrap();
    bench.env.kill().await;
    bench.disk.crash_losing_all();
    let store = bench.start().await;
    all_are_whole(&store, &[kept, refused]).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_sync_nothing_is_done_any_more() {
    let bench = Bench::new();
    let store = bench.start().await;
    bench.disk.fail_syncs();
    let failed = |result: Result<(), StoreError>| {
        matches!(result, Err(StoreError::Disk(DiskError::Failed { .. })))
    };
    assert!(failed(put(&store, &block(1, 4000), A).await));
    assert!(failed(put(&store, &block(2, 40), A).await));
    assert!(failed(store.get(block(1, 4000).0).await.map(|_| ())));
    assert!(store.failed().await.contains("input/output"));
    store.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_flipped_byte_is_never_served_and_the_block_can_be_put_anew() {
    for at in [5, 20, 70, 79, 80, 4079] {
        let bench = Bench::new();
        let store = bench.start().await;
        let blocks = [block(1, 4000), block(2, 4000)];
        for block in &blocks {
            put(&store, block, A).await.unwrap();
        }
        bench.disk.rot(FIRST, |bytes| bytes[at] ^= 1);
        let (cid, _) = blocks[0];
        assert!(matches!(store.get(cid).await, Err(StoreError::Corrupt { .. })), "byte {at}");
        assert_eq!(store.has(vec![cid]).await.unwrap(), [false]);
        assert_eq!(store.claim(vec![cid], B, false).await.unwrap(), [None]);
        assert!(matches!(store.get(cid).await, Err(StoreError::Corrupt { .. })), "byte {at}");
        assert_eq!(store.metrics().corrupt_blocks.get(), 1);
        put(&store, &blocks[0], B).await.unwrap();
        all_are_whole(&store, &blocks).await;
        // Given a crash that loses what the index was told, so that both copies are in the file's end.
        bench.env.kill().await;
        bench.disk.crash_losing_all();
        let store = bench.start().await;
        all_are_whole(&store, &blocks).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_repair_replaces_a_corrupt_copy_and_adds_no_reference() {
    let bench = Bench::new();
    let store = bench.start().await;
    let (damaged, unknown) = (block(1, 4000), block(2, 4000));
    put(&store, &damaged, A).await.unwrap();
    let refused = put(&store, &unknown, OwnerId::REPAIR).await;
    assert!(matches!(refused, Err(StoreError::Unreferenced { .. })), "{refused:?}");
    bench.disk.rot(FIRST, |bytes| bytes[100] ^= 1);
    assert!(store.get(damaged.0).await.is_err());
    put(&store, &damaged, OwnerId::REPAIR).await.unwrap();
    all_are_whole(&store, std::slice::from_ref(&damaged)).await;
    let store = bench.restart().await;
    all_are_whole(&store, std::slice::from_ref(&damaged)).await;
    // When the only one who ever referred to it gives it up, it is freed.
    assert_eq!(store.release(A).await.unwrap().0, 1);
    assert_eq!(store.get(damaged.0).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_repaired_copy_that_is_found_again_after_a_crash_adds_no_reference_either() {
    let bench = Bench::new();
    let store = bench.start().await;
    let blocks = [block(1, 4000), block(2, 4000)];
    for block in &blocks {
        put(&store, block, A).await.unwrap();
    }
    // Given an index that durably says who refers to the copies, and forgets what came after that.
    store.claim(vec![blocks[1].0], B, false).await.unwrap();
    bench.disk.rot(FIRST, |bytes| bytes[100] ^= 1);
    assert!(store.get(blocks[0].0).await.is_err());
    put(&store, &blocks[0], OwnerId::REPAIR).await.unwrap();
    bench.env.kill().await;
    bench.disk.crash_losing_all();
    let store = bench.start().await;
    all_are_whole(&store, &blocks).await;
    assert_eq!(store.release(A).await.unwrap().0, 1);
    assert_eq!(store.get(blocks[0].0).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_block_put_anew_outlives_a_crash_that_forgets_the_damage() {
    let bench = Bench::new();
    let store = bench.start().await;
    let blocks = [block(1, 4000), block(2, 4000)];
    for block in &blocks {
        put(&store, block, A).await.unwrap();
    }
    // Given an index that durably says where the first copies are: a claim is synced.
    store.claim(vec![blocks[1].0], B, false).await.unwrap();
    bench.disk.rot(FIRST, |bytes| bytes[100] ^= 1);
    assert!(store.get(blocks[0].0).await.is_err());
    put(&store, &blocks[0], A).await.unwrap();
    bench.env.kill().await;
    bench.disk.crash_losing_all();
    let store = bench.start().await;
    all_are_whole(&store, &blocks).await;
    assert_eq!(store.usage().blocks, 2);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_moment_of_regaining_space_loses_nothing_and_revives_nothing() {
    for moment in 0..150 {
        let bench = Bench::new();
        let store = bench.start().await;
        let kept: Vec<_> = (0..3).map(|seed| block(seed, 2000)).collect();
        // Given blocks that A put and let go of, B refers to, and much around them that only A did.
        for (number, block_kept) in kept.iter().enumerate() {
            put(&store, block_kept, A).await.unwrap();
            put(&store, &block(100 + number as u64, 4000), A).await.unwrap();
        }
        store.claim(kept.iter().map(|block| block.0).collect(), B, true).await.unwrap();
        store.release(A).await.unwrap();
        for _ in 0..moment {
            tokio::task::yield_now().await;
        }
        bench.env.kill().await;
        bench.disk.crash_losing_all();
        let store = bench.start().await;
        all_are_whole(&store, &kept).await;
        assert_eq!(store.usage().blocks, 3, "moment {moment}");
        assert_eq!(store.release(B).await.unwrap(), (3, 6000), "moment {moment}");
        assert_eq!(store.usage().blocks, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn space_comes_back_although_nobody_writes_any_more() {
    let bench = Bench::new();
    let store = bench.start().await;
    let kept: Vec<_> = (0..2).map(|seed| block(seed, 3000)).collect();
    // Given a segment that is far from full, of which less than a half is let go of.
    for block in &kept {
        put(&store, block, B).await.unwrap();
    }
    let used_bytes = store.usage().used_bytes;
    assert!(used_bytes < bench.settings.segment_bytes / 2);
    put(&store, &block(7, 1200), A).await.unwrap();
    assert_eq!(store.release(A).await.unwrap().0, 1);
    // Looked at only: asking the writer anything would wake it.
    while store.usage().used_bytes != used_bytes {
        tokio::task::yield_now().await;
    }
    all_are_whole(&store, &kept).await;
    assert_eq!(store.release(B).await.unwrap().0, 2);
    while store.usage().used_bytes != 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_is_cleared_of_small_blocks_that_were_freed() {
    let mut bench = Bench::new();
    (bench.settings.capacity_bytes, bench.settings.small_block_bytes) = (8 << 20, 64 << 10);
    let store = bench.start().await;
    for seed in 0..100 {
        put(&store, &block(seed, 4000), A).await.unwrap();
    }
    // A few are not worth it.
    put(&store, &block(100, 4000), B).await.unwrap();
    assert_eq!(store.release(B).await.unwrap().0, 1);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.disk.settled(), 0);
    assert_eq!(store.release(A).await.unwrap().0, 100);
    while bench.disk.settled() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_is_marked_corrupt_only_if_it_is() {
    let bench = Bench::new();
    let store = bench.start().await;
    let (cid, bytes) = block(1, 4000);
    put(&store, &(cid, bytes), A).await.unwrap();
    store.mark_corrupt(cid).await;
    assert_eq!(store.has(vec![cid]).await.unwrap(), [true]);
    // Given bytes that were put under a name that is not theirs: their checksums fit.
    let (wrong, _) = block(2, 4000);
    put(&store, &(wrong, block(3, 4000).1), A).await.unwrap();
    store.mark_corrupt(wrong).await;
    assert_eq!(store.has(vec![wrong, cid]).await.unwrap(), [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_torn_end_is_cut_off() {
    let bench = Bench::new();
    let store = bench.start().await;
    let blocks = [block(1, 4000), block(2, 3000)];
    for block in &blocks {
        put(&store, block, A).await.unwrap();
    }
    bench.env.kill().await;
    // Given a whole header without its block, and garbage.
    bench.disk.rot(FIRST, |bytes| {
        bytes.extend_from_within(..2000);
        bytes.extend([0x5A; 100]);
    });
    let store = bench.start().await;
    assert_eq!(store.metrics().torn_bytes.get(), 2100);
    assert_eq!(store.usage().used_bytes, 7160);
    put(&store, &block(3, 1000), A).await.unwrap();
    all_are_whole(&store, &[blocks[0].clone(), blocks[1].clone(), block(3, 1000)]).await;
}

#[tokio::test(start_paused = true)]
async fn damage_in_the_end_costs_only_the_damaged_block() {
    for at in [10, 100] {
        let bench = Bench::new();
        let store = bench.start().await;
        let blocks = [block(1, 4000), block(2, 4000), block(3, 4000)];
        for block in &blocks {
            put(&store, block, A).await.unwrap();
        }
        bench.env.kill().await;
        bench.disk.crash_losing_all();
        bench.disk.rot(FIRST, |bytes| bytes[4080 + at] ^= 1);
        let store = bench.start().await;
        let held = store.has(blocks.iter().map(|block| block.0).collect()).await.unwrap();
        assert_eq!(held, [true, false, true], "byte {at}");
        all_are_whole(&store, &[blocks[0].clone(), blocks[2].clone()]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_index_is_made_again_from_the_segments() {
    let bench = Bench::new();
    let store = bench.start().await;
    let blocks: Vec<_> = (0..20).map(|seed| block(seed, 4000)).collect();
    for block in &blocks {
        store.put(block.0, block.1.clone(), A, true).await.unwrap();
    }
    store.claim(blocks.iter().map(|block| block.0).collect(), B, false).await.unwrap();
    store.stop().await;
    bench.disk.lose_index();
    let store = bench.restart().await;
    all_are_whole(&store, &blocks).await;
    assert_eq!(store.usage().blocks, 20);
    assert_eq!(store.owners(blocks[3].0).await.unwrap(), [A]);
    // B's references are in no segment: what A lets go of must not take B's blocks along.
    assert_eq!(store.release(A).await.unwrap(), (0, 0));
    all_are_whole(&store, &blocks).await;
}

#[tokio::test(start_paused = true)]
async fn puts_that_wait_share_a_sync_and_equal_blocks_are_stored_once() {
    let mut bench = Bench::new();
    bench.settings.segment_bytes = 1 << 20;
    let store = bench.start().await;
    let puts = (0..100u64).map(|number| {
        let (store, (cid, bytes)) = (store.clone(), block(number / 2, 4000));
        async move { store.put(cid, bytes, if number % 2 == 0 { A } else { B }, true).await }
    });
    let outcomes = futures::future::join_all(puts).await;
    let stored = |outcome: &&Result<_, _>| matches!(outcome, Ok(BlockOutcome::Stored));
    assert_eq!(outcomes.iter().filter(stored).count(), 50);
    assert_eq!(store.usage().used_bytes, 50 * 4080);
    assert!(store.metrics().syncs.get() <= 5, "{:?}", store.metrics().syncs);
    assert_eq!(store.owners(block(7, 4000).0).await.unwrap(), [A, B]);
    assert_eq!(store.release(A).await.unwrap(), (0, 0));
    assert_eq!(store.release(B).await.unwrap(), (50, 50 * 4000));
}

#[tokio::test(start_paused = true)]
async fn a_release_of_many_references_ends() {
    let mut bench = Bench::new();
    bench.settings.capacity_bytes = 8 << 20;
    let store = bench.start().await;
    let puts = (0..2000u64).map(|number| {
        let (store, (cid, bytes)) =
            (store.clone(), block(number, 20 + usize::try_from(number / 2).unwrap()));
        async move { store.put(cid, bytes, A, number == 0).await }
    });
    for outcome in futures::future::join_all(puts).await {
        outcome.unwrap();
    }
    assert_eq!(store.usage().blocks, 2000);
    assert_eq!(store.release(A).await.unwrap().0, 2000);
    assert_eq!(store.usage().blocks, 0);
}

#[tokio::test(start_paused = true)]
async fn a_block_beyond_the_limit_is_refused() {
    let store = Bench::new().start().await;
    let bytes = Bytes::from(vec![0; (2 << 20) + 1]);
    let refused = store.put(block(1, 1).0, bytes, A, false).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    store.stop().await;
    assert!(matches!(put(&store, &block(1, 1), A).await, Err(StoreError::Stopped)));
}
