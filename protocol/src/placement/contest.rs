//! The contest of peers for a partition: who scores how much, and who is chosen.
//!
//! Zones take turns: in each turn every zone that has a peer left sends its best one, and within a turn
//! the best scores win. So copies lie in distinct zones while zones last, and are spread evenly over the
//! zones after that. A score is better when it is lower; ties go to the lower peer id.

use std::collections::BTreeMap;

use super::score::{draw, partition_key, peer_seed, waiting};
use super::share::{fair_shares, zone_bounds};
use crate::PeerId;
use crate::limits::REPLICAS_MAX;
use crate::topology::{Topology, Weight, Zone};

/// A peer that takes part: one with capacity.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: PeerId,
    pub(super) capacity_bytes: u64,
    pub(super) seed: u64,
    pub(super) zone: u16,
    pub(super) weight: i32,
}

/// A member's score for one partition.
///
/// Ordered by score, then by member. Has the zone with it, because choosing is what takes the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entrant {
    pub(super) score: i32,
    pub(super) member: u16,
    pub(super) zone: u16,
}

/// The chosen members of one partition, best first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice {
    chosen: [Entrant; REPLICAS_MAX as usize],
    len: usize,
}

impl Choice {
    /// Returns the chosen members, best first.
    pub(super) fn as_slice(&self) -> &[Entrant] {
        self.chosen.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, entrant: Entrant) {
        if let Some(slot) = self.chosen.get_mut(self.len) {
            *slot = entrant;
            self.len += 1;
        }
    }

    /// Puts an entrant where its score belongs, in place of the one at `at`, or of nobody when that is the
    /// end. The one at `at` is worse.
    fn put(&mut self, entrant: Entrant, at: usize) {
        let mut at = at;
        self.len = self.len.max(at + 1).min(self.chosen.len());
        while let Some(better) = at.checked_sub(1).and_then(|before| self.chosen.get(before)) {
            if *better < entrant {
                break;
            }
            let better = *better;
            self.chosen.iter_mut().skip(at).take(1).for_each(|slot| *slot = better);
            at -= 1;
        }
        self.chosen.iter_mut().skip(at).take(1).for_each(|slot| *slot = entrant);
    }
}

/// The members of a topology with their zones and weights.
#[derive(Clone, Debug)]
pub(super) struct Contest {
    /// In order of their ids.
    pub(super) members: Vec<Member>,
    /// Members of each zone.
    pub(super) zone_sizes: Vec<usize>,
    /// Copies of each partition: the replica count, or all members when they are fewer.
    pub(super) copies: usize,
}

impl Contest {
    /// Returns the contest of a topology; weights are 0 where it has none.
    pub(super) fn new(topology: &Topology) -> Self {
        let mut zones: BTreeMap<&Zone, u16> = BTreeMap::new();
        let mut members = Vec::new();
        let mut zone_sizes: Vec<usize> = Vec::new();
        for (index, peer) in topology.peers().iter().enumerate() {
            // `CLUSTER_PEERS_MAX` is far below; more would not fit the table's indexes.
            if peer.capacity_bytes == 0 || members.len() >= usize::from(u16::MAX) {
                continue;
            }
            let next = u16::try_from(zones.len()).unwrap_or(u16::MAX);
            let zone = *zones.entry(&peer.zone).or_insert(next);
            match zone_sizes.get_mut(usize::from(zone)) {
                Some(size) => *size += 1,
                None => zone_sizes.push(1),
            }
            let weight = topology.weights().get(index).copied().unwrap_or(Weight(0)).0;
            members.push(Member {
                id: peer.id,
                capacity_bytes: peer.capacity_bytes,
                seed: peer_seed(peer.id),
                zone,
                weight,
            });
        }
        let copies = topology.replicas().get().min(members.len());
        Self { members, zone_sizes, copies }
    }

    /// Returns the fair share of each member.
    pub(super) fn shares(&self) -> Vec<u64> {
        let peers: Vec<(u64, usize)> =
            self.members.iter().map(|m| (m.capacity_bytes, usize::from(m.zone))).collect();
        fair_shares(&peers, &zone_bounds(&self.zone_sizes, self.copies), self.copies)
    }

    /// Returns the sum over each zone of a value of each member.
    pub(super) fn zone_sums(&self, values: &[u64]) -> Vec<u64> {
        let mut sums = vec![0; self.zone_sizes.len()];
        for (member, value) in self.members.iter().zip(values) {
            if let Some(sum) = sums.get_mut(usize::from(member.zone)) {
                *sum += value;
            }
        }
        sums
    }

    /// Returns the index of a member by its id.
    pub(super) fn find(&self, id: PeerId) -> Option<u16> {
        let index = self.members.binary_search_by_key(&id, |member| member.id).ok()?;
        u16::try_from(index).ok()
    }

    fn zone(&self, member: u16) -> u16 {
        self.members.get(usize::from(member)).map_or(0, |m| m.zone)
    }

    /// Returns the score of one member for a partition. Cost: 5 ns.
    pub(super) fn score(&self, member: u16, partition: u32) -> i32 {
        self.members
            .get(usize::from(member))
            .map_or(i32::MAX, |m| waiting(draw(m.seed, partition_key(partition))) - m.weight)
    }

    /// Fills `entrants` with every member's score for a partition. Cost: O(members).
    pub(super) fn enter_all(&self, partition: u32, entrants: &mut Vec<Entrant>) {
        let key = partition_key(partition);
        entrants.clear();
        entrants.extend((0..).zip(&self.members).map(|(member, m)| Entrant {
            score: waiting(draw(m.seed, key)) - m.weight,
            member,
            zone: m.zone,
        }));
    }

    /// Returns a row of the table as the choice it came from. Cost: O(copies).
    pub(super) fn choice_of(&self, row: &[u16], partition: u32) -> Choice {
        let mut entrants = [Entrant::default(); REPLICAS_MAX as usize];
        for (entrant, member) in entrants.iter_mut().zip(row) {
            let (score, zone) = (self.score(*member, partition), self.zone(*member));
            *entrant = Entrant { score, member: *member, zone };
        }
        self.choose(entrants.get(..row.len()).unwrap_or_default(), None)
    }

    /// Returns the best `copies` of the entrants, without `excluded`. Cost: O(entrants).
    pub(super) fn choose(&self, entrants: &[Entrant], excluded: Option<u16>) -> Choice {
        let zones = self.zone_sizes.len();
        if zones > 1 && zones < self.copies {
            let mut others: Vec<Entrant> =
                entrants.iter().copied().filter(|e| Some(e.member) != excluded).collect();
            self.take_turns(&mut others);
            let mut choice = Choice::default();
            others.into_iter().take(self.copies).for_each(|entrant| choice.push(entrant));
            return choice;
        }
        // The turns of one zone are its order; with zones to spare there is only one turn.
        let is_distinct = zones > 1;
        let mut choice = Choice::default();
        let mut worst = Entrant { score: i32::MAX, member: u16::MAX, zone: u16::MAX };
        for entrant in entrants {
            if *entrant >= worst || Some(entrant.member) == excluded {
                continue;
            }
            let chosen = choice.as_slice();
            let rival = chosen.iter().position(|e| is_distinct && e.zone == entrant.zone);
            let at = match rival {
                Some(at) if chosen.get(at).is_some_and(|rival| rival < entrant) => continue,
                Some(at) => at,
                None => chosen.len().min(self.copies - 1),
            };
            choice.put(*entrant, at);
            if choice.len == self.copies {
                worst = choice.as_slice().last().copied().unwrap_or(worst);
            }
        }
        choice
    }

    /// Sorts entrants into the order in which they deserve the partition: by turn, then by score.
    pub(super) fn take_turns(&self, entrants: &mut Vec<Entrant>) {
        entrants.sort_unstable();
        let mut turns = vec![0u32; self.zone_sizes.len()];
        let mut order: Vec<(u32, Entrant)> = entrants
            .iter()
            .map(|entrant| {
                let mut turn = 0;
                if let Some(next) = turns.get_mut(usize::from(entrant.zone)) {
                    turn = *next;
                    *next += 1;
                }
                (turn, *entrant)
            })
            .collect();
        order.sort_unstable();
        entrants.clear();
        entrants.extend(order.into_iter().map(|(_, entrant)| entrant));
    }

    /// Says whether a choice made from the entrants with scores up to `bound` is the choice from all.
    pub(super) fn is_final(&self, choice: &Choice, bound: i32) -> bool {
        let chosen = choice.as_slice();
        if chosen.len() < self.copies || chosen.iter().any(|entrant| entrant.score > bound) {
            return false;
        }
        let zones = self.zone_sizes.len();
        if zones == 1 || zones >= self.copies {
            return true;
        }
        let held =
            |zone: usize| chosen.iter().filter(|entrant| usize::from(entrant.zone) == zone).count();
        let last_turn = (0..zones).map(held).max().unwrap_or(0).saturating_sub(1);
        // A zone that missed a turn before the last may have a peer beyond the bound.
        let mut sizes = self.zone_sizes.iter().enumerate();
        sizes.all(|(zone, size)| held(zone) >= last_turn.min(*size))
    }

    /// Returns which of the chosen gives way when a new member of `zone` does best there, or `None` when
    /// the zone had no peer left for its turn: then the new one is chosen whatever its score is.
    pub(super) fn displaced(&self, choice: &Choice, zone: u16) -> Option<Entrant> {
        let chosen = choice.as_slice();
        let held = |zone| chosen.iter().filter(|e| e.zone == zone).count();
        let last_turn = chosen.iter().map(|e| held(e.zone)).max()?.saturating_sub(1);
        // Within a zone the choice is in order of score, so the one of its turn `n` is its nth.
        let of_turn =
            |zone: u16, turn: usize| chosen.iter().filter(|e| e.zone == zone).nth(turn).copied();
        let mine = held(zone);
        if mine > last_turn {
            return of_turn(zone, last_turn);
        }
        if mine < last_turn {
            return None;
        }
        // The zone's worst is pushed into the last turn, where it contends with those that won it.
        let pushed = mine.checked_sub(1).and_then(|turn| of_turn(zone, turn));
        let winners = chosen.iter().filter_map(|e| of_turn(e.zone, last_turn));
        winners.chain(pushed).max()
    }
}
