//! Giving one's blocks to others, so that this peer can be switched off for good.
//!
//! Goes through the owners of this peer's blocks and sees to it that every peer of the replica set refers to
//! each block on the owner's behalf, or whoever comes next where one of those is away. What one of them lacks is a job of
//! the queue, so that others bring it who hold it too. It says so when a whole pass found nothing left to give, and nobody could
//! have sent it more meanwhile. Never: removes a block here.

use std::collections::BTreeMap;
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protocol::limits::{BLOCK_REQUEST_TIMEOUT, HAS_CIDS_MAX, OWNERS_MAX, WORK_JOBS_MAX};
use protocol::metadata::{Actor, MemberState, Op, query};
use protocol::repair::Restore;
use protocol::topology::Epoch;
use protocol::wire::{Class, Reply, Request};
use protocol::work::JobKind;
use protocol::{Cid, Fault, Kind, OwnerId, PeerId};
use tracing::{debug, info};

use super::Context;
use super::holder::other_answer;
use super::removal::can_do_without;
use crate::env::{Env, Net};
use crate::meta::Freshness;

/// How often this peer looks whether it is to be drained.
const LOOK: Duration = Duration::from_millis(500);

/// How long uploads that chose this peer before it was left out may still send to it.
const QUIET: Duration = Duration::from_secs(3);

/// Copies whose jobs are in the queue at a time: a quarter of what it takes, so that there is room for others.
const JOBS_MAX: usize = WORK_JOBS_MAX / 4;

/// How urgent they are: this peer holds one, and there is another by then in most cases.
const COPIES: u8 = 2;

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
                // It is not safe to switch off whose vote the others need.
                match can_do_without(&context, raft_id).await {
                    Ok(true) => {}
                    Ok(false) => {
                        info!("not drained yet: without this peer too few voters are there");
                        continue;
                    }
                    Err(fault) => {
                        debug!(err = %fault, "not drained yet");
                        continue;
                    }
                }
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
    let mut giving = Giving { context, jobs: FuturesUnordered::new(), given: 0, fault: None };
    let mut after = None;
    loop {
        let owners = context.store.owners_after(after, OWNERS_MAX).await?;
        let Some(last) = owners.last().copied() else { break };
        for owner in owners {
            giving.all_of(owner, epoch).await?;
        }
        after = Some(last);
    }
    while !giving.jobs.is_empty() {
        giving.one_ended().await;
    }
    giving.fault.map_or(Ok(giving.given), Err)
}

/// One pass: the copies that are being given, as jobs of the queue, which others take who hold the same blocks.
struct Giving<'a, E: Env> {
    context: &'a Context<E>,
    jobs: FuturesUnordered<BoxFuture<'a, Result<(), Fault>>>,
    given: u64,
    /// Why one of them was not given. The others are all the same.
    fault: Option<Fault>,
}

impl<E: Env> Giving<'_, E> {
    /// Gives the blocks of one owner away.
    async fn all_of(&mut self, owner: OwnerId, epoch: Epoch) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let cids = self.context.store.owned_after(owner, after, HAS_CIDS_MAX).await?;
            let Some(last) = cids.last().copied() else { return Ok(()) };
            for (peer, cids) in targets(self.context, &cids, epoch)? {
                self.to(peer, owner, cids).await?;
            }
            after = Some(last);
        }
    }

    /// Sees to it that a peer refers to these blocks on behalf of the owner, and gives it those that it has not.
    async fn to(&mut self, peer: PeerId, owner: OwnerId, cids: Vec<Cid>) -> Result<(), Fault> {
        let claim = Request::Claim { cids: cids.clone(), owner, root: false };
        let call = self.context.rpc.call(peer, Class::Background, claim, BLOCK_REQUEST_TIMEOUT);
        let Reply::Held { held, .. } = call.await? else { return Err(other_answer(peer)) };
        if held.len() != cids.len() {
            return Err(other_answer(peer));
        }
        let lacking = cids.iter().zip(held).filter(|(_, is_held)| !is_held);
        let lacking: Vec<Cid> = lacking.map(|(cid, _)| *cid).collect();
        let lengths = self.context.store.lengths(lacking.clone()).await?;
        for (cid, length) in lacking.into_iter().zip(lengths) {
            // What is corrupt here is given by those who have it.
            let sources = sources(self.context, &cid, length.is_some());
            let restore = Restore { owner, target: peer, sources };
            let spec = restore.job(JobKind::Rebalance, cid, length.unwrap_or(0), COPIES);
            while self.jobs.len() >= JOBS_MAX {
                self.one_ended().await;
            }
            self.jobs.push(Box::pin(self.context.work.do_now(spec)));
        }
        // They begin now, while more is looked for.
        while let Poll::Ready(Some(ended)) = futures::poll!(self.jobs.next()) {
            self.note(ended);
        }
        Ok(())
    }

    async fn one_ended(&mut self) {
        if let Some(ended) = self.jobs.next().await {
            self.note(ended);
        }
    }

    fn note(&mut self, ended: Result<(), Fault>) {
        match ended {
            Ok(()) => self.given += 1,
            Err(fault) => self.fault = Some(fault),
        }
    }
}

/// Returns who has a block: this peer, if it has, and those who hold it beside it.
fn sources<E: Env>(context: &Context<E>, cid: &Cid, is_here: bool) -> Vec<PeerId> {
    let view = context.peers.view();
    let own = view.own();
    let holders = view.holders(cid).into_iter().map(|holder| holder.peer);
    is_here.then_some(own).into_iter().chain(holders.filter(|holder| *holder != own)).collect()
}

/// Returns which peers should hold which of these blocks.
fn targets<E: Env>(
    context: &Context<E>,
    cids: &[Cid],
    epoch: Epoch,
) -> Result<BTreeMap<PeerId, Vec<Cid>>, Fault> {
    let view = context.peers.view();
    let topology = view.placement().topology();
    if topology.epoch() != epoch {
        return Err(Fault::new(Kind::Conflict, "the topology changed meanwhile; beginning anew"));
    }
    let copies = topology.copies();
    let mut targets: BTreeMap<PeerId, Vec<Cid>> = BTreeMap::new();
    for cid in cids {
        // Whoever is away cannot be given anything now; those who come next stand in.
        let others = view.candidates(cid).into_iter().filter(|other| other.peer != view.own());
        let there = others.filter(|candidate| candidate.usable);
        let there: Vec<PeerId> = there.take(copies.get()).map(|candidate| candidate.peer).collect();
        if there.len() < copies.write_quorum() {
            let detail = format!(
                "{} of the {} peers that should hold {cid} are there: too few to be safe without this one",
                there.len(),
                copies.get()
            );
            return Err(Fault::new(Kind::Unavailable, detail));
        }
        for peer in there {
            targets.entry(peer).or_default().push(*cid);
        }
    }
    Ok(targets)
}
