//! One machine, input by input.

use super::Membership;
use crate::limits::{CLUSTER_PEERS_MAX, GOSSIP_ENTRIES_MAX};
use crate::membership::network_test::{entry, id};
use crate::membership::{Config, Input, Liveness, Output};
use crate::topology::ReplicaCount;
use crate::wire::{GossipEntry, GossipState, Notice};
use crate::{Instant, PeerId, Prng};
use core::time::Duration;
use proptest::prelude::*;

const fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn machine() -> Membership {
    Membership::new(entry(0, 100), Config::default(), Prng::new(1), ms(0)).unwrap()
}

fn step(machine: &mut Membership, now: Instant, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    machine.handle(now, input, &mut out);
    out
}

fn told(from: u32, entries: Vec<GossipEntry>) -> Input {
    Input::Gossip { from: id(from), entries, answer: false }
}

fn beat(number: u32, heartbeat: u64) -> GossipEntry {
    GossipEntry { heartbeat, ..entry(number, 100) }
}

fn liveness(machine: &Membership, number: u32) -> Option<Liveness> {
    machine.get(id(number)).map(|info| info.liveness)
}

/// Ticks whenever due, up to `end`.
fn run(machine: &mut Membership, end: Instant) -> Vec<Output> {
    let mut out = Vec::new();
    while machine.next_deadline() <= end {
        machine.handle(machine.next_deadline(), Input::Tick, &mut out);
    }
    out
}

#[test]
fn a_peer_told_of_by_others_is_suspected_until_its_heartbeat_rises() {
    let mut machine = machine();
    let out = step(&mut machine, ms(1), told(1, vec![beat(1, 1), beat(2, 1)]));
    assert_eq!(liveness(&machine, 1), Some(Liveness::Alive));
    assert_eq!(liveness(&machine, 2), Some(Liveness::Suspect));
    let changed = |number| Output::Changed { peer: id(number) };
    assert_eq!(out, [changed(1), changed(2), Output::TopologyChanged]);

    assert_eq!(step(&mut machine, ms(2), told(1, vec![beat(2, 1)])), []);
    assert_eq!(step(&mut machine, ms(3), told(1, vec![beat(2, 2)])), [changed(2)]);
    assert_eq!(liveness(&machine, 2), Some(Liveness::Alive));
}

#[test]
fn a_peer_that_cannot_be_reached_is_suspected_at_once_and_cleared_by_its_heartbeat() {
    let mut machine = machine();
    step(&mut machine, ms(1), told(1, vec![beat(1, 1)]));
    let out = step(&mut machine, ms(2), Input::Disconnected { peer: id(1) });
    assert!(matches!(out[..], [Output::Dial { peer, .. }] if peer == id(1)), "{out:?}");
    assert_eq!(liveness(&machine, 1), Some(Liveness::Alive));
    let out = step(&mut machine, ms(3), Input::Unreachable { peer: id(1) });
    assert_eq!(out, [Output::Changed { peer: id(1) }]);
    assert_eq!(liveness(&machine, 1), Some(Liveness::Suspect));
    step(&mut machine, ms(4), told(2, vec![beat(1, 2)]));
    assert_eq!(liveness(&machine, 1), Some(Liveness::Alive));
}

#[test]
fn silence_leads_from_alive_to_suspect_to_dead_to_forgotten() {
    let mut machine = machine();
    step(&mut machine, ms(0), told(1, vec![beat(1, 1)]));
    for (millis, expected) in [
        (2_900, Some(Liveness::Alive)),
        (3_600, Some(Liveness::Suspect)),
        (9_900, Some(Liveness::Suspect)),
        (10_600, Some(Liveness::Dead)),
        (24 * 3_600_000, Some(Liveness::Dead)),
        (24 * 3_600_000 + 11_200, None),
    ] {
        run(&mut machine, ms(millis));
        assert_eq!(liveness(&machine, 1), expected, "after {millis} ms");
    }
}

#[test]
fn a_peer_that_was_suspended_blames_nobody_for_its_own_silence() {
    let mut machine = machine();
    run(&mut machine, ms(1_000));
    step(&mut machine, ms(1_000), told(1, vec![beat(1, 1)]));
    // Given that this peer does not run for an hour.
    step(&mut machine, ms(3_600_000), Input::Tick);
    assert_eq!(liveness(&machine, 1), Some(Liveness::Alive));
    run(&mut machine, ms(3_600_000 + 11_000));
    assert_eq!(liveness(&machine, 1), Some(Liveness::Dead));
}

#[test]
fn nothing_is_sent_where_there_is_no_connection() {
    let mut machine = machine();
    machine.remember(ms(0), entry(1, 50));
    assert_eq!(liveness(&machine, 1), Some(Liveness::Suspect));
    let out = step(&mut machine, ms(0), Input::Tick);
    let addresses = entry(1, 50).addresses;
    assert_eq!(out, [Output::Dial { peer: id(1), addresses }]);
    // When the connection is there, the peer is greeted and asked what it knows.
    let out = step(&mut machine, ms(10), Input::Contact { peer: id(1) });
    let greets = |output: &Output| matches!(output, Output::Send { to, notice: Notice::Gossip { answer: true, .. } } if *to == id(1));
    assert!(out.iter().any(greets), "{out:?}");
    assert_eq!(liveness(&machine, 1), Some(Liveness::Alive));
}

#[test]
fn a_stranger_is_asked_until_it_says_who_it_is() {
    let mut machine = machine();
    step(&mut machine, ms(0), Input::Contact { peer: id(1) });
    assert!(matches!(step(&mut machine, ms(0), Input::Tick)[..], [Output::Send { .. }]));
    let next = machine.next_deadline();
    assert!(matches!(step(&mut machine, next, Input::Tick)[..], [Output::Send { .. }]));
    // When it does, over the connection that is there, no other one is asked for.
    let mut known = machine.clone();
    step(&mut known, next, told(1, vec![beat(1, 1)]));
    let out = step(&mut known, machine.next_deadline(), Input::Tick);
    assert!(matches!(out[..], [Output::Send { .. }]), "{out:?}");
    // When it goes away instead, it is forgotten.
    step(&mut machine, next, Input::Disconnected { peer: id(1) });
    let next = machine.next_deadline();
    assert_eq!(step(&mut machine, next, Input::Tick), []);
}

#[test]
fn a_newcomer_is_told_of_everybody_and_an_acquaintance_of_some() {
    let mut machine = machine();
    for number in 10..110 {
        step(&mut machine, ms(1), told(number, vec![beat(number, 1)]));
    }
    let ask =
        |heartbeat| Input::Gossip { from: id(1), entries: vec![beat(1, heartbeat)], answer: true };
    let sent = |out: Vec<Output>| {
        let notices = out.into_iter().filter_map(|output| match output {
            Output::Send { notice: Notice::Gossip { entries, .. }, .. } => Some(entries),
            Output::Changed { .. } | Output::Dial { .. } | Output::TopologyChanged => None,
        });
        notices.collect::<Vec<_>>()
    };
    let welcome = sent(step(&mut machine, ms(2), ask(1)));
    assert_eq!(welcome.len(), 3);
    let mut peers: Vec<PeerId> = welcome.iter().flatten().map(|entry| entry.peer).collect();
    peers.sort_unstable();
    peers.dedup();
    assert_eq!(peers.len(), 102);
    // Then it is no newcomer any more, and answers go round so that nobody is passed over for long.
    let mut heard = std::collections::BTreeSet::new();
    for heartbeat in 2..6 {
        let answer = sent(step(&mut machine, ms(3), ask(heartbeat)));
        assert_eq!(answer.len(), 1);
        assert_eq!(answer[0].len(), GOSSIP_ENTRIES_MAX);
        assert_eq!(answer[0][0].peer, id(0));
        heard.extend(answer[0].iter().map(|entry| entry.peer));
    }
    assert_eq!(heard.len(), 102, "four answers of forty tell of all hundred and two");
}

#[test]
fn a_silent_peer_is_told_of_however_much_news_there_is() {
    let mut machine = machine();
    let mut numbers: Vec<u32> = (10..111).collect();
    numbers.sort_unstable_by_key(|number| id(*number));
    let silent = numbers.pop().unwrap();
    step(&mut machine, ms(1), told(silent, vec![beat(silent, 1)]));
    let mut told_of_it = 0;
    for heartbeat in 1..41 {
        for number in &numbers {
            step(&mut machine, ms(2), told(*number, vec![beat(*number, heartbeat)]));
        }
        let mut out = Vec::new();
        let from = id(numbers[0]);
        machine.handle(ms(2), Input::Gossip { from, entries: vec![], answer: true }, &mut out);
        let Some(Output::Send { notice: Notice::Gossip { entries, .. }, .. }) = out.pop() else {
            panic!("no answer");
        };
        told_of_it += u32::from(entries.iter().any(|entry| entry.peer == id(silent)));
    }
    // Ten places of each answer go round the hundred and one.
    assert!(told_of_it >= 3, "{told_of_it}");
}

#[test]
fn words_put_into_its_mouth_make_a_peer_take_a_higher_incarnation() {
    let foreign = [
        GossipEntry { heartbeat: 1_000_000, ..entry(0, 100) },
        entry(0, 150),
        GossipEntry { state: GossipState::Left, ..entry(0, 100) },
    ];
    for words in foreign {
        let mut machine = machine();
        let expected = words.incarnation + 1;
        step(&mut machine, ms(1), told(1, vec![words]));
        assert_eq!(machine.get(id(0)).unwrap().incarnation, expected);
        assert_eq!(liveness(&machine, 0), Some(Liveness::Alive));
    }
    let mut machine = machine();
    step(&mut machine, ms(1), told(1, vec![entry(0, 99), entry(0, 100), entry(0, u64::MAX)]));
    assert_eq!(machine.get(id(0)).unwrap().incarnation, 100);
}

#[test]
fn invented_peers_fill_no_more_than_the_table() {
    let mut machine = machine();
    step(&mut machine, ms(0), told(1, vec![entry(1, u64::MAX)]));
    assert_eq!(liveness(&machine, 1), None);
    // Given more peers than a cluster may have, one of which leaves.
    let invent = |number| {
        if number == 5 {
            GossipEntry { state: GossipState::Left, ..entry(5, 1) }
        } else {
            entry(number, 1)
        }
    };
    let most = u32::try_from(CLUSTER_PEERS_MAX).unwrap();
    for number in 1..most + 50 {
        step(&mut machine, ms(1), told(1, vec![invent(number)]));
    }
    assert_eq!(machine.peers().count(), CLUSTER_PEERS_MAX);
    assert_eq!(liveness(&machine, 5), None, "room is made by forgetting who left");
    assert!(machine.get(id(0)).is_some());
}

#[test]
fn facts_of_its_own_are_checked_and_told() {
    let mut machine = machine();
    let before = machine.topology(ReplicaCount::new(3).unwrap()).epoch();
    let addresses = vec!["nonsense".to_owned(), "/ip4/1.2.3.4/udp/1/quic-v1".to_owned()];
    let own = Input::Own { capacity_bytes: 7, used_bytes: 1, addresses };
    let out = step(&mut machine, ms(1), own);
    assert_eq!(out, [Output::Changed { peer: id(0) }, Output::TopologyChanged]);
    assert_eq!(machine.get(id(0)).unwrap().addresses, ["/ip4/1.2.3.4/udp/1/quic-v1"]);
    assert_ne!(machine.topology(ReplicaCount::new(3).unwrap()).epoch(), before);
}

#[test]
fn who_starts_again_with_its_clock_set_back_is_told_of_its_past() {
    let mut machine = machine();
    step(&mut machine, ms(1), told(1, vec![beat(1, 9)]));
    assert_eq!(step(&mut machine, ms(2), told(1, vec![beat(1, 8)])), [], "overtaken, no more");
    let out = step(&mut machine, ms(3), told(1, vec![entry(1, 50)]));
    let notice = Notice::Gossip { entries: vec![beat(1, 9)], answer: false };
    assert_eq!(out, [Output::Send { to: id(1), notice }]);
}

#[test]
fn who_left_is_silent() {
    let mut machine = machine();
    step(&mut machine, ms(1), told(1, vec![beat(1, 1)]));
    step(&mut machine, ms(1), Input::Contact { peer: id(1) });
    let out = step(&mut machine, ms(2), Input::Leave);
    assert!(out.iter().any(|output| matches!(output, Output::Send { .. })));
    assert_eq!(liveness(&machine, 0), Some(Liveness::Left));
    assert_eq!(step(&mut machine, ms(900), Input::Tick), []);
    assert_eq!(step(&mut machine, ms(901), Input::Contact { peer: id(1) }), []);
}

fn inputs() -> impl Strategy<Value = Input> {
    let entries = (0u32..6, 95u64..105, any::<bool>(), 0u64..9).prop_map(
        |(number, incarnation, left, heartbeat)| GossipEntry {
            heartbeat,
            state: if left { GossipState::Left } else { GossipState::Alive },
            ..entry(number, incarnation)
        },
    );
    let peer = || (0u32..6).prop_map(id);
    prop_oneof![
        4 => Just(Input::Tick),
        4 => (peer(), prop::collection::vec(entries, 0..4), any::<bool>())
            .prop_map(|(from, entries, answer)| Input::Gossip { from, entries, answer }),
        1 => peer().prop_map(|peer| Input::Contact { peer }),
        1 => peer().prop_map(|peer| Input::Disconnected { peer }),
        1 => peer().prop_map(|peer| Input::Unreachable { peer }),
    ]
}

proptest! {
    #[test]
    fn no_order_of_inputs_breaks_the_table(
        steps in prop::collection::vec((0u64..4_000, inputs()), 0..60),
    ) {
        let mut machine = machine();
        let mut now = ms(0);
        let mut incarnation = 0;
        for (pause, input) in steps {
            now = now.after(Duration::from_millis(pause));
            let connected = match &input {
                Input::Gossip { from: peer, .. } | Input::Contact { peer } => Some(*peer),
                Input::Tick | Input::Disconnected { .. } | Input::Unreachable { .. }
                | Input::Own { .. } | Input::Members { .. } | Input::Leave => None,
            };
            let before: Vec<_> = machine.peers().map(|i| (i.id, i.incarnation)).collect();
            let tick = input == Input::Tick;
            let out = step(&mut machine, now, input);
            // It never doubts itself, and its incarnation only rises; so do those of others.
            let own = machine.get(id(0)).expect("own peer");
            prop_assert_eq!(own.liveness, Liveness::Alive);
            prop_assert!(own.incarnation >= incarnation);
            incarnation = own.incarnation;
            for (peer, earlier) in before {
                prop_assert!(machine.get(peer).is_none_or(|info| info.incarnation >= earlier));
            }
            for output in out {
                match output {
                    Output::Send { to, notice: Notice::Gossip { entries, .. } } => {
                        prop_assert!(to != id(0) && entries.len() <= GOSSIP_ENTRIES_MAX);
                        prop_assert!(tick || connected == Some(to));
                    }
                    Output::Dial { peer, .. } => {
                        prop_assert!(machine.get(peer).is_some_and(|i| i.liveness != Liveness::Left));
                    }
                    Output::Changed { .. } | Output::TopologyChanged => {}
                }
            }
            if tick {
                prop_assert!(machine.next_deadline() > now);
            }
        }
    }
}
