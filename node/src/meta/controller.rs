//! What the leader does without being asked: who votes, which leases are over, what is due.
//!
//! Three tasks on every peer wait until it leads, work while it does, and begin anew when it leads again. Whatever
//! they do is a command or a guarded change of the members, so that two that think they lead do no harm.
//! Never: decides who should vote; `protocol::metadata::voters` does.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use protocol::limits::LIST_ROWS_MAX;
use protocol::metadata::voters::{VoterView, is_confirmed, next_change};
use protocol::metadata::{Member, MemberState, Source, SourceError, query};
use protocol::{Fault, Instant};
use tracing::{debug, info};

use super::due;
use super::handle::Meta;
use super::leases;
use super::read::Freshness;
use super::status::{MetaStatus, RaftId};
use crate::env::Env;

/// How often the leader looks at the members: how late a silent voter is noticed on top of its patience.
const ROUND: Duration = Duration::from_secs(1);

/// Starts the tasks.
pub(super) fn start<E: Env>(meta: &Meta<E>) {
    meta.env().spawn("meta.voters", while_leading(meta.clone(), keep_members));
    meta.env().spawn("meta.leases", while_leading(meta.clone(), leases::expire));
    meta.env().spawn("meta.due", while_leading(meta.clone(), due::purge));
}

/// Runs `work` whenever this peer leads, and drops it when it does not any more.
async fn while_leading<E: Env, F: Future<Output = ()>>(meta: Meta<E>, work: fn(Meta<E>) -> F) {
    let mut watch = meta.watch_status();
    loop {
        let status = meta.status();
        if status.is_leader {
            tokio::select! {
                biased; // whoever does not lead any more stops at once
                () = until_deposed(&meta, status.term) => {}
                () = work(meta.clone()) => {}
            }
        }
        if !watch.changed().await {
            return;
        }
    }
}

async fn until_deposed<E: Env>(meta: &Meta<E>, term: u64) {
    let mut watch = meta.watch_status();
    loop {
        let status = meta.status();
        if !status.is_leader || status.term != term || !watch.changed().await {
            return;
        }
    }
}

/// Keeps the Raft group what the members of the cluster call for, one change at a time.
async fn keep_members<E: Env>(meta: Meta<E>) {
    let since = meta.env().now();
    let mut wanted = None;
    loop {
        match step(&meta, since, &mut wanted).await {
            Ok(true) => continue,
            Ok(false) => {}
            // Another change was quicker, or this peer does not lead any more: the next round sees.
            Err(fault) => debug!(err = %fault, "members were not changed"),
        }
        meta.env().sleep_until(meta.env().now().after(ROUND)).await;
    }
}

/// Makes one change, if one is called for, and says whether it did. `wanted_before`: whose vote a change was called for to take the
/// last time, and since when.
async fn step<E: Env>(
    meta: &Meta<E>,
    leading_since: Instant,
    wanted_before: &mut Option<(Option<u64>, Instant)>,
) -> Result<bool, Fault> {
    let before = wanted_before.take();
    let status = meta.status();
    if status.is_joint {
        meta.finish_change().await?;
        return Ok(true);
    }
    let members = meta.read(Freshness::Latest, |source| all_members(source)).await?;
    if members.is_empty() {
        // Not founded yet: the founder votes alone.
        return Ok(false);
    }
    let seated: BTreeSet<u64> = status.members.iter().map(|seat| seat.raft_id.0).collect();
    if let Some(new) = members.iter().find(|member| !seated.contains(&member.raft_id)) {
        info!(raft_id = %RaftId(new.raft_id), peer = %new.peer, "member learns");
        meta.add_learner(RaftId(new.raft_id), new.peer).await?;
        return Ok(true);
    }
    let wanted: BTreeMap<u64, &Member> = members.iter().map(|m| (m.raft_id, m)).collect();
    let gone = status.members.iter().find(|seat| {
        !seat.is_voter && !wanted.contains_key(&seat.raft_id.0) && seat.raft_id != status.raft_id
    });
    if let Some(gone) = gone {
        info!(raft_id = %gone.raft_id, "member left");
        meta.remove_node(gone.raft_id, status.membership).await?;
        return Ok(true);
    }
    let silence = meta.env().now().since(leading_since);
    let views = views(&status, &wanted, silence);
    let voters: BTreeSet<u64> = status.voters().iter().map(|id| id.0).collect();
    let Some(change) = next_change(&views, &voters, status.raft_id.0) else { return Ok(false) };
    let now = meta.env().now();
    // Who takes its place may be another one in each round.
    let before = before.filter(|(demoted, _)| *demoted == change.demoted());
    let (_, since) = *wanted_before.insert(before.unwrap_or((change.demoted(), now)));
    if !is_confirmed(change, &views, &voters, now.since(since)) {
        return Ok(false);
    }
    let after: BTreeSet<RaftId> = change.applied(&voters).into_iter().map(RaftId).collect();
    info!(?change, "voters change");
    meta.change_voters(&after, status.membership).await?;
    Ok(true)
}

/// Returns the members as the choice of voters wants them. Who was never heard of has been silent for as long as
/// this peer leads.
fn views(
    status: &MetaStatus,
    wanted: &BTreeMap<u64, &Member>,
    silence: Duration,
) -> Vec<VoterView> {
    let seats = status.members.iter();
    let seats = seats.filter_map(|seat| Some((seat, *wanted.get(&seat.raft_id.0)?)));
    let view = seats.map(|(seat, member)| VoterView {
        raft_id: member.raft_id,
        zone: member.zone.clone(),
        draining: member.state != MemberState::Active,
        away: seat.silent_for.unwrap_or(silence),
        lag: seat.lag.unwrap_or(u64::MAX),
    });
    view.collect()
}

fn all_members(source: &dyn Source) -> Result<Vec<Member>, SourceError> {
    let mut all: Vec<Member> = Vec::new();
    loop {
        let after = all.last().map(|member| member.raft_id);
        let page = query::members(source, after, LIST_ROWS_MAX)?;
        let is_last = page.len() < LIST_ROWS_MAX;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}
