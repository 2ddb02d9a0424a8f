//! Letting go of partitions, over a disk in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use protocol::placement::Partition;
use protocol::repair::{Bucket, Summary};
use protocol::{Cid, Codec, OwnerId};

use super::testing::{MemoryDisk, TestEnv};
use super::{Proviso, RowsWanted, Store, StoreSettings, start};

type TestStore = Store<TestEnv<MemoryDisk>>;

const A: OwnerId = OwnerId::from_bytes([0xA; 16]);
const B: OwnerId = OwnerId::from_bytes([0xB; 16]);

async fn store() -> TestStore {
    let env = TestEnv::new(MemoryDisk::new(10 << 20));
    let mut settings = StoreSettings::with_capacity(1 << 20);
    (settings.reserve_bytes, settings.small_block_bytes) = (Some(0), 50);
    start(env, settings).await.unwrap()
}

/// Stores blocks of 1, 2, 3 … bytes, small ones and others, every third for two owners.
async fn fill(store: &TestStore, count: u8) -> Vec<Cid> {
    let mut cids = Vec::new();
    for number in 1..=count {
        let bytes = Bytes::from(vec![number; number.into()]);
        let cid = Cid::of(Codec::Raw, &bytes);
        for owner in if number % 3 == 0 { vec![A, B] } else { vec![B] } {
            store.put(cid, bytes.clone(), owner, true).await.unwrap();
        }
        cids.push(cid);
    }
    cids
}

/// Returns the inventory of each partition that has one.
async fn buckets(store: &TestStore) -> Vec<(Partition, Bucket)> {
    let wanted = RowsWanted { partitions: None, after: None, limit: 5_000 };
    let mut summary = Summary::new();
    store.rows(wanted).await.unwrap().rows.iter().for_each(|row| summary.insert(row));
    summary.partitions().collect()
}

fn always() -> Proviso {
    Proviso::new(|| true)
}

#[tokio::test]
async fn what_departs_is_gone_with_its_references_and_the_rest_stays() {
    let store = store().await;
    let cids = fill(&store, 100).await;
    let all = buckets(&store).await;
    let going: Vec<_> = all.iter().step_by(2).copied().collect();
    let departed = store.depart(going.clone(), always()).await.unwrap();
    let is_going = |cid: &Cid| going.iter().any(|(partition, _)| *partition == Partition::of(cid));
    let gone = cids.iter().filter(|cid| is_going(cid)).count() as u64;
    assert_eq!((departed.partitions, departed.blocks), (going.len() as u64, gone));
    assert_eq!(store.usage().blocks, 100 - gone);
    for (cid, held) in cids.iter().zip(store.has(cids.clone()).await.unwrap()) {
        assert_eq!(held, !is_going(cid));
        assert_eq!(store.owners(*cid).await.unwrap().is_empty(), is_going(cid));
    }
    let left: Vec<_> = all.iter().skip(1).step_by(2).copied().collect();
    assert_eq!(buckets(&store).await, left);
    // What is left is freed by its owners as ever, and nothing is left behind.
    store.release(A).await.unwrap();
    store.release(B).await.unwrap();
    assert_eq!(store.usage().blocks, 0);
    assert_eq!(store.owners_after(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn what_came_or_went_since_the_others_were_asked_keeps_its_partition() {
    let store = store().await;
    let cids = fill(&store, 10).await;
    let all = buckets(&store).await;
    // Given owners that are no more, one that came and went, and one that is new.
    store.claim(vec![cids[0]], A, false).await.unwrap();
    store.release(A).await.unwrap();
    store.claim(vec![cids[3]], A, false).await.unwrap();
    let changed = [cids[2], cids[5], cids[8], cids[3]].map(|cid| Partition::of(&cid));
    let departed = store.depart(all.clone(), always()).await.unwrap();
    assert_eq!(departed.partitions, 6);
    let left: Vec<Partition> =
        buckets(&store).await.into_iter().map(|(partition, _)| partition).collect();
    let mut changed = changed.to_vec();
    changed.sort();
    assert_eq!(left, changed);
}

#[tokio::test]
async fn without_its_proviso_nothing_departs() {
    let store = store().await;
    fill(&store, 10).await;
    let all = buckets(&store).await;
    let may = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&may);
    let proviso = Proviso::new(move || asked.load(Ordering::Relaxed));
    let departed = store.depart(all.clone(), proviso.clone()).await.unwrap();
    assert_eq!((departed.partitions, store.usage().blocks), (0, 10));
    assert_eq!(buckets(&store).await, all);
    may.store(true, Ordering::Relaxed);
    assert_eq!(store.depart(all, proviso).await.unwrap().partitions, 10);
}

#[tokio::test]
async fn references_that_nobody_can_have_confirmed_keep_what_they_refer_to() {
    let store = store().await;
    let cids = fill(&store, 4).await;
    // Given a block that is corrupt: its references are in no inventory.
    let wrong = Cid::of(Codec::Raw, b"right");
    store.put(wrong, Bytes::from_static(b"wrong"), A, false).await.unwrap();
    let all = buckets(&store).await;
    store.mark_corrupt(wrong).await;
    let mut told = all.clone();
    told.extend(all.iter().map(|(partition, _)| (*partition, Bucket::default())));
    assert_eq!(store.depart(told, always()).await.unwrap().partitions, 4);
    assert_eq!(store.has(cids).await.unwrap(), [false; 4]);
    store.put(wrong, Bytes::from_static(b"right"), OwnerId::REPAIR, false).await.unwrap();
    assert_eq!(buckets(&store).await.len(), 1, "its reference stands");
}
