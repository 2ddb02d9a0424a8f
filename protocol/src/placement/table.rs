//! The table of replica sets of one topology.

use super::candidates::Sieve;
use super::contest::{Choice, Contest, Entrant};
use super::partition::Partition;
use super::tuning;
use crate::PeerId;
use crate::limits::PARTITIONS;
use crate::topology::{Topology, Weight};

/// The replica set of every partition at one epoch.
///
/// Memory: 2 bytes for each copy of a partition. Share it behind an `Arc`.
#[derive(Clone, Debug)]
pub struct Placement {
    pub(super) topology: Topology,
    pub(super) contest: Contest,
    /// Members by index, `contest.copies` for each partition, best first.
    pub(super) table: Vec<u16>,
}

impl Placement {
    /// Returns the placement of a topology.
    ///
    /// A topology with weights is placed by them; for one without, weights are tuned first, which is
    /// deterministic and depends on ids, zones, capacities and the replica count alone. CPU: 60 ms for
    /// 20 peers, 2 s for 1,000, some 20 s for 10,000. See `protocol/decisions/0003-placement.md`.
    #[must_use]
    pub fn new(topology: &Topology) -> Self {
        let mut contest = Contest::new(topology);
        let table = if topology.weights().is_empty() {
            tuning::found(&mut contest)
        } else {
            table_of(&contest)
        };
        Self { topology: topology.clone(), contest, table }
    }

    /// Returns the topology that is placed.
    #[must_use]
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Returns the topology with the weights by which it is placed: the value to commit, whose placement
    /// is this one again.
    #[must_use]
    pub fn tuned_topology(&self) -> Topology {
        let weight = |id| {
            let member = self.contest.find(id).map(usize::from);
            member.and_then(|index| self.contest.members.get(index)).map_or(0, |m| m.weight)
        };
        let weights = self.topology.peers().iter().map(|peer| Weight(weight(peer.id))).collect();
        self.topology.clone().with_weights(weights)
    }

    /// Returns the peers that should hold a partition, best first, in distinct zones while zones last.
    ///
    /// Result: as many as the topology's replica count, fewer only when fewer peers have capacity. Cost: O(1).
    pub fn replica_set(
        &self,
        partition: Partition,
    ) -> impl ExactSizeIterator<Item = PeerId> + Clone + '_ {
        self.row(partition).iter().map(|member| self.id(*member))
    }

    /// Says whether a peer should hold a partition. Cost: O(1).
    #[must_use]
    pub fn is_replica(&self, partition: Partition, peer: PeerId) -> bool {
        self.replica_set(partition).any(|id| id == peer)
    }

    /// Returns the first `count` peers with capacity in the order in which they deserve a partition:
    /// the replica set, then spares, in distinct zones while zones last.
    ///
    /// Result: `count` distinct peers, or all when fewer have capacity. Cost: O(peers · log peers).
    #[must_use]
    pub fn ranked(&self, partition: Partition, count: usize) -> Vec<PeerId> {
        if count <= self.contest.copies {
            return self.replica_set(partition).take(count).collect();
        }
        let mut entrants = Vec::new();
        self.contest.enter_all(partition_number(partition), &mut entrants);
        self.contest.take_turns(&mut entrants);
        entrants.iter().take(count).map(|entrant| self.id(entrant.member)).collect()
    }

    /// Returns the partitions that a peer should hold, in order. Cost: O(partitions).
    pub fn partitions_of(&self, peer: PeerId) -> impl Iterator<Item = Partition> + '_ {
        let member = self.contest.find(peer);
        Partition::all()
            .filter(move |partition| member.is_some_and(|m| self.row(*partition).contains(&m)))
    }

    /// Returns what each peer with capacity holds beside its fair share. Cost: O(peers + partitions).
    #[must_use]
    pub fn loads(&self) -> Vec<Load> {
        let held = held(&self.table, self.contest.members.len());
        let members = self.contest.members.iter().zip(held).zip(self.contest.shares());
        members
            .map(|((member, copies), share)| Load {
                peer: member.id,
                copies,
                fair_copies_q16: share,
            })
            .collect()
    }

    pub(super) fn row(&self, partition: Partition) -> &[u16] {
        let copies = self.contest.copies;
        let start = partition.index() * copies;
        self.table.get(start..start + copies).unwrap_or_default()
    }

    pub(super) fn id(&self, member: u16) -> PeerId {
        self.contest
            .members
            .get(usize::from(member))
            .map_or(PeerId::from_public_key([0; 32]), |m| m.id)
    }
}

/// What a peer holds of all partition copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Who.
    pub peer: PeerId,
    /// Partitions that it should hold.
    pub copies: u32,
    /// Its fair share of them, times 2^16: in proportion to capacity, as far as distinct zones let it.
    pub fair_copies_q16: u64,
}

/// Returns the index of a partition as a number.
pub(super) fn partition_number(partition: Partition) -> u32 {
    u32::try_from(partition.index()).unwrap_or(PARTITIONS - 1)
}

/// Returns the partitions that each member holds in a table.
pub(super) fn held(table: &[u16], members: usize) -> Vec<u32> {
    let mut held = vec![0; members];
    for member in table {
        if let Some(count) = held.get_mut(usize::from(*member)) {
            *count += 1;
        }
    }
    held
}

/// Writes a choice into its row of a table.
pub(super) fn put(table: &mut [u16], partition: u32, copies: usize, choice: &Choice) {
    let start = partition as usize * copies;
    let row = table.get_mut(start..start + copies).unwrap_or_default();
    row.iter_mut().zip(choice.as_slice()).for_each(|(slot, entrant)| *slot = entrant.member);
}

/// Returns the table that the weights of a contest give. Cost: O(members · partitions), 2 ns each.
pub(super) fn table_of(contest: &Contest) -> Vec<u16> {
    let sieve = Sieve::new(contest);
    let mut table = vec![0; contest.copies * PARTITIONS as usize];
    let mut entrants: Vec<Entrant> = Vec::new();
    for partition in 0..PARTITIONS {
        entrants.clear();
        sieve.pass(partition, &mut entrants);
        for entrant in &mut entrants {
            let member = contest.members.get(usize::from(entrant.member));
            entrant.score -= member.map_or(0, |m| m.weight);
        }
        let mut choice = contest.choose(&entrants, None);
        if !contest.is_final(&choice, sieve.bound()) {
            contest.enter_all(partition, &mut entrants);
            choice = contest.choose(&entrants, None);
        }
        put(&mut table, partition, contest.copies, &choice);
    }
    table
}

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;
