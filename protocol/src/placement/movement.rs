//! What moves between two placements.

use std::collections::BTreeMap;

use super::partition::Partition;
use super::table::Placement;
use crate::PeerId;

/// One copy of a partition that a peer comes to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// What moves.
    pub partition: Partition,
    /// Who held it and no longer should. `None`: the number of copies grew.
    pub from: Option<PeerId>,
    /// Who should hold it now and did not before.
    pub to: PeerId,
}

/// The difference between two placements. Holds no memory of its own.
#[derive(Clone, Copy, Debug)]
pub struct Movement<'a> {
    before: &'a Placement,
    after: &'a Placement,
}

/// Returns what moves from one placement to the other.
#[must_use]
pub const fn moved<'a>(before: &'a Placement, after: &'a Placement) -> Movement<'a> {
    Movement { before, after }
}

impl<'a> Movement<'a> {
    /// Returns the moves in order of partitions; those who lose a copy are paired with those who gain one,
    /// best with best. Cost: O(partitions).
    pub fn moves(&self) -> impl Iterator<Item = Move> + use<'a> {
        let Self { before, after } = *self;
        Partition::all().flat_map(move |partition| {
            let lost =
                before.replica_set(partition).filter(move |p| !after.is_replica(partition, *p));
            let mut lost = lost.collect::<Vec<_>>().into_iter();
            let gained =
                after.replica_set(partition).filter(move |p| !before.is_replica(partition, *p));
            gained.map(move |to| Move { partition, from: lost.next(), to })
        })
    }

    /// Returns how many copies of partitions have to be made. Cost: O(partitions).
    #[must_use]
    pub fn copies_moved(&self) -> u64 {
        self.moves().count() as u64
    }

    /// Returns how many partitions each peer comes to hold; peers without any are left out.
    #[must_use]
    pub fn received(&self) -> BTreeMap<PeerId, u64> {
        let mut received = BTreeMap::new();
        self.moves().for_each(|step| *received.entry(step.to).or_insert(0) += 1);
        received
    }
}
