//! openraft's own tests of a store, over a disk in memory and over RocksDB, in both modes; and what a power cut leaves.

use openraft::StorageError;
use openraft::async_runtime::{AsyncRuntime, Oneshot};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use protocol::Prng;

use super::Log;
use crate::disk::RealDisk;
use crate::env::{Disk, Env};
use crate::meta::flusher::{Failure, Flusher};
use crate::meta::machine::Machine;
use crate::meta::metrics::MetaMetrics;
use crate::meta::runtime::{MetaHost, MetaRuntime};
use crate::meta::settings::{Observer, Planted};
use crate::meta::types::{Entry, LeaderId, LogId, Payload, Proposal, Types, Vote};
use crate::store::testing::{MemoryDisk, TestEnv};

const DEVICE_BYTES: u64 = 1 << 30;

async fn open<D: Disk>(env: &TestEnv<D>, synced: bool, planted: Planted) -> Log<TestEnv<D>> {
    let flusher = Flusher::start(env, Failure::default());
    Log::open(env, flusher, synced, planted).await.unwrap()
}

async fn machine<D: Disk>(env: &TestEnv<D>) -> Machine<TestEnv<D>> {
    let observer = Observer::default();
    Machine::open(env, Failure::default(), MetaMetrics::default(), observer).await.unwrap()
}

/// Builds stores in memory.
struct InMemory {
    synced: bool,
}

impl StoreBuilder<Types, Log<TestEnv<MemoryDisk>>, Machine<TestEnv<MemoryDisk>>> for InMemory {
    async fn build(
        &self,
    ) -> Result<((), Log<TestEnv<MemoryDisk>>, Machine<TestEnv<MemoryDisk>>), StorageError<Types>>
    {
        let env = TestEnv::new(MemoryDisk::new(DEVICE_BYTES));
        Ok(((), open(&env, self.synced, Planted::default()).await, machine(&env).await))
    }
}

/// Builds stores in RocksDB.
struct InRocks;

/// What a store in RocksDB leaves to be cleaned up: the disk is closed before its directory goes.
struct Rocks {
    disk: RealDisk,
    _dir: tempfile::TempDir,
}

impl Drop for Rocks {
    fn drop(&mut self) {
        futures::executor::block_on(self.disk.close());
    }
}

impl StoreBuilder<Types, Log<TestEnv<RealDisk>>, Machine<TestEnv<RealDisk>>, Rocks> for InRocks {
    async fn build(
        &self,
    ) -> Result<(Rocks, Log<TestEnv<RealDisk>>, Machine<TestEnv<RealDisk>>), StorageError<Types>>
    {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let env = TestEnv::new(disk.clone());
        let log = open(&env, false, Planted::default()).await;
        Ok((Rocks { disk, _dir: dir }, log, machine(&env).await))
    }
}

#[tokio::test]
async fn the_store_suite_of_openraft_passes_in_memory() {
    for synced in [false, true] {
        let host = MetaHost::new(TestEnv::new(MemoryDisk::new(DEVICE_BYTES)));
        host.scope(Suite::test_all(InMemory { synced })).await.unwrap();
    }
}

// The thread that closes a disk waits for calls under way, which another one finishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_store_suite_of_openraft_passes_on_rocksdb() {
    let host = MetaHost::new(TestEnv::new(MemoryDisk::new(DEVICE_BYTES)));
    host.scope(Suite::test_all(InRocks)).await.unwrap();
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let command = vec![u8::try_from(term % 256).unwrap(); bytes].into();
    let log_id = LogId::new(LeaderId { term, node_id: 1 }, index);
    Entry { log_id, payload: Payload::Normal(Proposal(command)) }
}

fn id(term: u64, index: u64) -> LogId {
    entry(term, index, 0).log_id
}

async fn append<E: Env>(log: &mut Log<E>, entries: Vec<Entry>) {
    let (done, flushed) = <MetaRuntime as AsyncRuntime>::Oneshot::channel();
    log.append(entries, IOFlushed::signal(done)).await.unwrap();
    flushed.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_flushed_survives_a_power_cut_and_what_was_voted_too() {
    let (mut with_tail, mut lost_votes) = (0, 0);
    for seed in 0..200 {
        for planted in [false, true] {
            let mut prng = Prng::new(seed);
            let disk = MemoryDisk::new(DEVICE_BYTES);
            let env = TestEnv::new(disk.clone());
            let planted = Planted { vote_not_synced: planted, ..Planted::default() };
            let mut log = open(&env, false, planted).await;
            append(&mut log, (0..10).map(|index| entry(1, index, 10)).collect()).await;
            // Given a tail that is readable and not flushed, or not known to be.
            log.append((10..15).map(|index| entry(1, index, 10)), IOFlushed::noop()).await.unwrap();
            assert_eq!(log.try_get_log_entries(5..).await.unwrap().len(), 10);
            for _ in 0..prng.below(8) {
                tokio::task::yield_now().await;
            }
            if prng.chance(1, 2) {
                log.save_vote(&Vote::new(7, 3)).await.unwrap();
                env.kill().await;
                disk.crash(&mut prng);
                let mut log = open(&TestEnv::new(disk.clone()), false, planted).await;
                let vote = log.read_vote().await.unwrap();
                if planted.vote_not_synced {
                    lost_votes += u32::from(vote.is_none());
                } else {
                    assert_eq!(vote, Some(Vote::new(7, 3)), "seed {seed}");
                }
                continue;
            }
            env.kill().await;
            disk.crash(&mut prng);
            let mut log = open(&TestEnv::new(disk.clone()), false, planted).await;
            let left = log.try_get_log_entries(..).await.unwrap();
            assert!(left.len() >= 10, "seed {seed}");
            with_tail += u32::from(left.len() > 10);
            let last = log.get_log_state().await.unwrap().last_log_id;
            assert_eq!(last, left.last().map(|entry| entry.log_id));
        }
    }
    assert!(with_tail > 20, "the tail is never kept");
    assert!(lost_votes > 10, "the planted defect is never seen");
}

#[tokio::test]
async fn a_long_log_is_read_from_disk_and_memory_alike() {
    let disk = MemoryDisk::new(DEVICE_BYTES);
    let env = TestEnv::new(disk.clone());
    let mut log = open(&env, false, Planted::default()).await;
    // Given more entries than memory keeps.
    let count = 2 * super::CACHE_BYTES_MAX as u64 / 10_000;
    for index in 0..count {
        append(&mut log, vec![entry(1, index, 10_000)]).await;
    }
    assert!(log.lock().first_cached > count / 4, "nothing was let go of");
    let all = log.try_get_log_entries(0..count).await.unwrap();
    assert!(all.iter().zip(0..).all(|(entry, index)| entry.log_id.index == index));
    assert_eq!(all.len() as u64, count);
    let some = log.limited_get_log_entries(3, count).await.unwrap();
    assert!(some[0].log_id.index == 3 && some.len() > 10 && (some.len() as u64) < count / 2);
    let edge = log.lock().first_cached;
    let across = log.try_get_log_entries(edge - 3..edge + 3).await.unwrap();
    assert_eq!(across.len(), 6);

    // When it is cut back into what only the disk has, and goes on otherwise.
    log.truncate_after(Some(id(1, 9))).await.unwrap();
    assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 10);
    append(&mut log, vec![entry(2, 10, 10), entry(2, 11, 10)]).await;
    log.purge(id(1, 4)).await.unwrap();
    log.save_committed(Some(id(2, 10))).await.unwrap();
    append(&mut log, vec![entry(2, 12, 10)]).await;
    let expected: Vec<LogId> =
        (5..10).map(|i| id(1, i)).chain((10..13).map(|i| id(2, i))).collect();
    for reopened in [false, true] {
        if reopened {
            env.kill().await;
            disk.crash_losing_all();
            log = open(&TestEnv::new(disk.clone()), false, Planted::default()).await;
        }
        let left = log.try_get_log_entries(..).await.unwrap();
        assert_eq!(left.iter().map(|entry| entry.log_id).collect::<Vec<_>>(), expected);
        let state = log.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(id(1, 4)));
        assert_eq!(state.last_log_id, Some(id(2, 12)));
        assert_eq!(log.read_committed().await.unwrap(), Some(id(2, 10)));
        assert!(!log.is_pristine());
    }
}
