//! The topology that the members call for: what the leader proposes when it is not the current one.
//!
//! Weights are carried forward from the current placement, one changed peer after the other, so that little more moves
//! than has to. Never: commits anything; [`super::Op::SetTopology`] does, if nobody was first.

use std::collections::BTreeMap;

use super::value::{Member, MemberState};
use crate::PeerId;
use crate::limits::TOPOLOGY_CHANGES_MAX;
use crate::placement::Placement;
use crate::topology::{Epoch, ReplicaCount, Topology, TopologyPeer};

/// Returns the topology that should follow the current one; none when that is as it should be.
///
/// Members that drain stay in it without capacity, so that they hold nothing and reach everything. At most
/// [`TOPOLOGY_CHANGES_MAX`] peers change at a time: ask again with the new placement. Cost: 10 ms for each
/// changed peer, up to 200 ms in clusters that are out of balance; for the first topology, or another number of
/// replicas, that of [`Placement::new`].
#[must_use]
pub fn desired_topology(
    members: &[Member],
    replicas: ReplicaCount,
    current: Option<&Placement>,
) -> Option<Topology> {
    let wanted: BTreeMap<PeerId, TopologyPeer> =
        members.iter().map(|member| (member.peer, topology_peer(member))).collect();
    let Some(current) = current else {
        let topology = Topology::new(Epoch(1), replicas, wanted.into_values().collect());
        return Some(Placement::new(&topology).tuned_topology());
    };
    let topology = current.topology();
    let epoch = Epoch(topology.epoch().0 + 1);
    if topology.replicas() != replicas {
        // Every set changes anyway.
        let topology = Topology::new(epoch, replicas, wanted.into_values().collect());
        return Some(Placement::new(&topology).tuned_topology());
    }
    // Newcomers first: what leavers hold then goes to all who stay.
    let added = wanted.values().filter(|peer| topology.peer(peer.id) != Some(*peer));
    let removed = topology.peers().iter().filter(|peer| !wanted.contains_key(&peer.id));
    let changes = added.map(Change::Set).chain(removed.map(|peer| Change::Drop(peer.id)));
    let mut placement: Option<Placement> = None;
    for change in changes.take(TOPOLOGY_CHANGES_MAX) {
        let before = placement.as_ref().unwrap_or(current);
        placement = Some(match change {
            Change::Set(peer) => before.with_peer(epoch, peer.clone()),
            Change::Drop(id) => before.without_peer(epoch, id),
        });
    }
    placement.map(|placement| placement.tuned_topology())
}

/// One changed peer.
enum Change<'a> {
    Set(&'a TopologyPeer),
    Drop(PeerId),
}

fn topology_peer(member: &Member) -> TopologyPeer {
    let capacity_bytes = match member.state {
        MemberState::Active => member.capacity_bytes,
        MemberState::Draining | MemberState::Drained => 0,
    };
    TopologyPeer { id: member.peer, zone: member.zone.clone(), capacity_bytes }
}
