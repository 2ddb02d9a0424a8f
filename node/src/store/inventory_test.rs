//! Inventories of a store on a disk in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use protocol::placement::Partition;
use protocol::repair::{Row, RowKey};
use protocol::{Cid, Codec, OwnerId};

use super::testing::{MemoryDisk, TestEnv};
use super::{RowsWanted, Store, StoreSettings, start};

const A: OwnerId = OwnerId::from_bytes([0xA; 16]);
const B: OwnerId = OwnerId::from_bytes([0xB; 16]);

async fn store() -> Store<TestEnv<MemoryDisk>> {
    let env = TestEnv::new(MemoryDisk::new(10 << 20));
    let mut settings = StoreSettings::with_capacity(1 << 20);
    settings.reserve_bytes = Some(0);
    start(env, settings).await.unwrap()
}

/// Stores blocks of 1, 2, 3 … bytes; every third of them for two owners. Returns the rows of them, in order.
async fn fill(store: &Store<TestEnv<MemoryDisk>>, count: u8) -> Vec<Row> {
    let mut rows = Vec::new();
    for number in 1..=count {
        let bytes = Bytes::from(vec![number; number.into()]);
        let cid = Cid::of(if number % 2 == 0 { Codec::Raw } else { Codec::DagPb }, &bytes);
        let owners = if number % 3 == 0 { vec![A, B] } else { vec![B] };
        for owner in owners {
            store.put(cid, bytes.clone(), owner, false).await.unwrap();
            rows.push(Row { cid, owner, root: false, bytes: number.into() });
        }
    }
    rows.sort_unstable();
    rows
}

async fn all(
    store: &Store<TestEnv<MemoryDisk>>,
    partitions: Option<Vec<Partition>>,
    limit: usize,
) -> Vec<Row> {
    let partitions: Option<Arc<[Partition]>> = partitions.map(Into::into);
    let (mut found, mut after): (Vec<Row>, Option<RowKey>) = (Vec::new(), None);
    loop {
        let wanted = RowsWanted { partitions: partitions.clone(), after, limit };
        let page = store.rows(wanted).await.unwrap();
        assert!(page.rows.len() <= limit);
        found.extend(page.rows);
        let Some(next) = page.next else { return found };
        assert!(after < Some(next), "it goes on");
        after = Some(next);
    }
}

#[tokio::test]
async fn all_rows_come_in_order_whatever_the_page() {
    let store = store().await;
    let rows = fill(&store, 120).await;
    for limit in [1, 7, 160, 5_000] {
        assert_eq!(all(&store, None, limit).await, rows, "{limit}");
    }
}

#[tokio::test]
async fn only_partitions_that_are_wanted_are_shown() {
    let store = store().await;
    let rows = fill(&store, 120).await;
    let held: BTreeSet<Partition> = rows.iter().map(Row::partition).collect();
    // Given every other partition that has rows, and many that have none.
    let mut wanted: BTreeSet<Partition> = held.iter().step_by(2).copied().collect();
    wanted.extend(Partition::all().step_by(100).filter(|partition| !held.contains(partition)));
    let expected: Vec<Row> =
        rows.iter().filter(|row| wanted.contains(&row.partition())).copied().collect();
    let wanted: Vec<Partition> = wanted.into_iter().collect();
    for limit in [1, 10, 5_000] {
        assert_eq!(all(&store, Some(wanted.clone()), limit).await, expected, "{limit}");
    }
    assert_eq!(all(&store, Some(Vec::new()), 1).await, []);
}

#[tokio::test]
async fn what_is_corrupt_or_released_is_in_no_inventory() {
    let store = store().await;
    let mut rows = fill(&store, 10).await;
    // Given bytes that are not what their name says.
    let wrong = Cid::of(Codec::Raw, b"right");
    store.put(wrong, Bytes::from_static(b"wrong"), A, false).await.unwrap();
    assert_eq!(all(&store, None, 3).await.len(), rows.len() + 1);
    store.mark_corrupt(wrong).await;
    assert_eq!(all(&store, None, 3).await, rows);
    store.release(A).await.unwrap();
    rows.retain(|row| row.owner != A);
    assert_eq!(all(&store, None, 3).await, rows);
}

#[tokio::test]
async fn after_the_loss_of_an_index_the_owners_that_records_name_are_in_the_inventory() {
    let disk = MemoryDisk::new(10 << 20);
    let env = TestEnv::new(disk.clone());
    let mut settings = StoreSettings::with_capacity(1 << 20);
    (settings.reserve_bytes, settings.small_block_bytes) = (Some(0), 0);
    let store = start(env.clone(), settings.clone()).await.unwrap();
    let rows = fill(&store, 10).await;
    env.kill().await;
    disk.lose_index();
    let store = start(env, settings).await.unwrap();
    // A record names the first owner of its block; those who came later find it again by healing.
    let found = all(&store, None, 3).await;
    assert!(found.iter().all(|row| rows.contains(row)), "{found:?} of {rows:?}");
    let blocks = |rows: &[Row]| rows.iter().map(|row| row.cid.to_string()).collect::<BTreeSet<_>>();
    assert_eq!(blocks(&found), blocks(&rows));
}
