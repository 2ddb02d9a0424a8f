//! Where an agreement stands, as one peer sees it, and a way to wait until that changes.
//!
//! Never: asks another peer.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::raft::Place;
use protocol::{Instant, PeerId};

use super::convert;
use super::types::{LogId, Metrics};
use super::watch::FairReceiver;

/// The id that a data directory got when it was formatted. No other directory ever has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RaftId(pub u64);

impl std::fmt::Display for RaftId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Names one state of the membership: every change of it makes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembershipAt(pub(super) Option<Place>);

/// One member of the Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seated {
    /// Its id.
    pub raft_id: RaftId,
    /// Who it is.
    pub peer: PeerId,
    /// Whether it votes.
    pub is_voter: bool,
    /// Entries of the leader's log that it lacks; known to the leader only.
    pub lag: Option<u64>,
    /// How long ago the leader last had a sign of life of it; known to the leader only.
    pub silent_for: Option<Duration>,
}

/// Where an agreement stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaStatus {
    /// This peer's id.
    pub raft_id: RaftId,
    /// The leader, if one is known.
    pub leader: Option<(RaftId, Option<PeerId>)>,
    /// Whether this peer leads, as far as it knows: a cut-off leader may think so for a while.
    pub is_leader: bool,
    /// The term.
    pub term: u64,
    /// Index of the last entry applied here.
    pub applied: Option<u64>,
    /// Index of the last entry of the log here.
    pub last: Option<u64>,
    /// Index up to which the log was purged here.
    pub purged: Option<u64>,
    /// Who votes as far as that is committed: a change that is under way counts once the cluster relies on it.
    pub agreed_voters: BTreeSet<RaftId>,
    /// All members.
    pub members: Vec<Seated>,
    /// Which state of the membership this is.
    pub membership: MembershipAt,
    /// Whether it is a joint configuration, half-way from one set of voters to another.
    pub is_joint: bool,
    /// Whether that membership is known to be committed.
    pub is_membership_committed: bool,
}

impl MetaStatus {
    /// Returns the voters.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<RaftId> {
        self.members.iter().filter(|seat| seat.is_voter).map(|seat| seat.raft_id).collect()
    }

    /// Returns the learners.
    #[must_use]
    pub fn learners(&self) -> BTreeSet<RaftId> {
        self.members.iter().filter(|seat| !seat.is_voter).map(|seat| seat.raft_id).collect()
    }

    pub(super) fn of(metrics: &Metrics, now: Instant) -> Self {
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let is_leader = metrics.state.is_leader();
        let last = metrics.last_log_index;
        let members = membership.nodes().map(|(id, seat)| {
            let is_self = *id == metrics.id;
            let matched = metrics.replication.as_ref().and_then(|of| of.get(id).copied());
            let lag = matched.map(|matched: Option<LogId>| {
                let end = last.map_or(0, |last| last + 1);
                end.saturating_sub(matched.map_or(0, |matched| matched.index + 1))
            });
            let heard = metrics.heartbeat.as_ref().and_then(|of| of.get(id).copied().flatten());
            let silent_for = heard.map(|heard| now.since(heard.get()));
            Seated {
                raft_id: RaftId(*id),
                peer: seat.peer,
                is_voter: voters.contains(id),
                lag: if is_leader && is_self { Some(0) } else { lag },
                silent_for: if is_leader && is_self { Some(Duration::ZERO) } else { silent_for },
            }
        });
        let at = metrics.membership_config.log_id().map(convert::place);
        let committed = &metrics.committed_membership_config;
        let parts = committed.membership().get_joint_config().iter();
        let agreed = parts.cloned().reduce(|all, part| &all & &part).unwrap_or_default();
        let committed = committed.log_id().map(convert::place);
        Self {
            raft_id: RaftId(metrics.id),
            leader: metrics
                .current_leader
                .map(|id| (RaftId(id), membership.get_node(&id).map(|seat| seat.peer))),
            is_leader,
            term: metrics.current_term,
            applied: metrics.last_applied.map(|at| at.index),
            last,
            purged: metrics.purged.map(|at| at.index),
            members: members.collect(),
            agreed_voters: agreed.into_iter().map(RaftId).collect(),
            membership: MembershipAt(at),
            is_joint: membership.get_joint_config().len() > 1,
            is_membership_committed: at == committed,
        }
    }
}

/// Waits for changes of a [`MetaStatus`]. Any number of these may wait; they wake in their order.
#[derive(Clone, Debug)]
pub struct StatusWatch {
    metrics: FairReceiver<Metrics>,
}

impl StatusWatch {
    pub(super) fn new(metrics: FairReceiver<Metrics>) -> Self {
        Self { metrics }
    }

    /// Returns once something may have changed since the last call; false once this peer's agreement has
    /// stopped. Cancel-safe.
    pub async fn changed(&mut self) -> bool {
        self.metrics.next().await.is_ok()
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.metrics.value().clone()
    }
}
