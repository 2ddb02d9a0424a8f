//! The order of repairs: the least redundant first.
//!
//! Fewest copies first, then whatever has been lacking for the longest, then by block. A difference is repaired
//! once it has lasted for [`REPAIR_SETTLE`]: most are writes on their way. Owns the repairs that wait, at most
//! [`REPAIR_ROWS_MAX`]; of more, the least urgent are found by a later comparison. Knows which are under way, so that none
//! begins twice and one that is not wanted any more ends. Never: starts one.

use core::time::Duration;
use std::collections::BTreeMap;

use super::findings::Repair;
use super::row::{Row, RowKey};
use crate::limits::{REPAIR_ROWS_MAX, REPAIR_SETTLE, REPLICAS_MAX};
use crate::placement::Partition;
use crate::{Cid, Codec, Instant, OwnerId, PeerId};

/// What is repaired where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RepairId {
    /// The reference.
    pub row: RowKey,
    /// Whether it is a root.
    pub root: bool,
    /// Who lacks it.
    pub target: PeerId,
}

impl RepairId {
    /// Returns the least one of a reference.
    const fn first(row: RowKey) -> Self {
        Self { row, root: false, target: PeerId::from_public_key([0; 32]) }
    }
}

/// The least owner.
const OWNER_FIRST: OwnerId = OwnerId::from_bytes([0; 16]);

/// How urgent a repair is: lower is more so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    copies: u8,
    since: Instant,
    id: RepairId,
}

/// What came of a comparison, beside what is to be repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// Those under way that are to be stopped: they are not wanted any more, or have become more urgent and begin anew.
    pub stopped: Vec<RepairId>,
    /// Bytes that waited to be copied and do not lack any more: others brought them, or nobody wants them now.
    pub bytes_brought: u64,
}

/// The repairs that wait, and those that are under way.
#[derive(Clone, Debug)]
pub struct Plan {
    waiting: BTreeMap<Rank, Repair>,
    ranks: BTreeMap<RepairId, Rank>,
    /// Each with when it began to lack.
    under_way: BTreeMap<RepairId, (Instant, Repair)>,
    settle: Duration,
    repairs_max: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self::new(REPAIR_SETTLE, REPAIR_ROWS_MAX)
    }
}

impl Plan {
    /// Returns a plan without repairs: at most so many, each of which waits for `settle` first.
    #[must_use]
    pub const fn new(settle: Duration, repairs_max: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            ranks: BTreeMap::new(),
            under_way: BTreeMap::new(),
            settle,
            repairs_max,
        }
    }

    /// Takes what was found to lack, and forgets what lacked before in the partitions that were looked at and
    /// does not any more. What lacked before keeps its age.
    pub fn update(
        &mut self,
        now: Instant,
        was_looked_at: impl Fn(Partition) -> bool,
        repairs: Vec<Repair>,
    ) -> Updated {
        let is_old = |id: &RepairId| was_looked_at(Partition::of(&id.row.cid));
        let before: BTreeMap<RepairId, Rank> =
            self.ranks.extract_if(.., |id, _| is_old(id)).collect();
        // A copy serves all owners of a block.
        let mut lacked: BTreeMap<(Cid, PeerId), u32> = BTreeMap::new();
        for rank in before.values() {
            if let Some(repair) = self.waiting.remove(rank) {
                lacked.insert((repair.row.cid, repair.target), repair.row.bytes);
            }
        }
        let mut begun: BTreeMap<RepairId, (Instant, Repair)> =
            self.under_way.extract_if(.., |id, _| is_old(id)).collect();
        let mut stopped = Vec::new();
        for repair in repairs {
            let id = repair.id();
            lacked.remove(&(repair.row.cid, repair.target));
            match begun.remove(&id).or_else(|| self.under_way.remove(&id)) {
                Some(known) if known.1.copies <= repair.copies => {
                    self.under_way.insert(id, known);
                }
                Some((since, _)) => {
                    stopped.push(id);
                    self.insert(since, repair);
                }
                None => {
                    let known = before.get(&id).or_else(|| self.ranks.get(&id));
                    self.insert(known.map_or(now, |rank| rank.since), repair);
                }
            }
        }
        stopped.extend(begun.into_keys());
        let bytes_brought = lacked.into_values().map(u64::from).fold(0, u64::saturating_add);
        Updated { stopped, bytes_brought }
    }

    /// Notes that a repair that was under way came to its end. Returns the bytes that lack for it alone: none while the same
    /// block lacks at the same peer for another owner, whose repair ends with the same copy.
    pub fn ended(&mut self, id: RepairId) -> u64 {
        let Some((_, repair)) = self.under_way.remove(&id) else { return 0 };
        let first = RepairId::first(RowKey { cid: id.row.cid, owner: OWNER_FIRST });
        let is_of_same = |other: &&RepairId| other.row.cid == id.row.cid;
        let waiting = self.ranks.range(first..).map(|(other, _)| other).take_while(is_of_same);
        let begun = self.under_way.range(first..).map(|(other, _)| other).take_while(is_of_same);
        let lacks_still = waiting.chain(begun).any(|other| other.target == id.target);
        if lacks_still { 0 } else { repair.row.bytes.into() }
    }

    fn insert(&mut self, since: Instant, repair: Repair) {
        let id = repair.id();
        let rank = Rank { copies: repair.copies.min(REPLICAS_MAX), since, id };
        if let Some(before) = self.ranks.insert(id, rank) {
            self.waiting.remove(&before);
        }
        self.waiting.insert(rank, repair);
        if self.waiting.len() > self.repairs_max
            && let Some((rank, _)) = self.waiting.pop_last()
        {
            self.ranks.remove(&rank.id);
        }
    }

    /// Forgets repairs of rows that nobody wants any more: those of dead owners.
    pub fn retain(&mut self, is_wanted: impl Fn(&Row) -> bool) {
        for (rank, _) in self.waiting.extract_if(.., |_, repair| !is_wanted(&repair.row)) {
            self.ranks.remove(&rank.id);
        }
    }

    /// Returns the most urgent repair that has settled, and since when it has been waiting. Cost: O(log repairs).
    #[must_use]
    pub fn peek(&self, now: Instant) -> Option<(Instant, &Repair)> {
        let (rank, repair) =
            self.eldest().find(|(rank, _)| rank.since.after(self.settle) <= now)?;
        Some((rank.since, repair))
    }

    /// Returns what [`Self::peek`] returns, which is under way from now on.
    pub fn take(&mut self, now: Instant) -> Option<(Instant, Repair)> {
        let id = self.peek(now).map(|(_, repair)| repair.id())?;
        let rank = self.ranks.remove(&id)?;
        let repair = self.waiting.remove(&rank)?;
        self.under_way.insert(id, (rank.since, repair.clone()));
        Some((rank.since, repair))
    }

    /// Returns when the next repair will have settled, a time gone by if one has, or `None` without repairs.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.eldest().map(|(rank, _)| rank.since.after(self.settle)).min()
    }

    /// Returns the eldest repair for each number of copies, fewest first.
    fn eldest(&self) -> impl Iterator<Item = (&Rank, &Repair)> {
        let cid = Cid::from_digest(Codec::Raw, [0; 32]);
        let least = RepairId::first(RowKey { cid, owner: OWNER_FIRST });
        (0..=REPLICAS_MAX).filter_map(move |copies| {
            let from = Rank { copies, since: Instant::ZERO, id: least };
            self.waiting.range(from..).next().filter(|(rank, _)| rank.copies == copies)
        })
    }

    /// Returns the repairs that wait, and then those under way, each in the order of blocks.
    pub fn repairs(&self) -> impl Iterator<Item = &Repair> {
        let waiting = self.ranks.values().filter_map(|rank| self.waiting.get(rank));
        waiting.chain(self.under_way.values().map(|(_, repair)| repair))
    }

    /// Says whether nothing waits, and nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }
}

impl Repair {
    /// Returns what tells this repair from others.
    #[must_use]
    pub const fn id(&self) -> RepairId {
        RepairId { row: self.row.key(), root: self.row.root, target: self.target }
    }
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
