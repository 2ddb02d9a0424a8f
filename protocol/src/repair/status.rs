//! What `GET repair` shows: how many blocks lack how many copies, the rate, the time left, and how the scrub stands.
//!
//! One peer's view of the partitions whose steward it is, or the sum of several peers' views. Counts what waits in
//! a [`Plan`]; the scrub is told by the shell. Never: decides anything.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::plan::Plan;
use crate::limits::REPLICAS_MAX;
use crate::{Cid, Instant, PeerId};

/// Longest time over which the rate is the mean.
const WINDOW: Duration = Duration::from_secs(60);

/// Parts of the window that are counted apart.
const PARTS: u32 = 12;

/// How repair stands: answer to `GET repair`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepairStatus {
    /// Blocks with fewer copies than wanted.
    pub blocks_missing_copies: u64,
    /// Bytes that are to be copied for them.
    pub bytes_missing: u64,
    /// Bytes of those that lacked and were copied per second, by whichever peer, over the last minute or since the first of
    /// them.
    pub rate_bytes_per_s: u64,
    /// Milliseconds until all is copied at this rate; absent while there is no rate to tell by.
    pub left_ms: Option<u64>,
    /// How many blocks lack one copy, two copies and so on.
    #[serde(default)]
    pub blocks_by_missing_copies: Vec<u64>,
    /// Copies that were given up, with a dead letter each in the queue of the asked peer: nobody had the block.
    #[serde(default)]
    pub copies_given_up: u64,
    /// Whether there is more than is counted here.
    #[serde(default)]
    pub is_more: bool,
    /// How reading everything again stands.
    #[serde(default)]
    pub scrub: ScrubProgress,
}

/// How reading everything again stands at one peer, or at several together. Counted since they started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubProgress {
    /// Passes over everything that came to their end; of several peers, the fewest.
    pub passes: u64,
    /// The part of the present pass that is done, in millionths; of several peers, the smallest.
    pub done_millionths: u32,
    /// Milliseconds until the end of the present pass, or until the next one begins while none goes on.
    pub left_ms: u64,
    /// Bytes per second that it reads at; zero while no pass goes on.
    pub rate_bytes_per_s: u64,
    /// Blocks read.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Blocks found corrupt.
    pub blocks_corrupt: u64,
    /// Corrupt copies written anew, whoever found them.
    pub blocks_repaired: u64,
}

impl ScrubProgress {
    /// Returns how both stand together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            passes: self.passes.min(other.passes),
            done_millionths: self.done_millionths.min(other.done_millionths),
            left_ms: self.left_ms.max(other.left_ms),
            rate_bytes_per_s: self.rate_bytes_per_s.saturating_add(other.rate_bytes_per_s),
            blocks: self.blocks.saturating_add(other.blocks),
            bytes: self.bytes.saturating_add(other.bytes),
            blocks_corrupt: self.blocks_corrupt.saturating_add(other.blocks_corrupt),
            blocks_repaired: self.blocks_repaired.saturating_add(other.blocks_repaired),
        }
    }
}

impl RepairStatus {
    /// Returns the sum of two peers' views, whose partitions are different ones.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.blocks_missing_copies =
            self.blocks_missing_copies.saturating_add(other.blocks_missing_copies);
        self.bytes_missing = self.bytes_missing.saturating_add(other.bytes_missing);
        self.rate_bytes_per_s = self.rate_bytes_per_s.saturating_add(other.rate_bytes_per_s);
        let longest = self.blocks_by_missing_copies.len().max(other.blocks_by_missing_copies.len());
        self.blocks_by_missing_copies.resize(longest, 0);
        for (sum, more) in
            self.blocks_by_missing_copies.iter_mut().zip(&other.blocks_by_missing_copies)
        {
            *sum = sum.saturating_add(*more);
        }
        self.copies_given_up = self.copies_given_up.saturating_add(other.copies_given_up);
        self.is_more |= other.is_more;
        self.scrub = self.scrub.and(&other.scrub);
        // Peers repair beside each other: the last one ends it.
        self.left_ms = match (self.left_ms, other.left_ms) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (None, _) | (_, None) => None,
        };
        self
    }
}

/// Returns how the repairs of a plan stand. Cost: O(repairs).
#[must_use]
pub fn status(plan: &Plan, rate_bytes_per_s: u64, is_more: bool) -> RepairStatus {
    // A copy serves all owners of a block, who each have a repair of their own.
    let mut lacking: BTreeMap<Cid, (u32, Vec<PeerId>)> = BTreeMap::new();
    for repair in plan.repairs() {
        let (_, targets) = lacking.entry(repair.row.cid).or_insert((repair.row.bytes, Vec::new()));
        if !targets.contains(&repair.target) {
            targets.push(repair.target);
        }
    }
    let mut status = RepairStatus { rate_bytes_per_s, is_more, ..RepairStatus::default() };
    status.blocks_missing_copies = lacking.len() as u64;
    for (bytes, targets) in lacking.values() {
        let copies = targets.len();
        let bytes = u64::from(*bytes).saturating_mul(copies as u64);
        status.bytes_missing = status.bytes_missing.saturating_add(bytes);
        let longest = status.blocks_by_missing_copies.len().max(copies).min(REPLICAS_MAX.into());
        status.blocks_by_missing_copies.resize(longest, 0);
        let place = status.blocks_by_missing_copies.get_mut(copies.min(longest).saturating_sub(1));
        if let Some(count) = place {
            *count += 1;
        }
    }
    status.left_ms = match (status.bytes_missing, rate_bytes_per_s) {
        (0, _) if lacking.is_empty() => Some(0),
        (_, 0) => None,
        (bytes, rate) => Some(bytes.saturating_mul(1000).div_ceil(rate)),
    };
    status
}

/// Counts what was copied lately.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// Bytes by part of the window, the latest last.
    parts: VecDeque<(u64, u64)>,
}

impl Meter {
    /// Returns a meter that counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that so many bytes were copied.
    pub fn copied(&mut self, now: Instant, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let part = part_of(now);
        match self.parts.back_mut() {
            Some((last, sum)) if *last >= part => *sum = sum.saturating_add(bytes),
            Some(_) | None => self.parts.push_back((part, bytes)),
        }
        while self.parts.len() > PARTS as usize {
            self.parts.pop_front();
        }
    }

    /// Returns the bytes per second over the last minute, or since the first that were copied in it.
    #[must_use]
    pub fn bytes_per_second(&self, now: Instant) -> u64 {
        let part = part_of(now);
        let first = (part + 1).saturating_sub(u64::from(PARTS));
        let mut recent = self.parts.iter().filter(|(part, _)| *part >= first).peekable();
        let Some((begun, _)) = recent.peek() else { return 0 };
        let parts = (part + 1).saturating_sub(*begun);
        let bytes = recent.fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        bytes / parts.saturating_mul((WINDOW / PARTS).as_secs()).max(1)
    }
}

fn part_of(now: Instant) -> u64 {
    let part = u64::try_from((WINDOW / PARTS).as_nanos()).unwrap_or(u64::MAX);
    now.as_nanos() / part
}

#[cfg(test)]
#[path = "status_test.rs"]
mod tests;
