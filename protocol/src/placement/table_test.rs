use std::collections::BTreeSet;

use crate::limits::PARTITIONS;
use crate::placement::{Partition, Placement, moved};
use crate::topology::{Epoch, ReplicaCount, Topology, TopologyPeer, Zone};
use crate::{PeerId, Prng};

/// Peers of a seed: `zones` in turn, capacities 1..=`spread` in turn.
pub(super) fn peers(seed: u64, count: usize, zones: usize, spread: u64) -> Vec<TopologyPeer> {
    let mut prng = Prng::new(seed);
    (0..count)
        .map(|index| {
            let mut key = [0; 32];
            key.chunks_exact_mut(8)
                .for_each(|part| part.copy_from_slice(&prng.next_u64().to_be_bytes()));
            TopologyPeer {
                id: PeerId::from_public_key(key),
                zone: Zone::new(&format!("z{}", index % zones)).unwrap(),
                capacity_bytes: (1 + index as u64 % spread) << 40,
            }
        })
        .collect()
}

pub(super) fn topology(replicas: u8, peers: Vec<TopologyPeer>) -> Topology {
    Topology::new(Epoch(1), ReplicaCount::new(replicas).unwrap(), peers)
}

/// Some partitions, spread over all.
fn some() -> impl Iterator<Item = Partition> {
    Partition::all().step_by(PARTITIONS as usize / 256)
}

#[test]
fn the_order_in_which_peers_are_listed_does_not_matter() {
    let mut list = peers(1, 20, 5, 8);
    let placement = Placement::new(&topology(3, list.clone()));
    Prng::new(2).shuffle(&mut list);
    assert_eq!(moved(&placement, &Placement::new(&topology(3, list))).copies_moved(), 0);
}

#[test]
fn copies_lie_in_distinct_zones_while_zones_last() {
    for (count, zones, replicas) in [(20, 5, 3), (9, 3, 3), (40, 4, 4), (12, 2, 3), (12, 3, 8)] {
        let topology = topology(replicas, peers(3, count, zones, 8));
        let placement = Placement::new(&topology);
        for partition in some() {
            let zone_of = |id| topology.peer(id).unwrap().zone.clone();
            let set: BTreeSet<PeerId> = placement.replica_set(partition).collect();
            let in_zones: BTreeSet<Zone> = set.iter().map(|id| zone_of(*id)).collect();
            assert_eq!(set.len(), usize::from(replicas));
            assert_eq!(in_zones.len(), zones.min(usize::from(replicas)));
            // And evenly: no zone has two copies more than another.
            let held = |zone| set.iter().filter(|id| zone_of(**id) == zone).count();
            assert!(
                in_zones
                    .into_iter()
                    .all(|zone| held(zone) <= usize::from(replicas).div_ceil(zones))
            );
        }
    }
}

#[test]
fn a_peer_without_capacity_holds_nothing_and_moves_nothing() {
    let mut list = peers(4, 6, 1, 1);
    let without = Placement::new(&topology(3, list[..5].to_vec()));
    list[5].capacity_bytes = 0;
    let with = Placement::new(&topology(3, list.clone()));
    assert_eq!(with.partitions_of(list[5].id).count(), 0);
    assert_eq!(with.ranked(Partition::new(7).unwrap(), 100).len(), 5);
    assert_eq!(moved(&without, &with).copies_moved(), 0);
}

#[test]
fn fewer_peers_than_copies_all_hold_everything() {
    for count in 0..3 {
        let placement = Placement::new(&topology(3, peers(5, count, 2, 8)));
        for partition in some() {
            let set: BTreeSet<PeerId> = placement.replica_set(partition).collect();
            assert_eq!(set.len(), count);
            assert_eq!(placement.ranked(partition, 3).len(), count);
        }
    }
}

#[test]
fn the_replica_set_leads_the_ranking() {
    for (count, zones, replicas) in [(20, 1, 3), (30, 5, 3), (200, 7, 4), (12, 2, 3), (11, 3, 5)] {
        let topology = topology(replicas, peers(6, count, zones, 8));
        let placement = Placement::new(&topology);
        for partition in some() {
            let all = placement.ranked(partition, count);
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), count);
            let set: Vec<PeerId> = placement.replica_set(partition).collect();
            assert_eq!(all[..usize::from(replicas)], set);
            assert_eq!(placement.ranked(partition, 2), set[..2]);
            // Spares go on in distinct zones.
            let first: BTreeSet<_> =
                all[..zones].iter().map(|id| &topology.peer(*id).unwrap().zone).collect();
            assert_eq!(first.len(), zones);
        }
    }
}

#[test]
fn weights_carried_in_the_topology_give_the_same_placement() {
    let placement = Placement::new(&topology(3, peers(7, 50, 5, 8)));
    let tuned = placement.tuned_topology();
    assert_eq!(tuned.weights().len(), 50);
    assert_eq!(moved(&placement, &Placement::new(&tuned)).copies_moved(), 0);
}
