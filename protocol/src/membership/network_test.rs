//! Many machines on a network of virtual time that loses, delays and cuts: no runtime, one seed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Config, Input, Liveness, Membership, Output};
use crate::topology::Zone;
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

#[test]
fn calibrate() {
    for (count, loss) in [(20u32, 10u64), (50, 10), (100, 10), (200, 10), (400, 10), (1000, 0)] {
        let mut network = Network::new(1, loss);
        for number in 0..count {
            network.start(number, 100, number.checked_sub(1));
        }
        let total = usize::try_from(count).unwrap();
        let took = network
            .run_until(secs(120), |n| n.machines.values().all(|m| m.peers().count() == total));
        let took2 = network.run_until(secs(120), |n| n.all_know_all(total));
        network.deaths.clear();
        let mut worst = Duration::ZERO;
        let mut suspects = 0;
        for _ in 0..40 {
            network.run(Duration::from_millis(500));
            for (own, m) in &network.machines {
                for (peer, r) in &m.table.records {
                    if peer != own {
                        worst = worst.max(network.now.since(r.heard));
                        if r.info.liveness != Liveness::Alive {
                            suspects += 1;
                        }
                    }
                }
            }
        }
        eprintln!(
            "{count} loss {loss}: known {took:?} alive +{took2:?} worst silence {worst:?} suspects {suspects} deaths {} head {} msgs {}",
            network.deaths.len(),
            network.largest_head,
            network.messages
        );
    }
}
