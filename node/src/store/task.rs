//! The writer: the one task that changes a store.
//!
//! It takes commands in order, gathers puts and claims that wait into one group, and regains space in small
//! steps in between. Owns the table of segments and the active segment. Never: touches the disk again after
//! a failure.

use protocol::index::{self, Place, SEGMENT_KEYS, Segment, segment_key};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::Cid;
use protocol::Instant;
use protocol::limits::{STORE_GROUP_BYTES_MAX, STORE_QUEUE_COMMANDS_MAX};
use tokio::sync::{mpsc, oneshot};

use super::command::Command;
use super::draft::{Changes, Draft};
use super::error::StoreError;
use super::group::Member;
use super::handle::Shared;
use super::read::Found;
use super::segment::{self, Table};
use super::settings::StoreSettings;
use crate::env::{Batch, Disk, DiskError, Durability, Env, Map};

/// How long a figure of free space is believed: other programs use the device too.
const SPACE_MILLIS_MAX: u64 = 1000;
/// How much is written before free space is asked for again.
const SPACE_BYTES_MAX: u64 = 64 << 20;

/// The segment that is being appended to.
pub(super) struct Active<F> {
    pub(super) number: u32,
    pub(super) file: F,
}

/// Free space as it was when the device was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    asked: Instant,
    free_bytes: u64,
    reserve_bytes: u64,
    written_bytes: u64,
}

/// State of the writer.
pub(super) struct Writer<E: Env> {
    pub(super) shared: Arc<Shared<E>>,
    pub(super) settings: StoreSettings,
    pub(super) table: Table,
    pub(super) active: Option<Active<<E::Disk as Disk>::File>>,
    /// Above every number ever used: a number never names two files.
    pub(super) next_number: u32,
    /// The segment whose blocks are being moved.
    pub(super) victim: Option<u32>,
    /// Space could not be regained for want of room; tried again after the next command.
    pub(super) blocked: bool,
    /// Nobody has asked for anything for a while.
    pub(super) quiet: bool,
    /// Bytes of small blocks that were freed, and may still lie in the index.
    pub(super) freed_small_bytes: u64,
    pub(super) room: Option<Room>,
}

impl<E: Env> Writer<E> {
    /// Runs until it is told to stop, all handles are gone, or the disk failed.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut next = None;
        while let Some(command) = self.next_command(&mut next, &mut queue).await {
            (self.blocked, self.quiet) = (false, false);
            match command {
                Command::Put(put) => {
                    next = self.perform_group(Member::Put(put), &mut queue).await;
                }
                Command::Claim(claim) => {
                    next = self.perform_group(Member::Claim(claim), &mut queue).await;
                }
                Command::Release { owner, reply } => {
                    // Whoever asked may have gone: the release is done all the same.
                    reply.send(self.release_step(&owner).await).ok();
                }
                Command::Depart { wanted, proviso, reply } => {
                    reply.send(self.depart_step(&wanted, &proviso).await).ok();
                }
                Command::MarkCorrupt { cid, seen, reply } => {
                    reply.send(self.mark_corrupt(&cid, seen).await).ok();
                }
                Command::Stop { reply } => {
                    self.stop(Some(reply)).await;
                    return;
                }
            }
            // A step after every command, so that a stream of puts cannot put it off for ever.
            self.regain().await;
            if self.shared.check().is_err() {
                return;
            }
        }
        self.stop(None).await;
    }

    /// Returns the next command, regaining space while there is none; `None` when all handles are gone.
    async fn next_command(
        &mut self,
        next: &mut Option<Command>,
        queue: &mut mpsc::Receiver<Command>,
    ) -> Option<Command> {
        if let Some(command) = next.take() {
            return Some(command);
        }
        loop {
            match queue.try_recv() {
                Ok(command) => return Some(command),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) if self.has_garbage() => {
                    self.regain().await;
                    continue;
                }
                Err(mpsc::error::TryRecvError::Empty) if self.quiet && self.is_unsettled() => {
                    self.settle().await;
                    continue;
                }
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            let Some(pause) = self.quiet_after() else { return queue.recv().await };
            let until = self.shared.env.now().after(pause);
            tokio::select! {
                biased; // whoever asks comes first
                command = queue.recv() => return command,
                () = self.shared.env.sleep_until(until) => {
                    (self.blocked, self.quiet) = (false, true);
                }
            }
        }
    }

    /// Gathers what waits behind `first` into a group and performs it. Returns a command that was taken from
    /// the queue and is not of the group's kind.
    async fn perform_group(
        &mut self,
        first: Member,
        queue: &mut mpsc::Receiver<Command>,
    ) -> Option<Command> {
        let bytes_max = self.settings.segment_bytes.min(STORE_GROUP_BYTES_MAX.into());
        let mut bytes = first.block_bytes();
        let mut group = vec![first];
        let mut next = None;
        while group.len() < STORE_QUEUE_COMMANDS_MAX && bytes < bytes_max {
            let member = match queue.try_recv() {
                Ok(Command::Put(put)) => Member::Put(put),
                Ok(Command::Claim(claim)) => Member::Claim(claim),
                Ok(
                    other @ (Command::Release { .. }
                    | Command::Depart { .. }
                    | Command::MarkCorrupt { .. }
                    | Command::Stop { .. }),
                ) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            };
            bytes += member.block_bytes();
            group.push(member);
        }
        self.perform(group).await;
        next
    }

    /// Writes changes and makes them the truth.
    pub(super) async fn commit(
        &mut self,
        mut changes: Changes,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.shared.check()?;
        let batch = std::mem::take(&mut changes.batch);
        self.write(batch, durability).await?;
        self.table.apply(changes);
        self.publish_usage();
        Ok(())
    }

    /// Writes a batch. Any error but a full disk is the end: what the index holds is in doubt then.
    pub(super) async fn write(
        &self,
        batch: Batch,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.shared.env.disk().write(batch, durability).await.map_err(|error| self.fatal(error))
    }

    /// Returns the error of a write to the disk, after which only a full disk lets the store go on.
    pub(super) fn fatal(&self, error: DiskError) -> StoreError {
        match error {
            DiskError::Full => self.full(),
            DiskError::Closed => StoreError::Disk(DiskError::Closed),
            DiskError::Failed { .. } | DiskError::Missing { .. } | DiskError::Corrupt { .. } => {
                let detail = error.to_string();
                self.shared.fail(detail.clone());
                DiskError::Failed { detail }.into()
            }
        }
    }

    /// Returns the error of a full store.
    pub(super) fn full(&self) -> StoreError {
        StoreError::Full {
            used: self.table.used_bytes(),
            capacity: self.settings.capacity_bytes,
            free: self.room.map_or(0, |room| room.free_bytes.saturating_sub(room.written_bytes)),
        }
    }

    /// Says whether `bytes` more may be stored, by the figures at hand.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        let Some(room) = self.room else { return false };
        self.table.used_bytes() + bytes <= self.settings.capacity_bytes
            && room.written_bytes + room.reserve_bytes + bytes <= room.free_bytes
    }

    /// Says whether `bytes` may be copied to regain space, which may use half of the device's reserve.
    pub(super) fn fits_moved(&self, bytes: u64) -> bool {
        self.room.is_some_and(|room| {
            room.written_bytes + room.reserve_bytes / 2 + bytes <= room.free_bytes
        })
    }

    /// Asks for free space, unless the last answer is fresh.
    pub(super) async fn refresh_room(&mut self) -> Result<(), StoreError> {
        let now = self.shared.env.now();
        let fresh = self.room.is_some_and(|room| {
            now.since(room.asked).as_millis() < SPACE_MILLIS_MAX.into()
                && room.written_bytes < SPACE_BYTES_MAX
        });
        if fresh {
            return Ok(());
        }
        let space = self.shared.env.disk().space().await;
        let space = space.map_err(|error| self.shared.noted(error))?;
        self.room = Some(Room {
            asked: now,
            free_bytes: space.free_bytes,
            reserve_bytes: self.settings.reserve_on(space),
            written_bytes: 0,
        });
        Ok(())
    }

    /// Counts bytes that were written against the last figure of free space.
    pub(super) fn count_written(&mut self, bytes: u64) {
        if let Some(room) = &mut self.room {
            room.written_bytes += bytes;
        }
    }

    /// Sees to an active segment that has room.
    pub(super) async fn ensure_active(&mut self) -> Result<(), StoreError> {
        let full = self.active.as_ref().is_some_and(|active| {
            self.table.segment(active.number).indexed >= self.settings.segment_bytes
        });
        if self.active.is_none() || full { self.rotate().await } else { Ok(()) }
    }

    /// Closes the active segment and begins the next.
    pub(super) async fn rotate(&mut self) -> Result<(), StoreError> {
        let number = self.next_number;
        let opened = self.shared.env.disk().open(&segment::name_of(number), true).await;
        let file = opened.map_err(|error| self.fatal(error))?;
        self.next_number += 1;
        let mut batch = Batch::default();
        batch.put(Map::Segments, segment_key(number), Segment::default().encode());
        // Synced before the first record: a file that has records and is unknown to the index then means
        // that the index was lost, not that a crash came between.
        self.write(batch, Durability::Synced).await?;
        self.table.segments.insert(number, Segment::default());
        self.active = Some(Active { number, file });
        tracing::debug!(number, "segment begun");
        Ok(())
    }

    /// Has a block count as not held if it is damaged, and if it still lies where that was seen.
    async fn mark_corrupt(&mut self, cid: &Cid, seen: Option<Place>) -> Result<(), StoreError> {
        let Some(place) = self.shared.lookup(cid).await? else { return Ok(()) };
        if !place.is_held() || seen.is_some_and(|seen| seen != place) {
            return Ok(());
        }
        if seen.is_none() {
            // Somebody saw bytes that do not hash to the CID; those may be another peer's by now.
            if let Found::Whole(_, bytes) = self.shared.read(cid, place).await? {
                let cid = *cid;
                if self.shared.env.compute(move || cid.matches(&bytes)).await {
                    return Ok(());
                }
            }
        }
        let mut draft = Draft::new(&self.table);
        draft.vacate(cid, place);
        draft.settle(cid, Place::Corrupt);
        let changes = draft.finish();
        // Lost in a crash, it is found again at the next read.
        self.commit(changes, Durability::Buffered).await?;
        self.shared.found_corrupt(*cid);
        Ok(())
    }

    /// Makes the index durable and has later calls refused.
    async fn stop(&mut self, reply: Option<oneshot::Sender<()>>) {
        if self.shared.check().is_ok() {
            let changes = Draft::new(&self.table).finish();
            if let Err(error) = self.commit(changes, Durability::Synced).await {
                tracing::warn!(err = %error, "index was not synced at the end");
            }
        }
        self.shared.stop();
        if let Some(reply) = reply {
            // Whoever asked may have gone.
            reply.send(()).ok();
        }
    }

    /// Tells the handles how full the store is.
    pub(super) fn publish_usage(&self) {
        let (used, blocks) = (self.table.used_bytes(), self.table.totals.blocks);
        self.shared.used_bytes.store(used, Ordering::Relaxed);
        self.shared.blocks.store(blocks, Ordering::Relaxed);
        self.shared.metrics.used_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
        self.shared.metrics.blocks.set(i64::try_from(blocks).unwrap_or(i64::MAX));
    }
}

/// What the keys of segments begin with, as a range of the map `Segments`.
pub(super) fn segments_range() -> (bytes::Bytes, Option<bytes::Bytes>) {
    index::range_of(SEGMENT_KEYS)
}
