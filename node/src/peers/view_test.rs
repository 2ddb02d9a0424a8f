//! Who is asked and who is given, while topologies change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::limits::CANDIDATES_MAX;
use protocol::membership::{Liveness, PeerInfo};
use protocol::placement::{Partition, Placement};
use protocol::topology::{Epoch, ReplicaCount, Topology, TopologyPeer, Zone};
use protocol::{Cid, Codec, Instant, PeerId};

use super::View;

fn id(number: u8) -> PeerId {
    PeerId::from_public_key([number; 32])
}

fn placement(peers: impl IntoIterator<Item = u8>) -> Arc<Placement> {
    let peer =
        |number| TopologyPeer { id: id(number), zone: Zone::default(), capacity_bytes: 1 << 30 };
    let replicas = ReplicaCount::new(3).unwrap();
    let peers = peers.into_iter().map(peer).collect();
    Arc::new(Placement::new(&Topology::new(Epoch(1), replicas, peers)))
}

fn info(number: u8, draining: bool) -> PeerInfo {
    PeerInfo {
        id: id(number),
        incarnation: 1,
        heartbeat: 1,
        name: String::new(),
        zone: Zone::default(),
        capacity_bytes: 1 << 30,
        used_bytes: 0,
        addresses: Vec::new(),
        liveness: Liveness::Alive,
        since: Instant::from_millis(0),
        draining,
    }
}

/// The view of peer 1 of twenty, of which the last ten are new and 5 is being emptied.
fn view(earlier: Vec<Arc<Placement>>) -> View {
    let peers: BTreeMap<_, _> = (1..=20).map(|n| (id(n), info(n, n == 5))).collect();
    View::new(id(1), placement(1..=20), earlier, peers, BTreeSet::new())
}

fn cids() -> impl Iterator<Item = Cid> {
    (0..200_u32).map(|n| Cid::of(Codec::Raw, &n.to_be_bytes()))
}

#[test]
fn reads_ask_the_replica_sets_of_now_and_then_those_of_before() {
    let before = [placement(1..=12), placement(1..=10)];
    let view = view(before.to_vec());
    let mut differ = 0;
    for cid in cids() {
        let holders: Vec<PeerId> = view.holders(&cid).iter().map(|c| c.peer).collect();
        let distinct: BTreeSet<_> = holders.iter().collect();
        assert_eq!((holders[0], distinct.len()), (id(1), holders.len()));
        assert!(holders.len() <= CANDIDATES_MAX + 1);
        let set = |placement: &Placement| placement.ranked(Partition::of(&cid), 3);
        let now: BTreeSet<_> = set(view.placement()).into_iter().collect();
        let sets: BTreeSet<_> = before.iter().flat_map(|p| set(p)).chain(now.clone()).collect();
        // Nobody comes before the replica set of now, and nobody else before those of the past.
        let others = holders[1..].iter().filter(|peer| !now.contains(peer));
        let first = others.clone().next().copied();
        let rank = |peer: PeerId| holders.iter().position(|other| *other == peer).unwrap();
        for peer in now.iter().filter(|peer| **peer != id(1)) {
            assert!(first.is_none_or(|first| rank(*peer) < rank(first)));
        }
        for peer in sets.iter().filter(|peer| **peer != id(1)) {
            assert!(rank(*peer) <= sets.len(), "{holders:?}");
        }
        differ += usize::from(sets.len() > 3);
    }
    assert!(differ > 50, "the topologies hardly differ");
}

#[test]
fn writes_go_to_nobody_who_is_being_emptied_and_not_by_the_topologies_of_before() {
    let view = view(vec![placement(1..=10)]);
    for cid in cids() {
        let peers: Vec<PeerId> = view.candidates(&cid).iter().map(|c| c.peer).collect();
        assert_eq!(peers.len(), CANDIDATES_MAX);
        let mut expected = view.placement().ranked(Partition::of(&cid), 20);
        expected.retain(|peer| *peer != id(5));
        expected.truncate(CANDIDATES_MAX);
        assert_eq!(peers, expected);
        // It is asked all the same.
        assert!(
            view.placement()
                .ranked(Partition::of(&cid), 3)
                .iter()
                .all(|peer| { view.holders(&cid).iter().any(|candidate| candidate.peer == *peer) })
        );
    }
}

#[test]
fn who_was_removed_is_not_asked() {
    let mut view = view(vec![placement(1..=30)]);
    view.peers.remove(&id(3));
    for cid in cids() {
        for candidate in view.holders(&cid) {
            assert!(view.peers().contains_key(&candidate.peer));
        }
    }
}
