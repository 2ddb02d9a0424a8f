//! What the agreed list of members means for this peer: whom it talks to, and where blocks belong.
//!
//! Follows the metadata: each change of the members or the topology is passed on to the network and the peer
//! table. On the leader it also proposes the topology that the members call for. Never: who is alive.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use protocol::limits::CLUSTER_PEERS_MAX;
use protocol::membership::MemberFacts;
use protocol::metadata::{self, Actor, Effect, Member, MemberState, Op, SourceError, query};
use protocol::placement::Placement;
use protocol::topology::{Epoch, ReplicaCount, Topology};
use protocol::{ClusterId, Fault, PeerId};
use tracing::{debug, info, warn};

use super::Context;
use crate::env::{Env, Membership, Net};
use crate::meta::{Freshness, Meta, RaftId};
use crate::peers::Roster;

/// How often the list is read although nothing was told: hints may get lost.
const LOOK: Duration = Duration::from_secs(2);

/// How long the leader may be silent before members are asked who else there is: longer than an election takes.
const SILENCE_MAX: Duration = Duration::from_secs(4);

/// How many members are asked at a time, and how long they have.
const ASKED_MAX: usize = 3;
/// See [`ASKED_MAX`].
const ASK_PATIENCE: Duration = Duration::from_secs(1);

/// How long the cluster may take to agree on a topology.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the metadata says of members and topologies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Agreed {
    members: Vec<Member>,
    replicas: ReplicaCount,
    topology: Option<Topology>,
    earlier: Vec<Topology>,
    /// Peers of the Raft group, by this peer's log or by what others say, that were not removed as far as this state
    /// knows. It may be behind, and would stay behind if it kept those away that the log comes from.
    seated: BTreeSet<PeerId>,
}

impl Agreed {
    /// Returns with whom to talk: `first` too, as long as this peer has not read of its own admission.
    fn admitted(&self, own: u64, first: &BTreeSet<PeerId>) -> BTreeSet<PeerId> {
        let is_behind = self.members.iter().all(|member| member.raft_id != own);
        let first = first.iter().filter(|_| is_behind);
        let members = self.members.iter().map(|member| &member.peer);
        members.chain(&self.seated).chain(first).copied().collect()
    }
}

async fn agreed<E: Env>(meta: &Meta<E>, told: &BTreeMap<RaftId, PeerId>) -> Result<Agreed, Fault> {
    let seats = meta.status().members.into_iter().map(|seat| (seat.raft_id, seat.peer));
    let seats: BTreeMap<RaftId, PeerId> =
        told.iter().map(|(id, peer)| (*id, *peer)).chain(seats).collect();
    let read = move |state: &dyn metadata::Source| {
        let Some(settings) = query::settings(state)? else { return Ok(None) };
        let mut seated = BTreeSet::new();
        for (RaftId(id), peer) in &seats {
            if !query::is_removed(state, *id)? {
                seated.insert(*peer);
            }
        }
        // Latest first.
        let mut topologies = query::topologies(state)?.into_iter();
        Ok(Some(Agreed {
            members: all_members(state)?,
            replicas: settings.replicas,
            topology: topologies.next(),
            earlier: topologies.collect(),
            seated,
        }))
    };
    let nothing = Agreed {
        members: Vec::new(),
        replicas: ReplicaCount::MIN,
        topology: None,
        earlier: Vec::new(),
        seated: BTreeSet::new(),
    };
    Ok(meta.read(Freshness::Local, read).await?.unwrap_or(nothing))
}

/// Returns every member.
///
/// # Errors
/// The state cannot be read.
pub(crate) fn all_members(state: &dyn metadata::Source) -> Result<Vec<Member>, SourceError> {
    let mut members: Vec<Member> = Vec::new();
    while members.len() < CLUSTER_PEERS_MAX {
        let after = members.last().map(|member| member.raft_id);
        let page = query::members(state, after, CLUSTER_PEERS_MAX)?;
        if page.is_empty() {
            break;
        }
        members.extend(page);
    }
    Ok(members)
}

/// Says whether a change may be one of members, or of where they are.
fn concerns(effect: &Effect) -> bool {
    matches!(effect, Effect::MembersChanged | Effect::TopologyChanged | Effect::SettingsChanged)
}

/// Follows the list for as long as the peer runs. `first`: the peers that it was told of when it joined.
pub(crate) async fn follow<E: Env>(
    context: Context<E>,
    cluster: ClusterId,
    first: BTreeSet<PeerId>,
) {
    let own = context.meta.raft_id().0;
    let mut effects = context.meta.effects(concerns);
    let mut known: Option<Agreed> = None;
    let mut members: BTreeSet<PeerId> = BTreeSet::new();
    let mut told: BTreeMap<RaftId, PeerId> = BTreeMap::new();
    let mut round: usize = 0;
    loop {
        match agreed(&context.meta, &told).await {
            Ok(now) if known.as_ref() != Some(&now) => {
                if !now.members.is_empty() {
                    let peers = now.admitted(own, &first);
                    if peers != members {
                        debug!(members = peers.len(), "members changed");
                        let membership = Membership { cluster, members: peers.clone() };
                        context.env.net().set_membership(Some(membership));
                        members = peers;
                    }
                    tell_peers(&context, &now).await;
                }
                known = Some(now);
            }
            Ok(_) => {}
            Err(fault) => warn!(err = %fault, "members not read"),
        }
        if let Some(known) = &known {
            tell_addresses(&context, known).await;
        }
        if let Some(known) = &known
            && context.meta.status().is_leader
        {
            keep_topology(&context, known).await;
        }
        // The leader's seat must be in this peer's own log before hearsay is forgotten.
        let is_seated = matches!(context.meta.status().leader, Some((_, Some(_))));
        if context.meta.silent_for() < SILENCE_MAX {
            if is_seated {
                told.clear();
            }
        } else if let Some(known) = &known {
            round += 1;
            ask_members(&context, known, round, &mut told).await;
        }
        let until = context.env.now().after(LOOK);
        tokio::select! {
            biased; // news first
            told = effects.next() => if told.is_none() { return },
            () = context.env.sleep_until(until) => {}
        }
    }
}

/// Asks some members who else there is. A peer that was away while others came does not know who leads now, and would
/// not let him in.
async fn ask_members<E: Env>(
    context: &Context<E>,
    known: &Agreed,
    round: usize,
    told: &mut BTreeMap<RaftId, PeerId>,
) {
    let own = context.meta.raft_id().0;
    let others: Vec<_> = known.members.iter().filter(|member| member.raft_id != own).collect();
    let asked = others.iter().cycle().skip(round.wrapping_mul(ASKED_MAX) % others.len().max(1));
    let asked = asked
        .take(ASKED_MAX.min(others.len()))
        .map(|member| context.meta.ask_seats(RaftId(member.raft_id), member.peer, ASK_PATIENCE));
    for seats in join_all(asked).await.into_iter().flatten() {
        let room = CLUSTER_PEERS_MAX.saturating_sub(told.len());
        told.extend(seats.into_iter().take(room));
    }
}

async fn tell_peers<E: Env>(context: &Context<E>, agreed: &Agreed) {
    let own = context.env.net().local_peer();
    let view = context.peers.view();
    for member in agreed.members.iter().filter(|member| member.peer != own) {
        if !view.peers().contains_key(&member.peer) {
            context.env.net().dial(member.peer, member.addresses.clone());
        }
    }
    let facts = agreed.members.iter().map(|member| MemberFacts {
        peer: member.peer,
        name: member.name.to_string(),
        zone: member.zone.clone(),
        capacity_bytes: member.capacity_bytes,
        addresses: member.addresses.clone(),
        draining: member.state != MemberState::Active,
    });
    let topology = agreed
        .topology
        .clone()
        .unwrap_or_else(|| Topology::new(Epoch(0), agreed.replicas, Vec::new()));
    let roster = Roster { members: facts.collect(), topology, earlier: agreed.earlier.clone() };
    context.peers.set_members(roster).await;
}

/// Tells the cluster where this peer listens, when that is news.
async fn tell_addresses<E: Env>(context: &Context<E>, agreed: &Agreed) {
    let raft_id = context.meta.raft_id().0;
    let view = context.peers.view();
    let Some(info) = view.peers().get(&view.own()) else { return };
    let own = agreed.members.iter().find(|member| member.raft_id == raft_id);
    if info.addresses.is_empty() || own.is_none_or(|own| own.addresses == info.addresses) {
        return;
    }
    let op = Op::SetAddresses { raft_id, addresses: info.addresses.clone() };
    if let Err(fault) = context.meta.propose(op, Actor::System, PATIENCE).await {
        debug!(err = %fault, "addresses not told yet");
    }
}

/// Proposes the topology that the members call for, if it is another one.
async fn keep_topology<E: Env>(context: &Context<E>, agreed: &Agreed) {
    let (members, replicas) = (agreed.members.clone(), agreed.replicas);
    let current = agreed.topology.clone();
    let base = current.as_ref().map_or(Epoch(0), Topology::epoch);
    let placements = context.peers.placements();
    let desired = context.env.compute(move || {
        let current: Option<Arc<Placement>> = current.map(|topology| placements.of(&topology));
        metadata::desired_topology(&members, replicas, current.as_deref())
    });
    let Some(topology) = desired.await else { return };
    let epoch = topology.epoch().0;
    match context.meta.propose(Op::SetTopology { base, topology }, Actor::System, PATIENCE).await {
        Ok(_) => info!(epoch, "topology proposed"),
        // Somebody else was faster, or leads now.
        Err(fault) => debug!(epoch, err = %fault, "topology not replaced"),
    }
}
