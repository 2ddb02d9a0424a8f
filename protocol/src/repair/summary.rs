//! Summaries: a digest of the rows of each partition, kept up to date as rows come and go.
//!
//! The digest of a set is the sum, modulo 2^128, of 128 bits of SHA-256 of each row: it does not depend on the order,
//! adding and removing a row are one addition, and digests of partitions add up to digests of groups and
//! of all. It finds loss and mistakes: two different sets have equal sums by accident once in 2^128.
//! It is no protection from members that lie: whoever can choose owners at will can search for sets of equal
//! sums, and a peer can tell a digest of rows that it does not have. What a peer delivers is held against its
//! CID anyway. Owns the buckets; never reads a store: whoever does tells of every change, once.

use std::collections::BTreeMap;

use super::row::Row;
use crate::placement::Partition;

/// Defects on purpose, to see that the checks find them.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// Summaries pass over the rows of every eighth partition.
    pub inventory_skips_a_partition: bool,
    /// A peer drops what it no longer should hold before the others confirmed to hold it.
    pub drops_early: bool,
}

/// The rows of one partition, or of several, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// How many.
    pub rows: u64,
    /// The sum of their digests.
    pub sum: u128,
}

impl Bucket {
    /// Returns the summary of the rows of both, which have none in common.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self { rows: self.rows.saturating_add(other.rows), sum: self.sum.wrapping_add(other.sum) }
    }
}

/// A state of one partition at this peer: equal stamps mean that nothing changed in between. Never crosses
/// the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

/// What a peer holds, partition by partition.
///
/// Memory: some 60 bytes for each partition that has rows, 8 MiB at most.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    buckets: BTreeMap<Partition, (Bucket, Stamp)>,
    /// Changes so far: the last stamp that was given.
    changes: u64,
    planted: Planted,
}

impl Summary {
    /// Returns the summary of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the summary of nothing, with defects.
    #[doc(hidden)]
    #[must_use]
    pub fn planted(planted: Planted) -> Self {
        Self { planted, ..Self::default() }
    }

    /// Notes that a row is there that was not. To tell of one twice is a mistake that only a new summary mends.
    pub fn insert(&mut self, row: &Row) {
        let digest = row.digest();
        self.change(row, |bucket| Bucket {
            rows: bucket.rows.saturating_add(1),
            sum: bucket.sum.wrapping_add(digest),
        });
    }

    /// Notes that a row is no longer there that was.
    pub fn remove(&mut self, row: &Row) {
        let digest = row.digest();
        self.change(row, |bucket| Bucket {
            rows: bucket.rows.saturating_sub(1),
            sum: bucket.sum.wrapping_sub(digest),
        });
    }

    fn change(&mut self, row: &Row, changed: impl Fn(Bucket) -> Bucket) {
        let partition = row.partition();
        if self.planted.inventory_skips_a_partition && partition.index().is_multiple_of(8) {
            return;
        }
        self.changes += 1;
        let (bucket, stamp) = self.buckets.entry(partition).or_default();
        (*bucket, *stamp) = (changed(*bucket), Stamp(self.changes));
        if *bucket == Bucket::default() {
            self.buckets.remove(&partition);
        }
    }

    /// Returns the rows of a partition in short.
    #[must_use]
    pub fn bucket(&self, partition: Partition) -> Bucket {
        self.buckets.get(&partition).map_or_else(Bucket::default, |(bucket, _)| *bucket)
    }

    /// Returns the state of a partition. One without rows has the same one always.
    #[must_use]
    pub fn stamp(&self, partition: Partition) -> Stamp {
        self.buckets.get(&partition).map_or_else(Stamp::default, |(_, stamp)| *stamp)
    }

    /// Returns the partitions that have rows, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (Partition, Bucket)> + '_ {
        self.buckets.iter().map(|(partition, (bucket, _))| (*partition, *bucket))
    }

    /// Says whether the defect of that name is planted.
    pub(super) const fn drops_early(&self) -> bool {
        self.planted.drops_early
    }

    /// Returns the partitions of a range that have rows, in order.
    pub(super) fn between(
        &self,
        first: Partition,
        last: Partition,
    ) -> impl Iterator<Item = (Partition, Bucket)> + '_ {
        self.buckets.range(first..=last).map(|(partition, (bucket, _))| (*partition, *bucket))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Bucket, Summary};
    use crate::Prng;
    use crate::repair::testing::row;

    proptest! {
        #[test]
        fn a_summary_depends_on_the_rows_alone_and_not_on_how_they_came(seed: u64, count in 1..60u64) {
            let mut prng = Prng::new(seed);
            let mut rows: Vec<_> = (0..count).map(|n| row(&mut prng, n % 7)).collect();
            let summary = |rows: &[_]| {
                let mut summary = Summary::new();
                rows.iter().for_each(|row| summary.insert(row));
                summary
            };
            let straight = summary(&rows);
            // When they come in another order, with others that go again.
            let passing: Vec<_> = (0..count).map(|n| row(&mut prng, n)).collect();
            prng.shuffle(&mut rows);
            let mut crooked = summary(&passing);
            rows.iter().for_each(|row| crooked.insert(row));
            passing.iter().for_each(|row| crooked.remove(row));
            prop_assert!(straight.partitions().eq(crooked.partitions()));
            // And one row less is noticed.
            let before = crooked.bucket(rows[0].partition());
            crooked.remove(&rows[0]);
            prop_assert_ne!(before, crooked.bucket(rows[0].partition()));
            rows[1..].iter().for_each(|row| crooked.remove(row));
            prop_assert_eq!(crooked.partitions().map(|(_, bucket)| bucket).fold(Bucket::default(), Bucket::and), Bucket::default());
            prop_assert_eq!(crooked.partitions().count(), 0);
        }

        #[test]
        fn what_is_compared_is_in_the_digest(seed: u64) {
            let mut row = row(&mut Prng::new(seed), 1);
            let before = row.digest();
            row.bytes += 1;
            prop_assert_eq!(row.digest(), before);
            row.root = !row.root;
            prop_assert_ne!(row.digest(), before);
        }
    }
}
