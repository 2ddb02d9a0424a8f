//! Change by one peer: weights are carried forward, so that little more moves than has to.
//!
//! Whoever joins gets the weight at which it wins its fair share; the others keep theirs, so they only
//! lose to it. When a peer leaves, the others keep their weights too, and only gain. Only those whom
//! the change leaves above their caps shed some copies, within a budget that bounds what moves.

use std::cmp::Ordering;

use super::candidates::Source;
use super::contest::{Contest, Entrant};
use super::share::SHARE_BITS;
use super::table::{Placement, held, put};
use super::tuning::{hard_cap, shed};
use crate::PeerId;
use crate::limits::PARTITIONS;
use crate::topology::{Epoch, Topology, TopologyPeer};

/// Of the copies that a change moves, one in this many more may move to bring others under their caps.
/// What is still above its cap then waits for the next change.
const SHED_PART: u64 = 11;

/// Stands in a table for a member that has left.
const NOBODY: u16 = u16::MAX;

impl Placement {
    /// Returns the placement with one more peer, or with another zone or capacity of a known one.
    ///
    /// Its [`Self::topology`] carries the weights: commit that value, and everybody computes the same.
    /// Moves: the newcomer's fair share and at most an eleventh more. Cost: O(partitions), 10 ms,
    /// and up to 200 ms when some have to shed.
    #[must_use]
    pub fn with_peer(&self, epoch: Epoch, peer: TopologyPeer) -> Self {
        if self.topology.peer(peer.id).is_some() {
            return self.without_peer(epoch, peer.id).with_peer(epoch, peer);
        }
        let tuned = self.tuned_topology();
        let at = tuned.peers().partition_point(|other| other.id < peer.id);
        let mut peers = tuned.peers().to_vec();
        let mut weights = tuned.weights().to_vec();
        let (id, has_capacity) = (peer.id, peer.capacity_bytes > 0);
        peers.insert(at, peer);
        weights.insert(at, crate::topology::Weight(0));
        let topology = Topology::new(epoch, tuned.replicas(), peers);
        let before = self.contest.members.len();
        if has_capacity && before <= tuned.replicas().get() {
            // Everybody holds everything, whatever its weight: there is nothing to carry forward.
            return Self::new(&topology);
        }
        let mut contest = Contest::new(&topology.clone().with_weights(weights));
        let mut table = self.table.clone();
        if let Some(newcomer) = contest.find(id) {
            table.iter_mut().filter(|m| **m >= newcomer).for_each(|m| *m += 1);
            let before = table.clone();
            let moved = admit(&mut contest, &mut table, newcomer);
            settle(&mut contest, &mut table, &before, moved);
        }
        Self { topology, contest, table }.tuned()
    }

    /// Returns the placement without a peer; the same one at the new epoch when there is no such peer.
    ///
    /// Its [`Self::topology`] carries the weights: commit that value, and everybody computes the same.
    /// Moves: what the peer held and at most an eleventh more. Cost: O(partitions), 10 ms,
    /// and up to 200 ms when some have to shed.
    #[must_use]
    pub fn without_peer(&self, epoch: Epoch, id: PeerId) -> Self {
        let tuned = self.tuned_topology();
        let kept = || tuned.peers().iter().zip(tuned.weights()).filter(|(peer, _)| peer.id != id);
        let peers = kept().map(|(peer, _)| peer.clone()).collect();
        let weights = kept().map(|(_, weight)| *weight).collect();
        let topology = Topology::new(epoch, tuned.replicas(), peers);
        let mut contest = Contest::new(&topology.clone().with_weights(weights));
        if contest.copies < self.contest.copies {
            return Self::new(&topology);
        }
        let mut table = self.table.clone();
        if let Some(leaver) = self.contest.find(id) {
            for member in &mut table {
                match (*member).cmp(&leaver) {
                    Ordering::Less => {}
                    Ordering::Equal => *member = NOBODY,
                    Ordering::Greater => *member -= 1,
                }
            }
            let before = table.clone();
            let moved = replace_nobody(&contest, &mut table);
            settle(&mut contest, &mut table, &before, moved);
        }
        Self { topology, contest, table }.tuned()
    }

    fn tuned(self) -> Self {
        Self { topology: self.tuned_topology(), ..self }
    }
}

/// Gives a new member the weight at which it wins its fair share, and enters it into the table. Returns
/// how many copies it won.
fn admit(contest: &mut Contest, table: &mut [u16], newcomer: u16) -> u64 {
    let index = usize::from(newcomer);
    let Some(zone) = contest.members.get(index).map(|m| m.zone) else { return 0 };
    let share = contest.shares().get(index).copied().unwrap_or(0);
    let wanted = usize::try_from(share >> SHARE_BITS).unwrap_or(usize::MAX);
    // The weight at which it wins each partition, and whom it displaces there.
    let mut needs: Vec<(i32, Option<u16>)> = Vec::with_capacity(PARTITIONS as usize);
    for (partition, row) in (0..PARTITIONS).zip(table.chunks_exact(contest.copies)) {
        let choice = contest.choice_of(row, partition);
        let loser = contest.displaced(&choice, zone);
        needs.push(match loser {
            Some(loser) => {
                let tie = i32::from(newcomer > loser.member);
                (contest.score(newcomer, partition) - loser.score + tie, Some(loser.member))
            }
            None => (i32::MIN, choice.as_slice().last().map(|last| last.member)),
        });
    }
    let mut order: Vec<i32> = needs.iter().map(|(need, _)| *need).collect();
    let nth = wanted.clamp(1, order.len()) - 1;
    let weight = *order.select_nth_unstable(nth).1;
    if let Some(member) = contest.members.get_mut(index) {
        member.weight = weight;
    }
    let mut won = 0;
    for (partition, (need, loser)) in (0..PARTITIONS).zip(needs) {
        if need > weight {
            continue;
        }
        won += 1;
        let start = partition as usize * contest.copies;
        let row = table.get_mut(start..start + contest.copies).unwrap_or_default();
        row.iter_mut().filter(|m| Some(**m) == loser).for_each(|m| *m = newcomer);
        let choice = contest.choice_of(row, partition);
        put(table, partition, contest.copies, &choice);
    }
    won
}

/// Chooses anew where a member has left. Returns how many copies that were.
fn replace_nobody(contest: &Contest, table: &mut [u16]) -> u64 {
    let mut entrants: Vec<Entrant> = Vec::new();
    let mut lost = 0;
    for (partition, start) in (0..PARTITIONS).zip((0..).step_by(contest.copies)) {
        let row = table.get(start..start + contest.copies).unwrap_or_default();
        if row.contains(&NOBODY) {
            lost += 1;
            let choice = Source::All.choose(contest, partition, i32::MAX, &mut entrants, None);
            put(table, partition, contest.copies, &choice);
        }
    }
    lost
}

/// Brings those above their caps back under them, within the budget of a change that moved `moved` copies
/// away from the table `before`.
fn settle(contest: &mut Contest, table: &mut [u16], before: &[u16], moved: u64) {
    let caps: Vec<u32> = contest.shares().iter().map(|share| hard_cap(*share)).collect();
    let counts = held(table, contest.members.len());
    if counts.iter().zip(&caps).any(|(count, cap)| count > cap) {
        shed(contest, table, Source::All, &caps, before, moved + moved / SHED_PART);
    }
}
