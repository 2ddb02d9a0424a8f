//! From what comparisons found to what is to be copied.
//!
//! The steward of some partitions compares itself with everybody who should hold them, collects here who lacks what, and
//! draws the conclusions at the end: a row that it lacks itself may be lacked by others too, which no
//! single comparison tells. A peer that should not hold a partition any more hands over only what none of
//! those who should has; the rest is the steward's task, so that nothing is copied twice.
//! Bounded by [`REPAIR_ROWS_MAX`] rows: the first ones, in the order of blocks; the rest comes when those are
//! repaired. Never: says when a repair starts.

use std::collections::{BTreeMap, BTreeSet};

use super::comparison::View;
use super::row::{Row, RowKey};
use super::rows::{Missing, Side};
use crate::PeerId;
use crate::limits::REPAIR_ROWS_MAX;

/// A row that a peer lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// What is to be there: the block, referred to by the owner.
    pub row: Row,
    /// Who has it, best first: this peer, if it has. If that is another one than the target, the bytes pass
    /// through this peer.
    pub sources: Vec<PeerId>,
    /// Who lacks it.
    pub target: PeerId,
    /// Copies that there will be before this one, as far as is known: fewer is more urgent.
    pub copies: u8,
}

/// Who lacks a row.
#[derive(Clone, Debug)]
struct Finding {
    row: Row,
    is_here: bool,
    /// If it is here, who lacks it; otherwise, who has it.
    peers: Vec<PeerId>,
}

/// What comparisons with several peers found.
#[derive(Clone, Debug)]
pub struct Findings {
    rows: BTreeMap<(RowKey, bool), Finding>,
    rows_max: usize,
    /// Rows from here on are not remembered.
    cut: Option<RowKey>,
    compared: BTreeSet<PeerId>,
}

impl Default for Findings {
    fn default() -> Self {
        Self::new(REPAIR_ROWS_MAX)
    }
}

impl Findings {
    /// Returns findings of at most `rows_max` rows.
    #[must_use]
    pub const fn new(rows_max: usize) -> Self {
        Self { rows: BTreeMap::new(), rows_max, cut: None, compared: BTreeSet::new() }
    }

    /// Notes what a comparison with `peer` found.
    pub fn missing(&mut self, peer: PeerId, missing: Missing) {
        let Missing { row, side } = missing;
        if self.cut.is_some_and(|cut| cut <= row.key()) {
            return;
        }
        let is_here = side == Side::There;
        let fresh = || Finding { row, is_here, peers: Vec::new() };
        let finding = self.rows.entry((row.key(), row.root)).or_insert_with(fresh);
        if finding.is_here != is_here {
            // It came or went between two comparisons: the later one is right.
            *finding = fresh();
        }
        if !finding.peers.contains(&peer) {
            finding.peers.push(peer);
        }
        while self.rows.len() > self.rows_max {
            self.cut = self.rows.pop_last().map(|((key, _), _)| key);
        }
        if let Some(cut) = self.cut {
            self.rows.split_off(&(cut, false));
        }
    }

    /// Notes that all rows that matter were compared with `peer`: what was not found missing is there.
    pub fn compared(&mut self, peer: PeerId) {
        self.compared.insert(peer);
    }

    /// Says whether there were more rows than are remembered.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// Returns what this peer, as the steward, has to copy. Cost: O(rows · copies).
    #[must_use]
    pub fn repairs(&self, view: &View<'_>) -> Vec<Repair> {
        self.rows.values().flat_map(|finding| self.repairs_of(view, finding)).collect()
    }

    fn repairs_of(&self, view: &View<'_>, finding: &Finding) -> Vec<Repair> {
        let partition = finding.row.partition();
        if view.desired.steward(partition) != Some(view.own) {
            return Vec::new();
        }
        let named = |peer: &PeerId| finding.peers.contains(peer);
        let is_known = |peer: &PeerId| *peer == view.own || self.compared.contains(peer);
        let has = |peer: &PeerId| match (finding.is_here, *peer == view.own) {
            (is_here, true) => is_here,
            (true, false) => !named(peer) && is_known(peer),
            (false, false) => named(peer),
        };
        let lacks = |peer: &PeerId| match (finding.is_here, *peer == view.own) {
            (is_here, true) => !is_here,
            (true, false) => named(peer),
            (false, false) => !named(peer) && is_known(peer),
        };
        let (mut sources, mut targets) = (Vec::new(), Vec::new());
        for peer in view.desired.live(partition) {
            if has(&peer) {
                sources.push(peer);
            } else if lacks(&peer) {
                targets.push(peer);
            }
        }
        // Its own copy costs no reading over the network, and who passes bytes on keeps them first.
        sources.sort_by_key(|peer| *peer != view.own);
        targets.sort_by_key(|peer| *peer != view.own);
        let copies = u8::try_from(sources.len()).unwrap_or(u8::MAX);
        if sources.is_empty() {
            return Vec::new();
        }
        let repair = |(copies, target)| Repair {
            row: finding.row,
            sources: sources.clone(),
            target,
            copies,
        };
        (copies..).zip(targets).map(repair).collect()
    }

    /// Returns what this peer has to give to the stewards of partitions that it should not hold: what nobody of
    /// those who should, and are there, has. Cost: O(rows · copies).
    #[must_use]
    pub fn hand_overs(&self, view: &View<'_>) -> Vec<Repair> {
        let hand_over = |finding: &Finding| {
            let partition = finding.row.partition();
            let nobody_has =
                |peer: PeerId| self.compared.contains(&peer) && finding.peers.contains(&peer);
            let target = view.desired.steward(partition)?;
            let is_due = finding.is_here
                && !view.desired.should_hold(partition, view.own)
                && view.desired.live(partition).all(nobody_has);
            let sources = vec![view.own];
            is_due.then_some(Repair { row: finding.row, sources, target, copies: 0 })
        };
        self.rows.values().filter_map(hand_over).collect()
    }
}

#[cfg(test)]
#[path = "findings_test.rs"]
mod tests;
