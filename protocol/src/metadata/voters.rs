//! Who votes: the next change of the voters of a cluster, one at a time.
//!
//! A cluster of 1 or 2 members has one voter, of 3 or 4 three, of 5 or 6 five, of 7 and more seven: what an odd number of
//! voters gains in losses survived, without a majority that is slow to reach. They are spread over zones, so that the
//! loss of a zone is the loss of as few as can be. Learners become voters before voters become learners, unless that
//! would put a majority at risk. Facts come from the leader; the same facts give the same change.
//! Never: a change after which the live voters are no majority; who is live is seen once more before a vote is taken
//! ([`is_confirmed`]).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::limits::{VOTER_AWAY, VOTER_LAG_MAX};
use crate::topology::Zone;

/// A member, as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterView {
    /// Its id in Raft.
    pub raft_id: u64,
    /// Where.
    pub zone: Zone,
    /// Whether it is draining or drained: it votes only if there is nobody else.
    pub draining: bool,
    /// How long the leader has not heard from it.
    pub away: Duration,
    /// Log entries that it is behind.
    pub lag: u64,
}

impl VoterView {
    /// Says whether it has been heard of lately.
    fn is_live(&self) -> bool {
        self.away < VOTER_AWAY
    }

    /// Says whether it could vote at once.
    fn is_ready(&self) -> bool {
        self.is_live() && self.lag <= VOTER_LAG_MAX
    }
}

/// One change of the voters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A learner becomes a voter.
    Promote(u64),
    /// A voter becomes a learner.
    Demote(u64),
    /// A learner takes a voter's place, in one change.
    Replace {
        /// The learner.
        promote: u64,
        /// The voter.
        demote: u64,
    },
}

impl Change {
    /// Returns whose vote it takes.
    #[must_use]
    pub const fn demoted(self) -> Option<u64> {
        match self {
            Self::Promote(_) => None,
            Self::Demote(demote) | Self::Replace { demote, .. } => Some(demote),
        }
    }

    /// Returns the voters after this change.
    #[must_use]
    pub fn applied(self, voters: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut after = voters.clone();
        match self {
            Self::Promote(promote) => drop(after.insert(promote)),
            Self::Demote(demote) => drop(after.remove(&demote)),
            Self::Replace { promote, demote } => {
                after.insert(promote);
                after.remove(&demote);
            }
        }
        after
    }
}

/// Returns how many voters a cluster should have with this many members that may vote.
#[must_use]
pub const fn voter_count(members: usize) -> usize {
    match members {
        0..=2 => 1,
        3..=4 => 3,
        5..=6 => 5,
        _ => 7,
    }
}

/// Returns the next change of the voters; none when they are as they should be, or cannot be changed safely now.
///
/// `members`: all members, the leader included. `voters`: who votes now; those who are no members any more leave as
/// soon as the others can do without them. `leader`: the asking leader itself, which is always kept for the last.
/// Cost: O(members · voters).
#[must_use]
pub fn next_change(members: &[VoterView], voters: &BTreeSet<u64>, leader: u64) -> Option<Change> {
    let views: BTreeMap<u64, &VoterView> = members.iter().map(|m| (m.raft_id, m)).collect();
    let plan = Plan { views, voters, leader };
    plan.candidates().into_iter().find(|change| plan.is_safe(*change))
}

/// Says whether a change may be made now that has been called for since `wanted_for`: whether of the voters, before and
/// after it, more than half were heard of in that time.
///
/// Whoever died a moment ago counts as live for [`VOTER_AWAY`], which is right for keeping its vote and wrong for
/// taking another's. A learner that becomes a voter is one more that is there, and needs no such proof.
#[must_use]
pub fn is_confirmed(
    change: Change,
    members: &[VoterView],
    voters: &BTreeSet<u64>,
    wanted_for: Duration,
) -> bool {
    let heard: BTreeSet<u64> =
        members.iter().filter(|view| view.away < wanted_for).map(|view| view.raft_id).collect();
    let has_majority =
        |voters: &BTreeSet<u64>| voters.intersection(&heard).count() > voters.len() / 2;
    matches!(change, Change::Promote(_))
        || (has_majority(voters) && has_majority(&change.applied(voters)))
}

/// Says whether the others could still agree without a member that votes until somebody takes its vote.
///
/// `live`: Raft ids of the members that are there, with or without it. One that does not vote may always leave.
#[must_use]
pub fn may_leave(raft_id: u64, live: &BTreeSet<u64>, voters: &BTreeSet<u64>) -> bool {
    let left = voters.iter().filter(|voter| **voter != raft_id && live.contains(voter)).count();
    !voters.contains(&raft_id) || left > voters.len() / 2
}

struct Plan<'a> {
    views: BTreeMap<u64, &'a VoterView>,
    voters: &'a BTreeSet<u64>,
    leader: u64,
}

/// How little a voter is worth keeping; higher goes first. Members that are gone, away, draining; then those in the
/// fullest zones; the leader last.
type Burden = (u8, usize, bool, u64);

impl Plan<'_> {
    /// Returns how many voters there should be: as many members as do not drain decide, or all if those are none.
    fn wanted(&self) -> usize {
        let staying = self.views.values().filter(|view| !view.draining).count();
        voter_count(if staying == 0 { self.views.len() } else { staying })
    }

    /// Returns changes in the order in which they are wanted.
    fn candidates(&self) -> Vec<Change> {
        let wanted = self.wanted();
        let best = self.best_learner();
        let worst = self.worst_voter();
        let mut changes = Vec::new();
        if self.voters.len() < wanted {
            changes.extend(best.map(Change::Promote));
        }
        if self.voters.len() > wanted {
            changes.extend(worst.map(|(_, voter)| Change::Demote(voter)));
        }
        if self.voters.len() >= wanted {
            changes.extend(self.replacement());
        } else if best.is_none() {
            // Too few, and nobody to be promoted: a voter that is gone for good only counts against a majority.
            let gone = worst.filter(|(burden, _)| burden.0 == GONE);
            changes.extend(gone.map(|(_, voter)| Change::Demote(voter)));
        }
        changes
    }

    /// Returns a change by which a voter that should not be one makes room for a learner that should.
    fn replacement(&self) -> Option<Change> {
        let (burden, demote) = self.worst_voter()?;
        let promote = self.best_learner();
        if burden.0 == KEPT {
            return self.spread();
        }
        match promote {
            Some(promote) => {
                let view = self.views.get(&promote)?;
                // Nothing is gained by one draining voter for another.
                (burden.0 > DRAINING || !view.draining)
                    .then_some(Change::Replace { promote, demote })
            }
            None => (burden.0 == GONE).then_some(Change::Demote(demote)),
        }
    }

    /// Returns a change that moves a vote from the fullest zone into one with at least two fewer.
    fn spread(&self) -> Option<Change> {
        let zones = self.votes_by_zone(self.voters);
        let count = |zone: &Zone| zones.get(zone).copied().unwrap_or(0);
        let promote = self.best_learner()?;
        let to = self.views.get(&promote).filter(|view| !view.draining)?;
        let (_, demote) = self.worst_voter()?;
        let from = self.views.get(&demote)?;
        (count(&from.zone) >= count(&to.zone) + 2).then_some(Change::Replace { promote, demote })
    }

    fn votes_by_zone(&self, voters: &BTreeSet<u64>) -> BTreeMap<&Zone, usize> {
        let mut zones: BTreeMap<&Zone, usize> = BTreeMap::new();
        for view in voters.iter().filter_map(|voter| self.views.get(voter)) {
            *zones.entry(&view.zone).or_default() += 1;
        }
        zones
    }

    /// Returns the learner to be promoted: one that does not drain, in the emptiest zone, the least behind.
    fn best_learner(&self) -> Option<u64> {
        let zones = self.votes_by_zone(self.voters);
        let learners = self.views.values().filter(|view| !self.voters.contains(&view.raft_id));
        let worth = |view: &&&VoterView| {
            let votes = zones.get(&view.zone).copied().unwrap_or(0);
            (view.draining, votes, view.lag, view.raft_id)
        };
        learners.filter(|view| view.is_ready()).min_by_key(worth).map(|view| view.raft_id)
    }

    /// Returns the voter to be demoted, and why.
    fn worst_voter(&self) -> Option<(Burden, u64)> {
        let zones = self.votes_by_zone(self.voters);
        let burden = |voter: &u64| match self.views.get(voter) {
            None => (GONE, 0, true, *voter),
            Some(view) => {
                let votes = zones.get(&view.zone).copied().unwrap_or(0);
                let why = match (view.is_live(), view.draining) {
                    (false, _) => AWAY,
                    (true, true) => DRAINING,
                    (true, false) => KEPT,
                };
                (why, votes, *voter != self.leader, *voter)
            }
        };
        self.voters.iter().map(|voter| (burden(voter), *voter)).max()
    }

    /// Says whether the live voters are a majority before and after a change, and there is a voter at all. A
    /// replacement passes through both sets at once, so it needs a majority of both.
    fn is_safe(&self, change: Change) -> bool {
        let is_live = |voter: &&u64| self.views.get(*voter).is_some_and(|view| view.is_live());
        let has_majority =
            |voters: &BTreeSet<u64>| voters.iter().filter(is_live).count() > voters.len() / 2;
        has_majority(self.voters) && has_majority(&change.applied(self.voters))
    }
}

/// No member any more.
const GONE: u8 = 3;
/// A member that has been away for long.
const AWAY: u8 = 2;
/// A member that drains.
const DRAINING: u8 = 1;
/// A member that votes well.
const KEPT: u8 = 0;
