//! Logs that end too early, and logs that are damaged: what is there after the next start, and what is said of it.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use protocol::index::Place;
use tempfile::TempDir;

use crate::disk::RealDisk;
use crate::env::{Batch, Disk, DiskError, Durability, Map};

/// Bytes of a value: with ten of them to a part of the log.
const VALUE_BYTES: usize = 3_000;

/// The values of a home that are written one after the other, and what is done to its log after the disk was closed.
struct Case {
    dir: TempDir,
    map: Map,
    folder: &'static str,
}

impl Case {
    fn new(map: Map, folder: &'static str) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), map, folder }
    }

    fn blocks() -> Self {
        Self::new(Map::Small, "index")
    }

    fn metadata() -> Self {
        Self::new(Map::RaftLog, "metadata")
    }

    fn open(&self) -> Result<RealDisk, DiskError> {
        RealDisk::open(self.dir.path())
    }

    /// Writes values one after the other, those of `synced` each with a sync.
    async fn write(&self, values: Range<u8>, synced: Range<u8>) {
        let disk = self.open().unwrap();
        for value in values {
            let mut batch = Batch::default();
            batch.put(self.map, vec![value], vec![value; VALUE_BYTES]);
            if self.map == Map::Small {
                let place = Place::Small { bytes: 0, checksum: 0 };
                batch.put(Map::Blocks, vec![value], place.encode());
            }
            let is_synced = synced.contains(&value);
            let durability = if is_synced { Durability::Synced } else { Durability::Buffered };
            disk.write(batch, durability).await.unwrap();
        }
        // No table is made of what is in the log: so far this is like the end of the process.
        disk.close().await;
    }

    /// Changes the log that holds a value.
    fn harm(&self, number: u8, harm: impl FnOnce(&mut Vec<u8>, usize)) {
        let part = [number; 1_000];
        for path in logs(&self.dir.path().join(self.folder)) {
            let mut log = fs::read(&path).unwrap();
            if let Some(at) = log.windows(part.len()).position(|bytes| bytes == part) {
                harm(&mut log, at);
                fs::write(&path, log).unwrap();
                return;
            }
        }
        panic!("no log has value {number}");
    }

    fn flip(&self, number: u8) {
        self.harm(number, |log, at| log[at] ^= 1);
    }

    /// Opens the disk and returns which values there are, and how many blocks it says were cut off.
    async fn found(&self) -> (Vec<u8>, u64) {
        let disk = self.open().unwrap();
        let entries = disk.scan(self.map, Bytes::new(), None, 100).await.unwrap();
        let is_whole = |(key, value): &(Bytes, Bytes)| **value == [key[0]; VALUE_BYTES];
        assert!(entries.iter().all(is_whole));
        let mut registry = Registry::default();
        disk.register_metrics(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("disk_cut_records_total "));
        disk.close().await;
        (entries.iter().map(|(key, _)| key[0]).collect(), line.unwrap().parse().unwrap())
    }
}

fn logs(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "log")).collect()
}

#[tokio::test]
async fn the_torn_end_of_a_log_is_cut_off_and_nothing_else() {
    for case in [Case::blocks(), Case::metadata()] {
        case.write(0..5, 0..5).await;
        case.harm(4, |log, at| log.truncate(at + VALUE_BYTES / 4));
        assert_eq!(case.found().await, (vec![0, 1, 2, 3], 0));
        case.write(5..7, 5..7).await;
        assert_eq!(case.found().await, (vec![0, 1, 2, 3, 5, 6], 0));
    }
}

#[tokio::test]
async fn damage_in_the_log_of_the_blocks_is_counted_and_the_peer_goes_on() {
    let case = Case::blocks();
    case.write(1..9, 1..9).await;
    case.flip(4);
    let (found, cut) = case.found().await;
    assert_eq!(found, [1, 2, 3]);
    assert!(cut >= 5, "{cut}");
    // It was said once, and what is written since is kept.
    case.write(20..22, 20..22).await;
    assert_eq!(case.found().await, (vec![1, 2, 3, 20, 21], 0));
}

#[tokio::test]
async fn damage_in_every_record_of_the_log_of_the_blocks_is_counted_too() {
    let case = Case::blocks();
    case.write(1..9, 1..9).await;
    (1..9).for_each(|number| case.flip(number));
    let (found, cut) = case.found().await;
    assert!(found.is_empty() && cut > 0, "{found:?} {cut}");
}

#[tokio::test]
async fn a_peer_does_not_go_on_without_what_it_agreed_to() {
    // The last record too: it was synced, and others count on it.
    for damaged in [1, 4, 8] {
        let case = Case::metadata();
        case.write(1..9, 1..9).await;
        case.flip(damaged);
        let error = case.open().unwrap_err().to_string();
        assert!(error.contains("let an empty directory join in its place"), "{error}");
        // Nothing was changed by the attempt: with the bit as it was all is there.
        case.harm(damaged, |log, at| log[at - 1] ^= 1);
        assert_eq!(case.found().await.0, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}

#[tokio::test]
async fn a_peer_that_is_alone_goes_on_when_it_is_told_to() {
    let case = Case::metadata();
    case.write(1..9, 1..9).await;
    case.flip(4);
    let error = case.open().unwrap_err().to_string();
    let command = error.split_once("truncate -s ").expect("it says how").1;
    let mut words = command.split(' ');
    let length = words.next().unwrap().parse().unwrap();
    let log = fs::OpenOptions::new().write(true).open(words.next().unwrap()).unwrap();
    log.set_len(length).unwrap();
    assert_eq!(case.found().await.0, [1, 2, 3]);
}
