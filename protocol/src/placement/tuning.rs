//! Finding the weights under which everybody holds its fair share.
//!
//! Weights equal to capacities do not do: heavy peers are under-served, because nobody is chosen twice, and
//! with few copies for each peer chance alone loads some by a quarter too much. So weights are corrected
//! in two ways. *Balancing* moves all weights towards their targets by the ratio of what is wanted to what
//! is held. *Shedding* lowers the weight of each peer above its cap by exactly as much as
//! makes it lose its excess; what it loses goes to the next best, and nobody else is touched.

use super::candidates::{Candidates, Source};
use super::contest::{Contest, Entrant};
use super::score::{ONE, log2};
use super::share::{SHARE_BITS, SHARE_MAX, zone_bounds};
use super::table::{held, put, table_of};
use crate::limits::PARTITIONS;

/// Logarithm that stands for a certainty: a peer or zone that must be in every replica set.
const CERTAIN: i32 = 32 * ONE;

/// Copies a peer holds in the sample of partitions on which weights are balanced: their chance error of
/// 1.5 % is what a small cluster is off by before shedding.
const SAMPLE_COPIES: usize = 4096;

/// Partitions on which weights are first brought near.
const COARSE_PARTITIONS: usize = 4096;

/// Steps of balancing at most: on the coarse sample, on the larger one, on all partitions.
const COARSE_STEPS: usize = 5;
const SAMPLE_STEPS: usize = 6;
const FINE_STEPS: usize = 8;

/// Above this many members weights are aimed, not balanced: a thousand copies each have a chance error
/// that a ratio amplifies.
const BALANCED_MEMBERS_MAX: usize = 400;

/// Steps of aiming. Each leaves a third to a half of what was off; after six, one copy in 400 is.
const AIM_STEPS: usize = 6;

/// Rounds of shedding at most; measured: 5 to 40.
const SHED_ROUNDS_MAX: usize = 64;

/// Tunes the weights of a contest from nothing, and returns the table they give.
pub(super) fn found(contest: &mut Contest) -> Vec<u16> {
    let shares = contest.shares();
    let targets = Targets::new(contest, shares);
    targets.guess(contest);
    if contest.copies == contest.members.len() {
        return table_of(contest);
    }
    let wanted = SAMPLE_COPIES * contest.members.len() / contest.copies;
    let sample = wanted.clamp(COARSE_PARTITIONS, PARTITIONS as usize);
    let candidates = Candidates::new(contest, u32::try_from(sample).unwrap_or(PARTITIONS));
    let is_whole = sample == PARTITIONS as usize;
    if contest.members.len() > BALANCED_MEMBERS_MAX {
        targets.aim(contest, &candidates);
    } else {
        targets.balance(contest, &candidates, COARSE_PARTITIONS, COARSE_STEPS);
        let steps = if is_whole { FINE_STEPS } else { SAMPLE_STEPS };
        targets.balance(contest, &candidates, sample, steps);
    }
    let source = if is_whole { Source::Found(&candidates) } else { Source::All };
    let mut table = if is_whole { source.table(contest) } else { table_of(contest) };
    let caps = founding_caps(&targets.shares);
    let before = table.clone();
    shed(contest, &mut table, source, &caps, &before, u64::MAX);
    table
}

/// Returns the most copies that a peer of this share should ever hold: 1.05 of it, or its share rounded
/// up for those who are to hold less than ten copies.
pub(super) fn hard_cap(share: u64) -> u32 {
    let floor = |share: u64| u32::try_from(share >> SHARE_BITS).unwrap_or(u32::MAX);
    let cap = floor(share + share / 20);
    // Rounding down by more than a tenth would leave too little room for all copies.
    if (u64::from(cap) << SHARE_BITS) < share - share / 10 { cap + 1 } else { cap }
}

/// Returns the caps of a founding: lower than the hard ones, so that others can leave later without
/// pushing anybody above those.
fn founding_caps(shares: &[u64]) -> Vec<u32> {
    let soft = |share: u64| {
        let near = u32::try_from((share + share / 32) >> SHARE_BITS).unwrap_or(u32::MAX);
        let up = u32::try_from(share.div_ceil(1 << SHARE_BITS)).unwrap_or(u32::MAX);
        near.max(up).min(hard_cap(share).saturating_sub(1).max(1))
    };
    let wanted = shares.iter().sum::<u64>() >> SHARE_BITS;
    let caps: Vec<u32> = shares.iter().map(|share| soft(*share)).collect();
    let hard: Vec<u32> = shares.iter().map(|share| hard_cap(*share)).collect();
    let room = |caps: &[u32]| caps.iter().map(|cap| u64::from(*cap)).sum::<u64>();
    let enough = wanted + wanted / 400;
    if room(&caps) >= enough {
        return caps;
    }
    if room(&hard) >= enough {
        return hard;
    }
    hard.into_iter().map(|cap| cap + 1).collect()
}

/// What peers and zones are to hold.
struct Targets {
    shares: Vec<u64>,
    zones: Vec<ZoneTarget>,
    /// Whether each zone sends at most one peer: then only its best counts.
    is_distinct: bool,
}

#[derive(Clone, Copy)]
struct ZoneTarget {
    share: u64,
    most: u64,
}

impl Targets {
    fn new(contest: &Contest, shares: Vec<u64>) -> Self {
        let bounds = zone_bounds(&contest.zone_sizes, contest.copies);
        let sums = contest.zone_sums(&shares);
        let zones =
            sums.iter().zip(bounds).map(|(share, b)| ZoneTarget { share: *share, most: b.most });
        let count = contest.zone_sizes.len();
        Self { zones: zones.collect(), is_distinct: count > 1 && count >= contest.copies, shares }
    }

    /// Sets weights that would do if choices were independent.
    fn guess(&self, contest: &mut Contest) {
        for (member, share) in contest.members.iter_mut().zip(&self.shares) {
            let Some(zone) = self.zones.get(usize::from(member.zone)) else { continue };
            member.weight = self.attraction(*share, zone.share, zone.most);
        }
    }

    /// Returns the weight that holds `share` in a zone that holds `zone_share` if choices were independent.
    fn attraction(&self, share: u64, zone_share: u64, zone_most: u64) -> i32 {
        if !self.is_distinct {
            return odds(share, SHARE_MAX);
        }
        // The zone contends as a whole, and within it only the best counts.
        odds(zone_share, zone_most) + log2(share.max(1)) - log2(zone_share.max(1))
    }

    /// Corrects weights by what the first `sample` partitions give, at most `steps` times.
    fn balance(&self, contest: &mut Contest, candidates: &Candidates, sample: usize, steps: usize) {
        let mut entrants = Vec::new();
        for _ in 0..steps {
            let mut counts = vec![0u64; contest.members.len()];
            let bound = candidates.bound(contest);
            for partition in (0..PARTITIONS).take(sample) {
                let source = Source::Found(candidates);
                let choice = source.choose(contest, partition, bound, &mut entrants, None);
                for entrant in choice.as_slice() {
                    if let Some(count) = counts.get_mut(usize::from(entrant.member)) {
                        *count += 1;
                    }
                }
            }
            let scale = SHARE_MAX / sample as u64;
            counts.iter_mut().for_each(|count| *count *= scale);
            if self.are_met(&counts, scale) {
                return;
            }
            let sums = contest.zone_sums(&counts);
            for (index, member) in contest.members.iter_mut().enumerate() {
                let zone = usize::from(member.zone);
                let (Some(share), Some(holds)) = (self.shares.get(index), counts.get(index)) else {
                    continue;
                };
                let (Some(target), Some(sum)) = (self.zones.get(zone), sums.get(zone)) else {
                    continue;
                };
                // Half a copy stands for none: of nothing there is no logarithm.
                let wanted = self.attraction(*share, target.share, target.most);
                let got = self.attraction((*holds).max(scale / 2), *sum, target.most);
                member.weight += (wanted - got).clamp(-2 * ONE, 2 * ONE);
            }
        }
    }

    /// Gives each member the weight at which it would hold its share if the others kept theirs, again
    /// and again.
    ///
    /// With few copies for each member this is exact where a ratio of copies says little.
    fn aim(&self, contest: &mut Contest, candidates: &Candidates) {
        let mut needs: Vec<Vec<i32>> = vec![Vec::new(); contest.members.len()];
        for _ in 0..AIM_STEPS {
            let counts = find_needs(contest, candidates, &mut needs);
            let members = contest.members.iter_mut().zip(&mut needs);
            for ((member, needs), (share, count)) in members.zip(self.shares.iter().zip(counts)) {
                let target = u32::try_from(share >> SHARE_BITS).unwrap_or(u32::MAX).max(1);
                let last = (target as usize).min(needs.len()).checked_sub(1);
                if let Some(last) = last.filter(|_| count != target && count != target + 1) {
                    let need = *needs.select_nth_unstable(last).1;
                    if need > i32::MIN {
                        member.weight = need;
                    }
                }
                needs.clear();
            }
        }
    }

    /// Says whether everybody holds its share up to a copy of the sample or one per cent.
    fn are_met(&self, holds: &[u64], copy: u64) -> bool {
        let mut pairs = self.shares.iter().zip(holds);
        pairs.all(|(share, holds)| share.abs_diff(*holds) <= copy.max(share / 100))
    }
}

/// Collects the weight that each member needs to hold each partition it is a candidate for, the others
/// keeping theirs. Returns how many it holds.
fn find_needs(contest: &Contest, candidates: &Candidates, needs: &mut [Vec<i32>]) -> Vec<u32> {
    let source = Source::Found(candidates);
    let bound = source.bound(contest);
    let mut counts = vec![0; contest.members.len()];
    let mut entrants = Vec::new();
    for partition in 0..PARTITIONS {
        let choice = source.choose(contest, partition, bound, &mut entrants, None);
        for entrant in &entrants {
            let index = usize::from(entrant.member);
            let Some(member) = contest.members.get(index) else { continue };
            let rival = if choice.as_slice().contains(entrant) {
                counts.iter_mut().skip(index).take(1).for_each(|count| *count += 1);
                let others = contest.choose(&entrants, Some(entrant.member));
                let mut next = others.as_slice().iter().filter(|e| !choice.as_slice().contains(e));
                next.next().copied()
            } else {
                contest.displaced(&choice, member.zone)
            };
            let need = rival.map_or(i32::MIN, |rival| {
                let tie = i32::from(entrant.member > rival.member);
                entrant.score.saturating_add(member.weight) - rival.score + tie
            });
            needs.iter_mut().skip(index).take(1).for_each(|needs| needs.push(need));
        }
    }
    counts
}

/// Lowers the weights of those who hold more than their caps until nobody does, or until `budget` copies
/// have moved since the table was `before`.
pub(super) fn shed(
    contest: &mut Contest,
    table: &mut [u16],
    source: Source<'_>,
    caps: &[u32],
    before: &[u16],
    budget: u64,
) {
    let rows = table.chunks_exact(contest.copies).zip(before.chunks_exact(contest.copies));
    let mut moved = rows.map(|(row, old)| copies_moved(row, old)).sum::<u64>();
    let mut margins: Vec<Vec<i32>> = vec![Vec::new(); contest.members.len()];
    for _ in 0..SHED_ROUNDS_MAX {
        let counts = held(table, contest.members.len());
        let excess: Vec<u32> =
            counts.iter().zip(caps).map(|(count, cap)| excess_of(*count, *cap)).collect();
        let all = excess.iter().map(|excess| u64::from(*excess)).sum::<u64>();
        // The last hundredth is not worth the rounds.
        if all == 0 || moved >= budget - budget / 128 {
            break;
        }
        let affected = find_margins(contest, table, source, &excess, &mut margins);
        let allowed = (budget - moved).min(all);
        for ((member, excess), margins) in contest.members.iter_mut().zip(&excess).zip(&mut margins)
        {
            // Rounded up: the last copy of the budget may be spent by several.
            let count = (u64::from(*excess) * allowed).div_ceil(all);
            lower(&mut member.weight, margins, usize::try_from(count).unwrap_or(usize::MAX));
            margins.clear();
        }
        moved = choose_again(contest, table, before, source, &affected, moved);
    }
}

/// Returns how many copies are to go when `count` are held: somewhat more than the excess, so that those
/// who pass copies to each other come to an end.
fn excess_of(count: u32, cap: u32) -> u32 {
    if count <= cap { 0 } else { count - (cap - cap / 256) }
}

/// Lowers a weight until the `count` copies with the smallest margins are lost, and on to where the next
/// one would be: otherwise two peers at their caps could pass one copy back and forth by tiny steps.
/// Source: the bid of Bertsekas' auction algorithm, 1988.
fn lower(weight: &mut i32, margins: &mut [i32], count: usize) {
    if count == 0 {
        return;
    }
    margins.sort_unstable();
    // A margin without end belongs to a copy that nobody else can take.
    let finite = margins.partition_point(|margin| *margin < i32::MAX);
    let finite = margins.get(..finite).unwrap_or_default();
    let last = finite.get(count - 1).or(finite.last()).copied().unwrap_or(0);
    let next = finite.get(count).map_or(last, |next| next - 1);
    *weight -= next.max(last);
}

/// Collects by how much the weight of each peer with an excess has to fall for it to lose each of its
/// partitions, and returns those partitions.
fn find_margins(
    contest: &Contest,
    table: &[u16],
    source: Source<'_>,
    excess: &[u32],
    margins: &mut [Vec<i32>],
) -> Vec<u32> {
    let mut affected = Vec::new();
    let mut entrants: Vec<Entrant> = Vec::new();
    let bound = source.bound(contest);
    for (partition, row) in (0..PARTITIONS).zip(table.chunks_exact(contest.copies)) {
        let mut is_affected = false;
        for member in row {
            let index = usize::from(*member);
            if excess.get(index).is_none_or(|excess| *excess == 0) {
                continue;
            }
            is_affected = true;
            let others = source.choose(contest, partition, bound, &mut entrants, Some(*member));
            let mut next = others.as_slice().iter().filter(|e| !row.contains(&e.member));
            let margin = next.next().map_or(i32::MAX, |next| {
                // One more when a tie would go to the holder.
                let tie = i32::from(*member < next.member);
                next.score.saturating_sub(contest.score(*member, partition)).saturating_add(tie)
            });
            if let Some(mine) = margins.get_mut(index) {
                mine.push(margin);
            }
        }
        if is_affected {
            affected.push(partition);
        }
    }
    affected
}

/// Chooses anew for some partitions, and returns how many copies then differ from `before`, of which
/// `moved` did.
fn choose_again(
    contest: &Contest,
    table: &mut [u16],
    before: &[u16],
    source: Source<'_>,
    some: &[u32],
    mut moved: u64,
) -> u64 {
    let mut entrants = Vec::new();
    let bound = source.bound(contest);
    for partition in some {
        let start = *partition as usize * contest.copies;
        let at = start..start + contest.copies;
        let old = before.get(at.clone()).unwrap_or_default();
        let differ = |table: &[u16]| copies_moved(table.get(at.clone()).unwrap_or_default(), old);
        moved -= differ(table);
        let choice = source.choose(contest, *partition, bound, &mut entrants, None);
        put(table, *partition, contest.copies, &choice);
        moved += differ(table);
    }
    moved
}

/// Returns how many members of a row were not in the old one.
fn copies_moved(row: &[u16], old: &[u16]) -> u64 {
    row.iter().filter(|member| !old.contains(member)).count() as u64
}

/// Returns the logarithm of `part : whole - part`, within what stands for certainty.
fn odds(part: u64, whole: u64) -> i32 {
    let part = part.min(whole);
    (log2(part.max(1)) - log2((whole - part).max(1))).clamp(-CERTAIN, CERTAIN)
}
