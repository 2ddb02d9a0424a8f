//! What a scrub reads by, over a disk in memory.

use bytes::Bytes;
use protocol::{Cid, Codec, OwnerId};

use super::testing::{MemoryDisk, TestEnv};
use super::{Indexed, Store, StoreSettings, start};

const A: OwnerId = OwnerId::from_bytes([0xA; 16]);

async fn store(env: &TestEnv<MemoryDisk>) -> Store<TestEnv<MemoryDisk>> {
    let mut settings = StoreSettings::with_capacity(1 << 20);
    settings.reserve_bytes = Some(0);
    start(env.clone(), settings).await.unwrap()
}

async fn all(store: &Store<TestEnv<MemoryDisk>>, limit: usize) -> Vec<Indexed> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.blocks_after(after, limit).await.unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return found };
        after = Some(last.cid);
        found.extend(page);
    }
}

#[tokio::test]
async fn every_block_comes_once_in_the_order_of_names_and_corrupt_ones_are_told() {
    let store = store(&TestEnv::new(MemoryDisk::new(10 << 20))).await;
    let mut corrupt = store.take_corrupt().unwrap();
    assert!(store.take_corrupt().is_none(), "one listens");
    let mut cids = Vec::new();
    for number in 0..50u8 {
        let bytes = Bytes::from(vec![number; 9]);
        for codec in [Codec::Raw, Codec::DagPb] {
            let cid = Cid::of(codec, &bytes);
            store.put(cid, bytes.clone(), A, false).await.unwrap();
            cids.push(cid);
        }
    }
    // Given bytes that are not what their name says.
    let wrong = Cid::of(Codec::Raw, b"right");
    store.put(wrong, Bytes::from_static(b"wrong"), A, false).await.unwrap();
    assert!(corrupt.try_recv().is_err(), "nobody looked yet");
    store.mark_corrupt(wrong).await;
    assert_eq!(corrupt.try_recv().unwrap(), wrong);
    cids.push(wrong);
    cids.sort();
    for limit in [1, 7, 500] {
        let found = all(&store, limit).await;
        assert!(found.iter().map(|block| &block.cid).eq(&cids), "{limit}");
        for block in found {
            assert_eq!(block.bytes.is_none(), block.cid == wrong);
        }
    }
    // It is told again on demand, until it is whole again.
    store.tell_corrupt(wrong).await.unwrap();
    assert_eq!(corrupt.try_recv().unwrap(), wrong);
    store.put(wrong, Bytes::from_static(b"right"), OwnerId::REPAIR, false).await.unwrap();
    store.tell_corrupt(wrong).await.unwrap();
    assert!(corrupt.try_recv().is_err());
    assert_eq!(store.get(wrong).await.unwrap().unwrap(), "right");
}

#[tokio::test]
async fn the_place_of_a_scrub_outlives_a_restart() {
    let env = TestEnv::new(MemoryDisk::new(10 << 20));
    let first = store(&env).await;
    assert_eq!(first.scrub_place().await.unwrap(), None);
    first.keep_scrub_place(Bytes::from_static(b"here")).await.unwrap();
    first.stop().await;
    let second = store(&env).await;
    assert_eq!(second.scrub_place().await.unwrap().unwrap(), "here");
}
