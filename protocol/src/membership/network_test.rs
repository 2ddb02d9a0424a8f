//! Many machines on a network of virtual time that loses, delays and cuts: no runtime, one seed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Config, Input, Liveness, Membership, Output};
use crate::limits::FRAME_HEAD_BYTES_MAX;
use crate::topology::{ReplicaCount, Topology, Zone};
use crate::wire::{GossipEntry, GossipState, Message, Notice};
use crate::{Instant, PeerId, Prng};
use core::time::Duration;

pub(super) fn id(number: u32) -> PeerId {
    let mut key = [0; 32];
    // Spread over the table, as real keys are.
    key[..8].copy_from_slice(&Prng::new(number.into()).next_u64().to_be_bytes());
    key[8..12].copy_from_slice(&number.to_be_bytes());
    PeerId::from_public_key(key)
}

pub(super) fn entry(number: u32, incarnation: u64) -> GossipEntry {
    GossipEntry {
        peer: id(number),
        incarnation,
        heartbeat: 0,
        state: GossipState::Alive,
        name: format!("p{number}"),
        zone: Zone::default(),
        capacity_bytes: 1 << 30,
        used_bytes: 0,
        addresses: vec![format!("/ip4/10.0.0.1/tcp/{number}")],
    }
}

/// How long a message or a handshake takes: 5 to 45 ms.
fn latency(prng: &mut Prng) -> Duration {
    Duration::from_millis(5 + prng.below(40))
}

struct Event {
    to: PeerId,
    input: Input,
}

pub(super) struct Network {
    now: Instant,
    prng: Prng,
    pub(super) machines: BTreeMap<PeerId, Membership>,
    events: BTreeMap<(Instant, u64), Event>,
    deadlines: BTreeSet<(Instant, PeerId)>,
    counter: u64,
    connections: BTreeSet<(PeerId, PeerId)>,
    /// Peers on the one side of a cut. What crosses it is lost without a sign.
    island: BTreeSet<PeerId>,
    loss_percent: u64,
    /// Whoever was said to be dead, by whom.
    deaths: BTreeSet<(PeerId, PeerId)>,
    messages: u64,
    largest_head: usize,
}

impl Network {
    pub(super) fn new(seed: u64, loss_percent: u64) -> Self {
        Self {
            now: Instant::from_millis(1000),
            prng: Prng::new(seed),
            machines: BTreeMap::new(),
            events: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            counter: 0,
            connections: BTreeSet::new(),
            island: BTreeSet::new(),
            loss_percent,
            deaths: BTreeSet::new(),
            messages: 0,
            largest_head: 0,
        }
    }

    /// Starts a peer that knows the address of one other.
    pub(super) fn start(&mut self, number: u32, incarnation: u64, bootstrap: Option<u32>) {
        let own = entry(number, incarnation);
        let prng = self.prng.fork();
        let machine = Membership::new(own, Config::default(), prng, self.now).unwrap();
        self.deadlines.insert((machine.next_deadline(), id(number)));
        self.machines.insert(id(number), machine);
        if let Some(bootstrap) = bootstrap {
            self.dial(id(number), id(bootstrap));
        }
    }

    /// Takes a peer away; its connections stay silent, as those of a frozen machine.
    fn freeze(&mut self, number: u32) -> Membership {
        let machine = self.machines.remove(&id(number)).unwrap();
        self.deadlines.retain(|(_, peer)| *peer != id(number));
        machine
    }

    fn handle(&mut self, to: PeerId, input: Input) {
        let Some(machine) = self.machines.get_mut(&to) else { return };
        let mut out = Vec::new();
        self.deadlines.remove(&(machine.next_deadline(), to));
        machine.handle(self.now, input, &mut out);
        self.deadlines.insert((machine.next_deadline(), to));
        for output in out {
            match output {
                Output::Send { to: target, notice } => self.send(to, target, notice),
                Output::Dial { peer, .. } => self.dial(to, peer),
                Output::Changed { peer } => {
                    let dead = |info: &super::PeerInfo| info.liveness == Liveness::Dead;
                    if self.machines[&to].get(peer).is_some_and(dead) {
                        self.deaths.insert((to, peer));
                    }
                }
                Output::TopologyChanged => {}
            }
        }
    }

    fn send(&mut self, from: PeerId, to: PeerId, notice: Notice) {
        self.messages += 1;
        if self.messages.is_multiple_of(100) {
            let frame = Message::Notice(notice.clone()).encode().unwrap();
            self.largest_head = self.largest_head.max(frame.head.len());
        }
        let lost = self.prng.chance(self.loss_percent, 100) || self.is_cut(from, to);
        if !lost && self.connections.contains(&(from.min(to), from.max(to))) {
            let Notice::Gossip { entries, answer } = notice;
            let delay = latency(&mut self.prng);
            self.later(delay, to, Input::Gossip { from, entries, answer });
        }
    }

    fn dial(&mut self, from: PeerId, to: PeerId) {
        let delay = latency(&mut self.prng);
        if self.machines.contains_key(&to) && !self.is_cut(from, to) {
            self.connections.insert((from.min(to), from.max(to)));
            self.later(delay, to, Input::Contact { peer: from });
            self.later(delay, from, Input::Contact { peer: to });
        } else {
            self.later(delay, from, Input::Unreachable { peer: to });
        }
    }

    fn is_cut(&self, from: PeerId, to: PeerId) -> bool {
        self.island.contains(&from) != self.island.contains(&to)
    }

    pub(super) fn later(&mut self, delay: Duration, to: PeerId, input: Input) {
        self.counter += 1;
        self.events.insert((self.now.after(delay), self.counter), Event { to, input });
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let tick = self.deadlines.first().copied();
            match (event, tick) {
                (Some(at), tick) if at <= end && tick.is_none_or(|(due, _)| at <= due) => {
                    self.now = at;
                    let (_, event) = self.events.pop_first().unwrap();
                    self.handle(event.to, event.input);
                }
                (_, Some((due, peer))) if due <= end => {
                    self.now = self.now.max(due);
                    self.handle(peer, Input::Tick);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Runs until `done`, and returns how long that took; fails after `limit`.
    fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        while !done(self) {
            assert!(self.now.since(start) < limit, "not within {limit:?}");
            self.run(Duration::from_millis(250));
        }
        self.now.since(start)
    }

    /// Says whether everybody running thinks this of `number`.
    fn all_think(&self, number: u32, liveness: Liveness) -> bool {
        let others = self.machines.iter().filter(|(peer, _)| **peer != id(number));
        others.into_iter().all(|(_, machine)| {
            machine.get(id(number)).is_some_and(|info| info.liveness == liveness)
        })
    }

    fn all_know_all(&self, count: usize) -> bool {
        self.machines.values().all(|machine| {
            machine.peers().filter(|info| info.liveness == Liveness::Alive).count() == count
        })
    }
}

/// Returns a network of `count` peers that know each other.
fn settled(seed: u64, count: u32, loss_percent: u64) -> Network {
    let mut network = Network::new(seed, loss_percent);
    for number in 0..count {
        network.start(number, 100, number.checked_sub(1));
    }
    let total = usize::try_from(count).unwrap();
    network.run_until(secs(30), |network| network.all_know_all(total));
    network.deaths.clear();
    network
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Full sizes take minutes without optimisation, so the tests of every day are smaller.
const fn size(debug: u32, release: u32) -> u32 {
    if cfg!(debug_assertions) { debug } else { release }
}

#[test]
fn twenty_peers_that_know_one_other_each_know_all_within_ten_seconds() {
    for (seed, loss_percent) in [(1, 0), (2, 0), (3, 10), (4, 10)] {
        let mut network = Network::new(seed, loss_percent);
        for number in 0..20 {
            network.start(number, 100, number.checked_sub(1));
        }
        network.run_until(secs(10), |network| network.all_know_all(20));
        let topologies = network.machines.values().map(|machine| machine.topology(three()));
        let mut topologies: Vec<Topology> = topologies.collect();
        topologies.dedup();
        assert_eq!(topologies.len(), 1, "seed {seed}: peers disagree on the topology");
    }
}

/// Starts `count` peers at once, each knowing one that started earlier, and returns how long it
/// takes until each knows of all.
fn convergence(seed: u64, count: u32) -> (Network, Duration) {
    let mut network = Network::new(seed, 0);
    for number in 0..count {
        let earlier = u32::try_from(network.prng.below(number.into())).unwrap();
        network.start(number, 100, (number > 0).then_some(earlier));
    }
    let total = usize::try_from(count).unwrap();
    let known = |network: &Network| network.machines.values().all(|m| m.peers().count() == total);
    let took = network.run_until(secs(60), known);
    (network, took)
}

#[test]
fn a_large_cluster_learns_of_all_members_in_few_rounds() {
    let (network, took) = convergence(1, size(80, 200));
    assert!(took <= secs(10), "{took:?}");
    assert!((1..=FRAME_HEAD_BYTES_MAX as usize).contains(&network.largest_head));
}

#[test]
#[ignore = "minutes, with optimisation"]
fn a_thousand_peers_learn_of_each_other_within_sixty_rounds() {
    let (mut network, took) = convergence(1, 1000);
    assert!(took <= secs(30), "{took:?}");
    network.run(secs(30));
    assert_eq!(network.deaths.len(), 0);
}

#[test]
fn a_frozen_peer_is_suspected_and_dead_everywhere_in_the_stated_time() {
    for seed in 0..3 {
        let mut network = settled(seed, 20, 10);
        network.freeze(7);
        network.run_until(secs(6), |network| network.all_think(7, Liveness::Suspect));
        network.run_until(secs(8), |network| network.all_think(7, Liveness::Dead));
        // It is a member still, and nobody else came to harm.
        assert!(network.machines.values().all(|m| m.topology(three()).peers().len() == 20));
        assert!(network.deaths.iter().all(|(_, dead)| *dead == id(7)));
    }
}

/// Runs a cluster in which nothing fails but the tenth message, and returns the deaths that were
/// claimed.
fn false_deaths(seed: u64, count: u32, duration: Duration) -> usize {
    let mut network = settled(seed, count, 10);
    network.run(duration);
    network.deaths.len()
}

#[test]
fn no_live_peer_is_taken_for_dead_while_a_tenth_of_the_messages_is_lost() {
    for seed in 0..2 {
        assert_eq!(false_deaths(seed, size(20, 50), secs(60)), 0, "seed {seed}");
    }
}

#[test]
#[ignore = "minutes, with optimisation"]
fn no_live_peer_of_fifty_is_taken_for_dead_in_ten_minutes() {
    for seed in 0..4 {
        assert_eq!(false_deaths(seed, 50, secs(600)), 0, "seed {seed}");
    }
}

#[test]
fn a_restarted_peer_is_alive_again_even_with_its_clock_set_back() {
    for incarnation in [200, 50] {
        let mut network = settled(1, 10, 10);
        network.freeze(3);
        network.run_until(secs(20), |network| network.all_think(3, Liveness::Dead));
        network.start(3, incarnation, Some(8));
        network.run_until(secs(10), |network| network.all_know_all(10));
        let heard_of = |m: &Membership| m.get(id(3)).is_some_and(|info| info.incarnation > 100);
        assert!(network.machines.values().all(heard_of), "incarnation {incarnation}");
    }
}

#[test]
fn a_restarted_peer_finds_the_rest_without_its_bootstrap_peer() {
    // Given twenty peers of which the first, that all others started from, is gone.
    let mut network = Network::new(5, 0);
    for number in 0..20 {
        network.start(number, 100, (number > 0).then_some(0));
    }
    network.run_until(secs(10), |network| network.all_know_all(20));
    network.freeze(0);
    // When another one restarts with what it wrote down.
    let remembered: Vec<_> = network.freeze(9).peers().map(super::PeerInfo::to_entry).collect();
    network.start(9, 200, None);
    for entry in remembered {
        network.machines.get_mut(&id(9)).unwrap().remember(network.now, entry);
    }
    // Then it is among the living again.
    let nineteen_alive = |network: &Network| network.all_know_all(19);
    network.run_until(secs(20), nineteen_alive);
}

#[test]
fn a_good_bye_spreads_and_is_not_undone_by_old_gossip() {
    for seed in 0..3 {
        let mut network = settled(seed, 20, 10);
        let old = network.machines[&id(1)].get(id(4)).unwrap().to_entry();
        network.handle(id(4), Input::Leave);
        network.run(Duration::from_millis(100));
        network.freeze(4);
        network.run_until(secs(5), |network| network.all_think(4, Liveness::Left));
        let stale = GossipEntry { heartbeat: old.heartbeat + 1000, ..old };
        let gossip = Input::Gossip { from: id(2), entries: vec![stale], answer: false };
        network.handle(id(1), gossip);
        network.run(secs(5));
        assert!(network.all_think(4, Liveness::Left));
        assert!(network.machines.values().all(|m| m.topology(three()).peer(id(4)).is_none()));
    }
}

#[test]
fn a_partition_heals() {
    for (seed, resets) in [(1, false), (2, true)] {
        let mut network = settled(seed, 12, 10);
        network.island = (0..5).map(id).collect();
        if resets {
            // The connections across break, rather than going silent.
            for (a, b) in core::mem::take(&mut network.connections) {
                if network.is_cut(a, b) {
                    network.later(Duration::ZERO, a, Input::Disconnected { peer: b });
                    network.later(Duration::ZERO, b, Input::Disconnected { peer: a });
                } else {
                    network.connections.insert((a, b));
                }
            }
        }
        network.run(secs(30));
        let alive = |m: &Membership| m.peers().filter(|i| i.liveness == Liveness::Alive).count();
        for (peer, machine) in &network.machines {
            let side = if network.island.contains(peer) { 5 } else { 7 };
            assert_eq!(alive(machine), side, "seed {seed}");
            assert_eq!(machine.topology(three()).peers().len(), 12);
        }
        network.island.clear();
        network.run_until(secs(10), |network| network.all_know_all(12));
    }
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = |seed| {
        let mut network = settled(seed, 10, 10);
        network.run(secs(5));
        let tables: Vec<_> = network
            .machines
            .values()
            .flat_map(|m| m.peers().cloned().collect::<Vec<_>>())
            .collect();
        (network.messages, tables)
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

fn three() -> ReplicaCount {
    ReplicaCount::new(3).unwrap()
}
