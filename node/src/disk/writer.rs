//! The threads that write the index of a home: everything that waits shares one log write and one sync.
//!
//! Batches are written in the order they were queued. One that need not be synced is done once it is written: while one
//! thread syncs, the other writes what came since, so that what the log decided is not applied a sync later.
//! Never: syncs again after a sync that failed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::limits::{
    DISK_GROUP_BYTES_MAX, DISK_LANE_CALLS_MAX, DISK_RESERVE_BYTES_MAX, DISK_RESERVE_BYTES_MIN,
};
use tokio::sync::{mpsc, oneshot};

use super::file::space_at;
use super::index::Index;
use super::lane::Health;
use crate::env::{Batch, Change, DiskError, Durability, Home, Space};

/// Batches up to this size may use half of the reserve: they are what frees space.
const LIGHT_BYTES_MAX: usize = 64 << 10;

/// A batch that waits to be written.
pub(super) struct Write {
    pub(super) batch: Batch,
    pub(super) durability: Durability,
    pub(super) reply: oneshot::Sender<Result<(), DiskError>>,
    pub(super) place: Place,
}

/// How many batches are queued or being written. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Queued(Arc<AtomicUsize>);

/// The place of one batch among them, until it was written or dropped.
pub(super) struct Place(Queued);

impl Queued {
    /// Takes a place: before the batch is queued, so that nobody sees an empty queue once it is.
    pub(super) fn enter(&self) -> Place {
        self.0.fetch_add(1, Ordering::SeqCst);
        Place(self.clone())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the writing threads of a home share.
pub(super) struct Writer {
    pub(super) home: Home,
    pub(super) index: Arc<Index>,
    pub(super) health: Health,
    /// Where the index lies.
    pub(super) dir: PathBuf,
    /// Whoever has it takes what comes next and writes it.
    pub(super) queue: Mutex<mpsc::Receiver<Write>>,
    /// Whoever has it syncs. The other has written meanwhile, and covers that by a sync of its own.
    pub(super) syncing: Mutex<()>,
}

impl Writer {
    /// Writes until all senders are gone.
    pub(super) fn run(&self) {
        while let Some(written) = self.write_until_sync() {
            self.sync(written);
        }
    }

    /// Writes what comes until a part of it is to be synced, and returns that part; nothing at the end.
    fn write_until_sync(&self) -> Option<Vec<Write>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let first = queue.blocking_recv()?;
            let mut bytes = put_bytes(&first.batch);
            let mut group = vec![first];
            while group.len() < DISK_LANE_CALLS_MAX && bytes < DISK_GROUP_BYTES_MAX {
                let Ok(write) = queue.try_recv() else { break };
                bytes += put_bytes(&write.batch);
                group.push(write);
            }
            let unsynced = self.write_group(group);
            if !unsynced.is_empty() {
                return Some(unsynced);
            }
        }
    }

    /// Writes a group together, and returns those that are to be synced.
    fn write_group(&self, group: Vec<Write>) -> Vec<Write> {
        let (accepted, refused): (Vec<_>, Vec<_>) = match space_at(&self.dir, &self.health) {
            Ok(space) => {
                group.into_iter().partition(|write| has_room_for(&write.batch, self.home, space))
            }
            Err(_) => (group, Vec::new()),
        };
        answer(refused, &Err(DiskError::Full), &self.health);
        if accepted.is_empty() {
            return accepted;
        }
        let batches = accepted.iter().map(|write| &write.batch);
        let written = self.health.check().and_then(|()| self.index.write(batches));
        if written.is_err() {
            answer(accepted, &written, &self.health);
            return Vec::new();
        }
        let is_synced = |write: &Write| write.durability == Durability::Synced;
        let (synced, buffered): (Vec<_>, Vec<_>) = accepted.into_iter().partition(is_synced);
        answer(buffered, &written, &self.health);
        synced
    }

    /// Makes everything durable that was written before, and answers those who wait for it.
    fn sync(&self, written: Vec<Write>) {
        let _syncing = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        // After a failure of the other thread's, a sync that succeeds would prove nothing.
        let synced = self.health.check().and_then(|()| self.index.sync());
        answer(written, &synced, &self.health);
    }
}

/// Tells those who wait what came of their batches.
fn answer(writes: Vec<Write>, outcome: &Result<(), DiskError>, health: &Health) {
    for Write { reply, place, .. } in writes {
        let result = match outcome {
            Ok(()) => Ok(()),
            Err(DiskError::Full) => Err(DiskError::Full),
            Err(error) => Err(health.fail(error.to_string())),
        };
        // Whoever hears of it sees that it waits no more.
        drop(place);
        // Whoever asked may have gone.
        reply.send(result).ok();
    }
}

/// Writes a batch, buffered, on this thread: for when nothing waits that must come before it.
pub(super) fn write_now(
    home: Home,
    index: &Index,
    health: &Health,
    dir: &Path,
    batch: &Batch,
) -> Result<(), DiskError> {
    if space_at(dir, health).is_ok_and(|space| !has_room_for(batch, home, space)) {
        return Err(DiskError::Full);
    }
    index.write(std::iter::once(batch))
}

fn has_room_for(batch: &Batch, home: Home, space: Space) -> bool {
    let reserve = reserve_bytes(space.total_bytes);
    let is_light = put_bytes(batch) <= LIGHT_BYTES_MAX;
    space.free_bytes
        >= match home {
            Home::Blocks if !is_light => reserve,
            Home::Blocks => reserve / 2,
            // Blocks are refused first: agreement must go on for anything to be deleted.
            Home::Metadata => reserve / 4,
        }
}

/// Returns the free bytes below which the index takes no more. RocksDB must not meet a full device itself:
/// after that it refused writes for 20 seconds with room again (measured, version 11.8.1), and its binding
/// has no call to resume. Opening it anew does.
fn reserve_bytes(device_bytes: u64) -> u64 {
    (device_bytes / 128).clamp(DISK_RESERVE_BYTES_MIN, DISK_RESERVE_BYTES_MAX)
}

fn put_bytes(batch: &Batch) -> usize {
    let bytes = batch.changes.iter().map(|change| match change {
        Change::Put { key, value, .. } => key.len() + value.len(),
        Change::Delete { .. } | Change::DeleteRange { .. } => 0,
    });
    bytes.sum()
}
