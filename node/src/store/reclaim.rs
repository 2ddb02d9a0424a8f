//! Regaining space: live blocks of a segment are copied forward, then its file is removed.
//!
//! A segment is worth it when less than half of it is live; when nobody has asked for anything for a while, also
//! when less of it is garbage, and when there is no room for a put, when little of it is. One step copies a bounded number of bytes, so that puts wait little. The file goes only
//! after the index durably says that nothing lies in it.

use protocol::index::{self, Place, Segment, block_in, footprint, segment_key};
use std::time::Duration;

use bytes::Bytes;
use protocol::Cid;
use protocol::limits::{STORE_RECLAIM_STEP_BYTES, STORE_STEP_RECORDS};

use super::draft::Draft;
use super::error::StoreError;
use super::read::Found;
use super::segment;
use super::task::Writer;
use crate::env::{Batch, Disk, DiskError, Durability, Env, Home, Map};

/// A segment of which less than this part is garbage stays, even when there is no room: moving fifteen
/// bytes to gain one would wear the disk out.
const GARBAGE_PART_MIN: u64 = 16;

/// The same while nobody asks for anything: what was deleted costs at most seven times as much to write.
const QUIET_GARBAGE_PART_MIN: u64 = 8;

/// Bytes of small blocks that may be freed before the index is cleared of them, which writes a few files.
const UNSETTLED_BYTES_MAX: u64 = 256 << 10;

/// How long nobody asks for anything before the store counts as quiet.
const QUIET: Duration = Duration::from_secs(2);

/// How long a quiet store waits before it tries again what it had no room for.
const QUIET_AGAIN: Duration = Duration::from_secs(60);

/// How much it matters that space is regained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Others want the disk.
    Low,
    /// Nobody wants it.
    Quiet,
    /// A put waits for room.
    Pressing,
}

/// A record of the victim that may be live.
struct Candidate {
    key: Bytes,
    cid: Cid,
    offset: u64,
}

impl<E: Env> Writer<E> {
    /// Says whether a segment is worth moving though nobody waits for room.
    pub(super) fn has_garbage(&self) -> bool {
        !self.blocked && (self.victim.is_some() || self.pick(self.need()).is_some())
    }

    /// Returns how long to wait for a command before more is regained than now; `None` if there is nothing to
    /// regain then.
    pub(super) fn quiet_after(&self) -> Option<Duration> {
        let pause = match (self.quiet, self.blocked) {
            (false, _) => QUIET,
            (true, true) => QUIET_AGAIN,
            (true, false) => return None,
        };
        let is_worth_it =
            self.victim.is_some() || self.pick(Need::Quiet).is_some() || self.is_unsettled();
        is_worth_it.then_some(pause)
    }

    /// Says whether small blocks that were freed are worth being cleared out of the index.
    pub(super) fn is_unsettled(&self) -> bool {
        self.freed_small_bytes >= UNSETTLED_BYTES_MAX
    }

    /// Clears small blocks that were freed out of the index.
    pub(super) async fn settle(&mut self) {
        // Also if that fails: it is tried again when more was freed.
        self.freed_small_bytes = 0;
        if let Err(error) = self.shared.env.disk().settle(Home::Blocks).await {
            let error = self.fatal(error);
            tracing::warn!(err = %error, "the index was not cleared of what was freed");
        }
    }

    fn need(&self) -> Need {
        if self.quiet { Need::Quiet } else { Need::Low }
    }

    /// Does one step of regaining space if there is something to regain.
    pub(super) async fn regain(&mut self) {
        if !self.has_garbage() {
            return;
        }
        match self.reclaim_step(self.need()).await {
            Ok(true) => {}
            Ok(false) => self.blocked = true,
            Err(error) => {
                self.blocked = true;
                tracing::warn!(err = %error, "space was not regained");
            }
        }
    }

    /// Regains space until `bytes` more fit, or nothing is left to regain.
    pub(super) async fn make_room(&mut self, bytes: u64) -> Result<(), StoreError> {
        if bytes == 0 {
            return Ok(());
        }
        self.refresh_room().await?;
        while !self.fits(bytes) {
            match self.reclaim_step(Need::Pressing).await {
                Ok(true) => self.refresh_room().await?,
                Ok(false) | Err(StoreError::Full { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Moves some blocks out of the victim, or removes it when nothing lives in it. Returns whether that got
    /// anywhere.
    async fn reclaim_step(&mut self, need: Need) -> Result<bool, StoreError> {
        let Some(victim) = self.victim.or_else(|| self.pick(need)) else { return Ok(false) };
        self.refresh_room().await?;
        if self.victim.is_none() && !self.fits_moved(self.table.segment(victim).live) {
            // Begun and not finished, it would take space and give none back.
            return Ok(false);
        }
        if self.active.as_ref().is_some_and(|active| active.number == victim) {
            self.rotate().await?;
        }
        self.victim = Some(victim);
        let candidates = self.candidates(victim).await?;
        if candidates.is_empty() {
            self.victim = None;
            self.remove_segment(victim).await?;
            return Ok(true);
        }
        let moved = self.move_blocks(victim, candidates).await;
        if !matches!(moved, Ok(true)) {
            self.victim = None;
        }
        moved
    }

    /// Returns the segment to move next: of those worth it, the one with the least to copy.
    fn pick(&self, need: Need) -> Option<u32> {
        let active = self.active.as_ref().map(|active| active.number);
        let worth_it = |(number, segment): &(&u32, &Segment)| {
            let garbage = segment.indexed.saturating_sub(segment.live);
            // The active segment is closed for it; not for every little file's sake.
            let grown = Some(**number) != active
                || need != Need::Low
                || segment.indexed >= self.settings.segment_bytes / 8;
            let enough = match need {
                Need::Low => garbage > segment.indexed / 2,
                Need::Quiet => garbage >= segment.indexed / QUIET_GARBAGE_PART_MIN,
                Need::Pressing => garbage >= segment.indexed / GARBAGE_PART_MIN,
            };
            garbage > 0 && grown && enough
        };
        let candidates = self.table.segments.iter().filter(worth_it);
        candidates.min_by_key(|(_, segment)| segment.live).map(|(number, _)| *number)
    }

    async fn candidates(&self, victim: u32) -> Result<Vec<Candidate>, StoreError> {
        let (from, until) = index::range_of(&index::records_of(victim));
        let found =
            self.shared.env.disk().scan(Map::Segments, from, until, STORE_STEP_RECORDS).await;
        let found = found.map_err(|error| self.shared.noted(error))?;
        let candidates = found.into_iter().filter_map(|(key, value)| {
            let (cid, offset) = (block_in(&value)?, index::offset_in(&key)?);
            Some(Candidate { key, cid, offset })
        });
        Ok(candidates.collect())
    }

    /// Copies live blocks to the active segment and tells the index.
    async fn move_blocks(
        &mut self,
        victim: u32,
        candidates: Vec<Candidate>,
    ) -> Result<bool, StoreError> {
        self.ensure_active().await?;
        let Some(number) = self.active.as_ref().map(|active| active.number) else {
            return Ok(false);
        };
        let start = self.table.segment(number).indexed;
        let mut draft = Draft::new(&self.table);
        let (mut parts, mut moved_bytes, mut corrupt) = (Vec::new(), 0, Vec::new());
        for Candidate { key, cid, offset } in candidates {
            let place = self.shared.lookup(&cid).await?;
            let Some(place @ Place::Segment { bytes, .. }) = place.filter(|place| {
                matches!(place, Place::Segment { number, offset: at, .. }
                    if (*number, *at) == (victim, offset))
            }) else {
                draft.drop_record_key(key);
                continue;
            };
            let taken = footprint(bytes.into());
            let beyond_step = moved_bytes + taken > u64::from(STORE_RECLAIM_STEP_BYTES);
            if moved_bytes > 0 && beyond_step {
                break;
            }
            if !self.fits_moved(moved_bytes + taken) {
                break;
            }
            draft.vacate(&cid, place);
            match self.shared.read(&cid, place).await? {
                Found::Whole(Some(mut header), payload) => {
                    header.moved = true;
                    parts.push(Bytes::copy_from_slice(&header.encode()));
                    parts.push(payload);
                    let offset = start + moved_bytes;
                    draft.settle(&cid, Place::Segment { number, offset, bytes });
                    moved_bytes += taken;
                }
                Found::Whole(None, _) | Found::Damaged => {
                    corrupt.push(cid);
                    draft.settle(&cid, Place::Corrupt);
                }
            }
        }
        if draft.is_empty() {
            return Ok(false);
        }
        draft.indexed(number, start + moved_bytes);
        let changes = draft.finish();
        self.append(parts, true).await?;
        if let Err(error) = self.commit(changes, Durability::Buffered).await {
            self.cut_back().await?;
            return Err(error);
        }
        corrupt.into_iter().for_each(|cid| self.shared.found_corrupt(cid));
        self.count_written(moved_bytes);
        self.shared.metrics.moved_bytes.inc_by(moved_bytes);
        Ok(true)
    }

    /// Removes a segment in which nothing lives.
    async fn remove_segment(&mut self, number: u32) -> Result<(), StoreError> {
        let segment = self.table.segment(number);
        let mut batch = Batch::default();
        let doomed = Segment { doomed: true, ..segment };
        batch.put(Map::Segments, segment_key(number), doomed.encode());
        // Synced, and with it all that was moved: the copies are in the index before the originals go.
        self.write(batch, Durability::Synced).await?;
        self.table.segments.remove(&number);
        self.shared.open_files().pop(&number);
        self.forget_file(number).await?;
        self.room = None;
        self.publish_usage();
        self.shared.metrics.reclaimed_bytes.inc_by(segment.indexed);
        tracing::debug!(number, bytes = segment.indexed, "segment removed");
        Ok(())
    }

    /// Removes the file of a doomed segment, then what the index knows of it.
    pub(super) async fn forget_file(&self, number: u32) -> Result<(), StoreError> {
        match self.shared.env.disk().remove(&segment::name_of(number)).await {
            Ok(()) | Err(DiskError::Missing { .. }) => {}
            Err(error) => return Err(self.fatal(error)),
        }
        let mut batch = Batch::default();
        batch.delete(Map::Segments, segment_key(number));
        self.write(batch, Durability::Buffered).await
    }
}
