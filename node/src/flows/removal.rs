//! Removing a peer from the cluster, when the others can do without it.
//!
//! One that is there gives its blocks away first, or somebody says that they may be lost. A removed peer is cut off at once, and its vote is taken only after that. So this waits until those that are
//! there are a majority without it: whoever is removed right after another one, or while others are away, would
//! leave a cluster that can agree on nothing, for good. Never: takes a vote itself; the leader does.

use std::collections::BTreeSet;
use std::time::Duration;

use protocol::membership::Liveness;
use protocol::metadata::voters::may_leave;
use protocol::metadata::{Member, MemberState, Op};
use protocol::{Fault, Kind};

use super::Context;
use super::members::all_members;
use crate::env::Env;
use crate::meta::Freshness;

/// How long the leader may take to change the voters: several changes of one, each with a commit.
const VOTERS_PATIENCE: Duration = Duration::from_secs(10);

/// How often the voters are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Returns the change that removes a member, once the others would still be a majority of the voters.
///
/// # Errors
/// [`Kind::Conflict`] when they would not, also after some seconds, or when it was not drained;
/// [`Kind::Unavailable`] when there is no majority now.
///
/// `force`: whether what only it holds may be lost.
pub(crate) async fn removal<E: Env>(
    context: &Context<E>,
    member: &Member,
    force: bool,
) -> Result<Op, Fault> {
    let is_there = live(context, std::slice::from_ref(member)).contains(&member.raft_id);
    if is_there && !force && member.state != MemberState::Drained {
        let detail = format!(
            "peer {} is there and may hold what nobody else does: drain it first (`shoal cluster drain`), or \
             remove it with force=true (`--force`) if that may be lost",
            member.peer
        );
        return Err(Fault::new(Kind::Conflict, detail));
    }
    let end = context.env.now().after(VOTERS_PATIENCE);
    loop {
        let members = context.meta.read(Freshness::Latest, |state| all_members(state)).await?;
        let voters: BTreeSet<u64> = context.meta.status().voters().iter().map(|id| id.0).collect();
        let live = live(context, &members);
        if may_leave(member.raft_id, &live, &voters) {
            return Ok(Op::RemoveMember { raft_id: member.raft_id });
        }
        if context.env.now() >= end {
            let left = voters.iter().filter(|id| live.contains(id) && **id != member.raft_id);
            let detail = format!(
                "without peer {} only {} of {} voters would be there, and the cluster could agree on nothing: \
                 drain it first, and bring back those that are away or remove them before it",
                member.peer,
                left.count(),
                voters.len()
            );
            return Err(Fault::new(Kind::Conflict, detail));
        }
        context.env.sleep_until(context.env.now().after(LOOK)).await;
    }
}

/// Says whether the others could still agree without a member, as far as this peer knows. Those that are to leave too
/// count only where nobody else is left.
///
/// # Errors
/// [`Kind::Unavailable`] when there is no majority now.
pub(super) async fn can_do_without<E: Env>(
    context: &Context<E>,
    raft_id: u64,
) -> Result<bool, Fault> {
    let members = context.meta.read(Freshness::Latest, |state| all_members(state)).await?;
    let voters: BTreeSet<u64> = context.meta.status().voters().iter().map(|id| id.0).collect();
    let stays = |member: &&Member| member.state == MemberState::Active;
    let staying: Vec<Member> = members.iter().filter(stays).cloned().collect();
    let counted = if staying.is_empty() { members } else { staying };
    Ok(may_leave(raft_id, &live(context, &counted), &voters))
}

/// Returns who of the members is there, as far as this peer knows.
fn live<E: Env>(context: &Context<E>, members: &[Member]) -> BTreeSet<u64> {
    let view = context.peers.view();
    let is_live = |member: &&Member| {
        let info = view.peers().get(&member.peer);
        member.peer == view.own() || info.is_some_and(|info| view.liveness(info) == Liveness::Alive)
    };
    members.iter().filter(is_live).map(|member| member.raft_id).collect()
}
