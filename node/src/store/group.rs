//! Groups: puts and claims that share one sync.
//!
//! All new records of a group go to the active segment in one write and one sync, then one batch tells the
//! index. Only then is anybody answered. If the write finds no room, the segment is cut back to where it was.

use protocol::index::{Place, block_key, footprint};
use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::record::{RecordHeader, checksum};
use protocol::wire::BlockOutcome;
use protocol::{Cid, OwnerId};

use super::command::{Claim, Put};
use super::draft::{Changes, Draft};
use super::error::StoreError;
use super::task::Writer;
use crate::env::{Disk, DiskError, DiskFile, Durability, Env, Map};

/// One order of a group.
#[derive(Debug)]
pub(super) enum Member {
    Put(Put),
    Claim(Claim),
}

/// What a member is answered once the group is durable.
#[derive(Debug)]
enum Verdict {
    Put(BlockOutcome),
    /// The lengths of those that are held.
    Held(Vec<Option<u32>>),
    /// There was no room for this one.
    Full,
    /// A repair of a block that nobody here refers to.
    Unreferenced(Cid),
}

/// What a group will write.
struct Plan {
    verdicts: Vec<Verdict>,
    /// Headers and blocks for the active segment, in order.
    parts: Vec<Bytes>,
    segment_bytes: u64,
    changes: Option<Changes>,
    /// Whether the segment alone does not tell all of it after a crash.
    synced: bool,
    stored_blocks: u64,
    stored_bytes: u64,
}

impl Member {
    /// Returns the bytes of blocks that it brings.
    pub(super) fn block_bytes(&self) -> u64 {
        match self {
            Self::Put(put) => put.bytes.len() as u64,
            Self::Claim(_) => 0,
        }
    }

    /// Answers, and gives back the room taken in the queue.
    fn answer(self, verdict: Verdict, full: impl Fn() -> StoreError) {
        match (self, verdict) {
            (Self::Put(put), Verdict::Put(outcome)) => {
                if put.owner == OwnerId::REPAIR && outcome == BlockOutcome::Stored {
                    tracing::debug!(cid = %put.cid, "corrupt copy written anew");
                }
                put.answer(Ok(outcome));
            }
            (Self::Claim(claim), Verdict::Held(held)) => claim.answer(Ok(held)),
            (member, Verdict::Unreferenced(cid)) => {
                member.refuse(StoreError::Unreferenced { cid });
            }
            (member, Verdict::Put(_) | Verdict::Held(_) | Verdict::Full) => member.refuse(full()),
        }
    }

    fn refuse(self, error: StoreError) {
        match self {
            Self::Put(put) => put.answer(Err(error)),
            Self::Claim(claim) => claim.answer(Err(error)),
        }
    }
}

impl<E: Env> Writer<E> {
    /// Makes a group durable and answers its members.
    pub(super) async fn perform(&mut self, group: Vec<Member>) {
        match self.store_group(&group).await {
            Ok(verdicts) => {
                let refused =
                    verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Full)).count();
                for (member, verdict) in group.into_iter().zip(verdicts) {
                    member.answer(verdict, || self.full());
                }
                if refused > 0 {
                    self.shared.metrics.full.inc_by(refused as u64);
                    // Somebody may make room on the device: the next put looks again.
                    self.room = None;
                }
            }
            Err(error) => self.refuse_group(group, &error).await,
        }
    }

    /// Answers a group that failed as a whole. Claims bring no bytes: a full disk may still take them.
    async fn refuse_group(&mut self, group: Vec<Member>, error: &StoreError) {
        let is_claim = |member: &Member| matches!(member, Member::Claim(_));
        let again = matches!(error, StoreError::Full { .. }) && !group.iter().all(is_claim);
        let (claims, rest): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|member| again && is_claim(member));
        for member in rest {
            member.refuse(self.repeated(error));
        }
        if !claims.is_empty() {
            // Once more at most: a group of claims alone is not tried again.
            Box::pin(self.perform(claims)).await;
        }
    }

    async fn store_group(&mut self, group: &[Member]) -> Result<Vec<Verdict>, StoreError> {
        self.shared.check()?;
        let mut places = self.places_of(group).await?;
        let missing_bytes = self.missing_bytes(group, &places);
        if missing_bytes > 0 {
            self.make_room(missing_bytes).await?;
            self.refresh_room().await?;
        }
        if self.needs_segment(group, &places) {
            self.ensure_active().await?;
        }
        let plan = self.plan(group, &mut places);
        self.execute(plan).await
    }

    /// Returns where the blocks of a group lie that the index knows.
    async fn places_of(&self, group: &[Member]) -> Result<BTreeMap<Cid, Place>, StoreError> {
        let mut cids = Vec::new();
        for member in group {
            match member {
                Member::Put(put) => cids.push(put.cid),
                Member::Claim(claim) => cids.extend_from_slice(&claim.cids),
            }
        }
        let keys = cids.iter().map(block_key).collect();
        let values = self.shared.env.disk().get_many(Map::Blocks, keys).await;
        let values = values.map_err(|error| self.shared.noted(error))?;
        let known = cids.into_iter().zip(values).filter_map(|(cid, value)| {
            let place = Place::decode(&value?)?;
            Some((cid, place))
        });
        Ok(known.collect())
    }

    /// Returns the bytes that a group adds if all of it is stored.
    fn missing_bytes(&self, group: &[Member], places: &BTreeMap<Cid, Place>) -> u64 {
        let mut missing = BTreeMap::new();
        for member in group {
            if let Member::Put(put) = member
                && !places.get(&put.cid).is_some_and(|place| place.is_held())
            {
                missing.insert(put.cid, footprint(put.bytes.len() as u64));
            }
        }
        missing.values().sum()
    }

    fn needs_segment(&self, group: &[Member], places: &BTreeMap<Cid, Place>) -> bool {
        group.iter().any(|member| match member {
            Member::Put(put) => {
                !self.is_small(put.bytes.len() as u64)
                    && !places.get(&put.cid).is_some_and(|place| place.is_held())
            }
            Member::Claim(_) => false,
        })
    }

    fn is_small(&self, block_bytes: u64) -> bool {
        block_bytes < self.settings.small_block_bytes.into()
    }

    /// Decides what each member is answered and what is written for that. Touches no disk.
    fn plan(&self, group: &[Member], places: &mut BTreeMap<Cid, Place>) -> Plan {
        let mut draft = Draft::new(&self.table);
        let mut plan = Plan {
            verdicts: Vec::with_capacity(group.len()),
            parts: Vec::new(),
            segment_bytes: 0,
            changes: None,
            synced: false,
            stored_blocks: 0,
            stored_bytes: 0,
        };
        for member in group {
            let verdict = match member {
                Member::Put(put) => self.plan_put(put, places, &mut draft, &mut plan),
                Member::Claim(claim) => {
                    let mut held = Vec::with_capacity(claim.cids.len());
                    for cid in &claim.cids {
                        let place = places.get(cid).filter(|place| place.is_held());
                        let bytes = place.and_then(|place| u32::try_from(place.block_bytes()).ok());
                        if bytes.is_some() {
                            draft.refer(cid, &claim.owner, claim.root);
                            plan.synced = true;
                        }
                        held.push(bytes);
                    }
                    Verdict::Held(held)
                }
            };
            plan.verdicts.push(verdict);
        }
        if let (Some(active), true) = (&self.active, plan.segment_bytes > 0) {
            let end = self.table.segment(active.number).indexed + plan.segment_bytes;
            draft.indexed(active.number, end);
        }
        if !draft.is_empty() {
            plan.changes = Some(draft.finish());
        }
        plan
    }

    fn plan_put(
        &self,
        put: &Put,
        places: &mut BTreeMap<Cid, Place>,
        draft: &mut Draft<'_>,
        plan: &mut Plan,
    ) -> Verdict {
        let is_repair = put.owner == OwnerId::REPAIR;
        match places.get(&put.cid) {
            Some(place) if place.is_held() => {
                if !is_repair {
                    draft.refer(&put.cid, &put.owner, put.root);
                    plan.synced = true;
                }
                return Verdict::Put(BlockOutcome::AlreadyHeld);
            }
            None if is_repair => return Verdict::Unreferenced(put.cid),
            Some(_) | None => {}
        }
        let taken = footprint(put.bytes.len() as u64);
        if !self.fits(plan.stored_bytes + taken) {
            return Verdict::Full;
        }
        // The handle has refused longer blocks.
        let Ok(mut header) = RecordHeader::of(put.cid, put.owner, put.root, &put.bytes) else {
            return Verdict::Full;
        };
        // Like a copy moved forward, a repaired one brings no reference of its own.
        header.moved = is_repair;
        let bytes = header.payload_bytes;
        let place = match &self.active {
            Some(active) if !self.is_small(bytes.into()) => {
                let number = active.number;
                let offset = self.table.segment(number).indexed + plan.segment_bytes;
                plan.parts.push(Bytes::copy_from_slice(&header.encode()));
                plan.parts.push(put.bytes.clone());
                plan.segment_bytes += taken;
                Place::Segment { number, offset, bytes }
            }
            Some(_) | None => {
                draft.keep_small(&put.cid, put.bytes.clone());
                plan.synced = true;
                Place::Small { bytes, checksum: checksum(&put.bytes) }
            }
        };
        draft.settle(&put.cid, place);
        if !is_repair {
            draft.refer(&put.cid, &put.owner, put.root);
        }
        places.insert(put.cid, place);
        plan.stored_blocks += 1;
        plan.stored_bytes += taken;
        Verdict::Put(BlockOutcome::Stored)
    }

    async fn execute(&mut self, plan: Plan) -> Result<Vec<Verdict>, StoreError> {
        let planted = self.settings.planted.ack_before_sync;
        self.append(plan.parts, !planted).await?;
        if let Some(changes) = plan.changes {
            // The records of the segment tell the index again after a crash; nothing else does.
            let durability =
                if plan.synced && !planted { Durability::Synced } else { Durability::Buffered };
            if let Err(error) = self.commit(changes, durability).await {
                self.cut_back().await?;
                return Err(error);
            }
        }
        self.count_written(plan.stored_bytes);
        self.shared.metrics.puts.inc_by(plan.stored_blocks);
        self.shared
            .metrics
            .block_bytes
            .inc_by(plan.stored_bytes - footprint(0) * plan.stored_blocks);
        Ok(plan.verdicts)
    }

    /// Writes records behind the indexed end of the active segment and syncs them. On a full disk the segment
    /// is left as it was.
    pub(super) async fn append(
        &mut self,
        parts: Vec<Bytes>,
        synced: bool,
    ) -> Result<(), StoreError> {
        let Some(active) = self.active.as_ref().filter(|_| !parts.is_empty()) else {
            return Ok(());
        };
        let end = self.table.segment(active.number).indexed;
        match active.file.write_at(end, parts).await {
            Ok(()) => {}
            Err(DiskError::Full) => {
                self.cut_back().await?;
                self.room = None;
                return Err(self.full());
            }
            Err(error) => return Err(self.fatal(error)),
        }
        if synced {
            self.shared.metrics.syncs.inc();
            // Whatever a sync says when it fails, also that the disk is full: what was written is in doubt.
            active.file.sync().await.map_err(|error| match error {
                DiskError::Full => {
                    self.fatal(DiskError::Failed { detail: "sync: disk full".into() })
                }
                DiskError::Closed
                | DiskError::Corrupt { .. }
                | DiskError::Failed { .. }
                | DiskError::Missing { .. } => self.fatal(error),
            })?;
        }
        Ok(())
    }

    /// Cuts the active segment to its indexed end: what lies behind was never acknowledged.
    pub(super) async fn cut_back(&self) -> Result<(), StoreError> {
        let Some(active) = &self.active else { return Ok(()) };
        if self.shared.check().is_err() {
            return Ok(());
        }
        let end = self.table.segment(active.number).indexed;
        match active.file.truncate(end).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let detail = format!("segment could not be cut back: {error}");
                Err(self.fatal(DiskError::Failed { detail }))
            }
        }
    }

    /// Returns an error of a whole group once more, for another member.
    fn repeated(&self, error: &StoreError) -> StoreError {
        match error {
            StoreError::Full { .. } => {
                self.shared.metrics.full.inc();
                self.full()
            }
            StoreError::Corrupt { cid } => StoreError::Corrupt { cid: *cid },
            StoreError::Disk(DiskError::Corrupt { detail }) => {
                DiskError::Corrupt { detail: detail.clone() }.into()
            }
            StoreError::Disk(DiskError::Failed { detail }) => {
                DiskError::Failed { detail: detail.clone() }.into()
            }
            StoreError::Disk(DiskError::Missing { name }) => {
                DiskError::Missing { name: name.clone() }.into()
            }
            StoreError::Disk(DiskError::Full) => DiskError::Full.into(),
            StoreError::Disk(DiskError::Closed) => DiskError::Closed.into(),
            StoreError::TooLarge { bytes } => StoreError::TooLarge { bytes: *bytes },
            StoreError::Unreferenced { cid } => StoreError::Unreferenced { cid: *cid },
            StoreError::Stopped => StoreError::Stopped,
        }
    }
}
