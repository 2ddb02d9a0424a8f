//! Opening an index, whatever happened to its log.
//!
//! What a crash tore off the end of a log was promised to nobody, and RocksDB leaves it out. Damage before that is found
//! by [`protocol::log_end`] before RocksDB looks. In the log of the blocks it takes what stands behind it along, which is counted, and healing
//! brings back; a peer that forgot what it agreed to does not start. Never: keeps what stands behind damage, since the
//! store counts on a prefix of what it wrote.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use protocol::log_end::{LogEnd, log_end};
use rocksdb::{Cache, ColumnFamilyDescriptor, DB, DBRecoveryMode, Error};

use super::index::{CACHE_BYTES, index_options, map_options};
use crate::env::{Home, Map};

/// An index that was opened.
pub(super) struct Recovered {
    pub(super) db: DB,
    /// Records, at least, that were cut off with the damaged part of the log. Each has a block or more, or a part of one.
    pub(super) cut_records: u64,
}

/// Why an index was not opened.
pub(super) enum Refused {
    /// RocksDB does not open it.
    Error(Error),
    /// Its logs cannot be read or changed.
    Io(io::Error),
    /// The log of agreement is damaged: without what is lost the peer would break its promises to others.
    Forgotten(Damage),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens the index of `home` in `dir`, creating it where it is missing. Cost: reads its logs twice.
pub(super) fn open(home: Home, dir: &Path) -> Result<Recovered, Refused> {
    let cut_records = match damage_in(dir)? {
        None => 0,
        Some(damage) if home == Home::Metadata => return Err(Refused::Forgotten(damage)),
        Some(damage) => {
            cut(dir, &damage)?;
            tracing::error!(
                log = %damage.path.display(),
                offset = damage.offset,
                records = damage.records,
                "the log of index/ is damaged: small blocks that were stored last are missing here; \
                 other peers that have them give them back"
            );
            damage.records
        }
    };
    let mut options = index_options();
    // After a crash the log is good up to where it was synced, and perhaps beyond: a prefix either way.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    let db = DB::open_cf_descriptors(&options, dir, families(home)).map_err(Refused::Error)?;
    Ok(Recovered { db, cut_records })
}

/// Ends the log before the damage.
fn cut(dir: &Path, damage: &Damage) -> io::Result<()> {
    for later in damage.later.iter().rev() {
        fs::remove_file(later)?;
    }
    let log = OpenOptions::new().write(true).open(&damage.path)?;
    log.set_len(damage.offset)?;
    log.sync_all()?;
    File::open(dir)?.sync_all()
}

/// A log that is damaged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    /// The file.
    pub(super) path: PathBuf,
    /// Where the first record stands that cannot be read.
    pub(super) offset: u64,
    /// Logs that were begun after it, in order.
    pub(super) later: Vec<PathBuf>,
    /// Records, at least, that cannot be read or stand behind one that cannot.
    pub(super) records: u64,
}

/// Returns the first damage in the logs of a database. Cost: reads all of them, some tens of MiB at most.
///
/// # Errors
/// A file cannot be read.
fn damage_in(dir: &Path) -> io::Result<Option<Damage>> {
    let mut logs = logs_in(dir)?.into_iter();
    while let Some(path) = logs.next() {
        let log = fs::read(&path)?;
        if let LogEnd::Damaged { offset, records } = log_end(&log) {
            let later = logs.collect();
            return Ok(Some(Damage { path, offset: offset as u64, later, records }));
        }
    }
    Ok(None)
}

/// Returns the logs of a database, in the order in which they were begun.
fn logs_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "log") {
            logs.push(path);
        }
    }
    // Their names are numbers of one width.
    logs.sort();
    Ok(logs)
}

fn families(home: Home) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let maps = Map::ALL.into_iter().filter(|map| map.home() == home);
    maps.map(|map| ColumnFamilyDescriptor::new(map.name(), map_options(map, &cache))).collect()
}

#[cfg(test)]
#[path = "recovery_test.rs"]
mod tests;
