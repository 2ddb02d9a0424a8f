//! The thread that writes the index of a home: everything that waits shares one log write and one sync.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// Writes until all senders are gone.
pub(super) fn run(
    home: Home,
    index: &Arc<Index>,
    health: &Health,
    dir: &Path,
    mut queue: mpsc::Receiver<Write>,
) {
    while let Some(first) = queue.blocking_recv() {
        let mut bytes = put_bytes(&first.batch);
        let mut group = vec![first];
        while group.len() < DISK_LANE_CALLS_MAX && bytes < DISK_GROUP_BYTES_MAX {
            let Ok(write) = queue.try_recv() else { break };
            bytes += put_bytes(&write.batch);
            group.push(write);
        }
        write_group(home, index, health, dir, group);
    }
}

fn write_group(home: Home, index: &Index, health: &Health, dir: &Path, group: Vec<Write>) {
    let (accepted, refused): (Vec<_>, Vec<_>) = match space_at(dir, health) {
        Ok(space) => group.into_iter().partition(|write| has_room_for(&write.batch, home, space)),
        Err(_) => (group, Vec::new()),
    };
    for write in refused {
        // Whoever asked may have gone, here and below.
        write.reply.send(Err(DiskError::Full)).ok();
    }
    if accepted.is_empty() {
        return;
    }
    let synced = accepted.iter().any(|write| write.durability == Durability::Synced);
    let durability = if synced { Durability::Synced } else { Durability::Buffered };
    let written = health
        .check()
        .and_then(|()| index.write(accepted.iter().map(|write| &write.batch), durability));
    for write in accepted {
        let result = match &written {
            Ok(()) => Ok(()),
            Err(DiskError::Full) => Err(DiskError::Full),
            Err(error) => Err(health.fail(error.to_string())),
        };
        let Write { reply, place, .. } = write;
        // Whoever hears of it sees that it waits no more.
        drop(place);
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
    index.write(std::iter::once(batch), Durability::Buffered)
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
