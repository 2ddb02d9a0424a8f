//! Opening an index, whatever happened to its log.
//!
//! A log that ends in the middle of a record was being written when the power or the process went: nobody was promised
//! what is missing. Damage before that is something else. RocksDB takes the one for the other, and forgets what comes
//! behind without a word, so every record tells here how often the log had been synced before it. Where one that can
//! still be read began after a sync that covered what cannot, something is lost that was promised. Owns the mark.
//! Never: keeps what stands behind damage, since the store and agreement count on a prefix of what they wrote.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::index::Place;
use rocksdb::{
    Cache, ColumnFamilyDescriptor, DB, DBRecoveryMode, DEFAULT_COLUMN_FAMILY_NAME, Error,
    ErrorKind, InfoLogger, IteratorMode, LogLevel, Options, WriteBatch,
};

use super::index::{CACHE_BYTES, index_options, map_options};
use crate::env::{Home, Map};

/// Where the mark of the last write lies, in the family that every database has.
const MARK_KEY: &[u8] = b"mark";

/// What RocksDB says of a log that ends too early.
const TORN: [&str; 2] = ["truncated", "error reading trailing data"];

/// What it says of a place in a log that cannot be read.
const DAMAGED: [&str; 2] = ["checksum mismatch", "bad record length"];

/// An index that was opened.
pub(super) struct Recovered {
    pub(super) db: DB,
    pub(super) marks: Marks,
    /// Small blocks, at least, that were cut off with the damaged part of the log.
    pub(super) cut_blocks: u64,
}

/// Why an index was not opened.
pub(super) enum Refused {
    /// RocksDB does not open it.
    Error(Error),
    /// Its log is damaged, and without what is lost the peer would break its promises to others.
    Forgotten(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What a write knew of the syncs before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// How many had ended.
    begun_after: u64,
    /// Whether it was synced itself before anything else was written.
    is_synced: bool,
}

impl Mark {
    /// Returns how many syncs have ended once the next write begins.
    fn ended_after(self) -> u64 {
        self.begun_after.saturating_add(self.is_synced.into())
    }

    fn encode(self) -> [u8; 9] {
        let mut bytes = [0; 9];
        bytes[..8].copy_from_slice(&self.begun_after.to_be_bytes());
        bytes[8] = self.is_synced.into();
        bytes
    }

    /// Reads it. Zero where no write left one.
    fn of(db: &DB) -> Result<Self, Error> {
        let value = db.get_pinned(MARK_KEY)?;
        let parts = value.as_deref().and_then(|value| value.split_first_chunk());
        Ok(parts.map_or_else(Self::default, |(count, synced)| Self {
            begun_after: u64::from_be_bytes(*count),
            is_synced: synced == [1],
        }))
    }
}

/// Marks the writes of an index, which come one after the other.
#[derive(Debug)]
pub(super) struct Marks(Mutex<u64>);

impl Marks {
    /// Does a write, marked.
    pub(super) fn write(
        &self,
        mut group: WriteBatch,
        is_synced: bool,
        write: impl FnOnce(WriteBatch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Nothing inside can be half done.
        let mut syncs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = Mark { begun_after: *syncs, is_synced };
        group.put(MARK_KEY, mark.encode());
        write(group)?;
        *syncs = mark.ended_after();
        Ok(())
    }
}

/// Opens the index of `home` in `dir`, creating it where it is missing. Cost: where the log is damaged, two more readings
/// of it and a scan of all blocks.
pub(super) fn open(home: Home, dir: &Path) -> Result<Recovered, Refused> {
    let opening = Opening { home, dir };
    let error = match opening.open(DBRecoveryMode::AbsoluteConsistency) {
        Ok(db) => return Ok(recovered(db, 0)?),
        Err(error) if error.kind() == ErrorKind::Corruption => error,
        Err(error) => return Err(error.into()),
    };
    let cut_blocks = if TORN.iter().any(|torn| error.as_ref().contains(torn)) {
        0
    } else {
        let Loss { is_promised, unreadable, behind } = opening.loss()?;
        match home {
            Home::Metadata if is_promised => return Err(Refused::Forgotten(error)),
            // What cannot be read was never promised: the end of the log, written in another order than it was told.
            Home::Metadata => 0,
            Home::Blocks => behind.saturating_add(unreadable).max(1),
        }
    };
    let db = opening.open(DBRecoveryMode::PointInTime)?;
    if cut_blocks == 0 {
        tracing::info!(?home, err = %error, "torn end of a log cut off");
    } else {
        tracing::error!(
            cut_blocks,
            err = %error,
            "the end of the log of index/ cannot be read: small blocks that were stored last are \
             missing here; other peers that have them give them back"
        );
    }
    Ok(recovered(db, cut_blocks)?)
}

fn recovered(db: DB, cut_blocks: u64) -> Result<Recovered, Error> {
    let marks = Marks(Mutex::new(Mark::of(&db)?.ended_after()));
    Ok(Recovered { db, marks, cut_blocks })
}

/// What is not in the index when its log is read up to the damage only.
struct Loss {
    /// Whether a sync covered it.
    is_promised: bool,
    /// Places in the log that cannot be read, each with one record or more.
    unreadable: u64,
    /// Small blocks that could be read behind them.
    behind: u64,
}

struct Opening<'a> {
    home: Home,
    dir: &'a Path,
}

impl Opening<'_> {
    fn families(&self) -> Vec<ColumnFamilyDescriptor> {
        let cache = Cache::new_lru_cache(CACHE_BYTES);
        let maps = Map::ALL.into_iter().filter(|map| map.home() == self.home);
        let named = |map: Map| ColumnFamilyDescriptor::new(map.name(), map_options(map, &cache));
        let default = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, Options::default());
        maps.map(named).chain([default]).collect()
    }

    fn open(&self, mode: DBRecoveryMode) -> Result<DB, Error> {
        let mut options = index_options();
        options.set_wal_recovery_mode(mode);
        DB::open_cf_descriptors(&options, self.dir, self.families())
    }

    /// Opens the index as it is with so much of its log, changing nothing. Returns also how many places in the log
    /// could not be read.
    fn look(&self, mode: DBRecoveryMode) -> Result<(DB, u64), Error> {
        let unreadable = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&unreadable);
        let mut options = index_options();
        options.set_wal_recovery_mode(mode);
        options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, move |_, text| {
            let is_damage = DAMAGED.iter().any(|damaged| text.contains(damaged));
            if text.contains("dropping") && is_damage {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }));
        let db = DB::open_cf_descriptors_read_only(&options, self.dir, self.families(), false)?;
        Ok((db, unreadable.load(Ordering::Relaxed)))
    }

    fn loss(&self) -> Result<Loss, Error> {
        let (before, _) = self.look(DBRecoveryMode::PointInTime)?;
        let (all, unreadable) = self.look(DBRecoveryMode::SkipAnyCorruptedRecord)?;
        let is_promised = Mark::of(&all)?.begun_after > Mark::of(&before)?.ended_after();
        let mut held = small_blocks(&before).peekable();
        let mut behind = 0;
        for key in small_blocks(&all) {
            let key = key?;
            while held.next_if(|held| held.as_ref().is_ok_and(|held| *held < key)).is_some() {}
            match held.next_if(|held| held.as_ref().is_ok_and(|held| *held == key)) {
                Some(_) => {}
                None => behind += 1,
            }
        }
        Ok(Loss { is_promised, unreadable, behind })
    }
}

/// Returns the keys of all blocks that lie in the index, in order.
fn small_blocks(db: &DB) -> impl Iterator<Item = Result<Box<[u8]>, Error>> {
    let family = db.cf_handle(Map::Blocks.name());
    let entries = family.map(|family| db.iterator_cf(family, IteratorMode::Start));
    entries.into_iter().flatten().filter_map(|entry| match entry {
        Ok((key, value)) => {
            matches!(Place::decode(&value), Some(Place::Small { .. })).then_some(Ok(key))
        }
        Err(error) => Some(Err(error)),
    })
}

#[cfg(test)]
#[path = "recovery_test.rs"]
mod tests;
