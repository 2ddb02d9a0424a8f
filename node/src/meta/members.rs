//! Changing who votes and who learns, one change at a time, each on the condition that nothing changed before it.
//!
//! Only the leader can. Nobody is dropped by a change of the voters: who stops voting learns on. A joint
//! configuration that a crash left behind is finished first. Never: decides who should vote.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Precondition};
use protocol::raft::{Answer, Ask};
use protocol::{Fault, Kind, PeerId};

use super::convert;
use super::handle::Meta;
use super::serve::failed;
use super::status::{MembershipAt, RaftId};
use super::types::{Seat, Types};
use crate::env::Env;

type Changed = Result<(), Fault>;

impl<E: Env> Meta<E> {
    /// Asks a member who has a seat in the group. Its answer may be behind or ahead of what this peer knows.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when it does not answer in time, or is another one by now.
    pub async fn ask_seats(
        &self,
        raft_id: RaftId,
        peer: PeerId,
        patience: Duration,
    ) -> Result<Vec<(RaftId, PeerId)>, Fault> {
        let Answer::Seats(seats) = self.post().ask(raft_id.0, peer, Ask::Seats, patience).await?
        else {
            return Err(Fault::new(
                Kind::Unavailable,
                format!("peer {peer} gave no list of members"),
            ));
        };
        Ok(seats.into_iter().map(|(id, key)| (RaftId(id), PeerId::from_public_key(key))).collect())
    }

    /// Adds a member that learns, without waiting for it to catch up. One that is there already stays as it is.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when another change is under way, [`Kind::Unavailable`] when this peer does not lead.
    pub async fn add_learner(&self, raft_id: RaftId, peer: PeerId) -> Changed {
        let seats = BTreeMap::from([(raft_id.0, Seat { peer })]);
        self.change(ChangeMembers::AddNodes(seats), None).await
    }

    /// Makes `voters` the voters, if the membership is still `expected`. All must be members. Returns when the
    /// change is committed and no joint configuration is left.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when the membership is another by now, or a change is under way;
    /// [`Kind::Invalid`] when a voter is no member; [`Kind::Unavailable`] when this peer does not lead.
    pub async fn change_voters(
        &self,
        voters: &BTreeSet<RaftId>,
        expected: MembershipAt,
    ) -> Changed {
        let voters = voters.iter().map(|id| id.0).collect();
        self.change(ChangeMembers::ReplaceAllVoters(voters), Some(expected)).await
    }

    /// Removes a member that does not vote.
    ///
    /// # Errors
    /// As [`Meta::change_voters`]; [`Kind::Invalid`] when it votes.
    pub async fn remove_node(&self, raft_id: RaftId, expected: MembershipAt) -> Changed {
        if self.status().voters().contains(&raft_id) {
            let detail = format!("member {raft_id} votes: take its vote first");
            return Err(Fault::new(Kind::Invalid, detail));
        }
        let gone = BTreeSet::from([raft_id.0]);
        self.change(ChangeMembers::RemoveNodes(gone), Some(expected)).await
    }

    /// Ends a joint configuration, if there is one.
    ///
    /// # Errors
    /// As [`Meta::change_voters`].
    pub async fn finish_change(&self) -> Changed {
        let _one = self.changing().lock().await;
        self.finish_joint().await
    }

    async fn change(
        &self,
        change: ChangeMembers<u64, Seat>,
        expected: Option<MembershipAt>,
    ) -> Changed {
        let _one = self.changing().lock().await;
        if self.status().is_joint {
            self.finish_joint().await?;
            if expected.is_some() {
                let detail = "an earlier change of the members was finished first";
                return Err(Fault::new(Kind::Conflict, detail));
            }
        }
        let MembershipAt(at) = expected.unwrap_or(self.status().membership);
        let last_membership_log_id = at.map(convert::log_id);
        let unchanged = [Precondition::LastMembershipLogId { last_membership_log_id }];
        let change = self.raft().change_membership_if(change, true, unchanged);
        self.on_host(change).await.map(|_| ()).map_err(|error| fault(&error))
    }

    async fn finish_joint(&self) -> Changed {
        let status = self.status();
        if !status.is_joint {
            return Ok(());
        }
        let MembershipAt(at) = status.membership;
        let last_membership_log_id = at.map(convert::log_id);
        let unchanged = [Precondition::LastMembershipLogId { last_membership_log_id }];
        let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
        let finish = self.raft().change_membership_if(nothing, true, unchanged);
        self.on_host(finish).await.map(|_| ()).map_err(|error| fault(&error))
    }
}

fn fault(error: &RaftError<Types, ClientWriteError<Types>>) -> Fault {
    let text = |what: &dyn std::fmt::Display| format!("the members were not changed: {what}");
    match error {
        RaftError::Fatal(fatal) => failed(fatal),
        RaftError::APIError(error) => match error {
            ClientWriteError::ForwardToLeader(_) => Fault::new(
                Kind::Unavailable,
                "this peer does not lead: the members are as they were",
            ),
            ClientWriteError::LogEntryDiscarded(_) => Fault::new(
                Kind::Unavailable,
                "the leader changed: whether the members were changed is unknown",
            ),
            ClientWriteError::PreconditionFailed(_) => Fault::new(Kind::Conflict, text(error)),
            ClientWriteError::ChangeMembershipError(change) => {
                let kind = match change {
                    ChangeMembershipError::InProgress(_)
                    | ChangeMembershipError::UncommittedLeaderLog(_) => Kind::Conflict,
                    ChangeMembershipError::EmptyMembership(_)
                    | ChangeMembershipError::LearnerNotFound(_)
                    | ChangeMembershipError::UnsupportedMembershipTransition(_)
                    | ChangeMembershipError::NodeMetadataChanged(_) => Kind::Invalid,
                };
                Fault::new(kind, text(error))
            }
        },
    }
}
