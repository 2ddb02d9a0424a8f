//! The network of a run: who is where, who is connected to whom, and which links are cut.
//!
//! A connection is known to each of its ends by itself, so that one can believe in it while the other is
//! gone, as after a power cut. Never: keeps a frame; links carry them.
#![expect(clippy::disallowed_methods, reason = "what the network does belongs to no process")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node::env::{Gossip, GuestProtocol, GuestQuestion, Inbound, NetEvent};
use protocol::wire::{Class, Frame};
use protocol::{PeerId, Prng};
use tokio::sync::mpsc;

use super::link::{Lane, LinkHabits};
use super::station::{Admission, Process, Station};
use crate::sim::chance::Chance;
use crate::sim::lock::lock;
use crate::sim::machine::Life;
use crate::sim::world::World;

/// A process notices within this that the other end of a connection is silent.
const NOTICE_MAX: Duration = Duration::from_secs(10);
/// A process notices within this that the other end of a connection was closed or is unknown there.
const RESET_MAX: Duration = Duration::from_millis(50);

/// The network of a run. It belongs to the run's [`World`].
#[derive(Debug)]
pub struct Network {
    chance: Chance,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    stations: BTreeMap<PeerId, Station>,
    habits: BTreeMap<(PeerId, PeerId), LinkHabits>,
    /// Directions in which nothing passes.
    cut: BTreeSet<(PeerId, PeerId)>,
    /// Who reached whom and was not admitted: they are connected as soon as both admit each other.
    refused: BTreeSet<(PeerId, PeerId)>,
    connections: u64,
}

impl State {
    fn process(&mut self, peer: PeerId) -> Option<&mut Process> {
        self.stations.get_mut(&peer)?.process.as_mut()
    }

    fn is_cut(&self, a: PeerId, b: PeerId) -> bool {
        self.cut.contains(&(a, b)) || self.cut.contains(&(b, a))
    }

    /// Connects two processes, unless they are, or one of them cannot be reached or does not admit the other.
    fn connect(&mut self, from: PeerId, to: PeerId) -> bool {
        let addresses = [from, to].map(|peer| {
            self.stations.get(&peer).map(|station| station.address.clone()).unwrap_or_default()
        });
        let reachable = self.process(from).is_some_and(|process| {
            process.known.get(&to).is_some_and(|known| known.contains(&addresses[1]))
        });
        let there = self.process(from).and_then(|process| process.connection(to));
        let back = self.process(to).map(|process| process.connection(from));
        let Some(back) = back else { return false };
        if from == to || !reachable || self.is_cut(from, to) {
            return false;
        }
        let Some(ours) = self.process(from).and_then(|process| process.admits(to)) else {
            return false;
        };
        if self.process(to).and_then(|process| process.admits(from)) != Some(ours) {
            self.refused.insert((from, to));
            return false;
        }
        if there.is_none() || there != back {
            self.connections += 1;
            let number = self.connections;
            for (at, other, address) in [(from, to, &addresses[1]), (to, from, &addresses[0])] {
                if let Some(process) = self.process(at) {
                    process.connect(other, number, address);
                }
            }
        }
        true
    }
}

impl Network {
    pub(crate) fn new(prng: Prng) -> Self {
        Self { chance: Chance::new(prng), state: Mutex::default() }
    }

    pub(super) fn chance(&self) -> &Chance {
        &self.chance
    }

    /// Gives a machine its place.
    pub(crate) fn install(&self, peer: PeerId, address: String) {
        lock(&self.state).stations.insert(peer, Station { address, process: None });
    }

    /// Connects a new process to the network, at its machine's place.
    pub(super) fn attach(&self, life: &Arc<Life>) {
        let mut state = lock(&self.state);
        if let Some(station) = state.stations.get_mut(&life.peer()) {
            let process = Process::new(life);
            process.tell(NetEvent::Listening(vec![station.address.clone()]));
            station.process = Some(process);
        }
    }

    /// Takes a process off the network. Its peers notice sooner or later.
    pub(crate) fn detach(&self, world: &World, peer: PeerId) {
        let process = {
            let mut state = lock(&self.state);
            state.refused.retain(|(from, to)| *from != peer && *to != peer);
            state.stations.get_mut(&peer).and_then(|station| station.process.take())
        };
        let Some(process) = process else { return };
        // A killed process closes its connections; after a power cut there is only silence.
        let within = if self.chance.below(2) == 0 { RESET_MAX } else { NOTICE_MAX };
        for (other, connection) in process.connected() {
            self.disconnect_later(world, other, peer, connection, within);
        }
    }

    /// Changes whom a process admits. Who is left out is cut off at once, and notices soon; who was refused
    /// before and is admitted now is connected.
    pub(super) fn admit(&self, world: &World, at: PeerId, admission: Admission) {
        let mut state = lock(&self.state);
        let Some(process) = state.process(at) else { return };
        world.record(format_args!("admission {at} {admission}"), &[]);
        process.admission = admission;
        let mut cut_off = process.connected();
        cut_off.retain(|(peer, _)| process.admits(*peer).is_none());
        for (peer, connection) in &cut_off {
            process.disconnect(*peer, *connection);
        }
        let waiting: Vec<_> = state.refused.iter().copied().collect();
        for (from, to) in waiting.into_iter().filter(|(from, to)| *from == at || *to == at) {
            state.refused.remove(&(from, to));
            state.connect(from, to);
        }
        drop(state);
        for (peer, connection) in cut_off {
            self.disconnect_later(world, peer, at, connection, RESET_MAX);
        }
    }

    /// Returns where questions of guests wait at an address, or `None` when nobody answers there.
    pub(super) fn guests_at(
        &self,
        from: PeerId,
        to: PeerId,
        protocol: GuestProtocol,
        address: &str,
    ) -> Option<mpsc::Sender<GuestQuestion>> {
        let mut state = lock(&self.state);
        let is_there = state.stations.get(&to).is_some_and(|station| station.address == address);
        if from == to || !is_there || state.is_cut(from, to) {
            return None;
        }
        state.process(to)?.guests(protocol)
    }

    /// Returns where gossip from a peer goes: everybody that can be reached.
    pub(super) fn gossips_of(&self, from: PeerId) -> Vec<(PeerId, mpsc::Sender<Gossip>)> {
        let state = lock(&self.state);
        let there =
            state.stations.iter().filter(|(to, _)| **to != from && !state.is_cut(from, **to));
        let of =
            |(to, station): (&PeerId, &Station)| Some((*to, station.process.as_ref()?.gossip()));
        there.filter_map(of).collect()
    }

    /// Returns where everybody is reached that a peer does not count among its members.
    pub(super) fn strangers_to(&self, at: PeerId) -> Vec<String> {
        let state = lock(&self.state);
        let Some(process) = state.stations.get(&at).and_then(|station| station.process.as_ref())
        else {
            return Vec::new();
        };
        let others = state.stations.iter().filter(|(peer, _)| **peer != at);
        let strangers = others.filter(|(peer, _)| process.admits(**peer).is_none());
        strangers.map(|(peer, station)| format!("{}/p2p/{peer}", station.address)).collect()
    }

    /// Sets how one direction of a link behaves.
    pub fn set_habits(&self, from: PeerId, to: PeerId, habits: LinkHabits) {
        lock(&self.state).habits.insert((from, to), habits);
    }

    /// Returns how one direction of a link behaves.
    #[must_use]
    pub fn habits(&self, from: PeerId, to: PeerId) -> LinkHabits {
        lock(&self.state).habits.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Lets nothing pass from one peer to another. The other direction is not touched.
    pub fn cut(&self, world: &World, from: PeerId, to: PeerId) {
        world.record(format_args!("cut {from} {to}"), &[]);
        lock(&self.state).cut.insert((from, to));
        // Pings fail in both directions: both ends give the connection up, each in its own time.
        for (at, other) in [(from, to), (to, from)] {
            let delay = self.chance.between(Duration::ZERO, NOTICE_MAX);
            let world = world.clone();
            tokio::spawn(async move {
                world.clock().sleep(delay).await;
                let mut state = lock(&world.network().state);
                if state.is_cut(at, other)
                    && let Some(process) = state.process(at)
                    && let Some(connection) = process.connection(other)
                {
                    process.disconnect(other, connection);
                }
            });
        }
    }

    /// Lets frames pass from one peer to another again.
    pub fn mend(&self, world: &World, from: PeerId, to: PeerId) {
        world.record(format_args!("mend {from} {to}"), &[]);
        lock(&self.state).cut.remove(&(from, to));
    }

    /// Mends every link and makes each a quiet one.
    pub fn calm(&self, world: &World) {
        world.record(format_args!("calm"), &[]);
        let mut state = lock(&self.state);
        state.cut.clear();
        state.habits.clear();
    }

    /// Ends the connection of a lane at both ends, soon.
    pub(super) fn break_connection(&self, world: &World, lane: Lane) {
        self.disconnect_later(world, lane.from, lane.to, lane.connection, RESET_MAX);
        self.disconnect_later(world, lane.to, lane.from, lane.connection, RESET_MAX);
    }

    fn disconnect_later(
        &self,
        world: &World,
        at: PeerId,
        other: PeerId,
        connection: u64,
        within: Duration,
    ) {
        let delay = self.chance.between(Duration::ZERO, within);
        let world = world.clone();
        tokio::spawn(async move {
            world.clock().sleep(delay).await;
            if let Some(process) = lock(&world.network().state).process(at) {
                process.disconnect(other, connection);
            }
        });
    }

    /// Returns the inbox that a frame of this lane arrives at, or `None` when it vanishes.
    pub(super) fn inbox_of(&self, world: &World, lane: Lane) -> Option<mpsc::Sender<Inbound>> {
        let mut state = lock(&self.state);
        if state.cut.contains(&(lane.from, lane.to)) {
            return None;
        }
        let process = state.process(lane.to)?;
        if process.connection(lane.from) == Some(lane.connection) {
            return process.inbox(lane.class);
        }
        drop(state);
        // A process that does not know the connection says so.
        self.disconnect_later(world, lane.from, lane.to, lane.connection, RESET_MAX);
        None
    }

    pub(super) fn learn(&self, at: PeerId, peer: PeerId, addresses: Vec<String>) {
        if let Some(process) = lock(&self.state).process(at) {
            process.known.entry(peer).or_default().extend(addresses);
        }
    }

    /// Tells a process that a peer cannot be reached, unless that one has connected to it meanwhile: the process
    /// would believe that there is no connection, and would never be told of one again.
    pub(super) fn unreachable(&self, at: PeerId, peer: PeerId) {
        if let Some(process) = lock(&self.state).process(at)
            && process.connection(peer).is_none()
        {
            process.tell(NetEvent::Unreachable(peer));
        }
    }

    pub(super) fn is_connected(&self, at: PeerId, peer: PeerId) -> bool {
        lock(&self.state).process(at).is_some_and(|process| process.connection(peer).is_some())
    }

    pub(super) fn connect(&self, from: PeerId, to: PeerId) -> bool {
        lock(&self.state).connect(from, to)
    }

    /// Says whether a dial would be refused at once instead of running into silence.
    pub(super) fn refuses(&self, from: PeerId, to: PeerId) -> bool {
        !lock(&self.state).is_cut(from, to)
    }

    pub(super) fn knows(&self, at: PeerId, peer: PeerId) -> bool {
        lock(&self.state).process(at).is_some_and(|process| process.known.contains_key(&peer))
    }

    pub(super) fn outbox(
        &self,
        at: PeerId,
        to: PeerId,
        class: Class,
    ) -> Option<mpsc::Sender<Frame>> {
        lock(&self.state).process(at)?.outbox(to, class)
    }

    pub(super) fn take_inbox(&self, at: PeerId, class: Class) -> Option<mpsc::Receiver<Inbound>> {
        lock(&self.state).process(at)?.take_inbox(class)
    }

    pub(super) fn take_guests(
        &self,
        at: PeerId,
        protocol: GuestProtocol,
    ) -> Option<mpsc::Receiver<GuestQuestion>> {
        lock(&self.state).process(at)?.take_guests(protocol)
    }

    pub(super) fn take_gossip(&self, at: PeerId) -> Option<mpsc::Receiver<Gossip>> {
        lock(&self.state).process(at)?.take_gossip()
    }

    pub(super) fn take_events(&self, at: PeerId) -> Option<mpsc::Receiver<NetEvent>> {
        lock(&self.state).process(at)?.take_events()
    }
}
