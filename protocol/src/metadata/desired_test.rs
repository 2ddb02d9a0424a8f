//! Topologies that follow the members.

use super::desired_topology;
use super::testing::member;
use super::value::{Member, MemberState};
use crate::limits::TOPOLOGY_CHANGES_MAX;
use crate::placement::Placement;
use crate::topology::{Epoch, ReplicaCount, Topology, Zone};

fn replicas() -> ReplicaCount {
    ReplicaCount::new(2).unwrap()
}

fn next(members: &[Member], current: &Topology) -> Option<Topology> {
    desired_topology(members, replicas(), Some(&Placement::new(current)))
}

#[test]
fn the_topology_follows_its_members_one_epoch_at_a_time() {
    let mut members: Vec<Member> = (1..=4).map(member).collect();
    let first = desired_topology(&members, replicas(), None).unwrap();
    assert_eq!((first.epoch(), first.peers().len()), (Epoch(1), 4));
    assert_eq!(next(&members, &first), None);
    // When one joins and one is moved.
    members.push(member(5));
    members[0].zone = Zone::new("y").unwrap();
    let second = next(&members, &first).unwrap();
    assert_eq!((second.epoch(), second.peers().len()), (Epoch(2), 5));
    assert_eq!(second.peer(members[0].peer).unwrap().zone, members[0].zone);
    assert_eq!(second.weights().len(), 5);
    assert_eq!(next(&members, &second), None);
    // When one drains, it stays without a capacity; when it is removed, it goes.
    members[4].state = MemberState::Draining;
    let third = next(&members, &second).unwrap();
    assert_eq!(third.peer(members[4].peer).unwrap().capacity_bytes, 0);
    members[4].state = MemberState::Drained;
    assert_eq!(next(&members, &third), None);
    members.pop();
    let fourth = next(&members, &third).unwrap();
    assert_eq!((fourth.epoch(), fourth.peers().len()), (Epoch(4), 4));
    // Whose weights did not change, but for those who had to shed, moved nothing.
    let placement = Placement::new(&fourth);
    assert_eq!(placement.tuned_topology(), fourth);
}

#[test]
fn another_number_of_replicas_is_another_topology() {
    let members: Vec<Member> = (1..=4).map(member).collect();
    let first = desired_topology(&members, replicas(), None).unwrap();
    let three = ReplicaCount::new(3).unwrap();
    let second = desired_topology(&members, three, Some(&Placement::new(&first))).unwrap();
    assert_eq!((second.epoch(), second.replicas()), (Epoch(2), three));
}

#[test]
fn many_changes_are_taken_up_in_turns() {
    let members: Vec<Member> = (1..=30).map(member).collect();
    let first = desired_topology(&members[..2], replicas(), None).unwrap();
    let second = next(&members, &first).unwrap();
    assert_eq!(second.peers().len(), 2 + TOPOLOGY_CHANGES_MAX);
    let third = next(&members, &second).unwrap();
    assert_eq!(third.peers().len(), 30);
    assert_eq!(next(&members, &third), None);
}
