//! Tables that follow a list of members, whatever is gossiped.

use std::collections::{BTreeMap, BTreeSet};

use crate::membership::network_test::{entry, id};
use crate::membership::{Config, Input, Liveness, MemberFacts, Membership, Output};
use crate::topology::Zone;
use crate::wire::{GossipEntry, GossipState, Notice};
use crate::{Instant, PeerId, Prng};
use core::time::Duration;

const fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn machine() -> Membership {
    Membership::new(entry(0, 100), Config::default(), Prng::new(1), ms(0)).unwrap()
}

fn facts(number: u32) -> MemberFacts {
    MemberFacts {
        peer: id(number),
        name: format!("agreed{number}"),
        zone: Zone::new(&format!("z{number}")).unwrap(),
        capacity_bytes: u64::from(number) << 30,
        addresses: vec![format!("/ip4/10.1.0.1/tcp/{}", 1 + number)],
        draining: number.is_multiple_of(3),
    }
}

fn list(numbers: impl IntoIterator<Item = u32>) -> Input {
    Input::Members { members: numbers.into_iter().map(facts).collect() }
}

fn step(machine: &mut Membership, now: Instant, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    machine.handle(now, input, &mut out);
    out
}

fn known(machine: &Membership) -> BTreeSet<PeerId> {
    machine.peers().map(|info| info.id).collect()
}

fn told(from: u32, entries: Vec<GossipEntry>) -> Input {
    Input::Gossip { from: id(from), entries, answer: true }
}

fn beat(number: u32, heartbeat: u64) -> GossipEntry {
    GossipEntry { heartbeat, ..entry(number, 100) }
}

#[test]
fn members_are_known_by_what_is_agreed_and_dialled_before_they_are_heard_of() {
    let mut machine = machine();
    let out = step(&mut machine, ms(1), list([0, 1, 2]));
    let changed = [0, 1, 2].map(|number| Output::Changed { peer: id(number) });
    assert!(changed.iter().all(|change| out.contains(change)), "{out:?}");
    assert_eq!(known(&machine), [0, 1, 2].map(id).into());
    for number in [0, 1, 2] {
        let info = machine.get(id(number)).unwrap();
        let facts = facts(number);
        assert_eq!((&info.name, &info.zone), (&facts.name, &facts.zone));
        assert_eq!((info.capacity_bytes, info.draining), (facts.capacity_bytes, facts.draining));
    }
    assert_eq!(machine.get(id(1)).unwrap().liveness, Liveness::Suspect);
    let out = step(&mut machine, ms(2), Input::Tick);
    let dial = Output::Dial { peer: id(1), addresses: facts(1).addresses };
    assert!(out.contains(&dial), "{out:?}");
    // The same list again changes nothing.
    assert_eq!(step(&mut machine, ms(3), list([0, 1, 2])), []);
}

#[test]
fn gossip_tells_of_members_how_they_are_and_where_and_nothing_of_others() {
    let mut machine = machine();
    step(&mut machine, ms(1), list([0, 1, 2]));
    let lie = GossipEntry { capacity_bytes: 1, used_bytes: 77, ..beat(1, 5) };
    let out = step(&mut machine, ms(2), told(1, vec![lie, beat(3, 9)]));
    assert!(!out.contains(&Output::TopologyChanged));
    let info = machine.get(id(1)).unwrap();
    assert_eq!((info.liveness, info.used_bytes), (Liveness::Alive, 77));
    assert_eq!((info.capacity_bytes, info.name.as_str()), (1 << 30, "agreed1"));
    assert_eq!(info.addresses, entry(1, 100).addresses);
    assert_eq!(machine.get(id(3)), None);
    // A stranger is neither heard nor answered, nor is a good-bye.
    assert_eq!(step(&mut machine, ms(3), told(3, vec![beat(3, 9), beat(2, 9)])), []);
    assert_eq!(machine.get(id(2)).unwrap().liveness, Liveness::Suspect);
    let bye = GossipEntry { state: GossipState::Left, ..beat(1, 6) };
    step(&mut machine, ms(4), told(1, vec![bye]));
    assert_eq!(machine.get(id(1)).unwrap().liveness, Liveness::Alive);
}

#[test]
fn a_removed_member_is_forgotten_at_once_and_not_told_of() {
    let mut machine = machine();
    step(&mut machine, ms(1), list([0, 1, 2]));
    for number in [1, 2] {
        step(&mut machine, ms(2), Input::Contact { peer: id(number) });
        step(&mut machine, ms(3), told(number, vec![beat(number, 1)]));
    }
    let out = step(&mut machine, ms(4), list([0, 1]));
    assert_eq!(out, [Output::Changed { peer: id(2) }]);
    assert_eq!(machine.get(id(2)), None);
    step(&mut machine, ms(5), told(1, vec![beat(2, 9)]));
    let mut out = Vec::new();
    for _ in 0..100 {
        machine.handle(machine.next_deadline(), Input::Tick, &mut out);
    }
    for output in out {
        if let Output::Send { to, notice: Notice::Gossip { entries, .. } } = output {
            assert_eq!(to, id(1));
            assert!(entries.iter().all(|entry| entry.peer != id(2)));
        }
    }
}

#[test]
fn a_member_whose_connection_was_there_before_it_was_listed_is_greeted() {
    let mut machine = machine();
    step(&mut machine, ms(1), list([0]));
    assert_eq!(step(&mut machine, ms(2), Input::Contact { peer: id(1) }), []);
    // Nothing is told to it meanwhile.
    let due = machine.next_deadline();
    let out = step(&mut machine, due, Input::Tick);
    assert!(!out.iter().any(|output| matches!(output, Output::Send { .. })));
    let out = step(&mut machine, ms(1000), list([0, 1]));
    let greets = |output: &Output| matches!(output, Output::Send { to, .. } if *to == id(1));
    assert!(out.iter().any(greets), "{out:?}");
    assert_eq!(machine.get(id(1)).unwrap().liveness, Liveness::Alive);
    // The same for one that was removed and came back before its connection ended.
    step(&mut machine, ms(1001), list([0]));
    assert!(step(&mut machine, ms(1002), list([0, 1])).iter().any(greets));
    // And not for one whose connection ended.
    step(&mut machine, ms(1003), list([0]));
    step(&mut machine, ms(1004), Input::Disconnected { peer: id(1) });
    assert!(!step(&mut machine, ms(1005), list([0, 1])).iter().any(greets));
}

#[test]
fn a_member_is_never_forgotten_however_long_it_is_away() {
    let mut machine = machine();
    step(&mut machine, ms(1), list([0, 1]));
    let end = Config::default().forget_after * 3;
    let mut out = Vec::new();
    for hour in 0..u64::from(u32::try_from(end.as_secs() / 3600).unwrap()) {
        let now = Instant::from_millis(hour * 3_600_000);
        machine.handle(now.max(machine.next_deadline()), Input::Tick, &mut out);
        // So that the machine does not think it slept.
        machine.last_round = Some(now.after(Duration::from_secs(3599)));
    }
    assert_eq!(machine.get(id(1)).unwrap().liveness, Liveness::Dead);
    assert!(!out.contains(&Output::TopologyChanged));
}

/// A random input, from peers and about peers of which some are members.
fn input(prng: &mut Prng) -> Input {
    let peer = |prng: &mut Prng| u32::try_from(prng.below(8)).unwrap();
    match prng.below(6) {
        0 => Input::Tick,
        1 => Input::Contact { peer: id(peer(prng)) },
        2 => Input::Disconnected { peer: id(peer(prng)) },
        3 => Input::Unreachable { peer: id(peer(prng)) },
        4 => {
            let mut numbers = Vec::new();
            for number in 0..8 {
                if prng.chance(1, 2) {
                    numbers.push(number);
                }
            }
            list(numbers)
        }
        _ => {
            let from = peer(prng);
            let mut entries = Vec::new();
            for _ in 0..prng.below(6) {
                let state = if prng.chance(1, 5) { GossipState::Left } else { GossipState::Alive };
                let about = peer(prng);
                let incarnation = 100 + prng.below(3);
                let heartbeat = prng.below(10);
                entries.push(GossipEntry { state, heartbeat, ..entry(about, incarnation) });
            }
            Input::Gossip { from: id(from), entries, answer: prng.chance(1, 2) }
        }
    }
}

#[test]
fn whatever_is_told_the_table_holds_the_members_and_the_facts_agreed_on() {
    for seed in 0..300 {
        let (mut prng, mut machine, mut now) = (Prng::new(seed), machine(), ms(0));
        let mut listed: Option<BTreeMap<PeerId, MemberFacts>> = None;
        for _ in 0..200 {
            now = now.after(Duration::from_millis(prng.below(3000)));
            let input = input(&mut prng);
            if let Input::Members { members } = &input {
                let facts = members.iter().map(|facts| (facts.peer, facts.clone()));
                listed = Some(facts.collect());
            }
            let out = step(&mut machine, now, input);
            let Some(listed) = &listed else { continue };
            let mut expected: BTreeSet<PeerId> = listed.keys().copied().collect();
            expected.insert(id(0));
            assert_eq!(known(&machine), expected, "seed {seed}");
            assert!(!out.contains(&Output::TopologyChanged), "seed {seed}");
            for info in machine.peers() {
                assert_ne!(info.liveness, Liveness::Left, "seed {seed}");
                if let Some(facts) = listed.get(&info.id) {
                    assert_eq!(info.zone, facts.zone, "seed {seed}");
                    assert_eq!(info.capacity_bytes, facts.capacity_bytes, "seed {seed}");
                    assert_eq!(info.draining, facts.draining, "seed {seed}");
                }
            }
            for output in out {
                if let Output::Send { to, .. } | Output::Dial { peer: to, .. } = output {
                    assert!(listed.contains_key(&to), "seed {seed}: told a stranger");
                }
            }
        }
    }
}
