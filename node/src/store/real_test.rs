//! The store on a real directory, through RocksDB and files.

use std::fs::OpenOptions;
use std::io::Write;

use bytes::Bytes;
use protocol::cid::Codec;
use protocol::{Cid, OwnerId, Prng};
use tempfile::TempDir;

use super::testing::TestEnv;
use super::{Store, StoreError, StoreSettings, start};
use crate::disk::RealDisk;
use crate::env::{Batch, Disk, DiskError, DiskFile, Durability, Home, Map, MapReader};

type RealStore = Store<TestEnv<RealDisk>>;

const A: OwnerId = OwnerId::from_bytes([0xA; 16]);
const B: OwnerId = OwnerId::from_bytes([0xB; 16]);

struct Bench {
    dir: TempDir,
    settings: StoreSettings,
}

struct Running {
    disk: RealDisk,
    store: RealStore,
}

impl Bench {
    fn new(capacity_bytes: u64) -> Self {
        let mut settings = StoreSettings::with_capacity(capacity_bytes);
        settings.reserve_bytes = Some(0);
        Self { dir: tempfile::tempdir().unwrap(), settings }
    }

    async fn start(&self) -> Running {
        let disk = RealDisk::open(self.dir.path()).unwrap();
        let store = start(TestEnv::new(disk.clone()), self.settings.clone()).await.unwrap();
        Running { disk, store }
    }
}

impl Running {
    async fn stop(self) {
        self.store.stop().await;
        self.disk.close().await;
    }
}

fn block(seed: u64, length: usize) -> (Cid, Bytes) {
    let mut bytes = vec![0; length];
    let mut prng = Prng::new(seed);
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&prng.next_u64().to_le_bytes()[..part.len()]);
    }
    (Cid::of(Codec::Raw, &bytes), bytes.into())
}

#[tokio::test]
async fn blocks_large_and_small_outlive_a_restart() {
    let bench = Bench::new(1 << 30);
    let running = bench.start().await;
    let blocks: Vec<_> = [0, 1, 1000, 65_535, 65_536, 1 << 20, 2 << 20]
        .into_iter()
        .enumerate()
        .map(|(seed, length)| block(seed as u64, length))
        .collect();
    for (cid, bytes) in &blocks {
        running.store.put(*cid, bytes.clone(), A, true).await.unwrap();
    }
    let usage = running.store.usage();
    running.stop().await;
    let running = bench.start().await;
    assert_eq!(running.store.usage(), usage);
    for (cid, bytes) in &blocks {
        assert_eq!(running.store.get(*cid).await.unwrap().as_ref(), Some(bytes));
        assert_eq!(running.store.owners(*cid).await.unwrap(), [A]);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_share_few_syncs() {
    let bench = Bench::new(1 << 30);
    let running = bench.start().await;
    let writers = (0..32u64).map(|writer| {
        let store = running.store.clone();
        async move {
            for number in 0..31 {
                let (cid, bytes) = block(writer * 1000 + number, 64 << 10);
                store.put(cid, bytes, A, false).await.unwrap();
            }
        }
    });
    futures::future::join_all(writers).await;
    let (puts, syncs) = (running.store.metrics().puts.get(), running.store.metrics().syncs.get());
    assert_eq!(puts, 32 * 31);
    assert!(syncs * 8 < puts, "{syncs} syncs for {puts} puts");
    running.stop().await;
}

#[tokio::test]
async fn a_full_store_takes_blocks_again_once_some_were_released() {
    let mut bench = Bench::new(16 << 20);
    bench.settings.segment_bytes = 4 << 20;
    let running = bench.start().await;
    let mut kept = Vec::new();
    let mut seed = 0;
    loop {
        let (cid, bytes) = block(seed, 256 << 10);
        let owner = if seed % 2 == 0 { A } else { B };
        match running.store.put(cid, bytes.clone(), owner, false).await {
            Ok(_) if owner == B => kept.push((cid, bytes)),
            Ok(_) => {}
            Err(StoreError::Full { .. }) => break,
            Err(error) => panic!("{error}"),
        }
        seed += 1;
    }
    let (freed, _) = running.store.release(A).await.unwrap();
    for number in 0..freed - 2 {
        let (cid, bytes) = block(1000 + number, 256 << 10);
        running.store.put(cid, bytes, A, false).await.unwrap();
    }
    let on_disk: u64 = running.disk.list().await.unwrap().iter().map(|(_, length)| length).sum();
    assert_eq!(on_disk, running.store.usage().used_bytes);
    for (cid, bytes) in kept {
        assert_eq!(running.store.get(cid).await.unwrap(), Some(bytes));
    }
    running.stop().await;
}

#[tokio::test]
async fn garbage_at_the_end_of_a_segment_is_cut_off() {
    let bench = Bench::new(1 << 30);
    let running = bench.start().await;
    let (cid, bytes) = block(1, 100_000);
    running.store.put(cid, bytes.clone(), A, false).await.unwrap();
    let used = running.store.usage().used_bytes;
    running.stop().await;
    let path = bench.dir.path().join("segments/0000000001.segment");
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(b"ShBk and then nothing that makes sense").unwrap();
    let running = bench.start().await;
    assert_eq!(running.store.usage().used_bytes, used);
    assert_eq!(running.disk.list().await.unwrap(), [("0000000001.segment".to_owned(), used)]);
    assert_eq!(running.store.get(cid).await.unwrap(), Some(bytes));
    running.stop().await;
}

#[tokio::test]
async fn a_lost_index_is_made_again() {
    let bench = Bench::new(1 << 30);
    let running = bench.start().await;
    let (cid, bytes) = block(1, 100_000);
    running.store.put(cid, bytes.clone(), A, true).await.unwrap();
    running.stop().await;
    std::fs::remove_dir_all(bench.dir.path().join("index")).unwrap();
    let running = bench.start().await;
    assert_eq!(running.store.get(cid).await.unwrap(), Some(bytes));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_reads_what_was_written_and_comes_behind_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(dir.path()).unwrap();
    let put = |value: &str| {
        let mut batch = Batch::default();
        batch.put(Map::Peers, "key", value.to_owned());
        batch
    };
    for round in 0..50 {
        disk.write(put("read"), Durability::Buffered).await.unwrap();
        // Given a write that has been queued, and waits for its sync.
        let mut queued = std::pin::pin!(disk.write(put("queued"), Durability::Synced));
        assert!(futures::poll!(&mut queued).is_pending());
        let (value, batch) = (format!("last {round}"), put(&format!("last {round}")));
        let transaction = disk.transact(Home::Blocks, move |reader| {
            let found = reader.get(Map::Peers, b"key")?;
            Ok((batch.clone(), found.is_some_and(|found| found == "read" || found == "queued")))
        });
        let (written, found) = tokio::join!(queued, transaction);
        written.unwrap();
        assert!(found.unwrap(), "round {round}");
        let key = Bytes::from("key");
        assert_eq!(disk.get(Map::Peers, key).await.unwrap(), Some(value.into()), "round {round}");
    }
}

#[tokio::test]
async fn questions_are_answered_alike_from_files_and_from_memory() {
    const ROWS: u64 = 5_000;
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(dir.path()).unwrap();
    let key_of = |number: u64| Bytes::from(format!("{number:05}"));
    let value_of = |number: u64| Bytes::from(format!("{number}-").repeat(50));
    let mut batch = Batch::default();
    for number in 0..ROWS {
        batch.put(Map::Metadata, key_of(2 * number), value_of(number));
    }
    disk.write(batch, Durability::Synced).await.unwrap();
    disk.settle(Home::Metadata).await.unwrap();
    disk.close().await;
    // Nothing of the tables lies in memory now, and then ever more of them.
    let disk = RealDisk::open(dir.path()).unwrap();
    let mut prng = Prng::new(1);
    for _ in 0..300 {
        let (first, rows) = (prng.below(ROWS), prng.below(100));
        let question = move |reader: &dyn MapReader| {
            let row = reader.get(Map::Metadata, &key_of(2 * first))?;
            let gap = reader.get(Map::Metadata, &key_of(2 * first + 1))?;
            let limit = usize::try_from(rows).unwrap_or(0);
            let page = reader.scan(Map::Metadata, &key_of(2 * first), None, limit)?;
            Ok((row, gap, page))
        };
        let (row, gap, page) = disk.query(Home::Metadata, question).await.unwrap();
        assert_eq!((row, gap), (Some(value_of(first)), None));
        let expected: Vec<_> = (first..ROWS.min(first + rows))
            .map(|number| (key_of(2 * number), value_of(number)))
            .collect();
        assert_eq!(page, expected, "{rows} rows from {first}");
    }
    disk.close().await;
}

#[tokio::test]
async fn the_maps_of_a_disk_are_ordered_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(dir.path()).unwrap();
    let mut batch = Batch::default();
    for key in ["a", "ab", "b", "c"] {
        batch.put(Map::Peers, key, key.to_uppercase());
    }
    batch.delete(Map::Peers, "b");
    disk.write(batch, Durability::Buffered).await.unwrap();
    let scan = |from: &'static str, until: Option<&'static str>, limit| {
        let disk = disk.clone();
        async move {
            let until = until.map(Bytes::from);
            let found = disk.scan(Map::Peers, Bytes::from(from), until, limit).await;
            found.unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        }
    };
    assert_eq!(scan("", None, 10).await, ["a", "ab", "c"]);
    assert_eq!(scan("a", Some("b"), 10).await, ["a", "ab"]);
    assert_eq!(scan("aa", None, 1).await, ["ab"]);
    assert_eq!(scan("b", Some("a"), 10).await, Vec::<Bytes>::new());
    let keys = vec![Bytes::from("c"), Bytes::from("b")];
    let values = disk.get_many(Map::Peers, keys).await.unwrap();
    assert_eq!(values, [Some(Bytes::from("C")), None]);
    assert_eq!(disk.get(Map::Blocks, Bytes::from("c")).await.unwrap(), None);
    disk.close().await;
}

#[tokio::test]
async fn a_disk_is_opened_once_and_refuses_calls_when_closed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(dir.path()).unwrap();
    assert!(matches!(RealDisk::open(dir.path()), Err(DiskError::Failed { .. })));
    let file = disk.open("x", true).await.unwrap();
    file.write_at(3, vec![Bytes::from("ab"), Bytes::new(), Bytes::from("c")]).await.unwrap();
    file.sync().await.unwrap();
    assert_eq!(file.read_at(0, 100).await.unwrap(), "\0\0\0abc");
    assert_eq!(file.len().await.unwrap(), 6);
    disk.remove("x").await.unwrap();
    assert_eq!(file.read_at(3, 2).await.unwrap(), "ab");
    assert!(matches!(disk.open("x", false).await, Err(DiskError::Missing { .. })));
    disk.close().await;
    disk.close().await;
    assert!(matches!(file.sync().await, Err(DiskError::Closed)));
    assert!(matches!(disk.list().await, Err(DiskError::Closed)));
    // The lock is gone with it.
    RealDisk::open(dir.path()).unwrap().close().await;
}
