//! Giving one's blocks to others, so that this peer can be switched off for good.
//!
//! Goes through the owners of this peer's blocks and sees to it that every peer of the replica set refers to
//! each block on the owner's behalf, or whoever comes next where one of those is away. It says so when a whole pass found nothing left to give, and nobody could
//! have sent it more meanwhile. Never: removes a block here.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use protocol::limits::{HAS_CIDS_MAX, OWNERS_MAX};
use protocol::metadata::{Actor, MemberState, Op, query};
use protocol::topology::Epoch;
use protocol::wire::Class;
use protocol::{Cid, Fault, Kind, OwnerId, PeerId};
use tracing::{debug, info};

use super::Context;
use super::upload::Copy;
use crate::env::{Env, Net};
use crate::meta::Freshness;

/// How often this peer looks whether it is to be drained.
const LOOK: Duration = Duration::from_millis(500);

/// How long uploads that chose this peer before it was left out may still send to it.
const QUIET: Duration = Duration::from_secs(3);

/// Copies under way at a time: enough to keep a connection busy, few enough to leave room for others.
const COPIES_MAX: usize = 8;

/// How long the cluster may take to note that a peer is drained.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gives this peer's blocks away whenever it is to be drained, for as long as it runs.
pub(crate) async fn drain<E: Env>(context: Context<E>) {
    let own = context.env.net().local_peer();
    let raft_id = context.meta.raft_id().0;
    loop {
        context.env.sleep_until(context.env.now().after(LOOK)).await;
        let state =
            context.meta.read(Freshness::Local, move |state| query::member(state, raft_id)).await;
        let Ok(Some(member)) = state else { continue };
        // Once the topology goes without this peer, nobody sends it anything new.
        let view = context.peers.view();
        let placed = view.placement().topology().peer(own);
        let is_left_out = placed.is_none_or(|peer| peer.capacity_bytes == 0);
        if member.state != MemberState::Draining || !is_left_out {
            continue;
        }
        let epoch = context.peers.view().placement().topology().epoch();
        context.env.sleep_until(context.env.now().after(QUIET)).await;
        match pass(&context, epoch).await {
            Ok(0) => {
                let op = Op::Drained { raft_id };
                match context.meta.propose(op, Actor::System, PATIENCE).await {
                    Ok(_) => info!("this peer is drained: it can be switched off"),
                    Err(fault) => debug!(err = %fault, "not noted as drained yet"),
                }
            }
            Ok(given) => info!(copies = given, "blocks given to other peers"),
            Err(fault) => info!(err = %fault, "not drained yet"),
        }
    }
}

/// Goes through all blocks once and returns how many copies others did not have.
async fn pass<E: Env>(context: &Context<E>, epoch: Epoch) -> Result<u64, Fault> {
    let mut given = 0;
    let mut after = None;
    loop {
        let owners = context.store.owners_after(after, OWNERS_MAX).await?;
        let Some(last) = owners.last().copied() else { return Ok(given) };
        for owner in owners {
            given += give(context, owner, epoch).await?;
        }
        after = Some(last);
    }
}

/// Gives the blocks of one owner away.
async fn give<E: Env>(context: &Context<E>, owner: OwnerId, epoch: Epoch) -> Result<u64, Fault> {
    let (mut given, mut after) = (0, None);
    loop {
        let cids = context.store.owned_after(owner, after, HAS_CIDS_MAX).await?;
        let Some(last) = cids.last().copied() else { return Ok(given) };
        let copies = targets(context, &cids, epoch)?;
        let mut copies = stream::iter(copies)
            .map(|(cid, peer)| {
                let class = Class::Bulk;
                let copy = Copy { context: context.clone(), cid, bytes: None, owner, class };
                copy.place(peer)
            })
            .buffer_unordered(COPIES_MAX);
        while let Some(placed) = copies.next().await {
            given += u64::from(placed?.outcome == protocol::wire::BlockOutcome::Stored);
        }
        after = Some(last);
    }
}

/// Returns which peers should hold which of these blocks.
fn targets<E: Env>(
    context: &Context<E>,
    cids: &[Cid],
    epoch: Epoch,
) -> Result<Vec<(Cid, PeerId)>, Fault> {
    let view = context.peers.view();
    let topology = view.placement().topology();
    if topology.epoch() != epoch {
        return Err(Fault::new(Kind::Conflict, "the topology changed meanwhile; beginning anew"));
    }
    let copies = topology.copies();
    let mut targets = Vec::new();
    for cid in cids {
        // Whoever is away cannot be given anything now; those who come next stand in.
        let there = view.candidates(cid).into_iter().filter(|candidate| candidate.usable);
        let there: Vec<PeerId> = there.take(copies.get()).map(|candidate| candidate.peer).collect();
        if there.len() < copies.write_quorum() {
            let detail = format!(
                "{} of the {} peers that should hold {cid} are there: too few to be safe without this one",
                there.len(),
                copies.get()
            );
            return Err(Fault::new(Kind::Unavailable, detail));
        }
        targets.extend(there.into_iter().map(|peer| (*cid, peer)));
    }
    Ok(targets)
}
