//! The members that may come to hold each partition: those with the best scores under starting weights.
//!
//! With thousands of peers, choosing among all for every partition, again and again while weights are
//! tuned, would take minutes; some two dozen do as well. Whether they sufficed is checked for every choice,
//! and the few partitions where they did not are decided among all members.

use super::contest::{Choice, Contest, Entrant};
use super::score::{draw, partition_key, waiting};
use super::table::put;
use crate::limits::PARTITIONS;

/// Candidates of a partition on average. With 24, one choice in thousands needs all members.
const CANDIDATES_MEAN: usize = 24;

/// Finds the candidates of partitions.
#[derive(Debug)]
pub(super) struct Sieve {
    /// Seed, largest draw that makes a candidate, and zone, by member.
    limits: Vec<(u64, u64, u16)>,
    /// Worst score of a candidate.
    bound: i32,
}

impl Sieve {
    pub(super) fn new(contest: &Contest) -> Self {
        let everybody = contest.members.len() <= CANDIDATES_MEAN;
        let bound = if everybody { i32::MAX } else { bound_for(contest, CANDIDATES_MEAN) };
        let limit = |weight| if everybody { u64::MAX } else { largest_draw(bound, weight) };
        Self {
            limits: contest.members.iter().map(|m| (m.seed, limit(m.weight), m.zone)).collect(),
            bound,
        }
    }

    /// Adds the candidates of a partition, with the waiting times of weight one, to `found`.
    pub(super) fn pass(&self, partition: u32, found: &mut Vec<Entrant>) {
        let key = partition_key(partition);
        for (member, (seed, limit, zone)) in (0u16..).zip(&self.limits) {
            let draw = draw(*seed, key);
            if draw <= *limit {
                found.push(Entrant { score: waiting(draw), member, zone: *zone });
            }
        }
    }

    /// Returns the worst score of a candidate.
    pub(super) fn bound(&self) -> i32 {
        self.bound
    }
}

/// The candidates of partitions 0..n, and the weights they were found under.
#[derive(Debug)]
pub(super) struct Candidates {
    /// Scores are waiting times: without weights.
    entrants: Vec<Entrant>,
    /// Where the candidates of each partition end.
    ends: Vec<u32>,
    sieve: Sieve,
    weights: Vec<i32>,
}

impl Candidates {
    /// Returns the candidates of the first `count` partitions. Cost: O(members · count), 2 ns each.
    pub(super) fn new(contest: &Contest, count: u32) -> Self {
        let sieve = Sieve::new(contest);
        let weights = contest.members.iter().map(|member| member.weight).collect();
        let each = contest.members.len().min(CANDIDATES_MEAN);
        let mut entrants = Vec::with_capacity(each * count as usize);
        let ends = (0..count)
            .map(|partition| {
                sieve.pass(partition, &mut entrants);
                u32::try_from(entrants.len()).unwrap_or(u32::MAX)
            })
            .collect();
        Self { entrants, ends, sieve, weights }
    }

    /// Returns the worst score at which a choice among candidates is sure, under today's weights.
    pub(super) fn bound(&self, contest: &Contest) -> i32 {
        let raised = contest.members.iter().zip(&self.weights).map(|(m, weight)| m.weight - weight);
        self.sieve.bound().saturating_sub(raised.max().unwrap_or(0))
    }

    /// Fills `entrants` with the candidates' scores under today's weights.
    pub(super) fn enter(&self, contest: &Contest, partition: u32, entrants: &mut Vec<Entrant>) {
        let at = partition as usize;
        let end = |at: usize| self.ends.get(at).map_or(0, |end| *end as usize);
        let start = at.checked_sub(1).map_or(0, end);
        let mine = self.entrants.get(start..end(at)).unwrap_or_default();
        entrants.clear();
        entrants.extend(mine.iter().map(|entrant| Entrant {
            score: entrant.score
                - contest.members.get(usize::from(entrant.member)).map_or(0, |m| m.weight),
            ..*entrant
        }));
    }
}

/// Where the entrants of a partition come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    /// All members, each time.
    All,
    /// Candidates found before.
    Found(&'a Candidates),
}

impl Source<'_> {
    /// Returns the worst score at which a choice is sure, under today's weights. Cost: O(members).
    pub(super) fn bound(self, contest: &Contest) -> i32 {
        match self {
            Self::All => i32::MAX,
            Self::Found(candidates) => candidates.bound(contest),
        }
    }

    /// Chooses the members of a partition, without `excluded`; `bound` as of [`Self::bound`].
    pub(super) fn choose(
        self,
        contest: &Contest,
        partition: u32,
        bound: i32,
        entrants: &mut Vec<Entrant>,
        excluded: Option<u16>,
    ) -> Choice {
        if let Self::Found(candidates) = self {
            candidates.enter(contest, partition, entrants);
            let choice = contest.choose(entrants, excluded);
            if contest.is_final(&choice, bound) {
                return choice;
            }
        }
        contest.enter_all(partition, entrants);
        contest.choose(entrants, excluded)
    }

    /// Returns the table under today's weights.
    pub(super) fn table(self, contest: &Contest) -> Vec<u16> {
        let mut table = vec![0; contest.copies * PARTITIONS as usize];
        let mut entrants = Vec::new();
        let bound = self.bound(contest);
        for partition in 0..PARTITIONS {
            let choice = self.choose(contest, partition, bound, &mut entrants, None);
            put(&mut table, partition, contest.copies, &choice);
        }
        table
    }
}

/// Returns the score below which `wanted` members are expected for a partition.
fn bound_for(contest: &Contest, wanted: usize) -> i32 {
    let expected = |bound: i32| {
        let draws = contest.members.iter().map(|m| u128::from(largest_draw(bound, m.weight)));
        usize::try_from(draws.sum::<u128>() >> 64).unwrap_or(usize::MAX)
    };
    // Scores are logarithms between -64 and 6, less a weight.
    let weights = || contest.members.iter().map(|m| m.weight);
    let mut low = -(64 << 20) - weights().max().unwrap_or(0);
    let mut high = (6 << 20) - weights().min().unwrap_or(0);
    // To a hundredth: the count need not be exact.
    while high - low > 1 << 13 {
        let middle = low + (high - low) / 2;
        if expected(middle) >= wanted { high = middle } else { low = middle }
    }
    high
}

/// Returns the largest draw whose score is at most `bound` for a member of this weight.
fn largest_draw(bound: i32, weight: i32) -> u64 {
    let target = bound.saturating_add(weight);
    let (mut low, mut high) = (0u64, u64::MAX);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if waiting(middle) <= target { low = middle } else { high = middle - 1 }
    }
    low
}
