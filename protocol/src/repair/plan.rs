//! The order of repairs: the least redundant first.
//!
//! Fewest copies first, then whatever has been lacking for the longest, then by block. A difference is repaired
//! once it has lasted for [`REPAIR_SETTLE`]: most are writes on their way. Owns the repairs that wait, at most
//! [`REPAIR_ROWS_MAX`]; of more, the least urgent are found by a later comparison.
//! Never: starts one, see [`super::Budget`].

use core::time::Duration;
use std::collections::BTreeMap;

use super::findings::Repair;
use super::row::{Row, RowKey};
use crate::limits::{REPAIR_ROWS_MAX, REPAIR_SETTLE, REPLICAS_MAX};
use crate::placement::Partition;
use crate::{Instant, PeerId};

/// What is repaired where.
type Task = (RowKey, bool, PeerId);

/// How urgent a repair is: lower is more so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    copies: u8,
    since: Instant,
    task: Task,
}

/// The repairs that wait.
#[derive(Clone, Debug)]
pub struct Plan {
    waiting: BTreeMap<Rank, Repair>,
    ranks: BTreeMap<Task, Rank>,
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
        Self { waiting: BTreeMap::new(), ranks: BTreeMap::new(), settle, repairs_max }
    }

    /// Takes what was found to lack, and forgets what lacked before in the partitions that were looked at and
    /// does not any more. What lacked before keeps its age.
    pub fn update(
        &mut self,
        now: Instant,
        was_looked_at: impl Fn(Partition) -> bool,
        repairs: Vec<Repair>,
    ) {
        let old = |task: &Task, _: &mut Rank| was_looked_at(Partition::of(&task.0.cid));
        let before: BTreeMap<Task, Rank> = self.ranks.extract_if(.., old).collect();
        for rank in before.values() {
            self.waiting.remove(rank);
        }
        for repair in repairs {
            let task = task_of(&repair);
            self.insert(before.get(&task).map_or(now, |rank| rank.since), repair);
        }
    }

    /// Puts a repair back that could not be done, as old as it was.
    pub fn put_back(&mut self, since: Instant, repair: Repair) {
        self.insert(since, repair);
    }

    fn insert(&mut self, since: Instant, repair: Repair) {
        let task = task_of(&repair);
        let rank = Rank { copies: repair.copies.min(REPLICAS_MAX), since, task };
        if let Some(before) = self.ranks.insert(task, rank) {
            self.waiting.remove(&before);
        }
        self.waiting.insert(rank, repair);
        if self.waiting.len() > self.repairs_max
            && let Some((rank, _)) = self.waiting.pop_last()
        {
            self.ranks.remove(&rank.task);
        }
    }

    /// Forgets repairs of rows that nobody wants any more: those of dead owners.
    pub fn retain(&mut self, is_wanted: impl Fn(&Row) -> bool) {
        for (rank, _) in self.waiting.extract_if(.., |_, repair| !is_wanted(&repair.row)) {
            self.ranks.remove(&rank.task);
        }
    }

    /// Returns the most urgent repair that has settled, and since when it has been waiting. Cost: O(log repairs).
    #[must_use]
    pub fn peek(&self, now: Instant) -> Option<(Instant, &Repair)> {
        let (rank, repair) =
            self.eldest().find(|(rank, _)| rank.since.after(self.settle) <= now)?;
        Some((rank.since, repair))
    }

    /// Removes and returns what [`Self::peek`] returns.
    pub fn take(&mut self, now: Instant) -> Option<(Instant, Repair)> {
        let task = self.peek(now).map(|(_, repair)| task_of(repair))?;
        let rank = self.ranks.remove(&task)?;
        Some((rank.since, self.waiting.remove(&rank)?))
    }

    /// Returns when the next repair will have settled, a time gone by if one has, or `None` without repairs.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.eldest().map(|(rank, _)| rank.since.after(self.settle)).min()
    }

    /// Returns the eldest repair for each number of copies, fewest first.
    fn eldest(&self) -> impl Iterator<Item = (&Rank, &Repair)> {
        let least: Task = (
            RowKey {
                cid: crate::Cid::from_digest(crate::Codec::Raw, [0; 32]),
                owner: crate::OwnerId::from_bytes([0; 16]),
            },
            false,
            PeerId::from_public_key([0; 32]),
        );
        (0..=REPLICAS_MAX).filter_map(move |copies| {
            let from = Rank { copies, since: Instant::ZERO, task: least };
            self.waiting.range(from..).next().filter(|(rank, _)| rank.copies == copies)
        })
    }

    /// Returns the repairs that wait, in the order of blocks: those of one block stand together.
    pub fn repairs(&self) -> impl Iterator<Item = &Repair> {
        self.ranks.values().filter_map(|rank| self.waiting.get(rank))
    }

    /// Says whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

const fn task_of(repair: &Repair) -> Task {
    (repair.row.key(), repair.row.root, repair.target)
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
