//! RocksDB as ordered maps: its options, and what its errors mean.

use std::cell::Cell;
use std::path::Path;

use bytes::Bytes;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ChecksumType, ColumnFamily, DB,
    DBCompressionType, Direction, ErrorKind, FlushOptions, IteratorMode, LogLevel, Options,
    ReadOptions, ReadTier, Snapshot, WriteBatch,
};

use super::lane::Health;
use super::recovery::{self, Damage, Recovered, Refused};
use crate::env::{Batch, Change, DiskError, Home, Map, MapReader};

/// Bytes of the cache that all maps of a home share. Memory of a daemon is dear: indexes of a TB of large blocks are
/// some 200 MB, of which the hot part is small.
pub(super) const CACHE_BYTES: usize = 32 << 20;
/// Bytes that all write buffers take together; above, the largest is flushed.
const WRITE_BUFFERS_BYTES: usize = 32 << 20;
/// Bytes of the write buffer of small blocks, and of each other map.
const SMALL_BUFFER_BYTES: usize = 16 << 20;
const BUFFER_BYTES: usize = 8 << 20;
/// Entries of a table of small blocks, one after the other, of which half are deletions when it is to be merged.
const DELETIONS_WINDOW: usize = 128;
/// Bytes of log after which the oldest buffers are flushed, so that a restart replays little.
const LOG_BYTES_MAX: u64 = 128 << 20;
/// Bytes of a part of a table's index or filter.
const INDEX_PART_BYTES: usize = 4 << 10;
/// Rows that a question may read on its caller's thread: some microseconds each.
const GLANCE_ROWS_MAX: usize = 64;
/// Table files kept open.
const FILES_OPEN_MAX: i32 = 256;

/// An open index: the database of one home.
pub(super) struct Index {
    home: Home,
    db: DB,
    cut_records: u64,
    health: Health,
}

/// One unchanging state of an index.
pub(super) struct Frozen<'a> {
    index: &'a Index,
    snapshot: Snapshot<'a>,
}

/// The part of an unchanging state that lies in memory: write buffers and cached parts of tables. After it missed
/// something, all that it says is worth nothing.
struct Glance<'a> {
    frozen: Frozen<'a>,
    rows_left: Cell<usize>,
    has_missed: Cell<bool>,
}

impl Index {
    /// Opens the index of `home` in `dir`, creating it where it is missing.
    pub(super) fn open(home: Home, dir: &Path, health: Health) -> Result<Self, DiskError> {
        match recovery::open(home, dir) {
            Ok(Recovered { db, cut_records }) => Ok(Self { home, db, cut_records, health }),
            Err(Refused::Error(error)) if is_full(&error) => Err(DiskError::Full),
            Err(Refused::Error(error)) => Err(health.fail(told(home, "cannot be opened", error))),
            Err(Refused::Io(error)) => Err(health.of_write("read the log of an index", &error)),
            Err(Refused::Forgotten(damage)) => Err(health.fail(forgotten(&damage))),
        }
    }

    /// Returns how many records, at least, were cut off with the damaged part of the log when it was opened.
    pub(super) fn cut_records(&self) -> u64 {
        self.cut_records
    }

    pub(super) fn get(&self, map: Map, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        let value = self.db.get_pinned_cf(self.family(map)?, key);
        let value = value.map_err(|error| self.of_read(error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    pub(super) fn get_many(
        &self,
        map: Map,
        keys: &[Bytes],
    ) -> Result<Vec<Option<Bytes>>, DiskError> {
        let values = self.db.batched_multi_get_cf(self.family(map)?, keys, false);
        let copied = values.into_iter().map(|value| {
            let value = value.map_err(|error| self.of_read(error))?;
            Ok(value.map(|value| Bytes::copy_from_slice(&value)))
        });
        copied.collect()
    }

    pub(super) fn scan(
        &self,
        map: Map,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        let Some(options) = options_of_scan(from, until) else { return Ok(Vec::new()) };
        let mode = IteratorMode::From(from, Direction::Forward);
        let entries = self.db.iterator_cf_opt(self.family(map)?, options, mode);
        self.copy(entries, limit, usize::MAX)
    }

    /// Freezes the state as it is now. RocksDB keeps what is changed since for as long as this lives.
    pub(super) fn freeze(&self) -> Frozen<'_> {
        Frozen { index: self, snapshot: self.db.snapshot() }
    }

    /// Asks what lies in memory, on the caller's thread: it reads no file. Returns nothing where that is not enough, or
    /// where the question reads more than a few rows.
    pub(super) fn glance<T>(
        &self,
        question: impl Fn(&dyn MapReader) -> Result<T, DiskError>,
    ) -> Option<Result<T, DiskError>> {
        let glance = Glance {
            frozen: self.freeze(),
            rows_left: Cell::new(GLANCE_ROWS_MAX),
            has_missed: Cell::new(false),
        };
        let answer = question(&glance);
        (!glance.has_missed.get()).then_some(answer)
    }

    /// Copies at most `limit` entries, and none after those that make up `bytes`.
    fn copy(
        &self,
        entries: impl Iterator<Item = Result<(Box<[u8]>, Box<[u8]>), rocksdb::Error>>,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        let mut copied = Vec::new();
        let mut size = 0;
        for entry in entries.take(limit) {
            let (key, value) = entry.map_err(|error| self.of_read(error))?;
            size += key.len() + value.len();
            copied.push((Bytes::from(key), Bytes::from(value)));
            if size >= bytes {
                break;
            }
        }
        Ok(copied)
    }

    /// Applies batches together: all of them or none. What a crash leaves of them is up to [`Self::sync`].
    pub(super) fn write<'a>(
        &self,
        batches: impl Iterator<Item = &'a Batch>,
    ) -> Result<(), DiskError> {
        let mut group = WriteBatch::default();
        for change in batches.flat_map(|batch| &batch.changes) {
            match change {
                Change::Put { map, key, value } => group.put_cf(self.family(*map)?, key, value),
                Change::Delete { map, key } => group.delete_cf(self.family(*map)?, key),
                Change::DeleteRange { map, from, until } => {
                    group.delete_range_cf(self.family(*map)?, from, until);
                }
            }
        }
        self.db.write(group).map_err(|error| self.of_write("cannot be written", error))
    }

    /// Makes everything durable that was written before the call. Others may write meanwhile, which a write that syncs
    /// by itself would not let them.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        // Also on a full device: what a sync that failed left out is not told by the next one that succeeds.
        let synced = self.db.flush_wal(true);
        synced.map_err(|error| self.health.fail(told(self.home, "cannot be synced", error)))
    }

    /// Writes what is in memory to tables, whose log goes then, and of which those that tell mostly of deletions are
    /// merged with others in the background.
    pub(super) fn settle(&self) -> Result<(), DiskError> {
        let maps = Map::ALL.into_iter().filter(|map| map.home() == self.home);
        let families = maps.map(|map| self.family(map)).collect::<Result<Vec<_>, _>>()?;
        let families: Vec<_> = families.iter().collect();
        let flushed = self.db.flush_cfs_opt(&families, &FlushOptions::default());
        flushed.map_err(|error| self.of_write("cannot be flushed", error))
    }

    /// Ends background work. The index is closed when it is dropped.
    pub(super) fn wind_down(&self) {
        self.db.cancel_all_background_work(true);
    }

    fn family(&self, map: Map) -> Result<&ColumnFamily, DiskError> {
        let family = self.db.cf_handle(map.name());
        let detail = || format!("no map {} in the home {:?}", map.name(), self.home);
        family.ok_or_else(|| DiskError::Failed { detail: detail() })
    }

    /// Returns the error of a change: a full device is no failure.
    fn of_write(&self, what: &str, error: rocksdb::Error) -> DiskError {
        if is_full(&error) {
            DiskError::Full
        } else {
            self.health.fail(told(self.home, what, error))
        }
    }

    /// Returns the error of a read: damage in one place leaves the others readable.
    fn of_read(&self, error: rocksdb::Error) -> DiskError {
        let kind = error.kind();
        let detail = format!("index read: {}", error.into_string());
        if kind == ErrorKind::Corruption || detail.contains("Input/output error") {
            DiskError::Corrupt { detail }
        } else {
            self.health.fail(detail)
        }
    }
}

/// Returns what to say of a failed database, and what to do where it is damaged.
fn told(home: Home, what: &str, error: rocksdb::Error) -> String {
    let (folder, remedy) = match home {
        Home::Blocks => (
            "index",
            "move it away and start again: it is made anew from the segments, and small blocks come back from other peers",
        ),
        Home::Metadata => (
            "metadata",
            "remove this peer from its cluster, and let an empty directory join in its place: other peers have its copies",
        ),
    };
    let is_damaged = error.kind() == ErrorKind::Corruption;
    let text = format!("{folder}/ {what}: {}", error.into_string());
    if is_damaged { format!("{text}; {folder}/ is damaged: {remedy}") } else { text }
}

/// Returns what to say where a part of what this peer agreed to is lost, and what to do.
fn forgotten(Damage { path, offset, later, .. }: &Damage) -> String {
    let later: String = later.iter().map(|path| format!(" and rm {}", path.display())).collect();
    let path = path.display();
    format!(
        "{path} is damaged at byte {offset}, and this peer has forgotten something that it agreed to: remove it from its \
         cluster, and let an empty directory join in its place: other peers have its copies. Only where no other peer \
         is left: truncate -s {offset} {path}{later} gives up what was changed last"
    )
}

impl Frozen<'_> {
    /// Returns at most `limit` entries with `from <= key < until`, and none after those that make up `bytes`.
    pub(super) fn page(
        &self,
        map: Map,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        let Some(options) = options_of_scan(from, until) else { return Ok(Vec::new()) };
        let mode = IteratorMode::From(from, Direction::Forward);
        let entries = self.snapshot.iterator_cf_opt(self.index.family(map)?, options, mode);
        self.index.copy(entries, limit, bytes)
    }
}

impl MapReader for Frozen<'_> {
    fn get(&self, map: Map, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        let value = self.snapshot.get_pinned_cf(self.index.family(map)?, key);
        let value = value.map_err(|error| self.index.of_read(error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        map: Map,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        self.page(map, from, until, limit, usize::MAX)
    }
}

impl Glance<'_> {
    /// Counts rows that are about to be read, and refuses those beyond the bound.
    fn take(&self, rows: usize) -> Result<(), DiskError> {
        match self.rows_left.get().checked_sub(rows) {
            Some(left) => {
                self.rows_left.set(left);
                Ok(())
            }
            None => Err(self.miss()),
        }
    }

    fn miss(&self) -> DiskError {
        self.has_missed.set(true);
        DiskError::Failed { detail: "it does not lie in memory".to_owned() }
    }

    /// Returns the error of a read; one that only a file could answer is a miss.
    fn of_read(&self, error: rocksdb::Error) -> DiskError {
        if error.kind() == ErrorKind::Incomplete {
            self.miss()
        } else {
            self.frozen.index.of_read(error)
        }
    }
}

impl MapReader for Glance<'_> {
    fn get(&self, map: Map, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        self.take(1)?;
        let Frozen { index, snapshot } = &self.frozen;
        let mut options = ReadOptions::default();
        options.set_read_tier(ReadTier::BlockCache);
        let value = snapshot.get_pinned_cf_opt(index.family(map)?, key, options);
        let value = value.map_err(|error| self.of_read(error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        map: Map,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, DiskError> {
        // As many as may come: whoever wants a long list reads files.
        self.take(limit)?;
        let Frozen { index, snapshot } = &self.frozen;
        let Some(mut options) = options_of_scan(from, until) else { return Ok(Vec::new()) };
        options.set_read_tier(ReadTier::BlockCache);
        let mode = IteratorMode::From(from, Direction::Forward);
        let entries = snapshot.iterator_cf_opt(index.family(map)?, options, mode).take(limit);
        let copied = entries.map(|entry| {
            let (key, value) = entry.map_err(|error| self.of_read(error))?;
            Ok((Bytes::from(key), Bytes::from(value)))
        });
        copied.collect()
    }
}

/// Returns the options of a scan, or `None` when nothing can lie between its ends.
fn options_of_scan(from: &[u8], until: Option<&[u8]>) -> Option<ReadOptions> {
    let mut options = ReadOptions::default();
    if let Some(until) = until {
        if until <= from {
            return None;
        }
        options.set_iterate_upper_bound(until.to_vec());
    }
    Some(options)
}

/// Says whether an error of RocksDB comes from a full device. The binding gives the text only.
fn is_full(error: &rocksdb::Error) -> bool {
    let text: &str = error.as_ref();
    text.contains("No space left on device") || text.contains("Disk quota exceeded")
}

/// Returns the options of every index, but for how its log is read.
pub(super) fn index_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // All maps go to tables together: what is in none of them is a prefix of the log that remains, and short.
    options.set_atomic_flush(true);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
    options.set_max_total_wal_size(LOG_BYTES_MAX);
    options.set_max_open_files(FILES_OPEN_MAX);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(4 << 20);
    options.set_keep_log_file_num(2);
    options
}

/// Returns the options of one map.
pub(super) fn map_options(map: Map, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In parts of a few KiB: whole ones are as large as what a shard of the cache holds, so that a million names made
    // each look-up read, check and decompress hundreds of KiB.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(INDEX_PART_BYTES);
    table.set_pin_top_level_index_and_filter(true);
    table.set_format_version(5);
    // The store has a checksum of each small block. Were RocksDB to find a flipped bit first, while it merges tables, it
    // would write nothing any more, and the whole peer be lost with one small block.
    let is_small = map == Map::Small;
    table.set_checksum_type(if is_small { ChecksumType::NoChecksum } else { ChecksumType::XXH3 });
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_max_write_buffer_number(2);
    options.set_target_file_size_base(16 << 20);
    match map {
        Map::Small => {
            options.set_write_buffer_size(SMALL_BUFFER_BYTES);
            // Blocks are compressed by whoever made them, or are not worth it.
            options.set_compression_type(DBCompressionType::None);
            // Whatever is deleted takes its room until its table is merged, which nothing but new blocks would
            // bring about.
            options.add_compact_on_deletion_collector_factory(
                DELETIONS_WINDOW,
                DELETIONS_WINDOW / 2,
                0.25,
            );
        }
        Map::Blocks
        | Map::References
        | Map::Segments
        | Map::Peers
        | Map::Catalogs
        | Map::Jobs
        | Map::RaftLog
        | Map::RaftState
        | Map::Metadata => {
            // A new name, block or request is looked for before it is written: in vain.
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(0.05);
            options.set_write_buffer_size(BUFFER_BYTES);
            options.set_compression_type(DBCompressionType::Lz4);
        }
    }
    options
}
