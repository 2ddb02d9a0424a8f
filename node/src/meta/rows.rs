//! The rows of the state that applying commands reads over and over: who asks, which bucket, how much there is.
//!
//! Keeps the newest values of the rows that were read last, in memory, bounded in bytes. Only the one task that changes
//! the state uses it, so that it always says what the disk says. Never: keeps what is only written; serves readers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use protocol::metadata::{Source, SourceError};

use super::source::Generation;

/// Bytes of rows kept. Those that every command reads are a few hundred bytes; those of a batch have to fit.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// What a row costs besides its bytes, about.
const ROW_BYTES: usize = 128;

/// Rows in memory.
#[derive(Debug)]
pub(super) struct Rows {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    /// The generation whose rows these are.
    generation: u32,
    /// `None`: there is no such row.
    values: LruCache<Bytes, Option<Bytes>>,
    bytes: usize,
}

/// A generation, read through the rows in memory.
pub(super) struct Remembering<'a> {
    disk: &'a Generation<'a>,
    rows: &'a Rows,
}

impl Rows {
    pub(super) fn new() -> Self {
        let kept = Kept { generation: 0, values: LruCache::unbounded(), bytes: 0 };
        Self { kept: Mutex::new(kept) }
    }

    /// Returns a generation, read through these rows. `disk` must have all that [`Self::changed`] was told.
    pub(super) fn over<'a>(&'a self, disk: &'a Generation<'a>) -> Remembering<'a> {
        let mut kept = self.lock();
        if kept.generation != disk.number() {
            *kept = Kept { generation: disk.number(), values: LruCache::unbounded(), bytes: 0 };
        }
        drop(kept);
        Remembering { disk, rows: self }
    }

    /// Takes over what was written to the generation that was read last.
    pub(super) fn changed(&self, changes: Vec<(Bytes, Option<Bytes>)>) {
        let mut kept = self.lock();
        for (key, value) in changes {
            if kept.values.contains(&key) {
                kept.keep(key, value);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, key: Bytes, value: Option<Bytes>) {
        self.bytes += weight(&key, value.as_ref());
        if let Some((key, old)) = self.values.push(key, value) {
            self.bytes -= weight(&key, old.as_ref());
        }
        while self.bytes > KEPT_BYTES_MAX {
            let Some((key, value)) = self.values.pop_lru() else { break };
            self.bytes -= weight(&key, value.as_ref());
        }
    }
}

fn weight(key: &Bytes, value: Option<&Bytes>) -> usize {
    ROW_BYTES + key.len() + value.map_or(0, Bytes::len)
}

impl Source for Remembering<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, SourceError> {
        if let Some(value) = self.rows.lock().values.get(key) {
            return Ok(value.clone());
        }
        let value = self.disk.get(key)?;
        self.rows.lock().keep(Bytes::copy_from_slice(key), value.clone());
        Ok(value)
    }

    fn scan(
        &self,
        from: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, SourceError> {
        self.disk.scan(from, until, limit)
    }
}

#[cfg(test)]
#[path = "rows_test.rs"]
mod tests;
