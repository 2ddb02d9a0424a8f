//! The Raft log and vote: kept in memory while they are new, made durable in order by one task.
//!
//! What Raft appends can be read at once; it is told when a sync has covered it. Votes, entries, truncations and
//! purges go through one queue, so that a crash leaves what some moment of the past had. Owns the maps
//! [`Map::RaftLog`] and, of [`Map::RaftState`], votes and places.
//! Never: decides what to append; keeps an entry in memory only for having been read.
//! Source: openraft, `docs/protocol/io_ordering.md`, on what is lost when votes and entries change places.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{LogIdOptionExt, OptionalSend};
use protocol::raft::{Ballot, Place, Record, decode, encode};
use tokio::sync::oneshot;

use super::convert::{self, entry_bytes, invalid_data};
use super::flusher::{Flusher, Job, Told};
use super::settings::Planted;
use super::types::{Entry, LogId, Types, Vote};
use crate::env::{Change, Disk, DiskError, Env, Home, Map};

/// Keys of [`Map::RaftState`].
pub(super) const IDENTITY: &[u8] = b"identity";
pub(super) const PROGRESS: &[u8] = b"progress";
const VOTE: &[u8] = b"vote";
const COMMITTED: &[u8] = b"committed";
const PURGED: &[u8] = b"purged";

/// Bytes of durable entries kept in memory, for followers that are a little behind: some seconds of a busy log.
const CACHE_BYTES_MAX: usize = 4 << 20;

/// Bytes of entries sent in one message: fits a frame with the largest entry on top.
pub(super) const READ_BYTES_MAX: usize = 512 << 10;

/// Entries taken off the disk in one trip.
const SCAN_ENTRIES: usize = 512;

/// The log of one peer. Clones are handles to the same one.
#[derive(Debug)]
pub(super) struct Log<E: Env> {
    disk: E::Disk,
    flusher: Flusher,
    state: Arc<Mutex<State>>,
    sync_before_return: bool,
    planted: Planted,
}

impl<E: Env> Clone for Log<E> {
    fn clone(&self) -> Self {
        Self {
            disk: self.disk.clone(),
            flusher: self.flusher.clone(),
            state: Arc::clone(&self.state),
            sync_before_return: self.sync_before_return,
            planted: self.planted,
        }
    }
}

/// What the log looks like to a reader, durable or not.
#[derive(Debug, Default)]
struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// Index of the first entry, or of the next one where there is none.
    first: u64,
    last: Option<LogId>,
    /// Entries from `first_cached` to the last one. What lies before is on the disk for sure.
    cache: VecDeque<Entry>,
    first_cached: u64,
    cache_bytes: usize,
    /// Index up to which entries are durable, exclusive.
    durable_until: u64,
    /// Counts truncations: whoever read the disk meanwhile reads again.
    truncations: u64,
}

impl State {
    fn append(&mut self, entry: Entry) {
        if self.last.next_index() <= self.first {
            self.first = entry.log_id.index;
        }
        if self.cache.is_empty() {
            self.first_cached = entry.log_id.index;
        }
        self.cache_bytes += entry_bytes(&entry);
        self.last = Some(entry.log_id);
        self.cache.push_back(entry);
    }

    /// Notes that everything before `until` is durable, and lets go of what need not be in memory.
    fn flushed(&mut self, until: u64) {
        self.durable_until = self.durable_until.max(until);
        while self.cache_bytes > CACHE_BYTES_MAX && self.first_cached < self.durable_until {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes -= entry_bytes(&entry);
            self.first_cached = entry.log_id.index + 1;
        }
    }

    /// Forgets everything behind `last`.
    fn truncate(&mut self, last: Option<LogId>) {
        let from = last.next_index();
        if self.last.next_index() <= from {
            return;
        }
        while self.cache.back().is_some_and(|entry| entry.log_id.index >= from) {
            if let Some(entry) = self.cache.pop_back() {
                self.cache_bytes -= entry_bytes(&entry);
            }
        }
        self.first_cached = self.first_cached.min(from);
        self.first = self.first.min(from);
        self.durable_until = self.durable_until.min(from);
        self.last = last;
        self.truncations += 1;
    }

    /// Forgets everything up to `upto`.
    fn purge(&mut self, upto: LogId) {
        while self.cache.front().is_some_and(|entry| entry.log_id.index <= upto.index) {
            self.forget_first();
        }
        self.first_cached = self.first_cached.max(upto.index + 1);
        self.first = self.first.max(upto.index + 1);
        self.purged = Some(upto);
        // An installed snapshot may reach beyond the log.
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
    }

    /// Returns the cached entries of a range.
    fn cached(&self, from: u64, until: u64) -> impl Iterator<Item = &Entry> {
        let skipped = usize::try_from(from.saturating_sub(self.first_cached)).unwrap_or(usize::MAX);
        self.cache.iter().skip(skipped).take_while(move |entry| entry.log_id.index < until)
    }
}

impl<E: Env> Log<E> {
    /// Opens the log that lies on the machine's disk, and starts the task that makes it durable.
    ///
    /// # Errors
    /// When the disk fails, or what lies there does not read.
    pub(super) async fn open(
        env: &E,
        flusher: Flusher,
        sync_before_return: bool,
        planted: Planted,
    ) -> Result<Self, DiskError> {
        let disk = env.disk().clone();
        let stored = disk
            .query(Home::Metadata, |reader| {
                let vote = reader.get(Map::RaftState, VOTE)?;
                let committed = reader.get(Map::RaftState, COMMITTED)?;
                let purged = reader.get(Map::RaftState, PURGED)?;
                Ok([vote, committed, purged])
            })
            .await?;
        let [vote, committed, purged] = stored;
        let vote = vote.map(|bytes| decode::<Ballot>("vote", &bytes)).transpose();
        let place = |bytes: Option<Bytes>| {
            bytes.map(|bytes| decode::<Place>("place", &bytes)).transpose().map_err(corrupt)
        };
        let mut state = State {
            vote: vote.map_err(corrupt)?.map(convert::vote),
            committed: place(committed)?.map(convert::log_id),
            purged: place(purged)?.map(convert::log_id),
            ..State::default()
        };
        state.last = state.purged;
        let state = Arc::new(Mutex::new(state));
        let log = Self { disk, flusher, state, sync_before_return, planted };
        log.find_end().await?;
        Ok(log)
    }

    /// Walks over the entries on the disk to find the last one. The log is bounded, so this is too.
    async fn find_end(&self) -> Result<(), DiskError> {
        let mut from = self.lock().purged.next_index();
        let mut first = None;
        loop {
            let page = self.read_disk(from, u64::MAX, SCAN_ENTRIES).await?;
            let full = page.len() == SCAN_ENTRIES;
            first = first.or_else(|| page.first().map(|entry| entry.log_id.index));
            if let Some(last) = page.last() {
                from = last.log_id.index + 1;
                self.lock().last = Some(last.log_id);
            }
            if !full {
                break;
            }
        }
        let mut state = self.lock();
        state.first = first.unwrap_or(from);
        state.first_cached = from;
        state.durable_until = from;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside stops the machine; whoever comes after it sees what was.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether nothing was ever voted or written here.
    pub(super) fn is_pristine(&self) -> bool {
        let state = self.lock();
        state.vote.is_none() && state.last.is_none()
    }

    /// Says whether nothing was ever written here, whatever was voted: so there are no members either.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().last.is_none()
    }

    /// Returns entries that lie on the disk one after the other, from the first at or after `from` on.
    async fn read_disk(
        &self,
        from: u64,
        until: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, DiskError> {
        let ends = (key(from), key(until));
        let page = self.disk.scan(Map::RaftLog, ends.0, Some(ends.1), limit).await?;
        let entries = page.into_iter().map(|(_, bytes)| {
            let record: Record = decode("log entry", &bytes).map_err(corrupt)?;
            convert::entry(record).map_err(corrupt)
        });
        let entries: Vec<Entry> = entries.collect::<Result<_, _>>()?;
        let gap = entries.windows(2).find(|pair| pair[0].log_id.index + 1 != pair[1].log_id.index);
        match gap {
            None => Ok(entries),
            Some(pair) => {
                Err(corrupt(format!("the log has a hole after entry {}", pair[0].log_id)))
            }
        }
    }

    /// Returns the entries of a range that the log has, and stops early once they make up `bytes` or more.
    async fn read(&self, from: u64, until: u64, bytes: usize) -> Result<Vec<Entry>, DiskError> {
        let mut begun = None;
        let mut entries: Vec<Entry> = Vec::new();
        let mut size = 0;
        let mut next = from;
        loop {
            let page_until = {
                let state = self.lock();
                if *begun.get_or_insert(state.truncations) != state.truncations {
                    // What was read may have been truncated, and other entries be in its place.
                    (begun, size, next) = (Some(state.truncations), 0, from);
                    entries.clear();
                }
                if next < state.first {
                    // Purged before or meanwhile: what was read so far lies before it.
                    (size, next) = (0, state.first);
                    entries.clear();
                }
                let until = until.min(state.last.next_index());
                if next >= until || size >= bytes {
                    return Ok(within(entries.into_iter(), bytes));
                }
                if next >= state.first_cached {
                    entries.extend(within(state.cached(next, until).cloned(), bytes - size));
                    return Ok(within(entries.into_iter(), bytes));
                }
                until.min(state.first_cached)
            };
            let page = self.read_disk(next, page_until, SCAN_ENTRIES).await?;
            match page.first() {
                Some(first) if first.log_id.index == next => {
                    next += page.len() as u64;
                    size += page.iter().map(entry_bytes).sum::<usize>();
                    entries.extend(page);
                }
                // A purge or truncation was quicker than the disk: the next round sees it.
                Some(_) | None if self.has_lost(next, begun) => {}
                Some(_) | None => {
                    return Err(corrupt(format!("entry {next} is missing in the log")));
                }
            }
        }
    }

    /// Says whether an entry went away since the count of truncations was `begun`.
    fn has_lost(&self, index: u64, begun: Option<u64>) -> bool {
        let state = self.lock();
        index < state.first || Some(state.truncations) != begun
    }

    fn put(&self, name: &'static [u8], value: Bytes) -> Change {
        Change::Put { map: Map::RaftState, key: Bytes::from_static(name), value }
    }

    fn note_flushed(&self, until: u64) -> impl FnOnce() + Send + 'static {
        let state = Arc::clone(&self.state);
        move || state.lock().unwrap_or_else(PoisonError::into_inner).flushed(until)
    }
}

/// Takes entries until they make up `bytes`, at least one.
fn within(entries: impl Iterator<Item = Entry>, bytes: usize) -> Vec<Entry> {
    let mut size = 0;
    let fits = entries.take_while(|entry| {
        let has_room = size < bytes;
        size += entry_bytes(entry);
        has_room
    });
    fits.collect()
}

fn key(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_be_bytes())
}

fn corrupt(error: impl ToString) -> DiskError {
    DiskError::Corrupt { detail: error.to_string() }
}

/// Returns the error as Raft wants it.
pub(super) fn io_error(error: DiskError) -> io::Error {
    io::Error::other(error)
}

impl<E: Env> RaftLogReader<Types> for Log<E> {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, io::Error> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(from) => from.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let until = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(until) => *until,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, until, usize::MAX).await.map_err(io_error)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, READ_BYTES_MAX).await.map_err(io_error)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.lock().vote)
    }
}

impl<E: Env> RaftLogStorage<Types> for Log<E> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let value = encode("vote", &convert::ballot(*vote)).map_err(invalid_data)?;
        let (done, durable) = oneshot::channel();
        let job = Job {
            changes: vec![self.put(VOTE, value)],
            synced: !self.planted.vote_not_synced,
            told: Told::Signal(done),
        };
        self.flusher.queue(job).await?;
        durable.await.map_err(io::Error::other)??;
        self.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.lock().committed = committed;
        let Some(committed) = committed else { return Ok(()) };
        // A hint that spares a restarted peer some waiting: it goes with what is written next.
        let value = encode("place", &convert::place(committed)).map_err(invalid_data)?;
        self.flusher.hint(self.put(COMMITTED, value));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut changes = Vec::new();
        let until = {
            let entries: Vec<Entry> = entries.into_iter().collect();
            for entry in &entries {
                let value = encode("log entry", &convert::record(entry)).map_err(invalid_data)?;
                changes.push(Change::Put {
                    map: Map::RaftLog,
                    key: key(entry.log_id.index),
                    value,
                });
            }
            let mut state = self.lock();
            entries.into_iter().for_each(|entry| state.append(entry));
            state.last.next_index()
        };
        let flushed = Box::new(self.note_flushed(until));
        if self.sync_before_return {
            let (done, durable) = oneshot::channel();
            let job = Job { changes, synced: true, told: Told::Signal(done) };
            self.flusher.queue(job).await?;
            let outcome = durable.await.map_err(io::Error::other)?;
            flushed();
            callback.io_completed(outcome);
            return Ok(());
        }
        let told = Told::Raft { callback, flushed };
        self.flusher.queue(Job { changes, synced: true, told }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.lock().truncate(last);
        let changes = vec![Change::DeleteRange {
            map: Map::RaftLog,
            from: key(last.next_index()),
            until: key(u64::MAX),
        }];
        self.flusher.queue(Job { changes, synced: false, told: Told::Nobody }).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.lock().purge(upto);
        let value = encode("place", &convert::place(upto)).map_err(invalid_data)?;
        let purged = Change::DeleteRange {
            map: Map::RaftLog,
            from: key(0),
            until: key(upto.index.saturating_add(1)),
        };
        let changes = vec![self.put(PURGED, value), purged];
        self.flusher.queue(Job { changes, synced: false, told: Told::Nobody }).await
    }
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
