//! What the network keeps of one machine: its address, and the process that listens there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Weak};

use node::env::{Gossip, GuestProtocol, GuestQuestion, Inbound, Membership, NetEvent};
use protocol::limits::{INBOX_FRAMES_MAX, OUTBOX_FRAMES_MAX};
use protocol::wire::{Class, Frame};
use protocol::{ClusterId, PeerId};
use tokio::sync::mpsc;

use super::link::{Lane, carry};
use crate::sim::machine::Life;

/// Events that a process may leave untaken before it counts as a fault of the process.
const EVENTS_MAX: usize = 1024;

/// Questions of guests that a process may leave untaken; more are refused.
const GUESTS_WAITING_MAX: usize = 32;

/// Gossip that a process may leave untaken; more is lost.
const GOSSIP_WAITING_MAX: usize = 256;

/// A place in the network.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) address: String,
    pub(super) process: Option<Process>,
}

/// The two ends of a channel; the receiving one is there until it is taken.
#[derive(Debug)]
struct Ends<T> {
    sender: mpsc::Sender<T>,
    receiver: Option<mpsc::Receiver<T>>,
}

impl<T> Ends<T> {
    fn new(room: usize) -> Self {
        let (sender, receiver) = mpsc::channel(room);
        Self { sender, receiver: Some(receiver) }
    }
}

/// With whom a process speaks its cluster's protocols.
#[derive(Debug, Default)]
pub(super) enum Admission {
    #[default]
    Nobody,
    Members(Membership),
}

impl fmt::Display for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Members(membership) => {
                membership.members.iter().try_for_each(|peer| write!(f, "{peer} "))
            }
        }
    }
}

/// A process that uses the network.
#[derive(Debug)]
pub(super) struct Process {
    life: Weak<Life>,
    inboxes: BTreeMap<Class, Ends<Inbound>>,
    events: mpsc::Sender<NetEvent>,
    events_end: Option<mpsc::Receiver<NetEvent>>,
    guests: BTreeMap<GuestProtocol, Ends<GuestQuestion>>,
    gossip: Ends<Gossip>,
    pub(super) admission: Admission,
    /// Addresses it was told.
    pub(super) known: BTreeMap<PeerId, BTreeSet<String>>,
    /// Its ends of connections.
    sides: BTreeMap<PeerId, Side>,
}

/// One end of a connection.
#[derive(Debug)]
struct Side {
    connection: u64,
    outboxes: BTreeMap<Class, mpsc::Sender<Frame>>,
}

impl Process {
    pub(super) fn new(life: &Arc<Life>) -> Self {
        let (events, events_end) = mpsc::channel(EVENTS_MAX);
        Self {
            life: Arc::downgrade(life),
            inboxes: Class::ALL
                .into_iter()
                .map(|class| (class, Ends::new(INBOX_FRAMES_MAX)))
                .collect(),
            events,
            events_end: Some(events_end),
            guests: [GuestProtocol::Join, GuestProtocol::Overlay]
                .map(|protocol| (protocol, Ends::new(GUESTS_WAITING_MAX)))
                .into(),
            gossip: Ends::new(GOSSIP_WAITING_MAX),
            admission: Admission::default(),
            known: BTreeMap::new(),
            sides: BTreeMap::new(),
        }
    }

    /// Tells the process something.
    pub(super) fn tell(&self, event: NetEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event)
            && let Some(life) = self.life.upgrade()
        {
            let peer = life.peer();
            life.world().fail(format!("{peer} leaves its network events untaken, at {event:?}"));
        }
    }

    pub(super) fn inbox(&self, class: Class) -> Option<mpsc::Sender<Inbound>> {
        Some(self.inboxes.get(&class)?.sender.clone())
    }

    pub(super) fn take_inbox(&mut self, class: Class) -> Option<mpsc::Receiver<Inbound>> {
        self.inboxes.get_mut(&class)?.receiver.take()
    }

    pub(super) fn take_events(&mut self) -> Option<mpsc::Receiver<NetEvent>> {
        self.events_end.take()
    }

    pub(super) fn guests(&self, protocol: GuestProtocol) -> Option<mpsc::Sender<GuestQuestion>> {
        Some(self.guests.get(&protocol)?.sender.clone())
    }

    pub(super) fn take_guests(
        &mut self,
        protocol: GuestProtocol,
    ) -> Option<mpsc::Receiver<GuestQuestion>> {
        self.guests.get_mut(&protocol)?.receiver.take()
    }

    pub(super) fn gossip(&self) -> mpsc::Sender<Gossip> {
        self.gossip.sender.clone()
    }

    pub(super) fn take_gossip(&mut self) -> Option<mpsc::Receiver<Gossip>> {
        self.gossip.receiver.take()
    }

    /// Returns the cluster whose protocols it speaks with a peer, if any.
    pub(super) fn admits(&self, peer: PeerId) -> Option<ClusterId> {
        match &self.admission {
            Admission::Nobody => None,
            Admission::Members(membership) => {
                membership.members.contains(&peer).then_some(membership.cluster)
            }
        }
    }

    /// Returns the number of the connection to a peer.
    pub(super) fn connection(&self, peer: PeerId) -> Option<u64> {
        Some(self.sides.get(&peer)?.connection)
    }

    /// Returns the peers it is connected to.
    pub(super) fn connected(&self) -> Vec<(PeerId, u64)> {
        self.sides.iter().map(|(peer, side)| (*peer, side.connection)).collect()
    }

    /// Notes a connection. A later one to the same peer takes the place of the earlier, silently.
    pub(super) fn connect(&mut self, peer: PeerId, connection: u64, address: &str) {
        let side = Side { connection, outboxes: BTreeMap::new() };
        if self.sides.insert(peer, side).is_none() {
            self.tell(NetEvent::Connected(peer));
        }
        self.known.entry(peer).or_default().insert(address.to_owned());
        self.tell(NetEvent::Discovered { peer, addresses: vec![address.to_owned()] });
    }

    /// Ends a connection, unless another has taken its place.
    pub(super) fn disconnect(&mut self, peer: PeerId, connection: u64) {
        if self.connection(peer) == Some(connection) {
            self.sides.remove(&peer);
            self.tell(NetEvent::Disconnected(peer));
        }
    }

    /// Returns where frames of a class for a peer wait, or `None` when there is no connection.
    pub(super) fn outbox(&mut self, to: PeerId, class: Class) -> Option<mpsc::Sender<Frame>> {
        let life = self.life.upgrade()?;
        let side = self.sides.get_mut(&to)?;
        let connection = side.connection;
        let outbox = side.outboxes.entry(class).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(OUTBOX_FRAMES_MAX);
            let lane = Lane { from: life.peer(), to, class, connection };
            life.spawn("net", carry(life.world().clone(), lane, receiver));
            sender
        });
        Some(outbox.clone())
    }
}
