//! Properties of placements: distinct zones, bounded load, bounded movement, one result for one topology.

use std::collections::BTreeSet;

use crate::limits::PARTITIONS;
use crate::placement::{Partition, Placement, moved};
use crate::topology::{Epoch, ReplicaCount, Topology, TopologyPeer, Weight, Zone};
use crate::{PeerId, Prng};

/// Peers of a seed: `zones` in turn, capacities 1..=`spread` in turn.
fn peers(seed: u64, count: usize, zones: usize, spread: u64) -> Vec<TopologyPeer> {
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

fn topology(replicas: u8, peers: Vec<TopologyPeer>) -> Topology {
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
    for (count, zones, replicas) in [(20, 5, 3), (9, 3, 3), (12, 4, 4), (12, 2, 3), (12, 3, 8)] {
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
    for (count, zones, replicas) in [(20, 1, 3), (30, 5, 3), (11, 3, 5)] {
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

/// Returns by how much the fullest peer is above its fair share, in thousandths of it.
fn fullest_above_share(placement: &Placement) -> u64 {
    let above = placement.loads().into_iter().map(|load| {
        let copies = u64::from(load.copies) << 16;
        copies.saturating_sub(load.fair_copies_q16) * 1000 / load.fair_copies_q16
    });
    above.max().unwrap_or(0)
}

#[test]
fn nobody_holds_a_twentieth_more_than_its_share() {
    for (count, zones, spread) in [(5, 1, 8), (5, 5, 1), (20, 1, 8), (20, 5, 8), (100, 5, 8)] {
        for seed in [10, 11].into_iter().take(if count < 100 { 2 } else { 1 }) {
            let placement = Placement::new(&topology(3, peers(seed, count, zones, spread)));
            let above = fullest_above_share(&placement);
            assert!(above <= 50, "{above} of {count} peers in {zones} zones, seed {seed}");
        }
    }
}

#[test]
fn a_join_and_a_leave_move_at_most_a_tenth_more_than_they_have_to() {
    for (count, zones, spread) in [(5, 1, 8), (20, 1, 1), (20, 5, 8), (100, 5, 8)] {
        let mut list = peers(20 + count as u64, count + 1, zones, spread);
        let newcomer = list.pop().unwrap();
        let placement = Placement::new(&topology(3, list.clone()));

        let joined = placement.with_peer(Epoch(2), newcomer.clone());
        let loads = joined.loads();
        let load = loads.iter().find(|load| load.peer == newcomer.id).unwrap();
        let moves = moved(&placement, &joined).copies_moved();
        assert!(moves * 10 <= (load.fair_copies_q16 >> 16) * 11, "{moves} for {load:?}");
        assert!(fullest_above_share(&joined) <= 50, "{count} peers in {zones} zones");
        // And everybody computes the same from the committed value.
        let committed = Placement::new(joined.topology());
        assert_eq!(moved(&joined, &committed).copies_moved(), 0);
        assert_eq!(joined.topology().epoch(), Epoch(2));

        let left = placement.without_peer(Epoch(2), list[1].id);
        let held = placement.partitions_of(list[1].id).count() as u64;
        let moves = moved(&placement, &left).copies_moved();
        assert!(moves >= held && moves * 10 <= held * 11, "{moves} for {held}");
        let committed = Placement::new(left.topology());
        assert_eq!(moved(&left, &committed).copies_moved(), 0);
    }
}

#[test]
fn a_cluster_that_grows_and_shrinks_peer_by_peer_stays_placed() {
    // Given every passage: fewer peers than copies, fewer zones than copies, gateways among them.
    let list = peers(30, 7, 4, 3);
    let mut placement = Placement::new(&topology(3, Vec::new()));
    let mut steps = Vec::new();
    for (epoch, mut peer) in (2..).zip(list.clone()) {
        peer.capacity_bytes *= u64::from(epoch != 4);
        placement = placement.with_peer(Epoch(epoch), peer);
        steps.push(placement.clone());
    }
    let mut changed = list[0].clone();
    changed.capacity_bytes *= 2;
    placement = placement.with_peer(Epoch(20), changed);
    steps.push(placement.clone());
    for (epoch, peer) in (21..).zip(&list) {
        placement = placement.without_peer(Epoch(epoch), peer.id);
        steps.push(placement.clone());
    }
    for step in steps {
        let holders = step.topology().peers().iter().filter(|peer| peer.capacity_bytes > 0);
        let zones = holders.clone().map(|peer| &peer.zone).collect::<BTreeSet<_>>().len();
        let holders = holders.count();
        for partition in some() {
            let set: BTreeSet<PeerId> = step.replica_set(partition).collect();
            let zone = |id: &PeerId| step.topology().peer(*id).unwrap().zone.clone();
            assert_eq!(set.len(), holders.min(3));
            assert_eq!(set.iter().map(zone).collect::<BTreeSet<_>>().len(), zones.min(3));
        }
        let committed = Placement::new(step.topology());
        assert_eq!(moved(&step, &committed).copies_moved(), 0, "{:?}", step.topology().epoch());
    }
    assert_eq!(placement.topology().peers().len(), 0);
}

#[test]
fn moves_lead_from_one_placement_to_the_other() {
    let list = peers(40, 12, 4, 8);
    let before = Placement::new(&topology(3, list.clone()));
    let after = before.without_peer(Epoch(2), list[3].id);
    let mut received = 0;
    for step in moved(&before, &after).moves() {
        assert!(before.is_replica(step.partition, step.from.unwrap()));
        assert!(!after.is_replica(step.partition, step.from.unwrap()));
        assert!(after.is_replica(step.partition, step.to));
        assert!(!before.is_replica(step.partition, step.to));
        received += 1;
    }
    assert_eq!(moved(&before, &after).received().values().sum::<u64>(), received);
    assert!(received >= before.partitions_of(list[3].id).count() as u64);
}

#[test]
fn the_placement_of_a_known_topology_never_changes() {
    // Peers that disagree on one row store and look for blocks in different places: changing these
    // needs a decision record and a way for clusters to change over.
    let digest = |topology: &Topology| {
        let placement = Placement::new(topology);
        let mut bytes = Vec::new();
        for partition in Partition::all() {
            for id in placement.replica_set(partition) {
                bytes.extend_from_slice(&id.public_key()[..4]);
            }
        }
        twox_hash::XxHash3_64::oneshot(&bytes)
    };
    let known = [(5, 1, 1), (20, 5, 8), (7, 2, 8)];
    let digests =
        known.map(|(count, zones, spread)| digest(&topology(3, peers(50, count, zones, spread))));
    assert_eq!(
        digests,
        [12_411_248_476_546_366_866, 9_716_410_577_239_641_524, 7_137_043_343_059_462_284]
    );
    let list = peers(50, 20, 5, 8);
    let weights = (0..20).map(|k| Weight(k << 15)).collect();
    assert_eq!(digest(&topology(3, list).with_weights(weights)), 2_602_068_422_751_856_860);
}
