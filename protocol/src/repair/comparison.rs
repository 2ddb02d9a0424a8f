//! Comparing two inventories: which partitions differ.
//!
//! The asker sends the sum of all partitions whose steward it is and that the other should hold too. If the other's
//! is the same, that was all. Otherwise come the sums of groups, then of the partitions of the groups that
//! differ. Beside that, a peer may ask about partitions by name ([`check`]): those that it should not hold any more.
//! Owns how far a comparison has come; reads a [`View`]. What changes on the way is found by the next one.
//! Never: looks at rows, see [`super::RowComparison`].

use std::collections::BTreeMap;

use super::desired::Desired;
use super::message::{Answer, Page, Question};
use super::row::{Row, RowKey};
use super::summary::{Bucket, Summary};
use crate::PeerId;
use crate::limits::{
    INVENTORY_GROUPS, INVENTORY_GROUPS_ASKED_MAX, INVENTORY_PARTITIONS_MAX, INVENTORY_ROWS_MAX,
    PARTITIONS,
};
use crate::placement::Partition;
use crate::topology::Epoch;

/// Partitions in a group.
const GROUP_PARTITIONS: u32 = PARTITIONS / INVENTORY_GROUPS;

/// What a peer knows when it asks or answers.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// This peer.
    pub own: PeerId,
    /// Who should hold what: in its own view when it asks, in the asker's when it answers.
    pub desired: &'a Desired,
    /// What it holds.
    pub summary: &'a Summary,
}

impl View<'_> {
    /// Returns the partitions of a range that two peers compare and that have rows here.
    fn compared(
        &self,
        asker: PeerId,
        asked: PeerId,
        first: Partition,
        last: Partition,
    ) -> impl Iterator<Item = (Partition, Bucket)> {
        let is_compared = move |partition| self.desired.is_compared(partition, asker, asked);
        self.summary.between(first, last).filter(move |(partition, _)| is_compared(*partition))
    }

    /// Returns the sums of groups that have rows. Cost: O(partitions with rows).
    fn groups(&self, asker: PeerId, asked: PeerId) -> BTreeMap<u16, u128> {
        let mut groups: BTreeMap<u16, Bucket> = BTreeMap::new();
        let (first, last) = (partition(0), partition(PARTITIONS - 1));
        for (partition, bucket) in self.compared(asker, asked, first, last) {
            let group = groups.entry(group_of(partition)).or_default();
            *group = group.and(bucket);
        }
        groups.into_iter().map(|(group, bucket)| (group, bucket.sum)).collect()
    }

    fn partitions(
        &self,
        asker: PeerId,
        asked: PeerId,
        groups: &[u16],
    ) -> BTreeMap<Partition, u128> {
        let of_group = |group: &u16| {
            let first = u32::from(*group) * GROUP_PARTITIONS;
            self.compared(asker, asked, partition(first), partition(first + GROUP_PARTITIONS - 1))
        };
        groups
            .iter()
            .flat_map(of_group)
            .map(|(partition, bucket)| (partition, bucket.sum))
            .collect()
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this.
    Ask(Question),
    /// These partitions differ, in order; the comparison is over.
    Done(Vec<Partition>),
    /// The other peer is at another epoch; the comparison is over.
    OtherEpoch(Epoch),
    /// The answer does not belong to the question: the other peer is at fault, and the comparison is over.
    Nonsense,
}

/// One comparison of this peer with another, as its asker.
#[derive(Clone, Debug)]
pub struct Comparison {
    peer: PeerId,
    /// Groups that differ and have not been asked for; `None` before they are known.
    groups: Option<Vec<u16>>,
    /// Groups asked for.
    asked: Vec<u16>,
    differing: Vec<Partition>,
}

impl Comparison {
    /// Returns a comparison with `peer` and its first question.
    #[must_use]
    pub fn new(view: &View<'_>, peer: PeerId) -> (Self, Question) {
        let sum = sum_of(&view.groups(view.own, peer));
        let begun = Self { peer, groups: None, asked: Vec::new(), differing: Vec::new() };
        (begun, Question::All { scope: view.desired.scope().clone(), sum })
    }

    /// Takes an answer. The view must be of the scope it began with. Cost: O(partitions with rows).
    pub fn answered(&mut self, view: &View<'_>, answer: &Answer) -> Step {
        match (answer, &self.groups) {
            (Answer::Equal, None) => Step::Done(Vec::new()),
            (Answer::Epoch(epoch), _) if *epoch != view.desired.epoch() => Step::OtherEpoch(*epoch),
            (Answer::Groups(theirs), None) => {
                let ours = view.groups(view.own, self.peer);
                self.groups = Some(differing(&ours, &theirs.iter().copied().collect()));
                self.ask(view)
            }
            (Answer::Partitions(theirs), Some(_)) => {
                let is_asked = |(partition, _): &(Partition, u128)| {
                    self.asked.contains(&group_of(*partition))
                        && view.desired.is_compared(*partition, view.own, self.peer)
                };
                if !theirs.iter().all(is_asked) {
                    return Step::Nonsense;
                }
                let ours = view.partitions(view.own, self.peer, &self.asked);
                self.differing.extend(differing(&ours, &theirs.iter().copied().collect()));
                self.ask(view)
            }
            (
                Answer::Equal
                | Answer::Epoch(_)
                | Answer::Groups(_)
                | Answer::Partitions(_)
                | Answer::Differing(_)
                | Answer::Rows(_),
                _,
            ) => Step::Nonsense,
        }
    }

    fn ask(&mut self, view: &View<'_>) -> Step {
        let left = self.groups.get_or_insert_default();
        if left.is_empty() {
            return Step::Done(core::mem::take(&mut self.differing));
        }
        let later = left.split_off(left.len().min(INVENTORY_GROUPS_ASKED_MAX));
        self.asked = core::mem::replace(left, later);
        Step::Ask(Question::Groups {
            scope: view.desired.scope().clone(),
            groups: self.asked.clone(),
        })
    }
}

/// Returns the question by which a peer finds out in which of `partitions`, at most
/// [`INVENTORY_PARTITIONS_MAX`] in order, another one holds something else. Answered by [`Answer::Differing`].
#[must_use]
pub fn check(view: &View<'_>, partitions: &[Partition]) -> Question {
    let partitions = partitions.get(..INVENTORY_PARTITIONS_MAX).unwrap_or(partitions);
    let sum = |partition: &Partition| (*partition, view.summary.bucket(*partition).sum);
    Question::Check { epoch: view.desired.epoch(), sums: partitions.iter().map(sum).collect() }
}

/// How a question is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answering {
    /// With this.
    Now(Answer),
    /// With a page of at most [`INVENTORY_ROWS_MAX`] rows of these partitions.
    Read {
        /// Which, in order.
        partitions: Vec<Partition>,
        /// The row that it begins behind.
        after: Option<RowKey>,
    },
}

/// Returns how to answer a question of `asker`.
///
/// `view.desired` must be of the question's scope, or of any at this peer's epoch for questions without one.
/// Cost: O(partitions with rows).
#[must_use]
pub fn answer(view: &View<'_>, asker: PeerId, question: Question) -> Answering {
    let epoch = view.desired.epoch();
    let asked_epoch = match &question {
        Question::All { scope, .. } | Question::Groups { scope, .. } => scope.epoch,
        Question::Check { epoch, .. } | Question::Rows { epoch, .. } => *epoch,
    };
    if asked_epoch != epoch {
        return Answering::Now(Answer::Epoch(epoch));
    }
    match question {
        Question::All { sum, .. } => {
            let groups = view.groups(asker, view.own);
            let is_equal = sum == sum_of(&groups);
            let groups = || Answer::Groups(groups.into_iter().collect());
            Answering::Now(if is_equal { Answer::Equal } else { groups() })
        }
        Question::Groups { groups, .. } => {
            let partitions = view.partitions(asker, view.own, &groups);
            Answering::Now(Answer::Partitions(partitions.into_iter().collect()))
        }
        Question::Check { sums, .. } => {
            let differs =
                |(partition, sum): &(Partition, u128)| view.summary.bucket(*partition).sum != *sum;
            let differing = sums.into_iter().filter(differs).map(|(partition, _)| partition);
            Answering::Now(Answer::Differing(differing.collect()))
        }
        Question::Rows { partitions, after, .. } => Answering::Read { partitions, after },
    }
}

impl Page {
    /// Returns the page of these rows, which begin where it does and are in order; more than a page tell that
    /// there are more. A reader that takes one row too many says so best.
    #[must_use]
    pub fn of(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut rows = rows.into_iter();
        let page: Vec<Row> = rows.by_ref().take(INVENTORY_ROWS_MAX).collect();
        Self { rows: page, is_last: rows.next().is_none() }
    }
}

/// Returns what has another sum on the other side, or is on one side only, in order.
#[must_use]
pub fn differing<K: Copy + Ord>(ours: &BTreeMap<K, u128>, theirs: &BTreeMap<K, u128>) -> Vec<K> {
    let mut differing: Vec<K> = ours
        .keys()
        .chain(theirs.keys().filter(|key| !ours.contains_key(key)))
        .filter(|key| ours.get(key) != theirs.get(key))
        .copied()
        .collect();
    differing.sort_unstable();
    differing
}

fn sum_of(groups: &BTreeMap<u16, u128>) -> u128 {
    groups.values().fold(0, |sum, group| sum.wrapping_add(*group))
}

fn group_of(partition: Partition) -> u16 {
    u16::try_from(partition.index() / GROUP_PARTITIONS as usize).unwrap_or(u16::MAX)
}

/// Returns the partition of an index that stays below their number.
fn partition(index: u32) -> Partition {
    Partition::new(index).expect("the index is below the number of partitions")
}
