//! Comparing rows: what one peer has of some partitions and another one lacks.
//!
//! Both sides are streams of rows in the same order, read page by page, and merged. Owns at most one page of each.
//! Never: reads a store; decides what is copied.

use std::collections::VecDeque;

use super::message::{Page, Question};
use super::row::{Row, RowKey};
use crate::limits::INVENTORY_PARTITIONS_MAX;
use crate::placement::Partition;
use crate::topology::Epoch;

/// One of the two that compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This peer.
    Here,
    /// The other one.
    There,
}

/// A row that one side has and the other has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub row: Row,
    /// Who lacks it.
    pub side: Side,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowStep {
    /// Ask the other peer for a page.
    Ask(Question),
    /// Read a page of this peer's rows of these partitions, behind a row.
    Read {
        /// Which, in order.
        partitions: Vec<Partition>,
        /// The row that the page begins behind.
        after: Option<RowKey>,
    },
    /// Everything is compared.
    Done,
}

/// Rows of one side that were read and not compared yet.
#[derive(Clone, Debug, Default)]
struct Stream {
    rows: VecDeque<Row>,
    after: Option<RowKey>,
    is_last: bool,
}

impl Stream {
    /// Takes the next page; says whether it can be the next one.
    fn take(&mut self, partitions: &[Partition], page: Page) -> bool {
        let first = page.rows.first().map(Row::key);
        let goes_on = first.is_none_or(|first| self.after.is_none_or(|after| after < first));
        let rises = page.rows.is_sorted_by(|one, next| one.key() < next.key());
        let asked = |row: &Row| partitions.binary_search(&row.partition()).is_ok();
        // An empty page that promises more would be asked for without end.
        let ends = page.is_last || !page.rows.is_empty();
        if !goes_on || !rises || !ends || self.is_last || !page.rows.iter().all(asked) {
            return false;
        }
        self.after = page.rows.last().map(Row::key).or(self.after);
        self.is_last = page.is_last;
        self.rows.extend(page.rows);
        true
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty() && !self.is_last
    }
}

/// The comparison of the rows of some partitions of this peer and another.
#[derive(Clone, Debug)]
pub struct RowComparison {
    epoch: Epoch,
    partitions: Vec<Partition>,
    here: Stream,
    there: Stream,
}

impl RowComparison {
    /// Returns the comparison of `partitions`, which are in order and at most [`INVENTORY_PARTITIONS_MAX`]; more
    /// are left out.
    #[must_use]
    pub fn new(epoch: Epoch, mut partitions: Vec<Partition>) -> Self {
        partitions.truncate(INVENTORY_PARTITIONS_MAX);
        Self { epoch, partitions, here: Stream::default(), there: Stream::default() }
    }

    /// Compares what was read, pushes what is missing (two pages of rows at most), and returns what it needs
    /// next. Of a row that only one side takes for a root, the root is what the other one lacks.
    pub fn next(&mut self, out: &mut Vec<Missing>) -> RowStep {
        loop {
            if self.there.is_empty() {
                let (partitions, after) = self.rest(&self.there);
                return RowStep::Ask(Question::Rows { epoch: self.epoch, partitions, after });
            }
            if self.here.is_empty() {
                let (partitions, after) = self.rest(&self.here);
                return RowStep::Read { partitions, after };
            }
            let (here, there) = (self.here.rows.front(), self.there.rows.front());
            let (here, there) = (here.copied(), there.copied());
            let order = match (here, there) {
                (None, None) => return RowStep::Done,
                (Some(_), None) => core::cmp::Ordering::Less,
                (None, Some(_)) => core::cmp::Ordering::Greater,
                (Some(here), Some(there)) => here.key().cmp(&there.key()),
            };
            if order.is_le() {
                self.here.rows.pop_front();
            }
            if order.is_ge() {
                self.there.rows.pop_front();
            }
            let is_root = |row: Option<Row>| row.is_some_and(|row| row.root);
            let lacks_there = order.is_lt() || order.is_eq() && is_root(here) && !is_root(there);
            let lacks_here = order.is_gt() || order.is_eq() && !is_root(here) && is_root(there);
            if let Some(row) = here.filter(|_| lacks_there) {
                out.push(Missing { row, side: Side::There });
            }
            if let Some(row) = there.filter(|_| lacks_here) {
                out.push(Missing { row, side: Side::Here });
            }
        }
    }

    /// Takes the page of a side that was asked for. Says whether it could be that: a page of the other peer that
    /// cannot is that peer's fault, and ends the comparison.
    #[must_use]
    pub fn page(&mut self, side: Side, page: Page) -> bool {
        match side {
            Side::Here => self.here.take(&self.partitions, page),
            Side::There => self.there.take(&self.partitions, page),
        }
    }

    /// Returns the partitions of which a stream has not seen the end, and where it goes on.
    fn rest(&self, stream: &Stream) -> (Vec<Partition>, Option<RowKey>) {
        let begun = stream.after.map(|after| Partition::of(&after.cid));
        let is_left = |partition: &&Partition| begun.is_none_or(|begun| begun <= **partition);
        (self.partitions.iter().filter(is_left).copied().collect(), stream.after)
    }
}
